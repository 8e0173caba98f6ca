"""A server on loopback that misbehaves by script, and records what it has received of each request.

A script is a tuple of steps, which are values: send these bytes in these pieces, pause, close, reset. The server runs
one script for each connection, before its first request, and one for each request, once its first line is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Final, Protocol, cast

import attrs

UNREQUESTED_ID: Final = 0
"""The id in responses that no request has caused. The ids of requests begin at 1."""

_REQUEST_LINE: Final = re.compile(rb"(GET|POST) \S*/q/(\d+) HTTP/1\.1")
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BACKLOG: Final = 128
_ACCEPTING: Final = 0.02
"""The seconds within which a connection that waits in the backlog is accepted."""
_HANDSHAKE_TIMEOUT: Final = 5.0
_TLS_CLOSE_TIMEOUT: Final = 0.5
_CUT_TIMEOUT: Final = 0.05
"""The seconds that a client gets to end its side of a connection whose TCP stream was cut."""


def request_path(request_id: int) -> str:
    """Return the path of a request with this id. The server reads the id out of it."""
    return f"/q/{request_id}"


def request_id_of(path: str) -> int:
    """Return the id in a path that `request_path` has made."""
    return int(path.removeprefix("/q/"))


# Steps: what a script is made of.


class Framing(enum.Enum):
    """How a response shows where its body ends."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@attrs.frozen
class Response:
    """A response that echoes the id of its request, in a JSON object with `padding` bytes besides."""

    status: int = 200
    framing: Framing = Framing.LENGTH
    padding: int = 0
    chunk: int = 100
    """The size of a chunk, if the framing is CHUNKED."""
    interim: int = 0
    """The number of 1xx responses that are sent first."""
    announces_close: bool = False
    """True if the response has `Connection: close`."""

    def body(self, request_id: int) -> bytes:
        """Return the decoded body."""
        return b'{"id": %d, "padding": "%s"}' % (request_id, b"x" * self.padding)

    def encode(self, request_id: int) -> bytes:
        """Return all bytes of the response."""
        body, fields = self.body(request_id), [b"content-type: application/json"]
        if self.framing is Framing.LENGTH:
            fields.append(b"content-length: %d" % len(body))
        if self.framing is Framing.CHUNKED:
            fields.append(b"transfer-encoding: chunked")
            pieces = (body[at : at + self.chunk] for at in range(0, len(body), self.chunk))
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        if self.announces_close:
            fields.append(b"connection: close")
        interim = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n" * self.interim
        return interim + b"\r\n".join([b"HTTP/1.1 %d Scripted" % self.status, *fields, b"", b""]) + body


@attrs.frozen
class Send:
    """Send a response, split at `splits` (offsets in bytes) with a pause of so many seconds between the pieces.

    `share` below 1 truncates it to that share of its bytes. `extra` goes out in one piece with the last bytes.
    """

    response: Response = Response()
    splits: tuple[int, ...] = ()
    pause: float = 0.0
    share: float = 1.0
    extra: bytes = b""

    def pieces(self, request_id: int) -> Iterator[bytes]:
        """Yield the pieces in which the response is written."""
        encoded = self.response.encode(request_id)
        encoded = encoded[: min(int(len(encoded) * self.share), len(encoded) - 1)] if self.share < 1 else encoded
        ends = sorted(split for split in self.splits if 0 < split < len(encoded))
        for start, end in zip([0, *ends], [*ends, len(encoded)], strict=True):
            yield encoded[start:end] + (self.extra if end == len(encoded) else b"")


@attrs.frozen
class SendUnrequested:
    """Send bytes that no request has caused, unless bytes of a request lie in the socket already.

    So a client can always see them before it sends, if it checks: on loopback, a byte written is a byte that arrived.
    """

    content: bytes


@attrs.frozen
class Pause:
    """Do nothing for so many seconds. Zero is one event-loop iteration."""

    seconds: float = 0.0


@attrs.frozen
class ReadRequest:
    """Wait until the whole request has arrived."""


