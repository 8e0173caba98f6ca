"""Durable batches, through a client: what resumes, what is never sent again, what is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from aiowery import ImageResult, Limits, Outcome, OutcomeStream, PollPolicy, Resubmit, Result, WeryAI
from aiowery._journal.journal import new_entry
from aiowery.errors import (
    BudgetExceeded,
    ConfigurationError,
    InsufficientCredits,
    InvalidRequest,
    JobFailed,
    JobTimeout,
    LedgerError,
    NotSent,
    QueueTooLong,
    SubmissionInDoubt,
)
from aiowery.ledger import Ledger, MemoryLedger, SqliteLedger, State
from aiowery.testing import run_virtual
from aiowery.weryai import ImageUpscale, TextToImage, from_dict
from tests.support import KEY, FakeWeryAI, client_of, envelope, ledger_of

pytestmark = pytest.mark.anyio

QUICK = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
KINDS = ("memory", "file")
LOST = httpx.ReadTimeout("no answer")


def cats(count: int, start: int = 0) -> list[TextToImage]:
    """Return so many different requests."""
    return [TextToImage(prompt=f"cat {n}") for n in range(start, start + count)]


async def streamed(
    world: FakeWeryAI,
    ledger: Ledger | Path | str,
    requests: Sequence[TextToImage],
    leave_after: int = 10_000,
    **more: Any,
) -> list[Outcome[ImageResult]]:
    """Run the batch "cats" in a client of its own, and return what came until we left."""
    outcomes: list[Outcome[ImageResult]] = []
    async with (
        client_of(world, ledger=ledger, polling=QUICK, limits=Limits(max_doubts=None)) as client,
        client.stream(requests, batch="cats", **more) as stream,
    ):
        async for outcome in stream:
            outcomes.append(outcome)
            if len(outcomes) == leave_after:
                break
    return outcomes


def prompts(world: FakeWeryAI) -> list[str]:
    """Return what was paid for, in order of the alphabet."""
    return sorted(body["prompt"] for body in world.posts)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_that_was_left_resumes(kind: str, tmp_path: Path) -> None:
    """Each request is paid for once, whoever asks how often; what is done is answered from the ledger."""
    world = FakeWeryAI(seconds=0.1)
    async with ledger_of(kind, tmp_path) as ledger:
        left = await streamed(world, ledger, cats(40), leave_after=5)
        resumed = await streamed(world, ledger, cats(40))
        again = await streamed(world, ledger, cats(40), ordered=True)
        entries = await ledger.entries("cats")
    assert len(left) == 5
    assert prompts(world) == sorted(cat.prompt for cat in cats(40))
    assert all(outcome.result for outcome in resumed)
    assert [outcome.index for outcome in again] == list(range(40))
    first = next(outcome for outcome in resumed if outcome.index == 3)
    assert again[3].unwrap().assets == first.unwrap().assets
    assert again[3].unwrap().raw == first.unwrap().raw
    assert again[3].unwrap().credits == 1.0
    assert {entry.state for entry in entries} == {State.DONE}


async def test_a_path_is_opened_and_closed_with_the_client(tmp_path: Path) -> None:
    """`ledger="jobs.db"` is all that it takes; who is open is seen beside it, and nobody afterwards."""
    path = tmp_path / "jobs.db"
    world = FakeWeryAI(seconds=0.01)
    await streamed(world, path, cats(3))
    assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []
    await streamed(world, str(path), cats(3))
    assert len(world.posts) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_inserted_or_moved_changes_nothing_for_the_others(kind: str, tmp_path: Path) -> None:
    """A line more at the top of the list pays for that line alone, and equal requests are told apart by number."""
    world = FakeWeryAI(seconds=0.01)
    async with ledger_of(kind, tmp_path) as ledger:
        await streamed(world, ledger, [*cats(5), *cats(2)])
        assert len(world.posts) == 7
        outcomes = await streamed(world, ledger, [*cats(1, 90), *reversed(cats(5)), *cats(3)])
    assert len(outcomes) == 9
    assert prompts(world)[7 - 9 :] == ["cat 4", "cat 90"]
    assert len(world.posts) == 9


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_in_doubt_is_told_each_time_and_never_sent_again(kind: str, tmp_path: Path) -> None:
    """A lost answer stays a doubt, run after run, until somebody decides."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of(kind, tmp_path) as ledger:
        for _ in range(3):
            (outcome,) = await streamed(world, ledger, cats(1))
            assert isinstance(outcome.error, SubmissionInDoubt)
            assert "call history" in str(outcome.error)
            assert outcome.error.sent_at
        assert len(world.posts) == 1
        assert outcome.entry_id is not None
        await ledger.resolve_unsent(outcome.entry_id)
        (released,) = await streamed(world, ledger, cats(1))
    assert released.result
    assert len(world.posts) == 2


