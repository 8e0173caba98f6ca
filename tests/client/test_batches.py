"""Durable batches of a client: what is resumed, what is never sent again, and what the budget allows."""

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
from tests.support import KEY, LEDGER_KINDS, FailingLedger, FakeWeryAI, client_of, envelope, ledger_of

pytestmark = pytest.mark.anyio

QUICK = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
LOST = httpx.ReadTimeout("no answer")


def cats(count: int, start: int = 0) -> list[TextToImage]:
    """Return `count` different requests."""
    return [TextToImage(prompt=f"cat {n}") for n in range(start, start + count)]


async def stream_batch(
    provider: FakeWeryAI,
    ledger: Ledger | Path | str,
    requests: Sequence[TextToImage],
    leave_after: int = 10_000,
    **more: Any,
) -> list[Outcome[ImageResult]]:
    """Run the batch "cats" in its own client, and return the outcomes until the stream is left."""
    outcomes: list[Outcome[ImageResult]] = []
    async with (
        client_of(provider, ledger=ledger, polling=QUICK, limits=Limits(max_doubts=None)) as client,
        client.stream(requests, batch="cats", **more) as stream,
    ):
        async for outcome in stream:
            outcomes.append(outcome)
            if len(outcomes) == leave_after:
                break
    return outcomes


def prompts(provider: FakeWeryAI) -> list[str]:
    """Return the prompts of all submissions in alphabetical order."""
    return sorted(body["prompt"] for body in provider.posts)


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_stream_batch_left_and_repeated_pays_each_request_once(kind: str, tmp_path: Path) -> None:
    """However often a batch is streamed, each request is paid for once.

    Finished requests are answered from the ledger.
    """
    provider = FakeWeryAI(seconds=0.1)
    async with ledger_of(kind, tmp_path) as ledger:
        left = await stream_batch(provider, ledger, cats(40), leave_after=5)
        resumed = await stream_batch(provider, ledger, cats(40))
        again = await stream_batch(provider, ledger, cats(40), ordered=True)
        entries = await ledger.entries("cats")
    assert len(left) == 5
    assert prompts(provider) == sorted(cat.prompt for cat in cats(40))
    assert all(outcome.result for outcome in resumed)
    assert [outcome.index for outcome in again] == list(range(40))
    first = next(outcome for outcome in resumed if outcome.index == 3)
    assert again[3].unwrap().assets == first.unwrap().assets
    assert again[3].unwrap().raw == first.unwrap().raw
    assert again[3].unwrap().credits == 1.0
    assert {entry.state for entry in entries} == {State.DONE}


async def test_client_ledger_path_opens_and_closes_ledger(tmp_path: Path) -> None:
    """A client opens and closes a ledger that is given as a path. After closing, no owner file is left beside it."""
    path = tmp_path / "jobs.db"
    provider = FakeWeryAI(seconds=0.01)
    await stream_batch(provider, path, cats(3))
    assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []
    await stream_batch(provider, str(path), cats(3))
    assert len(provider.posts) == 3


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_stream_changed_request_list_pays_only_for_new_requests(kind: str, tmp_path: Path) -> None:
    """Inserted or moved requests do not affect the others. Equal requests are distinguished by their number."""
    provider = FakeWeryAI(seconds=0.01)
    async with ledger_of(kind, tmp_path) as ledger:
        await stream_batch(provider, ledger, [*cats(5), *cats(2)])
        assert len(provider.posts) == 7
        outcomes = await stream_batch(provider, ledger, [*cats(1, 90), *reversed(cats(5)), *cats(3)])
    assert len(outcomes) == 9
    assert prompts(provider)[7 - 9 :] == ["cat 4", "cat 90"]
    assert len(provider.posts) == 9


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_stream_request_in_doubt_is_reported_each_run_and_never_resent(kind: str, tmp_path: Path) -> None:
    """A submission whose response was lost stays in doubt, run after run, until a caller resolves it."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of(kind, tmp_path) as ledger:
        for _ in range(3):
            (outcome,) = await stream_batch(provider, ledger, cats(1))
            assert isinstance(outcome.error, SubmissionInDoubt)
            assert "call history" in str(outcome.error)
            assert outcome.error.sent_at
        assert len(provider.posts) == 1
        assert outcome.entry_id is not None
        await ledger.resolve_unsent(outcome.entry_id)
        (released,) = await stream_batch(provider, ledger, cats(1))
    assert released.result
    assert len(provider.posts) == 2


async def test_stream_doubt_resolved_with_task_id_polls_that_task(tmp_path: Path) -> None:
    """If a caller finds the task id of a doubt, the batch returns the result that was paid for."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of("file", tmp_path) as ledger:
        (outcome,) = await stream_batch(provider, ledger, cats(1))
        provider.finished_at["found"] = 0.0
        await ledger.resolve_accepted(outcome.entry_id or 0, ["found"])
        (adopted,) = await stream_batch(provider, ledger, cats(1))
    assert adopted.unwrap().task_ids == ("found",)
    assert len(provider.posts) == 1


