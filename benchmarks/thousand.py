"""1,000 jobs of 10-30 s at once: `asyncio.gather` of 1,000 `client.run` against the fake server.

`Limits(in_flight=1000)`, everything else as it comes, over the usual door and over the fast one, in turns. The server
(asyncio's transport without any framework) runs in a process of its own on the same machine and counts connections and
polls; its capacity is measured first with 16 connections that ask back to back. CPU is that of the client's process
from before the gather to its end, user and system, imports and opening the client left out. The stall is taken in a
round of its own, because the gauge costs CPU: a timer asks to be called every millisecond, and the figure is the latest
it ever was.

The hand-written loop is what people write first: one coroutine per job on one `httpx.AsyncClient` with default limits
and a time-out of 60 s, POST, then `asyncio.sleep(3)` and GET until done; it is given 45 s, and runs with the gauge on.
Where not all of its jobs finish in that time, its CPU per job is what it had spent by then, hence too low.

10,000 such jobs at once follow, one round each, to see whether a job costs more among many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from statistics import median
from typing import Final, Literal

import attrs
import httpx

from aiowery import Limits, PollPolicy, WeryAI
from aiowery.weryai import TextToImage
from benchmarks import _work
from benchmarks._capacity import Capacity, capacity
from benchmarks._figures import Figure, Note, Section, Target, mean, of_rounds, percentile
from benchmarks._gauges import StallGauge
from benchmarks._process import apart
from benchmarks._server import FakeServer, ServerFacts

_SHORTEST: Final = 10.0
_LONGEST: Final = 30.0
_PATIENCE: Final = 45.0
_MANY: Final = 10_000
_PATIENCE_WITH_MANY: Final = 120.0
_NOTES: tuple[Note, ...] = (
    Note(
        "usual door: CPU per job",
        "Seven exchanges of HTTP and what surrounds them. An exchange costs half as much back to back (see What a poll"
        " costs): four in a tick of 50 ms share fewer wake-ups of the loop and find colder caches.",
    ),
    Note(
        "fast door: CPU per job",
        "At this rate, 250 polls a second, each poll wakes both threads and both sleep again; among 10,000 jobs it"
        " costs less.",
    ),
    Note(
        "the same, as a multiple",
        "One round, and 10,000 tasks of the caller's, whose objects the garbage collector walks through; among 1,000"
        " jobs the rounds differ by nearly as much.",
    ),
    Note(
        "longest stall",
        "A full garbage collection of the interpreter falls into the crowd's first moments and takes 20-25 ms where it"
        " was looked at; with the collector switched off the longest stall was 12 ms (usual door) and 18 ms (fast).",
    ),
)


@attrs.frozen
class _Run:
    """What the client's process knows of one run: seconds, and the end of each finished job."""

    wall: float
    cpu: float
    stall: float
    stall_cpu: float
    ends: dict[str, float]


@attrs.frozen
class _Round:
    """A run and what the server saw of it."""

    jobs: int
    run: _Run
    facts: ServerFacts

    @property
    def finished(self) -> int:
        """How many jobs the caller had a result of."""
        return len(self.run.ends)

    @property
    def cpu_per_job(self) -> float:
        """CPU milliseconds of the client."""
        return 1000 * self.run.cpu / self.jobs

    @property
    def cpu_per_exchange(self) -> float:
        """CPU milliseconds of the client."""
        return 1000 * self.run.cpu / self.facts.requests

    @property
    def polls_per_job(self) -> float:
        """Status checks."""
        return sum(task.polls for task in self.facts.tasks.values()) / self.jobs

    @property
    def delays(self) -> list[float]:
        """Detection delays in seconds."""
        return _work.delays(self.facts, self.run.ends)


def measure(*, quick: bool) -> Section:
    """Run the crowd over both doors, the hand-written loop, and the large crowd."""
    jobs, many, scale, rounds = (50, 100, 0.1, 1) if quick else (1_000, _MANY, 1.0, 3)
    served = apart(_capacity, 0.3 if quick else 3.0)
    runs: dict[str, list[_Round]] = {name: [] for name in _DOORS}
    for seed in range(rounds):
        for name, way in _DOORS.items():
            runs[name].append(apart(_round, way, jobs, scale, seed=seed, gauge=False))
    gauged = {name: apart(_round, way, jobs, scale, seed=rounds, gauge=True) for name, way in _DOORS.items()}
    by_hand = apart(_round, _by_hand, jobs, scale, seed=0, gauge=True)
    large = {name: apart(_round, way, many, scale, seed=0, gauge=False) for name, way in _DOORS.items()}
    figures = (
        Figure("capacity of the fake server", served.per_second, "requests/s"),
        Figure("the fake server's CPU per request", 1e6 * served.cpu, "µs"),
        *(
            figure
            for name in _DOORS
            for figure in _crowd_figures(name, jobs, runs[name], gauged[name], cpu=_TARGETS[name])
        ),
        *_by_hand_figures(by_hand, median(run.cpu_per_job for run in runs[_USUAL])),
        *(
            figure
            for name in _DOORS
            for figure in _large_figures(name, many, large[name], median(run.cpu_per_job for run in runs[name]))
        ),
    )
    return Section(
        f"{jobs:,} jobs of {scale * _SHORTEST:g}-{scale * _LONGEST:g} s at once", __doc__, figures, notes=_NOTES
    )


def _capacity(seconds: float) -> Capacity:
    with FakeServer() as server:
        return capacity(server, "/v1/generation/nothing/status", seconds)


