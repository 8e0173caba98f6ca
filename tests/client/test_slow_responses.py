"""A response that never ends is ended by a limit over its whole, also if bytes keep arriving."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from aiowery import Asset, PollFailed, RetryPolicy
from aiowery.errors import DownloadError, NoAnswer, SubmissionInDoubt
from tests.support import http_response, serving
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio

TRICKLES = {
    "header": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}
PAUSE = 0.02
TIMEOUT = 0.1
TOTAL_BEYOND = 0.1


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.fixture(params=[None, "httpx"], ids=["pooled", "httpx"])
def http(request: pytest.FixtureRequest) -> Any:
    """Return each choice of connections in turn."""
    return request.param


@attrs.define
class TricklingServer:
    """A server that answers each request with the next response, and one of the given trickle without end."""

    trickle: tuple[bytes, bytes]
    responses: list[bytes | None]
    requests: list[bytes] = attrs.field(factory=list)
    trickling: asyncio.Event = attrs.field(factory=asyncio.Event)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; None among the responses stands for the trickle."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
            if response is None:
                await self._trickle(writer)
            else:
                writer.write(response)
            body = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(body or 0))

    async def _trickle(self, writer: asyncio.StreamWriter) -> None:
        beginning, piece = self.trickle
        writer.write(beginning)
        self.trickling.set()
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def trickling(name: str, *responses: bytes | None) -> AsyncIterator[TricklingServer]:
    """Run a server of which None among the responses trickles."""
    server = TricklingServer(TRICKLES[name], list(responses))
    async with serving(server.serve) as server.url:
        yield server


@pytest.fixture(autouse=True)
def short_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a whole response take a fifth of a second."""
    monkeypatch.setattr("aiowery._http.transport._TOTAL_BEYOND_IDLE", TOTAL_BEYOND)


@pytest.mark.parametrize("name", TRICKLES)
async def test_submit_trickling_response_is_in_doubt(raw: RawProvider, http: Any, name: str) -> None:
    """A paid POST whose response never ends is in doubt, is sent once, and does not keep the client open."""
    async with trickling(name, None) as server:
        async with asyncio.timeout(3), raw.client(server.url, http=http, http_timeout=TIMEOUT) as client:
            with pytest.raises(SubmissionInDoubt) as caught:
                await client.run(raw.request)
            assert client.statistics().queue.in_use == 0
    assert isinstance(caught.value.__cause__, NoAnswer)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", TRICKLES)
async def test_poll_trickling_response_is_a_failed_poll(raw: RawProvider, http: Any, name: str) -> None:
    """A status check whose response never ends is a failed one, and the job goes on."""
    failed: list[Any] = []

    def observe(event: Any) -> None:
        failed.extend([event.error] if isinstance(event, PollFailed) else [])

    async with trickling(name, raw.accepting("t1"), None, http_response(raw.done("t1"))) as server:
        settings = {"http": http, "http_timeout": TIMEOUT, "observer": observe}
        async with asyncio.timeout(4), raw.client(server.url, **settings) as client:
            assert (await client.run(raw.request)).task_ids == ("t1",)
    assert [type(error) for error in failed] == [NoAnswer]


@pytest.mark.parametrize("name", ["header", "interim responses"])
async def test_fetch_trickling_head_raises_download_error(raw: RawProvider, http: Any, name: str) -> None:
    """A download whose response never begins ends too; otherwise four of them would stop all downloads."""
    async with trickling(name, None) as server:
        # Longer than a busy machine may delay a byte: silence would be another error.
        settings = {"http": http, "http_timeout": 0.5, "retries": RetryPolicy(max_attempts=1)}
        async with asyncio.timeout(3), raw.client(server.url, **settings) as client:
            with pytest.raises(DownloadError, match=r"did not begin within|more than 16 came"):
                await client.fetch(Asset(f"{server.url}/1.png"))


async def test_aclose_with_trickling_poll_ends_immediately(
    raw: RawProvider, http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing does not wait for the end of a status check, whatever its limit is."""
    monkeypatch.setattr("aiowery._http.transport._TOTAL_BEYOND_IDLE", 600.0)
    async with trickling("header", raw.accepting("t1"), None) as server:
        async with asyncio.timeout(3):
            async with raw.client(server.url, http=http) as client:
                await client.submit(raw.request)
                await server.trickling.wait()


async def test_aclose_with_trickling_submission_ends_with_its_limit(raw: RawProvider, http: Any) -> None:
    """Closing waits for a paid POST, whose outcome counts, no longer than the POST itself may take."""
    async with trickling("interim responses", None) as server:
        async with asyncio.timeout(3):
            async with raw.client(server.url, http=http, http_timeout=TIMEOUT) as client:
                submitting = asyncio.ensure_future(client.submit(raw.request))
                await server.trickling.wait()
            with pytest.raises(SubmissionInDoubt):
                await submitting
    assert len(server.requests) == 1
