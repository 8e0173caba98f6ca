"""Refusals that name tasks: what was charged is not sent again, whatever the refusal says."""

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
from aiowery.ledger import MemoryLedger, SqliteLedger, State, _transitions
from aiowery.testing import run_virtual
from aiowery.weryai import Chat, PodcastVoice, TextToImage
from tests.support import CAT, URL, FakeWeryAI, client_of, envelope, ledger_of
from tests.support.fake_betterwaifu import FakeBetterWaifu, picture
from tests.support.fake_betterwaifu import client_of as waifu_of

pytestmark = pytest.mark.anyio

FOUR = TextToImage(prompt="a cat", image_number=4)
QUICK = PollPolicy().faster(100)
OLD = "2020-01-01T00:00:00Z"
KINDS = ("memory", "file")

Shape = Callable[[list[str]], Any]
SHAPES: dict[str, Shape] = {
    "a batch": lambda ids: {"batch_id": 7, "task_ids": ids},
    "ids and an id": lambda ids: {"task_id": ids[0], "task_ids": ids[1:]},
    "a list of tasks": lambda ids: [{"task_id": task_id, "task_status": "waiting"} for task_id in ids],
    "with what is no id": lambda ids: {"task_ids": [None, "", "..", "x" * 257, "a\nb", True, *ids]},
}


@attrs.define
class Refusing(FakeWeryAI):
    """Begins the tasks of the next `left` submissions, and answers with a refusal whose data have this `shape`.

    `named` changes what ids it names; `look` is what status checks say instead, if anything.
    """

    http: int = 429
    code: int | str = 1001
    shape: Shape = SHAPES["a batch"]
    left: int = 1
    named: Callable[[list[str]], list[str]] = lambda ids: ids
    look: Callable[[str], httpx.Response | None] = lambda _: None

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
        return self.look(task_id) or usual


def task(task_id: str, word: str = "PROCESSING", **more: Any) -> httpx.Response:
    """Return a status answer."""
    return envelope({"task_id": task_id, "task_status": word, **more})


def lost(_: str) -> httpx.Response:
    """Bring no answer."""
    raise httpx.ReadError("reset")


CONFIRMED: dict[str, Callable[[str], httpx.Response | None]] = {
    "as it is": lambda _: None,
    "with an echo": lambda task_id: task(task_id, "SUCCESS", images=["https://e.example/1.png"], prompt="A  cat."),
    "failed": lambda task_id: task(task_id, "FAILED", msg="blurred"),
}
UNCONFIRMED: dict[str, Callable[[str], httpx.Response | None]] = {
    "not found": lambda _: envelope(None, 1003, "task not exist"),
    "not found, by status": lambda _: httpx.Response(404),
    "refused": lambda _: envelope(None, 1009, "no"),
    "busy": lambda _: httpx.Response(503, text="<html>"),
    "no answer": lost,
    "another prompt": lambda task_id: task(task_id, prompt="a dog"),
    "another model": lambda task_id: task(task_id, model="FLUX"),
    "another kind": lambda task_id: task(task_id, "SUCCESS", videos=["https://e.example/1.mp4"]),
    "an old task": lambda task_id: task(task_id, created_at=OLD),
}
LOOKS = {**CONFIRMED, **UNCONFIRMED}
STATUSES = (200, 302, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503)
CODES: tuple[int | str, ...] = (1001, 1002, 1003, 1004, 1005, 1007, 1009, 1011, 5000, 6001, 6002, 6010, 6101, "no")
NAMINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "all": lambda ids: ids,
    "fewer": lambda ids: ids[:-1],
    "more": lambda ids: [*ids, "task_other"],
}


async def outcome(run: Any) -> Any:
    """Return what a call brings, or the error that it raises."""
    try:
        return await run
    except AioweryError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STATUSES),
    st.sampled_from(CODES),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(sorted(LOOKS)),
    st.sampled_from(sorted(NAMINGS)),
)
def test_a_body_with_ids_is_posted_once(http: int, code: int | str, shape: str, look: str, naming: str) -> None:
    """Whatever refuses it: accepted if all tasks, and no others, are found and fit; else in doubt with these ids."""

    async def main() -> None:
        world = Refusing(http=http, code=code, shape=SHAPES[shape], look=LOOKS[look], named=NAMINGS[naming])
        async with client_of(world) as client:
            got = await outcome(client.run(FOUR))
            counts = client.statistics()
        assert len(world.posts) == 1
        named = NAMINGS[naming]([f"task_{number}" for number in range(4)])
        accepted = look in CONFIRMED and naming != "fewer" and (naming != "more" or look == "as it is")
        if accepted:
            assert sorted(got.task_ids) == sorted(f"task_{number}" for number in range(4))
            assert isinstance(got, JobFailed) is (look == "failed")
        else:
            assert isinstance(got, SubmissionInDoubt), got
            assert sorted(got.task_ids) == sorted(named)
            assert all(task_id in str(got) for task_id in named)
        assert (counts.accepted, counts.in_doubt, counts.refused) == (accepted, not accepted, 0)
        assert (counts.queue.in_use, counts.queue.submitting, counts.queue.refusals) == (0, 0, 0)

    run_virtual(main())


