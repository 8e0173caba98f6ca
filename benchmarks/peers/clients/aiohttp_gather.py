"""What people write first: one `aiohttp.ClientSession`, a coroutine per job, `asyncio.gather`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _by_hand
from benchmarks.peers.clients._bench import Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Peer]:
    """Open a session as it comes."""
    async with aiohttp.ClientSession(plan.url, headers=_by_hand.HEADERS, raise_for_status=True) as session:

        async def run(prompt: str, note: Note) -> None:
            async with session.post(_by_hand.SUBMIT, json=_by_hand.body(prompt)) as accepted:
                task_id = _by_hand.data(await accepted.json())["task_ids"][0]
            note(task_id)
            while True:
                await asyncio.sleep(_by_hand.PAUSE)
                async with session.get(_by_hand.status(task_id)) as answer:
                    found = _by_hand.data(await answer.json())
                if found["task_status"] == "SUCCESS":
                    return

        yield Peer(run)


if __name__ == "__main__":
    measure(opened)
