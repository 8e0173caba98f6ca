"""Memory per job in flight, end to end: 1,000 jobs of one client on the fake server, counted by tracemalloc.

A few jobs run first, so that modules are imported and connections are open. Then 1,000 jobs are submitted, to be
polled after 10 s, and the submitting tasks go: what a job alone takes. Then somebody waits for each: `job.wait()` is
driven to its future without an `asyncio.Task`, which counts the waiter's entry, its future and our coroutines. Then
every job is polled once, which adds what the answer said (the snapshot with its raw part). A second run has 1,000
`client.run` in one `asyncio.gather`, polled once: that is everything, the caller's tasks and coroutines too. The
requests are the caller's and not counted.
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
from benchmarks import _work
from benchmarks._figures import Figure, Note, Section, Target
from benchmarks._process import apart
from benchmarks._server import FakeServer

_FOREVER: Final = 600.0
_WARM_UP: Final = 30
_INTERVAL: Final = 10.0
_TARGET: Final = Target(2_500)
_NOTES: tuple[Note, ...] = (
    Note(
        "our structures",
        "The page of the ledger, the ticket of the lane and the coroutines of a waiter are what could go.",
    ),
    Note("everything", "Our structures, and on top of them a task and two coroutines of the caller for each job."),
)
_SHOWN: Final = 8


@attrs.frozen
class _Bytes:
    """Bytes per job: a job alone, with a waiter, and with a waiter and its first answer."""

    job: float
    waiting: float
    answered: float


def measure(*, quick: bool) -> Section:
    """Take both runs."""
    jobs = 100 if quick else 1_000
    ours = apart(_of_ours, jobs)
    whole, places = apart(_of_everything, jobs)
    figures = (
        Figure("the job: its ids, its places in the scheduler and with the client", ours.job, "B"),
        Figure("the waiter: entry, future, our two coroutines", ours.waiting - ours.job, "B"),
        Figure("what the first answer leaves: snapshot and raw part", ours.answered - ours.waiting, "B"),
        Figure("our structures, job with a waiter, polled", ours.answered, "B", target=_TARGET),
        Figure("everything, with `client.run` in the caller's tasks", whole, "B", target=_TARGET),
        Figure("of which the caller's: `asyncio.Task`, its coroutine, gather's entry", whole - ours.answered, "B"),
    )
    largest = ", ".join(f"{name} {size:,.0f}" for name, size in places)
    reading = f"Where the bytes of the second run were allocated, per job: {largest}."
    return Section(f"Memory of {jobs:,} jobs in flight", __doc__, figures, reading, _NOTES)


def _of_ours(jobs: int) -> _Bytes:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server:
        return asyncio.run(_stages(server.url, jobs))


def _of_everything(jobs: int) -> tuple[float, list[tuple[str, float]]]:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server:
        return asyncio.run(_whole(server.url, jobs))


def _client(url: str, jobs: int) -> WeryAI:
    polling = PollPolicy(
        min_interval=_INTERVAL, max_interval=_INTERVAL, known_max_interval=_INTERVAL, first_poll="interval"
    )
    return WeryAI(_work.KEY, base_url=url, limits=Limits(in_flight=jobs + _WARM_UP), polling=polling)


async def _stages(url: str, jobs: int) -> _Bytes:
    requests = _work.requests([_FOREVER] * jobs)
    async with _client(url, jobs) as client:
        await _warm_up(client)
        held: list[Any] = [None] * jobs
        waits: list[Any] = [None] * jobs
        before = _begin()
        held[:] = await asyncio.gather(*(client.submit(request) for request in requests))
        await asyncio.sleep(0)  # the submitting tasks are held until this turn of the loop is over
        job = _used(before)
        for number in range(jobs):
            waits[number] = held[number].wait()
            waits[number].send(None)
        waiting = _used(before)
        await _polled(client, jobs)
        answered = _used(before)
        tracemalloc.stop()
        for wait in waits:
            wait.close()
    return _Bytes(job / jobs, waiting / jobs, answered / jobs)


async def _whole(url: str, jobs: int) -> tuple[float, list[tuple[str, float]]]:
    requests = _work.requests([_FOREVER] * jobs)
    async with _client(url, jobs) as client:
        await _warm_up(client)
        before = _begin()
        earlier = tracemalloc.take_snapshot()
        everything = asyncio.gather(*(client.run(request) for request in requests))
        await _polled(client, jobs)
        used = _used(before)
        places = _places(earlier, tracemalloc.take_snapshot(), jobs)
        tracemalloc.stop()
        everything.cancel()
        await asyncio.gather(everything, return_exceptions=True)
    return used / jobs, places


async def _warm_up(client: WeryAI) -> None:
    await asyncio.gather(*(client.run(request) for request in _work.requests([0.1] * _WARM_UP)))


async def _polled(client: WeryAI, jobs: int) -> None:
    """Wait until every job has been polled once more."""
    enough = client.statistics().polls.made + jobs
    while client.statistics().polls.made < enough:  # noqa: ASYNC110 - a look has no event to wait for
        await asyncio.sleep(0.05)


def _begin() -> int:
    gc.collect()
    tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


def _used(before: int) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def _places(earlier: tracemalloc.Snapshot, later: tracemalloc.Snapshot, jobs: int) -> list[tuple[str, float]]:
    """Return the modules that allocated most, with bytes per job."""
    sizes: Counter[str] = Counter()
    for difference in later.compare_to(earlier, "filename"):
        sizes[_module(difference.traceback[0].filename)] += difference.size_diff
    return [(name, size / jobs) for name, size in sizes.most_common(_SHOWN)]


def _module(filename: str) -> str:
    """Return the last two parts of a file's path, which name a module and its package, without the rest."""
    return "generated code" if filename.startswith("<") else "/".join(filename.replace("\\", "/").split("/")[-2:])
