"""Decoders are total: for any response they return a value or raise one of two errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Accepted
from aiowery.errors import APIError, UnexpectedResponse
from aiowery.weryai import REQUESTS, _decode, _model_listing
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.request_samples import smallest

TASK = "task_k3m9"
DECODERS: dict[str, Callable[[HttpResponse], Any]] = {
    "accepted": _decode.decode_accepted,
    "status": lambda response: _decode.decode_status(response, TASK),
    "batch": _decode.decode_batch,
    "balance": _decode.decode_balance,
    "upload": _decode.decode_upload,
    "models": _model_listing.decode_models,
    "chat models": _model_listing.decode_chat_models,
    "speakers": _model_listing.decode_speakers,
    "submitted chat": partial(_decode.decode_submission, smallest("chat"), fallback_id="made-up"),
    "submitted picture": partial(_decode.decode_submission, smallest("image-to-prompt"), fallback_id="made-up"),
    "submitted document": partial(_decode.decode_submission, smallest("corpus-upload"), fallback_id="made-up"),
    "submitted research": partial(_decode.decode_submission, smallest("deep-research"), fallback_id="made-up"),
}
RESULT_OF = {
    "accepted": "text-to-image",
    "submitted chat": "chat",
    "submitted picture": "image-to-prompt",
    "submitted document": "corpus-upload",
    "submitted research": "deep-research",
}
KEYS = [
    "status",
    "desc",
    "message",
    "msg",
    "success",
    "data",
    "request_id",
    "traceId",
    "task_id",
    "task_ids",
    "batch_id",
    "task_status",
    "images",
    "videos",
    "audios",
    "url",
    "image_url",
    "cover_url",
    "cost_credits",
    "task_result",
    "output",
    "video_url",
    "audio_url",
    "balance",
    "object_url_list",
    "choices",
    "content",
    "error",
    "finish_reason",
    "usage",
    "prompt",
    "name",
    "uploaded_count",
    "interaction_id",
    "deep_research_outputs",
    "text",
    "parts",
    "scripts",
    "speaker_id",
    "speakers",
    "models",
    "model",
    "text_to_video",
    "image_to_image",
    "model_key",
    "durations",
    "prompt_length_limit",
]
TEXTS = ["SUCCESS", "failed", "waiting", "ok", "0", "200", "1001", " 6010", TASK, "", " ", "..", "\ud800", "1" * 25]


scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 200, 1001, 1002, 6010, -1, 10**30, -(10**400), 1e308, float("nan"), float("-inf")])
    | st.integers()
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(st.characters(codec=None), max_size=8)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for arrays and objects of values, mostly under names that the decoders use."""
    return st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)


anything = st.recursive(scalars, containers, max_leaves=12)
ids = st.lists(scalars | st.just(TASK), max_size=5) | scalars
tasks = st.fixed_dictionaries(
    {},
    optional={
        "task_id": st.sampled_from([TASK, "other", 7, None]) | scalars,
        "task_ids": ids,
        "batch_id": scalars,
        "task_status": st.sampled_from(TEXTS) | scalars,
        "status": scalars,
        "images": anything,
        "video_url": anything,
        "msg": scalars,
        "cost_credits": scalars,
        "task_result": anything,
        "output": anything,
        "balance": scalars,
        "object_url_list": anything,
        "prompt": scalars,
        "name": scalars,
        "uploaded_count": scalars,
        "interaction_id": scalars,
        "deep_research_outputs": anything,
        "scripts": anything,
        "content_status": scalars,
    },
)
messages = st.fixed_dictionaries({}, optional={"role": scalars, "content": anything})
choices = st.fixed_dictionaries({}, optional={"message": messages | anything, "finish_reason": scalars})
completions = st.fixed_dictionaries(
    {"choices": st.lists(choices | anything, max_size=3) | anything},
    optional={"id": scalars, "usage": anything, "error": anything, "status": scalars},
)
entries = st.fixed_dictionaries(
    {"model_key": st.just("M") | scalars, "model": st.just("M") | scalars, "speaker_id": st.just("S") | scalars},
    optional={"durations": anything, "num_images": anything, "prompt_length_limit": scalars, "max_tokens": scalars},
)
lists_of_entries = st.lists(entries | scalars, max_size=3) | anything
registries = st.fixed_dictionaries(
    {},
    optional={
        "text_to_video": lists_of_entries,
        "image_to_image": lists_of_entries,
        "models": lists_of_entries,
        "speakers": lists_of_entries,
    },
)
data = tasks | registries | st.lists(tasks | entries | anything, max_size=3) | anything
envelopes = st.fixed_dictionaries(
    {"status": st.sampled_from([0, 200, "success", None, 1001, " " * 21 + "5"]) | scalars, "data": data},
    optional={"msg": scalars, "message": scalars, "desc": scalars, "success": scalars, "request_id": scalars},
)
http_statuses = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 404, 429, 500, 503]) | st.integers(100, 999)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "x-request-id", "cf-ray", "location", "content-type"]), st.text(max_size=12)
)


