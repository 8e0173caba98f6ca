"""200 clients in one process, each with a key of its own and 20 jobs: a service whose users bring their own keys.

One client is opened and closed before, so that nothing is imported in the measurement. Then all 200 are opened, one
after the other, and get their jobs in the same moment: 4,000 `client.run` of jobs of 5-10 s, with default settings. CPU
and memory are those of the process. The memory is what the system has given it (its resident set), at its most, less
what it had before the first client was opened: it includes 4,000 tasks of the caller. Connections are counted by the
server, over the whole run. Rounds are plain and over TLS in turn; over TLS asyncio and OpenSSL add about 300 KB to each
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from contextlib import AsyncExitStack
from typing import Final

import attrs

from aiowery import WeryAI
from benchmarks import _workload
from benchmarks._certificates import certificates
from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds
from benchmarks._fresh_process import in_fresh_process
from benchmarks._resident import resident

_JOBS: Final = 20
_SHORTEST: Final = 5.0
_LONGEST: Final = 10.0
_CONNECTIONS: Final = 64
_MEGABYTE: Final = 1_000_000
_EXPLANATIONS: Final = (
    Explanation(
        "memory that clients and jobs add",
        "All 4,000 submissions are under way in the same moment, each with a task of the caller and one of aiowery.",
    ),
)


@attrs.frozen
class _Run:
    """One run: CPU in seconds for opening all clients and then for the jobs, memory in bytes, the server's counts."""

    opening: float
    memory_open: int
    memory: int
    cpu: float
    wall: float
    finished: int
    connections: int
    peak: int


def measure(*, quick: bool) -> Section:
    """Run the jobs of all clients, plain and over TLS in turn."""
    clients, scale, rounds = (10, 0.05, 1) if quick else (200, 1.0, 3)
    runs: dict[bool, list[_Run]] = {False: [], True: []}
    for _ in range(rounds):
        for tls, found in runs.items():
            found.append(in_fresh_process(_run, clients, scale, tls=tls))
    figures = (
        *_figures("plain", runs[False], clients * _JOBS, Target(25)),
        *_figures("TLS", runs[True], clients * _JOBS),
    )
    return Section(
        f"{clients} clients with a key each, {_JOBS} jobs a client", __doc__, figures, explanations=_EXPLANATIONS
    )


def _figures(name: str, runs: list[_Run], jobs: int, memory: Target | None = None) -> list[Figure]:
    connections = Target(_CONNECTIONS)
    return [
        of_rounds(f"{name}: opening all clients: CPU", [run.opening for run in runs], "s", target=Target(0.5)),
        of_rounds(f"{name}: memory that open clients add", [run.memory_open / _MEGABYTE for run in runs], "MB"),
        of_rounds(
            f"{name}: memory that clients and jobs add", [run.memory / _MEGABYTE for run in runs], "MB", target=memory
        ),
        Figure(f"{name}: connections, in all", max(run.connections for run in runs), target=connections),
        Figure(f"{name}: connections at the same time", max(run.peak for run in runs), target=connections),
        Figure(f"{name}: jobs finished", min(run.finished for run in runs), target=Target(jobs, at_least=True)),
        of_rounds(f"{name}: CPU per job", [1000 * run.cpu / jobs for run in runs], "ms"),
        of_rounds(f"{name}: wall time", [run.wall for run in runs], "s"),
    ]


def _run(clients: int, scale: float, *, tls: bool) -> _Run:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with certificates(tls=tls) as files, FakeServer(certificate=files.server) as server:
        files.trust()
        run = asyncio.run(_measure(server.url, clients, scale))
        facts = server.stop()
    return attrs.evolve(run, connections=facts.connections, peak=facts.peak)


async def _measure(url: str, count: int, scale: float) -> _Run:
    async with WeryAI(_workload.KEY, base_url=url):
        pass
    requests = _workload.requests(_workload.durations(_JOBS, scale * _SHORTEST, scale * _LONGEST, seed=1))
    before = _collected_memory()
    async with AsyncExitStack() as stack:
        began = time.process_time()
        clients = [await stack.enter_async_context(_client(url, number)) for number in range(count)]
        opening = time.process_time() - began
        memory_open = _collected_memory() - before
        sampler = asyncio.create_task(_most_memory())
        ends = _workload.ResultTimes()
        wall, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(ends.run(client, request) for client in clients for request in requests))
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        sampler.cancel()
        memory = await sampler - before
    return _Run(opening, memory_open, memory, cpu, wall, len(ends.times), connections=0, peak=0)


def _client(url: str, number: int) -> WeryAI:
    return WeryAI(f"{_workload.KEY}-{number}", base_url=url)


def _collected_memory() -> int:
    gc.collect()
    return resident()


async def _most_memory() -> int:
    """Return the most memory that the process used until this task is cancelled."""
    most = resident()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.1)
            most = max(most, resident())
    return most
