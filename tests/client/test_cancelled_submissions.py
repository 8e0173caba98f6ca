"""Submissions whose caller has left are not sent, neither after a pause nor after a new key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from aiowery import WeryAI
from aiowery.errors import AuthenticationError, NotSent
from aiowery.testing import run_virtual
from tests.support import CAT, KEY, URL, World, client_of

End = Callable[[WeryAI, "asyncio.Task[object]"], object]
CANCELLATIONS: dict[str, End] = {
    "cancelled": lambda _, waiting: waiting.cancel(),
    "stopped": lambda client, _: client.stop_submitting(),
}


@pytest.mark.parametrize("kind", CANCELLATIONS)
def test_submit_abandoned_during_retry_pause_sends_nothing(kind: str) -> None:
    """The first attempt provably sent nothing. If the caller leaves during the pause, there is no repeat."""
    world = World(misfortunes={"submit": [httpx.PoolTimeout("full")]})

    async def main() -> None:
        async with client_of(world) as client:
            waiting: asyncio.Task[object] = asyncio.create_task(client.run(CAT))
            await asyncio.sleep(0.001)
            assert len(world.posts) == 1
            CANCELLATIONS[kind](client, waiting)
            ends = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(ends[0], (asyncio.CancelledError, NotSent))
            await asyncio.sleep(60)
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


@pytest.mark.parametrize("kind", CANCELLATIONS)
def test_submit_abandoned_during_key_refresh_sends_nothing(kind: str) -> None:
    """If the caller leaves while a new key is fetched, nothing is sent with it."""
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
                CANCELLATIONS[kind](client, waiting)
                ends = await asyncio.gather(waiting, return_exceptions=True)
                assert isinstance(ends[0], (asyncio.CancelledError, AuthenticationError))
                await asyncio.sleep(60)
        assert posts == [f"Bearer {KEY}"]

    run_virtual(main())