async def test_resubmit_entry_in_doubt_sends_it_again(tmp_path: Path) -> None:
    """`resubmit` releases and submits an entry in doubt immediately. It refuses every other entry."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    async with ledger_of("file", tmp_path) as ledger, client_of(provider, ledger=ledger, polling=QUICK) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.submit(TextToImage(prompt="a plain one"))
        (doubt,) = await ledger.entries(states=[State.IN_DOUBT])
        job = await client.resubmit(doubt.id)
        assert (await job).assets
        with pytest.raises(LedgerError, match="not in doubt"):
            await client.resubmit(doubt.id)
        with pytest.raises(LedgerError, match="no entry 99"):
            await client.resubmit(99)
    assert [body["prompt"] for body in provider.posts] == ["a plain one"] * 2


async def test_stream_rejected_request_stays_failed_unless_credits_are_missing(tmp_path: Path) -> None:
    """A wrong parameter stays rejected, without a second POST.

    If credits are missing, no request is stored as failed.
    """
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [envelope(None, 1001, "prompt too odd")]})
    async with ledger_of("file", tmp_path) as ledger:
        for _ in range(2):
            (wrong,) = await stream_batch(provider, ledger, cats(1))
            assert isinstance(wrong.error, InvalidRequest)
            assert "prompt too odd" in str(wrong.error)
        assert len(provider.posts) == 1
        provider.faults["submit"] = [envelope(None, 1004, "insufficient credits")]
        (poor, *later) = await stream_batch(provider, ledger, cats(9, 5), in_flight=1)
        assert isinstance(poor.error, InsufficientCredits)
        assert {type(outcome.error) for outcome in later} == {NotSent}
        assert "insufficient credits" in str(later[0].error)
        assert len(provider.posts) == 2
        rich = await stream_batch(provider, ledger, cats(9, 5))
    assert all(outcome.result for outcome in rich)


async def test_stream_failed_job_reports_same_error_in_later_run(tmp_path: Path) -> None:
    """A job that failed at the provider stays failed, with its reason, task ids and snapshots."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "too blurred"})
    provider = FakeWeryAI(seconds=0.01, faults={"status": [failed]})
    async with ledger_of("file", tmp_path) as ledger:
        (first,) = await stream_batch(provider, ledger, cats(1))
        (second,) = await stream_batch(provider, ledger, cats(1))
    assert isinstance(first.error, JobFailed)
    assert isinstance(second.error, JobFailed)
    assert str(second.error) == str(first.error)
    assert second.error.task_ids == ("task_0",)
    assert second.error.snapshots == first.error.snapshots
    assert len(provider.posts) == 1


async def test_resume_batch_streams_unfinished_entries_from_ledger(tmp_path: Path) -> None:
    """`resume` needs no list of requests. It streams all unfinished entries of the batch, each with its index."""
    provider = FakeWeryAI(seconds=0.1)
    async with ledger_of("file", tmp_path) as ledger:
        left = await stream_batch(provider, ledger, cats(30), leave_after=3)
        async with client_of(provider, ledger=ledger, polling=QUICK) as client:
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
    assert len(provider.posts) == 30