def _crowd_figures(name: str, jobs: int, rounds: list[_Round], gauged: _Round, *, cpu: float) -> list[Figure]:
    everything = [*rounds, gauged]
    delays = [delay for run in everything for delay in run.delays]
    return [
        Figure(f"{name}: jobs finished", min(run.finished for run in everything), target=Target(jobs, at_least=True)),
        of_rounds(f"{name}: wall time", [run.run.wall for run in everything], "s"),
        of_rounds(f"{name}: CPU per job", [run.cpu_per_job for run in rounds], "ms", target=Target(cpu)),
        of_rounds(f"{name}: CPU per HTTP exchange", [run.cpu_per_exchange for run in rounds], "ms"),
        Figure(f"{name}: connections, all in all", max(run.facts.connections for run in everything), target=Target(24)),
        Figure(f"{name}: connections at once", max(run.facts.peak for run in everything), target=Target(24)),
        Figure(f"{name}: longest stall of the event loop", 1000 * gauged.run.stall, "ms", target=Target(20)),
        Figure(f"{name}: most CPU time of the loop's thread between two ticks", 1000 * gauged.run.stall_cpu, "ms"),
        of_rounds(f"{name}: polls per job", [run.polls_per_job for run in everything]),
        Figure(f"{name}: detection delay, mean", mean(delays), "s"),
        Figure(f"{name}: detection delay, 95th percentile", percentile(delays, 0.95), "s"),
    ]


def _large_figures(name: str, jobs: int, run: _Round, usual: float) -> list[Figure]:
    return [
        Figure(f"{jobs:,} jobs, {name}: finished", run.finished, target=Target(jobs, at_least=True)),
        Figure(f"{jobs:,} jobs, {name}: wall time", run.run.wall, "s"),
        Figure(f"{jobs:,} jobs, {name}: CPU per job", run.cpu_per_job, "ms"),
        Figure(f"{jobs:,} jobs, {name}: the same, as a multiple", run.cpu_per_job / usual, target=Target(1.1)),
        Figure(f"{jobs:,} jobs, {name}: connections at once", run.facts.peak, target=Target(24)),
        Figure(f"{jobs:,} jobs, {name}: polls per job", run.polls_per_job),
        Figure(f"{jobs:,} jobs, {name}: detection delay, mean", mean(run.delays), "s"),
    ]


def _by_hand_figures(run: _Round, ours: float) -> list[Figure]:
    name = "hand-written loop"
    figures = [
        Figure(f"{name}: jobs finished within {_PATIENCE:.0f} s", run.finished),
        Figure(f"{name}: wall time", run.run.wall, "s"),
        Figure(f"{name}: CPU per job", run.cpu_per_job, "ms"),
        Figure(f"{name}: CPU per job, as a multiple of ours", run.cpu_per_job / ours),
        Figure(f"{name}: connections, all in all", run.facts.connections),
        Figure(f"{name}: longest stall of the event loop", 1000 * run.run.stall, "ms"),
        Figure(f"{name}: polls per job", run.polls_per_job),
    ]
    if run.delays:
        figures.append(Figure(f"{name}: detection delay, mean", mean(run.delays), "s"))
    return figures


Run = Callable[[TextToImage], Awaitable[None]]
Way = Callable[[str, int, float, _work.Ends], AbstractAsyncContextManager[Run]]


def _round(way: Way, jobs: int, scale: float, *, seed: int, gauge: bool) -> _Round:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    requests = _work.requests(_work.durations(jobs, scale * _SHORTEST, scale * _LONGEST, seed))
    with FakeServer() as server:
        run = asyncio.run(_measured(way, server.url, requests, scale, gauge=gauge))
        return _Round(jobs, run, server.stop())


async def _measured(way: Way, url: str, requests: list[TextToImage], scale: float, *, gauge: bool) -> _Run:
    ends, stalls = _work.Ends(), StallGauge()
    async with way(url, len(requests), scale, ends) as run:
        if gauge:
            stalls.start()
        wall, cpu = time.monotonic(), time.process_time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE if len(requests) < _MANY else _PATIENCE_WITH_MANY):
                await asyncio.gather(*(run(request) for request in requests))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        stalls.stop()
    return _Run(wall, cpu, stalls.worst, stalls.worst_cpu, ends.moments)


@asynccontextmanager
async def _with_client(
    http: Literal["fast"] | None, url: str, jobs: int, scale: float, ends: _work.Ends
) -> AsyncIterator[Run]:
    """What is measured: one client, everything at once."""
    limits, polling = Limits(in_flight=jobs), PollPolicy().faster(1 / scale)
    async with WeryAI(_work.KEY, base_url=url, limits=limits, polling=polling, http=http) as client:
        yield partial(ends.run, client)


@asynccontextmanager
async def _by_hand(url: str, _: int, scale: float, ends: _work.Ends) -> AsyncIterator[Run]:
    """What people write first."""
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        yield partial(_one_by_hand, client, 3.0 * scale, ends)


async def _one_by_hand(client: httpx.AsyncClient, pause: float, ends: _work.Ends, request: TextToImage) -> None:
    body = {"prompt": request.prompt, "model": request.model, **request.extra}
    accepted = await client.post(request.endpoint, json=body)
    task_id = accepted.json()["data"]["task_ids"][0]
    while True:
        await asyncio.sleep(pause)
        answer = await client.get(f"/v1/generation/{task_id}/status")
        if answer.json()["data"]["task_status"] == "SUCCESS":
            ends.moments[task_id] = time.monotonic()
            return


_USUAL: Final = "usual door"
_FAST: Final = "fast door"
_DOORS: Final[dict[str, Way]] = {_USUAL: partial(_with_client, None), _FAST: partial(_with_client, "fast")}
_TARGETS: Final = {_USUAL: 5.0, _FAST: 2.0}
