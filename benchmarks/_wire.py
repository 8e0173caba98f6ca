"""HTTP/1.1 as the fake servers speak it: keep-alive connections straight on asyncio's transport."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol

import attrs

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"(GET|POST|PUT) (\S+) HTTP/1\.1\r\n")


class Request(NamedTuple):
    """One request; `head` is everything before the body, as it came."""

    method: bytes
    target: bytes
    head: bytes
    body: bytes


@attrs.define
class Traffic:
    """What was seen of connections: in all, open now, and most at once."""

    connections: int = 0
    open: int = 0
    peak: int = 0

    def opened(self) -> None:
        """Count one more."""
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)

    def closed(self) -> None:
        """Count one less."""
        self.open -= 1


class Answerer(Protocol):
    """Who answers requests: with a whole response at once, or with None and later through the connection."""

    def answer(self, request: Request, connection: Connection) -> bytes | None: ...


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, answerer: Answerer, traffic: Traffic) -> None:
        self._answerer = answerer
        self._traffic = traffic
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._traffic.opened()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._transport = None
        self._traffic.closed()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._one():
            pass

    def send(self, response: bytes) -> None:
        """Send a response, unless the other side has left."""
        if self._transport is not None:
            self._transport.write(response)

    def drop(self) -> None:
        """Close without an answer."""
        if self._transport is not None:
            self._transport.close()

    def _one(self) -> bool:
        """Answer the first whole request in the buffer, if there is one."""
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
        response = self._answerer.answer(request, self)
        if response is not None:
            self.send(response)
        return True


def response(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return a whole response with a body in JSON; each of `headers` is a line without its end."""
    further = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        further,
        len(body),
        body,
    )


def length(head: bytes) -> int:
    """Return the length of the body that a head announces."""
    match = _LENGTH.search(head)
    return int(match[1]) if match else 0