async def test_stream_two_clients_on_same_file_send_each_request_once(tmp_path: Path) -> None:
    """Two clients open one ledger file. Each request is sent once, by either client, and both receive every outcome."""
    provider = FakeWeryAI(seconds=0.05)
    first, second = await asyncio.gather(
        stream_batch(provider, tmp_path / "l.db", cats(60)),
        stream_batch(provider, tmp_path / "l.db", cats(60), ordered=True),
    )
    assert len(provider.posts) == 60
    assert {outcome.index for outcome in first if outcome.result} == set(range(60))
    assert [outcome.index for outcome in second if outcome.result] == list(range(60))


async def test_submit_with_ledger_stores_task_ids_before_returning(tmp_path: Path) -> None:
    """When `submit` returns a job, its task ids are in the ledger file."""
    path = tmp_path / "jobs.db"
    async with client_of(FakeWeryAI(seconds=9), ledger=path) as client:
        job = await client.submit(cats(1)[0])
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT state, task_ids FROM entry").fetchall()
    assert rows == [("accepted", f'["{job.task_ids[0]}"]')]


async def test_close_during_post_stores_task_ids_and_leaves_others_new(tmp_path: Path) -> None:
    """A POST under way when the client closes is finished, and its task ids are stored. The other entries stay new."""
    path = tmp_path / "jobs.db"
    provider = FakeWeryAI(seconds=30, latency=0.2)
    async with client_of(provider, ledger=path) as client:
        waiting = asyncio.create_task(read_all(client.stream(cats(60), batch="cats")))
        while not provider.posts:  # noqa: ASYNC110 - the provider sets no events
            await asyncio.sleep(0.01)
    await asyncio.gather(waiting, return_exceptions=True)
    async with ledger_of("file", tmp_path) as ledger:
        assert await ledger.recover_abandoned() == 0
        states = Counter(entry.state for entry in await ledger.entries("cats"))
    assert states == {State.ACCEPTED: len(provider.posts), State.NEW: 60 - len(provider.posts)}