@attrs.frozen
class StopReading:
    """Read no more bytes, so that the client's bytes stay in the kernel."""


@attrs.frozen
class Close:
    """Close the connection in order, over TLS with a close_notify."""


@attrs.frozen
class Cut:
    """End the TCP stream without TLS's close_notify. On a plain connection this is a usual close."""


@attrs.frozen
class Reset:
    """Reset the connection."""


Step = Send | SendUnrequested | Pause | ReadRequest | StopReading | Close | Cut | Reset


@attrs.frozen
class Behavior:
    """A script with a name for reports."""

    name: str
    steps: tuple[Step, ...]


UNREQUESTED_RESPONSE: Final = Response().encode(UNREQUESTED_ID)
REQUEST_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

# Scripts of sockets before the handshake, and of connections.
READY: Final = Behavior("ready", ())
RESET_ON_ACCEPT: Final = Behavior("reset on accept", (Reset(),))
SLOW_ACCEPT: Final = Behavior("slow accept", (Pause(0.01),))
CLOSED_WHEN_OPEN: Final = Behavior("closed when open", (Close(),))
CLOSED_UNREAD: Final = Behavior("closed with an unread request", (StopReading(), Pause(0.01), Close()))
RESET_UNREAD: Final = Behavior("reset with an unread request", (StopReading(), Pause(0.01), Reset()))
TIMED_OUT_WHEN_OPEN: Final = Behavior("408 when open", (Pause(0.003), SendUnrequested(REQUEST_TIMEOUT), Close()))

# Scripts of requests without a whole response.
RESET_AT_HEAD: Final = Behavior("reset at the head", (Reset(),))
CLOSE_AT_HEAD: Final = Behavior("close at the head", (StopReading(), Close()))
RESET_AFTER_REQUEST: Final = Behavior("reset after the request", (ReadRequest(), Reset()))
CLOSE_AFTER_REQUEST: Final = Behavior("close after the request", (ReadRequest(), Close()))


UNREQUESTED_BYTES: Final = "unrequested bytes"
"""The name of bytes sent to an idle connection, in the history of a connection."""
DOUBLED: Final = "doubled"
"""The name of a behavior that sends a second response."""


def respond(send: Send) -> Behavior:
    """Read the request and send the response, which ends with the connection if its framing or field does so."""
    ends = send.response.framing is Framing.CLOSE or send.response.announces_close
    return Behavior(send.response.framing.value, (ReadRequest(), send, *((Close(),) if ends else ())))


def respond_late(send: Send, seconds: float) -> Behavior:
    """Send the response after the client's timeout."""
    return Behavior("late", (ReadRequest(), Pause(seconds), *respond(send).steps))


def respond_early(send: Send) -> Behavior:
    """Send the response as soon as the head is there, then close without reading the body."""
    return Behavior("early", (send, StopReading(), Pause(0.001), Close()))


def respond_twice(send: Send) -> Behavior:
    """Send a second response in one piece with the end of the first."""
    return Behavior(DOUBLED, (ReadRequest(), attrs.evolve(send, extra=UNREQUESTED_RESPONSE)))


def truncate(send: Send, share: float, end: Close | Cut | Reset) -> Behavior:
    """Send a part of the response and end the connection."""
    name = f"{type(end).__name__.lower()} within a response, framing {send.response.framing.value}"
    return Behavior(name, (ReadRequest(), attrs.evolve(send, share=share), end))


def respond_then(name: str, send: Send, *steps: Step) -> Behavior:
    """Send the response, and do further things while the connection is idle."""
    return Behavior(name, (*respond(send).steps, *steps))


# Records: what the server has received.


