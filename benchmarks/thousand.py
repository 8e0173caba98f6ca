"""1,000 concurrent jobs of 10-30 s: `asyncio.gather` of 1,000 `client.run` against the fake server.

The client has `Limits(in_flight=1000)` and otherwise its defaults, alternately over the default transport and over
httpx (`http="httpx"`). The server (asyncio's transport without any framework) runs in a process of its own
on the same machine and counts connections and polls. Its capacity is measured first, with 16 connections that send GETs
back to back. CPU is that of the client's process from before the gather to its end, user and system, without imports
and opening the client. The stall is measured in a round of its own, because the gauge costs CPU: a timer is due every
millisecond, and the figure is its greatest lateness.

The hand-written loop is a typical first version: one coroutine per job on one `httpx.AsyncClient` with default limits
and a timeout of 60 s, POST, then `asyncio.sleep(3)` and GET until done. It gets 45 s, and runs with the gauge on. If
not all of its jobs finish in that time, its CPU per job is what it had spent by then, and therefore too low.

10,000 such concurrent jobs follow, one round each, to show whether a job costs more among many.
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
from benchmarks import _workload
from benchmarks._capacity import Capacity, capacity
from benchmarks._fake_server import FakeServer, ServerFacts
from benchmarks._figures import Explanation, Figure, Section, Target, mean, of_rounds, percentile
from benchmarks._fresh_process import in_fresh_process
from benchmarks._stall_gauge import StallGauge

_SHORTEST: Final = 10.0
_LONGEST: Final = 30.0
_TIMEOUT: Final = 45.0
_MANY: Final = 10_000
_TIMEOUT_OF_MANY: Final = 120.0
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "default transport: CPU per job",
        "Seven HTTP exchanges and the work around them. A wake-up of the loop with cold caches costs more than a poll.",
    ),
    Explanation(
        "the same, as a multiple",
        "One round, and 10,000 tasks of the caller, whose objects the garbage collector visits. Among 1,000 jobs the"
        " rounds differ by nearly as much.",
    ),
    Explanation(
        "longest stall",
        "A full garbage collection of the interpreter falls into the first moments of the jobs. Where it was examined"
        " it took 20-25 ms. With the collector switched off the longest stall was 12 ms (default transport) and 18 ms"
        " (over httpx).",
    ),
)


@attrs.frozen
class _Run:
    """One run in the client's process: times in seconds, and the time of each result."""

    wall: float
    cpu: float
    stall: float
    stall_cpu: float
    ends: dict[str, float]


@attrs.frozen
class _Round:
    """A run and the server's counts of it."""

    jobs: int
    run: _Run
    facts: ServerFacts

    @property
    def finished(self) -> int:
        """Number of jobs whose result the caller had."""
        return len(self.run.ends)

    @property
    def cpu_per_job(self) -> float:
        """CPU milliseconds of the client per job."""
        return 1000 * self.run.cpu / self.jobs

    @property
    def cpu_per_exchange(self) -> float:
        """CPU milliseconds of the client per HTTP exchange."""
        return 1000 * self.run.cpu / self.facts.requests

    @property
    def polls_per_job(self) -> float:
        """Status checks per job."""
        return sum(task.polls for task in self.facts.tasks.values()) / self.jobs

    @property
    def delays(self) -> list[float]:
        """Detection delays in seconds."""
        return _workload.delays(self.facts, self.run.ends)


def measure(*, quick: bool) -> Section:
    """Run the jobs over both transports and in the hand-written loop, then the larger number of jobs."""
    jobs, many, scale, rounds = (50, 100, 0.1, 1) if quick else (1_000, _MANY, 1.0, 3)
    served = in_fresh_process(_capacity, 0.3 if quick else 3.0)
    runs: dict[str, list[_Round]] = {name: [] for name in _TRANSPORTS}
    for seed in range(rounds):
        for name, runner in _TRANSPORTS.items():
            runs[name].append(in_fresh_process(_round, runner, jobs, scale, seed=seed, gauge=False))
    gauged = {
        name: in_fresh_process(_round, runner, jobs, scale, seed=rounds, gauge=True)
        for name, runner in _TRANSPORTS.items()
    }
    by_hand = in_fresh_process(_round, _by_hand, jobs, scale, seed=0, gauge=True)
    large = {
        name: in_fresh_process(_round, runner, many, scale, seed=0, gauge=False) for name, runner in _TRANSPORTS.items()
    }
    figures = (
        Figure("capacity of the fake server", served.per_second, "requests/s"),
        Figure("the fake server's CPU per request", 1e6 * served.cpu, "µs"),
        *(
            figure
            for name in _TRANSPORTS
            for figure in _job_figures(name, jobs, runs[name], gauged[name], cpu=_TARGETS[name])
        ),
        *_by_hand_figures(by_hand, median(run.cpu_per_job for run in runs[_DEFAULT])),
        *(
            figure
            for name in _TRANSPORTS
            for figure in _large_figures(name, many, large[name], median(run.cpu_per_job for run in runs[name]))
        ),
    )
    return Section(
        f"{jobs:,} concurrent jobs of {scale * _SHORTEST:g}-{scale * _LONGEST:g} s",
        __doc__,
        figures,
        explanations=_EXPLANATIONS,
    )


def _capacity(seconds: float) -> Capacity:
    with FakeServer() as server:
        return capacity(server, "/v1/generation/nothing/status", seconds)