@pytest.mark.parametrize("content", [b"my notes " * 200, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_open_file_that_is_no_ledger_raises_and_changes_nothing(content: bytes, tmp_path: Path) -> None:
    """The client does not open, nothing is sent, and the file is unchanged."""
    path = tmp_path / "notes"
    path.write_bytes(content)
    provider = FakeWeryAI()
    with pytest.raises(LedgerError, match="give another file"):
        async with client_of(provider, ledger=path):
            pass
    assert path.read_bytes() == content
    assert provider.posts == []


class FullOnce(SqliteLedger):
    """A ledger whose disk is full at the first `mark_accepted`."""

    full = True

    async def mark_accepted(self, *arguments: Any, **more: Any) -> tuple[str, ...]:
        """Raise LedgerError at the first use."""
        if self.full:
            self.full = False
            raise LedgerError("the disk is full")
        return await super().mark_accepted(*arguments, **more)


@pytest.mark.parametrize("method", ["add", "mark_sending"])
async def test_run_ledger_write_before_post_fails_sends_nothing(method: str) -> None:
    """If the ledger cannot store a submission, there is no POST, and the slot in the queue is released."""
    provider = FakeWeryAI(seconds=0.01)
    ledger = FailingLedger(method)
    await ledger.open()
    async with client_of(provider, ledger=ledger) as client:
        with pytest.raises(LedgerError, match="full"):
            await client.run(cats(1)[0])
        assert client.statistics().queue.in_use == 0
    assert provider.posts == []


async def test_run_accepted_ids_cannot_be_stored_logs_them(caplog: pytest.LogCaptureFixture) -> None:
    """If the task ids of a paid job cannot be stored, they are logged and the job goes on."""
    provider = FakeWeryAI(seconds=0.01)
    ledger = FailingLedger("mark_accepted")
    await ledger.open()
    async with client_of(provider, ledger=ledger, polling=QUICK) as client:
        with caplog.at_level(logging.ERROR, "aiowery"):
            result = await client.run(cats(1)[0])
    assert result.assets
    assert "not written to the ledger: tasks task_0" in caplog.text


async def test_run_with_reuse_pays_for_equal_requests_once(tmp_path: Path) -> None:
    """With `reuse`, a finished request is not paid for again and one under way is joined.

    Without it, each is paid for.
    """
    provider = FakeWeryAI(seconds=0.1)
    cat, other = cats(2)
    for ledger in (None, tmp_path / "l.db"):
        provider.posts.clear()
        async with client_of(provider, ledger=ledger, polling=QUICK, reuse=True) as client:
            together = await asyncio.gather(*(client.run(cat) for _ in range(5)), client.run(other))
            later = await client.run(cat)
        assert len(provider.posts) == 2
        assert {result.task_ids for result in together[:5]} == {later.task_ids}
        assert together[5].task_ids != later.task_ids
    async with client_of(provider, ledger=tmp_path / "l.db", polling=QUICK) as client:
        await client.run(cat)
        async with client.stream([cat, cat, other], batch="b", reuse=True) as outcomes:
            assert len([outcome async for outcome in outcomes if outcome.result]) == 3
    assert len(provider.posts) == 3


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_stream_after_reuse_without_it_pays_nothing(kind: str, tmp_path: Path) -> None:
    """What a batch has taken from another one belongs to it: it is not paid for again, and can be resumed."""
    provider = FakeWeryAI(seconds=0.01)
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(provider, ledger=ledger, polling=QUICK) as client:
            first = [one.unwrap().task_ids async for one in client.stream(cats(2), batch="first", ordered=True)]
            reused = client.stream(cats(2), batch="second", reuse=True, ordered=True)
            assert [one.unwrap().task_ids async for one in reused] == first
        async with client_of(provider, ledger=ledger, polling=QUICK) as client:
            again = client.stream(cats(3), batch="second", ordered=True)
            assert [one.unwrap().task_ids async for one in again][:2] == first
            assert len([one async for one in client.resume("second", ended=True)]) == 3
        assert [entry.reused_from for entry in await ledger.entries("second")] == ["first", "first", None]
    assert len(provider.posts) == 3


async def test_run_with_reuse_waits_for_request_that_other_client_is_sending(tmp_path: Path) -> None:
    """A request that one client is sending is not in doubt for another.

    The other client waits for it and pays nothing.
    """
    provider = FakeWeryAI(seconds=0.05, latency=1.2)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(provider, ledger=ledger, polling=QUICK, reuse=True) as one,
        client_of(provider, ledger=ledger, polling=QUICK, reuse=True) as other,
    ):
        first = asyncio.create_task(one.run(cats(1)[0]))
        await asyncio.sleep(0.2)
        assert [entry.state for entry in await ledger.entries()] == [State.SENDING]
        assert (await other.run(cats(1)[0])).task_ids == (await first).task_ids
    assert len(provider.posts) == 1


async def test_run_with_reuse_sends_failed_or_doubtful_request_anew(tmp_path: Path) -> None:
    """Reuse neither repeats a failure nor waits until a doubt is resolved."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST, envelope(None, 1001, "no")]})
    async with client_of(provider, ledger=tmp_path / "l.db", polling=QUICK, reuse=True) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.run(cats(1)[0])
        with pytest.raises(InvalidRequest):
            await client.run(cats(1)[0])
        assert (await client.run(cats(1)[0])).assets
    assert len(provider.posts) == 3


async def test_run_above_client_budget_sends_nothing() -> None:
    """A request above the budget is not sent.

    Credits are held while a request is under way, then replaced by the charge.
    """
    provider = FakeWeryAI(seconds=0.05)
    prices = {"WERYAI_IMAGE_2_0": 2.0}
    async with client_of(provider, polling=QUICK, budget=4, prices=prices, price_per_credit=0.05) as client:
        results = await asyncio.gather(*map(client.run, cats(5)), return_exceptions=True)
        refused = [error for error in results if isinstance(error, BudgetExceeded)]
        assert len(provider.posts) == 2
        assert len(refused) == 3
        assert (refused[0].cost, refused[0].used, refused[0].budget) == (2.0, 4.0, 4)
        assert (await client.run(cats(1)[0])).credits == 1.0
        with pytest.raises(BudgetExceeded, match="3 of 4 credits"):
            await client.run(cats(1)[0])
        assert client.statistics().credits == 3.0
        assert client.statistics().money == pytest.approx(0.15)
    assert len(provider.posts) == 3


@pytest.mark.parametrize(
    "price", [-1.0, float("nan"), float("inf"), "3", True, [1], 10**400], ids=lambda value: repr(value)[:9]
)
async def test_stream_invalid_price_raises_and_leaves_request_new(price: Any, tmp_path: Path) -> None:
    """The error names the price table, and nothing is sent. With valid prices the same batch goes on."""
    provider = FakeWeryAI(seconds=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        async with client_of(provider, ledger=ledger, polling=QUICK, prices=lambda _: price) as client:
            (outcome,) = [one async for one in client.stream(cats(1), batch="cats", budget=5)]
        assert isinstance(outcome.error, ConfigurationError)
        assert "prices must return a number of credits" in str(outcome.error)
        assert provider.posts == []
        (outcome,) = await stream_batch(provider, ledger, cats(1), budget=5)
    assert outcome.result


async def test_run_function_of_prices_that_raises_is_a_configuration_error() -> None:
    """The caller's function is named, and nothing is sent."""

    def prices(_: Any) -> float:
        raise KeyError("no such model")

    provider = FakeWeryAI()
    async with client_of(provider, budget=5, prices=prices) as client:
        with pytest.raises(ConfigurationError, match=r"prices raised KeyError: 'no such model' .*; nothing was sent"):
            await client.run(cats(1)[0])
    assert provider.posts == []


async def test_stream_lone_surrogate_in_response_is_stored_replaced(tmp_path: Path) -> None:
    """Half a surrogate pair, which JSON can hold and a file cannot, is replaced when it is stored.

    The ledger goes on.
    """
    refusal = httpx.Response(200, content=b'{"status": 1001, "message": "too \\ud800 odd", "data": null}')
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [refusal]})
    async with ledger_of("file", tmp_path) as ledger:
        outcomes = await stream_batch(provider, ledger, cats(2))
        entries = await ledger.entries("cats")
    assert sum(outcome.result is not None for outcome in outcomes) == 1
    assert sorted(entry.state for entry in entries) == [State.DONE, State.FAILED]
    assert any("odd" in entry.reason for entry in entries)


