"""How much a fake server can answer, so that it is known not to be what is measured."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import attrs

from benchmarks._held import ServerProcess

_CONNECTIONS: Final = 16


@attrs.frozen
class Capacity:
    """Requests that the server answers in a second, and its CPU seconds for one."""

    per_second: float
    cpu: float


def capacity(server: ServerProcess, path: str, seconds: float) -> Capacity:
    """Ask for the path back to back over 16 connections, and end the server."""
    began = time.monotonic()
    asyncio.run(_ask_back_to_back(server.port, path, seconds))
    took = time.monotonic() - began
    seen = server.ended()
    return Capacity(seen["requests"] / took, seen["cpu"] / seen["requests"])


async def _ask_back_to_back(port: int, path: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    links = [await loop.create_connection(lambda: _Asker(path), "127.0.0.1", port) for _ in range(_CONNECTIONS)]
    await asyncio.sleep(seconds)
    for transport, _ in links:
        transport.close()


class _Asker(asyncio.Protocol):
    """Asks again as soon as it is answered."""

    def __init__(self, path: str) -> None:
        self._question = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._transport.write(self._question)
