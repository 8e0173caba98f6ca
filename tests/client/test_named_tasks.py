"""Rejections that name tasks: what was charged is not sent again, whatever the rejection reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery import PollPolicy, QueueBackedOff, Resubmit, WeryAI
from aiowery._core.events import Event, JobAccepted
from aiowery._journal.journal import new_entry
from aiowery.errors import (
    AioweryError,
    BudgetExceeded,
    InvalidRequest,
    JobFailed,
    LedgerError,
    RateLimited,
    SubmissionInDoubt,
)
from aiowery.ledger import SqliteLedger, State, _transitions
from aiowery.testing import run_virtual
from aiowery.weryai import Chat, PodcastVoice, TextToImage
from tests.support import CAT, LEDGER_KINDS, URL, FailingLedger, FakeWeryAI, client_of, envelope, ledger_of
from tests.support.fake_betterwaifu import FakeBetterWaifu, picture
from tests.support.fake_betterwaifu import client_of as waifu_of

pytestmark = pytest.mark.anyio

FOUR = TextToImage(prompt="a cat", image_number=4)
QUICK = PollPolicy().faster(100)
OLD = "2020-01-01T00:00:00Z"

Shape = Callable[[list[str]], Any]
SHAPES: dict[str, Shape] = {
    "a batch": lambda ids: {"batch_id": 7, "task_ids": ids},
    "ids and an id": lambda ids: {"task_id": ids[0], "task_ids": ids[1:]},
    "a list of tasks": lambda ids: [{"task_id": task_id, "task_status": "waiting"} for task_id in ids],
    "with what is no id": lambda ids: {"task_ids": [None, "", "..", "x" * 257, "a\nb", True, *ids]},
}


@attrs.define
class RejectingWeryAI(FakeWeryAI):
    """A provider that starts the tasks of the next `left` submissions and rejects them, with data in this `shape`.

    `named` changes which ids the rejection names. `poll_response` replaces the response to a status check unless it
    returns None.
    """

    http: int = 429
    code: int | str = 1001
    shape: Shape = SHAPES["a batch"]
    left: int = 1
    named: Callable[[list[str]], list[str]] = lambda ids: ids
    poll_response: Callable[[str], httpx.Response | None] = lambda _: None

    def _submit(self, body: dict[str, Any]) -> httpx.Response:
        answer = super()._submit(body)
        data = answer.json()["data"]
        if not self.left or data is None:
            return answer
        self.left -= 1
        refused = {"status": self.code, "message": "Request rate limit exceeded"}
        return httpx.Response(self.http, json={**refused, "data": self.shape(self.named(data["task_ids"]))})

    def _status(self, task_id: str) -> httpx.Response:
        usual = super()._status(task_id)
        return self.poll_response(task_id) or usual


def task_response(task_id: str, raw_status: str = "PROCESSING", **more: Any) -> httpx.Response:
    """Return the response to a status check."""
    return envelope({"task_id": task_id, "task_status": raw_status, **more})


def lose_response(_: str) -> httpx.Response:
    """Raise an error instead of returning a response."""
    raise httpx.ReadError("reset")


CONFIRMED: dict[str, Callable[[str], httpx.Response | None]] = {
    "as it is": lambda _: None,
    "with an echo": lambda task_id: task_response(
        task_id, "SUCCESS", images=["https://e.example/1.png"], prompt="A  cat."
    ),
    "failed": lambda task_id: task_response(task_id, "FAILED", msg="blurred"),
}
UNCONFIRMED: dict[str, Callable[[str], httpx.Response | None]] = {
    "not found": lambda _: envelope(None, 1003, "task not exist"),
    "not found, by status": lambda _: httpx.Response(404),
    "refused": lambda _: envelope(None, 1009, "no"),
    "busy": lambda _: httpx.Response(503, text="<html>"),
    "no answer": lose_response,
    "another prompt": lambda task_id: task_response(task_id, prompt="a dog"),
    "another model": lambda task_id: task_response(task_id, model="FLUX"),
    "another kind": lambda task_id: task_response(task_id, "SUCCESS", videos=["https://e.example/1.mp4"]),
    "an old task": lambda task_id: task_response(task_id, created_at=OLD),
}
POLL_RESPONSES = {**CONFIRMED, **UNCONFIRMED}
STATUSES = (200, 302, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503)
CODES: tuple[int | str, ...] = (1001, 1002, 1003, 1004, 1005, 1007, 1009, 1011, 5000, 6001, 6002, 6010, 6101, "no")
NAMINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "all": lambda ids: ids,
    "fewer": lambda ids: ids[:-1],
    "more": lambda ids: [*ids, "task_other"],
}


async def outcome(run: Any) -> Any:
    """Return the result of an awaitable, or the error that it raises."""
    try:
        return await run
    except AioweryError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STATUSES),
    st.sampled_from(CODES),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(sorted(POLL_RESPONSES)),
    st.sampled_from(sorted(NAMINGS)),
)
def test_run_rejection_with_task_ids_is_posted_once(
    http: int, code: int | str, shape: str, poll: str, naming: str
) -> None:
    """If polls find all tasks, no others, and they fit, the job is accepted.

    Otherwise it is in doubt with these ids.
    """

    async def main() -> None:
        provider = RejectingWeryAI(
            http=http, code=code, shape=SHAPES[shape], poll_response=POLL_RESPONSES[poll], named=NAMINGS[naming]
        )
        async with client_of(provider) as client:
            got = await outcome(client.run(FOUR))
            counts = client.statistics()
        assert len(provider.posts) == 1
        named = NAMINGS[naming]([f"task_{number}" for number in range(4)])
        accepted = poll in CONFIRMED and naming != "fewer" and (naming != "more" or poll == "as it is")
        if accepted:
            assert sorted(got.task_ids) == sorted(f"task_{number}" for number in range(4))
            assert isinstance(got, JobFailed) is (poll == "failed")
        else:
            assert isinstance(got, SubmissionInDoubt), got
            assert sorted(got.task_ids) == sorted(named)
            assert all(task_id in str(got) for task_id in named)
        assert (counts.accepted, counts.in_doubt, counts.refused) == (accepted, not accepted, 0)
        assert (counts.queue.in_use, counts.queue.submitting, counts.queue.refusals) == (0, 0, 0)

    run_virtual(main())


@pytest.mark.virtual_time
async def test_run_rejected_key_with_task_id_and_renewed_key_is_posted_once() -> None:
    """If the key was renewed after a rejection that names a task, there is still no second POST."""
    provider = RejectingWeryAI(http=401, code=1002)
    keys = (f"sk-made-up-key-{number:04}" for number in range(100))
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        async with WeryAI(lambda: next(keys), base_url=URL, http=http) as client:
            assert (await client.run(CAT)).task_ids == ("task_0",)
    assert len(provider.posts) == 1


JOBS: dict[str, Callable[[str], Any]] = {
    "beside": lambda job_id: {"id": job_id, "status": "queued"},
    "in data": lambda job_id: {"data": {"job_id": job_id}},
    "in a job": lambda job_id: {"job": {"id": job_id, "status": "processing"}},
    "in a generation": lambda job_id: {"id": " ", "generation": {"generation_id": job_id}},
}
ERRORS = ("rate limited", "You already have an active generation", "flagged by moderation", {"code": "x"})
JOB_POLL_RESPONSES: dict[str, Any] = {
    "found": None,
    "not found": httpx.Response(404, json={"error": "Generation not found"}),
    "no answer": httpx.ReadError("reset"),
    "another prompt": httpx.Response(200, json={"id": "job_1", "status": "processing", "prompt": "1boy"}),
    "another seed": httpx.Response(200, json={"id": "job_1", "status": "succeeded", "output": {"seed": 8}}),
}


@attrs.define
class PolledBetterWaifu(FakeBetterWaifu):
    """A provider that may respond with another status of its jobs."""

    poll_response: Any = None

    def _poll(self, job_id: str) -> httpx.Response:
        usual = super()._poll(job_id)
        if isinstance(self.poll_response, Exception):
            raise self.poll_response
        return self.poll_response or usual


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from((200, *STATUSES)),
    st.sampled_from(ERRORS),
    st.sampled_from(sorted(JOBS)),
    st.sampled_from(sorted(JOB_POLL_RESPONSES)),
)
def test_run_betterwaifu_rejection_with_job_id_is_posted_once(http: int, error: Any, shape: str, poll: str) -> None:
    """BetterWaifu's jobs edition posts such a request once too, wherever the id is in the body."""

    async def main() -> None:
        body = {"success": False, "error": error, **JOBS[shape]("job_1")}
        provider = PolledBetterWaifu(
            lost=True, faults=[httpx.Response(http, json=body)], poll_response=JOB_POLL_RESPONSES[poll]
        )
        async with waifu_of(provider, "jobs") as client:
            got = await outcome(client.run(attrs.evolve(picture(), seed=1_234_567_890)))
            counts = client.statistics()
        assert (len(provider.prompts), len(provider.begun_at)) == (1, 1)
        if poll == "found":
            assert got.task_ids == ("job_1",)
        else:
            assert isinstance(got, SubmissionInDoubt)
            assert got.task_ids == ("job_1",)
        assert (counts.accepted, counts.in_doubt, counts.queue.in_use) == (poll == "found", poll != "found", 0)

    run_virtual(main())


