"""A typical hand-written loop: one `aiohttp.ClientSession`, a coroutine per job, `asyncio.gather`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _weryai_protocol
from benchmarks.peers.clients._harness import OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Open a session with default settings."""
    async with aiohttp.ClientSession(plan.url, headers=_weryai_protocol.HEADERS, raise_for_status=True) as session:

        async def run(prompt: str, on_id: OnId) -> None:
            async with session.post(_weryai_protocol.SUBMIT, json=_weryai_protocol.body(prompt)) as accepted:
                task_id = _weryai_protocol.data(await accepted.json())["task_ids"][0]
            on_id(task_id)
            while True:
                await asyncio.sleep(_weryai_protocol.PAUSE)
                async with session.get(_weryai_protocol.status(task_id)) as response:
                    task = _weryai_protocol.data(await response.json())
                if task["task_status"] == "SUCCESS":
                    return

        yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