async def test_budget_without_prices_uses_latest_charge_as_estimate() -> None:
    """Without a table, the latest charge for the same model and settings is the estimate.

    Unknown prices are allowed.
    """
    provider = FakeWeryAI(seconds=0.01)
    async with client_of(provider, polling=QUICK, budget=3) as client:
        await client.run(cats(1)[0])
        results = await asyncio.gather(*map(client.run, cats(5)), return_exceptions=True)
    assert sum(isinstance(error, BudgetExceeded) for error in results) == 3
    assert len(provider.posts) == 3


async def test_budget_unknown_price_sends_single_price_probe_first() -> None:
    """One price probe is sent and others of its kind wait for its charge, however many are concurrent."""
    provider = FakeWeryAI(seconds=0.05)
    async with client_of(provider, polling=QUICK, budget=3) as client:
        results = await asyncio.gather(*map(client.run, cats(12)), return_exceptions=True)
        assert client.statistics().credits == 3.0
    assert sum(isinstance(error, BudgetExceeded) for error in results) == 9
    assert (len(provider.posts), provider.peak_tasks) == (3, 2)


def test_budget_price_probe_without_charge_releases_others() -> None:
    """If the price probe ends without reporting credits, the others are sent without waiting.

    So they are if it fails.
    """

    async def silent(request: httpx.Request) -> httpx.Response:
        answer = await provider(request)
        return httpx.Response(200, content=answer.content.replace(b"cost_credits", b"nothing"))

    async def run(handler: Any, count: int, budget: float) -> list[Any]:
        async with client_of(handler, polling=QUICK, budget=budget) as client:
            return await asyncio.gather(*map(client.run, cats(count)), return_exceptions=True)

    provider = FakeWeryAI(seconds=0.05)
    results = run_virtual(run(silent, 12, budget=3))
    assert (len(results), provider.peak_tasks) == (12, 11)
    provider = FakeWeryAI(seconds=0.05, faults={"submit": [envelope(None, 1001, "no"), LOST]})
    outcomes = run_virtual(run(provider, 6, budget=2))
    assert sum(isinstance(outcome, ImageResult) for outcome in outcomes) == 2


