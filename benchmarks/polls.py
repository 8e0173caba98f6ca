"""The cost of a poll, from the timer to the scheduler and back, and the number of jobs that one core can poll.

Jobs that never end are polled every 3-5 s: by the client over its default transport, by the client over httpx
(`http="httpx"`), and by a hand-written loop on aiohttp and on httpx (one coroutine per job, `asyncio.sleep`, GET, JSON;
at most 16 requests at the same time). Each runs on one core alone, the fake server on the other. CPU is that of the
process with all its threads, user and system. A poll is on time when it begins within 100 ms of its due time. A poll
that is overdue at the end counts as late. The number of jobs then grows in steps as long as 98 % of the polls are on
time.

The first rows ("back to back") send GETs without a pause instead, 16 at the same time, always over the same
connections. This leaves out timers, scheduler and decoding, and shows what each library costs alone. "No library" is
the least that an asyncio transport could cost: it sends prepared bytes and expects a response in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from benchmarks import _poll_load
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds
from benchmarks._fresh_process import in_fresh_process
from benchmarks._poll_load import Load, Polls
from benchmarks._transports import LIBRARIES, cpu_per_get

_OVER_HTTPX: Final = 'client, http="httpx"'
_AIOHTTP: Final = "loop on aiohttp"
_CLIENT: Final = "client"
_LOADS: Final[dict[str, Load]] = {
    _CLIENT: partial(_poll_load.client_load, None),
    _OVER_HTTPX: partial(_poll_load.client_load, "httpx"),
    _AIOHTTP: partial(_poll_load.loop_load, _poll_load.with_aiohttp),
    "loop on httpx": partial(_poll_load.loop_load, _poll_load.with_httpx),
}
_SIZES: Final = (2_500, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000)
_ON_TIME: Final = 0.98
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "jobs in flight on one core",
        "40,000 jobs are 10,000 polls a second, which leaves 100 µs for each, its timer and its decoding included.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Send GETs back to back, poll a number of jobs with each load, then find the largest number of jobs."""
    rounds, jobs, seconds, sizes = (1, 200, 1.0, (100, 200)) if quick else (3, 5_000, 8.0, _SIZES)
    gets = 300 if quick else 4_000
    libraries = {name: [in_fresh_process(cpu_per_get, name, gets) for _ in range(rounds)] for name in LIBRARIES}
    runs: dict[str, list[Polls]] = {name: [] for name in _LOADS}
    for _ in range(rounds):
        for name, load in _LOADS.items():
            runs[name].append(in_fresh_process(_poll_load.measure_polls, load, jobs, seconds, one_core=True))
    largest = {name: _largest(_LOADS[name], sizes, seconds) for name in (_CLIENT, _AIOHTTP)}
    return Section(
        "Cost of a poll",
        __doc__,
        (
            *(
                of_rounds(f"back to back, {name}: CPU per GET", _micro(times), "µs")
                for name, times in libraries.items()
            ),
            *(figure for name, run in runs.items() for figure in _figures(f"{jobs:,} jobs, {name}", run)),
            of_rounds(
                "client: CPU per poll, as a fraction of the aiohttp loop's",
                [client.cpu / loop.cpu for client, loop in zip(runs[_CLIENT], runs[_AIOHTTP], strict=True)],
                target=Target(0.6),
            ),
            *(
                Figure(
                    f"{name}: jobs in flight on one core with 98 % of the polls on time, at least",
                    size,
                    target=Target(_SIZES[-1], at_least=True) if name == _CLIENT else None,
                )
                for name, size in largest.items()
            ),
        ),
        explanations=_EXPLANATIONS,
    )


def _largest(load: Load, sizes: Sequence[int], seconds: float) -> int:
    """Return the last of the growing numbers of jobs at which the polls were on time."""
    good = 0
    for size in sizes:
        if in_fresh_process(_poll_load.measure_polls, load, size, seconds, one_core=True).on_time < _ON_TIME:
            break
        good = size
    return good


def _figures(name: str, runs: list[Polls]) -> list[Figure]:
    return [
        of_rounds(f"{name}: CPU per poll", _micro([run.cpu for run in runs]), "µs"),
        Figure(f"{name}: polls on time", 100 * median(run.on_time for run in runs), "%"),
        Figure(f"{name}: lateness, 99th percentile", 1000 * median(run.late_p99 for run in runs), "ms"),
        Figure(f"{name}: share of one core", 100 * median(run.busy for run in runs), "%"),
    ]


def _micro(seconds: list[float]) -> list[float]:
    return [1e6 * one for one in seconds]
