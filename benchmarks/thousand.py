"""1,000 concurrent jobs of 10-30 s: `asyncio.gather` of 1,000 `client.run` against the fake server.

The client has `Limits(in_flight=1000)` and otherwise its defaults. The hand-written loop is a typical first version:
one coroutine per job on one `aiohttp.ClientSession`, POST, then `asyncio.sleep(3)` and GET until done. Their rounds
alternate, with the same durations. One round goes over httpx (`http="httpx"`). The server (asyncio's transport without
any framework) runs in a process of its own on the same machine and counts connections and polls. Its capacity is
measured first, with 16 connections that send GETs back to back. CPU is that of the client's process from before the
gather to its end, user and system, without imports and opening the client.

The lag of the event loop is measured in rounds of its own, because the gauge costs CPU: a timer is due every
millisecond, and the lag is its lateness. First the loop has nothing else to do for a while, then it runs the jobs. What
they add is the difference. `gc.callbacks` report the garbage collections, whose time is taken off for the longest stall
"apart from collections". A further round calls `gc.freeze()` before the jobs, so that collections leave out what the
process has loaded until then.

10,000 such concurrent jobs follow, one round, to show whether a job costs more among many.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from statistics import median
from typing import Final, Literal

import attrs

from aiowery import Limits, PollPolicy, WeryAI
from aiowery.weryai import TextToImage
from benchmarks import _workload
from benchmarks._capacity import Capacity, capacity
from benchmarks._fake_server import FakeServer, ServerFacts
from benchmarks._figures import Explanation, Figure, Section, Target, mean, of_rounds, percentile
from benchmarks._fresh_process import in_fresh_process
from benchmarks._poll_load import Get, Post, with_aiohttp
from benchmarks._stall_gauge import StallGauge

_SHORTEST: Final = 10.0
_LONGEST: Final = 30.0
_PAUSE: Final = 3.0
_TIMEOUT: Final = 120.0
_MANY: Final = 10_000
_CONNECTIONS: Final = 16
_IDLE: Final = 5.0
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "aiowery: CPU per job",
        "Seven HTTP exchanges and the work around them. A wake-up of the loop with cold caches costs more than a poll.",
    ),
    Explanation(
        'aiowery, http="httpx": CPU per job',
        "httpx's own client spends about 1 ms on each of the seven HTTP exchanges of a job.",
    ),
    Explanation(
        "aiowery / loop on aiohttp",
        "The hand-written loop polls all its jobs in step, in bursts that keep caches warm. aiowery spreads them over"
        " the interval, wakes up more often for fewer polls each, and does more for a job: queue, ledger, durations.",
    ),
    Explanation(
        "the same, as a multiple",
        "One round, and 10,000 tasks of the caller, whose objects the garbage collector visits. Among 1,000 jobs the"
        " rounds differ by nearly as much.",
    ),
    Explanation(
        "aiowery, lag",
        "The first moments, in which 1,000 tasks begin and their submissions are encoded. Whatever else runs on the"
        " machine shows here first.",
    ),
)


@attrs.frozen
class _Lag:
    """The lag of one run's event loop, in seconds: before the jobs (`idle`) and with them."""

    idle: float
    p999: float
    longest: float
    longest_apart: float
    longest_cpu: float
    longest_collection: float


