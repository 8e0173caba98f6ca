"""The poll scheduler alone: which items it polls, when, and how many at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import inf

import pytest

from aiowery._jobs.scheduler import PollScheduler, ScheduledItem
from aiowery.testing import run_virtual

Poll = Callable[[ScheduledItem], Awaitable[float | None]]


def scheduler_of(
    poll: Poll, *, polls: int = 16, expire: Callable[[ScheduledItem], float | None] = lambda _: None
) -> PollScheduler[ScheduledItem]:
    """Return a scheduler in the running event loop, with a tick of 20 ms."""
    return PollScheduler(poll, expire, gate=asyncio.Semaphore(polls), polls=polls, tick=0.02)


@pytest.mark.virtual_time
async def test_scheduler_one_hour_polls_on_time() -> None:
    """Of an hour of polls every 4 s none is more than a tick late, in milliseconds of real time."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def poll(_: ScheduledItem) -> float:
        times.append(loop.time())
        return 4.0

    scheduler = scheduler_of(poll)
    scheduler.track(ScheduledItem(), after=4.0, deadline=inf)
    await asyncio.sleep(3600.5)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) >= 895
    assert min(gaps) >= 4.0
    assert max(gaps) <= 4.03
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_scheduler_many_due_items_respects_poll_limit() -> None:
    """Of a hundred jobs that are due together, five are polled at the same time."""
    concurrent = most = 0

    async def poll(_: ScheduledItem) -> None:
        nonlocal concurrent, most
        concurrent += 1
        most = max(most, concurrent)
        await asyncio.sleep(0.1)
        concurrent -= 1

    scheduler = scheduler_of(poll, polls=5)
    for _ in range(100):
        scheduler.track(ScheduledItem(), after=1.0, deadline=inf)
    await asyncio.sleep(10)
    assert most == 5
    assert scheduler.statistics().made == 100
    assert scheduler.statistics().tracked == 0


@pytest.mark.virtual_time
async def test_scheduler_shared_gate_lets_other_reads_in_between() -> None:
    """Another read that waits for the gate acquires it between the polls, not after all of them."""
    gate = asyncio.Semaphore(1)
    poll_count = 0

    async def poll(_: ScheduledItem) -> None:
        nonlocal poll_count
        poll_count += 1
        await asyncio.sleep(0.1)

    scheduler: PollScheduler[ScheduledItem] = PollScheduler(poll, lambda _: None, gate=gate, polls=1, tick=0.02)
    for _ in range(50):
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
    await asyncio.sleep(0.15)
    async with gate:
        assert poll_count <= 3
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_scheduler_nothing_due_has_no_tasks() -> None:
    """Ten thousand waiting jobs cost no asyncio task."""

    async def poll(_: ScheduledItem) -> None:
        return None

    scheduler = scheduler_of(poll)
    for _ in range(10_000):
        scheduler.track(ScheduledItem(), after=60.0, deadline=inf)
    await asyncio.sleep(1)
    assert len(asyncio.all_tasks()) == 1
    await scheduler.aclose()


def test_scheduler_polls_without_waiting_yield_to_event_loop() -> None:
    """Polls that never wait, of thousands of jobs, do not block the event loop."""
    iterations = 0

    async def main() -> None:
        nonlocal iterations
        seen = 0

        async def poll(_: ScheduledItem) -> None:
            nonlocal seen
            seen += 1

        async def count() -> None:
            nonlocal iterations
            while seen < 100_000:
                iterations += 1
                await asyncio.sleep(0)

        scheduler = scheduler_of(poll, polls=1)
        for _ in range(100_000):
            scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(0.05)
        await count()
        await scheduler.aclose()

    asyncio.run(main())
    assert iterations > 3


