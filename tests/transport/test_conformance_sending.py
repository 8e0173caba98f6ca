"""What leaves, and when, over every way: the mark, unsent requests, connections that rested, bodies."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import pytest

from aiowery._core.messages import HttpRequest, MultipartForm
from aiowery.errors import NoAnswer, NotSent
from tests.support import http_response, peer, serving
from tests.transport.conformance import GET, OK, POST, SHORT, Way, proves

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusting")]

MARK: Final = "the ledger's mark is stored before the first byte leaves"
MARK_LOST: Final = "a connection that is lost while the mark is stored is replaced, and nothing has left"
UNSENT: Final = "an error tells an unsent request"
RESTED: Final = "a connection that the server has closed while it rested carries no request"
AGAIN: Final = "a read that meets a closed connection is sent once more"
TWO: Final = "a request that would be read as two is refused"
ONE_PIECE: Final = "a paid POST leaves in one piece"
EARLY: Final = "an early refusal ends an upload"

Tls = Any
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Recorder:
    """A server that answers whole requests, and can end the connections of earlier ones."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.sockets: list[socket.socket] = []
        self.on_bytes: Callable[[], None] = lambda: None

    async def serve(self, reader: Reader, writer: Writer) -> None:
        """Read requests and answer each."""
        sock = writer.get_extra_info("socket")
        self.sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
        while first := await reader.read(1):
            self.on_bytes()
            head = first + await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head + (await reader.readexactly(len(POST.body or b"")) if b"POST" in head else b""))
            writer.write(OK)

    def end_connections(self) -> None:
        """End all connections, over TLS without an announcement; the event loop does not run meanwhile."""
        for sock in self.sockets:
            sock.shutdown(socket.SHUT_WR)
        self.forget()

    def reset_connections(self) -> None:
        """Let the connections end in a reset, once the server closes them."""
        for sock in self.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.forget()

    def forget(self) -> None:
        """Close the duplicates of the sockets."""
        while self.sockets:
            self.sockets.pop().close()


class Mark:
    """A `before_send` that counts its runs."""

    def __init__(self, act: Callable[[], object] = lambda: None, seconds: float = 0.0) -> None:
        self.runs = 0
        self._act = act
        self._seconds = seconds

    async def __call__(self) -> None:
        """Take some time, count the run, and act."""
        await asyncio.sleep(self._seconds)
        self.runs += 1
        self._act()


@proves(MARK)
async def test_paid_post_arrives_after_its_mark(way: Way, tls: Tls) -> None:
    """No byte arrives before the mark is stored, on a new connection as on a used one, and it is stored once."""
    server, mark, seen = Recorder(), Mark(seconds=0.01), []
    server.on_bytes = lambda: seen.append(mark.runs)
    async with serving(server.serve, tls=tls[0]) as url, way.client(url) as client:
        for _ in range(2):
            assert (await client.send(POST, mark)).json() == {"ok": 1}
    server.forget()
    assert (seen, mark.runs) == ([1, 2], 2)


@proves(MARK, wholly=True)
async def test_mark_of_a_paid_post_is_stored_on_an_open_connection(way: Way, tls: Tls) -> None:
    """What takes long, lookup, connecting and TLS, is done before the mark."""
    connections: list[int] = []
    async with peer(OK, tls=tls[0]) as server, way.client(server.url) as client:
        await client.send(POST, Mark(lambda: connections.append(server.connections), 0.01))
    assert connections == [1]


@proves(MARK)
async def test_mark_that_cannot_be_stored_prevents_the_post(way: Way, tls: Tls) -> None:
    """A mark that raises, or whose caller is cancelled, leaves no byte; the next request is answered."""

    def refuse() -> None:
        raise LookupError("no space")

    async with peer(OK, tls=tls[0]) as server, way.client(server.url) as client:
        with pytest.raises(LookupError):
            await client.send(POST, Mark(refuse))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await client.send(POST, Mark(seconds=10))
        assert server.requests == []
        assert (await client.send(POST, Mark())).json() == {"ok": 1}
    assert len(server.requests) == 1


@proves(MARK_LOST)
async def test_connection_that_ends_while_the_mark_is_stored_is_replaced(way: Way, tls: Tls) -> None:
    """The system alone knows that the server has gone: the POST leaves once, on another connection, with one mark."""
    server = Recorder()
    mark = Mark(server.end_connections)
    async with serving(server.serve, tls=tls[0]) as url, way.client(url) as client:
        await client.send(GET)
        assert (await client.send(POST, mark)).json() == {"ok": 1}
    server.forget()
    assert [head[:4] for head in server.requests] == [b"GET ", b"POST"]
    assert mark.runs == 1


