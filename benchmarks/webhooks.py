"""Webhooks: how soon a call reaches the waiter, what it saves, and what forged calls cost.

The client has the default `PollPolicy` and an address on loopback, at which uvicorn serves the receiver in the client's
own process and event loop, as in a web application. The fake server calls there over a new connection at the moment at
which a task ends. Delay is from the end of the task, by the server's clock, to the caller's having the result; GETs
are status checks, by the server's count.

Called: jobs of 10-14 s (evenly at random) in real time, 100 at once, and at the same time the same jobs through a
client without webhooks, with a server of its own.

20 slots: makespan as in the benchmark of that name, with the same ideal client that knows each end at once (computed),
default limits and time three times as fast, which counts our own and HTTP's delays threefold. Three rounds side by
side, each with a client and a server of its own; they share a receiver.

Forged: 100 jobs are running, after three whose calls came as they should. Then another process posts 10,000 deliveries
over 20 connections, each as soon as the one before it was answered: to addresses that do not exist; to those of the
jobs, naming other tasks; and, as if the secrets had leaked, to those of the jobs, naming their own tasks, all of which
are still running (each is then looked at once, and from there on as often as polling would). GETs are those while that
lasts, CPU is that of the client's process, uvicorn included. After the flood all tasks end at once, and the server
calls about each.

Two processes: the client has a ledger file, and the receiver, in a process of its own, the same file. Jobs of
0.4-0.8 s, four at once; the call is sent at the task's end. Spread is that of the jobs.
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
from benchmarks import _work, makespan
from benchmarks._figures import Figure, Section, Target, mean, of_rounds, percentile
from benchmarks._forgery import Flooded, Forgery, flooded
from benchmarks._process import apart
from benchmarks._receiving import receiving, serving
from benchmarks._server import FakeServer, ServerFacts

_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_SLOTS: Final = Limits().in_flight


@attrs.frozen(kw_only=True)
class _Plan:
    """Jobs through one client, `at_once` of them under way, with time `speed` times as fast."""

    jobs: int
    at_once: int
    speed: float
    seed: int = 0
    called: bool = True

    @property
    def durations(self) -> list[float]:
        """How long the tasks take, in unscaled seconds."""
        return _work.durations(self.jobs, _SHORTEST, _LONGEST, self.seed)


@attrs.frozen
class _Run:
    """What came of a plan, in unscaled seconds: from the first request to the last result, and each job's delay."""

    seconds: float
    delays: list[float]
    gets: list[int]


def measure(*, quick: bool) -> Section:
    """Time calls, compare makespans, forge, and cross processes."""
    jobs, speed, rounds = (40, 20.0, 2) if quick else (200, 3.0, 3)
    figures = (
        *_called(jobs, 20.0 if quick else 1.0),
        *_makespans(jobs, speed, rounds),
        *_forged(*((20, 200) if quick else (100, 10_000))),
        _two_processes(8 if quick else 60),
    )
    return Section("Webhooks", __doc__, figures)