async def test_an_adopted_doubt_is_polled_on(tmp_path: Path) -> None:
    """Whoever finds the task id in the provider's history gets the result for what was paid."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of("file", tmp_path) as ledger:
        (outcome,) = await streamed(world, ledger, cats(1))
        world.finished_at["found"] = 0.0
        await ledger.resolve_accepted(outcome.entry_id or 0, ["found"])
        (adopted,) = await streamed(world, ledger, cats(1))
    assert adopted.unwrap().task_ids == ("found",)
    assert len(world.posts) == 1


async def test_a_doubt_can_be_sent_again(tmp_path: Path) -> None:
    """`resubmit` releases and submits at once; what is in no doubt is refused."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of("file", tmp_path) as ledger, client_of(world, ledger=ledger, polling=QUICK) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.submit(TextToImage(prompt="a plain one"))
        (doubt,) = await ledger.entries(states=[State.IN_DOUBT])
        job = await client.resubmit(doubt.id)
        assert (await job).assets
        with pytest.raises(LedgerError, match="not in doubt"):
            await client.resubmit(doubt.id)
        with pytest.raises(LedgerError, match="no entry 99"):
            await client.resubmit(99)
    assert [body["prompt"] for body in world.posts] == ["a plain one"] * 2


async def test_a_refusal_is_kept_one_that_meets_everybody_is_not(tmp_path: Path) -> None:
    """A wrong parameter stays refused, without a second POST; for want of credits nothing has failed."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [envelope(None, 1001, "prompt too odd")]})
    async with ledger_of("file", tmp_path) as ledger:
        for _ in range(2):
            (wrong,) = await streamed(world, ledger, cats(1))
            assert isinstance(wrong.error, InvalidRequest)
            assert "prompt too odd" in str(wrong.error)
        assert len(world.posts) == 1
        world.faults["submit"] = [envelope(None, 1004, "insufficient credits")]
        (poor, *later) = await streamed(world, ledger, cats(9, 5), in_flight=1)
        assert isinstance(poor.error, InsufficientCredits)
        assert {type(outcome.error) for outcome in later} == {NotSent}
        assert "insufficient credits" in str(later[0].error)
        assert len(world.posts) == 2
        rich = await streamed(world, ledger, cats(9, 5))
    assert all(outcome.result for outcome in rich)


async def test_a_failed_job_is_told_again_with_its_reason(tmp_path: Path) -> None:
    """What the provider failed to make stays failed, with its reason, ids and answers."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "too blurred"})
    world = FakeWeryAI(seconds=0.01, faults={"status": [failed]})
    async with ledger_of("file", tmp_path) as ledger:
        (first,) = await streamed(world, ledger, cats(1))
        (second,) = await streamed(world, ledger, cats(1))
    assert isinstance(first.error, JobFailed)
    assert isinstance(second.error, JobFailed)
    assert str(second.error) == str(first.error)
    assert second.error.task_ids == ("task_0",)
    assert second.error.snapshots == first.error.snapshots
    assert len(world.posts) == 1


