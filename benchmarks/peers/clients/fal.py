"""fal-client: `AsyncClient.subscribe`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fal_client
import fal_client.client

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, NoOutputError, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Create a client. An environment variable can set its host, but not plain HTTP, so one constant is assigned."""
    fal_client.client.QUEUE_URL_FORMAT = f"{plan.url}/"
    client = fal_client.AsyncClient(key=KEY)

    async def run(prompt: str, on_id: OnId) -> None:
        result = await client.subscribe("fal-ai/fast-sdxl", arguments={"prompt": prompt}, on_enqueue=on_id)
        if not result["images"]:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
