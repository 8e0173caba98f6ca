"""The fence: what must happen before a paid request's first byte leaves, and what never passes it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx
import httpx2
import pytest
from support import KEY, http_answer, peer, serving

from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.errors import NoAnswer, NotSent

pytestmark = pytest.mark.anyio

POST = HttpRequest("POST", "/paid", b"{}")
LIBRARIES = {"own": None, "fast": "fast", "httpx": httpx, "httpx2": httpx2}


@attrs.define
class Fence:
    """Counts who passes; with a fault, nobody does."""

    fault: Exception | None = None
    passed: int = 0

    async def __call__(self) -> None:
        """Pass, or not."""
        self.passed += 1
        if self.fault is not None:
            raise self.fault


@contextlib.asynccontextmanager
async def door_over(way: str, url: str, **client: Any) -> AsyncIterator[HttpClient]:
    """Open a door over its own connections, or over a client of one of the libraries."""
    library: Any = LIBRARIES[way]
    async with contextlib.AsyncExitStack() as stack:
        http = library
        if library in {httpx, httpx2}:
            http = await stack.enter_async_context(library.AsyncClient(**client))
        door = await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=0.5, http=http)
        stack.push_async_callback(door.aclose)
        yield door


@pytest.mark.parametrize("way", LIBRARIES)
async def test_a_fence_is_passed_once_before_the_answer(way: str) -> None:
    """The request goes out behind it, also over a connection that is used again."""
    async with peer(http_answer({"ok": 1})) as server, door_over(way, server.url) as door:
        for _ in range(3):
            fence = Fence()
            assert (await door.send(POST, fence)).http_status == 200
            assert fence.passed == 1
    assert len(server.heard) == 3


@pytest.mark.parametrize("way", LIBRARIES)
async def test_a_failing_fence_sends_nothing(way: str) -> None:
    """Its own exception comes through, and the server has not heard a byte; the next call finds the door usable."""
    async with peer(http_answer({"ok": 1})) as server, door_over(way, server.url) as door:
        fence = Fence(RuntimeError("no room on the disk"))
        with pytest.raises(RuntimeError, match="no room on the disk"):
            await door.send(POST, fence)
        assert server.heard == []
        assert (await door.send(POST, Fence())).http_status == 200
    assert len(server.heard) == 1


@pytest.mark.parametrize("way", LIBRARIES)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://no-such-host.invalid"], ids=["refused", "no such host"])
async def test_who_cannot_connect_never_passes(way: str, url: str) -> None:
    """DNS and connect failures prove that nothing was sent, whether the fence was passed (the fast way) or not."""
    fence = Fence()
    async with door_over(way, url) as door:
        with pytest.raises(NotSent):
            await door.send(POST, fence)
    assert fence.passed == (way == "fast")


@pytest.mark.parametrize("way", LIBRARIES)
async def test_who_fails_to_agree_on_tls_never_passes(way: str) -> None:
    """A server that speaks no TLS is told nothing; the fast way has passed the fence by then."""
    async with peer(http_answer({"ok": 1})) as server:
        fence = Fence()
        async with door_over(way, server.url.replace("http://", "https://")) as door:
            with pytest.raises(NotSent):
                await asyncio.wait_for(door.send(POST, fence), 5)
    assert fence.passed == (way == "fast")


@pytest.mark.parametrize("way", ["httpx", "httpx2"])
async def test_who_gets_no_connection_of_the_pool_never_passes(way: str) -> None:
    """All connections are taken by others: the time-out comes before the fence."""
    library: Any = LIBRARIES[way]
    slow = asyncio.Event()

    async def silent(*_: object) -> None:
        await slow.wait()

    limits = library.Limits(max_connections=1)
    async with serving(silent) as url, library.AsyncClient(limits=limits) as http:
        patient, hasty = [
            await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=timeout, http=http)
            for timeout in (5, 0.2)
        ]
        first = asyncio.create_task(patient.send(POST, Fence()))
        await asyncio.sleep(0.1)
        fence = Fence()
        with pytest.raises(NotSent):
            await hasty.send(POST, fence)
        slow.set()
        with pytest.raises(NoAnswer):
            await first
    assert fence.passed == 0


async def test_a_transport_that_tells_nothing_is_fenced_before_the_call() -> None:
    """Nobody knows when its first byte leaves, so the fence comes first; failing, it keeps the request."""
    heard: list[httpx.Request] = []

    def world(request: httpx.Request) -> httpx.Response:
        heard.append(request)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        door = await HttpClient.open("https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http)
        fence = Fence()
        await door.send(POST, fence)
        assert (fence.passed, len(heard)) == (1, 1)
        with pytest.raises(RuntimeError):
            await door.send(POST, Fence(RuntimeError("no")))
    assert len(heard) == 1


async def test_a_mount_that_tells_nothing_counts_for_all() -> None:
    """One transport of the caller's own among several is enough to be careful."""
    mounts = {"https://": httpx.MockTransport(lambda _: httpx.Response(200, json={}))}
    async with httpx.AsyncClient(mounts=mounts) as http:
        door = await HttpClient.open("https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http)
        fence = Fence(RuntimeError("no"))
        with pytest.raises(RuntimeError):
            await door.send(POST, fence)
    assert fence.passed == 1


async def test_a_proxys_connect_is_no_first_byte() -> None:
    """The tunnel through a proxy that refuses carries nothing paid."""
    fence = Fence()
    async with peer(http_answer("", "407 Proxy Authentication Required")) as proxy:
        context = ssl.create_default_context()
        async with httpx.AsyncClient(proxy=proxy.url, verify=context) as http:
            door = await HttpClient.open(
                "https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http
            )
            with pytest.raises(NotSent):
                await door.send(POST, fence)
    assert fence.passed == 0
