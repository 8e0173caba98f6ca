"""Connections over every way: which are opened and closed, to which addresses, and what is cancelled."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import attrs
import httpx
import pytest

from aiowery._core.urls import is_private
from aiowery.errors import DownloadError, NoAnswer, NotSent, TransportError
from aiowery.transport import PooledTransport
from tests.support import KEY, http_response, open_sockets, peer, serving
from tests.transport.conformance import GET, OK, POST, Way, proves

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusting")]

KEEP_ALIVE: Final = "the server's `Keep-Alive: timeout=N` is obeyed"
CLOSED: Final = "a connection that the server closes is closed immediately"
ADDRESSES: Final = "addresses of downloads are checked after the lookup"
CREDENTIALS: Final = "foreign requests carry no credentials of yours"
CANCELLED: Final = "a request that is cancelled ends its connection"
CLOSING: Final = "closing ends all connections, and what is under way with an error"

Tls = Any
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@proves(KEEP_ALIVE)
async def test_connection_that_the_server_will_close_is_not_used_again(way: Way, tls: Tls) -> None:
    """A second before the server's own limit a connection is too old; `max` counts its requests."""
    for fields, connections in ((["timeout=1"], 3), (["timeout=60"], 1), (["max=1", "max=0", "max=9"], 2)):
        answers = [http_response({"ok": 1}, keep_alive=field) for field in fields]
        async with peer(*answers, tls=tls[0]) as server, way.client(server.url) as client:
            for _ in range(3):
                await client.send(POST)
        assert server.connections == connections, fields


@proves(CLOSED)
async def test_resting_connection_that_the_server_closes_is_closed(way: Way, tls: Tls) -> None:
    """No request is needed to notice it."""

    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.02)

    async with serving(script, tls=tls[0]) as url:
        before = open_sockets()
        async with way.client(url) as client:
            await client.send(GET)
            async with asyncio.timeout(1):
                while open_sockets() > before:  # noqa: ASYNC110 - the system's count is a plain value
                    await asyncio.sleep(0.005)


@proves(CANCELLED)
@pytest.mark.parametrize("phase", ["connecting", "before the response", "within the body"])
async def test_cancelled_request_ends_its_connection(way: Way, tls: Tls, phase: str) -> None:
    """A caller that leaves takes its connection along; no place is lost, and no later request gets its response."""
    ended, under_way = [], asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        if b"/slow" in await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{" if phase == "within the body" else b"")
            under_way.set()
            ended.append(await reader.read())
        else:
            writer.write(OK)

    slow = attrs.evolve(GET, path="/slow")
    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        for _ in range(6):
            sending = asyncio.create_task(client.send(slow))
            await (asyncio.sleep(0) if phase == "connecting" else under_way.wait())
            under_way.clear()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert (await client.send(GET)).json() == {"ok": 1}
    assert phase == "connecting" or ended == [b""] * 6


@proves(CANCELLED, wholly=True)
async def test_cancelled_handshake_ends_its_connection(way: Way) -> None:
    """A server that accepts and then says nothing keeps no connection of a caller that has left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = open_sockets()
        async with way.client(f"https://127.0.0.1:{listener.getsockname()[1]}") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.send(GET)
            await asyncio.sleep(0.01)
            assert open_sockets() == before


@proves(CLOSING)
async def test_closing_ends_what_is_under_way(way: Way, tls: Tls) -> None:
    """A request under way ends with an error that says what may have happened, and the server sees the end."""
    ended, under_way = [], asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        if b"POST" in await reader.readuntil(b"\r\n\r\n"):
            under_way.set()
            ended.append(await reader.read())
        else:
            writer.write(OK)
            await reader.read()

    async with serving(script, tls=tls[0]) as url:
        before = open_sockets()
        async with way.client(url) as client:
            sending = asyncio.create_task(client.send(POST))
            await under_way.wait()
            await client.send(GET)  # its connection rests
        with pytest.raises(NoAnswer, match="may have arrived"):
            await asyncio.wait_for(sending, 1)
        with pytest.raises(NotSent, match="nothing was sent"):
            await client.send(POST)
        await asyncio.sleep(0.02)
        assert open_sockets() == before
    assert ended == [POST.body]


@proves(ADDRESSES)
async def test_download_from_a_name_with_a_private_address_is_refused(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the name resolves to is checked, and nothing is connected to."""
    if way.column == 2:
        transport = PooledTransport(allow_address=lambda address: not is_private(address))
        way = attrs.evolve(way, make_http=lambda: httpx.AsyncClient(transport=transport))

    async def resolve(_: str, port: int, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with peer(http_response("secret")) as server, way.client("https://api.example.com") as client:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        port = server.url.rpartition(":")[2]
        with pytest.raises((DownloadError, TransportError), match="may not be connected to"):
            async with client.download(f"http://files.example:{port}/x.png", {}):
                pass
    assert server.connections == 0


@proves(CREDENTIALS)
async def test_download_carries_no_credentials(way: Way, tls: Tls) -> None:
    """A host of files receives neither the key nor what a caller's client adds to each request."""
    make = way.make_http

    def with_credentials() -> Any:
        http = make()
        if http is not None and http != "httpx":
            http.headers["authorization"] = "callers-own"
            http.cookies.set("session", "callers-own")
        return http

    way = attrs.evolve(way, make_http=with_credentials)
    async with peer(http_response("file"), tls=tls[0]) as server, way.client(server.url) as client:
        async with client.download(server.url, {}) as body:
            assert [chunk async for chunk in body.chunks()] == [b"file"]
    assert b"callers-own" not in server.requests[0]
    assert KEY.encode() not in server.requests[0]
