"""Doubts that a call settles: adopted once the provider knows the tasks, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support import client_of, envelope, ledger_of
from webhook.calling import CallingWorld

from aiowery import PollPolicy
from aiowery._journal.journal import new_entry
from aiowery.errors import BudgetExceeded, SubmissionInDoubt
from aiowery.ledger import Entry, Ledger, State
from aiowery.testing import run_virtual
from aiowery.webhook import Receiver
from aiowery.weryai import PodcastVoice, TextToImage, decode_delivery

pytestmark = pytest.mark.anyio

KINDS = ("memory", "file")
CAT = TextToImage(prompt="a cat")
FOUR = TextToImage(prompt="a cat", image_number=4)
QUICK = PollPolicy().faster(100)


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
        assert statistics.queue.in_use == 0

    run_virtual(main())


def test_what_a_settled_doubt_was_charged_counts() -> None:
    """Its price was unknown when it was sent: once its end is known, the client's budget knows what it took."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0, lost=1)
        async with client_of(world, webhooks=world.webhooks, budget=1) as client:
            await client.run(CAT)
            await asyncio.sleep(0.1)  # its end is written beside the work
            assert client.statistics().credits == 1.0
            with pytest.raises(BudgetExceeded):
                await client.run(CAT)
        assert len(world.posts) == 1

    run_virtual(main())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_after_the_doubt_adopts_its_task(kind: str, tmp_path: Path) -> None:
    """In doubt, then called about: one check confirms it, its end is waited for, the books are right."""
    world = CallingWorld(seconds=0.3, after=0.0, lost=1, patience=0.05)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
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
        ledger_of(kind, tmp_path, remember=10) as ledger,
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
        ledger_of(kind, tmp_path, remember=10) as ledger,
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
    async with Receiver(ledger=path, decode=decode_delivery) as world.receiver:
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
        assert (await until(ledger, State.DONE)).late_task_ids == ("task_0",)
    assert len(world.posts) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_of_forged_tasks_is_asked_about_a_bounded_number_of_times(kind: str, tmp_path: Path) -> None:
    """Who knows the address of a doubt names task after task: 64 are kept, each is asked about five times at most."""
    world = CallingWorld(seconds=60.0, lost=1, patience=0.01, silent=True)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        for number in range(200):
            assert await world.call("task_0", about=f"forged_{number}") == 200
            assert len(client._runtime.background) <= 2
        await asyncio.sleep(1.5)
        for number in range(200):
            await world.call("task_0", about=f"forged_{number}")
        await asyncio.sleep(1.0)
        assert world.gets <= 5 * 64
        assert (await only(ledger)).state is State.IN_DOUBT


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_of_another_entry_is_not_adopted(kind: str, tmp_path: Path) -> None:
    """A task that the provider knows, but that another submission brought: adopting it would hide what was charged."""
    world = CallingWorld(seconds=60.0, silent=True, patience=0.01)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        await client.submit(CAT)
        world.lost = 1
        with pytest.raises(SubmissionInDoubt):
            await client.submit(TextToImage(prompt="a dog"))
        assert await world.call("task_1", about="task_0") == 200
        await asyncio.sleep(0.2)
        assert [entry.state for entry in await ledger.entries()] == [State.ACCEPTED, State.IN_DOUBT]
        await world.call("task_1")
        async with asyncio.timeout(5):
            while not (entry := (await ledger.entries())[1]).task_ids:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)
        assert entry.task_ids == ("task_1",)


async def test_a_podcasts_second_step_shares_the_task_of_its_first(tmp_path: Path) -> None:
    """Its request names that task, so the call about it settles its doubt."""
    world = CallingWorld(seconds=0.05, silent=True)
    voice = PodcastVoice(task_id="task_0")
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        await client.run(CAT)  # whatever made the task
        (entry,) = await ledger.add("b", [new_entry(voice, client.base_url)], claim=True)
        await ledger.mark_sending(entry.id, "ref", 1.0)
        await ledger.mark_in_doubt("ref", "lost")
        await ledger.record_delivery("ref", "task_0")
        assert await client._runtime._listener._resolver.try_resolve(entry.id) is not None


async def test_a_status_that_lags_behind_its_call_is_asked_about_again(tmp_path: Path) -> None:
    """Called once, and not known yet for a moment: the doubt is settled without another call."""
    world = CallingWorld(seconds=0.05, silent=True, lost=1, patience=0.01)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        world.misfortunes["status"] = [envelope(None, 1003, "task not exist")] * 2
        assert await world.call("task_0") == 200
        await until(ledger, State.DONE)


async def test_two_processes_that_hear_the_same_settle_it_once(tmp_path: Path) -> None:
    """Both ask and both want to adopt: one does, the other goes on without a word of doubt."""
    path = tmp_path / "jobs.db"
    world = CallingWorld(seconds=0.2, silent=True, lost=1, patience=0.01)
    async with client_of(world, webhooks=world.webhooks, ledger=path, polling=QUICK) as client:
        assert [isinstance(one.error, SubmissionInDoubt) async for one in client.stream([CAT], batch="cats")] == [True]
    async with Receiver(ledger=path, decode=decode_delivery) as world.receiver:
        await world.call("task_0")
    async with (
        client_of(world, ledger=path, polling=QUICK) as one,
        client_of(world, ledger=path, polling=QUICK) as other,
    ):

        async def settled_by_the_other(request: Any, task_id: str, sent_at: float) -> bool:
            assert await type(one._runtime.api).may_belong_to(other._runtime.api, request, task_id, sent_at)
            await other._runtime._listener._resolver.try_resolve(1)
            return True

        one._runtime.api.may_belong_to = settled_by_the_other  # type: ignore[method-assign]
        (mine,) = [outcome async for outcome in one.stream([CAT], batch="cats")]
        (its,) = [outcome async for outcome in other.stream([CAT], batch="cats")]
    assert (mine.error, its.error) == (None, None)
    assert len(world.posts) == 1


async def test_a_call_that_is_recorded_while_the_client_closes_starts_nothing(tmp_path: Path) -> None:
    """It is in the ledger, for the next run; no task of a client outlives it."""
    world = CallingWorld(seconds=60.0, silent=True, lost=1, patience=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        async with client_of(world, webhooks=world.webhooks, ledger=ledger, polling=QUICK) as client:
            with pytest.raises(SubmissionInDoubt):
                await client.run(CAT)
            before = asyncio.all_tasks()
            recording = asyncio.Event()
            delivered = ledger.record_delivery

            async def recorded(submission_id: str, task_id: str, *, finished: bool = True) -> Entry | None:
                recording.set()
                return await delivered(submission_id, task_id, finished=finished)

            ledger.record_delivery = recorded  # type: ignore[method-assign]
            calling = asyncio.create_task(world.call("task_0"))
            await recording.wait()
        assert await calling == 200
        assert asyncio.all_tasks() <= before
        assert [told.task_id for told in await ledger.deliveries()] == ["task_0"]
