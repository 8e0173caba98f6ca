"""replicate: `predictions.async_create` and `async_wait`, for predictions in the background."""

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

    async def run(prompt: str, on_id: OnId) -> None:
        prediction = await client.predictions.async_create(model="acme/painter", input={"prompt": prompt})
        on_id(prediction.id)
        await prediction.async_wait()
        if not prediction.output:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
