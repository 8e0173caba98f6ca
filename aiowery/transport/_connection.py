"""A connection: it carries one request at a time, and its response as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import re
import select
import ssl
from collections.abc import AsyncIterable
from math import inf
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import httpx

from aiowery.transport._errors import (
    ConnectionUnusable,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    Unclear,
    WriteError,
    WriteTimeout,
)
from aiowery.transport._reader import Header, ResponseReader
from aiowery.transport._request import Origin, OutgoingRequest

_BUFFER_BYTES: Final = 64 * 1024
_MAX_UNREAD: Final = 96 * 1024
"""Unread bytes above which reading pauses; over TLS, event loops decrypt up to 256 KB more at once."""
_WRITE_BYTES: Final = 64 * 1024
_TLS_RECORD: Final = 16 * 1024
MAX_LEASE: Final = 10.0
_SOURCE_SECONDS: Final = 1.0
_PAID_REST: Final = 5.0
_ITERATIONS_TO_NOTICE: Final = 4
_KEEP_ALIVE: Final = re.compile(rb"(timeout|max)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class Clocks(NamedTuple):
    """The limits of one exchange in seconds.

    `read`: until the server sends the next bytes; `write`: until it accepts the next; `total`: from the first byte that
    is written to the end of the response.
    """

    read: float = 30.0
    write: float = 30.0
    total: float = inf


class Response(NamedTuple):
    """A response: its head, and its body as far as it was wanted.

    `is_complete`: False if the body was longer than wanted. `ends_with_connection`: nothing but the end of the
    connection shows where the body ends.
    """

    status: int
    headers: list[Header]
    body: bytes
    is_complete: bool
    reason: bytes = b""
    http_version: str = "1.1"
    ends_with_connection: bool = False


class ConnectionOwner(Protocol):
    """The pool, as its connections know it."""

    def on_opened(self, connection: Connection) -> None:
        """Keep a connection whose socket is open."""

    def on_closed(self, connection: Connection) -> None:
        """Forget a connection whose socket is closed."""

    def sweep_by(self, moment: float) -> None:
        """Check the connections' deadlines no later than at this loop time."""