@pytest.mark.virtual_time
async def test_a_renewed_key_does_not_send_it_again() -> None:
    """A refused key, and the key has been renewed meanwhile: a refusal that names a task is not answered by a POST."""
    world = Refusing(http=401, code=1002)
    keys = (f"sk-made-up-key-{number:04}" for number in range(100))
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        async with WeryAI(lambda: next(keys), base_url=URL, http=http) as client:
            assert (await client.run(CAT)).task_ids == ("task_0",)
    assert len(world.posts) == 1


JOBS: dict[str, Callable[[str], Any]] = {
    "beside": lambda job_id: {"id": job_id, "status": "queued"},
    "in data": lambda job_id: {"data": {"job_id": job_id}},
    "in a job": lambda job_id: {"job": {"id": job_id, "status": "processing"}},
    "in a generation": lambda job_id: {"id": " ", "generation": {"generation_id": job_id}},
}
ERRORS = ("rate limited", "You already have an active generation", "flagged by moderation", {"code": "x"})
JOB_LOOKS: dict[str, Any] = {
    "found": None,
    "not found": httpx.Response(404, json={"error": "Generation not found"}),
    "no answer": httpx.ReadError("reset"),
    "another prompt": httpx.Response(200, json={"id": "job_1", "status": "processing", "prompt": "1boy"}),
    "another seed": httpx.Response(200, json={"id": "job_1", "status": "succeeded", "output": {"seed": 8}}),
}


@attrs.define
class Looked(FakeBetterWaifu):
    """An provider that may say something else about its jobs."""

    look: Any = None

    def _poll(self, job_id: str) -> httpx.Response:
        usual = super()._poll(job_id)
        if isinstance(self.look, Exception):
            raise self.look
        return self.look or usual


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from((200, *STATUSES)),
    st.sampled_from(ERRORS),
    st.sampled_from(sorted(JOBS)),
    st.sampled_from(sorted(JOB_LOOKS)),
)
def test_a_refusal_with_a_job_is_posted_once(http: int, error: Any, shape: str, look: str) -> None:
    """BetterWaifu's jobs edition: the same law, wherever the id lies."""

    async def main() -> None:
        body = {"success": False, "error": error, **JOBS[shape]("job_1")}
        provider = Looked(lost=True, faults=[httpx.Response(http, json=body)], look=JOB_LOOKS[look])
        async with waifu_of(provider, "jobs") as client:
            got = await outcome(client.run(attrs.evolve(picture(), seed=1_234_567_890)))
            counts = client.statistics()
        assert (len(provider.prompts), len(provider.begun_at)) == (1, 1)
        if look == "found":
            assert got.task_ids == ("job_1",)
        else:
            assert isinstance(got, SubmissionInDoubt)
            assert got.task_ids == ("job_1",)
        assert (counts.accepted, counts.in_doubt, counts.queue.in_use) == (look == "found", look != "found", 0)

    run_virtual(main())


@pytest.mark.parametrize("http", [200, 400, 402, 429, 503])
@pytest.mark.virtual_time
async def test_a_picture_that_a_refusal_names_is_in_doubt(http: int) -> None:
    """The v1-images edition has nothing to ask: the doubt names the picture, and no time is lost on looks."""
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
async def test_an_answer_that_a_refusal_names_is_in_doubt() -> None:
    """A chat starts no task: nothing is asked about, and nothing is sent again."""
    world = Refusing(shape=lambda ids: {"id": f"chat-{ids[0]}"})
    async with client_of(world) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(Chat(messages="hello"))
        assert asyncio.get_running_loop().time() < 1
    assert (doubt.value.task_ids, len(world.posts), world.polls) == (("chat-task_0",), 1, {})


@pytest.mark.virtual_time
async def test_a_status_that_lags_behind_is_asked_about_again() -> None:
    """Not known in the first moment, and a little later: the caller gets its job."""
    world = Refusing()
    world.faults["status"] = [envelope(None, 1003, "task not exist")]
    async with client_of(world) as client:
        assert (await client.run(CAT)).task_ids == ("task_0",)
    assert len(world.posts) == 1