def _job_figures(name: str, jobs: int, rounds: list[_Round], gauged: _Round, *, cpu: float) -> list[Figure]:
    everything = [*rounds, gauged]
    delays = [delay for run in everything for delay in run.delays]
    return [
        Figure(f"{name}: jobs finished", min(run.finished for run in everything), target=Target(jobs, at_least=True)),
        of_rounds(f"{name}: wall time", [run.run.wall for run in everything], "s"),
        of_rounds(f"{name}: CPU per job", [run.cpu_per_job for run in rounds], "ms", target=Target(cpu)),
        of_rounds(f"{name}: CPU per HTTP exchange", [run.cpu_per_exchange for run in rounds], "ms"),
        Figure(f"{name}: connections, in all", max(run.facts.connections for run in everything), target=Target(24)),
        Figure(f"{name}: connections at the same time", max(run.facts.peak for run in everything), target=Target(24)),
        Figure(f"{name}: longest stall of the event loop", 1000 * gauged.run.stall, "ms", target=Target(20)),
        Figure(f"{name}: most CPU time of the loop's thread between two ticks", 1000 * gauged.run.stall_cpu, "ms"),
        of_rounds(f"{name}: polls per job", [run.polls_per_job for run in everything]),
        Figure(f"{name}: detection delay, mean", mean(delays), "s"),
        Figure(f"{name}: detection delay, 95th percentile", percentile(delays, 0.95), "s"),
    ]


def _large_figures(name: str, jobs: int, run: _Round, cpu_of_fewer: float) -> list[Figure]:
    return [
        Figure(f"{jobs:,} jobs, {name}: finished", run.finished, target=Target(jobs, at_least=True)),
        Figure(f"{jobs:,} jobs, {name}: wall time", run.run.wall, "s"),
        Figure(f"{jobs:,} jobs, {name}: CPU per job", run.cpu_per_job, "ms"),
        Figure(f"{jobs:,} jobs, {name}: the same, as a multiple", run.cpu_per_job / cpu_of_fewer, target=Target(1.1)),
        Figure(f"{jobs:,} jobs, {name}: connections at the same time", run.facts.peak, target=Target(24)),
        Figure(f"{jobs:,} jobs, {name}: polls per job", run.polls_per_job),
        Figure(f"{jobs:,} jobs, {name}: detection delay, mean", mean(run.delays), "s"),
    ]


def _by_hand_figures(run: _Round, aiowery: float) -> list[Figure]:
    name = "hand-written loop"
    figures = [
        Figure(f"{name}: jobs finished within {_TIMEOUT:.0f} s", run.finished),
        Figure(f"{name}: wall time", run.run.wall, "s"),
        Figure(f"{name}: CPU per job", run.cpu_per_job, "ms"),
        Figure(f"{name}: CPU per job, as a multiple of aiowery's", run.cpu_per_job / aiowery),
        Figure(f"{name}: connections, in all", run.facts.connections),
        Figure(f"{name}: longest stall of the event loop", 1000 * run.run.stall, "ms"),
        Figure(f"{name}: polls per job", run.polls_per_job),
    ]
    if run.delays:
        figures.append(Figure(f"{name}: detection delay, mean", mean(run.delays), "s"))
    return figures


Run = Callable[[TextToImage], Awaitable[None]]
Runner = Callable[[str, int, float, _workload.ResultTimes], AbstractAsyncContextManager[Run]]


def _round(runner: Runner, jobs: int, scale: float, *, seed: int, gauge: bool) -> _Round:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    requests = _workload.requests(_workload.durations(jobs, scale * _SHORTEST, scale * _LONGEST, seed))
    with FakeServer() as server:
        run = asyncio.run(_measure(runner, server.url, requests, scale, gauge=gauge))
        return _Round(jobs, run, server.stop())


async def _measure(runner: Runner, url: str, requests: list[TextToImage], scale: float, *, gauge: bool) -> _Run:
    ends, stalls = _workload.ResultTimes(), StallGauge()
    async with runner(url, len(requests), scale, ends) as run:
        if gauge:
            stalls.start()
        wall, cpu = time.monotonic(), time.process_time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT if len(requests) < _MANY else _TIMEOUT_OF_MANY):
                await asyncio.gather(*(run(request) for request in requests))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        stalls.stop()
    return _Run(wall, cpu, stalls.worst, stalls.worst_cpu, ends.times)


@asynccontextmanager
async def _with_client(
    http: Literal["httpx"] | None, url: str, jobs: int, scale: float, ends: _workload.ResultTimes
) -> AsyncIterator[Run]:
    """Run all jobs at the same time in one aiowery client."""
    limits, polling = Limits(in_flight=jobs), PollPolicy().faster(1 / scale)
    async with WeryAI(_workload.KEY, base_url=url, limits=limits, polling=polling, http=http) as client:
        yield partial(ends.run, client)


@asynccontextmanager
async def _by_hand(url: str, _: int, scale: float, ends: _workload.ResultTimes) -> AsyncIterator[Run]:
    """Run all jobs in a typical first version of a hand-written loop."""
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        yield partial(_one_by_hand, client, 3.0 * scale, ends)


async def _one_by_hand(
    client: httpx.AsyncClient, pause: float, ends: _workload.ResultTimes, request: TextToImage
) -> None:
    body = {"prompt": request.prompt, "model": request.model, **request.extra}
    accepted = await client.post(request.endpoint, json=body)
    task_id = accepted.json()["data"]["task_ids"][0]
    while True:
        await asyncio.sleep(pause)
        response = await client.get(f"/v1/generation/{task_id}/status")
        if response.json()["data"]["task_status"] == "SUCCESS":
            ends.times[task_id] = time.monotonic()
            return


_DEFAULT: Final = "default transport"
_OVER_HTTPX: Final = "over httpx"
_TRANSPORTS: Final[dict[str, Runner]] = {
    _DEFAULT: partial(_with_client, None),
    _OVER_HTTPX: partial(_with_client, "httpx"),
}
_TARGETS: Final = {_DEFAULT: 2.0, _OVER_HTTPX: 5.0}
