"""comfy-sdk: `AsyncComfy.submit` and `AsyncJob.result`, of which its `run` consists."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfy_sdk import AsyncComfy

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, NoOutputError, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client; an environment variable sets the URL, as documented."""
    os.environ["COMFY_BASE_URL"] = plan.url
    async with AsyncComfy(api_key=KEY) as client:

        async def run(prompt: str, on_id: OnId) -> None:
            graph = {
                "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
                "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
            }
            job = await client.submit(client.workflows.from_json(graph))
            on_id(job.id)
            await job.result()
            if not job.get_outputs("9"):
                raise NoOutputError

        yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