@pytest.mark.parametrize("http", [200, 400, 402, 429, 503])
@pytest.mark.virtual_time
async def test_run_v1_images_rejection_with_image_id_is_in_doubt_without_poll(http: int) -> None:
    """The v1-images edition has no status check. The doubt names the picture, and no time is lost on polls."""
    fault = {"code": "rate_limit_exceeded", "message": "wait", "retry_after": 60}
    body = {"success": False, "error": fault, "data": {"image_id": "img_1"}}
    provider = FakeBetterWaifu(faults=[httpx.Response(http, json=body)])
    async with waifu_of(provider, "v1-images") as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(picture())
        assert asyncio.get_running_loop().time() < 1
    assert doubt.value.task_ids == ("img_1",)
    assert (len(provider.prompts), provider.polls) == (1, 0)


@pytest.mark.virtual_time
async def test_run_chat_rejection_with_id_is_in_doubt_without_poll() -> None:
    """A chat starts no task, so nothing is polled and nothing is sent again."""
    provider = RejectingWeryAI(shape=lambda ids: {"id": f"chat-{ids[0]}"})
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(Chat(messages="hello"))
        assert asyncio.get_running_loop().time() < 1
    assert (doubt.value.task_ids, len(provider.posts), provider.polls) == (("chat-task_0",), 1, {})


