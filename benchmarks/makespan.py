"""The makespan of 200 jobs of about 12 s through 20 slots, compared with an ideal client that polls every 3 s.

The fake server runs at most 20 tasks and refuses the 21st with code 6010. The client has its default limits and gets
all jobs at the same time through `asyncio.gather`. Makespan is the time from the start to the last result.

The ideal client is computed, not run. It has the same durations in the same order, and 20 slots. It submits as
soon as a slot is free, and its submissions and polls take no time. It detects the end of a task at the first whole
multiple of 3 s after the acceptance that is not before the end. Then the slot is free.

Durations are 10-14 s, uniformly random. Time runs three times as fast (durations, polling and retries; figures are
scaled back). This multiplies the delays of aiowery and of HTTP by three, to aiowery's disadvantage. Five rounds with
different durations run side by side, each with a client and a server of its own.
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
from benchmarks import _workload
from benchmarks._fake_server import FakeServer, ServerFacts
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds
from benchmarks._fresh_process import in_fresh_process

_SLOTS: Final = 20
_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_POLL_INTERVAL: Final = 3.0
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "aiowery / ideal",
        "Presumably the first jobs, which are polled every 3-5 s because nothing is learned yet, and HTTP, whose delays"
        " are multiplied by three.",
    ),
)


@attrs.frozen
class _Round:
    """Makespans in unscaled seconds: of aiowery, of an ideal client that polls, and of one that detects immediately."""

    aiowery: float
    ideal: float
    ideal_immediate: float
    facts: ServerFacts


def measure(*, quick: bool) -> Section:
    """Run the rounds side by side and compute the ideals."""
    jobs, speed, rounds = (60, 20.0, 2) if quick else (200, 3.0, 5)
    results = in_fresh_process(_rounds, jobs, speed, rounds)
    finished = sum(len(result.facts.tasks) for result in results)
    figures = (
        Figure("jobs finished, all rounds", finished, target=Target(jobs * rounds, at_least=True)),
        of_rounds("aiowery", [result.aiowery for result in results], "s"),
        of_rounds("ideal that polls every 3 s (computed)", [result.ideal for result in results], "s"),
        of_rounds("aiowery / ideal", [result.aiowery / result.ideal for result in results], "x", target=Target(1.02)),
        of_rounds(
            "ideal that detects each end immediately (computed)", [result.ideal_immediate for result in results], "s"
        ),
        of_rounds(
            "aiowery / ideal with immediate detection",
            [result.aiowery / result.ideal_immediate for result in results],
            "x",
        ),
        of_rounds("polls per job", [_polls_per_job(result) for result in results]),
        Figure(
            "refusals with code 6010, all rounds", sum(result.facts.refused for result in results), target=Target(0)
        ),
    )
    return Section(f"20 slots, {jobs} jobs of about 12 s", __doc__, figures, explanations=_EXPLANATIONS)


def ideal(durations: list[float], detected_after: Callable[[float], float]) -> float:
    """Return the makespan in seconds of a client that fills each free slot immediately.

    `detected_after(duration)` returns the seconds from a job's acceptance until its end is detected.
    """
    slots = [0.0] * _SLOTS
    last = 0.0
    for seconds in durations:
        end = heapq.heappop(slots) + detected_after(seconds)
        heapq.heappush(slots, end)
        last = max(last, end)
    return last


def _next_poll_after(duration: float) -> float:
    return _POLL_INTERVAL * ceil(duration / _POLL_INTERVAL)


def _polls_per_job(result: _Round) -> float:
    return sum(task.polls for task in result.facts.tasks.values()) / len(result.facts.tasks)


def _rounds(jobs: int, speed: float, rounds: int) -> list[_Round]:
    return asyncio.run(_side_by_side(jobs, speed, rounds))


async def _side_by_side(jobs: int, speed: float, rounds: int) -> list[_Round]:
    return await asyncio.gather(*(_round(jobs, speed, seed) for seed in range(rounds)))


async def _round(jobs: int, speed: float, seed: int) -> _Round:
    durations = _workload.durations(jobs, _SHORTEST, _LONGEST, seed)
    requests = _workload.requests([seconds / speed for seconds in durations])
    with FakeServer(slots=_SLOTS) as server:
        client = WeryAI(
            _workload.KEY,
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
    return _Round(speed * took, ideal(durations, _next_poll_after), ideal(durations, float), facts)