async def test_the_rest_of_a_batch_streams_from_the_ledger_alone(tmp_path: Path) -> None:
    """`resume` needs no list: all that was entered and has not ended, at its place."""
    world = FakeWeryAI(seconds=0.1)
    async with ledger_of("file", tmp_path) as ledger:
        left = await streamed(world, ledger, cats(30), leave_after=3)
        async with client_of(world, ledger=ledger, polling=QUICK) as client:
            done = {entry.index for entry in await ledger.entries("cats", [State.DONE])}
            rest = [outcome async for outcome in client.resume("cats")]
            everything = [outcome async for outcome in client.resume("cats", ended=True, ordered=True)]
            nothing = [outcome async for outcome in client.resume("cats")]
            with pytest.raises(ConfigurationError, match="no batch 'dogs'"):
                await anext(client.resume("dogs"))
    assert done >= {outcome.index for outcome in left}
    assert {outcome.index for outcome in rest} == set(range(30)) - done
    assert [outcome.index for outcome in everything] == list(range(30))
    assert all(isinstance(outcome.result, Result) for outcome in rest)
    assert nothing == []
    assert len(world.posts) == 30


async def test_two_processes_worth_of_clients_share_one_batch(tmp_path: Path) -> None:
    """Two openings of one file: each request is sent once, by either, and both get every outcome."""
    world = FakeWeryAI(seconds=0.05)
    ours, theirs = await asyncio.gather(
        streamed(world, tmp_path / "l.db", cats(60)), streamed(world, tmp_path / "l.db", cats(60), ordered=True)
    )
    assert len(world.posts) == 60
    assert {outcome.index for outcome in ours if outcome.result} == set(range(60))
    assert [outcome.index for outcome in theirs if outcome.result] == list(range(60))


async def test_ids_are_durable_before_submit_returns(tmp_path: Path) -> None:
    """Whoever holds a job finds its ids in the file, whatever happens next."""
    path = tmp_path / "jobs.db"
    async with client_of(FakeWeryAI(seconds=9), ledger=path) as client:
        job = await client.submit(cats(1)[0])
        with contextlib.closing(sqlite3.connect(path)) as reader:
            rows = reader.execute("SELECT state, task_ids FROM entry").fetchall()
    assert rows == [("accepted", f'["{job.task_ids[0]}"]')]


async def test_closing_finishes_what_is_being_sent_and_written(tmp_path: Path) -> None:
    """A POST under way when the client closes ends with its ids in the file, and the rest stays new."""
    path = tmp_path / "jobs.db"
    world = FakeWeryAI(seconds=30, latency=0.2)
    async with client_of(world, ledger=path) as client:
        waiting = asyncio.create_task(reader(client.stream(cats(60), batch="cats")))
        while not world.posts:  # noqa: ASYNC110 - the provider sets no events
            await asyncio.sleep(0.01)
    await asyncio.gather(waiting, return_exceptions=True)
    async with ledger_of("file", tmp_path) as ledger:
        assert await ledger.recover_abandoned() == 0
        states = Counter(entry.state for entry in await ledger.entries("cats"))
    assert states == {State.ACCEPTED: len(world.posts), State.NEW: 60 - len(world.posts)}


