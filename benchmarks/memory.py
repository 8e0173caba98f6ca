"""Memory per job in flight, end to end: 1,000 jobs of one client on the fake server, counted by tracemalloc.

A few jobs run first, so that modules are imported and connections are open. Then 1,000 jobs are submitted, to be
polled after 10 s, and the submitting tasks end: this is the memory of a job alone. Then each job gets a waiter:
`job.wait()` is run until it awaits its future, without an `asyncio.Task`. This adds the waiter's entry, its future and
aiowery's coroutines. Then every job is polled once, which adds the snapshot with its raw part. A second run has 1,000
`client.run` in one `asyncio.gather`, polled once. It counts everything, including the caller's tasks and coroutines.
The requests belong to the caller and are not counted.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter
from typing import Any, Final

import attrs

from aiowery import Limits, PollPolicy, WeryAI
from benchmarks import _workload
from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Target
from benchmarks._fresh_process import in_fresh_process

_FOREVER: Final = 600.0
_WARM_UP: Final = 30
_INTERVAL: Final = 10.0
_TARGET: Final = Target(3_000)
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "aiowery's structures",
        "The ledger record, the queue ticket and the coroutines of a waiter could be removed.",
    ),
    Explanation(
        "everything", "aiowery's structures, and in addition a task and two coroutines of the caller for each job."
    ),
)
_MODULES_SHOWN: Final = 8


@attrs.frozen
class _Bytes:
    """Bytes per job: a job alone, with a waiter, and with a waiter after its first poll."""

    alone: float
    waiting: float
    polled: float


def measure(*, quick: bool) -> Section:
    """Measure both runs."""
    jobs = 100 if quick else 1_000
    job = in_fresh_process(_measure_jobs, jobs)
    everything, allocations = in_fresh_process(_measure_everything, jobs)
    figures = (
        Figure("the job: its ids, its entries in the scheduler and in the client", job.alone, "B"),
        Figure("the waiter: entry, future, aiowery's two coroutines", job.waiting - job.alone, "B"),
        Figure("the first poll: snapshot and raw part", job.polled - job.waiting, "B"),
        Figure("aiowery's structures: a job with a waiter, polled", job.polled, "B", target=_TARGET),
        Figure("everything, with `client.run` in the caller's tasks", everything, "B", target=_TARGET),
        Figure("of which the caller's: `asyncio.Task`, its coroutine, gather's entry", everything - job.polled, "B"),
    )
    largest = ", ".join(f"{name} {size:,.0f}" for name, size in allocations)
    reading = f"Where the bytes of the second run were allocated, per job: {largest}."
    return Section(f"Memory of {jobs:,} jobs in flight", __doc__, figures, reading, _EXPLANATIONS)


def _measure_jobs(jobs: int) -> _Bytes:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server:
        return asyncio.run(_stages(server.url, jobs))


def _measure_everything(jobs: int) -> tuple[float, list[tuple[str, float]]]:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server:
        return asyncio.run(_everything(server.url, jobs))


def _client(url: str, jobs: int) -> WeryAI:
    polling = PollPolicy(
        min_interval=_INTERVAL, max_interval=_INTERVAL, known_max_interval=_INTERVAL, first_poll="interval"
    )
    return WeryAI(_workload.KEY, base_url=url, limits=Limits(in_flight=jobs + _WARM_UP), polling=polling)


async def _stages(url: str, jobs: int) -> _Bytes:
    requests = _workload.requests([_FOREVER] * jobs)
    async with _client(url, jobs) as client:
        await _warm_up(client)
        held: list[Any] = [None] * jobs
        waits: list[Any] = [None] * jobs
        before = _start_tracing()
        held[:] = await asyncio.gather(*(client.submit(request) for request in requests))
        await asyncio.sleep(0)  # the submitting tasks are referenced until this event-loop iteration ends
        alone = _used(before)
        for number in range(jobs):
            waits[number] = held[number].wait()
            waits[number].send(None)
        waiting = _used(before)
        await _wait_until_polled(client, jobs)
        polled = _used(before)
        tracemalloc.stop()
        for wait in waits:
            wait.close()
    return _Bytes(alone / jobs, waiting / jobs, polled / jobs)


async def _everything(url: str, jobs: int) -> tuple[float, list[tuple[str, float]]]:
    requests = _workload.requests([_FOREVER] * jobs)
    async with _client(url, jobs) as client:
        await _warm_up(client)
        before = _start_tracing()
        earlier = tracemalloc.take_snapshot()
        everything = asyncio.gather(*(client.run(request) for request in requests))
        await _wait_until_polled(client, jobs)
        used = _used(before)
        allocations = _allocations(earlier, tracemalloc.take_snapshot(), jobs)
        tracemalloc.stop()
        everything.cancel()
        await asyncio.gather(everything, return_exceptions=True)
    return used / jobs, allocations


async def _warm_up(client: WeryAI) -> None:
    await asyncio.gather(*(client.run(request) for request in _workload.requests([0.1] * _WARM_UP)))


async def _wait_until_polled(client: WeryAI, jobs: int) -> None:
    """Wait until every job has been polled once more."""
    expected = client.statistics().polls.made + jobs
    while client.statistics().polls.made < expected:  # noqa: ASYNC110 - polls have no event to wait for
        await asyncio.sleep(0.05)


def _start_tracing() -> int:
    gc.collect()
    tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


def _used(before: int) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def _allocations(earlier: tracemalloc.Snapshot, later: tracemalloc.Snapshot, jobs: int) -> list[tuple[str, float]]:
    """Return the modules that allocated the most memory, with bytes per job."""
    sizes: Counter[str] = Counter()
    for difference in later.compare_to(earlier, "filename"):
        sizes[_module(difference.traceback[0].filename)] += difference.size_diff
    return [(name, size / jobs) for name, size in sizes.most_common(_MODULES_SHOWN)]


def _module(filename: str) -> str:
    """Return the last two parts of a file's path, which name a module and its package."""
    return "generated code" if filename.startswith("<") else "/".join(filename.replace("\\", "/").split("/")[-2:])