@attrs.define
class RequestRecord:
    """What the server has received of the requests with one id, and what it has sent."""

    method: str
    first_seen: float
    """The loop's time at which the server had read the id."""
    heads: int = 0
    """How often the id has been received."""
    completed: list[float] = attrs.field(factory=list)
    """The loop's times at which a whole request had been read."""
    behaviors: list[str] = attrs.field(factory=list)
    before: list[tuple[str, ...]] = attrs.field(factory=list)
    """What its connection had been through before, for each time that the id has been received."""
    sent: list[tuple[int, bytes]] = attrs.field(factory=list)
    """Status and whole body of each response, even if it was truncated."""


@attrs.define
class ServerLog:
    """What a server has seen so far."""

    requests: dict[int, RequestRecord] = attrs.field(factory=dict)
    connections: int = 0
    open_connections: int = 0
    unidentified: int = 0
    """The number of connections that ended in the middle of a request's first line, so that its id is unknown."""


class BehaviorPicker(Protocol):
    """Chooses the scripts of a server."""

    def on_accept(self) -> Behavior:
        """Return what is done before the TLS handshake: it may only pause and reset."""

    def on_connection(self) -> Behavior:
        """Return what is done before the first request."""

    def on_request(self, method: str) -> Behavior:
        """Return what is done with a request."""


@attrs.frozen
class SameBehavior:
    """A picker that treats all connections and requests alike."""

    request: Behavior
    connection: Behavior = READY
    accept: Behavior = READY

    def on_accept(self) -> Behavior:
        """Return the script for a connection before its handshake."""
        return self.accept

    def on_connection(self) -> Behavior:
        """Return the script for an open connection."""
        return self.connection

    def on_request(self, method: str) -> Behavior:
        """Return the script for a request."""
        del method
        return self.request


class RandomBehavior:
    """A picker that misbehaves at random. Equal seeds give equal sequences of scripts.

    `late` is the delay in seconds that is longer than the client's timeout.
    """

    def __init__(self, seed: int, *, late: float, tls: bool) -> None:
        self._random = Random(f"server {seed}")  # noqa: S311 - chance, not secrecy
        self._late = late
        self._tls = tls
        # Weights in per cent; the rest are responses as they should be.
        self._makers: tuple[tuple[float, Callable[[Send], Behavior]], ...] = (
            (1.5, lambda _: RESET_AT_HEAD),
            (1.5, lambda _: CLOSE_AT_HEAD),
            (2, lambda _: RESET_AFTER_REQUEST),
            (2, lambda _: CLOSE_AFTER_REQUEST),
            (1, lambda send: respond_late(send, self._late)),
            (2, respond_early),
            (3, respond_twice),
            (3, self._truncate),
            (5, lambda send: self._idle("idle close", send, Close())),
            (3, lambda send: self._idle("idle reset", send, Reset())),
            (3, lambda send: self._idle("idle bytes", send, SendUnrequested(UNREQUESTED_RESPONSE))),
            (2, lambda send: self._idle("idle 408", send, SendUnrequested(REQUEST_TIMEOUT), Close())),
        )

    def on_accept(self) -> Behavior:
        """Return the script for a connection before its handshake."""
        return self._random.choices((READY, RESET_ON_ACCEPT, SLOW_ACCEPT), (95, 2, 3))[0]

    def on_connection(self) -> Behavior:
        """Return the script for an open connection."""
        scripts = (READY, CLOSED_WHEN_OPEN, CLOSED_UNREAD, RESET_UNREAD, TIMED_OUT_WHEN_OPEN)
        return self._random.choices(scripts, (93, 2, 2, 2, 1))[0]

    def on_request(self, method: str) -> Behavior:
        """Return the script for a request."""
        del method
        send, lot = self._send(), self._random.uniform(0, 100)
        for weight, make in self._makers:
            if lot < weight:
                return make(send)
            lot -= weight
        return respond(self._perhaps_closing(send))

    def _send(self) -> Send:
        """Return a response whose end the client can see without the end of the connection."""
        draw = self._random
        response = Response(
            framing=draw.choice((Framing.LENGTH, Framing.LENGTH, Framing.CHUNKED)),
            padding=draw.choice((0, 10, 3_000)),
            chunk=draw.randint(1, 500),
            interim=draw.choices((0, 1, 2), (90, 8, 2))[0],
        )
        splits = draw.choice(((), (), tuple(range(1, 40)), tuple(draw.sample(range(4_000), 5))))
        return Send(response, splits, pause=draw.choices((0.0, 0.002), (95, 5))[0])

    def _perhaps_closing(self, send: Send) -> Send:
        framing = self._random.choices((send.response.framing, Framing.CLOSE), (93, 7))[0]
        announces_close = self._random.random() < 0.05
        return attrs.evolve(
            send, response=attrs.evolve(send.response, framing=framing, announces_close=announces_close)
        )

    def _truncate(self, send: Send) -> Behavior:
        end = self._random.choice((Close(), Cut(), Reset()))
        if self._random.random() < 0.2:
            # Without a length, only a reset shows that bytes are missing, and over TLS a missing close_notify.
            send = attrs.evolve(send, response=attrs.evolve(send.response, framing=Framing.CLOSE))
            end = self._random.choice((Cut(), Reset())) if self._tls else Reset()
        return truncate(send, self._random.random(), end)

    def _idle(self, name: str, send: Send, *steps: Step) -> Behavior:
        # Short enough to coincide with the client's next request on this connection.
        pause = Pause(self._random.choice((0.0, 0.0, 0.0005, 0.002, 0.01)))
        return respond_then(name, send, pause, *steps)


