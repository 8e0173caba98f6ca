"""Doubts that a delivery resolves: tasks are adopted once they exist at the provider, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aiowery import PollPolicy
from aiowery._journal.journal import new_entry
from aiowery.errors import BudgetExceeded, SubmissionInDoubt
from aiowery.ledger import Entry, Ledger, State
from aiowery.webhook import Receiver
from aiowery.weryai import PodcastVoice, TextToImage, decode_delivery
from tests.support import CAT, client_of, envelope, ledger_of
from tests.webhook.webhook_provider import WebhookProvider

pytestmark = pytest.mark.anyio

KINDS = ("memory", "file")
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


@pytest.mark.virtual_time
async def test_submit_lost_response_with_delivery_returns_job() -> None:
    """The response to the POST is lost, but a delivery names the task: the caller gets the result."""
    provider = WebhookProvider(seconds=12.0, lost=1)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        result = await client.run(CAT)
        statistics = client.statistics()
    assert result.task_ids == ("task_0",)
    assert len(provider.posts) == 1
    assert statistics.queue.in_use == 0


@pytest.mark.virtual_time
async def test_resolved_doubt_is_charged_to_budget() -> None:
    """Its price was unknown when it was sent. Once it has finished, the budget counts the charge."""
    provider = WebhookProvider(seconds=12.0, lost=1)
    async with client_of(provider, webhooks=provider.webhooks, budget=1) as client:
        await client.run(CAT)
        await asyncio.sleep(0.1)  # its end is written beside the work
        assert client.statistics().credits == 1.0
        with pytest.raises(BudgetExceeded):
            await client.run(CAT)
    assert len(provider.posts) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_delivery_after_doubt_adopts_its_task(kind: str, tmp_path: Path) -> None:
    """A poll confirms the delivered task, and the ledger records the result."""
    provider = WebhookProvider(seconds=0.3, after=0.0, lost=1, response_delay=0.05)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        assert (await only(ledger)).state is State.IN_DOUBT
        entry = await until(ledger, State.DONE)
        assert entry.task_ids == ("task_0",)
        (job,) = client.jobs()
        assert (await job).assets
    assert (len(provider.posts), provider.statuses) == (1, [200])


@pytest.mark.parametrize("kind", KINDS)
async def test_delivery_of_unknown_task_leaves_doubt(kind: str, tmp_path: Path) -> None:
    """A forged delivery may name any task. A task that does not exist at the provider leaves the doubt."""
    provider = WebhookProvider(seconds=60.0, lost=1, response_delay=0.01)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        for forged in ("task_77", "../../v1/generation/balance", "x" * 256):
            assert await provider.deliver("task_0", about=forged) == 200
        assert await provider.deliver("task_0", about="x" * 5000) == 400  # no id is that long
        await asyncio.sleep(0.1)
        assert (await only(ledger)).state is State.IN_DOUBT
        assert await provider.deliver("task_0") == 200
        await until(ledger, State.ACCEPTED)
        assert (await only(ledger)).task_ids == ("task_0",)


@pytest.mark.parametrize("kind", KINDS)
async def test_delivery_of_some_tasks_leaves_doubt(kind: str, tmp_path: Path) -> None:
    """Four pictures in doubt are adopted once all four tasks are delivered, however often each is."""
    provider = WebhookProvider(seconds=0.01, silent=True, lost=1, response_delay=0.02)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(FOUR)
        for task_id in ("task_0", "task_1", "task_1", "task_2", "task_0"):
            await provider.deliver(task_id)
        await asyncio.sleep(0.1)
        assert (await only(ledger)).state is State.IN_DOUBT
        await provider.deliver("task_3")
        entry = await until(ledger, State.DONE)
    assert sorted(entry.task_ids) == ["task_0", "task_1", "task_2", "task_3"]
    assert len(provider.posts) == 1


async def test_delivery_resolves_doubt_of_earlier_run(tmp_path: Path) -> None:
    """The client that was in doubt is closed. The delivery reaches the next one, and the batch goes on by itself."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=0.01, silent=True, lost=1, response_delay=0.02)
    async with client_of(provider, webhooks=provider.webhooks, ledger=path, polling=QUICK) as client:
        (outcome,) = [one async for one in client.stream([CAT], batch="cats")]
        assert isinstance(outcome.error, SubmissionInDoubt)
    async with client_of(provider, webhooks=provider.webhooks, ledger=path, polling=QUICK) as client:
        assert await provider.deliver("task_0") == 200
        await until(client.ledger, State.DONE)
    async with client_of(provider, ledger=path, polling=QUICK) as client:
        (outcome,) = [one async for one in client.stream([CAT], batch="cats")]
    assert outcome.result is not None
    assert len(provider.posts) == 1


