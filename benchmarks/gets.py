"""The CPU of one GET, sent back to back, 16 at the same time, always over the same connections.

This leaves out timers, scheduler and decoding, and shows what each library costs alone: plain, over TLS (a certificate
of an authority made for the run, which each library is told to trust), and plain on uvloop. CPU is that of the process
with all its threads, user and system. "Straight" is the pool as aiowery uses it, without httpx's objects. "No library"
is the least that an asyncio transport could cost: it sends prepared bytes and expects a response in one piece. Each
ratio compares runs of the same round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Final, Literal

import uvloop

from benchmarks._certificates import certificates
from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Table, Target, number, of_rounds
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import (
    AIOHTTP,
    AIOWERY,
    CONCURRENT,
    HTTPX,
    HTTPX_OVER_AIOHTTP,
    HTTPX_OVER_POOL,
    LIBRARIES,
    NO_LIBRARY,
    POOLED,
    Endpoint,
    Get,
    Library,
)

Setting = Literal["plain", "TLS", "uvloop"]
_SETTINGS: Final[dict[Setting, tuple[str, ...]]] = {
    "plain": tuple(LIBRARIES),
    "TLS": tuple(LIBRARIES),
    "uvloop": (AIOWERY, POOLED, HTTPX_OVER_POOL, AIOHTTP, NO_LIBRARY),
}
"""The libraries that are measured in each setting."""

_RATIOS: Final[tuple[tuple[str, str, Setting, Target | None], ...]] = (
    (POOLED, AIOHTTP, "plain", Target(0.33)),
    (POOLED, AIOHTTP, "TLS", Target(0.45)),
    (POOLED, AIOHTTP, "uvloop", None),
    (HTTPX_OVER_POOL, HTTPX, "plain", Target(0.2)),
    (HTTPX_OVER_POOL, HTTPX, "TLS", None),
    (HTTPX_OVER_POOL, HTTPX_OVER_AIOHTTP, "plain", Target(0.85)),
    (HTTPX_OVER_POOL, HTTPX_OVER_AIOHTTP, "TLS", None),
    (AIOWERY, AIOHTTP, "plain", None),
)
_WARM_UP: Final = 20 * CONCURRENT
_EXPLANATIONS: Final = (
    Explanation(
        "pooled transport, straight / aiohttp, plain",
        "Two thirds of it are what a GET costs without a library: a send, a receive and a turn of the event loop.",
    ),
    Explanation(HTTPX_OVER_POOL, "httpx's own client and its objects take most of it, whatever transport is below."),
)


def measure(*, quick: bool) -> Section:
    """Send GETs with each library in each setting, with interleaved rounds."""
    rounds, gets = (1, 300) if quick else (3, 2_500)
    runs: dict[tuple[str, Setting], list[float]] = {
        (name, setting): [] for setting, names in _SETTINGS.items() for name in names
    }
    for _ in range(rounds):
        for (name, setting), costs in runs.items():
            costs.append(1e6 * in_fresh_process(cpu_per_get, name, setting, gets))
    figures = [
        _ratio(f"{one} / {other}, {setting}", runs[one, setting], runs[other, setting], target)
        for one, other, setting, target in _RATIOS
    ]
    rows = tuple(
        (name, *(number(median(runs[name, setting])) if (name, setting) in runs else "" for setting in _SETTINGS))
        for name in LIBRARIES
    )
    table = Table(("CPU of a GET, µs", *_SETTINGS), rows)
    return Section("Cost of a GET", __doc__, tuple(figures), explanations=_EXPLANATIONS, tables=(table,))


def _ratio(name: str, ones: Sequence[float], others: Sequence[float], target: Target | None) -> Figure:
    return of_rounds(name, [one / other for one, other in zip(ones, others, strict=True)], target=target)


def cpu_per_get(name: str, setting: Setting, gets: int) -> float:
    """Return the CPU seconds of one GET over the library of this name in `LIBRARIES`."""
    new_loop = uvloop.new_event_loop if setting == "uvloop" else asyncio.new_event_loop
    with (
        certificates(tls=setting == "TLS") as files,
        FakeServer(certificate=files.server) as server,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        return runner.run(_cpu_per_get(LIBRARIES[name], Endpoint(server.url, files), gets))


async def _cpu_per_get(library: Library, endpoint: Endpoint, gets: int) -> float:
    async with library(endpoint) as get:
        await _send_gets(get, _WARM_UP)
        began = time.process_time()
        await _send_gets(get, gets)
        return (time.process_time() - began) / gets


async def _send_gets(get: Get, gets: int) -> None:
    remaining = iter(range(gets))

    async def send_gets() -> None:
        for _ in remaining:
            assert (await get()).endswith(b"}")

    await asyncio.gather(*(send_gets() for _ in range(CONCURRENT)))
