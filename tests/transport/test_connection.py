"""A connection carries one request at a time, and each failure tells whether the request may have left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from aiowery.transport import (
    Clocks,
    ConnectionPool,
    ConnectionUnusable,
    OutgoingRequest,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    WriteError,
    WriteTimeout,
    encode_head,
)
from tests.support import http_response, peer, serving
from tests.transport.conftest import CLOCKS, QUICK, get, origin_of, post

pytestmark = pytest.mark.anyio
MakePool = Callable[..., ConnectionPool]

OK = http_response("ok")


async def send(pool: ConnectionPool, url: str, request: OutgoingRequest, **settings: Any) -> tuple[int, bytes]:
    """Exchange a request as a paid one, on one lease; return status and body."""
    async with pool.lease(origin_of(url), QUICK._replace(is_paid=True)) as connection:
        response = await connection.exchange(request, **{"clocks": CLOCKS, "max_body": 1000, **settings})
    return response.status, response.body


def facts_of(error: Any) -> tuple[bool, bool]:
    """Return what an error tells: the request has not left, nothing has come."""
    return error.unsent, getattr(error, "nothing_received", False)


async def test_exchange_sends_the_request_and_returns_the_response(make_pool: MakePool, tls: Any) -> None:
    """Head and body arrive byte for byte; status, headers and body come back; one connection serves all."""
    pool = make_pool(tls[1])
    async with peer(http_response("ok", x="1"), tls=tls[0]) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            response = await connection.exchange(post(b"hello"), clocks=CLOCKS, max_body=1000)
        for _ in range(3):
            assert await send(pool, server.url, get()) == (200, b"ok")
        await pool.aclose()
    assert server.requests[0] == b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
    assert (response.status, response.reason, response.headers[1], response.body) == (200, b"OK", (b"x", b"1"), b"ok")
    assert (server.connections, response.is_complete) == (1, True)


async def test_exchange_response_that_another_request_asked_for_is_never_returned(make_pool: MakePool) -> None:
    """Bytes that arrive while a connection rests, or behind a response, close it; the next request gets its own."""
    pool = make_pool()
    async with peer(OK + http_response("not asked"), OK) as server:
        assert await send(pool, server.url, get()) == (200, b"ok")
        assert await send(pool, server.url, get()) == (200, b"ok")
        await pool.aclose()
    assert server.connections == 2


@pytest.mark.parametrize("late", [OK, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"?"])
async def test_connection_with_unrequested_bytes_while_resting_is_not_used(make_pool: MakePool, late: bytes) -> None:
    """A server that sends something to a resting connection cannot answer the next request with it."""
    connections = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.02)
        if len(connections) == 1:
            writer.write(late)
        await reader.read()

    pool = make_pool()
    async with serving(script) as url:
        await send(pool, url, get())
        await asyncio.sleep(0.05)
        assert await send(pool, url, get()) == (200, b"ok")
        await pool.aclose()
    assert len(connections) == 2


@pytest.mark.parametrize("can_look", [True, False])
async def test_paid_request_on_a_connection_that_the_server_has_just_closed_is_unsent(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, *, can_look: bool
) -> None:
    """The end of a connection is noticed directly before the write, although the loop has not run since.

    Where the system cannot report unread bytes, the loop turns a few times.
    """
    if not can_look:
        monkeypatch.delattr("select.poll")
    accepted: list[socket.socket] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    pool = make_pool()
    async with serving(script) as url:
        await send(pool, url, get())
        async with pool.lease(origin_of(url), QUICK._replace(is_paid=True)) as connection:
            accepted[0].shutdown(socket.SHUT_WR)  # the kernel knows, the event loop does not
            accepted[0].close()
            with pytest.raises(ConnectionUnusable) as caught:
                await connection.exchange(post(b"x"), clocks=CLOCKS, max_body=10)
        await pool.aclose()
    assert caught.value.unsent


async def test_paid_request_on_a_reset_connection_is_unsent(make_pool: MakePool) -> None:
    """A write that the system refuses at once has not left; it is no doubt."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    pool = make_pool()
    async with serving(script) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            await connection.exchange(get(), clocks=CLOCKS, max_body=10)
            connection.rest(0)  # what the pool does between two leases
            async with asyncio.timeout(1):
                while connection.is_open:  # noqa: ASYNC110 - the loop has to notice it by itself
                    await asyncio.sleep(0)
            with pytest.raises(ConnectionUnusable) as caught:
                await connection.exchange(post(b"x"), clocks=CLOCKS, max_body=10)
        await pool.aclose()
    assert caught.value.unsent