@pytest.mark.virtual_time
async def test_run_named_task_not_found_at_first_is_polled_again() -> None:
    """If a named task is not found at first and found a little later, the caller gets its job."""
    provider = RejectingWeryAI()
    provider.faults["status"] = [envelope(None, 1003, "task not exist")]
    async with client_of(provider) as client:
        assert (await client.run(CAT)).task_ids == ("task_0",)
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_run_too_many_tasks_naming_known_tasks_is_retried() -> None:
    """A rejection for too many tasks may list the running ones, submitted here or re-attached.

    It is sent again later.
    """
    events: list[Event] = []
    provider = RejectingWeryAI(code=6010, http=200, left=0, seconds=30.0)
    async with client_of(provider, observer=events.append) as client:
        job = await client.submit(CAT)
        provider.finished_at["elsewhere"] = provider.finished_at["task_0"]
        attached = client.job("elsewhere")
        refusal = {"status": 6010, "message": "no", "data": {"task_ids": [*job.task_ids, "elsewhere"]}}
        provider.faults["submit"] = [httpx.Response(200, json=refusal)]
        result = await client.run(TextToImage(prompt="a dog"))
        await attached
        counts = client.statistics()
    assert result.task_ids == ("task_2",)
    assert [post["prompt"] for post in provider.posts] == ["a cat", "a dog", "a dog"]
    assert (counts.accepted, counts.in_doubt, counts.queue.refusals) == (2, 0, 1)
    refusals = [event.error for event in events if isinstance(event, QueueBackedOff)]
    assert [isinstance(error, RateLimited) and error.task_ids == () for error in refusals] == [True]


