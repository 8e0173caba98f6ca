"""The poll scheduler alone: what it looks at, when, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import inf

import pytest

from aiowery._jobs.scheduler import PollScheduler, ScheduledItem
from aiowery.testing import run_virtual

Look = Callable[[ScheduledItem], Awaitable[float | None]]


def scheduler_of(
    look: Look, *, polls: int = 16, expire: Callable[[ScheduledItem], float | None] = lambda _: None
) -> PollScheduler[ScheduledItem]:
    """Return a scheduler in the running loop, with the grain that 3 s intervals get."""
    return PollScheduler(look, expire, gate=asyncio.Semaphore(polls), polls=polls, tick=0.02)


def test_hours_of_looks_come_on_time() -> None:
    """An hour of looks every 4 s: 900 of them, none more than a tick late, in milliseconds of real time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def look(_: ScheduledItem) -> float:
            times.append(loop.time())
            return 4.0

        scheduler = scheduler_of(look)
        scheduler.track(ScheduledItem(), after=4.0, deadline=inf)
        await asyncio.sleep(3600.5)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(times) >= 895
        assert min(gaps) >= 4.0
        assert max(gaps) <= 4.03
        await scheduler.aclose()

    run_virtual(main())


def test_never_more_looks_at_once_than_the_gate_has_places() -> None:
    """A hundred jobs due in one moment are looked at five at a time."""

    async def main() -> None:
        at_once = most = 0

        async def look(_: ScheduledItem) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.1)
            at_once -= 1

        scheduler = scheduler_of(look, polls=5)
        for _ in range(100):
            scheduler.track(ScheduledItem(), after=1.0, deadline=inf)
        await asyncio.sleep(10)
        assert most == 5
        assert scheduler.statistics().made == 100
        assert scheduler.statistics().tracked == 0

    run_virtual(main())


def test_the_gate_is_shared_fairly_with_other_reads() -> None:
    """Somebody else who waits for the gate gets in between the looks, not after all of them."""

    async def main() -> None:
        gate = asyncio.Semaphore(1)
        looks = 0

        async def look(_: ScheduledItem) -> None:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0.1)

        scheduler: PollScheduler[ScheduledItem] = PollScheduler(look, lambda _: None, gate=gate, polls=1, tick=0.02)
        for _ in range(50):
            scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(0.15)
        async with gate:
            assert looks <= 3
        await scheduler.aclose()

    run_virtual(main())


def test_no_task_exists_while_nothing_is_due() -> None:
    """Ten thousand waiting jobs cost no task at all."""

    async def main() -> None:
        async def look(_: ScheduledItem) -> None:
            return None

        scheduler = scheduler_of(look)
        for _ in range(10_000):
            scheduler.track(ScheduledItem(), after=60.0, deadline=inf)
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1
        await scheduler.aclose()

    run_virtual(main())


def test_looks_that_never_wait_let_others_run() -> None:
    """A look that returns at once, for thousands of jobs, does not keep the loop to itself."""
    turns = 0

    async def main() -> None:
        nonlocal turns
        seen = 0

        async def look(_: ScheduledItem) -> None:
            nonlocal seen
            seen += 1

        async def count() -> None:
            nonlocal turns
            while seen < 100_000:
                turns += 1
                await asyncio.sleep(0)

        scheduler = scheduler_of(look, polls=1)
        for _ in range(100_000):
            scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(0.05)
        await count()
        await scheduler.aclose()

    asyncio.run(main())
    assert turns > 3