class _FailingTransport:
    """A transport that fails like uvloop's, which raises for a connection that it has lost."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Raise, and write nothing."""
        del data
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_paid_request_whose_write_raises_is_unsent(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop that refuses the first write has sent nothing; another connection serves the next request."""
    pool = make_pool()
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            with monkeypatch.context() as patch:
                patch.setattr(connection, "_transport", _FailingTransport(connection._transport))
                with pytest.raises(ConnectionUnusable, match="lost before the request was written") as caught:
                    await connection.exchange(post(b"x"), clocks=CLOCKS, max_body=10)
        assert caught.value.unsent
        assert await send(pool, server.url, get()) == (200, b"ok")
        await pool.aclose()
    assert server.posts == 0


async def test_paid_request_lost_between_the_question_and_the_write_is_unsent_if_it_is_plain(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tls: Any
) -> None:
    """If a plain connection closes itself at its first write, the system has refused the bytes; TLS proves nothing."""
    pool = make_pool(tls[1])
    async with peer(OK, tls=tls[0]) as server:
        await send(pool, server.url, get())
        async with pool.lease(origin_of(server.url), QUICK._replace(is_paid=True)) as connection:
            monkeypatch.setattr(type(connection), "_is_readable", lambda _: False)  # the question came before the end
            with socket.socket(fileno=os.dup(connection._transport.get_extra_info("socket").fileno())) as own:
                own.shutdown(socket.SHUT_WR)  # as after a reset, the system takes no more bytes
            with pytest.raises(httpx.TransportError) as caught:
                await connection.exchange(post(b"x"), clocks=CLOCKS, max_body=10)
        await pool.aclose()
    assert (facts_of(caught.value)[0], server.posts) == (tls[0] is None, 0)


async def test_connection_whose_readiness_is_unknown_is_asked_by_turns_of_the_loop(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tls: Any
) -> None:
    """Where the system cannot report unread bytes, a connection that lives is used again."""
    monkeypatch.delattr("select.poll")
    pool = make_pool(tls[1])
    async with peer(OK, tls=tls[0]) as server:
        for _ in range(3):
            assert await send(pool, server.url, post(b"x")) == (200, b"ok")
        await pool.aclose()
    assert server.connections == 1


async def test_exchange_second_request_at_a_time_is_refused(make_pool: MakePool) -> None:
    """A connection carries no other request while one is under way; the first gets its response."""
    pool = make_pool()
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            first = asyncio.create_task(connection.exchange(get(), clocks=CLOCKS, max_body=10))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one request at a time"):
                await connection.exchange(get(), clocks=CLOCKS, max_body=10)
            assert (await first).body == b"ok"
        await pool.aclose()
    assert len(server.requests) == 1


async def test_exchange_after_the_permission_or_the_lease_has_ended_writes_nothing(make_pool: MakePool) -> None:
    """`not_after` is checked without an await before the write, and a lease is good for ten seconds."""
    pool = make_pool()
    async with peer(OK) as server:
        now = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionUnusable, match="permission") as caught:
            await send(pool, server.url, post(b"x"), not_after=now - 0.1)
        assert caught.value.unsent
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            connection.leased_at -= 11
            with pytest.raises(ConnectionUnusable, match="leased for more than 10 s") as caught:
                await connection.exchange(post(b"x"), clocks=CLOCKS, max_body=10)
        assert caught.value.unsent
        await pool.aclose()
    assert server.requests == []


@pytest.mark.parametrize("response", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"])
async def test_exchange_end_of_the_connection_is_unclear(make_pool: MakePool, tls: Any, response: bytes | None) -> None:
    """A request without a whole response may have arrived, and the error knows if anything had come back."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if response is not None:
            writer.write(response)

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        with pytest.raises((RemoteProtocolError, ReadError)) as caught:
            await send(pool, url, post(b"x"))
        await pool.aclose()
    assert (facts_of(caught.value)) == (False, response is None)


async def test_exchange_close_delimited_response_over_tls_needs_the_announced_end(
    make_pool: MakePool, server_tls: Any, client_tls: Any
) -> None:
    """Over TLS a body that ends with the connection is complete only if the end was announced, not if it was cut."""
    for cut in (False, True):

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: bool = cut) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
            await writer.drain()
            await asyncio.sleep(0.02)
            if cut:
                writer.transport.abort()

        pool = make_pool(client_tls)
        async with serving(script, tls=server_tls) as url:
            if cut:
                with pytest.raises((RemoteProtocolError, ReadError)):
                    await send(pool, url, get())
            else:
                assert await send(pool, url, get()) == (200, b"hello")
            await pool.aclose()


