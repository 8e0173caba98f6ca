"""`aiowery webhook` under requests of strangers: connections, heads, bodies, and what is reported."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiowery.cli.ledger.webhook_connections import ConnectionLimits
from aiowery.cli.ledger.webhook_server import _limited_reports, server_config
from aiowery.webhook import Receiver
from aiowery.webhook._reports import OnceAMinute
from tests.webhook.webhook_provider import JSON, TOKEN, Known, delivery, serving

pytestmark = pytest.mark.anyio

STRANGE = "f" * 32
PATIENT: dict[str, Any] = {"connections": 10, "head_seconds": 60.0, "body_seconds": 60.0}


@asynccontextmanager
async def receiving(**limits: Any) -> AsyncIterator[tuple[str, Known]]:
    """Serve a receiver with these limits; yield its URL and the handler that records deliveries."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    async with serving(server_config(receiver, ConnectionLimits(**{**PATIENT, **limits}))) as url:
        yield url, known


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


def head(token: str, length: int) -> bytes:
    """Return the head of a delivery whose body has this length."""
    lines = (f"POST /{token} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Return what arrives until the connection is closed or reset."""
    received = b""
    async with asyncio.timeout(10):
        while True:
            try:
                chunk = await reader.read(1000)
            except ConnectionError:
                return received
            if not chunk:
                return received
            received += chunk


async def deliver(url: str) -> int:
    """Send a true delivery over a connection of its own, and return the status."""
    async with httpx.AsyncClient() as http:
        return (await http.post(f"{url}/{TOKEN}", content=delivery("task_1"), headers=JSON)).status_code


@pytest.mark.parametrize("beginning", [b"", b"POST", b"POST / HTTP/1.1\r\nhost: x\r\nx: "])
async def test_server_head_that_does_not_end_is_closed(beginning: bytes) -> None:
    """A connection without a request, and one whose head trickles, are closed when the time for the head is over."""
    async with receiving(head_seconds=0.2) as (url, _):
        reader, writer = await connected(url)
        writer.write(beginning)

        async def trickle() -> None:
            while beginning:
                await asyncio.sleep(0.02)
                writer.write(b"x")

        trickling = asyncio.create_task(trickle())
        assert await read_to_end(reader) == b""
        trickling.cancel()
        writer.close()
        assert await deliver(url) == 200


async def test_server_head_beyond_its_limit_is_refused() -> None:
    """A head of more than 16 kB is refused, and its connection closed."""
    async with receiving() as (url, _):
        reader, writer = await connected(url)
        writer.write(b"POST / HTTP/1.1\r\nx: " + b"a" * 20_000)
        assert (await read_to_end(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()


@pytest.mark.parametrize("token", [STRANGE, TOKEN])
async def test_server_body_that_does_not_arrive_is_closed(token: str) -> None:
    """The rest of a body is not waited for without end, after a 404 as little as at a known URL."""
    async with receiving(body_seconds=0.2) as (url, _):
        reader, writer = await connected(url)
        writer.write(head(token, 1000) + b"x")
        received = await read_to_end(reader)
        assert received.startswith(b"HTTP/1.1 404" if token == STRANGE else b"")
        writer.close()


async def test_server_kept_connection_may_rest_between_requests() -> None:
    """The time for a head begins anew with each request: deliveries over one connection are all served."""
    async with receiving(head_seconds=0.3) as (url, known), httpx.AsyncClient(base_url=url) as http:
        for _ in range(4):
            response = await http.post(f"/{TOKEN}", content=delivery("task_1"), headers=JSON)
            assert response.status_code == 200
            await asyncio.sleep(0.15)
    assert len(known.delivered) == 4


async def test_server_full_of_idle_connections_serves_deliveries(caplog: pytest.LogCaptureFixture) -> None:
    """The connection that has waited longest is closed for a new one. That is reported once."""
    async with receiving(connections=5) as (url, known):
        strangers = [await connected(url) for _ in range(20)]
        for _, writer in strangers[10:15]:
            writer.write(b"POST /")
        for _ in range(5):
            assert await deliver(url) == 200
        assert await read_to_end(strangers[0][0]) == b""
        for _, writer in strangers:
            writer.close()
    assert len(known.delivered) == 5
    assert caplog.text.count("all 5 connections are open") == 1


async def test_server_full_of_requests_under_way_closes_new_connections() -> None:
    """A request that is being served is not cut off for a stranger's connection."""
    async with receiving(connections=1) as (url, known):
        reader, writer = await connected(url)
        body = delivery("task_1")
        writer.write(head(TOKEN, len(body)) + body[:10])
        await asyncio.sleep(0.05)
        stranger, other = await connected(url)
        assert await read_to_end(stranger) == b""
        writer.write(body[10:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        other.close()
        writer.close()
    assert known.delivered == ["task_1"]


@pytest.mark.parametrize(
    ("files", "connections"), [(1024, 341), (96, 32), (2, 1), (1_000_000, 1000), (resource.RLIM_INFINITY, 1000)]
)
def test_connection_limits_fit_the_limit_of_open_files(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the files that the process may open, at most 1,000, and a backlog that fits beside them."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    limits = ConnectionLimits()
    assert limits.connections == connections
    assert 4 <= limits.backlog <= 100


def test_once_a_minute_allows_one_message_a_minute() -> None:
    """The first message is due, the next one a minute later, however many were asked for in between."""
    now = 100.0
    reports = OnceAMinute(lambda: now)
    assert [reports.is_due() for _ in range(5)] == [True, False, False, False, False]
    now = 159.9
    assert not reports.is_due()
    now = 160.0
    assert reports.is_due()
    assert not reports.is_due()


async def test_server_reports_of_strangers_requests_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred requests that are no HTTP cause one message of the server's logger, and none is limited afterwards."""
    with _limited_reports():
        async with receiving() as (url, _):
            for _ in range(100):
                reader, writer = await connected(url)
                writer.write(b"\0\0\r\n\r\n")
                await read_to_end(reader)
                writer.close()
    assert [record.name for record in caplog.records].count("uvicorn.error") == 1
    for _ in range(3):
        logging.getLogger("asyncio").warning("again")
    assert [record.name for record in caplog.records].count("asyncio") == 3


@pytest.mark.slow("a process with few open files, and as many connections as it can be sent")
def test_webhook_with_more_connections_than_files_stays_silent_and_serves(tmp_path: Path) -> None:
    """Beyond the limit of open files the receiver answers, and writes a few lines at most."""
    command = (sys.executable, "-m", "aiowery", "webhook", "--port", "0", "--ledger", "jobs.db")
    limited = ("sh", "-c", 'ulimit -n 96; exec "$@"', "sh", *command)
    with subprocess.Popen(limited, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            host, _, port = receiver.stdout.readline().split()[2].removeprefix("http://").partition(":")
            deadline = time.monotonic() + 10
            strangers: list[socket.socket] = []
            while len(strangers) < 150 and time.monotonic() < deadline:
                try:
                    stranger = socket.create_connection((host, int(port)), timeout=0.1)
                    stranger.sendall(b"POST /")
                except OSError:
                    continue
                strangers.append(stranger)
            response = httpx.post(f"http://{host}:{port}/{STRANGE}", content=b"{}", headers=JSON, timeout=10)
            for stranger in strangers:
                stranger.close()
        finally:
            receiver.terminate()
        _, errors = receiver.communicate(timeout=10)
    assert (response.status_code, len(strangers)) == (404, 150)
    assert len(errors.splitlines()) <= 4, errors
