"""A transport that is open while its process is forked: the child's copy reaches nothing of the parent's."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.support import http_response, serving

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.slow("processes of their own"),
]
OK: Final = http_response("ok")

PARENT: Final = """
import asyncio, gc, os, ssl, sys, threading, warnings
import httpx
from aiowery.transport import PooledTransport

warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of any fork beside threads
url, authority, what, kind = sys.argv[1:]
loop = __import__(kind).new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
transport = PooledTransport(verify=ssl.create_default_context(cafile=authority))
client = httpx.AsyncClient(transport=transport)

def run(work):
    return asyncio.run_coroutine_threadsafe(work, loop).result(10)

async def get():
    return (await client.get(url)).text

assert run(get()) == "ok"
child = os.fork()
if child == 0:
    if what == "use":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert asyncio.run(get()) == "ok"
    if what == "close":
        asyncio.run(client.aclose())
    if what == "outlive":
        sys.stdin.read()
        os._exit(0)
    del client, transport, loop
    gc.collect()
    if kind == "uvloop":  # it crashes where an interpreter ends that was forked beside its loop
        os._exit(0)
    sys.exit(0)  # and the interpreter closes everything
if what == "outlive":
    run(client.aclose())
    print("closed", flush=True)
    sys.stdin.read()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if what != "outlive":
    assert run(get()) == "ok"
    run(client.aclose())
"""


class Server:
    """A server that counts its connections, and knows which of them have ended."""

    def __init__(self) -> None:
        self.connections = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to each request until the client ends the connection."""
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK)
        finally:
            self.ended.set()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Write the certificate of the servers' authority to a file."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return str(tmp_path / "authority.pem")


async def start(url: str, authority_file: str, what: str) -> asyncio.subprocess.Process:
    """Start a process that requests the URL in a loop of this kind, and forks another one that does this."""
    kind = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, url, authority_file, what, kind),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(("what", "connections"), [("leave", 1), ("close", 1), ("use", 2)])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_fork_child_leaves_the_parents_connections_alone(
    authority_file: str, server_tls: ssl.SSLContext, *, is_tls: bool, what: str, connections: int
) -> None:
    """The child ends no connection of its parent, also over TLS; if it sends, it opens one of its own."""
    server = Server()
    async with serving(server.serve, tls=server_tls if is_tls else None) as url:
        process = await start(url, authority_file, what)
        _, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    assert server.connections == connections


async def test_fork_child_keeps_no_connection_open_that_the_parent_closes(authority_file: str) -> None:
    """A connection ends for the server when the parent closes it, although the child lives on."""
    server = Server()
    async with serving(server.serve) as url:
        process = await start(url, authority_file, "outlive")
        assert process.stdout is not None
        assert process.stdin is not None
        assert await process.stdout.readline() == b"closed\n"
        async with asyncio.timeout(5):
            await server.ended.wait()
        process.stdin.close()
        await process.communicate()
    assert process.returncode == 0
