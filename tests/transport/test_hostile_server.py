"""The hostile server itself: what its scripts send, and what it records."""

from __future__ import annotations

import asyncio
import ssl

import attrs
import httpx
import pytest
import trustme

from tests.support.behaviors import (
    REQUEST_TIMEOUT,
    UNREQUESTED_RESPONSE,
    Behavior,
    Close,
    Cut,
    Framing,
    Pause,
    RandomBehavior,
    ReadRequest,
    Reset,
    Response,
    SameBehavior,
    Send,
    SendUnrequested,
    StopReading,
    respond,
    respond_twice,
)
from tests.support.hostile_server import HostileServer, hostile_server, request_path

pytestmark = pytest.mark.anyio

GET = f"GET {request_path(1)} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
POST = f"POST {request_path(2)} HTTP/1.1\r\nhost: x\r\nContent-Length: 4\r\n\r\n".encode()


@pytest.fixture
def anyio_backend() -> str:
    """Run in asyncio's event loop only: uvloop reads a request before a script can stop it."""
    return "asyncio"


async def connect(
    server: HostileServer, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection without any HTTP library."""
    return await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port, ssl=tls)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, also one that is broken already."""
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("framing", Framing)
def test_send_pieces_join_to_one_response_that_echoes_the_id(framing: Framing) -> None:
    """Splits change the pieces alone, and the body echoes the id."""
    response = Response(framing=framing, padding=300, chunk=7, interim=2)
    pieces = list(Send(response, splits=(0, 1, 60, 61, 99_999)).pieces(5))
    assert len(pieces) == 4
    assert b"".join(pieces) == response.encode(5)
    assert b"".join(pieces).count(b"HTTP/1.1 103") == 2
    assert response.body(5).startswith(b'{"id": 5,')


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9999])
def test_send_share_below_one_is_never_a_whole_response(share: float) -> None:
    """A truncated response lacks at least its last byte."""
    send = Send(share=share)
    truncated = b"".join(send.pieces(1))
    assert send.response.encode(1).startswith(truncated)
    assert len(truncated) < len(send.response.encode(1))


def test_respond_twice_sends_the_second_with_the_last_piece() -> None:
    """A client that has the end of the first response has the second already."""
    send = next(step for step in respond_twice(Send(splits=(3, 9))).steps if isinstance(step, Send))
    pieces = list(send.pieces(1))
    assert len(pieces) == 3
    assert pieces[-1].endswith(UNREQUESTED_RESPONSE)


def test_random_behavior_equal_seeds_give_equal_scripts() -> None:
    """A seed decides all scripts, and the scripts of a run are of many kinds."""
    first, second = (
        [picker.on_request("GET") for _ in range(500)]
        for picker in (RandomBehavior(7, late=1, tls=True), RandomBehavior(7, late=1, tls=True))
    )
    assert first == second
    steps = {type(step) for behavior in first for step in behavior.steps}
    assert steps == {Send, SendUnrequested, Pause, ReadRequest, StopReading, Close, Cut, Reset}


async def test_server_records_head_and_body_apart() -> None:
    """A request counts from its first line on, and as complete with the last byte of its body."""
    async with hostile_server(SameBehavior(respond(Send()))) as server:
        reader, writer = await connect(server)
        for piece in (POST[:10], POST[10:-5], POST[-5:], b"{} "):
            writer.write(piece)
            await asyncio.sleep(0.01)
            record = server.log.requests.get(2)
            assert (record is None) == (piece == POST[:10])
        assert record is not None
        assert (record.method, record.heads, record.completed) == ("POST", 1, [])
        writer.write(b" ")
        assert await reader.readexactly(len(Response().encode(2))) == Response().encode(2)
        assert len(record.completed) == 1
        assert record.first_seen < record.completed[0]
        assert record.sent == [(200, Response().body(2))]
        await close(writer)
        assert await server.wait_without_connections(1) == 0
    assert (server.log.connections, server.log.unidentified) == (1, 0)


async def test_server_unfinished_first_line_is_counted() -> None:
    """Bytes of a request whose id did not arrive do not pass unnoticed."""
    async with hostile_server(SameBehavior(respond(Send()))) as server:
        _, writer = await connect(server)
        writer.write(GET[:8])
        await close(writer)
        await server.wait_without_connections(1)
    assert server.log.unidentified == 1


async def test_server_unrequested_bytes_yield_to_a_request_on_its_way() -> None:
    """Bytes are unrequested only if the client could have seen them before it sent."""
    timed_out = Behavior("408", (SendUnrequested(REQUEST_TIMEOUT), Close()))
    async with hostile_server(SameBehavior(respond(Send()), connection=timed_out)) as server:
        reader, writer = await connect(server)
        assert await reader.read() == REQUEST_TIMEOUT
        await close(writer)
    slow = Behavior("slow", (Pause(0.05), SendUnrequested(REQUEST_TIMEOUT)))
    async with hostile_server(SameBehavior(respond(Send()), connection=slow)) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        assert await reader.readexactly(len(Response().encode(1))) == Response().encode(1)
        await close(writer)


async def test_server_reset_before_the_request_receives_nothing() -> None:
    """A connection that is reset unread leaves no record."""
    unread = Behavior("unread", (StopReading(), Pause(0.02), Reset()))
    async with hostile_server(SameBehavior(respond(Send()), connection=unread)) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await close(writer)
        assert await server.wait_without_connections(1) == 0
    assert server.log.requests == {}


async def test_server_cut_over_tls_sends_no_close_notify() -> None:
    """The end of the TCP stream comes without TLS's own end, which a close does send."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    ends = {}
    for end in (Close(), Cut()):
        behavior = attrs.evolve(respond(Send()), steps=(ReadRequest(), end))
        async with hostile_server(SameBehavior(behavior), tls=context) as server:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            reader, writer = await connect(server)
            await exchange(tls, incoming, outgoing, reader, writer)
            try:
                ends[type(end)] = tls.read(1)
            except ssl.SSLError as fault:
                ends[type(end)] = type(fault).__name__.encode()
            await close(writer)
    assert ends == {Close: b"", Cut: b"SSLWantReadError"}


async def exchange(
    tls: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Shake hands, send a request, and feed all that comes until the end of the TCP stream."""
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65_536))
    tls.write(GET)
    writer.write(outgoing.read())
    while data := await reader.read(65_536):
        incoming.write(data)
