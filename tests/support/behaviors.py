"""Scripts of a hostile server: steps, behaviors that are made of them, and pickers that choose behaviors.

All of them but the random picker are frozen values.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, Protocol

import attrs

UNREQUESTED_ID: Final = 0
"""The id in responses that no request has caused. The ids of requests begin at 1."""


class Framing(enum.Enum):
    """The part of a response that shows where its body ends."""

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
    """A step that sends a response, split at `splits` (offsets in bytes).

    `pause` is the seconds between two pieces. `share` below 1 truncates the response to that share of its bytes.
    `extra` is sent in one piece with the last bytes.
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
    """A step that sends bytes which no request has caused, unless bytes of a request have arrived already.

    A client that checks its socket directly before it sends can always see them: on loopback, a byte that is written
    has arrived.
    """

    content: bytes


@attrs.frozen
class Pause:
    """A step that does nothing for so many seconds. Zero is one event-loop iteration."""

    seconds: float = 0.0


@attrs.frozen
class ReadRequest:
    """A step that waits until the whole request has arrived."""


@attrs.frozen
class StopReading:
    """A step after which no more bytes are read: the client's bytes stay in the kernel."""


@attrs.frozen
class Close:
    """A step that closes the connection in order, over TLS with a close_notify."""


@attrs.frozen
class Cut:
    """A step that ends the TCP stream without TLS's close_notify. On a plain connection this is a usual close."""


@attrs.frozen
class Reset:
    """A step that resets the connection."""


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
    """Send the response once the first line is there, then close without reading the rest."""
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


# Pickers.


class BehaviorPicker(Protocol):
    """Interface of an object that chooses the scripts of a server."""

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
            status=draw.choices((200, 429, 503), (90, 5, 5))[0],
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
