"""1,000 jobs of 10-30 s at once: `asyncio.gather` of 1,000 `client.run` against the fake server.

`Limits(in_flight=1000)`, everything else as it comes. The server (asyncio's transport without any framework) runs in
a process of its own on the same machine and counts connections and polls; its capacity is measured first with 16
connections that ask back to back. CPU is that of the client's process from before the gather to its end,
user and system, imports and opening the client left out. The stall is taken in a round of its own, because the
gauge costs CPU: a timer asks to be called every millisecond, and the figure is the latest it ever was.

The hand-written loop is what people write first: one coroutine per job on one `httpx.AsyncClient` with default limits
and a time-out of 60 s, POST, then `asyncio.sleep(3)` and GET until done; it is given 45 s, and runs with the gauge on.
Where not all of its jobs finish in that time, its CPU per job is what it had spent by then, hence too low.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

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
_NOTES: tuple[Note, ...] = (
    Note(
        "CPU per job",
        "Nearly all of it is the HTTP library's: see CPU per HTTP exchange, about seven of them per job. A fifth of"
        " that is httpcore's search for a package that is not installed (sniffio), four times an exchange: 10.3 ms per"
        " job with it and 8.1 without in one pair of runs. The rest is its pool, h11 and anyio, per request.",
    ),
    Note(
        "longest stall",
        "It falls into the first tenth of a second: the caller makes 1,000 tasks at once, whose first steps run in one"
        " turn of the loop, a full garbage collection comes among them (21-29 ms where it was looked at), and the first"
        " request imports the HTTP library's asyncio part (20 ms).",
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
    """Run the crowd for CPU (two rounds), for stalls (one round), and the hand-written loop (one round)."""
    jobs, scale = (50, 0.1) if quick else (1_000, 1.0)
    served = apart(_capacity, 0.3 if quick else 3.0)
    rounds = [apart(_round, _with_client, jobs, scale, seed=seed, gauge=False) for seed in range(1 if quick else 2)]
    gauged = apart(_round, _with_client, jobs, scale, seed=2, gauge=True)
    by_hand = apart(_round, _by_hand, jobs, scale, seed=0, gauge=True)
    figures = (
        Figure("capacity of the fake server", served.per_second, "requests/s"),
        Figure("the fake server's CPU per request", 1e6 * served.cpu, "µs"),
        *_crowd_figures(jobs, rounds, gauged),
        *_by_hand_figures(by_hand, mean([run.cpu_per_job for run in rounds])),
    )
    return Section(
        f"{jobs:,} jobs of {scale * _SHORTEST:g}-{scale * _LONGEST:g} s at once", __doc__, figures, notes=_NOTES
    )


def _capacity(seconds: float) -> Capacity:
    with FakeServer() as server:
        return capacity(server, "/v1/generation/nothing/status", seconds)


def _crowd_figures(jobs: int, rounds: list[_Round], gauged: _Round) -> list[Figure]:
    everything = [*rounds, gauged]
    delays = [delay for run in everything for delay in run.delays]
    return [
        Figure("jobs finished", min(run.finished for run in everything), target=Target(jobs, at_least=True)),
        of_rounds("wall time", [run.run.wall for run in everything], "s"),
        of_rounds("CPU per job", [run.cpu_per_job for run in rounds], "ms", target=Target(5)),
        of_rounds("CPU per HTTP exchange", [run.cpu_per_exchange for run in rounds], "ms"),
        Figure("connections, all in all", max(run.facts.connections for run in everything), target=Target(24)),
        Figure("connections at once", max(run.facts.peak for run in everything), target=Target(24)),
        Figure("longest stall of the event loop", 1000 * gauged.run.stall, "ms", target=Target(20)),
        Figure("most CPU time of the loop's thread between two ticks", 1000 * gauged.run.stall_cpu, "ms"),
        of_rounds("polls per job", [run.polls_per_job for run in everything]),
        Figure("detection delay, mean", mean(delays), "s"),
        Figure("detection delay, 95th percentile", percentile(delays, 0.95), "s"),
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
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*(run(request) for request in requests))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        stalls.stop()
    return _Run(wall, cpu, stalls.worst, stalls.worst_cpu, ends.moments)


@asynccontextmanager
async def _with_client(url: str, jobs: int, scale: float, ends: _work.Ends) -> AsyncIterator[Run]:
    """What is measured: one client, everything at once."""
    limits, polling = Limits(in_flight=jobs), PollPolicy().faster(1 / scale)
    async with WeryAI(_work.KEY, base_url=url, limits=limits, polling=polling) as client:
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
