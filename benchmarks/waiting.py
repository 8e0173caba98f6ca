"""Many GETs in the same moment on one httpx client of 10 connections: what waiting for a connection costs.

All but ten of the GETs wait in the pool. CPU is that of the process, from the first GET to the last response, with the
connections open before. httpx's own pool searches all waiting requests and all connections whenever a request begins or
ends, so its cost grows with the square of their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import httpx

from benchmarks._fake_server import FakeServer
from benchmarks._figures import Figure, Section, Table, number, of_rounds
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import Endpoint, get_with, httpx_client, pooled_client

MakeClient = Callable[..., httpx.AsyncClient]

CONNECTIONS: Final = 10
MANY: Final = 1_000
_SIZES: Final = (100, 250, 500, MANY)


def measure(*, quick: bool) -> Section:
    """Send the GETs of each number with both transports."""
    sizes, rounds = ((20, 40), 1) if quick else (_SIZES, 3)
    pooled = {gets: [in_fresh_process(cpu_of_waiting, pooled_client, gets) for _ in range(rounds)] for gets in sizes}
    own = {gets: in_fresh_process(cpu_of_waiting, httpx_client, gets) for gets in sizes}
    rows = tuple((f"{gets:,}", _milli(own[gets]), _milli(sorted(pooled[gets])[rounds // 2])) for gets in sizes)
    many = sizes[-1]
    return Section(
        "Waiting for a connection",
        __doc__,
        (
            Figure(f"{many:,} GETs, httpx's transport: CPU", own[many], "s"),
            of_rounds(f"{many:,} GETs, pooled transport: CPU", pooled[many], "s"),
            of_rounds("pooled transport / httpx's transport", [one / own[many] for one in pooled[many]]),
        ),
        tables=(Table(("GETs", "httpx's transport: CPU, ms", "pooled transport: CPU, ms"), rows),),
    )


def _milli(seconds: float) -> str:
    return number(1000 * seconds)


def cpu_of_waiting(make: MakeClient, gets: int) -> float:
    """Return the CPU seconds of the GETs, sent in the same moment."""
    with FakeServer() as server:
        return asyncio.run(_cpu_of_waiting(make, Endpoint(server.url), gets))


async def _cpu_of_waiting(make: MakeClient, endpoint: Endpoint, gets: int) -> float:
    async with get_with(make(endpoint, connections=CONNECTIONS, timeout=None), endpoint) as get:
        await asyncio.gather(*(get() for _ in range(CONNECTIONS)))
        began = time.process_time()
        await asyncio.gather(*(get() for _ in range(gets)))
        return time.process_time() - began