def _called(jobs: int, speed: float) -> list[Figure]:
    plan = _Plan(jobs=jobs, at_once=jobs // 2, speed=speed)
    called, polled = apart(_side_by_side, [plan, attrs.evolve(plan, called=False)])
    return [
        Figure("called: jobs finished", len(called.delays), target=Target(jobs, at_least=True)),
        Figure("called: delay, mean", 1000 * mean(called.delays), "ms", target=Target(100)),
        Figure("called: delay, 95th percentile", 1000 * percentile(called.delays, 0.95), "ms"),
        Figure("called: delay, greatest", 1000 * max(called.delays), "ms"),
        Figure("called: GETs per job", mean(called.gets), target=Target(1.2)),
        Figure("the same jobs, polled: delay, mean", 1000 * mean(polled.delays), "ms"),
        Figure("the same jobs, polled: GETs per job", mean(polled.gets)),
    ]


def _makespans(jobs: int, speed: float, rounds: int) -> list[Figure]:
    plans = [_Plan(jobs=jobs, at_once=_SLOTS, speed=speed, seed=seed) for seed in range(rounds)]
    ours = [run.seconds for run in apart(_side_by_side, plans)]
    ideals = [makespan.ideal(plan.durations, float) for plan in plans]
    ratios = [one / ideal for one, ideal in zip(ours, ideals, strict=True)]
    return [
        of_rounds(f"{_SLOTS} slots: makespan", ours, "s"),
        of_rounds(f"{_SLOTS} slots: ideal that knows each end at once (computed)", ideals, "s"),
        of_rounds(f"{_SLOTS} slots: ours / ideal", ratios, "x", target=Target(1.03)),
    ]


def _forged(jobs: int, deliveries: int) -> list[Figure]:
    floods = [(forgery, apart(flooded, forgery, jobs, deliveries)) for forgery in get_args(Forgery)]
    return [figure for forgery, flood in floods for figure in _flood_figures(forgery, flood, jobs, deliveries)]


def _flood_figures(forgery: Forgery, flood: Flooded, jobs: int, deliveries: int) -> list[Figure]:
    name = f"{deliveries:,} forged, {forgery}"
    return [
        Figure(f"{name}: GETs", flood.gets, target=None if forgery == "too early" else Target(100)),
        Figure(f"{name}: answered", flood.rate, "/s"),
        Figure(f"{name}: CPU per delivery", 1e6 * flood.cpu / deliveries, "µs"),
        Figure(f"{name}: jobs finished afterwards", flood.finished, target=Target(jobs, at_least=True)),
        Figure(f"{name}: from their end to the last result", flood.settled, "s"),
    ]


def _two_processes(jobs: int) -> Figure:
    delays = [1000 * delay for delay in apart(_across, jobs)]
    return of_rounds(f"two processes: delay, median of {jobs} jobs", delays, "ms", target=Target(100))


def _side_by_side(plans: Sequence[_Plan]) -> list[_Run]:
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer(slots=plan.at_once)) for plan in plans]
        runs = asyncio.run(_all(plans, [server.url for server in servers]))
        return [_seen(plan, *run, server.stop()) for plan, run, server in zip(plans, runs, servers, strict=True)]


def _seen(plan: _Plan, took: float, ends: dict[str, float], facts: ServerFacts) -> _Run:
    """Lay the server's facts beside the client's."""
    assert len(ends) == len(facts.tasks) == plan.jobs
    assert facts.called == (plan.jobs if plan.called else 0)
    assert facts.refused == 0
    delays = [plan.speed * delay for delay in _work.delays(facts, ends)]
    return _Run(plan.speed * took, delays, _work.polls(facts, ends))


async def _all(plans: Sequence[_Plan], urls: Sequence[str]) -> list[tuple[float, dict[str, float]]]:
    receiver = Receiver()
    async with serving(receiver) as public_url:
        webhooks = Webhooks(public_url=public_url, receiver=receiver)
        runs = (_run(plan, url, webhooks if plan.called else None) for plan, url in zip(plans, urls, strict=True))
        return await asyncio.gather(*runs)


async def _run(plan: _Plan, url: str, webhooks: Webhooks | None) -> tuple[float, dict[str, float]]:
    """Return the seconds that it took, and the end of each job."""
    ends = _work.Ends()
    client = WeryAI(
        _work.KEY,
        base_url=url,
        limits=Limits(in_flight=plan.at_once).faster(plan.speed),
        polling=PollPolicy().faster(plan.speed),
        retries=RetryPolicy().faster(plan.speed),
        webhooks=webhooks,
    )
    requests = _work.requests([seconds / plan.speed for seconds in plan.durations])
    async with client:
        began = time.monotonic()
        await asyncio.gather(*(ends.run(client, request) for request in requests))
        return time.monotonic() - began, ends.moments


def _across(jobs: int) -> list[float]:
    """Return the delays of jobs of which another process receives the calls."""
    ends = _work.Ends()
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "jobs.db"
        with receiving(ledger) as url:
            asyncio.run(_wait_across(server.url, Webhooks(public_url=url), ledger, jobs, ends))
            facts = server.stop()
    assert len(facts.tasks) == facts.called == jobs
    return _work.delays(facts, ends.moments)


async def _wait_across(url: str, webhooks: Webhooks, ledger: Path, jobs: int, ends: _work.Ends) -> None:
    requests = _work.requests(_work.durations(jobs, 0.4, 0.8, seed=1))
    limits = Limits(in_flight=4)
    async with WeryAI(_work.KEY, base_url=url, limits=limits, webhooks=webhooks, ledger=ledger) as client:
        await asyncio.gather(*(ends.run(client, request) for request in requests))
