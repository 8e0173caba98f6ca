"""Scripted servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Run a script for each connection to a server on loopback, and yield the server's URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)


@attrs.define
class Peer:
    """A server on loopback that reads whole requests and sends the next response to each."""

    url: str = ""
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0

    @property
    def posts(self) -> int:
        """The number of POSTs among the requests."""
        return sum(request.startswith(b"POST") for request in self.requests)


@contextlib.asynccontextmanager
async def peer(*responses: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Run a server that sends the n-th response to the n-th request.

    The last response is repeated. None closes the connection without a response.
    """
    waiting = list(responses)
    async with responding(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0], tls=tls) as self:
        yield self


@contextlib.asynccontextmanager
async def responding(
    respond: Callable[[bytes], bytes | None], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Run a server that sends the bytes that `respond` returns for each request; None closes the connection."""
    self = Peer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            request = await _whole_request(reader)
            self.requests.append(request)
            response = respond(request)
            if response is None:
                return
            writer.write(response)
            await writer.drain()
            if b"connection: close" in response.lower():
                return

    async with serving(serve, tls=tls) as self.url:
        yield self


async def _whole_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(_content_lengths(head), 0)
    return head + await reader.readexactly(length)


def _content_lengths(head: bytes) -> Iterator[int]:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            yield int(line.partition(b":")[2])


def http_response(body: bytes | str | dict[str, Any], status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole HTTP/1.1 response."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content
