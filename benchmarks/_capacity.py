"""Measure how many requests a fake server answers, to show that the server does not limit the measurements."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import attrs

from benchmarks._server_process import ServerProcess

_CONNECTIONS: Final = 16


@attrs.frozen
class Capacity:
    """Requests that the server answers in a second, and its CPU seconds for one."""

    per_second: float
    cpu: float


def capacity(server: ServerProcess, path: str, seconds: float) -> Capacity:
    """Send GETs for the path back to back over 16 connections, end the server, and return its capacity."""
    began = time.monotonic()
    asyncio.run(_send_back_to_back(server.port, path, seconds))
    took = time.monotonic() - began
    seen = server.end()
    return Capacity(seen["requests"] / took, seen["cpu"] / seen["requests"])


async def _send_back_to_back(port: int, path: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    connections = [await loop.create_connection(lambda: _Client(path), "127.0.0.1", port) for _ in range(_CONNECTIONS)]
    await asyncio.sleep(seconds)
    for transport, _ in connections:
        transport.close()


class _Client(asyncio.Protocol):
    """A connection that sends the next request as soon as a response has arrived."""

    def __init__(self, path: str) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._transport.write(self._request)