@pytest.mark.parametrize("reported", [{"cost_credits": 0}, {}], ids=["0 credits", "no credits"])
async def test_budget_price_probe_with_failed_job_is_followed_by_another(reported: dict[str, int]) -> None:
    """A failed job costs nothing and reports no price. The next price probe is sent alone, and the budget holds."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "bad luck", **reported})
    provider = FakeWeryAI(seconds=0.05, faults={"status": [failed]})
    async with client_of(provider, polling=QUICK, budget=3) as client:
        await asyncio.gather(*map(client.run, cats(12)), return_exceptions=True)
        assert client.statistics().credits == 3.0
    assert len(provider.posts) == 4


async def test_budget_endless_price_probe_delays_others_for_job_timeout() -> None:
    """The caller of a price probe may wait without a timeout.

    Others of its kind are sent after the time limit of a job.
    """
    provider = FakeWeryAI(seconds=60.0)
    policy = attrs.evolve(QUICK, image_timeout=0.2)
    async with client_of(provider, polling=policy, budget=3) as client:
        first, *others = [asyncio.ensure_future(client.run(cat, timeout=None)) for cat in cats(4)]
        await asyncio.sleep(0.1)
        assert len(provider.posts) == 1
        async with asyncio.timeout(5):
            while len(provider.posts) < 4:  # noqa: ASYNC110 - the provider sets no events
                await asyncio.sleep(0.01)
        assert not first.done()
    await asyncio.gather(first, *others, return_exceptions=True)


async def test_submit_waiting_for_price_raises_after_start_within() -> None:
    """`start_within` also limits the wait for the charge of a price probe."""
    provider = FakeWeryAI(seconds=60.0)
    async with client_of(provider, polling=QUICK, budget=3) as client:
        await client.submit(cats(1)[0])
        with pytest.raises(QueueTooLong, match="othing was sent"):
            await asyncio.wait_for(client.submit(cats(2)[1], start_within=0.05), 5)
    assert len(provider.posts) == 1


async def test_close_while_requests_wait_for_price_raises_not_sent() -> None:
    """If the client closes while the price probe is under way, the waiting requests raise NotSent."""
    provider = FakeWeryAI(seconds=60.0)
    async with client_of(provider, polling=QUICK, budget=3) as client:
        waiting = [asyncio.ensure_future(client.submit(cat)) for cat in cats(4)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(error, NotSent) for error in ended) == 3
    assert len(provider.posts) == 1


async def test_stream_job_after_job_timeout_is_polled_by_other_client(tmp_path: Path) -> None:
    """A job that timed out in an open client is polled to its end by another client with the same batch."""
    provider = FakeWeryAI(seconds=0.6)
    path = tmp_path / "l.db"
    impatient = attrs.evolve(QUICK, image_timeout=0.1)
    async with client_of(provider, ledger=path, polling=impatient) as one:
        (timed_out,) = [outcome async for outcome in one.stream(cats(1), batch="cats", job_timeout=0.1)]
        assert isinstance(timed_out.error, JobTimeout)
        (outcome,) = await stream_batch(provider, path, cats(1))
    assert outcome.result is not None
    assert len(provider.posts) == 1


async def test_stream_ids_not_stored_at_acceptance_are_stored_at_end(tmp_path: Path) -> None:
    """If the disk is full at acceptance and has room when the job ends, the entry is done, not in doubt."""
    provider = FakeWeryAI(seconds=0.1)
    ledger = FullOnce(tmp_path / "l.db")
    await ledger.open()
    async with client_of(provider, ledger=ledger, polling=QUICK) as client, client.stream(cats(1), batch="b") as stream:
        assert [outcome.result is not None async for outcome in stream] == [True]
    assert [entry.state for entry in await ledger.entries("b")] == [State.DONE]
    await ledger.aclose()


async def test_budget_rejection_or_failed_connection_releases_credits() -> None:
    """Only what may have been charged counts: a doubt does, a rejection or a failed connection does not."""
    provider = FakeWeryAI(
        seconds=0.01, faults={"submit": [envelope(None, 1001, "no"), httpx.PoolTimeout("full"), LOST]}
    )
    async with client_of(provider, polling=QUICK, budget=2, prices=lambda _: 1.0) as client:
        with pytest.raises(InvalidRequest):
            await client.run(cats(1)[0])
        with pytest.raises(SubmissionInDoubt):
            await client.run(cats(1)[0])
        await client.run(cats(1)[0])
        with pytest.raises(BudgetExceeded):
            await client.run(cats(1)[0])


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_budget_of_batch_holds_over_all_runs(kind: str, tmp_path: Path) -> None:
    """The ledger stores how many credits the batch has used. With a larger budget the rest is sent."""
    provider = FakeWeryAI(seconds=0.02)
    async with ledger_of(kind, tmp_path) as ledger:
        first = await stream_batch(provider, ledger, cats(6), budget=2)
        second = await stream_batch(provider, ledger, cats(6), budget=2)
        assert sum(isinstance(outcome.error, BudgetExceeded) for outcome in first) <= 4
        used = len(provider.posts)
        assert sum(isinstance(outcome.error, BudgetExceeded) for outcome in second) == 6 - used
        third = await stream_batch(provider, ledger, cats(6), budget=6)
        (summary,) = await ledger.batches()
    assert all(outcome.result for outcome in third)
    assert (summary.used, summary.credits) == (6.0, 6.0)
    assert len(provider.posts) == 6


@pytest.mark.parametrize("budget", [-1, float("inf"), float("nan"), "5"])
async def test_budget_invalid_value_is_refused(budget: Any) -> None:
    """A budget that is not a number of credits, or has no batch, is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="budget must be"):
        WeryAI("k", budget=budget)
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match="budget must be"):
            client.stream(cats(1), batch="b", budget=budget)
        with pytest.raises(ConfigurationError, match="give batch="):
            client.stream(cats(1), budget=5)
        with pytest.raises(ConfigurationError, match="non-empty string"):
            client.stream(cats(1), batch="")


