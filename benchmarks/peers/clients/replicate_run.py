"""replicate: `async_run`, which by itself holds the submission's connection until the end."""

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

    async def run(prompt: str, _: Note) -> None:
        output = await client.async_run("acme/painter", input={"prompt": prompt})
        if not output:
            raise NoOutputError

    yield Peer(run)


if __name__ == "__main__":
    measure(opened)
