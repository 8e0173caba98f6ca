"""The comparison that fails each test of this folder, and of the HTTP layer's, which leaves something open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from aiowery.transport import PooledTransport
from tests.support import OpenThings, http_response, leaks, peer

pytestmark = pytest.mark.anyio


async def rest() -> None:
    """Never end."""
    await asyncio.Event().wait()


async def connect() -> Callable[[], Any]:
    """Open a socket."""
    sock = socket.socket()
    return sock.close


async def begin_task() -> Callable[[], Any]:
    """Begin a task."""
    return asyncio.create_task(rest(), name="forgotten").cancel


async def set_timer() -> Callable[[], Any]:
    """Set a timer."""
    return asyncio.get_running_loop().call_later(60, print, "forgotten").cancel


@pytest.mark.parametrize(("leave", "found"), [(connect, "1 sockets"), (begin_task, "forgotten")])
async def test_describe_more_names_what_was_left(leave: Any, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket and a task are found, and nothing is found once they have ended."""
    monkeypatch.setattr(leaks, "_SETTLE_SECONDS", 0.02)
    before = OpenThings.now()
    end = await leave()
    assert found in await before.describe_more()
    end()
    assert await before.describe_more() == ""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_describe_more_names_timers(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer is found in asyncio's event loop; uvloop does not list them."""
    del anyio_backend
    monkeypatch.setattr(leaks, "_SETTLE_SECONDS", 0.02)
    before = OpenThings.now()
    end = await set_timer()
    assert "print" in await before.describe_more()
    end()
    assert await before.describe_more() == ""


async def test_describe_more_names_the_connection_of_an_unclosed_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is not closed leaves its resting connection."""
    monkeypatch.setattr(leaks, "_SETTLE_SECONDS", 0.02)
    async with peer(http_response("ok")) as server:
        before = OpenThings.now()
        transport = PooledTransport()
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        await response.aread()
        assert "2 sockets" in await before.describe_more()  # both ends of the connection
        await transport.aclose()
    assert await before.describe_more() == ""
