"""A server of files in a process of its own: `GET /N` returns N bytes, by HTTP/1.1 with keep-alive, plain or over TLS.

Its writes wait for the client, so that it holds no file in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Final

from benchmarks._server_process import ServerProcess, serve

_CHUNK: Final = bytes(range(256)) * 1024


class _Files:
    """All files, and the number of requests for them."""

    def __init__(self) -> None:
        self._requests = 0

    def make_protocol(self) -> asyncio.StreamReaderProtocol:
        """Return the protocol of one connection."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._serve_connection)

    def counts(self) -> dict[str, float]:
        """Return the counts as values that JSON can hold."""
        return {"requests": self._requests, "cpu": time.process_time()}

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._send(int(head.split(maxsplit=2)[1][1:]), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _send(self, size: int, writer: asyncio.StreamWriter) -> None:
        self._requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % size)
        for start in range(0, size, len(_CHUNK)):
            writer.write(_CHUNK[: size - start])
            await writer.drain()


async def _serve(certificate: str | None) -> None:
    """Serve until standard input ends."""
    files = _Files()
    await serve(files.make_protocol, lambda _: None, files.counts, certificate)
    print(json.dumps(files.counts()), flush=True)


class FileServer(ServerProcess):
    """A file server in its own process: `with FileServer() as server`."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        super().__init__("benchmarks._file_server", certificate=certificate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    asyncio.run(_serve(parser.parse_args().certificate))
