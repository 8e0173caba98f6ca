"""What people write first: one `httpx.AsyncClient`, a coroutine per job, `asyncio.gather`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _by_hand
from benchmarks.peers.clients._bench import Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client with default limits and a time-out of 60 s, for with the default of 5 s most jobs would end."""
    async with httpx.AsyncClient(base_url=plan.url, headers=_by_hand.HEADERS, timeout=60) as client:

        async def run(prompt: str, note: Note) -> None:
            accepted = await client.post(_by_hand.SUBMIT, json=_by_hand.body(prompt))
            accepted.raise_for_status()
            task_id = _by_hand.data(accepted.json())["task_ids"][0]
            note(task_id)
            while True:
                await asyncio.sleep(_by_hand.PAUSE)
                answer = await client.get(_by_hand.status(task_id))
                answer.raise_for_status()
                if _by_hand.data(answer.json())["task_status"] == "SUCCESS":
                    return

        yield Peer(run)


if __name__ == "__main__":
    measure(opened)
