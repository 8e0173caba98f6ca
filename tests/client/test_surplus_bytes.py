"""Bytes that no request asked for never become the response to the next paid POST."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from aiowery.errors import SubmissionInDoubt
from aiowery.ledger import MemoryLedger
from tests.support import http_response, serving
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio

SURPLUS: dict[str, Callable[[RawProvider], bytes]] = {
    "a stale 429": lambda raw: http_response(raw.busy, "429 Too Many Requests"),
    "a stale acceptance": lambda raw: raw.accepting("stale"),
    "the end of a body": lambda _: b"}}}",
    "a beginning": lambda _: b"HTTP/1.1 200 OK\r\nContent-Le",
    "line ends": lambda _: b"\r\n\r\n",
}


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


class SlowLedger(MemoryLedger):
    """A ledger that takes a moment to store that a request is being sent: then bytes of the server have arrived."""

    async def mark_sending(self, *arguments: Any, **more: Any) -> None:
        """Store it a little later."""
        await asyncio.sleep(0.05)
        await super().mark_sending(*arguments, **more)


@attrs.define
class SurplusServer:
    """A server that sends surplus bytes after each response, `pause` seconds later; 0 sends them in the same piece.

    Each POST is accepted with the next task id. `tasks` holds the ids.
    """

    raw: RawProvider
    surplus: bytes
    pause: float
    tasks: list[str] = attrs.field(factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            if head.startswith(b"POST"):
                self.tasks.append(f"t{len(self.tasks)}")
                response = self.raw.accepting(self.tasks[-1])
            else:
                task_id = head.split(b" ", 2)[1].decode().removesuffix("/status").rpartition("/")[2]
                response = http_response(self.raw.done(task_id))
            if self.pause:
                writer.write(response)
                await asyncio.sleep(self.pause)
                writer.write(self.surplus)
            else:
                writer.write(response + self.surplus)


@contextlib.asynccontextmanager
async def surplus_server(raw: RawProvider, surplus: bytes, pause: float) -> AsyncIterator[SurplusServer]:
    """Run a server that sends surplus bytes."""
    server = SurplusServer(raw, surplus, pause)
    async with serving(server.serve) as server.url:
        yield server


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["in one piece", "while the connection rests"])
@pytest.mark.parametrize("kind", SURPLUS)
async def test_submit_after_surplus_bytes_gets_its_own_response(raw: RawProvider, kind: str, pause: float) -> None:
    """Each request gets its own task and result, is posted once, and none is in doubt."""
    async with surplus_server(raw, SURPLUS[kind](raw), pause) as server, raw.client(server.url) as client:
        for number in range(3):
            result = await client.run(raw.request)
            assert result.task_ids == (f"t{number}",)
            assert result.url == f"https://files.example.com/t{number}.png"
            await asyncio.sleep(2 * pause)
        statistics = client.statistics()
    assert len(server.tasks) == 3
    assert (statistics.accepted, statistics.in_doubt, statistics.queue.refusals) == (3, 0, 0)


async def test_submit_after_length_too_small_gets_its_own_response(raw: RawProvider) -> None:
    """A Content-Length that is three bytes too small cuts its own body; the rest belongs to no other response."""
    cut = raw.accepting("t0").replace(b"content-length: ", b"content-length: 1\r\nx: ", 1)
    posts = [cut, raw.accepting("t1")]
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            received.append(head)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            writer.write(posts.pop(0) if head.startswith(b"POST") else http_response(raw.done("t1")))

    async with serving(serve) as url, raw.client(url) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.run(raw.request)
        assert (await client.run(raw.request)).task_ids == ("t1",)
    assert sum(head.startswith(b"POST") for head in received) == 2


@pytest.mark.parametrize("kind", ["a stale 429", "a stale acceptance", "a beginning"])
async def test_submit_bytes_before_request_are_dropped(raw: RawProvider, kind: str) -> None:
    """A server that sends a response when a connection opens has answered no request: another connection is used."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.write(SURPLUS[kind](raw))
            assert await reader.read() == b""
            return
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.write(raw.accepting("t1", connection="close"))

    ledger = SlowLedger()
    await ledger.open()
    async with serving(serve) as url, raw.client(url, ledger=ledger) as client:
        job = await client.submit(raw.request)
        assert job.task_ids == ("t1",)
    assert connections == 2


async def test_submit_response_before_request_has_left_is_in_doubt(raw: RawProvider) -> None:
    """A response whose head arrives while a part of the request has not left cannot be believed."""
    big = attrs.evolve(raw.request, extra={"filler": "x" * 20_000_000})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: Any = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        writer.write(http_response(raw.busy, "429 Too Many Requests"))
        await asyncio.sleep(0.1)
        writer.transport.abort()

    async with serving(serve) as url, raw.client(url) as client:
        with pytest.raises(SubmissionInDoubt, match="the server responded before it had the request") as caught:
            await client.submit(big)
    assert "429 Too Many Requests" in caught.value.excerpt
