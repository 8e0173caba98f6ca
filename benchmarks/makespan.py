"""The makespan of 200 jobs of about 12 s through 20 slots, beside that of an ideal client under the same 3 s rule.

The fake server runs at most 20 tasks and refuses the 21st with code 6010; the client has its default limits and gets
all jobs at once through `asyncio.gather`. The ideal client is computed, not run: it has the same durations in the
same order and 20 slots; it submits at the very moment at which a slot is free, submissions and polls take no time,
and it sees the end of a task at the first whole multiple of 3 s after that task's acceptance that is not before
its end; then the slot is free. Makespan is from the start to the last result. Durations are 10-14 s, evenly at random;
time runs three times as fast (durations, polling and retries alike, figures scaled back), which counts our own
and HTTP's delays threefold, against us. Five rounds with different durations run side by side, each with a client
and a server of its own.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from math import ceil
from typing import Final

import attrs

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from benchmarks import _work
from benchmarks._figures import Figure, Note, Section, Target, of_rounds
from benchmarks._process import apart
from benchmarks._server import FakeServer, ServerFacts

_SLOTS: Final = 20
_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_RULE: Final = 3.0
_NOTES: tuple[Note, ...] = (
    Note(
        "ours / ideal",
        "Presumably the first jobs, polled every 3-5 s as nothing is learned yet, and HTTP, which counts threefold.",
    ),
)


@attrs.frozen
class _Round:
    """Makespans in unscaled seconds: ours, the ideal one under the rule, and that of a client that sees all at once."""

    ours: float
    ideal: float
    omniscient: float
    facts: ServerFacts


def measure(*, quick: bool) -> Section:
    """Run the rounds side by side and compute the ideals."""
    jobs, speed, rounds = (60, 20.0, 2) if quick else (200, 3.0, 5)
    results = apart(_rounds, jobs, speed, rounds)
    finished = sum(len(result.facts.tasks) for result in results)
    figures = (
        Figure("jobs finished, all rounds", finished, target=Target(jobs * rounds, at_least=True)),
        of_rounds("ours", [result.ours for result in results], "s"),
        of_rounds("ideal under the 3 s rule (computed)", [result.ideal for result in results], "s"),
        of_rounds("ours / ideal", [result.ours / result.ideal for result in results], "x", target=Target(1.02)),
        of_rounds("ideal that knows each end at once (computed)", [result.omniscient for result in results], "s"),
        of_rounds("ours / that", [result.ours / result.omniscient for result in results], "x"),
        of_rounds("polls per job", [_polls_per_job(result) for result in results]),
        Figure(
            "refusals with code 6010, all rounds", sum(result.facts.refused for result in results), target=Target(0)
        ),
    )
    return Section(f"20 slots, {jobs} jobs of about 12 s", __doc__, figures, notes=_NOTES)


def ideal(durations: list[float], seen_after: Callable[[float], float]) -> float:
    """Return the makespan of a client that fills each slot at once; `seen_after(d)`: when the end of a job is seen."""
    slots = [0.0] * _SLOTS
    last = 0.0
    for seconds in durations:
        end = heapq.heappop(slots) + seen_after(seconds)
        heapq.heappush(slots, end)
        last = max(last, end)
    return last


def _at_third_seconds(duration: float) -> float:
    return _RULE * ceil(duration / _RULE)


def _polls_per_job(result: _Round) -> float:
    return sum(task.polls for task in result.facts.tasks.values()) / len(result.facts.tasks)


def _rounds(jobs: int, speed: float, rounds: int) -> list[_Round]:
    return asyncio.run(_side_by_side(jobs, speed, rounds))


async def _side_by_side(jobs: int, speed: float, rounds: int) -> list[_Round]:
    return await asyncio.gather(*(_round(jobs, speed, seed) for seed in range(rounds)))


async def _round(jobs: int, speed: float, seed: int) -> _Round:
    durations = _work.durations(jobs, _SHORTEST, _LONGEST, seed)
    requests = _work.requests([seconds / speed for seconds in durations])
    with FakeServer(slots=_SLOTS) as server:
        client = WeryAI(
            _work.KEY,
            base_url=server.url,
            limits=Limits().faster(speed),
            polling=PollPolicy().faster(speed),
            retries=RetryPolicy().faster(speed),
        )
        async with client:
            began = time.monotonic()
            await asyncio.gather(*(client.run(request) for request in requests))
            took = time.monotonic() - began
        facts = server.stop()
    return _Round(speed * took, ideal(durations, _at_third_seconds), ideal(durations, float), facts)