@attrs.frozen
class _Run:
    """One run in the client's process: times in seconds, and the time of each result."""

    wall: float
    cpu: float
    ends: dict[str, float]
    lag: _Lag | None


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
    """Run the jobs in the client and in the hand-written loop, with and without a gauge, then many of them."""
    jobs, many, scale, rounds = (50, 100, 0.1, 1) if quick else (1_000, _MANY, 1.0, 3)
    served = in_fresh_process(_capacity, 0.3 if quick else 3.0)
    runs: dict[str, list[_Round]] = {_CLIENT: [], _LOOP: []}
    for seed in range(rounds):
        for name, found in runs.items():
            found.append(in_fresh_process(_round, _RUNNERS[name], jobs, scale, seed=seed))
    over_httpx = in_fresh_process(_round, _RUNNERS[_OVER_HTTPX], jobs, scale, seed=0)
    gauged, frozen = (
        in_fresh_process(_round, _RUNNERS[_CLIENT], jobs, scale, seed=rounds, gauge=True, freeze=freeze)
        for freeze in (False, True)
    )
    gauged_loop = in_fresh_process(_round, _RUNNERS[_LOOP], jobs, scale, seed=rounds, gauge=True)
    large = in_fresh_process(_round, _RUNNERS[_CLIENT], many, scale, seed=0)
    figures = (
        Figure("capacity of the fake server", served.per_second, "requests/s"),
        Figure("the fake server's CPU per request", 1e6 * served.cpu, "µs"),
        *_job_figures(_CLIENT, jobs, runs[_CLIENT], connections=_CONNECTIONS),
        *_job_figures(_LOOP, jobs, runs[_LOOP]),
        of_rounds(
            f"{_CLIENT} / {_LOOP}: CPU per job",
            [one.cpu_per_job / other.cpu_per_job for one, other in zip(runs[_CLIENT], runs[_LOOP], strict=True)],
            target=Target(0.9),
        ),
        *_job_figures(_OVER_HTTPX, jobs, [over_httpx]),
        *_lag_figures(f"{_CLIENT}, lag of the loop", gauged, has_targets=True),
        *_lag_figures(f"{_CLIENT}, lag of the loop after `gc.freeze()`", frozen),
        *_lag_figures(f"{_LOOP}, lag of the loop", gauged_loop),
        *_large_figures(many, large, median(run.cpu_per_job for run in runs[_CLIENT])),
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


def _job_figures(name: str, jobs: int, rounds: list[_Round], *, connections: int | None = None) -> list[Figure]:
    delays = [delay for run in rounds for delay in run.delays]
    bound = None if connections is None else Target(connections)
    return [
        Figure(f"{name}: jobs finished", min(run.finished for run in rounds), target=Target(jobs, at_least=True)),
        of_rounds(f"{name}: wall time", [run.run.wall for run in rounds], "s"),
        of_rounds(f"{name}: CPU per job", [run.cpu_per_job for run in rounds], "ms", target=_CPU_TARGETS.get(name)),
        of_rounds(f"{name}: CPU per HTTP exchange", [run.cpu_per_exchange for run in rounds], "ms"),
        Figure(f"{name}: connections, in all", max(run.facts.connections for run in rounds), target=bound),
        of_rounds(f"{name}: polls per job", [run.polls_per_job for run in rounds]),
        Figure(f"{name}: detection delay, mean", mean(delays), "s"),
        Figure(f"{name}: detection delay, 95th percentile", percentile(delays, 0.95), "s"),
    ]


def _lag_figures(name: str, run: _Round, *, has_targets: bool = False) -> list[Figure]:
    lag = run.run.lag
    assert lag is not None
    added, apart = (Target(5), Target(10)) if has_targets else (None, None)
    return [
        Figure(f"{name}: 99.9th percentile with nothing to do", 1000 * lag.idle, "ms"),
        Figure(f"{name}: 99.9th percentile, what the jobs add", 1000 * (lag.p999 - lag.idle), "ms", target=added),
        Figure(f"{name}: longest, apart from garbage collections", 1000 * lag.longest_apart, "ms", target=apart),
        Figure(f"{name}: longest", 1000 * lag.longest, "ms"),
        Figure(f"{name}: longest garbage collection", 1000 * lag.longest_collection, "ms"),
        Figure(f"{name}: most CPU time of the loop's thread between two ticks", 1000 * lag.longest_cpu, "ms"),
    ]


def _large_figures(jobs: int, run: _Round, cpu_of_fewer: float) -> list[Figure]:
    return [
        Figure(f"{jobs:,} jobs: finished", run.finished, target=Target(jobs, at_least=True)),
        Figure(f"{jobs:,} jobs: wall time", run.run.wall, "s"),
        Figure(f"{jobs:,} jobs: CPU per job", run.cpu_per_job, "ms"),
        Figure(f"{jobs:,} jobs: the same, as a multiple", run.cpu_per_job / cpu_of_fewer, target=Target(1.1)),
        Figure(f"{jobs:,} jobs: connections, in all", run.facts.connections, target=Target(24)),
        Figure(f"{jobs:,} jobs: polls per job", run.polls_per_job),
        Figure(f"{jobs:,} jobs: detection delay, mean", mean(run.delays), "s"),
    ]


Run = Callable[[TextToImage], Awaitable[None]]
Runner = Callable[[str, int, float, _workload.ResultTimes], AbstractAsyncContextManager[Run]]


def _round(runner: Runner, jobs: int, scale: float, *, seed: int, gauge: bool = False, freeze: bool = False) -> _Round:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    requests = _workload.requests(_workload.durations(jobs, scale * _SHORTEST, scale * _LONGEST, seed))
    with FakeServer() as server:
        run = asyncio.run(_measure(runner, server.url, requests, scale, gauge=gauge, freeze=freeze))
        return _Round(jobs, run, server.stop())


async def _measure(
    runner: Runner, url: str, requests: list[TextToImage], scale: float, *, gauge: bool, freeze: bool
) -> _Run:
    ends, lag = _workload.ResultTimes(), None
    async with runner(url, len(requests), scale, ends) as run:
        if freeze:
            gc.collect()
            gc.freeze()
        idle = await _idle_lag(scale * _IDLE) if gauge else 0.0
        stalls = StallGauge()
        if gauge:
            stalls.start()
        wall, cpu = time.monotonic(), time.process_time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                await asyncio.gather(*(run(request) for request in requests))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        if gauge:
            stalls.stop()
            lag = _lag(stalls, idle)
    return _Run(wall, cpu, ends.times, lag)


async def _idle_lag(seconds: float) -> float:
    """Return the 99.9th percentile of the loop's lag while it has nothing else to do."""
    gauge = StallGauge()
    gauge.start()
    await asyncio.sleep(seconds)
    gauge.stop()
    return percentile(gauge.lateness, 0.999)


def _lag(gauge: StallGauge, idle: float) -> _Lag:
    p999 = percentile(gauge.lateness, 0.999)
    return _Lag(idle, p999, gauge.worst, gauge.worst_apart, gauge.worst_cpu, gauge.longest_collection)


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
    async with with_aiohttp(url) as (post, get):
        yield partial(_one_by_hand, post, get, scale * _PAUSE, ends)


async def _one_by_hand(post: Post, get: Get, pause: float, ends: _workload.ResultTimes, request: TextToImage) -> None:
    accepted = await post({"prompt": request.prompt, "model": request.model, **request.extra})
    task_id, status = accepted["data"]["task_ids"][0], ""
    while status != "SUCCESS":
        await asyncio.sleep(pause)
        status = (await get(f"/v1/generation/{task_id}/status"))["data"]["task_status"]
    ends.times[task_id] = time.monotonic()


_CLIENT: Final = "aiowery"
_LOOP: Final = "loop on aiohttp"
_OVER_HTTPX: Final = 'aiowery, http="httpx"'
_RUNNERS: Final[dict[str, Runner]] = {
    _CLIENT: partial(_with_client, None),
    _LOOP: _by_hand,
    _OVER_HTTPX: partial(_with_client, "httpx"),
}
_CPU_TARGETS: Final = {_CLIENT: Target(2.0), _OVER_HTTPX: Target(5.0)}