@proves(MARK_LOST)
async def test_mark_that_outlasts_the_lease_costs_another_connection(
    way: Way, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease is held ten seconds at most; a mark that took longer stands, and the POST leaves once."""
    monkeypatch.setattr("aiowery.transport._connection.MAX_LEASE", 0.05)
    mark = Mark(seconds=0.07)
    async with peer(OK, tls=tls[0]) as server, way.client(server.url) as client:
        assert (await client.send(POST, mark)).json() == {"ok": 1}
    assert (mark.runs, len(server.requests)) == (1, 1)


@proves(UNSENT)
async def test_request_without_a_connection_is_unsent(way: Way) -> None:
    """A refused connection, a name without an address and a failed handshake prove that nothing has left."""
    received = []

    async def without_tls(reader: Reader, writer: Writer) -> None:
        writer.write(OK)
        received.append(await reader.read())

    async with serving(without_tls) as url:
        for target in (url.replace("http:", "https:"), "https://name.invalid", "http://127.0.0.1:1"):
            async with way.client(target) as client:
                with pytest.raises(NotSent, match="nothing was sent"):
                    await client.send(POST)
    assert b"POST" not in received[0]


@proves(UNSENT)
async def test_request_to_a_server_that_does_not_accept_is_unsent(way: Way, tls: Tls) -> None:
    """A connection, or a handshake, that does not come about in time proves that nothing has left."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(0 if tls[0] else 3)]  # the system's queue is full, without TLS
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        async with way.client(f"http{'s' if tls[0] else ''}://127.0.0.1:{address[1]}", SHORT) as client:
            with pytest.raises(NotSent, match="nothing was sent"):
                await client.send(POST)
        for one in waiting:
            one.close()


@proves(UNSENT)
@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], ids=["none", "part"])
async def test_request_without_a_whole_response_is_a_doubt(way: Way, tls: Tls, response: bytes) -> None:
    """A POST that has arrived may have been charged, on a new connection as on a used one; it arrives once."""
    heads = []

    async def script(reader: Reader, writer: Writer) -> None:
        heads.append(await reader.readuntil(POST.body or b""))
        writer.write(OK if len(heads) == 2 else response)
        if len(heads) == 2:
            heads.append(await reader.readuntil(POST.body or b""))
            writer.write(response)

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        for expected in (NoAnswer, None, NoAnswer):
            if expected is None:
                await client.send(POST)
            else:
                with pytest.raises(expected, match="may have arrived"):
                    await client.send(POST)
    assert len(heads) == 3


@proves(RESTED)
@pytest.mark.parametrize("end", ["unnoticed", "close", "reset"])
async def test_post_after_a_connection_ended_at_rest_arrives_once(way: Way, tls: Tls, end: str) -> None:
    """A connection that ended while it rested, even if only the system knows it, is no doubt."""
    server = Recorder()
    async with serving(server.serve, tls=tls[0]) as url, way.client(url) as client:
        await client.send(GET)
        if end == "reset":
            server.reset_connections()
        server.end_connections()
        if end != "unnoticed":
            await asyncio.sleep(0.02)
        assert (await client.send(POST, Mark())).json() == {"ok": 1}
    server.forget()
    assert [head[:4] for head in server.requests] == [b"GET ", b"POST"]


@proves(AGAIN)
async def test_read_that_meets_a_closing_server_is_sent_once_more(way: Way, tls: Tls) -> None:
    """A read on a used connection that ends without a byte is sent once more; a second such end is reported."""
    async with peer(OK, None, OK, None, None, tls=tls[0]) as server, way.client(server.url) as client:
        for _ in range(2):
            assert (await client.send(GET)).json() == {"ok": 1}
        with pytest.raises(NoAnswer):
            await client.send(GET)
    assert len(server.requests) == 5


@proves(TWO)
async def test_request_that_would_be_two_is_unsent(way: Way) -> None:
    """A line break in a target is never written, and that is no doubt."""
    async with peer(OK) as server, way.client(server.url) as client:
        for path in ("/a HTTP/1.1\r\nhost: other\r\n\r\n", "/a\nx: 1", "/a\0"):
            with pytest.raises(NotSent):
                await client.send(HttpRequest("POST", path, b"{}"), Mark())
        assert (await client.send(POST)).json() == {"ok": 1}
    assert len(server.requests) == 1


@proves(ONE_PIECE)
async def test_paid_post_is_one_piece(way: Way, tls: Tls) -> None:
    """Head and body reach the server together."""
    pieces = []

    async def script(reader: Reader, writer: Writer) -> None:
        pieces.append(await reader.read(65_536))
        writer.write(OK)
        await reader.read()

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        await client.send(POST, Mark())
    assert pieces[0].endswith(b"\r\n\r\n" + (POST.body or b""))


@proves(EARLY)
async def test_upload_that_is_refused_early_ends(way: Way, tls: Tls) -> None:
    """A 413 that comes before the body is whole is the response, and the connection is not used again."""
    received: list[int] = []
    form = MultipartForm(filename="a.bin", content=b"x" * 20_000_000, content_type="application/octet-stream")

    async def script(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response({"too": "large"}, "413 Content Too Large") if b"/upload" in head else OK)
        received.append(len(await reader.read()))

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        assert (await client.send(HttpRequest("POST", "/upload", form=form))).http_status == 413
        assert (await client.send(GET)).json() == {"ok": 1}
    assert len(received) == 2
    assert received[0] < 20_000_000
