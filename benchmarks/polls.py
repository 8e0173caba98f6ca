"""The cost of a poll, from the timer to the scheduler and back, and the number of jobs that one core can poll.

Jobs that never end are polled every 3-5 s: by the client over its default transport, by the client over httpx
(`http="httpx"`), and by a hand-written loop on aiohttp and on httpx (one coroutine per job, `asyncio.sleep`, GET, JSON;
at most 16 requests at the same time). Each runs on one core alone, the fake server on the other. CPU is that of the
process with all its threads, user and system. A poll is on time when it begins within 100 ms of its due time. A poll
that is overdue at the end counts as late.

The number of jobs of the aiohttp loop then grows in steps as long as 98 % of its polls are on time. The client gets
multiples of the number that the loop could poll.
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

_OVER_HTTPX: Final = 'client, http="httpx"'
_AIOHTTP: Final = "loop on aiohttp"
_CLIENT: Final = "client"
_LOADS: Final[dict[str, Load]] = {
    _CLIENT: partial(_poll_load.client_load, None),
    _OVER_HTTPX: partial(_poll_load.client_load, "httpx"),
    _AIOHTTP: partial(_poll_load.loop_load, _poll_load.with_aiohttp),
    "loop on httpx": partial(_poll_load.loop_load, _poll_load.with_httpx),
}
_SIZES: Final = tuple(range(2_500, 30_001, 2_500))
_MULTIPLES: Final = (1, 2, 3, 4, 5)
_ON_TIME: Final = 0.98
_IN_FLIGHT: Final = "jobs in flight on one core with 98 % of the polls on time, at least"
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "jobs in flight",
        "Each poll has the core's time divided by the number of polls: 75 µs for 13,300 a second, which is what 53,000"
        " jobs need, timers and decoding included.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Poll a number of jobs with each load, then find the largest number of jobs."""
    rounds, jobs, seconds, sizes = (1, 200, 1.0, (100, 200)) if quick else (3, 5_000, 8.0, _SIZES)
    runs: dict[str, list[Polls]] = {name: [] for name in _LOADS}
    for number in range(rounds):
        for name, load in _LOADS.items():
            if number == 0 or name in (_CLIENT, _AIOHTTP):
                runs[name].append(in_fresh_process(_poll_load.measure_polls, load, jobs, seconds, one_core=True))
    loop = _largest(_LOADS[_AIOHTTP], sizes, seconds)
    base = loop or sizes[0]  # if the loop fails with the fewest jobs, the ratio is a lower bound
    client = _largest(_LOADS[_CLIENT], [base * multiple for multiple in _MULTIPLES], seconds)
    return Section(
        "Cost of a poll",
        __doc__,
        (
            *(figure for name, run in runs.items() for figure in _figures(f"{jobs:,} jobs, {name}", run)),
            of_rounds(
                "client: CPU per poll, as a fraction of the aiohttp loop's",
                [client.cpu / loop.cpu for client, loop in zip(runs[_CLIENT], runs[_AIOHTTP], strict=True)],
                target=Target(0.6),
            ),
            Figure(f"{_AIOHTTP}: {_IN_FLIGHT}", loop),
            Figure(f"{_CLIENT}: {_IN_FLIGHT}", client),
            Figure(f"client / {_AIOHTTP}: {_IN_FLIGHT}", client / base, target=Target(3, at_least=True)),
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
