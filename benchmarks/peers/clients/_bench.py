"""What the programs of all peers share: the plan comes in as JSON, what was seen goes out as one line of JSON.

Only the standard library, for the peers' environments have nothing else of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks._gauges import StallGauge
from benchmarks.peers._plan import Plan, text

KEY = "sk-made-up"
_PAGE = resource.getpagesize()
_MAXRSS = 1 if sys.platform == "darwin" else 1024

Note = Callable[[str], None]
"""Called with the id of a job as soon as the caller's own code can know it."""


@dataclass(frozen=True)
class Peer:
    """How a job is run to its end, and which ids the library itself can still name."""

    run: Callable[[str, Note], Awaitable[object]]
    known: Callable[[], Iterable[str]] = tuple


Opened = Callable[[Plan], AbstractAsyncContextManager[Peer]]


class NoOutputError(Exception):
    """The library said that the job is done, and has nothing to show."""


@dataclass
class Report:
    """What is seen; told once, at the end or when the patience is over, whichever comes first."""

    plan: Plan
    ends: dict[int, float] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)
    known: Callable[[], Iterable[str]] = tuple
    gauge: StallGauge | None = None
    last: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin to measure, and to lose patience, which a stalled loop must not delay: hence a thread."""
        self._rss = _resident()
        self._cpu, self._began = time.process_time(), time.monotonic()
        watch = threading.Timer(self.plan.patience, self.end)
        watch.daemon = True
        watch.start()

    def end(self) -> None:
        """Tell what was seen and end the process as it is."""
        with self._lock:
            cpu, wall = time.process_time() - self._cpu, time.monotonic() - self._began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS
            seen = {
                "wall": wall,
                "began": self._began,
                "cpu": cpu,
                "memory": max(0, peak - self._rss),
                "ends": dict(self.ends),
                "failures": dict(self.failures),
                "named": sorted({*self.named, *self.known()}),
                "stall": self.gauge.worst_yet if self.gauge else None,
                "last": self.last,
                "versions": _versions(self.plan.packages),
            }
            print(json.dumps(seen), flush=True)
            os._exit(0)

    def failed(self, error: BaseException) -> None:
        """Count a failure by its class."""
        self.failures[type(error).__name__] += 1


def measure(opened: Opened) -> None:
    """Do what standard input asks for with an asyncio peer."""
    asyncio.run(_measured(opened, _plan()))


async def _measured(opened: Opened, plan: Plan) -> None:
    report, opening = Report(plan), opened(plan)
    try:
        peer = await opening.__aenter__()
    except Exception as error:  # noqa: BLE001 - a peer that cannot be had is reported as such, whatever it lacks
        print(json.dumps({"unavailable": f"{type(error).__name__}: {error}"}), flush=True)
        return
    report.known = peer.known
    if plan.gauge:
        report.gauge = StallGauge()
        report.gauge.start()
    report.start()
    await (_leave(peer, report) if plan.leave else _gather(peer, report))
    report.end()


async def _gather(peer: Peer, report: Report) -> None:
    gate = asyncio.Semaphore(report.plan.gate) if report.plan.gate else None
    await asyncio.gather(*(_one(peer, report, gate, *job) for job in enumerate(report.plan.jobs)))


async def _one(peer: Peer, report: Report, gate: asyncio.Semaphore | None, number: int, seconds: float) -> None:
    try:
        async with gate or nullcontext():
            await peer.run(text(seconds, number), report.named.add)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is counted
        report.failed(error)
    else:
        report.ends[number] = time.monotonic()


async def _leave(peer: Peer, report: Report) -> None:
    """Start all jobs but the last, cancel each caller at its time, and see whether the last still works."""
    *left, last = enumerate(report.plan.jobs)
    callers = [asyncio.ensure_future(peer.run(text(seconds, number), report.named.add)) for number, seconds in left]
    for leave, caller in sorted(zip(report.plan.leave, callers, strict=True), key=lambda pair: pair[0]):
        await asyncio.sleep(leave - (time.monotonic() - report._began))
        caller.cancel()
    await asyncio.wait(callers, timeout=5)
    await _one(peer, report, None, *last)
    report.last = last[0] in report.ends


def measure_threads(run: Callable[[Plan, str, Note], object]) -> None:
    """Do what standard input asks for with blocking code, one thread per job."""
    plan = _plan()
    report = Report(plan)
    gate = threading.Semaphore(plan.gate) if plan.gate else None

    def one(number: int, seconds: float) -> None:
        try:
            with gate or nullcontext():
                run(plan, text(seconds, number), report.named.add)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is counted
            report.failed(error)
        else:
            report.ends[number] = time.monotonic()

    threads = [threading.Thread(target=one, args=job, daemon=True) for job in enumerate(plan.jobs)]
    report.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.end()


def _plan() -> Plan:
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Plan(**known)


def _resident() -> int:
    """Return the bytes of memory that the process has now, where the system says so."""
    told = Path("/proc/self/statm")
    if told.exists():
        return int(told.read_text().split()[1]) * _PAGE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