async def test_stream_batch_of_other_base_url_is_refused(tmp_path: Path) -> None:
    """A batch goes on at its own base URL only, and results of one host are not reused for another."""
    provider = FakeWeryAI(seconds=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        await stream_batch(provider, ledger, cats(2))
        async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
            elsewhere = WeryAI(KEY, base_url="https://other.example", http=http, ledger=ledger, polling=QUICK)
            async with elsewhere as client:
                with pytest.raises(LedgerError, match=r"begun at https://api\.example\.com"):
                    await anext(client.stream(cats(2), batch="cats"))
                with pytest.raises(ConfigurationError, match="begun at"):
                    await anext(client.resume("cats"))
                async with client.stream(cats(2), batch="others", reuse=True) as outcomes:
                    assert [outcome.error async for outcome in outcomes] == [None, None]
    assert len(provider.posts) == 4


async def test_resubmit_with_another_base_url_keeps_the_doubt(tmp_path: Path) -> None:
    """A doubt is sent again to the host of its first submission only; a refused attempt leaves it in doubt."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST]})
    other = FakeWeryAI(seconds=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        async with client_of(provider, ledger=ledger, polling=QUICK) as client:
            with pytest.raises(SubmissionInDoubt):
                await client.submit(TextToImage(prompt="a cat"))
        (doubt,) = await ledger.entries(states=[State.IN_DOUBT])
        http = httpx.AsyncClient(transport=httpx.MockTransport(other))
        async with http, WeryAI(KEY, base_url="https://other.example", ledger=ledger, http=http) as client:
            with pytest.raises(ConfigurationError, match=r"not to https://other\.example; nothing was sent"):
                await client.resubmit(doubt.id)
        assert [entry.id for entry in await ledger.entries(states=[State.IN_DOUBT])] == [doubt.id]
    assert (len(provider.posts), len(other.posts)) == (1, 0)


async def test_stream_with_resubmit_sends_doubts_within_credit_limit(tmp_path: Path) -> None:
    """Doubts are sent again only on request, for at most the given credits, and only if the price is known."""
    provider = FakeWeryAI(seconds=0.01, faults={"submit": [LOST] * 3})
    async with ledger_of("file", tmp_path) as ledger:
        held = await stream_batch(provider, ledger, cats(3), on_doubt=Resubmit(at_most=2))
        assert all(isinstance(outcome.error, SubmissionInDoubt) for outcome in held)
        await stream_batch(provider, ledger, cats(1, 10))  # its charge is the known price
        again = await stream_batch(provider, ledger, cats(3), on_doubt=Resubmit(at_most=2))
    assert sum(outcome.result is not None for outcome in again) == 2
    assert sum(isinstance(outcome.error, SubmissionInDoubt) for outcome in again) == 1
    assert len(provider.posts) == 6


async def read_all(stream: OutcomeStream[ImageResult]) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


async def test_stream_resumed_tasks_occupy_slots(tmp_path: Path) -> None:
    """Tasks that an earlier run left under way occupy slots, so no submission is rejected because of load."""
    provider = FakeWeryAI(seconds=0.6, max_tasks=20)
    async with ledger_of("file", tmp_path) as ledger:
        async with (
            client_of(provider, ledger=ledger, polling=QUICK) as client,
            client.stream(cats(60), batch="cats") as it,
        ):
            waiting = asyncio.create_task(read_all(it))
            while len(provider.posts) < 20:  # noqa: ASYNC110 - the provider sets no events
                await asyncio.sleep(0.01)
            waiting.cancel()
        async with client_of(provider, ledger=ledger, polling=QUICK) as client:
            outcomes = [outcome async for outcome in client.stream(cats(60), batch="cats")]
            assert client.statistics().queue.refusals == 0
    assert all(outcome.result for outcome in outcomes)
    assert provider.peak_tasks == 20


@pytest.mark.virtual_time
async def test_run_cancelled_callers_lose_no_task_id_and_no_slot() -> None:
    """With 300 callers with random timeouts, every paid task id is in the ledger, and no slot is lost."""
    provider = FakeWeryAI(seconds=8.0, latency=0.5)
    ledger = MemoryLedger(remember=1000)
    await ledger.open()
    chance = random.Random(5)  # noqa: S311 - no secret
    async with client_of(provider, ledger=ledger) as client:

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
    assert len(provider.posts) > 100
    assert len(provider.posts) == len(provider.finished_at)
    assert {task_id for entry in entries for task_id in entry.task_ids} == set(provider.finished_at)
    assert {entry.state for entry in entries} == {State.DONE}


def test_new_entry_with_file_in_memory_stores_it_only_for_batch() -> None:
    """A batch stores the file, so that it can be resumed from the ledger alone.

    A plain request stores a digest, and both have the same hash.
    """
    upscale = ImageUpscale(image_url=b"\x89PNG\r\n\x1a\n" + bytes(100))
    other = ImageUpscale(image_url=b"\x89PNG\r\n\x1a\n" + bytes(101))
    plain, kept = new_entry(upscale, "h"), new_entry(upscale, "h", contents=True)
    assert from_dict(kept.request) == upscale
    assert "base64" not in str(plain.request)
    assert plain.request_hash == kept.request_hash != new_entry(other, "h").request_hash
    with pytest.raises(ConfigurationError, match="base64"):
        from_dict(plain.request)


async def test_stream_left_and_begun_again_releases_unsent_requests(tmp_path: Path) -> None:
    """A stream that is left and begun again in the same client keeps no claim on unsent requests."""
    provider = FakeWeryAI(seconds=0.05)
    async with ledger_of("file", tmp_path) as ledger, client_of(provider, ledger=ledger, polling=QUICK) as client:
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
    assert len(provider.posts) == 50
