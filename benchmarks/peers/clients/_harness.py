"""Run a plan with a peer: read the plan as JSON from standard input, and print a report as one line of JSON.

This module imports only the standard library, because the peers' environments have no other packages of the project.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks._resident import most_resident, resident
from benchmarks._stall_gauge import StallGauge
from benchmarks.peers._plan import Plan, make_prompt

KEY = "sk-made-up"

OnId = Callable[[str], None]
"""A function that is called with the id of a job as soon as the caller's own code can know it."""


@dataclass(frozen=True)
class Peer:
    """A peer: `run` runs a job to its end, `known_ids` returns the ids that the library itself still lists."""

    run: Callable[[str, OnId], Awaitable[object]]
    known_ids: Callable[[], Iterable[str]] = tuple


OpenPeer = Callable[[Plan], AbstractAsyncContextManager[Peer]]


class NoOutputError(Exception):
    """An error: the library reported that the job is done, but returned no output."""


@dataclass
class Report:
    """The results of a plan, printed once: at the end or after the timeout, whichever comes first."""

    plan: Plan
    ends: dict[int, float] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    reported_ids: set[str] = field(default_factory=set)
    known_ids: Callable[[], Iterable[str]] = tuple
    gauge: StallGauge | None = None
    last_finished: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start to measure, and start the timeout in a thread, because a stalled event loop must not delay it."""
        self._resident = resident()
        self._cpu, self._began = time.process_time(), time.monotonic()
        timer = threading.Timer(self.plan.timeout, self.end)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """Print the report and end the process immediately."""
        with self._lock:
            cpu, wall = time.process_time() - self._cpu, time.monotonic() - self._began
            report = {
                "wall": wall,
                "began": self._began,
                "cpu": cpu,
                "memory": max(0, most_resident() - self._resident),
                "ends": dict(self.ends),
                "failures": dict(self.failures),
                "known_ids": sorted({*self.reported_ids, *self.known_ids()}),
                "stall": self.gauge.worst_so_far if self.gauge else None,
                "last_finished": self.last_finished,
                "versions": _versions(self.plan.packages),
            }
            print(json.dumps(report), flush=True)
            os._exit(0)

    def count_failure(self, error: BaseException) -> None:
        """Count a failure by the class of its error."""
        self.failures[type(error).__name__] += 1


def measure(open_peer: OpenPeer) -> None:
    """Run the plan from standard input with an asyncio peer."""
    asyncio.run(_measure(open_peer, _read_plan()))


async def _measure(open_peer: OpenPeer, plan: Plan) -> None:
    report, opening = Report(plan), open_peer(plan)
    try:
        peer = await opening.__aenter__()
    except Exception as error:  # noqa: BLE001 - any error here means that the peer is unavailable
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}"}), flush=True)
        return
    report.known_ids = peer.known_ids
    if plan.gauge:
        report.gauge = StallGauge()
        report.gauge.start()
    report.start()
    await (_run_cancelled(peer, report) if plan.cancel_after else _run_all(peer, report))
    report.end()


async def _run_all(peer: Peer, report: Report) -> None:
    gate = asyncio.Semaphore(report.plan.gate) if report.plan.gate else None
    await asyncio.gather(*(_run_one(peer, report, gate, *job) for job in enumerate(report.plan.jobs)))


async def _run_one(peer: Peer, report: Report, gate: asyncio.Semaphore | None, number: int, seconds: float) -> None:
    try:
        async with gate or nullcontext():
            await peer.run(make_prompt(seconds, number), report.reported_ids.add)
    except Exception as error:  # noqa: BLE001 - every error of a library is counted
        report.count_failure(error)
    else:
        report.ends[number] = time.monotonic()


async def _run_cancelled(peer: Peer, report: Report) -> None:
    """Start all jobs but the last, cancel each caller at its time, then run the last job."""
    *cancelled, last = enumerate(report.plan.jobs)
    callers = [
        asyncio.ensure_future(peer.run(make_prompt(seconds, number), report.reported_ids.add))
        for number, seconds in cancelled
    ]
    for seconds, caller in sorted(zip(report.plan.cancel_after, callers, strict=True), key=lambda pair: pair[0]):
        await asyncio.sleep(seconds - (time.monotonic() - report._began))
        caller.cancel()
    await asyncio.wait(callers, timeout=5)
    await _run_one(peer, report, None, *last)
    report.last_finished = last[0] in report.ends


def measure_threads(run: Callable[[Plan, str, OnId], object]) -> None:
    """Run the plan from standard input with blocking code, one thread per job."""
    plan = _read_plan()
    report = Report(plan)
    gate = threading.Semaphore(plan.gate) if plan.gate else None

    def run_one(number: int, seconds: float) -> None:
        try:
            with gate or nullcontext():
                run(plan, make_prompt(seconds, number), report.reported_ids.add)
        except Exception as error:  # noqa: BLE001 - every error of a library is counted
            report.count_failure(error)
        else:
            report.ends[number] = time.monotonic()

    threads = [threading.Thread(target=run_one, args=job, daemon=True) for job in enumerate(plan.jobs)]
    report.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.end()


def _read_plan() -> Plan:
    raw: dict[str, Any] = json.loads(sys.stdin.readline())
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Plan(**values)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
