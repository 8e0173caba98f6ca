"""Whatever a server sends, ids, statuses, reasons and messages are short, and the ledger stores little of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from aiowery import AioweryError, Asset, Snapshot, TaskState, errors
from aiowery._core.messages import HttpResponse
from aiowery._journal.serialization import dump_error, dump_snapshot
from aiowery.errors import APIError, ConfigurationError, JobFailed, SubmissionInDoubt, UnexpectedResponse
from aiowery.ledger import SqliteLedger
from tests.support import http_response, responding
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

HUGE: Final = "x" * 100_000
providers = pytest.mark.parametrize("raw", RAW_PROVIDERS.values(), ids=RAW_PROVIDERS)


def test_snapshot_bounds_its_texts_and_outputs() -> None:
    """Every decoder makes snapshots, also those of other packages, so their texts are bounded here."""
    snapshot = Snapshot(
        "t1",
        TaskState.DONE,
        HUGE,
        assets=(Asset("https://x.example/1.png"),) * 5_000,
        substatus=HUGE,
        reason=HUGE,
        request_id=HUGE,
    )
    assert len(snapshot.raw_status) == 64
    assert len(snapshot.assets) == 1_000
    assert [len(text or "") for text in (snapshot.substatus, snapshot.reason, snapshot.request_id)] == [64, 2_000, 256]
    plain = Snapshot("t1", TaskState.DONE)
    assert (plain.substatus, plain.reason, plain.request_id) == (None, None, None)


@pytest.mark.parametrize("name", errors.__all__)
def test_error_of_a_huge_text_has_a_short_message(name: str) -> None:
    """A message has at most 2,000 characters; only the list of the caller's own mistakes is complete."""
    cls: type[AioweryError] = getattr(errors, name)
    message = str(cls(f"begins {HUGE} ends"))
    if cls is ConfigurationError:
        assert len(message) > len(HUGE)
        return
    assert len(message) == 2_000
    assert message.startswith("begins ")
    assert message.endswith(" ends")


def test_error_bounds_ids_codes_and_faults() -> None:
    """What stands beside the message is bounded too."""
    refusal = APIError("no", code=HUGE, request_id=HUGE)
    assert (len(str(refusal.code)), len(refusal.request_id or "")) == (64, 256)
    assert APIError("no", code=6010).code == 6010
    odd = UnexpectedResponse("odd", faults=(HUGE,) * 500)
    assert (len(odd.faults), {len(fault) for fault in odd.faults}) == (64, {300})


def test_request_id_of_any_place_is_short() -> None:
    """The id in a header, and in a body, is one for people to read."""
    response = HttpResponse(200, {"x-request-id": HUGE}, b"")
    assert len(response.request_id or "") == 256
    assert len(response.request_id_in({"request_id": HUGE}) or "") == 256


def failed(raw: RawProvider) -> dict[str, Any]:
    """Return the status of a failed task with huge texts in every place."""
    names = {"task_id": "t1", "task_status": "FAILED", "id": "t1", "status": "failed"}
    task = {**names, "msg": HUGE, "message": HUGE, "error": HUGE, "content_status": HUGE, "noise": [HUGE] * 9}
    return {"status": 0, "message": "success", "data": task, "request_id": HUGE} if "data" in raw.done("t1") else task


@providers
@pytest.mark.anyio
async def test_run_with_huge_texts_bounds_what_is_reported_and_stored(raw: RawProvider, tmp_path: Path) -> None:
    """The error names the task and the next step, and the ledger grows by kilobytes."""

    def respond(request: bytes) -> bytes:
        if request.startswith(b"POST"):
            return raw.accepting("t1", **{"x-request-id": "r" * 5_000})
        return http_response(failed(raw))

    path = tmp_path / "jobs.db"
    async with responding(respond) as server, raw.client(server.url, ledger=path) as client:
        with pytest.raises(JobFailed) as caught:
            await client.run(raw.request)
    assert len(str(caught.value)) <= 2_000
    assert "t1" in str(caught.value)
    assert str(caught.value).endswith("change the request before you submit it again")
    (snapshot,) = caught.value.snapshots
    assert 0 < len(snapshot.reason or "") <= 2_000
    ledger = SqliteLedger(path)
    await ledger.open()
    (entry,) = await ledger.entries()
    await ledger.aclose()
    assert len(entry.reason) <= 2_100
    assert len(json.dumps(entry.snapshots)) < 70_000
    assert len(entry.request_id or "") <= 256


@providers
@pytest.mark.anyio
async def test_submit_with_a_huge_id_is_in_doubt(raw: RawProvider) -> None:
    """A part of an id would be another id, so a huge one is none; what may have been charged is not sent again."""
    async with responding(lambda _: raw.accepting("t" * 257)) as server, raw.client(server.url) as client:
        with pytest.raises(SubmissionInDoubt) as caught:
            await client.submit(raw.request)
    assert server.posts == 1
    assert len(str(caught.value)) <= 2_000
    async with responding(lambda _: raw.accepting("t" * 256)) as server, raw.client(server.url) as client:
        assert (await client.submit(raw.request)).task_ids == ("t" * 256,)


@providers
@pytest.mark.anyio
async def test_refusal_with_a_huge_text_is_short(raw: RawProvider) -> None:
    """The explanation of a refusal is cut, and the next step stays."""
    body = {"status": 1006, "message": HUGE, "error": HUGE, "request_id": HUGE}
    async with responding(lambda _: http_response(body, "400 Bad Request")) as server, raw.client(server.url) as client:
        with pytest.raises(AioweryError) as caught:
            await client.submit(raw.request)
    assert len(str(caught.value)) <= 2_000
    assert len(caught.value.request_id or "") <= 256


def test_dump_snapshot_keeps_the_first_64_kilobytes_of_raw() -> None:
    """Members are kept in order while they fit, and none is cut within."""
    raw = {"task_id": "t1", "first": "y" * 30_000, "second": "y" * 30_000, "third": "y" * 30_000}
    stored = dump_snapshot(Snapshot("t1", TaskState.DONE, raw=raw))["raw"]
    assert stored == {name: raw[name] for name in ("task_id", "first", "second")}
    small = {"task_id": "t1", "images": ["https://x.example/1.png"], "n": [1, None, {"a": True}]}
    assert dump_snapshot(Snapshot("t1", TaskState.DONE, raw=small))["raw"] == small


def test_dump_snapshot_of_a_deeply_nested_raw_is_stored() -> None:
    """What cannot be read again is left out, and the end of the job is stored all the same."""
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    stored = dump_snapshot(Snapshot("t1", TaskState.DONE, raw={"task_id": "t1", "deep": deep, "n": 1}))["raw"]
    assert stored == {"task_id": "t1", "n": 1}


def test_dump_hides_keys() -> None:
    """A key that a provider quotes in a status or a reason is not stored."""
    key = "sk-4f9c-Secret_77"
    stored = dump_snapshot(Snapshot("t1", TaskState.DONE, raw={"a": [{"b": f"key {key}"}], key: 1}))["raw"]
    assert stored == {"a": [{"b": "key ***"}], "***": 1}
    assert dump_error(JobFailed(f"wrong key {key}")) == "JobFailed: wrong key ***"
