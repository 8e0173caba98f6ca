"""aiowery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiowery import Limits, WeryAI
from aiowery.weryai import TextToImage
from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client, with the plan's number of tasks in flight where that is not WeryAI's 20.

    Submissions do not pause after doubts: the charge of each of them is counted, and the rest would stay unsent.
    """
    limits = Limits(in_flight=plan.in_flight or Limits().in_flight, max_doubts=None)
    async with WeryAI(KEY, base_url=plan.url, limits=limits) as client:

        async def run(prompt: str, on_id: OnId) -> None:
            result = await client.run(TextToImage(prompt=prompt))
            on_id(result.task_ids[0])

        yield Peer(run, lambda: [task_id for job in client.jobs() for task_id in job.task_ids])


if __name__ == "__main__":
    measure(open_peer)