@pytest.mark.virtual_time
async def test_pause_due_items_polls_all_afterwards() -> None:
    """A pause because of a rate limit delays the due polls, and none is lost."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def poll(_: ScheduledItem) -> None:
        times.append(loop.time())
        if len(times) == 1:
            scheduler.pause(30.0)

    scheduler = scheduler_of(poll, polls=2)
    for _ in range(20):
        scheduler.track(ScheduledItem(), after=1.0, deadline=inf)
    await asyncio.sleep(20)
    assert len(times) <= 2
    assert scheduler.statistics().paused_for == pytest.approx(12, abs=1)
    await asyncio.sleep(20)
    assert len(times) == 20
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_expire_hanging_poll_runs_on_time() -> None:
    """An item expires three seconds after its deadline at most, even if its last poll hangs."""
    loop = asyncio.get_running_loop()
    expired: list[float] = []

    async def poll(_: ScheduledItem) -> None:
        await asyncio.sleep(3600)

    def expire(_: ScheduledItem) -> None:
        expired.append(loop.time())

    scheduler = scheduler_of(poll, expire=expire)
    scheduler.track(ScheduledItem(), after=1.0, deadline=60.0)
    await asyncio.sleep(64)
    assert expired == [pytest.approx(63.1, abs=0.15)]
    assert scheduler.statistics().tracked == 0
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_set_deadline_replaces_previous_deadline() -> None:
    """The deadline that `expire` returns or `set_deadline` sets replaces the one before."""
    expired: list[float] = []
    deadlines = [20.0, None]

    async def poll(_: ScheduledItem) -> float:
        return 5.0

    def expire(_: ScheduledItem) -> float | None:
        expired.append(asyncio.get_running_loop().time())
        return deadlines.pop(0)

    scheduler = scheduler_of(poll, expire=expire)
    item = ScheduledItem()
    scheduler.track(item, after=1.0, deadline=3.0)
    scheduler.set_deadline(item, 10.0)
    await asyncio.sleep(30)
    assert expired == [pytest.approx(10.1, abs=0.15), pytest.approx(20.1, abs=0.15)]
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_forget_due_item_is_not_polled() -> None:
    """A job that ends while it waits for a runner costs no request."""
    polled: list[ScheduledItem] = []

    async def poll(item: ScheduledItem) -> None:
        polled.append(item)
        await asyncio.sleep(1)

    scheduler = scheduler_of(poll, polls=1)
    first, second = ScheduledItem(), ScheduledItem()
    scheduler.track(first, after=0.0, deadline=inf)
    scheduler.track(second, after=0.0, deadline=inf)
    await asyncio.sleep(0.5)
    scheduler.forget(second)
    await asyncio.sleep(5)
    assert polled == [first]
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_track_again_while_due_polls_once() -> None:
    """A job that is forgotten and tracked again while it is due is not polled twice as often."""
    poll_times: list[float] = []

    async def poll(item: ScheduledItem) -> float:
        if item is second:
            poll_times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        return 10.0

    scheduler = scheduler_of(poll, polls=1)
    first, second = ScheduledItem(), ScheduledItem()
    scheduler.track(first, after=0.0, deadline=inf)
    scheduler.track(second, after=0.0, deadline=inf)
    await asyncio.sleep(0.5)
    scheduler.forget(second)
    scheduler.track(second, after=0.0, deadline=inf)
    await asyncio.sleep(50)
    gaps = [later - earlier for earlier, later in pairwise(poll_times)]
    assert min(gaps) > 9
    await scheduler.aclose()


@pytest.mark.virtual_time
async def test_aclose_during_polls_leaves_no_tasks() -> None:
    """After closing, no task is left."""

    async def poll(_: ScheduledItem) -> None:
        await asyncio.sleep(3600)

    scheduler = scheduler_of(poll)
    for _ in range(30):
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
    await asyncio.sleep(1)
    await scheduler.aclose()
    assert len(asyncio.all_tasks()) == 1


def test_poll_raises_is_reported_and_repeated() -> None:
    """A poll that raises stops neither its own item nor the other items of its runner."""

    async def main() -> list[str]:
        reports: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
        poll_count = 0

        async def poll(_: ScheduledItem) -> None:
            nonlocal poll_count
            poll_count += 1
            if poll_count == 1:
                raise LookupError("a bug")

        scheduler = scheduler_of(poll, polls=1)
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(60)
        assert poll_count == 3
        assert scheduler.statistics().tracked == 0
        return reports

    assert run_virtual(main()) == ["a poll of a job raised"]