@pytest.mark.virtual_time
async def test_run_parameter_error_naming_known_task_is_not_in_doubt() -> None:
    """If a parameter error repeats the id of a known task, the parameter is wrong, and nothing is in doubt."""
    provider = RejectingWeryAI(left=0)
    async with client_of(provider) as client:
        await client.submit(CAT)
        refusal = {"status": 1001, "message": "prompt exceeds", "data": {"task_id": "task_0"}}
        provider.faults["submit"] = [httpx.Response(400, json=refusal)]
        with pytest.raises(InvalidRequest):
            await client.run(TextToImage(prompt="a dog"))
    assert len(provider.posts) == 2


@pytest.mark.virtual_time
async def test_run_rejection_naming_task_of_request_is_not_in_doubt() -> None:
    """A podcast's second step that is rejected with the id of its first step is not ready, and not in doubt."""
    provider = FakeWeryAI()
    refusal = {"status": 8001, "message": "not ready", "data": {"task_id": "task_0"}}
    provider.faults["submit"] = [httpx.Response(200, json=refusal)]
    async with client_of(provider) as client:
        with pytest.raises(InvalidRequest):
            await client.run(PodcastVoice(task_id="task_0"))


@pytest.mark.virtual_time
async def test_run_same_task_in_two_rejections_is_adopted_by_neither() -> None:
    """If two concurrent requests are rejected with one task id, it belongs to one at most, so both are in doubt."""
    provider = RejectingWeryAI(left=2, latency=0.5, named=lambda _: ["task_0"])
    async with client_of(provider) as client:
        got = await asyncio.gather(*(outcome(client.run(request)) for request in (CAT, TextToImage(prompt="a dog"))))
    assert [isinstance(one, SubmissionInDoubt) and one.task_ids for one in got] == [("task_0",)] * 2
    assert len(provider.posts) == 2


@pytest.mark.virtual_time
async def test_budget_rejection_with_task_ids_counts_charge_or_holds_estimate() -> None:
    """The budget counts the charge of an accepted submission, and holds the estimate while a submission is in doubt."""
    events: list[Event] = []
    provider = RejectingWeryAI(left=2)
    async with client_of(provider, budget=5, prices={"text-to-image": 2}, observer=events.append) as client:
        await client.run(CAT)
        await asyncio.sleep(0.1)  # the end is stored in the background
        assert client.statistics().credits == 1  # the price that was reported, not the estimate
        provider.poll_response = lose_response
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        assert client.statistics().credits == 3
        provider.poll_response = lambda _: None
        await client.run(CAT)
        await asyncio.sleep(0.1)
        with pytest.raises(BudgetExceeded):
            await client.run(CAT)
    assert len(provider.posts) == 3
    assert [event.task_ids for event in events if isinstance(event, JobAccepted)] == [("task_0",), ("task_2",)]


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_resume_doubt_with_task_ids_adopts_task_in_later_run(kind: str, tmp_path: Path) -> None:
    """If the poll fails in two runs, the third adopts the task. None sends it again, although its price is allowed."""
    provider = RejectingWeryAI(seconds=0.01, poll_response=lambda _: envelope(None, 1009, "no"))
    prices = {"text-to-image": 1}
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(provider, ledger=ledger, prices=prices, polling=QUICK) as client:
            (first,) = [one async for one in client.stream([CAT], batch="cats", on_doubt=Resubmit(at_most=99))]
        async with client_of(provider, ledger=ledger, prices=prices, polling=QUICK) as client:
            (second,) = [one async for one in client.stream([CAT], batch="cats", on_doubt=Resubmit(at_most=99))]
        provider.poll_response = lambda _: None
        async with client_of(provider, ledger=ledger, prices=prices, polling=QUICK) as client:
            (third,) = [one async for one in client.resume("cats")]
        assert [isinstance(one.error, SubmissionInDoubt) and one.error.task_ids for one in (first, second)] == [
            ("task_0",)
        ] * 2
        assert third.result is not None
        assert third.result.task_ids == ("task_0",)
        (entry,) = await ledger.entries()
    assert (entry.state, entry.task_ids, len(provider.posts)) == (State.DONE, ("task_0",), 1)


