"""The scheduler alone: a real event loop, real time, and looks that answer at once.

Jobs are watched with the default `PollPolicy` (every 3-5 s), all from the same moment, each with a deadline. CPU
per poll is the process's CPU time over windows of 3 s, from the first look on, divided by the looks in it; it
includes the look itself, which draws the next pause and notes how late it came. A poll is on time when its look
begins within 100 ms of its due moment; looks that are overdue at the end count as late. Bytes are what
tracemalloc counts, in a run of its own: for a bare item in the scheduler, and for a `Job` whose end somebody
awaits (the job, its task id, the waiter's future and coroutines; neither an `asyncio.Task` nor the request).
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
import tracemalloc
from array import array
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any, Final

import attrs

from aiowery import PollPolicy, Result
from aiowery._base.snapshot import Kind
from aiowery._core.request import Accepted, Timeout
from aiowery._jobs.job import Job
from aiowery._jobs.scheduler import PollScheduler, ScheduledItem
from benchmarks._figures import Figure, Note, Section, Target, of_rounds, percentile
from benchmarks._process import apart

_POLICY: Final = PollPolicy()
_POLLS: Final = 16
_TICK: Final = _POLICY.min_interval / 150
_LATE: Final = 0.1
_WINDOW: Final = 3.0
_NOTES: tuple[Note, ...] = (
    Note("polls on time", "On a busy machine whole turns of the loop come late; the median lateness tells them apart."),
    Note("CPU per poll", "The scheduler sits at the target's edge: what else runs on the machine decides."),
)
_LARGEST: Final = 100_000


class _Item(ScheduledItem):
    """The least that can be watched, and when it is due."""

    __slots__ = ("expected",)

    def __init__(self) -> None:
        super().__init__()
        self.expected = inf


@attrs.frozen
class _Timing:
    """One run: CPU seconds per poll in each window, share of polls on time, lateness in seconds, polls."""

    cpu_per_poll: tuple[float, ...]
    on_time: float
    late_p50: float
    late_p99: float
    polls: int


def measure(*, quick: bool) -> Section:
    """Measure each size in processes of its own."""
    sizes = (100, 1_000) if quick else (1_000, 10_000, _LARGEST)
    figures: list[Figure] = []
    for size in sizes:
        timing = apart(_timing, size, windows=1 if quick else 3)
        figures += _time_figures(size, timing, bare_look=apart(_bare_look))
        figures.append(Figure(f"{size:,} jobs: memory per watched item", apart(_item_bytes, size), "B"))
        figures.append(Figure(f"{size:,} jobs: memory per `Job` with a waiter", apart(_job_bytes, size), "B"))
    return Section("The scheduler alone", __doc__, tuple(figures), notes=_NOTES)


def _time_figures(size: int, timing: _Timing, *, bare_look: float) -> list[Figure]:
    largest = size == _LARGEST
    micro = [1e6 * seconds for seconds in timing.cpu_per_poll]
    jobs = f"{size:,} jobs"
    return [
        of_rounds(f"{jobs}: CPU per poll", micro, "µs", target=Target(5) if largest else None),
        Figure(f"{jobs}: of which the look itself, called in a bare loop", 1e6 * bare_look, "µs"),
        Figure(
            f"{jobs}: polls on time", 100 * timing.on_time, "%", target=Target(98, at_least=True) if largest else None
        ),
        Figure(f"{jobs}: lateness, median", 1000 * timing.late_p50, "ms"),
        Figure(f"{jobs}: lateness, 99th percentile", 1000 * timing.late_p99, "ms"),
        Figure(f"{jobs}: polls made", timing.polls),
    ]


class _Looks:
    """Answers looks at once and notes how late each came."""

    def __init__(self) -> None:
        self.lateness = array("d")
        self._now = asyncio.get_running_loop().time

    async def __call__(self, item: _Item) -> float:
        now = self._now()
        self.lateness.append(now - item.expected)
        pause = _POLICY.interval(random.random)
        item.expected = now + pause
        return pause


def _scheduler(look: Callable[[Any], Coroutine[Any, Any, float | None]]) -> PollScheduler[Any]:
    gate = asyncio.Semaphore(_POLLS)
    return PollScheduler(look, lambda _: None, gate=gate, polls=_POLLS, tick=_TICK)


def _timing(size: int, *, windows: int) -> _Timing:
    return asyncio.run(_time(size, windows))


async def _time(size: int, windows: int) -> _Timing:
    loop = asyncio.get_running_loop()
    looks = _Looks()
    scheduler = _scheduler(looks)
    items = [_Item() for _ in range(size)]
    for item in items:
        pause = _POLICY.interval(random.random)
        item.expected = loop.time() + pause
        scheduler.track(item, after=pause, deadline=loop.time() + _POLICY.image_timeout)
    await asyncio.sleep(_POLICY.min_interval)
    costs = tuple([await _window(looks) for _ in range(windows)])
    end = loop.time()
    await scheduler.aclose()
    overdue = sum(item.expected + _LATE < end for item in items)
    late = sum(seconds > _LATE for seconds in looks.lateness) + overdue
    polls = len(looks.lateness)
    return _Timing(
        costs, 1 - late / (polls + overdue), percentile(looks.lateness, 0.5), percentile(looks.lateness, 0.99), polls
    )


async def _window(looks: _Looks) -> float:
    """Return the CPU seconds per poll over one window."""
    cpu, polls = time.process_time(), len(looks.lateness)
    await asyncio.sleep(_WINDOW)
    return (time.process_time() - cpu) / max(1, len(looks.lateness) - polls)


def _bare_look() -> float:
    """Return the CPU seconds of one look without a scheduler."""
    return asyncio.run(_look_barely(100_000))


async def _look_barely(times: int) -> float:
    looks, item = _Looks(), _Item()
    began = time.process_time()
    for _ in range(times):
        await looks(item)
    return (time.process_time() - began) / times


class _Keeper:
    """The least that a job needs of a client."""

    def timeout_seconds(self, kind: Kind | None, deadline: Timeout) -> float:  # noqa: ARG002 - the job's interface
        return _POLICY.image_timeout

    def ensure_polled(self, job: Job[Any]) -> None:
        pass

    def on_collected(self, job: Job[Any]) -> None:
        pass


_KEEPER: Final = _Keeper()


def _item_bytes(size: int) -> float:
    return asyncio.run(_bytes(size, _Item))


def _job_bytes(size: int) -> float:
    return asyncio.run(_bytes(size, _job))


def _job() -> Job[Any]:
    number = random.randrange(10**8)  # noqa: S311 - not a secret
    accepted = Accepted(task_ids=(f"task_{number:08d}",), provider_batch_id=str(number))
    return Job(accepted, _KEEPER, request=None, result_type=Result, kind="image")


async def _bytes(size: int, make: Callable[[], ScheduledItem]) -> float:
    """Return the bytes per item that lie in memory while all are watched, and awaited if they can be."""
    loop = asyncio.get_running_loop()
    scheduler = _scheduler(partial(asyncio.sleep, 0))
    items: list[Any] = [None] * size
    waits: list[Any] = [None] * size
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for place in range(size):
        items[place] = item = make()
        scheduler.track(item, after=_POLICY.interval(random.random), deadline=loop.time() + _POLICY.image_timeout)
        if isinstance(item, Job):
            waits[place] = item.wait()
            waits[place].send(None)  # to where it waits for its future, as a task would
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for wait in waits:
        if wait is not None:
            wait.close()
    await scheduler.aclose()
    return used / size
