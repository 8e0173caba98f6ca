"""Responses that only report a running task are read without the converter, with the same result."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.messages import HttpResponse
from aiowery.errors import AioweryError
from aiowery.weryai import _decode

RAW_STATUSES = ["WAITING", "waiting", "Processing", "RUNNING", "SUCCESS", "FAILED", "succeed", "Polishing", "", 5, None]
NOTHING: list[Any] = [None, "", [], {}, 0, False]
values = st.sampled_from([*NOTHING, "words", ["https://cdn.example/a.png"], 3, {"url": "https://cdn.example/a.png"}])
names = st.sampled_from(["images", "msg", "content_status", "cost_credits", "progress", "task_result", "request_id"])
parts = st.builds(
    lambda more, raw_status, task_id: {**more, "task_id": task_id, "task_status": raw_status},
    st.dictionaries(names, values),
    st.sampled_from(RAW_STATUSES),
    st.sampled_from(["t1", "t2", 1, None]),
)
strange = st.builds(
    lambda status, data, more: {"status": status, "data": data, **more},
    st.sampled_from([0, 200, "0", "success", True, False, 1003, None]),
    st.one_of(parts, st.lists(parts, max_size=2), values),
    st.dictionaries(st.sampled_from(["desc", "message", "request_id"]), values),
)
# Almost the response about a running task.
nearly = st.builds(
    lambda more, raw_status: {"status": 0, "data": {**more, "task_id": "t1", "task_status": raw_status}},
    st.dictionaries(names, values, max_size=2),
    st.sampled_from(RAW_STATUSES),
)


def read(response: HttpResponse) -> Snapshot | str:
    """Return the snapshot of task t1, or the name of the error."""
    try:
        return attrs.evolve(_decode.decode_status(response, "t1"), raw={})
    except AioweryError as error:
        return type(error).__name__


@given(envelope=st.one_of(nearly, strange))
@example(envelope={"status": 0, "data": {"task_id": "t1", "task_status": "WAITING", "cost_credits": 0}})
def test_decode_status_without_converter_gives_the_same(envelope: dict[str, Any]) -> None:
    """For any envelope, the shortcut and the converter give the same snapshot or the same error."""
    response = HttpResponse(200, {}, json.dumps(envelope).encode())
    short = read(response)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_decode, "_running_snapshot", lambda *_: None)
        assert short == read(response)


@pytest.mark.parametrize("raw_status", ["WAITING", "PROCESSING"])
def test_decode_status_running_task_skips_converter(monkeypatch: pytest.MonkeyPatch, raw_status: str) -> None:
    """Most status responses only report a running task and are read without the converter."""
    monkeypatch.setattr(_decode, "structure", None)
    data = {"task_id": "t1", "task_status": raw_status, "images": None, "msg": ""}
    response = HttpResponse(
        200, {}, json.dumps({"status": 0, "desc": "success", "message": "success", "data": data}).encode()
    )
    snapshot = _decode.decode_status(response, "t1")
    assert (snapshot.task_id, snapshot.raw_status) == ("t1", raw_status)
    assert snapshot.state is {"WAITING": TaskState.WAITING, "PROCESSING": TaskState.RUNNING}[raw_status]
    assert snapshot.raw == {"task_status": raw_status}
