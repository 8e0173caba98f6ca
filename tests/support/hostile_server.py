"""A server on loopback that misbehaves by script, and records what it has received of each request.

It runs one script for each socket before the handshake, one for each connection before its first request, and one for
each request, once its first line is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, cast

import attrs

from tests.support.behaviors import (
    UNREQUESTED_BYTES,
    UNREQUESTED_ID,
    BehaviorPicker,
    Close,
    Cut,
    Pause,
    ReadRequest,
    Reset,
    Send,
    SendUnrequested,
    Step,
    StopReading,
)

_REQUEST_LINE: Final = re.compile(rb"(GET|POST) \S*/q/(\d+) HTTP/1\.1")
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BACKLOG: Final = 128
_ACCEPTING: Final = 0.02
"""The seconds within which a connection that waits in the backlog is accepted."""
_CLOSE_TIMEOUT: Final = 0.5
_DELIVERY: Final = 0.01
"""The CPU seconds of this process within which the system may deliver bytes to the other side."""
_TLS_TIMEOUTS: Final = {"ssl_handshake_timeout": 5.0, "ssl_shutdown_timeout": _CLOSE_TIMEOUT}
_CUT_TIMEOUT: Final = 0.05
"""The seconds that a client gets to end its side of a connection whose TCP stream was cut."""


def request_path(request_id: int) -> str:
    """Return the path of a request with this id. The server reads the id out of it."""
    return f"/q/{request_id}"


@attrs.define
class RequestRecord:
    """A record of the requests with one id that a server has received, and of its responses."""

    method: str
    first_seen: float
    """The loop's time at which the server had read the id."""
    heads: int = 0
    """How often the id has been received."""
    completed: list[float] = attrs.field(factory=list)
    """The loop's times at which a whole request had been read."""
    behaviors: list[str] = attrs.field(factory=list)
    before: list[tuple[str, ...]] = attrs.field(factory=list)
    """The earlier behaviors on the connection, for each time that the id has been received."""
    raced: bool = False
    """True if unrequested bytes crossed a request on its connection: no client could have noticed them before."""
    sent: list[tuple[int, bytes]] = attrs.field(factory=list)
    """Status and whole body of each response, even if it was truncated."""


@attrs.define
class ServerLog:
    """A log of all that a server has received so far."""

    requests: dict[int, RequestRecord] = attrs.field(factory=dict)
    connections: int = 0
    open_connections: int = 0
    unidentified: int = 0
    """The number of connections that ended in the middle of a request's first line, so that its id is unknown."""


class _ConnectionEndedError(Exception):
    """The script has nothing left to act on."""


