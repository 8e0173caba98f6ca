"""openai: `videos.create_and_poll`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._bench import KEY, NoOutputError, Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client."""
    # The service behind these calls is to be switched off; the helper is the only one of the SDK's for media.
    warnings.simplefilter("ignore", DeprecationWarning)
    async with AsyncOpenAI(api_key=KEY, base_url=f"{plan.url}/v1") as client:

        async def run(prompt: str, note: Note) -> None:
            video = await client.videos.create_and_poll(prompt=prompt, model="sora-2")
            note(video.id)
            if video.status != "completed":
                raise NoOutputError

        yield Peer(run)


if __name__ == "__main__":
    measure(opened)
