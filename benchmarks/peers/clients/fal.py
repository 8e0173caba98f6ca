"""fal-client: `AsyncClient.subscribe`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fal_client
import fal_client.client

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._bench import KEY, NoOutputError, Note, Peer, measure


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Peer]:
    """Make a client. Its host can be set by environment, but not that it speaks plain HTTP: hence one assignment."""
    fal_client.client.QUEUE_URL_FORMAT = f"{plan.url}/"
    client = fal_client.AsyncClient(key=KEY)

    async def run(prompt: str, note: Note) -> None:
        result = await client.subscribe("fal-ai/fast-sdxl", arguments={"prompt": prompt}, on_enqueue=note)
        if not result["images"]:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(opened)
