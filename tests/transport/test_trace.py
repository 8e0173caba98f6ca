"""The `trace` extension of httpx reports the phases of a request, and what it does ends no other request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import httpx
import pytest

from aiowery.transport import ConnectionUnusable, PooledTransport
from aiowery.transport import _pool as pool_module
from tests.support import http_response, peer, serving

pytestmark = pytest.mark.anyio

OK: Final = http_response("ok")
EVENTS: Final = (
    *("connection.acquire.started", "connection.acquire.complete"),
    *("http11.send_request_headers.started", "http11.send_request_headers.complete"),
    *("http11.receive_response_headers.started", "http11.receive_response_headers.complete"),
    *("http11.receive_response_body.started", "http11.receive_response_body.complete"),
    *("http11.response_closed.started", "http11.response_closed.complete"),
)
"""The events of a request without a fault."""


class Events:
    """A trace that keeps the names and values of its events, and acts at one of them."""

    def __init__(self, at: str = "", act: Callable[[], Awaitable[None]] | None = None) -> None:
        self.names: list[str] = []
        self.values: dict[str, Mapping[str, Any]] = {}
        self.at = at
        self.act = act

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep the event, and act at the chosen one."""
        self.names.append(event)
        self.values[event] = info
        if event == self.at and self.act is not None:
            await self.act()


async def _refuse() -> None:
    raise LookupError("no room for telemetry")


async def _upload() -> AsyncIterator[bytes]:
    yield b"hello"


