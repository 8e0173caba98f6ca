"""What nobody wants any more is not sent: neither after a pause nor after a new key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from support import KEY, URL, World, client_of

from aiowery import WeryAI
from aiowery.errors import AuthenticationError, NotSent
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage

CAT = TextToImage(prompt="a cat")

End = Callable[[WeryAI, "asyncio.Task[object]"], object]
WAYS: dict[str, End] = {
    "cancelled": lambda _, waiting: waiting.cancel(),
    "stopped": lambda client, _: client.stop_submitting(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_pause_before_a_repeat_ends_what_is_not_wanted(way: str) -> None:
    """The POST never left; while it waits to be repeated the caller leaves, and it is not repeated."""
    world = World(misfortunes={"submit": [httpx.PoolTimeout("full")]})

    async def main() -> None:
        async with client_of(world) as client:
            waiting: asyncio.Task[object] = asyncio.create_task(client.run(CAT))
            await asyncio.sleep(0.001)
            assert len(world.posts) == 1
            WAYS[way](client, waiting)
            ends = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(ends[0], (asyncio.CancelledError, NotSent))
            await asyncio.sleep(60)
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_new_key_does_not_send_what_is_not_wanted(way: str) -> None:
    """The key was refused, and while another one is fetched the caller leaves: nothing is sent with it."""
    posts: list[str] = []

    async def refusing(request: httpx.Request) -> httpx.Response:
        posts.append(request.headers["authorization"])
        return httpx.Response(401, json={"status": 1002, "message": "unauthorized"})

    keys = iter([KEY, KEY + "-new"])

    async def key() -> str:
        await asyncio.sleep(5)
        return next(keys)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(refusing)) as http:
            async with WeryAI(key, base_url=URL, http=http) as client:
                waiting: asyncio.Task[object] = asyncio.create_task(client.run(CAT))
                await asyncio.sleep(1)
                WAYS[way](client, waiting)
                ends = await asyncio.gather(waiting, return_exceptions=True)
                assert isinstance(ends[0], (asyncio.CancelledError, AuthenticationError))
                await asyncio.sleep(60)
        assert posts == [f"Bearer {KEY}"]

    run_virtual(main())
