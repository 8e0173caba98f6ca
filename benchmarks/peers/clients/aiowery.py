"""aiowery, through the door it has by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiowery import Limits, WeryAI
from aiowery.weryai import TextToImage
from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._bench import KEY, Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan, **options: Any) -> AsyncIterator[Peer]:
    """Open a client; it is told the number of tasks that may run at once, where that is not WeryAI's 20."""
    if plan.in_flight:
        options["limits"] = Limits(in_flight=plan.in_flight)
    async with WeryAI(KEY, base_url=plan.url, **options) as client:

        async def run(prompt: str, note: Note) -> None:
            result = await client.run(TextToImage(prompt=prompt))
            note(result.task_ids[0])

        yield Peer(run, lambda: [task_id for job in client.jobs() for task_id in job.task_ids])


if __name__ == "__main__":
    measure(opened)
