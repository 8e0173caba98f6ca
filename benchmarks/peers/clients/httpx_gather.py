"""A typical hand-written loop: one `httpx.AsyncClient`, a coroutine per job, `asyncio.gather`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _weryai_protocol
from benchmarks.peers.clients._harness import OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Peer]:
    """Open a client with default limits and a timeout of 60 s; with the default of 5 s most jobs would fail."""
    async with httpx.AsyncClient(
        base_url=plan.url, headers=_weryai_protocol.HEADERS, timeout=60, transport=transport
    ) as client:

        async def run(prompt: str, on_id: OnId) -> None:
            accepted = await client.post(_weryai_protocol.SUBMIT, json=_weryai_protocol.body(prompt))
            accepted.raise_for_status()
            task_id = _weryai_protocol.data(accepted.json())["task_ids"][0]
            on_id(task_id)
            while True:
                await asyncio.sleep(_weryai_protocol.PAUSE)
                response = await client.get(_weryai_protocol.status(task_id))
                response.raise_for_status()
                if _weryai_protocol.data(response.json())["task_status"] == "SUCCESS":
                    return

        yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