async def test_resume_after_crash_during_poll_of_named_task_adopts_it(tmp_path: Path) -> None:
    """If the process dies during the poll of a named task, the ids are in the ledger, and the next run adopts it."""
    path = tmp_path / "jobs.db"
    provider = RejectingWeryAI(seconds=0.01)
    polled, crashed = asyncio.Event(), asyncio.Event()

    async def dying(request: httpx.Request) -> httpx.Response:
        answer = await provider(request)
        if request.method == "GET" and not crashed.is_set():
            polled.set()
            await crashed.wait()
        return answer

    async with ledger_of("file", tmp_path) as dead, client_of(dying, ledger=dead, polling=QUICK) as client:
        running = asyncio.create_task(outcome(anext(aiter(client.stream([CAT], batch="cats")))))
        await polled.wait()
        async with client_of(provider, ledger=path, polling=QUICK) as heir:
            assert isinstance(heir.ledger, SqliteLedger)
            assert [one.task_id for one in await heir.ledger.deliveries()] == ["task_0"]
            assert await heir.ledger._do(partial(_transitions.recover_from, dead=dead.owner)) == 1
            (one,) = [one async for one in heir.resume("cats")]
            assert one.result is not None
            assert one.result.task_ids == ("task_0",)
        crashed.set()
        await running
    assert len(provider.posts) == 1


@pytest.mark.parametrize("fault", [RuntimeError("out of order"), LedgerError("full")], ids=["foreign", "library"])
@pytest.mark.parametrize("method", ["entries_with_task", "record_delivery", "deliveries"])
@pytest.mark.virtual_time
async def test_run_rejection_with_task_ids_and_failing_ledger_is_in_doubt(method: str, fault: Exception) -> None:
    """If the ledger cannot look up or store the ids, nothing is sent again, and the error names the ids."""
    provider = RejectingWeryAI()
    ledger = FailingLedger(method, fault)
    await ledger.open()
    async with client_of(provider, ledger=ledger) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(CAT)
    assert (doubt.value.task_ids, len(provider.posts)) == (("task_0",), 1)


async def test_run_rejection_naming_late_task_of_other_request_is_not_in_doubt(tmp_path: Path) -> None:
    """A rejection that names the late task of an entry that was released leaves no doubt."""
    provider = RejectingWeryAI(seconds=0.01, left=0)
    async with ledger_of("file", tmp_path) as ledger, client_of(provider, ledger=ledger) as client:
        (entry,) = await ledger.add("b", [new_entry(CAT, client.base_url)], claim=True)
        await ledger.mark_sending(entry.id, "submission-id", 1.0)
        await ledger.mark_in_doubt("submission-id", "lost")
        await ledger.resolve_unsent(entry.id)
        await ledger.mark_accepted("submission-id", ["task_late"])
        refusal = {"status": 1001, "message": "prompt exceeds", "data": {"task_id": "task_late"}}
        provider.faults["submit"] = [httpx.Response(400, json=refusal)]
        with pytest.raises(InvalidRequest):
            await client.run(TextToImage(prompt="a dog"))


@pytest.mark.virtual_time
async def test_run_rejection_with_many_ids_keeps_and_polls_64() -> None:
    """Of ten thousand ids in a body, 64 are kept, and only those are polled, twice."""
    provider = RejectingWeryAI(
        named=lambda _: [f"task_{number}" for number in range(10_000)], poll_response=UNCONFIRMED["not found"]
    )
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt, match="and 59 more") as doubt:
            await client.run(CAT)
    assert len(doubt.value.task_ids) == 64
    assert sum(map(len, provider.polls.values())) == 128