def outcome(decoder: str, response: HttpResponse) -> Any:
    """Return the decoded value, or APIError or UnexpectedResponse. Any other error fails the test."""
    try:
        return DECODERS[decoder](response)
    except (APIError, UnexpectedResponse) as error:
        found = error
    assert found.http_status == response.http_status
    assert str(found)
    return found


@pytest.mark.parametrize("decoder", DECODERS)
@given(body=envelopes | completions | registries | anything, http_status=http_statuses, headers=headers)
@example(body={"status": " " * 20 + "1001"}, http_status=200, headers={})
@example(body={"status": "9" * 5000}, http_status=200, headers={})
@example(body={"status": "\uff11\uff10\uff10\uff11", "msg": "full-width digits"}, http_status=200, headers={})
def test_decoders_any_json_gives_value_or_known_error(
    decoder: str, body: Any, http_status: int, headers: dict[str, str]
) -> None:
    """Any JSON under any HTTP status and headers gives a value or a known error, also lone surrogates and NaN."""
    found = outcome(decoder, HttpResponse(http_status, headers, json.dumps(body).encode()))
    if not isinstance(found, Exception):
        assert 200 <= http_status < 300


@pytest.mark.parametrize("decoder", DECODERS)
@given(body=st.binary(max_size=60), http_status=http_statuses, headers=headers)
@example(body=b"\xff\xfe\x00", http_status=200, headers={})
@example(body=b"\xef\xbb\xbf{}", http_status=200, headers={})
@example(body=b'{"status":0,"data":' + b"9" * 5000 + b"}", http_status=200, headers={})
@example(body=b'{"status":' + b"9" * 4000 + b"}", http_status=200, headers={})
@example(body=b'{"status":0,"data":{"task_id":1e999,"cost_credits":-Infinity}}', http_status=200, headers={})
@example(body=b'{"status":0,"data":"\xe9"}', http_status=200, headers={})
def test_decoders_any_bytes_give_value_or_known_error(
    decoder: str, body: bytes, http_status: int, headers: dict[str, str]
) -> None:
    """Any bytes give a value or a known error, also those that are no text, no JSON, or huge numbers."""
    outcome(decoder, HttpResponse(http_status, headers, body))


FRAMES = [
    "%s",
    '{"status":%s}',
    '{"status":1,"msg":%s}',
    '{"status":0,"data":%s}',
    '{"status":0,"data":{"task_id":"task_k3m9","task_ids":%s}}',
    '{"status":0,"data":{"task_id":"task_k3m9","images":%s,"task_result":%s}}',
    '{"status":0,"data":[{"task_id":"task_k3m9","task_status":%s}]}',
]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"data":', "}")], ids=["arrays", "objects"])
def test_decoders_any_depth_gives_value_or_known_error(decoder: str, frame: str, opening: str, closing: str) -> None:
    """Nesting around and far beyond the interpreter's limit raises UnexpectedResponse."""
    for depth in (*range(1, 1000, 7), 10_000, 100_000):
        body = frame.replace("%s", opening * depth + "0" + closing * depth)
        found = outcome(decoder, HttpResponse(200, {}, body.encode()))
    assert isinstance(found, UnexpectedResponse)