class _Connection(asyncio.Protocol):
    """One connection: it records each request as its bytes arrive, and runs the scripts in a task."""

    def __init__(self, log: ServerLog, picker: BehaviorPicker, open_connections: set[_Connection]) -> None:
        self._log = log
        self._picker = picker
        self._open_connections = open_connections
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._missing: int | None = None
        """The bytes that are missing of the body; None before the end of the head."""
        self._record: RequestRecord | None = None
        """The request whose bytes arrive."""
        self._heads: deque[int] = deque()
        self.history: list[str] = []
        self._unrequested_at: float | None = None
        self._raced = False
        self._incomplete = 0
        self._changed = asyncio.Event()
        self._lost = False
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        self._open_connections.add(self)
        self.task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._parse():
            pass
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True
        self._open_connections.discard(self)
        self._log.open_connections -= 1
        self._log.unidentified += bool(self._buffer) and self._record is None
        self._changed.set()

    def abort(self) -> None:
        """Break the connection off."""
        self._transport.abort()

    def _parse(self) -> bool:
        """Record what the buffer holds. Return True if it may hold more."""
        if self._record is None and b"\r\n" in self._buffer:
            self._begin(bytes(self._buffer))
        if self._missing is None:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return False
            length = _CONTENT_LENGTH.search(head + b"\r\n")
            self._missing, self._buffer = int(length[1]) if length else 0, rest
        taken = min(self._missing, len(self._buffer))
        del self._buffer[:taken]
        self._missing -= taken
        if self._missing:
            return False
        assert self._record is not None
        self._record.completed.append(self._loop.time())
        self._record, self._missing = None, None
        self._incomplete -= 1
        return bool(self._buffer)

    def _begin(self, data: bytes) -> None:
        found = _REQUEST_LINE.match(data)
        assert found is not None, f"no request: {data[:100]!r}"
        request_id = int(found[2])
        record = self._log.requests.setdefault(request_id, RequestRecord(found[1].decode(), self._loop.time()))
        record.heads += 1
        if self._unrequested_at is not None:
            self._raced = self._raced or time.process_time() < self._unrequested_at + _DELIVERY
            self._unrequested_at = None
        record.raced = record.raced or self._raced
        record.before.append(tuple(self.history))
        self._record = record
        self._heads.append(request_id)
        self._incomplete += 1

    async def _serve(self) -> None:
        with contextlib.suppress(_ConnectionEndedError):
            behavior = self._picker.on_connection()
            self.history.append(behavior.name)
            for step in behavior.steps:
                await self._perform(step, UNREQUESTED_ID)
            while True:
                await self._wait_until(lambda: bool(self._heads))
                request_id = self._heads.popleft()
                record = self._log.requests[request_id]
                behavior = self._picker.on_request(record.method)
                record.behaviors.append(behavior.name)
                self.history.append(behavior.name)
                for step in behavior.steps:
                    await self._perform(step, request_id)

    async def _wait_until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self._lost or self._transport.is_closing():
                raise _ConnectionEndedError
            self._changed.clear()
            await self._changed.wait()

    async def _perform(self, step: Step, request_id: int) -> None:  # noqa: C901 - one case for each step
        match step:
            case Send():
                await self._send(step, request_id)
            case SendUnrequested():
                if not self._heads and self._record is None and not self._has_unread_bytes():
                    self._write(step.content)
                    self.history.append(UNREQUESTED_BYTES)
                    self._unrequested_at = time.process_time()
            case Pause():
                await asyncio.sleep(step.seconds)
            case ReadRequest():
                await self._wait_until(lambda: not self._incomplete)
            case StopReading():
                if not self._transport.is_closing():
                    self._transport.pause_reading()
            case Close():
                self._transport.close()
                # asyncio's TLS never ends a close if the client had ended first while reading was paused.
                self._loop.call_later(_CLOSE_TIMEOUT, self._transport.abort)
                raise _ConnectionEndedError
            case Cut():
                self._shut_down()
                raise _ConnectionEndedError
            case Reset():
                connection = self._socket()
                if connection is not None:
                    _reset_when_closed(connection)
                self._transport.abort()
                raise _ConnectionEndedError

    async def _send(self, step: Send, request_id: int) -> None:
        self._log.requests[request_id].sent.append((step.response.status, step.response.body(request_id)))
        for index, piece in enumerate(step.pieces(request_id)):
            if index:
                await asyncio.sleep(step.pause)
            self._write(piece)

    def _write(self, content: bytes) -> None:
        if self._lost or self._transport.is_closing():
            raise _ConnectionEndedError
        self._transport.write(content)

    def _has_unread_bytes(self) -> bool:
        """Return True if bytes, or the end of the connection, wait in the socket."""
        with self._duplicate() as duplicate:
            if duplicate is None:
                return True
            try:
                duplicate.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except OSError:  # the client has reset the connection
                return True
        return True

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError), self._duplicate() as duplicate:
            if duplicate is not None:
                duplicate.shutdown(socket.SHUT_WR)
        self._loop.call_later(_CUT_TIMEOUT, self._transport.abort)

    def _socket(self) -> socket.socket | None:
        """Return the transport's socket; None once the connection is lost."""
        found: socket.socket | None = None if self._lost else self._transport.get_extra_info("socket")
        return found if found is not None and found.fileno() >= 0 else None

    @contextlib.contextmanager
    def _duplicate(self) -> Iterator[socket.socket | None]:
        """Yield the socket once more, because transports allow few operations on theirs."""
        connection = self._socket()
        if connection is None:
            yield None
            return
        with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
            duplicate.setblocking(False)
            yield duplicate


def _reset_when_closed(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class HostileServer:
    """A server that runs scripts; `log` records what it has received."""

    def __init__(self, picker: BehaviorPicker, *, tls: ssl.SSLContext | None = None) -> None:
        self.log = ServerLog()
        self._picker = picker
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._connections: set[_Connection] = set()
        self._accepted: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._listener.getsockname()[1]}"

    async def wait_without_connections(self, seconds: float) -> int:
        """Wait for at most so many seconds until no connection is open, and return how many still are."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_ACCEPTING)
        deadline = loop.time() + seconds
        while self.log.open_connections and loop.time() < deadline:  # noqa: ASYNC110 - the log is a plain value
            await asyncio.sleep(0.005)
        return self.log.open_connections

    def describe_open(self) -> str:
        """Return the behaviors so far on each open connection."""
        handshakes = self.log.open_connections - len(self._connections)
        histories = [", ".join(connection.history) for connection in self._connections]
        return f"{handshakes} in the handshake, {histories}"

    async def run(self) -> None:
        """Accept connections until cancelled, then break all of them off."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(self._listener)
                self.log.connections += 1
                self.log.open_connections += 1
                task = loop.create_task(self._open(connection))
                self._accepted.add(task)
                task.add_done_callback(self._accepted.discard)
        finally:
            self._listener.close()
            await self._abort()

    async def _open(self, connection: socket.socket) -> None:
        """Run the script of an accepted socket, and give it to a protocol unless it was reset."""
        connection.setblocking(False)
        for step in self._picker.on_accept().steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                assert isinstance(step, Reset), f"{step} is no step before a handshake"
                _reset_when_closed(connection)
                connection.close()
                self.log.open_connections -= 1
                return
        protocol = _Connection(self.log, self._picker, self._connections)
        timeouts = {} if self._tls is None else _TLS_TIMEOUTS
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, **timeouts
            )
        except (OSError, asyncio.CancelledError):  # the client broke off the handshake, or the server ends
            connection.close()
            self.log.open_connections -= 1

    async def _abort(self) -> None:
        """Break all connections off. An exception of a script is left to the loop's exception handler."""
        for task in self._accepted:
            task.cancel()
        await asyncio.gather(*self._accepted, return_exceptions=True)
        tasks = {connection.task for connection in self._connections}
        for connection in tuple(self._connections):
            connection.abort()
            connection.task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def hostile_server(picker: BehaviorPicker, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HostileServer]:
    """Run a server whose scripts the picker chooses."""
    server = HostileServer(picker, tls=tls)
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