async def test_exchange_body_beyond_the_limit_ends_the_read(make_pool: MakePool) -> None:
    """An announced length beyond the limit ends the read at the head; the next request is not disturbed."""
    pool = make_pool()
    async with peer(http_response(b"x" * 200_000), OK) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            response = await connection.exchange(get(), clocks=CLOCKS, max_body=1000)
        assert (response.status, response.is_complete) == (200, False)
        assert await send(pool, server.url, get()) == (200, b"ok")
        await pool.aclose()


async def test_exchange_clocks_end_a_silent_and_a_trickling_server(make_pool: MakePool) -> None:
    """Silence ends after `read`, whatever `write` is; a byte now and then does not help beyond `total`."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(RuntimeError):  # uvloop's, when the connection is lost
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.01)

    loop = asyncio.get_running_loop()
    for script, clocks, text, seconds in (
        (silent, Clocks(read=0.05), "sent no bytes for 0.05 s", 0.05),
        (trickling, Clocks(read=0.5, total=0.1), "not complete within 0.1 s", 0.1),
    ):
        pool = make_pool()
        async with serving(script) as url:
            began = loop.time()
            with pytest.raises(ReadTimeout) as caught:
                await send(pool, url, post(b"x"), clocks=clocks)
            elapsed = loop.time() - began
            await pool.aclose()
        assert text in str(caught.value)
        assert seconds - 0.01 <= elapsed < seconds + 0.3
        assert facts_of(caught.value)[0] is False


async def test_exchange_server_that_accepts_nothing_is_given_up_after_the_write_clock(make_pool: MakePool) -> None:
    """The limit of writing is its own: reading may take longer."""

    async def script(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)

    pool = make_pool()
    async with serving(script) as url:
        with pytest.raises(WriteTimeout, match=r"accepted no bytes for 0\.05 s"):
            await send(pool, url, post(b"x" * 30_000_000), clocks=Clocks(read=30.0, write=0.05))
        await pool.aclose()


async def test_exchange_body_that_left_just_now_gives_the_server_time_to_respond(make_pool: MakePool) -> None:
    """The time to read begins with the last byte of the request, not with the last look at it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(30_000_000)
        await asyncio.sleep(0.4)  # the next look at the request is between
        writer.write(OK)

    pool = make_pool()
    async with serving(script) as url:
        assert await send(pool, url, post(b"x" * 30_000_000), clocks=Clocks(read=2.0, write=0.4)) == (200, b"ok")
        await pool.aclose()


async def test_exchange_cancelled_ends_its_connection(make_pool: MakePool) -> None:
    """A caller that leaves in the middle takes the connection along: no later request gets the response."""
    waiting = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        waiting.set()
        if b"/slow" in head:
            await reader.read()
        writer.write(OK)

    pool = make_pool()
    async with serving(script) as url:
        task = asyncio.create_task(send(pool, url, get("/slow")))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await send(pool, url, get("/quick")) == (200, b"ok")
        await pool.aclose()


@pytest.mark.parametrize(
    ("field", "may_be_reused"),
    [("timeout=1", False), ("timeout=60", True), ("max=0", False), ("timeout=60, max=5", True), ("odd", True)],
)
async def test_connection_obeys_keep_alive(make_pool: MakePool, field: str, may_be_reused: bool) -> None:
    """A connection that the server will soon close, or does not serve again, is not used again."""
    pool = make_pool()
    async with peer(http_response("ok", keep_alive=field)) as server:
        await send(pool, server.url, get())
        await send(pool, server.url, get())
        await pool.aclose()
    assert server.connections == (1 if may_be_reused else 2)