def is_usable_id(value: Any) -> bool:
    """Return True if a value can name a task in a URL: text or integer, not blank, not only dots, no surrogates.

    It has at most 256 characters.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return False
    text = str(value)
    if len(text) > 256:
        return False
    return bool(text.strip().strip(".")) and not any("\ud800" <= character <= "\udfff" for character in text)


def ids_in(items: Any) -> Iterator[str]:
    """Yield each usable id at the places that the contract names."""
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, dict):
            several = item.get("task_ids")
            for value in (*(several if isinstance(several, list) else [several]), item.get("task_id")):
                if is_usable_id(value):
                    yield str(value)


@given(data=tasks | st.lists(tasks | scalars, max_size=3))
@example(data=[{"task_id": "a"}, {"task_id": "b"}])
@example(data=[None, {"task_ids": [None, "a", 5]}])
@example(data={"task_id": 10**300, "task_ids": ["x" * 256, "x" * 257]})
def test_decode_accepted_each_usable_id_is_returned_once(data: Any) -> None:
    """Accepted tasks are paid for: each usable id is returned once, in order, and no other value is."""
    found = outcome("accepted", HttpResponse(200, {}, json.dumps({"status": 0, "data": data}).encode()))
    if isinstance(found, Accepted):
        assert found.task_ids
        assert found.task_ids == tuple(dict.fromkeys(ids_in(json.loads(json.dumps(data)))))
        assert found.provider_batch_id is None or is_usable_id(found.provider_batch_id)
    else:
        assert isinstance(found, UnexpectedResponse)
        assert not list(ids_in(data))


@given(task_id=st.text(st.characters(codec=None), max_size=12) | st.integers())
@example(task_id="\ud800")
@example(task_id="../balance")
@example(task_id="a/b?c#d%2f")
def test_status_request_any_accepted_id_is_one_path_segment(task_id: Any) -> None:
    """The status request of an accepted id has one path segment that means exactly this id."""
    found = outcome("accepted", HttpResponse(200, {}, json.dumps({"status": 0, "data": {"task_id": task_id}}).encode()))
    assert isinstance(found, Accepted) == is_usable_id(task_id)
    if isinstance(found, Accepted):
        for request in (
            WeryAIProvider().status_request(found.task_ids[0]),
            WeryAIProvider().batch_request(found.task_ids[0]),
        ):
            *_, segment, end = request.path.split("/")
            assert (unquote(segment), end) == (str(task_id), "status")
            assert request.path.isascii()
            assert segment not in {"", ".", ".."}


@given(data=data)
def test_decode_status_snapshot_is_of_the_requested_task(data: Any) -> None:
    """A status response gives a snapshot of this task or an error. `raw` and the outputs have usable types."""
    found = outcome("status", HttpResponse(200, {}, json.dumps({"status": 0, "data": data}).encode()))
    if isinstance(found, Snapshot):
        assert found.task_id == TASK
        assert isinstance(found.raw, dict)
        assert isinstance(found.state, TaskState)
        assert all(type(asset.url) is str and asset.url and asset.task_id == TASK for asset in found.assets)


@given(data=st.lists(tasks | scalars, max_size=4))
def test_decode_batch_each_snapshot_has_a_task_id(data: Any) -> None:
    """No snapshot of a batch response lacks its task id."""
    found = outcome("batch", HttpResponse(200, {}, json.dumps({"status": 0, "data": data}).encode()))
    if isinstance(found, list):
        named = [item["task_id"] for item in data if isinstance(item, dict) and is_usable_id(item.get("task_id"))]
        assert [snapshot.task_id for snapshot in found] == list(map(str, named))


@given(value=scalars)
def test_decode_balance_is_a_finite_number(value: Any) -> None:
    """Credits are a comparable number: never NaN, infinite or a boolean."""
    for data in (value, {"balance": value}):
        found = outcome("balance", HttpResponse(200, {}, json.dumps({"status": 0, "data": data}).encode()))
        if not isinstance(found, Exception):
            assert math.isfinite(found)
            assert not isinstance(value, bool)


@pytest.mark.parametrize("decoder", RESULT_OF)
@given(body=envelopes | completions)
def test_decode_submission_any_outputs_make_a_result(decoder: str, body: Any) -> None:
    """Outputs in the response make a result of the right class, whatever the rest of the response is."""
    found = outcome(decoder, HttpResponse(200, {}, json.dumps(body).encode()))
    if isinstance(found, Accepted) and found.snapshots:
        cls = REQUESTS[RESULT_OF[decoder]].result_type
        result = cls.from_snapshots(found.snapshots, seconds=1.0, request_id=found.request_id)
        assert type(result) is cls
        assert result.task_ids == found.task_ids
        assert isinstance(result.is_empty, bool)


@given(data=data)
def test_interpret_any_snapshot_is_read_by_each_result(data: Any) -> None:
    """Each result class reads any status response."""
    found = outcome("status", HttpResponse(200, {}, json.dumps({"status": 0, "data": data}).encode()))
    if isinstance(found, Snapshot):
        for cls in {request.result_type for request in REQUESTS.values()}:
            result = cls.from_snapshots([cls.interpret(found)], seconds=1.0, request_id=None)
            assert result.task_ids == (TASK,)
            assert isinstance(result.is_empty, bool)


@given(body=st.binary(max_size=40) | (envelopes | anything).map(lambda body: json.dumps(body).encode()))
def test_decode_delivery_any_body_gives_snapshot_or_known_error(body: bytes) -> None:
    """Any client can POST to a webhook: any body gives a snapshot of a named task, or a known error."""
    try:
        snapshot = _decode.decode_delivery(body)
    except (APIError, UnexpectedResponse):
        return
    assert is_usable_id(snapshot.task_id)
