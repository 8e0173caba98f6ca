"""Webhooks: how soon a delivery reaches the waiter, how many polls it saves, and what forged deliveries cost.

The client has the default `PollPolicy` and a public URL on loopback. There uvicorn serves the receiver in the client's
own process and event loop, as in a web application. When a task ends, the fake server immediately sends a delivery over
a new connection. Delay is the time from the end of the task, by the server's clock, until the caller has the result.
GETs are status checks, by the server's count.

With webhooks: jobs of 10-14 s (uniformly random) in real time, 100 at the same time. Concurrently, the same jobs run
through a client without webhooks, with a server of its own.

20 slots: makespan as in the benchmark of that name, with the same ideal client that detects each end immediately
(computed), default limits and time three times as fast, which multiplies the delays of aiowery and of HTTP by three.
Three rounds run side by side, each with a client and a server of its own; they share a receiver.

Forged: 100 jobs are running, after three whose deliveries arrived as they should. Then another process sends 10,000
deliveries over 20 connections, each as soon as the one before it was answered. They go to URLs that do not exist; to
the URLs of the jobs, with the ids of other tasks; and, as if the secrets had leaked, to the URLs of the jobs with the
ids of their own tasks, all of which are still running. In the last case each job is polled immediately, and from there
on as often as without webhooks. GETs are those during the flood, CPU is that of the client's process, including
uvicorn. After the flood all tasks end at the same time, and the server sends a delivery for each.

Two processes: the client has a ledger file, and the receiver, in a process of its own, has the same file. Jobs of
0.4-0.8 s, four at the same time; the delivery is sent at the task's end. Spread is that of the jobs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, get_args

import attrs

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.webhook import Receiver, Webhooks
from benchmarks import _workload, makespan
from benchmarks._fake_server import FakeServer, ServerFacts
from benchmarks._figures import Figure, Section, Target, mean, of_rounds, percentile
from benchmarks._forged_deliveries import FloodResult, Forgery, flood
from benchmarks._fresh_process import in_fresh_process
from benchmarks._receiver_server import receiver_process, serve_receiver

_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_SLOTS: Final = Limits().in_flight


@attrs.frozen(kw_only=True)
class _Plan:
    """Jobs through one client, `concurrent` of them under way, with time `speed` times as fast."""

    jobs: int
    concurrent: int
    speed: float
    seed: int = 0
    has_webhooks: bool = True

    @property
    def durations(self) -> list[float]:
        """Durations of the tasks, in unscaled seconds."""
        return _workload.durations(self.jobs, _SHORTEST, _LONGEST, self.seed)


@attrs.frozen
class _Run:
    """The run of a plan: unscaled seconds from the first request to the last result, and each job's delay and GETs."""

    seconds: float
    delays: list[float]
    gets: list[int]


def measure(*, quick: bool) -> Section:
    """Measure delays, makespans, forged deliveries, and deliveries between processes."""
    jobs, speed, rounds = (40, 20.0, 2) if quick else (200, 3.0, 3)
    figures = (
        *_delays(jobs, 20.0 if quick else 1.0),
        *_makespans(jobs, speed, rounds),
        *_forged(*((20, 200) if quick else (100, 10_000))),
        _two_processes(8 if quick else 60),
    )
    return Section("Webhooks", __doc__, figures)


