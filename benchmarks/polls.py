"""What a poll costs, from the timer to the scheduler and back, and how many jobs one core can look after.

Jobs that never end are polled every 3-5 s: by the client over its usual door, by the client with `http="fast"`, and by
a loop written by hand on aiohttp and on httpx (one coroutine per job, `asyncio.sleep`, GET, JSON; at most 16 requests
at once). Each runs on one core alone, the fake server on the other. CPU is the process's, user and system, all its
threads: pyreqwest does its work in one of its own. A poll is on time when it begins within 100 ms of its moment; what
is overdue at the end counts as late. The crowd then grows, in steps, as long as 98 % of the polls are on time.

The first rows, the doors, ask back to back instead, 16 at once, over the same connections again and again: that leaves
out timers, scheduler and translation, and shows what each library costs by itself. "No library" is the least that an
asyncio transport could come to: it sends prepared bytes and believes that an answer comes in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from benchmarks import _crowd
from benchmarks._crowd import Crowd, Polls
from benchmarks._doors import LIBRARIES, cpu_per_get
from benchmarks._figures import Figure, Note, Section, Target, of_rounds
from benchmarks._process import apart

_FAST: Final = 'client, http="fast"'
_AIOHTTP: Final = "loop on aiohttp"
_CLIENT: Final = "client"
_CROWDS: Final[dict[str, Crowd]] = {
    _CLIENT: partial(_crowd.of_ours, None),
    _FAST: partial(_crowd.of_ours, "fast"),
    _AIOHTTP: partial(_crowd.by_hand, _crowd.over_aiohttp),
    "loop on httpx": partial(_crowd.by_hand, _crowd.over_httpx),
}
_SIZES: Final = (2_500, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000)
_ON_TIME: Final = 0.98
_NOTES: tuple[Note, ...] = (
    Note(
        "as a part of the aiohttp loop's",
        "pyreqwest came nearest of the libraries. It hands each request to a thread of its own, and the answer back;"
        " on two cores the wake-ups of both cost more than HTTP itself. With a transport written by hand (the last"
        " door in the place of ours) it would be about a third, computed.",
    ),
    Note(
        "jobs in flight on one core",
        "40,000 jobs are 10,000 polls a second, which leaves 100 µs for each. No library's door stays below that; one"
        " written by hand would, with little to spare.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Ask back to back, then let crowds of two sizes be polled."""
    rounds, jobs, seconds, sizes = (1, 200, 1.0, (100, 200)) if quick else (3, 5_000, 8.0, _SIZES)
    doors = {name: [apart(cpu_per_get, name, 300 if quick else 4_000) for _ in range(rounds)] for name in LIBRARIES}
    runs: dict[str, list[Polls]] = {name: [] for name in _CROWDS}
    for _ in range(rounds):
        for name, crowd in _CROWDS.items():
            runs[name].append(apart(_crowd.polls, crowd, jobs, seconds, alone=True))
    largest = {name: _largest(_CROWDS[name], sizes, seconds) for name in (_FAST, _CLIENT, _AIOHTTP)}
    return Section(
        "What a poll costs",
        __doc__,
        (
            *(of_rounds(f"door: {name}, CPU per GET", _micro(times), "µs") for name, times in doors.items()),
            *(figure for name, run in runs.items() for figure in _figures(f"{jobs:,} jobs, {name}", run)),
            of_rounds(
                "the fast door's CPU per poll as a part of the aiohttp loop's",
                [ours.cpu / theirs.cpu for ours, theirs in zip(runs[_FAST], runs[_AIOHTTP], strict=True)],
                target=Target(0.6),
            ),
            *(
                Figure(
                    f"{name}: jobs in flight on one core with 98 % of the polls on time, at least",
                    size,
                    target=Target(_SIZES[-1], at_least=True) if name == _FAST else None,
                )
                for name, size in largest.items()
            ),
        ),
        notes=_NOTES,
    )


def _largest(crowd: Crowd, sizes: Sequence[int], seconds: float) -> int:
    """Return the last of the growing sizes at which the polls were on time."""
    good = 0
    for size in sizes:
        if apart(_crowd.polls, crowd, size, seconds, alone=True).on_time < _ON_TIME:
            break
        good = size
    return good


def _figures(name: str, runs: list[Polls]) -> list[Figure]:
    return [
        of_rounds(f"{name}: CPU per poll", _micro([run.cpu for run in runs]), "µs"),
        Figure(f"{name}: polls on time", 100 * median(run.on_time for run in runs), "%"),
        Figure(f"{name}: lateness, 99th percentile", 1000 * median(run.late_p99 for run in runs), "ms"),
        Figure(f"{name}: of one core", 100 * median(run.busy for run in runs), "%"),
    ]


def _micro(seconds: list[float]) -> list[float]:
    return [1e6 * one for one in seconds]