@pytest.mark.virtual_time
async def test_a_refusal_that_names_our_own_tasks_is_what_it_says() -> None:
    """Too many tasks, and a list of those that run, from here and re-attached: a plain refusal, sent again later."""
    events: list[Event] = []
    world = Refusing(code=6010, http=200, left=0, seconds=30.0)
    async with client_of(world, observer=events.append) as client:
        ours = await client.submit(CAT)
        world.finished_at["elsewhere"] = world.finished_at["task_0"]
        theirs = client.job("elsewhere")
        refusal = {"status": 6010, "message": "no", "data": {"task_ids": [*ours.task_ids, "elsewhere"]}}
        world.faults["submit"] = [httpx.Response(200, json=refusal)]
        result = await client.run(TextToImage(prompt="a dog"))
        await theirs
        counts = client.statistics()
    assert result.task_ids == ("task_2",)
    assert [post["prompt"] for post in world.posts] == ["a cat", "a dog", "a dog"]
    assert (counts.accepted, counts.in_doubt, counts.queue.refusals) == (2, 0, 1)
    refusals = [event.error for event in events if isinstance(event, QueueBackedOff)]
    assert [isinstance(error, RateLimited) and error.task_ids == () for error in refusals] == [True]


@pytest.mark.virtual_time
async def test_a_refusal_of_the_request_itself_may_name_our_own_task() -> None:
    """A parameter error that repeats an id which is known: the parameter is wrong, and nothing is in doubt."""
    world = Refusing(left=0)
    async with client_of(world) as client:
        await client.submit(CAT)
        refusal = {"status": 1001, "message": "prompt exceeds", "data": {"task_id": "task_0"}}
        world.faults["submit"] = [httpx.Response(400, json=refusal)]
        with pytest.raises(InvalidRequest):
            await client.run(TextToImage(prompt="a dog"))
    assert len(world.posts) == 2


@pytest.mark.virtual_time
async def test_a_task_that_the_request_names_is_no_news() -> None:
    """A podcast's second step, refused with the id of its first: not ready, and not in doubt."""
    world = FakeWeryAI()
    refusal = {"status": 8001, "message": "not ready", "data": {"task_id": "task_0"}}
    world.faults["submit"] = [httpx.Response(200, json=refusal)]
    async with client_of(world) as client:
        with pytest.raises(InvalidRequest):
            await client.run(PodcastVoice(task_id="task_0"))


@pytest.mark.virtual_time
async def test_one_task_that_two_refusals_name_is_adopted_by_neither() -> None:
    """Two requests at once, refused with the same id: it belongs to one of them at most, so both are in doubt."""
    world = Refusing(left=2, latency=0.5, named=lambda _: ["task_0"])
    async with client_of(world) as client:
        got = await asyncio.gather(*(outcome(client.run(request)) for request in (CAT, TextToImage(prompt="a dog"))))
    assert [isinstance(one, SubmissionInDoubt) and one.task_ids for one in got] == [("task_0",)] * 2
    assert len(world.posts) == 2