# The server.


class _ConnectionEndedError(Exception):
    """The script has nothing left to act on."""


class _Connection(asyncio.Protocol):
    """One connection: it records each request as its bytes arrive, and runs the scripts in a task."""

    def __init__(self, log: ServerLog, picker: BehaviorPicker, open_ones: set[_Connection]) -> None:
        self._log = log
        self._picker = picker
        self._open_ones = open_ones
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._missing: int | None = None
        """The bytes that are missing of the body; None before the end of the head."""
        self._record: RequestRecord | None = None
        """The request whose bytes arrive."""
        self._heads: deque[int] = deque()
        self._history: list[str] = []
        self._incomplete = 0
        self._changed = asyncio.Event()
        self._lost = False
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        self._open_ones.add(self)
        self.task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._parse():
            pass
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True
        self._open_ones.discard(self)
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
        record.before.append(tuple(self._history))
        self._record = record
        self._heads.append(request_id)
        self._incomplete += 1

    async def _serve(self) -> None:
        with contextlib.suppress(_ConnectionEndedError):
            behavior = self._picker.on_connection()
            self._history.append(behavior.name)
            for step in behavior.steps:
                await self._perform(step, UNREQUESTED_ID)
            while True:
                await self._wait_until(lambda: bool(self._heads))
                request_id = self._heads.popleft()
                record = self._log.requests[request_id]
                behavior = self._picker.on_request(record.method)
                record.behaviors.append(behavior.name)
                self._history.append(behavior.name)
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
                    self._history.append(UNREQUESTED_BYTES)
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
                self._loop.call_later(_TLS_CLOSE_TIMEOUT, self._transport.abort)
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
        timeouts = {} if self._tls is None else _TIMEOUTS
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, **timeouts
            )
        except (OSError, asyncio.CancelledError):  # the client broke off the handshake, or the server ends
            connection.close()
            self.log.open_connections -= 1

    async def _abort(self) -> None:
        for task in self._accepted:
            task.cancel()
        await asyncio.gather(*self._accepted, return_exceptions=True)
        tasks = [connection.task for connection in self._connections]
        for connection in tuple(self._connections):
            connection.abort()
            connection.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


_TIMEOUTS: Final = {"ssl_handshake_timeout": _HANDSHAKE_TIMEOUT, "ssl_shutdown_timeout": _TLS_CLOSE_TIMEOUT}


@contextlib.asynccontextmanager
async def hostile_server(picker: BehaviorPicker, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HostileServer]:
    """Run a server whose scripts the picker chooses."""
    server = HostileServer(picker, tls=tls)
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
