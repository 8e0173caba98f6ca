"""openai: `videos.create_and_poll`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, NoOutputError, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client."""
    # The service will be switched off, but this is the only helper of the SDK that waits for media.
    warnings.simplefilter("ignore", DeprecationWarning)
    async with AsyncOpenAI(api_key=KEY, base_url=f"{plan.url}/v1") as client:

        async def run(prompt: str, on_id: OnId) -> None:
            video = await client.videos.create_and_poll(prompt=prompt, model="sora-2")
            on_id(video.id)
            if video.status != "completed":
                raise NoOutputError

        yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