async def test_delivery_recorded_without_client_resolves_doubt_later(tmp_path: Path) -> None:
    """A receiver alone records the delivery. A later run, also one without webhooks, polls and adopts the task."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=0.01, silent=True, lost=1, response_delay=0.02)
    async with client_of(provider, webhooks=provider.webhooks, ledger=path, polling=QUICK) as client:
        async with client.stream([CAT], batch="cats") as outcomes:
            assert [isinstance(one.error, SubmissionInDoubt) async for one in outcomes] == [True]
    async with Receiver(ledger=path, decode=decode_delivery) as provider.receiver:
        assert await provider.deliver("task_0") == 200
    async with client_of(provider, ledger=path, polling=QUICK) as client, client.resume("cats") as outcomes:
        assert [one.result is not None async for one in outcomes] == [True]
    assert len(provider.posts) == 1


async def test_delivery_of_released_submission_is_recorded_as_late(tmp_path: Path) -> None:
    """If a released submission was charged after all, the ledger records its task as late."""
    provider = WebhookProvider(seconds=0.5, silent=True, lost=1, response_delay=0.02)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        entry = await only(ledger)
        job = await client.resubmit(entry.id)
        assert await provider.deliver("task_0") == 200
        assert (await job).task_ids == ("task_1",)
        assert (await until(ledger, State.DONE)).late_task_ids == ("task_0",)
    assert len(provider.posts) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_deliveries_forged_for_doubt_cause_bounded_polls(kind: str, tmp_path: Path) -> None:
    """Of the tasks in forged deliveries, 64 are kept, and each is polled five times at most."""
    provider = WebhookProvider(seconds=60.0, lost=1, response_delay=0.01, silent=True)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        for number in range(200):
            assert await provider.deliver("task_0", about=f"forged_{number}") == 200
            assert len(client._runtime.background) <= 2
        await asyncio.sleep(1.5)
        for number in range(200):
            await provider.deliver("task_0", about=f"forged_{number}")
        await asyncio.sleep(1.0)
        assert provider.gets <= 5 * 64
        assert (await only(ledger)).state is State.IN_DOUBT


@pytest.mark.parametrize("kind", KINDS)
async def test_delivery_of_other_entrys_task_is_not_adopted(kind: str, tmp_path: Path) -> None:
    """Adopting a task of another submission would hide what was charged."""
    provider = WebhookProvider(seconds=60.0, silent=True, response_delay=0.01)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        await client.submit(CAT)
        provider.lost = 1
        with pytest.raises(SubmissionInDoubt):
            await client.submit(TextToImage(prompt="a dog"))
        assert await provider.deliver("task_1", about="task_0") == 200
        await asyncio.sleep(0.2)
        assert [entry.state for entry in await ledger.entries()] == [State.ACCEPTED, State.IN_DOUBT]
        await provider.deliver("task_1")
        async with asyncio.timeout(5):
            while not (entry := (await ledger.entries())[1]).task_ids:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)
        assert entry.task_ids == ("task_1",)


FOREIGN_TASKS: dict[str, dict[str, Any]] = {
    "another prompt": {"task_status": "PROCESSING", "prompt": "a dog in the rain"},
    "another model": {"task_status": "PROCESSING", "model": "FLUX"},
    "another kind": {"task_status": "SUCCESS", "videos": ["https://e.example/1.mp4"]},
    "an earlier task": {"task_status": "PROCESSING", "created_at": "2020-01-01T00:00:00Z"},
    "an earlier task, in seconds": {"task_status": "SUCCESS", "images": ["https://e.example/1.png"], "created": 1.6e9},
}


@pytest.mark.parametrize("foreign", FOREIGN_TASKS)
@pytest.mark.parametrize("kind", KINDS)
async def test_delivery_of_foreign_task_at_address_of_doubt_is_only_reported(
    kind: str, foreign: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sender who knows a doubt's URL names a task of another ledger: request and time must fit to adopt it."""
    provider = WebhookProvider(seconds=60.0, silent=True, lost=1, response_delay=0.01)
    async with (
        ledger_of(kind, tmp_path, remember=10) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        provider.faults["status"] = [envelope({"task_id": "task_77", **FOREIGN_TASKS[foreign]}) for _ in range(9)]
        assert await provider.deliver("task_0", about="task_77") == 200
        async with asyncio.timeout(5):
            while "the provider named task_77" not in caplog.text:  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        entry = await only(ledger)
        assert (entry.state, entry.task_ids) == (State.IN_DOUBT, ())
        assert client.jobs() == ()


async def test_delivery_resolves_podcasts_second_step(tmp_path: Path) -> None:
    """The request of the second step names the task of the first, so a delivery about that task resolves its doubt."""
    provider = WebhookProvider(seconds=0.05, silent=True)
    voice = PodcastVoice(task_id="task_0")
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        await client.run(CAT)  # starts the task
        (entry,) = await ledger.add("b", [new_entry(voice, client.base_url)], claim=True)
        await ledger.mark_sending(entry.id, "ref", 1.0)
        await ledger.mark_in_doubt("ref", "lost")
        await ledger.record_delivery("ref", "task_0")
        assert await client._runtime._listener._resolver.try_resolve(entry.id) is not None


async def test_delivery_before_task_is_known_resolves_doubt_later(tmp_path: Path) -> None:
    """If the task is not known yet, the doubt is resolved without another delivery."""
    provider = WebhookProvider(seconds=0.05, silent=True, lost=1, response_delay=0.01)
    async with (
        ledger_of("file", tmp_path) as ledger,
        client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client,
    ):
        with pytest.raises(SubmissionInDoubt):
            await client.run(CAT)
        provider.faults["status"] = [envelope(None, 1003, "task not exist")] * 2
        assert await provider.deliver("task_0") == 200
        await until(ledger, State.DONE)


async def test_delivery_read_by_two_clients_resolves_doubt_once(tmp_path: Path) -> None:
    """Both clients confirm the task and try to adopt it: one does, and the other goes on without an error."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=0.2, silent=True, lost=1, response_delay=0.01)
    async with client_of(provider, webhooks=provider.webhooks, ledger=path, polling=QUICK) as client:
        assert [isinstance(one.error, SubmissionInDoubt) async for one in client.stream([CAT], batch="cats")] == [True]
    async with Receiver(ledger=path, decode=decode_delivery) as provider.receiver:
        await provider.deliver("task_0")
    async with (
        client_of(provider, ledger=path, polling=QUICK) as one,
        client_of(provider, ledger=path, polling=QUICK) as other,
    ):

        async def settled_by_the_other(request: Any, task_id: str, sent_at: float) -> bool:
            assert await type(one._runtime.api).may_belong_to(other._runtime.api, request, task_id, sent_at)
            await other._runtime._listener._resolver.try_resolve(1)
            return True

        one._runtime.api.may_belong_to = settled_by_the_other  # type: ignore[method-assign]
        (mine,) = [outcome async for outcome in one.stream([CAT], batch="cats")]
        (its,) = [outcome async for outcome in other.stream([CAT], batch="cats")]
    assert (mine.error, its.error) == (None, None)
    assert len(provider.posts) == 1


async def test_delivery_during_close_starts_no_task(tmp_path: Path) -> None:
    """The delivery is in the ledger for the next run, and no asyncio task outlives the client."""
    provider = WebhookProvider(seconds=60.0, silent=True, lost=1, response_delay=0.01)
    async with ledger_of("file", tmp_path) as ledger:
        async with client_of(provider, webhooks=provider.webhooks, ledger=ledger, polling=QUICK) as client:
            with pytest.raises(SubmissionInDoubt):
                await client.run(CAT)
            before = asyncio.all_tasks()
            recording = asyncio.Event()
            delivered = ledger.record_delivery

            async def recorded(submission_id: str, task_id: str, *, finished: bool = True) -> Entry | None:
                recording.set()
                return await delivered(submission_id, task_id, finished=finished)

            ledger.record_delivery = recorded  # type: ignore[method-assign]
            sending = asyncio.create_task(provider.deliver("task_0"))
            await recording.wait()
        assert await sending == 200
        assert asyncio.all_tasks() <= before
        assert [one.task_id for one in await ledger.deliveries()] == ["task_0"]
