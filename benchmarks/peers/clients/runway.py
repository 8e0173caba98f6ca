"""runwayml: `text_to_image.create` and `wait_for_task_output`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runwayml import AsyncRunwayML

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients._harness import KEY, NoOutputError, OnId, Peer, measure


@asynccontextmanager
async def open_peer(plan: Plan) -> AsyncIterator[Peer]:
    """Open a client."""
    async with AsyncRunwayML(api_key=KEY, base_url=plan.url) as client:

        async def run(prompt: str, on_id: OnId) -> None:
            task = await client.text_to_image.create(model="gen4_image", prompt_text=prompt, ratio="1024:1024")
            on_id(task.id)
            done = await task.wait_for_task_output()
            if not done.output:
                raise NoOutputError

        yield Peer(run)


if __name__ == "__main__":
    measure(open_peer)