async def test_paid_request_takes_no_connection_that_rested_long(make_pool: MakePool) -> None:
    """A paid request leases a new connection where a read would take one that has rested for more than 5 s."""
    pool = make_pool(rest_seconds=30.0)
    async with peer(OK) as server:
        await send(pool, server.url, get())
        (connection,) = pool._open
        connection._rested_since -= 6
        assert await pool.exchange(origin_of(server.url), get(), terms=QUICK, clocks=CLOCKS, max_body=10)
        connection._rested_since -= 6
        await send(pool, server.url, post(b"x"))
        await pool.aclose()
    assert server.connections == 2


async def stream_of(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    """Yield the parts of a body."""
    for part in parts:
        yield part
        await asyncio.sleep(pause)


def upload(body: AsyncIterator[bytes], length: int | None) -> OutgoingRequest:
    """Return a POST with a streamed body."""
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", str(length).encode())
    return OutgoingRequest(b"POST", encode_head(b"POST", b"/", [(b"host", b"x"), framing]), body, length)


@pytest.mark.parametrize("length", [10, None], ids=["length", "chunked"])
async def test_stream_body_is_sent_as_announced(make_pool: MakePool, tls: Any, length: int | None) -> None:
    """A streamed body arrives whole, by its length or in chunks, and its connection serves the next request."""
    received: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            received.append(await (reader.readexactly(10) if length else reader.readuntil(b"0\r\n\r\n")))
            writer.write(OK)

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        for _ in range(2):
            async with pool.lease(origin_of(url), QUICK) as connection:
                head = await connection.start_stream(upload(stream_of(b"hello", b"world"), length), CLOCKS)
                assert (head.status, await connection.next_part(), await connection.next_part()) == (200, b"ok", b"")
        await pool.aclose()
    assert received == [b"helloworld" if length else b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"] * 2


@pytest.mark.parametrize(("parts", "length"), [((b"hello",), 6), ((b"hello", b"more"), 6)], ids=["short", "long"])
async def test_stream_body_of_another_length_ends_the_connection(
    make_pool: MakePool, tls: Any, parts: tuple[bytes, ...], length: int
) -> None:
    """A body that does not keep its length is an error; nothing is sent that would look complete."""
    received = []

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.append(await reader.read())

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            with pytest.raises(WriteError, match=r"the 6 .*that its header announces"):
                await connection.start_stream(upload(stream_of(*parts), length), CLOCKS)
        await pool.aclose()
    assert len(b"".join(received)) < length


async def test_stream_body_whose_source_fails_is_never_ended(make_pool: MakePool, tls: Any) -> None:
    """The source's exception reaches the caller, and the server sees a cut body, not an ended one."""
    received = []

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.append(await reader.read())

    async def failing() -> AsyncIterator[bytes]:
        yield b"hello"
        raise LookupError("the disk is gone")

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            with pytest.raises(LookupError, match="the disk is gone"):
                await connection.start_stream(upload(failing(), None), CLOCKS)
        await pool.aclose()
    assert b"0\r\n\r\n" not in b"".join(received)


async def test_stream_early_response_ends_the_upload(make_pool: MakePool, tls: Any) -> None:
    """A refusal that arrives while the source still rests ends the upload at once; the connection is not used again."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1000
            await asyncio.sleep(0.01 if sent < 3 else 60)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response("too large", "413 Content Too Large"))
        await reader.read()

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            head = await connection.start_stream(upload(endless(), None), CLOCKS)
            assert (head.status, await connection.next_part()) == (413, b"too large")
        assert not connection.is_reusable
        await pool.aclose()


async def test_stream_lost_connection_names_the_bytes_that_had_left(make_pool: MakePool, tls: Any) -> None:
    """A server that closes in the middle of an upload may have refused its size; the error says so."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            body = stream_of(*[b"x" * 1000] * 100, pause=0.01)
            with pytest.raises(WriteError, match=r"lost after \d+ bytes of the body; .*refused its size") as caught:
                await connection.start_stream(upload(body, None), CLOCKS)
        await pool.aclose()
    assert caught.value.unsent is False


async def test_stream_connection_lost_while_the_source_rests_ends_it(make_pool: MakePool, tls: Any) -> None:
    """The end of the connection is heard although the source has nothing to send, and the source is ended."""
    over: list[bool] = []

    async def resting() -> AsyncIterator[bytes]:
        try:
            yield b"hello"
            await asyncio.Event().wait()
        finally:
            over.append(True)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.transport.abort()

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            with pytest.raises(WriteError, match="lost after 5 bytes of the body") as caught:
                await connection.start_stream(upload(resting(), None), CLOCKS)
        await pool.aclose()
    assert (caught.value.unsent, over) == (False, [True])


async def test_stream_early_response_waits_for_its_reader(make_pool: MakePool) -> None:
    """A whole response that came while the body was written is kept beyond the clocks."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response("too large", "413 Content Too Large"))
        while await reader.read(65_536):
            pass

    pool = make_pool()
    async with serving(script) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            head = await connection.start_stream(upload(endless(), None), Clocks(read=0.05, write=0.05))
            await asyncio.sleep(0.2)
            assert (head.status, await connection.next_part()) == (413, b"too large")
        await pool.aclose()


async def test_stream_slow_caller_stops_the_server(make_pool: MakePool, tls: Any) -> None:
    """Unread bytes are bounded: reading pauses above 96 KB, TLS adds 256 KB at most, and the whole body arrives."""
    size, sent = 20_000_000, 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            await connection.start_stream(get(), CLOCKS)
            await asyncio.sleep(0.1)
            assert sent < size
            assert connection._unread < 400_000
            received = 0
            while part := await connection.next_part():
                received += len(part)
        await pool.aclose()
    assert received == size


async def test_exchange_response_before_the_request_has_left_is_refused(make_pool: MakePool) -> None:
    """A response to bytes that still lie here belongs to no request of ours: a doubt, never a result."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await asyncio.sleep(0.2)

    pool = make_pool()
    async with serving(script) as url:
        with pytest.raises((RemoteProtocolError, ConnectionUnusable, httpx.TransportError)) as caught:
            async with pool.lease(origin_of(url), QUICK) as connection:
                await connection.exchange(post(b"x" * 30_000_000), clocks=CLOCKS, max_body=100)
        await pool.aclose()
    assert isinstance(caught.value, (RemoteProtocolError, ConnectionUnusable))


async def test_exchange_large_body_over_tls_before_an_immediate_end_is_whole(
    make_pool: MakePool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A server may send a body, announce its end and close at once: nothing of what had arrived is lost."""
    body = bytes(range(256)) * 1200

    def serve() -> None:
        accepted, _ = listener.accept()
        with server_tls.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            with contextlib.suppress(OSError):
                connection.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving_thread = threading.Thread(target=serve, daemon=True)
        serving_thread.start()
        pool = make_pool(client_tls)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with pool.lease(origin_of(url), QUICK) as connection:
            response = await connection.exchange(get(), clocks=CLOCKS, max_body=1_000_000)
        await pool.aclose()
        await asyncio.to_thread(serving_thread.join, 5)
    assert (response.is_complete, response.ends_with_connection) == (True, True)
    assert response.body == body


async def test_connection_released_after_its_loss_frees_its_place(make_pool: MakePool) -> None:
    """A server that answers early, closes its half and keeps reading: the late release closes the connection once."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response("too large", "413 Content Too Large"))
        writer.write_eof()
        await reader.read()

    pool = make_pool()
    async with serving(script) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            head = await connection.start_stream(upload(stream_of(*[b"x" * 100_000] * 50), None), CLOCKS)
            assert head.status == 413
            await asyncio.sleep(0.1)
        assert pool._places_taken == 0
        await pool.aclose()


async def test_stream_source_that_rests_longer_than_the_clocks_is_waited_for(make_pool: MakePool) -> None:
    """The clocks count the server's silence, not the time that the body's source takes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK)

    pool = make_pool()
    async with serving(script) as url:
        async with pool.lease(origin_of(url), QUICK) as connection:
            body = stream_of(b"a", b"b", pause=0.15)
            head = await connection.start_stream(upload(body, None), Clocks(read=0.05, write=0.05))
            assert head.status == 200
        await pool.aclose()