@pytest.mark.virtual_time
async def test_the_books_are_right_after_both_ends() -> None:
    """A budget counts what was charged once it is accepted, and holds the estimate while it is in doubt."""
    events: list[Event] = []
    world = Refusing(left=2)
    async with client_of(world, budget=5, prices={"text-to-image": 2}, observer=events.append) as client:
        await client.run(CAT)
        await asyncio.sleep(0.1)  # its end is written beside the work
        assert client.statistics().credits == 1  # the price that was reported, not the estimate
        world.look = lost
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        assert client.statistics().credits == 3
        world.look = lambda _: None
        await client.run(CAT)
        await asyncio.sleep(0.1)
        with pytest.raises(BudgetExceeded):
            await client.run(CAT)
    assert len(world.posts) == 3
    assert [event.task_ids for event in events if isinstance(event, JobAccepted)] == [("task_0",), ("task_2",)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_doubt_with_ids_is_settled_by_a_later_run(kind: str, tmp_path: Path) -> None:
    """The check fails in two runs, the third adopts the task; none sends it again, though its price could be paid."""
    world = Refusing(seconds=0.01, look=lambda _: envelope(None, 1009, "no"))
    prices = {"text-to-image": 1}
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(world, ledger=ledger, prices=prices, polling=QUICK) as client:
            (first,) = [one async for one in client.stream([CAT], batch="cats", on_doubt=Resubmit(at_most=99))]
        async with client_of(world, ledger=ledger, prices=prices, polling=QUICK) as client:
            (second,) = [one async for one in client.stream([CAT], batch="cats", on_doubt=Resubmit(at_most=99))]
        world.look = lambda _: None
        async with client_of(world, ledger=ledger, prices=prices, polling=QUICK) as client:
            (third,) = [one async for one in client.resume("cats")]
        assert [isinstance(one.error, SubmissionInDoubt) and one.error.task_ids for one in (first, second)] == [
            ("task_0",)
        ] * 2
        assert third.result is not None
        assert third.result.task_ids == ("task_0",)
        (entry,) = await ledger.entries()
    assert (entry.state, entry.task_ids, len(world.posts)) == (State.DONE, ("task_0",), 1)


async def test_a_doubt_with_ids_survives_a_crash(tmp_path: Path) -> None:
    """The process dies while it asks about the named task: the ids are on the disk, and the next run adopts it."""
    path = tmp_path / "jobs.db"
    world = Refusing(seconds=0.01)
    asked, gone = asyncio.Event(), asyncio.Event()

    async def dying(request: httpx.Request) -> httpx.Response:
        answer = await world(request)
        if request.method == "GET" and not gone.is_set():
            asked.set()
            await gone.wait()
        return answer

    async with ledger_of("file", tmp_path) as dead, client_of(dying, ledger=dead, polling=QUICK) as client:
        running = asyncio.create_task(outcome(anext(aiter(client.stream([CAT], batch="cats")))))
        await asked.wait()
        async with client_of(world, ledger=path, polling=QUICK) as heir:
            assert isinstance(heir.ledger, SqliteLedger)
            assert [one.task_id for one in await heir.ledger.deliveries()] == ["task_0"]
            assert await heir.ledger._do(partial(_transitions.recover_from, dead=dead.owner)) == 1
            (one,) = [one async for one in heir.resume("cats")]
            assert one.result is not None
            assert one.result.task_ids == ("task_0",)
        gone.set()
        await running
    assert len(world.posts) == 1


class Broken(MemoryLedger):
    """A ledger of the caller's own, with a fault in one of its verbs."""

    verb = ""
    fault: Exception = RuntimeError("out of order")

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "verb"):
            raise self.fault
        return super().__getattribute__(name)


@pytest.mark.parametrize("fault", [RuntimeError("out of order"), LedgerError("full")], ids=["foreign", "ours"])
@pytest.mark.parametrize("verb", ["entries_with_task", "record_delivery", "deliveries"])
@pytest.mark.virtual_time
async def test_a_ledger_that_fails_leaves_the_doubt(verb: str, fault: Exception) -> None:
    """What cannot be looked up or kept is not sent again either; the error names the ids."""
    world = Refusing()
    broken = Broken()
    await broken.open()
    broken.verb, broken.fault = verb, fault
    async with client_of(world, ledger=broken) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(CAT)
    assert (doubt.value.task_ids, len(world.posts)) == (("task_0",), 1)


async def test_a_late_task_is_not_taken_for_another_ones(tmp_path: Path) -> None:
    """Released, and charged after all: a refusal of another request that names that task says nothing new."""
    world = Refusing(seconds=0.01, left=0)
    async with ledger_of("file", tmp_path) as ledger, client_of(world, ledger=ledger) as client:
        (entry,) = await ledger.add("b", [new_entry(CAT, client.base_url)], claim=True)
        await ledger.mark_sending(entry.id, "ref", 1.0)
        await ledger.mark_in_doubt("ref", "lost")
        await ledger.resolve_unsent(entry.id)
        await ledger.mark_accepted("ref", ["task_late"])
        refusal = {"status": 1001, "message": "prompt exceeds", "data": {"task_id": "task_late"}}
        world.faults["submit"] = [httpx.Response(400, json=refusal)]
        with pytest.raises(InvalidRequest):
            await client.run(TextToImage(prompt="a dog"))


@pytest.mark.virtual_time
async def test_so_many_ids_are_bounded() -> None:
    """A body with ten thousand ids: 64 are kept, and it is asked about no more than those, twice."""
    world = Refusing(named=lambda _: [f"task_{number}" for number in range(10_000)], look=UNCONFIRMED["not found"])
    async with client_of(world) as client:
        with pytest.raises(SubmissionInDoubt, match="and 59 more") as doubt:
            await client.run(CAT)
    assert len(doubt.value.task_ids) == 64
    assert sum(map(len, world.polls.values())) == 128
