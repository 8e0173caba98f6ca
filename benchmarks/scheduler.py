"""The scheduler alone: a real event loop, real time, and polls that return immediately.

Jobs are tracked with the default `PollPolicy` (every 3-5 s), all from the same moment, each with a deadline. CPU per
poll is the process's CPU time over windows of 3 s, from the first poll on, divided by the polls in the window. It
includes the poll itself, which draws the next pause and records its own lateness. A poll is on time when it begins
within 100 ms of its due time. Polls that are overdue at the end count as late. Bytes are counted by tracemalloc, in a
run of its own: for a bare item in the scheduler, and for a `Job` with a waiter (the job, its task id, the waiter's
future and coroutines; neither an `asyncio.Task` nor the request).
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
from aiowery._jobs.poller import _TICKS_PER_INTERVAL
from aiowery._jobs.scheduler import PollScheduler, ScheduledItem
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds, percentile
from benchmarks._fresh_process import in_fresh_process

_POLICY: Final = PollPolicy()
_POLLS: Final = 16
_TICK: Final = _POLICY.min_interval / _TICKS_PER_INTERVAL
_LATE: Final = 0.1
_WINDOW: Final = 3.0
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "polls on time",
        "On a busy machine whole event-loop iterations are late. The median lateness shows whether that is the case.",
    ),
    Explanation("CPU per poll", "The scheduler is close to the target, so the machine's load decides."),
)
_LARGEST: Final = 100_000


class _Item(ScheduledItem):
    """The smallest item that can be tracked, with the time at which it is due."""

    __slots__ = ("expected",)

    def __init__(self) -> None:
        super().__init__()
        self.expected = inf


@attrs.frozen
class _Timing:
    """One run: CPU seconds per poll in each window, share of polls on time, lateness in seconds, number of polls."""

    cpu_per_poll: tuple[float, ...]
    on_time: float
    late_p50: float
    late_p99: float
    polls: int


def measure(*, quick: bool) -> Section:
    """Measure each number of jobs in processes of its own."""
    sizes = (100, 1_000) if quick else (1_000, 10_000, _LARGEST)
    figures: list[Figure] = []
    for size in sizes:
        timing = in_fresh_process(_timing, size, windows=1 if quick else 3)
        figures += _time_figures(size, timing, bare_poll=in_fresh_process(_bare_poll))
        figures.append(Figure(f"{size:,} jobs: memory per tracked item", in_fresh_process(_item_bytes, size), "B"))
        figures.append(
            Figure(f"{size:,} jobs: memory per `Job` with a waiter", in_fresh_process(_job_bytes, size), "B")
        )
    return Section("The scheduler alone", __doc__, tuple(figures), explanations=_EXPLANATIONS)


def _time_figures(size: int, timing: _Timing, *, bare_poll: float) -> list[Figure]:
    largest = size == _LARGEST
    micro = [1e6 * seconds for seconds in timing.cpu_per_poll]
    jobs = f"{size:,} jobs"
    return [
        of_rounds(f"{jobs}: CPU per poll", micro, "µs", target=Target(5) if largest else None),
        Figure(f"{jobs}: of which the poll itself, awaited in a bare loop", 1e6 * bare_poll, "µs"),
        Figure(
            f"{jobs}: polls on time", 100 * timing.on_time, "%", target=Target(98, at_least=True) if largest else None
        ),
        Figure(f"{jobs}: lateness, median", 1000 * timing.late_p50, "ms"),
        Figure(f"{jobs}: lateness, 99th percentile", 1000 * timing.late_p99, "ms"),
        Figure(f"{jobs}: polls made", timing.polls),
    ]


class _PollStub:
    """A poll that returns immediately and records its lateness."""

    def __init__(self) -> None:
        self.lateness = array("d")
        self._now = asyncio.get_running_loop().time

    async def __call__(self, item: _Item) -> float:
        now = self._now()
        self.lateness.append(now - item.expected)
        pause = _POLICY.interval(random.random)
        item.expected = now + pause
        return pause


def _scheduler(poll: Callable[[Any], Coroutine[Any, Any, float | None]]) -> PollScheduler[Any]:
    gate = asyncio.Semaphore(_POLLS)
    return PollScheduler(poll, lambda _: None, gate=gate, polls=_POLLS, tick=_TICK)


def _timing(size: int, *, windows: int) -> _Timing:
    return asyncio.run(_time(size, windows))


async def _time(size: int, windows: int) -> _Timing:
    loop = asyncio.get_running_loop()
    poll = _PollStub()
    scheduler = _scheduler(poll)
    items = [_Item() for _ in range(size)]
    for item in items:
        pause = _POLICY.interval(random.random)
        item.expected = loop.time() + pause
        scheduler.track(item, after=pause, deadline=loop.time() + _POLICY.image_timeout)
    await asyncio.sleep(_POLICY.min_interval)
    costs = tuple([await _window(poll) for _ in range(windows)])
    end = loop.time()
    await scheduler.aclose()
    overdue = sum(item.expected + _LATE < end for item in items)
    late = sum(seconds > _LATE for seconds in poll.lateness) + overdue
    polls = len(poll.lateness)
    return _Timing(
        costs, 1 - late / (polls + overdue), percentile(poll.lateness, 0.5), percentile(poll.lateness, 0.99), polls
    )


async def _window(poll: _PollStub) -> float:
    """Return the CPU seconds per poll over one window."""
    cpu, polls = time.process_time(), len(poll.lateness)
    await asyncio.sleep(_WINDOW)
    return (time.process_time() - cpu) / max(1, len(poll.lateness) - polls)


def _bare_poll() -> float:
    """Return the CPU seconds of one poll without a scheduler."""
    return asyncio.run(_poll_without_scheduler(100_000))


async def _poll_without_scheduler(times: int) -> float:
    poll, item = _PollStub(), _Item()
    began = time.process_time()
    for _ in range(times):
        await poll(item)
    return (time.process_time() - began) / times


class _Keeper:
    """The part of a client that a job uses, without any effect."""

    def timeout_seconds(self, kind: Kind | None, timeout: Timeout) -> float:  # noqa: ARG002 - the job's interface
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
    """Return the bytes of memory per item while all items are tracked, with a waiter if they are jobs."""
    loop = asyncio.get_running_loop()
    scheduler = _scheduler(partial(asyncio.sleep, 0))
    items: list[Any] = [None] * size
    waits: list[Any] = [None] * size
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(size):
        items[index] = item = make()
        scheduler.track(item, after=_POLICY.interval(random.random), deadline=loop.time() + _POLICY.image_timeout)
        if isinstance(item, Job):
            waits[index] = item.wait()
            waits[index].send(None)  # runs it until it awaits its future, as a task would
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for wait in waits:
        if wait is not None:
            wait.close()
    await scheduler.aclose()
    return used / size