@pytest.mark.parametrize("content", [b"my notes " * 200, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_ledger_stops_everything(content: bytes, tmp_path: Path) -> None:
    """The client does not open, nothing is sent, and the file is as it was; the same client opens with a better one."""
    path = tmp_path / "notes"
    path.write_bytes(content)
    world = FakeWeryAI()
    with pytest.raises(LedgerError, match="give another file"):
        async with client_of(world, ledger=path):
            pass
    assert path.read_bytes() == content
    assert world.posts == []


class Broken(MemoryLedger):
    """A ledger whose disk is full from some verb on."""

    def __init__(self, verb: str) -> None:
        super().__init__()
        self._verb = verb

    def __getattribute__(self, name: str) -> Any:
        if name == super().__getattribute__("_verb"):
            return self._full
        return super().__getattribute__(name)

    async def _full(self, *_: Any, **__: Any) -> None:
        raise LedgerError("the disk is full")


class FullOnce(SqliteLedger):
    """A ledger whose disk is full when the first ids come."""

    full = True

    async def mark_accepted(self, *arguments: Any, **more: Any) -> None:
        """Fail once."""
        if self.full:
            self.full = False
            raise LedgerError("the disk is full")
        await super().mark_accepted(*arguments, **more)


@pytest.mark.parametrize("verb", ["add", "mark_sending"])
async def test_what_cannot_be_written_down_is_not_sent(verb: str) -> None:
    """No note, no POST; the lane's place is free again."""
    world = FakeWeryAI(seconds=0.01)
    ledger = Broken(verb)
    await ledger.open()
    async with client_of(world, ledger=ledger) as client:
        with pytest.raises(LedgerError, match="full"):
            await client.run(cats(1)[0])
        assert client.statistics().queue.in_use == 0
    assert world.posts == []


async def test_what_was_paid_for_and_cannot_be_written_down_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The job goes on and its ids stand in the log."""
    world = FakeWeryAI(seconds=0.01)
    ledger = Broken("mark_accepted")
    await ledger.open()
    async with client_of(world, ledger=ledger, polling=QUICK) as client:
        with caplog.at_level(logging.ERROR, "aiowery"):
            result = await client.run(cats(1)[0])
    assert result.assets
    assert "not written to the ledger: tasks task_0" in caplog.text


async def test_an_equal_request_is_answered_from_the_ledger_on_demand(tmp_path: Path) -> None:
    """With `reuse` a done request is not paid for again, one under way is joined; without it each is its own."""
    world = FakeWeryAI(seconds=0.1)
    cat, other = cats(2)
    for ledger in (None, tmp_path / "l.db"):
        world.posts.clear()
        async with client_of(world, ledger=ledger, polling=QUICK, reuse=True) as client:
            together = await asyncio.gather(*(client.run(cat) for _ in range(5)), client.run(other))
            later = await client.run(cat)
        assert len(world.posts) == 2
        assert {result.task_ids for result in together[:5]} == {later.task_ids}
        assert together[5].task_ids != later.task_ids
    async with client_of(world, ledger=tmp_path / "l.db", polling=QUICK) as client:
        await client.run(cat)
        async with client.stream([cat, cat, other], batch="b", reuse=True) as outcomes:
            assert len([outcome async for outcome in outcomes if outcome.result]) == 3
    assert len(world.posts) == 3


async def test_two_clients_on_one_open_ledger_know_what_the_other_sends(tmp_path: Path) -> None:
    """What one of them is just sending is no doubt for the other, who waits for it and pays nothing."""
    world = FakeWeryAI(seconds=0.05, latency=1.2)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(world, ledger=ledger, polling=QUICK, reuse=True) as one,
        client_of(world, ledger=ledger, polling=QUICK, reuse=True) as other,
    ):
        first = asyncio.create_task(one.run(cats(1)[0]))
        await asyncio.sleep(0.2)
        assert [entry.state for entry in await ledger.entries()] == [State.SENDING]
        assert (await other.run(cats(1)[0])).task_ids == (await first).task_ids
    assert len(world.posts) == 1


async def test_a_failed_or_doubtful_request_is_not_reused(tmp_path: Path) -> None:
    """Reuse answers with what is there; it neither repeats a failure nor waits for a decision."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [LOST, envelope(None, 1001, "no")]})
    async with client_of(world, ledger=tmp_path / "l.db", polling=QUICK, reuse=True) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.run(cats(1)[0])
        with pytest.raises(InvalidRequest):
            await client.run(cats(1)[0])
        assert (await client.run(cats(1)[0])).assets
    assert len(world.posts) == 3


async def test_a_clients_budget_is_kept() -> None:
    """What would exceed it is not sent; credits are held while a request is under way, then settled."""
    world = FakeWeryAI(seconds=0.05)
    prices = {"WERYAI_IMAGE_2_0": 2.0}
    async with client_of(world, polling=QUICK, budget=4, prices=prices, price_per_credit=0.05) as client:
        results = await asyncio.gather(*map(client.run, cats(5)), return_exceptions=True)
        refused = [error for error in results if isinstance(error, BudgetExceeded)]
        assert len(world.posts) == 2
        assert len(refused) == 3
        assert (refused[0].cost, refused[0].used, refused[0].budget) == (2.0, 4.0, 4)
        assert (await client.run(cats(1)[0])).credits == 1.0
        with pytest.raises(BudgetExceeded, match="3 of 4 credits"):
            await client.run(cats(1)[0])
        assert client.statistics().credits == 3.0
        assert client.statistics().money == pytest.approx(0.15)
    assert len(world.posts) == 3


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
async def test_a_price_that_is_none_is_refused_and_the_request_stays_new(price: float, tmp_path: Path) -> None:
    """The table is named, nothing is sent, and with a better one the same batch goes on."""
    world = FakeWeryAI(seconds=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        async with client_of(world, ledger=ledger, polling=QUICK, prices=lambda _: price) as client:
            (outcome,) = [one async for one in client.stream(cats(1), batch="cats", budget=5)]
        assert isinstance(outcome.error, ConfigurationError)
        assert "prices must return a number of credits" in str(outcome.error)
        assert world.posts == []
        (outcome,) = await streamed(world, ledger, cats(1), budget=5)
    assert outcome.result


async def test_half_a_character_in_an_answer_costs_nothing(tmp_path: Path) -> None:
    """What JSON can bring and no file can hold is stored with a mark in its place; the ledger goes on."""
    refusal = httpx.Response(200, content=b'{"status": 1001, "message": "too \\ud800 odd", "data": null}')
    world = FakeWeryAI(seconds=0.01, faults={"submit": [refusal]})
    async with ledger_of("file", tmp_path) as ledger:
        outcomes = await streamed(world, ledger, cats(2))
        entries = await ledger.entries("cats")
    assert sum(outcome.result is not None for outcome in outcomes) == 1
    assert sorted(entry.state for entry in entries) == [State.DONE, State.FAILED]
    assert any("odd" in entry.reason for entry in entries)


async def test_prices_are_learned_from_what_was_charged() -> None:
    """Without a table the latest charge for the same model and settings is the estimate; unknown ones go through."""
    world = FakeWeryAI(seconds=0.01)
    async with client_of(world, polling=QUICK, budget=3) as client:
        await client.run(cats(1)[0])
        results = await asyncio.gather(*map(client.run, cats(5)), return_exceptions=True)
    assert sum(isinstance(error, BudgetExceeded) for error in results) == 3
    assert len(world.posts) == 3


async def test_a_budget_holds_even_where_no_price_is_known() -> None:
    """One goes first and tells what its sort costs; the others wait for it, however many there are at once."""
    world = FakeWeryAI(seconds=0.05)
    async with client_of(world, polling=QUICK, budget=3) as client:
        results = await asyncio.gather(*map(client.run, cats(12)), return_exceptions=True)
        assert client.statistics().credits == 3.0
    assert sum(isinstance(error, BudgetExceeded) for error in results) == 9
    assert (len(world.posts), world.most_under_way) == (3, 2)


def test_where_nobody_tells_the_price_nobody_waits_twice() -> None:
    """The first ends without a word of credits: the others go as they come, and so they do when it fails."""

    async def silent(request: httpx.Request) -> httpx.Response:
        answer = await world(request)
        return httpx.Response(200, content=answer.content.replace(b"cost_credits", b"nothing"))

    async def run(provider: Any, count: int, budget: float) -> list[Any]:
        async with client_of(provider, polling=QUICK, budget=budget) as client:
            return await asyncio.gather(*map(client.run, cats(count)), return_exceptions=True)

    world = FakeWeryAI(seconds=0.05)
    results = run_virtual(run(silent, 12, budget=3))
    assert (len(results), world.most_under_way) == (12, 11)
    world = FakeWeryAI(seconds=0.05, faults={"submit": [envelope(None, 1001, "no"), LOST]})
    outcomes = run_virtual(run(world, 6, budget=2))
    assert sum(isinstance(outcome, ImageResult) for outcome in outcomes) == 2


@pytest.mark.parametrize("told", [{"cost_credits": 0}, {}], ids=["0 credits", "no credits"])
async def test_a_first_that_fails_does_not_open_the_gate(told: dict[str, int]) -> None:
    """What failed cost nothing and tells no price: the next goes alone again, and the budget holds."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "bad luck", **told})
    world = FakeWeryAI(seconds=0.05, faults={"status": [failed]})
    async with client_of(world, polling=QUICK, budget=3) as client:
        await asyncio.gather(*map(client.run, cats(12)), return_exceptions=True)
        assert client.statistics().credits == 3.0
    assert len(world.posts) == 4


async def test_a_first_that_never_ends_holds_up_the_others_for_the_usual_patience() -> None:
    """Its caller may wait without end (`deadline=None`); those of its sort go on after the time that a job may take."""
    world = FakeWeryAI(seconds=60.0)
    policy = attrs.evolve(QUICK, image_timeout=0.2)
    async with client_of(world, polling=policy, budget=3) as client:
        first, *others = [asyncio.ensure_future(client.run(cat, timeout=None)) for cat in cats(4)]
        await asyncio.sleep(0.1)
        assert len(world.posts) == 1
        async with asyncio.timeout(5):
            while len(world.posts) < 4:  # noqa: ASYNC110 - a double sets no event
                await asyncio.sleep(0.01)
        assert not first.done()
    await asyncio.gather(first, *others, return_exceptions=True)


async def test_who_waits_for_a_price_waits_no_longer_than_for_the_line() -> None:
    """`start_within` counts while the first of a sort has yet to tell the price, too."""
    world = FakeWeryAI(seconds=60.0)
    async with client_of(world, polling=QUICK, budget=3) as client:
        await client.submit(cats(1)[0])
        with pytest.raises(QueueTooLong, match="othing was sent"):
            await asyncio.wait_for(client.submit(cats(2)[1], start_within=0.05), 5)
    assert len(world.posts) == 1


async def test_who_waits_for_a_price_is_turned_away_at_the_end() -> None:
    """Closing while the first is under way: the others were not sent, and hear so."""
    world = FakeWeryAI(seconds=60.0)
    async with client_of(world, polling=QUICK, budget=3) as client:
        waiting = [asyncio.ensure_future(client.submit(cat)) for cat in cats(4)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(error, NotSent) for error in ended) == 3
    assert len(world.posts) == 1


async def test_what_we_have_no_patience_for_may_be_taken_by_another(tmp_path: Path) -> None:
    """Timed out here, while we live on: another process with the same batch polls it to its end."""
    world = FakeWeryAI(seconds=0.6)
    path = tmp_path / "l.db"
    impatient = attrs.evolve(QUICK, image_timeout=0.1)
    async with client_of(world, ledger=path, polling=impatient) as one:
        (timed_out,) = [outcome async for outcome in one.stream(cats(1), batch="cats", job_timeout=0.1)]
        assert isinstance(timed_out.error, JobTimeout)
        (outcome,) = await streamed(world, path, cats(1))
    assert outcome.result is not None
    assert len(world.posts) == 1


async def test_ids_that_could_not_be_written_are_written_later(tmp_path: Path) -> None:
    """The disk was full when the provider answered, and has room when the job ends: the entry is done, not in doubt."""
    world = FakeWeryAI(seconds=0.1)
    ledger = FullOnce(tmp_path / "l.db")
    await ledger.open()
    async with client_of(world, ledger=ledger, polling=QUICK) as client, client.stream(cats(1), batch="b") as stream:
        assert [outcome.result is not None async for outcome in stream] == [True]
    assert [entry.state for entry in await ledger.entries("b")] == [State.DONE]
    await ledger.aclose()


async def test_a_refusal_or_a_failed_connection_gives_the_credits_back() -> None:
    """Only what may have been charged counts: a doubt does, a refusal does not."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [envelope(None, 1001, "no"), httpx.PoolTimeout("full"), LOST]})
    async with client_of(world, polling=QUICK, budget=2, prices=lambda _: 1.0) as client:
        with pytest.raises(InvalidRequest):
            await client.run(cats(1)[0])
        with pytest.raises(SubmissionInDoubt):
            await client.run(cats(1)[0])
        await client.run(cats(1)[0])
        with pytest.raises(BudgetExceeded):
            await client.run(cats(1)[0])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batchs_budget_holds_over_all_runs(kind: str, tmp_path: Path) -> None:
    """The ledger knows what the batch has used; with a larger budget the rest is sent."""
    world = FakeWeryAI(seconds=0.02)
    async with ledger_of(kind, tmp_path) as ledger:
        first = await streamed(world, ledger, cats(6), budget=2)
        second = await streamed(world, ledger, cats(6), budget=2)
        assert sum(isinstance(outcome.error, BudgetExceeded) for outcome in first) <= 4
        used = len(world.posts)
        assert sum(isinstance(outcome.error, BudgetExceeded) for outcome in second) == 6 - used
        third = await streamed(world, ledger, cats(6), budget=6)
        (summary,) = await ledger.batches()
    assert all(outcome.result for outcome in third)
    assert (summary.used, summary.credits) == (6.0, 6.0)
    assert len(world.posts) == 6


@pytest.mark.parametrize("budget", [-1, float("inf"), float("nan"), "5"])
async def test_a_budget_is_a_number_of_credits(budget: Any) -> None:
    """Anything else is refused before anything is sent, with the value."""
    with pytest.raises(ConfigurationError, match="budget must be"):
        WeryAI("k", budget=budget)
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match="budget must be"):
            client.stream(cats(1), batch="b", budget=budget)
        with pytest.raises(ConfigurationError, match="give batch="):
            client.stream(cats(1), budget=5)
        with pytest.raises(ConfigurationError, match="non-empty string"):
            client.stream(cats(1), batch="")


async def test_a_batch_belongs_to_its_host(tmp_path: Path) -> None:
    """What a sandbox made answers nothing for the real service, and the names are not mixed up."""
    world = FakeWeryAI(seconds=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        await streamed(world, ledger, cats(2))
        async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
            elsewhere = WeryAI(KEY, base_url="https://other.example", http=http, ledger=ledger, polling=QUICK)
            async with elsewhere as client:
                with pytest.raises(LedgerError, match=r"begun at https://api\.example\.com"):
                    await anext(client.stream(cats(2), batch="cats"))
                with pytest.raises(ConfigurationError, match="begun at"):
                    await anext(client.resume("cats"))
                async with client.stream(cats(2), batch="others", reuse=True) as outcomes:
                    assert [outcome.error async for outcome in outcomes] == [None, None]
    assert len(world.posts) == 4


async def test_doubts_are_sent_again_where_the_caller_says_so(tmp_path: Path) -> None:
    """An explicit choice, for at most so many credits, and only where the price is known."""
    world = FakeWeryAI(seconds=0.01, faults={"submit": [LOST] * 3})
    async with ledger_of("file", tmp_path) as ledger:
        held = await streamed(world, ledger, cats(3), on_doubt=Resubmit(at_most=2))
        assert all(isinstance(outcome.error, SubmissionInDoubt) for outcome in held)
        await streamed(world, ledger, cats(1, 10))  # which teaches the price
        again = await streamed(world, ledger, cats(3), on_doubt=Resubmit(at_most=2))
    assert sum(outcome.result is not None for outcome in again) == 2
    assert sum(isinstance(outcome.error, SubmissionInDoubt) for outcome in again) == 1
    assert len(world.posts) == 6


async def reader(stream: OutcomeStream[ImageResult]) -> None:
    """Read a stream."""
    async for _ in stream:
        pass


async def test_what_is_polled_on_takes_its_places(tmp_path: Path) -> None:
    """Tasks that a former run left under way count against the provider's limit: nothing is refused for load."""
    world = FakeWeryAI(seconds=0.6, max_tasks=20)
    async with ledger_of("file", tmp_path) as ledger:
        async with (
            client_of(world, ledger=ledger, polling=QUICK) as client,
            client.stream(cats(60), batch="cats") as it,
        ):
            waiting = asyncio.create_task(reader(it))
            while len(world.posts) < 20:  # noqa: ASYNC110 - the provider sets no events
                await asyncio.sleep(0.01)
            waiting.cancel()
        async with client_of(world, ledger=ledger, polling=QUICK) as client:
            outcomes = [outcome async for outcome in client.stream(cats(60), batch="cats")]
            assert client.statistics().queue.refusals == 0
    assert all(outcome.result for outcome in outcomes)
    assert world.most_under_way == 20


@pytest.mark.virtual_time
async def test_cancelled_callers_lose_nothing() -> None:
    """300 callers with random patience: every id that was paid for is in the ledger, and no place is lost."""
    world = FakeWeryAI(seconds=8.0, latency=0.5)
    ledger = MemoryLedger(remember=1000)
    await ledger.open()
    chance = random.Random(5)  # noqa: S311 - no secret
    async with client_of(world, ledger=ledger) as client:

        async def impatient(cat: TextToImage) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0, 90)):
                    await client.run(cat)

        await asyncio.gather(*map(impatient, cats(300)))
        await asyncio.gather(*(job.wait_finished() for job in client.jobs()))
        await asyncio.sleep(1)
        assert client.statistics().queue.in_use == 0
        assert client.statistics().queue.submitting == 0
    entries = await ledger.entries()
    assert len(world.posts) > 100
    assert len(world.posts) == len(world.finished_at)
    assert {task_id for entry in entries for task_id in entry.task_ids} == set(world.finished_at)
    assert {entry.state for entry in entries} == {State.DONE}


def test_a_file_in_memory_is_kept_for_a_batch_and_named_by_a_digest_elsewhere() -> None:
    """A batch can be resumed from the ledger alone; a plain request leaves no megabytes there; both are known again."""
    upscale = ImageUpscale(image_url=b"\x89PNG\r\n\x1a\n" + bytes(100))
    other = ImageUpscale(image_url=b"\x89PNG\r\n\x1a\n" + bytes(101))
    plain, kept = new_entry(upscale, "h"), new_entry(upscale, "h", contents=True)
    assert from_dict(kept.request) == upscale
    assert "base64" not in str(plain.request)
    assert plain.request_hash == kept.request_hash != new_entry(other, "h").request_hash
    with pytest.raises(ConfigurationError, match="base64"):
        from_dict(plain.request)


async def test_a_stream_that_is_left_lets_go_of_what_it_did_not_send(tmp_path: Path) -> None:
    """Left and begun again in the same client: nothing stays claimed by nobody."""
    world = FakeWeryAI(seconds=0.05)
    async with ledger_of("file", tmp_path) as ledger, client_of(world, ledger=ledger, polling=QUICK) as client:
        for leave_after in (1, 2, 3, 100):
            async with client.stream(cats(50), batch="cats") as stream:
                count = 0
                async for _ in stream:
                    count += 1
                    if count == leave_after:
                        break
        entries = await ledger.entries("cats")
    assert count == 50
    assert {entry.state for entry in entries} == {State.DONE}
    assert len(world.posts) == 50