async def _get(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    await client.get(f"{url}/ok", extensions={"trace": trace})


async def _post(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    await client.post(f"{url}/ok", content=_upload(), extensions={"trace": trace})


async def _leave(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    async with client.stream("GET", f"{url}/big", extensions={"trace": trace}) as response:
        await anext(response.aiter_raw())


async def _without_response(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{url}/none", extensions={"trace": trace})


async def _cut(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{url}/cut", extensions={"trace": trace})


async def _timed_out(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"{url}/silent", extensions={"trace": trace}, timeout=httpx.Timeout(5.0, read=0.05))


async def _cancelled(client: httpx.AsyncClient, url: str, trace: Events) -> None:
    waiting = asyncio.Event()

    async def report() -> None:
        waiting.set()

    trace.at, trace.act = "http11.receive_response_headers.started", report
    sending = asyncio.create_task(client.get(f"{url}/silent", extensions={"trace": trace}))
    await waiting.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split()[1]
    if b"chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    if path == b"/silent":
        await reader.read()
    elif path != b"/none":
        body = {b"/ok": b"ok", b"/cut": b"half of the body", b"/big": b"x" * 1_000_000}[path]
        whole = http_response(body, connection="close")
        writer.write(whole[:-5] if path == b"/cut" else whole)
        await writer.drain()


@pytest.mark.parametrize("act", [_get, _post, _leave, _without_response, _cut, _timed_out, _cancelled])
async def test_trace_events_of_an_exchange_are_those_of_httpcore(act: Callable[..., Awaitable[None]]) -> None:
    """Each phase is reported as by httpx's own transport, apart from the sending of a body."""
    seen = []
    for transport in (httpx.AsyncHTTPTransport(), PooledTransport()):
        trace = Events()
        async with serving(_respond) as url, httpx.AsyncClient(transport=transport) as client:
            await act(client, url, trace)
        seen.append([name for name in trace.names if name.startswith("http11.") and "request_body" not in name])
    assert seen[0] == seen[1]
    assert len(seen[0]) >= 6


async def test_trace_receives_the_request_and_the_response() -> None:
    """The events come in order, with the request, and with what httpcore returns for a response's head."""
    trace = Events()
    async with peer(http_response("ok", x="1")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        response = await client.get(server.url, extensions={"trace": trace})
    assert tuple(trace.names) == EVENTS
    assert trace.values["http11.send_request_headers.started"]["request"] is response.request
    assert trace.values["http11.receive_response_headers.complete"]["return_value"] == (
        b"HTTP/1.1",
        200,
        b"OK",
        [(b"content-length", b"2"), (b"x", b"1")],
    )


async def test_trace_reports_a_failed_connection() -> None:
    """No connection is a failed acquisition, with its exception, and nothing after it."""
    trace = Events()
    async with httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("http://127.0.0.1:1", extensions={"trace": trace})
    assert trace.names == ["connection.acquire.started", "connection.acquire.failed"]
    assert trace.values["connection.acquire.failed"]["exception"] is caught.value


async def test_trace_reports_both_attempts_of_a_repeated_read() -> None:
    """A read that is sent once more on a new connection is reported twice."""
    trace = Events()
    async with peer(OK, None, OK) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        await client.get(server.url)
        assert (await client.get(server.url, extensions={"trace": trace})).text == "ok"
    failed = "http11.receive_response_headers.failed"
    assert tuple(trace.names) == (*EVENTS[:5], failed, *EVENTS[8:], *EVENTS)


@pytest.mark.parametrize("event", EVENTS)
async def test_trace_that_raises_ends_its_request_alone(event: str) -> None:
    """The exception reaches the caller, nothing has left before the write, and the connection is free again."""
    trace = Events(event, _refuse)
    async with peer(OK) as server, PooledTransport() as transport:
        client = httpx.AsyncClient(transport=transport)
        assert (await client.get(server.url)).text == "ok"
        with pytest.raises(LookupError, match="no room for telemetry"):
            await client.get(server.url, extensions={"trace": trace})
        assert tuple(trace.names) == EVENTS[: EVENTS.index(event) + 1], "it is not called again"
        assert (await client.get(server.url)).text == "ok"
        assert transport.pool._places_taken == 1
    has_left = EVENTS.index(event) > EVENTS.index("http11.send_request_headers.started")
    assert len(server.requests) == 2 + has_left
    assert server.connections <= 1 + has_left


@pytest.mark.parametrize("event", EVENTS)
async def test_trace_that_is_cancelled_frees_the_connection(event: str) -> None:
    """A caller that leaves within the trace leaves no connection in use."""
    reached = asyncio.Event()

    async def rest() -> None:
        reached.set()
        await asyncio.Event().wait()

    trace = Events(event, rest)
    async with peer(OK) as server, PooledTransport() as transport:
        client = httpx.AsyncClient(transport=transport)
        sending = asyncio.create_task(client.get(server.url, extensions={"trace": trace}))
        await reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert trace.names[-1] == event
        assert (await client.get(server.url)).text == "ok"
        assert transport.pool._places_taken == 1


@pytest.mark.parametrize("event", EVENTS[1:3])
async def test_trace_that_outlasts_the_lease_leaves_the_request_unsent(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the write a trace can hold a connection no longer than a lease lasts; the request is not sent then."""
    monkeypatch.setattr(pool_module, "MAX_LEASE", 0.05)
    trace = Events(event, asyncio.Event().wait)  # type: ignore[arg-type]
    async with peer(OK) as server, PooledTransport() as transport:
        client = httpx.AsyncClient(transport=transport)
        await client.get(server.url)
        with pytest.raises(ConnectionUnusable, match=r"trace extension took more than 0\.05 s; nothing was sent") as no:
            await client.get(server.url, extensions={"trace": trace})
        assert no.value.unsent
        assert trace.names.count("connection.acquire.started") == 1
        assert (len(server.requests), transport.pool._places_taken) == (1, 1)


async def test_trace_that_is_no_coroutine_function_sends_nothing() -> None:
    """A plain function is refused at the first event."""
    async with peer(OK) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(TypeError, match="await"):
            await client.get(server.url, extensions={"trace": lambda *_: None})
    assert server.requests == []


async def test_trace_of_a_stream_read_twice_is_reported_once() -> None:
    """A response that is closed again reports nothing further."""
    trace = Events()
    async with peer(OK) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        async with client.stream("GET", server.url, extensions={"trace": trace}) as response:
            await response.aread()
            with contextlib.suppress(httpx.StreamError):
                await response.aread()
            await response.aclose()
            await response.stream.aclose()  # type: ignore[union-attr]
    assert tuple(trace.names) == EVENTS
