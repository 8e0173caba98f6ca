"""replicate: `async_run`, which by default keeps the submission's connection open until the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import replicate

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, NoOutputError, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Create a client."""
    client = replicate.Client(api_token=KEY, base_url=plan.url)

    async def run(prompt: str, _: OnId) -> None:
        output = await client.async_run("acme/painter", input={"prompt": prompt})
        if not output:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
