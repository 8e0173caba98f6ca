"""Many GETs in the same moment on one httpx client: what waiting for a connection costs.

The client has 10 connections, or its default limits (100 connections, 20 of them kept alive). The other GETs wait in
the pool. CPU is that of the process, from the first GET to the last response. httpx's own pool searches all waiting
requests, and for each of them all connections, whenever a request begins or ends: its cost grows with the square of
their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import httpx

from benchmarks._fake_server import FakeServer
from benchmarks._figures import Figure, Section, Table, number, of_rounds
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import Endpoint, get_with, httpx_client, pooled_client

MakeClient = Callable[..., httpx.AsyncClient]

MANY: Final = 1_000
_SIZES: Final = (100, 250, 500, MANY)
LIMITS: Final[dict[str, httpx.Limits]] = {
    "10 connections": httpx.Limits(max_connections=10, max_keepalive_connections=10),
    "default limits": httpx.Limits(max_connections=100, max_keepalive_connections=20),
}


def measure(*, quick: bool) -> Section:
    """Send the GETs of each number with both transports."""
    sizes, rounds = ((20, 40), 1) if quick else (_SIZES, 3)
    figures: list[Figure] = []
    columns: dict[str, list[float]] = {}
    for name, limits in LIMITS.items():
        own = [in_fresh_process(cpu_of_waiting, httpx_client, limits, gets) for gets in sizes]
        pooled = [
            [in_fresh_process(cpu_of_waiting, pooled_client, limits, gets) for _ in range(rounds)] for gets in sizes
        ]
        columns[f"{name}: httpx's transport"] = own
        columns[f"{name}: pooled transport"] = [median(times) for times in pooled]
        figures += _figures(f"{sizes[-1]:,} GETs, {name}", own[-1], pooled[-1])
    rows = zip((f"{gets:,}" for gets in sizes), *(map(_milli, times) for times in columns.values()), strict=True)
    table = Table(("GETs: CPU, ms", *columns), tuple(rows))
    return Section("Waiting for a connection", __doc__, tuple(figures), tables=(table,))


def _figures(name: str, own: float, pooled: list[float]) -> list[Figure]:
    return [
        Figure(f"{name}, httpx's transport: CPU", own, "s"),
        of_rounds(f"{name}, pooled transport: CPU", pooled, "s"),
        of_rounds(f"{name}: pooled transport / httpx's transport", [one / own for one in pooled]),
    ]


def _milli(seconds: float) -> str:
    return number(1000 * seconds)


def cpu_of_waiting(make: MakeClient, limits: httpx.Limits, gets: int) -> float:
    """Return the CPU seconds of the GETs, sent in the same moment."""
    with FakeServer() as server:
        return asyncio.run(_cpu_of_waiting(make, limits, Endpoint(server.url), gets))


async def _cpu_of_waiting(make: MakeClient, limits: httpx.Limits, endpoint: Endpoint, gets: int) -> float:
    async with get_with(make(endpoint, limits=limits, timeout=None), endpoint) as get:
        began = time.process_time()
        await asyncio.gather(*(get() for _ in range(gets)))
        return time.process_time() - began
