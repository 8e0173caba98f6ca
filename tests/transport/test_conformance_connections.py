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
from tests.support import http_response, open_sockets, peer, serving
from tests.transport.conformance import GET, OK, POST, Way, proves

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusting")]

KEEP_ALIVE: Final = "the server's `Keep-Alive: timeout=N` is obeyed"
CLOSED: Final = "a connection that the server closes is closed immediately"
ADDRESSES: Final = "addresses of downloads are checked after the lookup"
LITERAL: Final = "private addresses of downloads are refused, but for hosts that you allow"
REFUSED: Final = "lies in a private network|may not be connected to"
FOREIGN: Final = "foreign requests carry no header, cookie or parameter of yours"
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


def resolve_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the running event loop resolve every name of a host of files to this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    original = asyncio.get_running_loop().getaddrinfo

    async def resolve(host: str, port: int, **settings: Any) -> Any:
        if "files.example" in str(host).lower():
            return [(family, socket.SOCK_STREAM, 6, "", (address, port))]
        return await original(host, port, **settings)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)


def checking(way: Way, *allowed: str) -> Way:
    """Return the way with a caller's check of addresses, if it needs one; it allows these too."""
    if way.column != 2:
        return way

    def is_allowed(address: str) -> bool:
        return address in allowed or not is_private(address)

    return attrs.evolve(way, make_http=lambda: httpx.AsyncClient(transport=PooledTransport(allow_address=is_allowed)))


@proves(ADDRESSES)
@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fe80::1%1", "fc00::1"),
        *("::ffff:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::"),
    ],
)
async def test_download_from_a_name_with_a_private_address_is_refused(
    way: Way, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the name resolves to is checked in any form, and nothing is connected to."""
    async with peer(http_response("secret")) as server, checking(way).client("https://api.example.com") as client:
        resolve_to(monkeypatch, address)
        port = server.url.rpartition(":")[2]
        with pytest.raises((DownloadError, TransportError), match=REFUSED):
            async with client.download(f"http://files.example:{port}/x.png", {}):
                pass
    assert server.connections == 0


@proves(ADDRESSES)
async def test_download_redirected_to_a_name_with_a_private_address_is_refused(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name in a chain of redirects is checked."""
    moved = http_response("", "302 Found", location="http://files.example/x.png")
    async with peer(moved) as server, checking(way, "127.0.0.1").client(server.url) as client:
        resolve_to(monkeypatch, "::ffff:10.0.0.7")
        with pytest.raises((DownloadError, TransportError), match=REFUSED):
            async with client.download(server.url, {}):
                pass
    assert len(server.requests) == 1


@proves(LITERAL)
@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:{port}/x", "http://localhost:{port}/x", "//127.0.0.1:{port}/x", "http://[::1]:{port}/x"),
        *("http://[::ffff:127.0.0.1]:{port}/x", "http://[::ffff:7f00:1]:{port}/x", "http://[::127.0.0.1]:{port}/x"),
        *("http://[64:ff9b::127.0.0.1]:{port}/x", "http://[2002:7f00:1::]:{port}/x", "http://10.0.0.7/x"),
        *("http://127.1:{port}/x", "http://2130706433:{port}/x", "http://0x7f.0.0.1:{port}/x", "http://[fe80::1]/x"),
        *("http://127.0.0.%31:{port}/x", "http://127.0.0.1:{port}\\@8.8.8.8/x", "http://8.8.8.8@127.0.0.1:{port}/x"),
        *("http://\u2460\u2461\u2466.0.0.1:{port}/x", "http://127\u30020.0.1:{port}/x", "file:///etc/passwd"),
    ],
)
async def test_download_redirected_to_a_private_address_is_refused(way: Way, url: str) -> None:
    """The host and port of the base URL are allowed, another port of loopback is not, however it is written."""
    async with peer(http_response("secret")) as other:
        location = url.replace("{port}", other.url.rpartition(":")[2]).encode().decode("latin-1")
        moved = http_response("", "302 Found").replace(
            b"\r\n\r\n", f"\r\nlocation: {location}\r\n\r\n".encode("latin-1")
        )
        async with peer(moved) as server, way.client(server.url) as client:
            with pytest.raises((DownloadError, TransportError), match=r"nothing was fetched|Invalid URL"):
                async with client.download(server.url, {}):
                    pass
    assert (len(server.requests), other.connections) == (1, 0)


@proves(LITERAL)
@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}", "[::ffff:7f00:1]:{port}", "files.example"])
async def test_download_from_an_allowed_host_is_fetched(
    way: Way, tls: Tls, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that the caller has named is fetched from, with any port or with the one that is named."""
    async with peer(http_response("file")) as other:
        port = other.url.rpartition(":")[2]
        host = "FILES.example." if "files" in allowed else "127.0.0.1"
        moved = http_response("", "302 Found", location=f"http://{host}:{port}/x")
        async with peer(moved, tls=tls[0]) as server:
            async with way.client(server.url, allow_hosts=[allowed.replace("{port}", port)]) as client:
                resolve_to(monkeypatch, "127.0.0.1")
                async with client.download(server.url, {}) as body:
                    assert [chunk async for chunk in body.chunks()] == [b"file"]
    assert other.connections == 1


@proves(LITERAL)
async def test_download_from_another_port_of_an_allowed_host_is_refused(way: Way) -> None:
    """A port that is named with a host is the only one."""
    async with peer(http_response("secret")) as other, peer(OK) as server:
        async with way.client("https://api.example.com", allow_hosts=[server.url.partition("://")[2]]) as client:
            async with client.download(server.url, {}) as body:
                assert body.http_status == 200
            with pytest.raises(DownloadError, match=r"private network.*name its host in allow_hosts="):
                async with client.download(other.url, {}):
                    pass
    assert other.connections == 0


@proves(FOREIGN)
async def test_download_carries_nothing_of_the_caller(way: Way, tls: Tls) -> None:
    """A host of files receives neither the key nor what a caller's client adds to each request, its name included."""
    make = way.make_http

    def with_much() -> Any:
        http = make()
        if http is not None and http != "httpx":
            http.headers.update(
                {"authorization": "callers-own", "x-tenant": "callers-own", "user-agent": "callers-own"}
            )
            http.cookies.set("session", "callers-own")
            http.params = {"tenant": "callers-own"}
            http.auth = ("callers-own", "callers-own")
        return http

    way = attrs.evolve(way, make_http=with_much)
    moved = http_response("", "302 Found", location="/b?a=1", set_cookie="s=callers-own")
    async with peer(moved, http_response("file"), tls=tls[0]) as server, way.client(server.url) as client:
        async with client.download(
            f"{server.url.replace('://', '://callers-own:callers-own@')}/a", {"range": "x"}
        ) as body:
            assert [chunk async for chunk in body.chunks()] == [b"file"]
    fields = b"user-agent: aiowery\r\naccept-encoding: identity\r\nrange: x\r\n\r\n"
    host = f"host: {server.url.partition('://')[2]}\r\n".encode()
    assert [head.lower() for head in server.requests] == [
        b"get %s http/1.1\r\n%s%s" % (target, host, fields) for target in (b"/a", b"/b?a=1")
    ]
