"""What several benchmarks do: requests with known durations, and runs of them whose ends are noted."""

from __future__ import annotations

import random
import time
from typing import Final

import attrs

from aiowery import WeryAI
from aiowery.weryai import TextToImage
from benchmarks._server import ServerFacts

KEY: Final = "sk-made-up"


@attrs.define
class Ends:
    """When the caller had each result in hand, by task id, on the monotonic clock."""

    moments: dict[str, float] = attrs.field(factory=dict)

    async def run(self, client: WeryAI, request: TextToImage) -> None:
        """Run one request and note its end."""
        result = await client.run(request)
        self.moments[result.task_ids[0]] = time.monotonic()


def requests(durations: list[float]) -> list[TextToImage]:
    """Return a request for each duration in seconds."""
    return [
        TextToImage(prompt=f"a tabby on a windowsill, number {number}", extra={"bench_seconds": seconds})
        for number, seconds in enumerate(durations)
    ]


def durations(count: int, shortest: float, longest: float, seed: int) -> list[float]:
    """Return durations spread evenly at random, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    return [dice.uniform(shortest, longest) for _ in range(count)]


def delays(facts: ServerFacts, moments: dict[str, float]) -> list[float]:
    """Return the seconds from each task's true end to the caller's having its result."""
    return [moment - facts.tasks[task_id].finished for task_id, moment in moments.items()]


def polls(facts: ServerFacts, moments: dict[str, float]) -> list[int]:
    """Return how often each of these tasks was asked for."""
    return [facts.tasks[task_id].polls for task_id in moments]
