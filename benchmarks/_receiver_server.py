"""Serve a webhook receiver: in the running event loop, as a web application does, or in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn

from aiowery.webhook import Receiver
from aiowery.weryai import decode_delivery


@asynccontextmanager
async def serve_receiver(receiver: Receiver) -> AsyncIterator[str]:
    """Serve the receiver with uvicorn on loopback; yield its URL."""
    # asyncio disables Nagle's algorithm only if the protocol is named; it would delay responses by 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(receiver, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@contextmanager
def receiver_process(ledger: Path) -> Iterator[str]:
    """Receive deliveries in another process for all clients that use the ledger file; yield the URL."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_receive, args=(ledger, writer))
    process.start()
    writer.close()
    try:
        yield reader.recv()
    finally:
        process.terminate()
        process.join(5)
        reader.close()


def _receive(ledger: Path, parent: Connection) -> None:
    asyncio.run(_receive_until_terminated(ledger, parent))


async def _receive_until_terminated(ledger: Path, parent: Connection) -> None:
    async with serve_receiver(Receiver(ledger=ledger, decode=decode_delivery)) as url:
        parent.send(url)
        await asyncio.Event().wait()
