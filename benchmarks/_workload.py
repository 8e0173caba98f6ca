"""Make requests with known durations, and record when their results arrive."""

from __future__ import annotations

import random
import time
from typing import Final

import attrs

from aiowery import WeryAI
from aiowery.weryai import TextToImage
from benchmarks._fake_server import ServerFacts

KEY: Final = "sk-made-up"


@attrs.define
class ResultTimes:
    """The times at which the caller had each result, by task id, on the monotonic clock."""

    times: dict[str, float] = attrs.field(factory=dict)

    async def run(self, client: WeryAI, request: TextToImage) -> None:
        """Run one request and record when its result arrived."""
        result = await client.run(request)
        self.times[result.task_ids[0]] = time.monotonic()


def requests(durations: list[float]) -> list[TextToImage]:
    """Return a request for each duration in seconds."""
    return [
        TextToImage(prompt=f"a tabby on a windowsill, number {number}", extra={"bench_seconds": seconds})
        for number, seconds in enumerate(durations)
    ]


def durations(count: int, shortest: float, longest: float, seed: int) -> list[float]:
    """Return durations in seconds, uniformly random, and the same for the same seed."""
    generator = random.Random(seed)  # noqa: S311 - not a secret
    return [generator.uniform(shortest, longest) for _ in range(count)]


def delays(facts: ServerFacts, times: dict[str, float]) -> list[float]:
    """Return the seconds from each task's end at the server until the caller had its result."""
    return [moment - facts.tasks[task_id].finished for task_id, moment in times.items()]


def polls(facts: ServerFacts, times: dict[str, float]) -> list[int]:
    """Return how often each of these tasks was polled."""
    return [facts.tasks[task_id].polls for task_id in times]
