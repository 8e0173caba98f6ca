"""Serve HTTP/1.1 for the fake servers: keep-alive connections directly on asyncio's transport."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol

import attrs

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"(GET|POST|PUT) (\S+) HTTP/1\.1\r\n")


class Request(NamedTuple):
    """One request; `head` is everything before the body, as received."""

    method: bytes
    target: bytes
    head: bytes
    body: bytes


@attrs.define
class Traffic:
    """Numbers of connections: in all, open now, and the most at the same time."""

    connections: int = 0
    open: int = 0
    peak: int = 0

    def count_opened(self) -> None:
        """Count a connection that was opened."""
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)

    def count_closed(self) -> None:
        """Count a connection that was closed."""
        self.open -= 1


class RequestHandler(Protocol):
    """An object that handles requests.

    It returns a whole response immediately, or None if it sends the response later through the connection.
    """

    def handle(self, request: Request, connection: Connection) -> bytes | None: ...


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, handler: RequestHandler, traffic: Traffic) -> None:
        self._handler = handler
        self._traffic = traffic
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._traffic.count_opened()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._transport = None
        self._traffic.count_closed()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._handle_next():
            pass

    def send(self, response: bytes) -> None:
        """Send a response, unless the connection is closed."""
        if self._transport is not None:
            self._transport.write(response)

    def drop(self) -> None:
        """Close the connection without a response."""
        if self._transport is not None:
            self._transport.close()

    def _handle_next(self) -> bool:
        """Handle the first whole request in the buffer; return False if there is none."""
        end = self._buffer.find(b"\r\n\r\n")
        match = _TARGET.match(self._buffer)
        if end < 0 or match is None:
            return False
        length = None if match[1] == b"GET" else _LENGTH.search(self._buffer, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return False
        request = Request(match[1], match[2], self._buffer[:end], self._buffer[end + 4 : whole])
        self._buffer = self._buffer[whole:]
        response = self._handler.handle(request, self)
        if response is not None:
            self.send(response)
        return True


def response(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return a whole response with a JSON body; each of `headers` is a header line without its line break."""
    further = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        further,
        len(body),
        body,
    )


def body_length(head: bytes) -> int:
    """Return the length of the body that a head announces, in bytes."""
    match = _LENGTH.search(head)
    return int(match[1]) if match else 0
