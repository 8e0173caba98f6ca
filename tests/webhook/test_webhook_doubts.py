"""Doubts that a call settles: adopted once the provider knows the tasks, and not before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import client_of
from webhook.calling import CallingWorld

from aiowery import PollPolicy
from aiowery.errors import SubmissionInDoubt
from aiowery.ledger import Entry, Ledger, MemoryLedger, SqliteLedger, State
from aiowery.testing import run_virtual
from aiowery.webhook import Receiver
from aiowery.weryai import TextToImage

pytestmark = pytest.mark.anyio

KINDS = ("memory", "file")
CAT = TextToImage(prompt="a cat")
FOUR = TextToImage(prompt="a cat", image_number=4)
QUICK = PollPolicy().faster(100)


@contextlib.asynccontextmanager
async def ledger_of(kind: str, directory: Path) -> AsyncIterator[Ledger]:
    """Open a ledger that outlives the clients of a test."""
    ledger: Ledger = MemoryLedger(remember=10) if kind == "memory" else SqliteLedger(directory / "jobs.db")
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def only(ledger: Ledger) -> Entry:
    """Return the one entry."""
    (entry,) = await ledger.entries()
    return entry


async def until(ledger: Ledger, state: State) -> Entry:
    """Wait until the one entry is there."""
    async with asyncio.timeout(5):
        while (entry := await only(ledger)).state is not state:  # noqa: ASYNC110 - a ledger sets no event
            await asyncio.sleep(0.005)
    return entry


def test_a_call_that_came_while_we_waited_spares_the_doubt() -> None:
    """The answer to the POST is lost, the call is not: the caller gets the picture, and knows of nothing."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0, lost=1)
        async with client_of(world, webhooks=world.webhooks) as client:
            result = await client.run(CAT)
            statistics = client.statistics()
        assert result.task_ids == ("task_0",)
        assert len(world.posts) == 1
        assert statistics.lane.in_use == 0

    run_virtual(main())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_after_the_doubt_adopts_its_task(kind: str, tmp_path: Path) -> None:
    """In doubt, then called about: one check confirms it, its end is waited for, the books are right."""
    world = CallingWorld(seconds=0.3, after=0.0, lost=1, patience=0.05)
    async with (
        ledger_of(kind, tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        assert (await only(ledger)).state is State.IN_DOUBT
        entry = await until(ledger, State.DONE)
        assert entry.task_ids == ("task_0",)
        (job,) = client.jobs()
        assert (await job).assets
    assert (len(world.posts), world.answers) == (1, [200])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_that_the_provider_does_not_know_proves_nothing(kind: str, tmp_path: Path) -> None:
    """Whoever knows the address may name any task: what is not ours at the provider leaves the doubt as it is."""
    world = CallingWorld(seconds=60.0, lost=1, patience=0.01)
    async with (
        ledger_of(kind, tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        for forged in ("task_77", "../../v1/generation/balance", "x" * 5000):
            assert await world.call("task_0", about=forged) == 200
        await asyncio.sleep(0.1)
        assert (await only(ledger)).state is State.IN_DOUBT
        assert await world.call("task_0") == 200
        await until(ledger, State.ACCEPTED)
        assert (await only(ledger)).task_ids == ("task_0",)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_part_of_what_was_charged_does_not_hide_the_rest(kind: str, tmp_path: Path) -> None:
    """Four pictures in doubt: adopted once all four were told of, however often each was."""
    world = CallingWorld(seconds=0.01, silent=True, lost=1, patience=0.02)
    async with (
        ledger_of(kind, tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(FOUR)
        for task_id in ("task_0", "task_1", "task_1", "task_2", "task_0"):
            await world.call(task_id)
        await asyncio.sleep(0.1)
        assert (await only(ledger)).state is State.IN_DOUBT
        await world.call("task_3")
        entry = await until(ledger, State.DONE)
    assert sorted(entry.task_ids) == ["task_0", "task_1", "task_2", "task_3"]
    assert len(world.posts) == 1


async def test_a_doubt_of_an_earlier_run_is_settled_by_its_call(tmp_path: Path) -> None:
    """The client that was in doubt is gone; its call comes to the next one, and the batch goes on by itself."""
    path = tmp_path / "jobs.db"
    world = CallingWorld(seconds=0.01, silent=True, lost=1, patience=0.02)
    async with client_of(world, webhooks=world.webhooks, ledger=path, polling=QUICK) as client:
        (outcome,) = [one async for one in client.stream([CAT], batch="cats")]
        assert isinstance(outcome.error, SubmissionInDoubt)
    async with client_of(world, webhooks=world.webhooks, ledger=path, polling=QUICK) as client:
        assert await world.call("task_0") == 200
        await until(client.ledger, State.DONE)
    async with client_of(world, ledger=path, polling=QUICK) as client:
        (outcome,) = [one async for one in client.stream([CAT], batch="cats")]
    assert outcome.result is not None
    assert len(world.posts) == 1


async def test_a_call_that_was_recorded_while_no_client_was_open_is_used(tmp_path: Path) -> None:
    """A receiver alone wrote it into the ledger; a later run, even one without webhooks, asks and adopts."""
    path = tmp_path / "jobs.db"
    world = CallingWorld(seconds=0.01, silent=True, lost=1, patience=0.02)
    async with client_of(world, webhooks=world.webhooks, ledger=path, polling=QUICK) as client:
        async with client.stream([CAT], batch="cats") as outcomes:
            assert [isinstance(one.error, SubmissionInDoubt) async for one in outcomes] == [True]
    async with Receiver(ledger=path) as world.receiver:
        assert await world.call("task_0") == 200
    async with client_of(world, ledger=path, polling=QUICK) as client, client.resume("cats") as outcomes:
        assert [one.result is not None async for one in outcomes] == [True]
    assert len(world.posts) == 1


async def test_a_released_attempt_that_is_called_about_is_told(tmp_path: Path) -> None:
    """Released, sent again, and then the first attempt turns out to have been charged: the ledger says so."""
    world = CallingWorld(seconds=0.5, silent=True, lost=1, patience=0.02)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        entry = await only(ledger)
        job = await client.resubmit(entry.id)
        assert await world.call("task_0") == 200
        assert (await job).task_ids == ("task_1",)
        assert (await until(ledger, State.DONE)).late_ids == ("task_0",)
    assert len(world.posts) == 2
