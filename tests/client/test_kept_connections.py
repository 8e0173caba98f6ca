"""A paid POST takes no connection that the server may be about to close, and status checks pass every cache."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from tests.support import http_response, peer, serving
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.mark.parametrize(
    ("keep_alive", "rest"), [("timeout=1", 0.0), ("timeout=2", 1.1), ("max=0", 0.0), ("timeout=60, max=0", 0.0)]
)
async def test_submit_after_granted_time_takes_new_connection(raw: RawProvider, keep_alive: str, rest: float) -> None:
    """The server grants its connections a time or a number of requests, and resets them afterwards.

    Each request goes out once, and none is in doubt.
    """
    posts: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _read_request(reader)
        if head.startswith(b"POST"):
            posts.append(head)
        task_id = f"t{len(posts)}"
        response = raw.accepting(task_id) if head.startswith(b"POST") else http_response(raw.done(task_id))
        writer.write(response.replace(b"\r\n", f"\r\nkeep-alive: {keep_alive}\r\n".encode(), 1))
        await reader.read(1)  # the next request, which is not processed
        connection: Any = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with serving(serve) as url, raw.client(url) as client:
        for number in (1, 2):
            assert (await client.run(raw.request)).task_ids == (f"t{number}",)
            await asyncio.sleep(rest)
        assert client.statistics().in_doubt == 0
    assert len(posts) == 2


@pytest.mark.parametrize("http", [None, "httpx"], ids=["pooled", "httpx"])
async def test_status_check_passes_every_cache(raw: RawProvider, http: Any) -> None:
    """A proxy must not answer a status check with a status that it has stored."""
    responses = (raw.accepting("t1"), http_response(raw.running("t1")), http_response(raw.done("t1")))
    async with peer(*responses) as server, raw.client(server.url, http=http) as client:
        await client.run(raw.request)
        await client.status("t1")
    checks = [request.lower() for request in server.requests if request.startswith(b"GET")]
    assert len(checks) == 3
    assert all(b"\r\ncache-control: no-cache\r\n" in check for check in checks)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return head
