"""replicate: `predictions.async_create` and `async_wait`, for what is run in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import replicate

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._bench import KEY, NoOutputError, Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Peer]:
    """Make a client."""
    client = replicate.Client(api_token=KEY, base_url=plan.url)

    async def run(prompt: str, note: Note) -> None:
        prediction = await client.predictions.async_create(model="acme/painter", input={"prompt": prompt})
        note(prediction.id)
        await prediction.async_wait()
        if not prediction.output:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(opened)