def _delays(jobs: int, speed: float) -> list[Figure]:
    plan = _Plan(jobs=jobs, concurrent=jobs // 2, speed=speed)
    webhooks, polled = in_fresh_process(_side_by_side, [plan, attrs.evolve(plan, has_webhooks=False)])
    return [
        Figure("webhooks: jobs finished", len(webhooks.delays), target=Target(jobs, at_least=True)),
        Figure("webhooks: delay, mean", 1000 * mean(webhooks.delays), "ms", target=Target(100)),
        Figure("webhooks: delay, 95th percentile", 1000 * percentile(webhooks.delays, 0.95), "ms"),
        Figure("webhooks: delay, greatest", 1000 * max(webhooks.delays), "ms"),
        Figure("webhooks: GETs per job", mean(webhooks.gets), target=Target(1.2)),
        Figure("the same jobs, polled: delay, mean", 1000 * mean(polled.delays), "ms"),
        Figure("the same jobs, polled: GETs per job", mean(polled.gets)),
    ]


def _makespans(jobs: int, speed: float, rounds: int) -> list[Figure]:
    plans = [_Plan(jobs=jobs, concurrent=_SLOTS, speed=speed, seed=seed) for seed in range(rounds)]
    makespans = [run.seconds for run in in_fresh_process(_side_by_side, plans)]
    ideals = [makespan.ideal(plan.durations, float) for plan in plans]
    ratios = [one / ideal for one, ideal in zip(makespans, ideals, strict=True)]
    return [
        of_rounds(f"{_SLOTS} slots: makespan", makespans, "s"),
        of_rounds(f"{_SLOTS} slots: ideal that detects each end immediately (computed)", ideals, "s"),
        of_rounds(f"{_SLOTS} slots: aiowery / ideal", ratios, "x", target=Target(1.03)),
    ]


def _forged(jobs: int, deliveries: int) -> list[Figure]:
    floods = [(forgery, in_fresh_process(flood, forgery, jobs, deliveries)) for forgery in get_args(Forgery)]
    return [figure for forgery, result in floods for figure in _flood_figures(forgery, result, jobs, deliveries)]


def _flood_figures(forgery: Forgery, result: FloodResult, jobs: int, deliveries: int) -> list[Figure]:
    name = f"{deliveries:,} forged, {forgery}"
    return [
        Figure(f"{name}: GETs", result.gets, target=None if forgery == "too early" else Target(100)),
        Figure(f"{name}: answered", result.rate, "/s"),
        Figure(f"{name}: CPU per delivery", 1e6 * result.cpu / deliveries, "µs"),
        Figure(f"{name}: jobs finished afterwards", result.finished, target=Target(jobs, at_least=True)),
        Figure(f"{name}: from their end to the last result", result.settled, "s"),
    ]


def _two_processes(jobs: int) -> Figure:
    delays = [1000 * delay for delay in in_fresh_process(_across_processes, jobs)]
    return of_rounds(f"two processes: delay, median of {jobs} jobs", delays, "ms", target=Target(100))


def _side_by_side(plans: Sequence[_Plan]) -> list[_Run]:
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer(slots=plan.concurrent)) for plan in plans]
        runs = asyncio.run(_all(plans, [server.url for server in servers]))
        return [_combine(plan, *run, server.stop()) for plan, run, server in zip(plans, runs, servers, strict=True)]


def _combine(plan: _Plan, took: float, ends: dict[str, float], facts: ServerFacts) -> _Run:
    """Combine the server's counts with the client's times."""
    assert len(ends) == len(facts.tasks) == plan.jobs
    assert facts.delivered == (plan.jobs if plan.has_webhooks else 0)
    assert facts.refused == 0
    delays = [plan.speed * delay for delay in _workload.delays(facts, ends)]
    return _Run(plan.speed * took, delays, _workload.polls(facts, ends))


async def _all(plans: Sequence[_Plan], urls: Sequence[str]) -> list[tuple[float, dict[str, float]]]:
    receiver = Receiver()
    async with serve_receiver(receiver) as public_url:
        webhooks = Webhooks(public_url=public_url, receiver=receiver)
        runs = (_run(plan, url, webhooks if plan.has_webhooks else None) for plan, url in zip(plans, urls, strict=True))
        return await asyncio.gather(*runs)


async def _run(plan: _Plan, url: str, webhooks: Webhooks | None) -> tuple[float, dict[str, float]]:
    """Run a plan; return the seconds that it took, and the time of each result."""
    ends = _workload.ResultTimes()
    client = WeryAI(
        _workload.KEY,
        base_url=url,
        limits=Limits(in_flight=plan.concurrent).faster(plan.speed),
        polling=PollPolicy().faster(plan.speed),
        retries=RetryPolicy().faster(plan.speed),
        webhooks=webhooks,
    )
    requests = _workload.requests([seconds / plan.speed for seconds in plan.durations])
    async with client:
        began = time.monotonic()
        await asyncio.gather(*(ends.run(client, request) for request in requests))
        return time.monotonic() - began, ends.times


def _across_processes(jobs: int) -> list[float]:
    """Return the delays of jobs whose deliveries are received by another process."""
    ends = _workload.ResultTimes()
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "jobs.db"
        with receiver_process(ledger) as url:
            asyncio.run(_run_across_processes(server.url, Webhooks(public_url=url), ledger, jobs, ends))
            facts = server.stop()
    assert len(facts.tasks) == facts.delivered == jobs
    return _workload.delays(facts, ends.times)


async def _run_across_processes(
    url: str, webhooks: Webhooks, ledger: Path, jobs: int, ends: _workload.ResultTimes
) -> None:
    requests = _workload.requests(_workload.durations(jobs, 0.4, 0.8, seed=1))
    limits = Limits(in_flight=4)
    async with WeryAI(_workload.KEY, base_url=url, limits=limits, webhooks=webhooks, ledger=ledger) as client:
        await asyncio.gather(*(ends.run(client, request) for request in requests))