class Connection(asyncio.BufferedProtocol):
    """A connection to one origin.

    It has no lock: the pool leases it to one caller at a time, on behalf of its `holder`. `deadline` is the loop time
    at which the pool's sweep calls `on_deadline`. A connection that fails, is cancelled in the middle, or carries a
    response of unclear end is never used again: `is_reusable` is False after it.
    """

    __slots__ = (
        "_body_sent",
        "_buffer",
        "_buffered",
        "_clocks",
        "_cuts_body",
        "_failure",
        "_is_busy",
        "_is_lost",
        "_is_made",
        "_is_paused",
        "_is_streaming",
        "_is_uploading",
        "_max_body",
        "_owner",
        "_poll",
        "_reader",
        "_requests_left",
        "_rest_limit",
        "_rest_until",
        "_rested_since",
        "_total_deadline",
        "_transport",
        "_unread",
        "_waiter",
        "_writable",
        "deadline",
        "holder",
        "is_leased",
        "leased_at",
        "loop",
        "origin",
        "used",
    )

    def __init__(self, origin: Origin, owner: ConnectionOwner) -> None:
        self.origin: Origin = origin
        self.deadline: float = inf
        self.holder: object = None
        self.is_leased: bool = False
        self.leased_at: float = 0.0
        self.used: bool = False
        self._owner = owner
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._transport: asyncio.Transport  # from the moment at which the pool knows the connection
        self._poll: select.poll | None = None
        self._reader = ResponseReader()
        self._failure: httpx.TransportError | None = None
        self._clocks = Clocks()
        self._total_deadline = inf
        self._max_body: float = 0
        self._body_sent = 0
        self._buffered: float = 0
        self._cuts_body = False
        self._unread = 0
        self._is_busy = False
        self._is_uploading = False
        self._is_streaming = False
        self._is_paused = False
        self._is_lost = False
        self._is_made = False
        self._rested_since = self.loop.time()
        self._rest_until = self._rested_since + _PAID_REST
        self._rest_limit = _PAID_REST
        self._requests_left: float = inf
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; over TLS the handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_made = True
        self._watch_socket()
        self._owner.on_opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next bytes.

        Over TLS `sizehint` is what has been decrypted. All of it must fit, because asyncio drops the rest if the server
        closes behind it.
        """
        if sizehint + _TLS_RECORD > len(self._buffer):
            self._buffer = memoryview(bytearray(sizehint + _TLS_RECORD))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read the bytes that have arrived."""
        if not self._is_busy:  # no request asked for them
            self.abort()
            return
        reader = self._reader
        if not self._is_streaming and not reader.has_started and self._is_writing:
            reader.keep_start(self._buffer[:nbytes])
            self._fail(reader.error("the server responded before it had the request"))
            return
        try:
            reader.feed(self._buffer[:nbytes])
        except RemoteProtocolError as failure:
            self._fail(failure)
            return
        self._unread += nbytes
        self._buffered = 0
        self.deadline = inf if reader.is_complete else self._idle_deadline()
        if reader.status and (reader.is_complete or self._is_streaming or self._body_is_long_enough()):
            self._wake()
            if self._is_streaming and self._unread > _MAX_UNREAD and not reader.is_complete:
                self._pause_reading()

    def eof_received(self) -> None:
        """Read the end that the server has announced. The transport then closes itself."""
        if self._is_busy and not self._reader.is_complete:
            try:
                if self._ends_cleanly():
                    self._reader.end()
            except RemoteProtocolError as failure:
                self._fail(failure)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange under way, and leave the pool."""
        self._is_lost = True
        self._poll = None
        self.deadline = inf
        if self._is_busy and not self._reader.is_complete and self._failure is None:
            self._failure = self._reader.cut_off() if exc is None else self._read_error(exc)
        self._reader.close()
        self._wake()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._owner.on_closed(self)

    def pause_writing(self) -> None:
        """Wait until the system accepts more."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """Go on writing."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the pool calls.

    @property
    def is_open(self) -> bool:
        """True as far as the event loop has noticed."""
        return not self._is_lost and self._failure is None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """True if another request may follow, as far as this side knows."""
        reader = self._reader
        return (
            (not self._is_busy or (reader.is_complete and reader.can_continue and not self._cuts_body))
            and self._writable is None
            and not self._is_writing
            and self.is_open
        )

    def rest(self, until: float) -> bool:
        """End the lease; return False if no other request may follow.

        The connection is closed at `until`, in loop time, or when the server announces that it closes it.
        """
        if not self.is_reusable:
            return False
        if self._is_busy:  # an unused lease makes no connection younger
            self._read_keep_alive()
            self._is_busy = False
            self._reader.body = []
            self._rested_since = self.loop.time()
            self._rest_until = until
            if self._rest_limit < _PAID_REST:
                self._rest_until = min(until, self._rested_since + self._rest_limit)
        self.deadline = self._rest_until
        return self._requests_left > 0 and self._rest_limit > 0

    def may_carry_paid(self, now: float) -> bool:
        """Return True if the connection has not rested so long that the server may be about to close it."""
        return now - self._rested_since <= self._rest_limit

    def on_deadline(self, now: float) -> None:
        """End what has taken too long."""
        if not self._is_busy:
            self.abort()
        elif self._reader.is_complete:
            self.deadline = inf
        elif now >= self._total_deadline:
            self._fail(ReadTimeout(f"the response was not complete within {self._clocks.total:g} s"))
        elif self._buffered:
            self._check_progress()
        else:
            self._fail(ReadTimeout(f"the server sent no bytes for {self._clocks.read:g} s"))

    def close(self) -> None:
        """End the exchange under way because the transport closes."""
        if self._is_busy and not self._reader.is_complete:
            self._fail(ReadError("the transport was closed before the response was complete"))
        self.abort()

    def discard(self) -> None:
        """Forget a connection that was not made completely; not every event loop reports its end."""
        if self._is_made:
            self.abort()
            self._owner.on_closed(self)

    def disown(self) -> None:
        """Let the socket's number lead nowhere in a forked process, so that nothing here reaches the parent's socket.

        Else the connection would stay open at the server until both processes have closed it.
        """
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            with contextlib.suppress(OSError), Path(os.devnull).open("rb") as nothing:
                os.dup2(nothing.fileno(), sock.fileno(), inheritable=False)

    def abort(self) -> None:
        """Close the connection now."""
        self.deadline = inf
        if not self._is_lost:
            self._transport.abort()

    # What the holder of a lease calls.

    @property
    def is_quiet(self) -> bool:
        """True if the connection is open and the system holds nothing that the event loop has not read."""
        return self.is_open and not self._is_readable()

    async def is_alive(self) -> bool:
        """Return False if the server has ended the connection, or sent bytes that no request asked for.

        A readable socket need not mean that: TLS 1.3 sends tickets. Then the event loop reads them first.
        """
        if not self.is_open:
            return False
        if self._is_readable():
            for _ in range(_ITERATIONS_TO_NOTICE):
                await asyncio.sleep(0)
                if not self.is_open:
                    return False
        return True

    async def exchange(
        self,
        request: OutgoingRequest,
        *,
        clocks: Clocks,
        max_body: int,
        not_after: float = inf,
    ) -> Response:
        """Send a request with a whole body, and return its response with at most about `max_body` bytes of the body.

        Directly before the write the system is asked whether the server is still there. `not_after`: loop time after
        which nothing may be sent. Every exception has `unsent`.
        """
        if not self.is_quiet:
            await self._check_alive()
        self._begin(request.method, clocks, max_body=max_body, not_after=not_after)
        body = request.body
        self._write_first(request.head if body is None else request.head + cast("bytes", body))
        reader = self._reader
        while not (reader.is_complete or self._failure or (reader.status and self._body_is_long_enough())):
            await self._wait()
        self._raise_failure()
        return self._response()

    async def start_stream(self, request: OutgoingRequest, clocks: Clocks) -> Response:
        """Send a request, also with a streamed body; return the head of its response. `next_part` reads the body."""
        await self.send_head(request, clocks)
        return await self.receive_head(request)

    async def send_head(self, request: OutgoingRequest, clocks: Clocks) -> None:
        """Write the head of a request, and its body if that is whole. `receive_head` does the rest."""
        if not self.is_quiet:
            await self._check_alive()
        self._begin(request.method, clocks, max_body=inf, not_after=inf)
        self._is_streaming = True
        self._write_first(request.head + request.body if isinstance(request.body, bytes) else request.head)

    async def receive_head(self, request: OutgoingRequest) -> Response:
        """Return the head of the response to a request, after its streamed body if it has one."""
        body = request.body
        if body is None or isinstance(body, bytes):
            await self._wait_for_head()
        else:
            await self._send_while_waiting(body, request.length)
        self._raise_failure()
        return self._head(b"", is_complete=self._reader.is_complete)

    @property
    def is_received(self) -> bool:
        """True once the whole response has arrived; `next_part` may still hold a part of it."""
        return self._reader.is_complete

    @property
    def has_surplus(self) -> bool:
        """True if bytes have arrived behind the whole response, which no request asked for."""
        return self._reader.has_surplus

    async def next_part(self) -> bytes:
        """Return the next bytes of the body, b"" at its end. Raises what ended it too early, after what came before."""
        reader = self._reader
        while not (reader.body or reader.is_complete or self._failure):
            await self._wait()
        if not reader.body:
            self._raise_failure()
            return b""
        parts, reader.body, self._unread = reader.body, [], 0
        self._resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _check_alive(self) -> None:
        if not await self.is_alive():
            raise _closed_before()

    # Writing.

    @property
    def _is_writing(self) -> bool:
        return self._transport.get_write_buffer_size() > 0

    def _begin(self, method: bytes, clocks: Clocks, *, max_body: float, not_after: float) -> None:
        """Prepare for a response. Raises ConnectionUnusable if nothing may be written. Nothing is awaited after it."""
        if self._is_busy:
            raise RuntimeError("a connection carries one request at a time; release it first")
        now = self.loop.time()
        if now > not_after:
            raise ConnectionUnusable("the permission to send ended before the request was written")
        if now - self.leased_at > MAX_LEASE:
            raise ConnectionUnusable(f"the connection was leased for more than {MAX_LEASE:g} s before it was used")
        self._reader.begin(is_head=method == b"HEAD")
        self._is_busy = True
        self._is_streaming = False
        self._max_body = max_body
        self._unread = 0
        self._body_sent = 0
        self._cuts_body = False
        self._buffered = 0
        self._is_uploading = False
        self._clocks = clocks
        self._total_deadline = now + clocks.total
        self.deadline = min(now + clocks.read, self._total_deadline)
        self._owner.sweep_by(self.deadline)
        self._requests_left -= 1

    def _write_first(self, data: bytes) -> None:
        """Write the first bytes. Raises ConnectionUnusable if they have provably not left."""
        transport = self._transport
        try:
            transport.write(data)
        except RuntimeError as fault:  # uvloop, on a connection that it has lost
            raise ConnectionUnusable(f"the connection was lost before the request was written ({fault})") from fault
        finally:
            self.used = True
        # A plain transport passes its first bytes to the system now, and closes if that fails. TLS does not show it.
        if transport.is_closing() and transport.get_extra_info("ssl_object") is None:
            raise ConnectionUnusable("the connection was lost before the request was written")
        if self._is_writing:
            self._limit_writing()

    def _limit_writing(self) -> None:
        """Apply the limit of writing while bytes wait for the system; without any, that of reading."""
        self._buffered = inf if self._is_writing else 0
        self.deadline = self._idle_deadline()
        self._owner.sweep_by(self.deadline)

    def _check_progress(self) -> None:
        """End the exchange if the system has accepted nothing since the last check. After the last byte, time to read.

        The source of a streamed body may rest.
        """
        left = self._transport.get_write_buffer_size()
        if left and left >= self._buffered:
            self._fail(WriteTimeout(f"the server accepted no bytes for {self._clocks.write:g} s"))
            return
        self._buffered = left
        self.deadline = self._total_deadline if self._is_uploading and not left else self._idle_deadline()

    async def _send_while_waiting(self, body: AsyncIterable[bytes], length: int | None) -> None:
        """Write a streamed body until the response begins, so that an early refusal ends the upload."""
        sending = asyncio.ensure_future(self._send_body(body, length))
        sending.add_done_callback(lambda _: self._wake())
        try:
            while not (self._reader.status or self._failure or (sending.done() and sending.exception())):
                await self._wait()
        finally:
            is_whole = sending.done() and not sending.cancelled() and sending.exception() is None
            self._cuts_body = not is_whole
            if not sending.done():
                sending.cancel()
                await asyncio.wait((sending,), timeout=_SOURCE_SECONDS)  # for a source that cannot be cancelled
        if self._reader.status or is_whole:
            return
        if sending.done() and not sending.cancelled() and (fault := sending.exception()) is not None:
            raise fault
        raise self._failure_within_body() from self._failure

    async def _send_body(self, body: AsyncIterable[bytes], length: int | None) -> None:
        self._is_uploading = True
        self.deadline = self._total_deadline  # the source may rest
        async for part in body:
            for start in range(0, len(part), _WRITE_BYTES):
                await self._write_piece(part[start : start + _WRITE_BYTES], length)
            if not self._is_writing:
                self.deadline = self._total_deadline
        if length is not None and self._body_sent < length:
            raise WriteError(f"the body has {self._body_sent} bytes, not the {length} that its header announces")
        if not self.is_open:
            raise self._failure_within_body()
        if length is None:
            self._transport.write(b"0\r\n\r\n")
        self._is_uploading = False
        self._limit_writing()

    async def _write_piece(self, piece: bytes, length: int | None) -> None:
        """Write a piece of the body, as a chunk if it has no length, and wait until the system accepts more."""
        if length is not None and self._body_sent + len(piece) > length:
            raise WriteError(f"the body has more than the {length} bytes that its header announces")
        if not self.is_open:
            raise self._failure_within_body()
        self._transport.write(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        self._body_sent += len(piece)
        self._limit_writing()
        # The loop reads in between, so that an early response is noticed.
        await asyncio.sleep(0)
        if self._writable is not None:
            await self._writable

    def _failure_within_body(self) -> httpx.TransportError:
        """Return the error of a connection that ended while the body was written."""
        failure = self._failure
        if failure is not None and not getattr(failure, "nothing_received", False):
            return failure
        return WriteError(
            f"the connection was lost after {self._body_sent} bytes of the body; the server may have refused its size"
        )

    # Reading.

    async def _wait_for_head(self) -> None:
        while not (self._reader.status or self._failure):
            await self._wait()

    async def _wait(self) -> None:
        """Wait for the next event of this exchange."""
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _body_is_long_enough(self) -> bool:
        """Return True if the rest of the body is not wanted."""
        return self._reader.body_bytes > self._max_body or self._reader.announced > self._max_body

    def _response(self) -> Response:
        reader = self._reader
        body = reader.body[0] if len(reader.body) == 1 else b"".join(reader.body)
        return self._head(body, is_complete=reader.is_complete and reader.body_bytes <= self._max_body)

    def _head(self, body: bytes, *, is_complete: bool) -> Response:
        reader = self._reader
        return Response(
            reader.status,
            reader.headers,
            body,
            is_complete,
            reader.reason,
            reader.http_version,
            reader.ends_with_connection,
        )

    def _raise_failure(self) -> None:
        """Raise what ended the exchange, unless the response is complete all the same."""
        failure = self._failure
        if failure is not None and not self._reader.is_complete:
            if isinstance(failure, Unclear):
                failure.excerpt = self._reader.excerpt
            raise failure

    def _idle_deadline(self) -> float:
        idle = self._clocks.write if self._buffered else self._clocks.read
        return min(self.loop.time() + idle, self._total_deadline)

    def _fail(self, failure: httpx.TransportError) -> None:
        self._failure = self._failure or failure
        self._wake()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self.abort()

    def _read_error(self, exc: Exception) -> httpx.TransportError:
        error = ReadError(f"the connection was lost ({str(exc) or type(exc).__name__})")
        error.nothing_received = not self._reader.has_started
        return error

    def _pause_reading(self) -> None:
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
            self.deadline = self._total_deadline

    def _resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            # The transport keeps the context in which it is called.
            contextvars.Context().run(self._transport.resume_reading)
            self.deadline = self._idle_deadline()

    def _ends_cleanly(self) -> bool:
        """Return True unless a TLS connection ends without the message that announces its end.

        What TLS still holds is read first.
        """
        ssl_object = self._transport.get_extra_info("ssl_object")
        if ssl_object is None:
            return True
        try:
            while data := ssl_object.read(_BUFFER_BYTES):
                self._reader.feed(memoryview(data))
        except ssl.SSLError:
            return False
        return True

    def _watch_socket(self) -> None:
        """Prepare `_is_readable`, where the system can report unread bytes without waiting."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def _is_readable(self) -> bool:
        """Return True if the system holds bytes or an end that the event loop has not read, or if that is unknown."""
        return self._poll is None or bool(self._poll.poll(0))

    def _read_keep_alive(self) -> None:
        """Obey the server's Keep-Alive: it closes after `timeout` seconds of rest, or after `max` requests."""
        if self._reader.keep_alive:
            for key, number in _KEEP_ALIVE.findall(self._reader.keep_alive):
                if key.lower() == b"max":
                    self._requests_left = int(number)
                else:
                    self._rest_limit = max(0.0, int(number) - 1.0)


def _closed_before() -> ConnectionUnusable:
    return ConnectionUnusable("the server closed the connection before the request was written")