def test_holding_delays_what_is_due_and_loses_nothing() -> None:
    """When the provider says that we ask too often, looks rest, and all come afterwards."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def look(_: ScheduledItem) -> None:
            times.append(loop.time())
            if len(times) == 1:
                scheduler.pause(30.0)

        scheduler = scheduler_of(look, polls=2)
        for _ in range(20):
            scheduler.track(ScheduledItem(), after=1.0, deadline=inf)
        await asyncio.sleep(20)
        assert len(times) <= 2
        assert scheduler.statistics().paused_for == pytest.approx(12, abs=1)
        await asyncio.sleep(20)
        assert len(times) == 20
        await scheduler.aclose()

    run_virtual(main())


def test_a_deadline_is_swept_even_while_looks_fail_to_come() -> None:
    """Deadlines come by the same clock, within a fifth of a second, also for a job whose look hangs."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        expired: list[float] = []

        async def look(_: ScheduledItem) -> None:
            await asyncio.sleep(3600)

        def expire(_: ScheduledItem) -> None:
            expired.append(loop.time())

        scheduler = scheduler_of(look, expire=expire)
        scheduler.track(ScheduledItem(), after=1.0, deadline=60.0)
        await asyncio.sleep(61)
        assert expired == [pytest.approx(60.1, abs=0.15)]
        assert scheduler.statistics().tracked == 0
        await scheduler.aclose()

    run_virtual(main())


def test_a_moved_deadline_counts() -> None:
    """The next deadline that `expire` returns, or `set_deadline` sets, replaces the one before."""

    async def main() -> None:
        expired: list[float] = []
        deadlines = [20.0, None]

        async def look(_: ScheduledItem) -> float:
            return 5.0

        def expire(_: ScheduledItem) -> float | None:
            expired.append(asyncio.get_running_loop().time())
            return deadlines.pop(0)

        scheduler = scheduler_of(look, expire=expire)
        item = ScheduledItem()
        scheduler.track(item, after=1.0, deadline=3.0)
        scheduler.set_deadline(item, 10.0)
        await asyncio.sleep(30)
        assert expired == [pytest.approx(10.1, abs=0.15), pytest.approx(20.1, abs=0.15)]
        await scheduler.aclose()

    run_virtual(main())


def test_forgotten_while_due_is_not_looked_at() -> None:
    """A job that ends while it stands in line for its look costs no request."""

    async def main() -> None:
        looked: list[ScheduledItem] = []

        async def look(item: ScheduledItem) -> None:
            looked.append(item)
            await asyncio.sleep(1)

        scheduler = scheduler_of(look, polls=1)
        first, second = ScheduledItem(), ScheduledItem()
        scheduler.track(first, after=0.0, deadline=inf)
        scheduler.track(second, after=0.0, deadline=inf)
        await asyncio.sleep(0.5)
        scheduler.forget(second)
        await asyncio.sleep(5)
        assert looked == [first]
        await scheduler.aclose()

    run_virtual(main())


def test_watched_again_while_in_line_is_looked_at_once() -> None:
    """A job that lapsed and is awaited again is not looked at twice as often from then on."""

    async def main() -> None:
        looks: list[float] = []

        async def look(item: ScheduledItem) -> float:
            if item is second:
                looks.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)
            return 10.0

        scheduler = scheduler_of(look, polls=1)
        first, second = ScheduledItem(), ScheduledItem()
        scheduler.track(first, after=0.0, deadline=inf)
        scheduler.track(second, after=0.0, deadline=inf)
        await asyncio.sleep(0.5)
        scheduler.forget(second)
        scheduler.track(second, after=0.0, deadline=inf)
        await asyncio.sleep(50)
        gaps = [later - earlier for earlier, later in pairwise(looks)]
        assert min(gaps) > 9
        await scheduler.aclose()

    run_virtual(main())


def test_closing_ends_the_looks_under_way() -> None:
    """After close there is no task and no timer left."""

    async def main() -> None:
        async def look(_: ScheduledItem) -> None:
            await asyncio.sleep(3600)

        scheduler = scheduler_of(look)
        for _ in range(30):
            scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(1)
        await scheduler.aclose()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_a_look_that_raises_is_reported_and_comes_again() -> None:
    """One broken look ends neither its item nor its runner's other looks."""

    async def main() -> list[str]:
        reports: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
        looks = 0

        async def look(_: ScheduledItem) -> None:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise LookupError("a bug")

        scheduler = scheduler_of(look, polls=1)
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        scheduler.track(ScheduledItem(), after=0.0, deadline=inf)
        await asyncio.sleep(60)
        assert looks == 3
        assert scheduler.statistics().tracked == 0
        return reports

    assert run_virtual(main()) == ["a poll of a job raised"]
