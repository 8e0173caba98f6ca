"""Serving a receiver: in the loop that runs, as a web application does, or in a process of its own."""

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


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[str]:
    """Serve the receiver with uvicorn on loopback; yield its url."""
    # With the protocol named: only then does asyncio switch Nagle's algorithm off, which would delay answers by 40 ms.
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
def receiving(ledger: Path) -> Iterator[str]:
    """Receive, in another process, for all who use the ledger file; yield the url."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_receive, args=(ledger, theirs))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join(5)
        ours.close()


def _receive(ledger: Path, parent: Connection) -> None:
    asyncio.run(_receive_until_terminated(ledger, parent))


async def _receive_until_terminated(ledger: Path, parent: Connection) -> None:
    async with serving(Receiver(ledger=ledger)) as url:
        parent.send(url)
        await asyncio.Event().wait()
