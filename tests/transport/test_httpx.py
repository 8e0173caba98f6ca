"""The adapter between httpx and the pool: what it refuses, what it adds, and what becomes of a response."""

from __future__ import annotations

import asyncio
import gc
import gzip
import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from aiowery.transport import PooledTransport
from tests.support import http_response, peer, serving

pytestmark = pytest.mark.anyio


async def _chunks() -> AsyncIterator[bytes]:
    yield b"hello "
    await asyncio.sleep(0)
    yield b"world"


@pytest.mark.parametrize(
    ("extensions", "headers"),
    [({"target": b"/x"}, {}), ({"network_stream": object()}, {}), ({}, {"upgrade": "websocket"})],
)
async def test_handle_async_request_unsupported_feature_is_refused(
    extensions: dict[str, Any], headers: dict[str, str]
) -> None:
    """What the transport does not support is refused by name, and nothing is sent."""
    async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.LocalProtocolError, match="not supported") as caught:
            await client.get(server.url, headers=headers, extensions=extensions)
    assert getattr(caught.value, "unsent", False)
    assert server.requests == []


async def test_handle_async_request_header_with_a_line_break_is_refused() -> None:
    """A value that would be a header of its own is never written."""
    async with peer(http_response("ok")) as server:
        async with PooledTransport() as transport:
            request = httpx.Request("GET", server.url)
            request.headers.raw.append((b"x", b"1\r\ny: 2"))
            request.headers = httpx.Headers([(b"host", b"x"), (b"x", b"1\r\ny: 2")])
            with pytest.raises(httpx.LocalProtocolError, match="HTTP forbids"):
                await transport.handle_async_request(request)
    assert server.requests == []


async def test_response_dropped_unread_gives_its_connection_up(tls: Any) -> None:
    """A streamed response that is forgotten warns, and its connection is closed."""
    async with peer(http_response(b"x" * 1_000_000), tls=tls[0]) as server:
        async with PooledTransport(verify=tls[1] or True) as transport:
            request = httpx.Request("GET", server.url, extensions={"timeout": {"read": 1, "connect": 1, "pool": 1}})
            response = await transport.handle_async_request(request)
            with pytest.warns(ResourceWarning, match="was dropped unread"):  # noqa: PT031 - the collector warns
                del response
                gc.collect()
            async with asyncio.timeout(1):
                while transport.pool.connections:  # noqa: ASYNC110 - a count
                    await asyncio.sleep(0.001)


async def test_total_extension_limits_the_whole_response() -> None:
    """The timeout extension knows `total`, from the first byte written to the end."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(30):
            if writer.is_closing():
                return
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(trickle) as url, httpx.AsyncClient(transport=PooledTransport()) as client:
        timeout = {"read": 1, "write": 1, "connect": 1, "pool": 1, "total": 0.05}
        with pytest.raises(httpx.ReadTimeout, match=r"not complete within 0\.05 s"):
            await client.get(url, extensions={"timeout": timeout})


async def test_client_without_a_response_left_open_warns_of_nothing() -> None:
    """Ordinary use leaves no warning, no task and no connection."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
            for _ in range(3):
                assert (await client.get(server.url)).text == "ok"
        gc.collect()
    assert server.connections == 1
    assert len(asyncio.all_tasks()) <= 2


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"hello", {"content-length": "3"}),
        (b"hello", {"content-length": "9"}),
        (b"hello", {"transfer-encoding": "chunked"}),
        (b"hello", {"content-length": "+5"}),
        (_chunks, {"content-length": "11", "transfer-encoding": "chunked"}),
        (_chunks, {"transfer-encoding": "gzip, chunked"}),
    ],
)
async def test_handle_async_request_body_that_does_not_fit_its_headers_is_refused(
    content: Any, headers: dict[str, str]
) -> None:
    """A body of another framing than announced would become the next request; nothing of it is sent."""
    async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        body = content() if callable(content) else content
        with pytest.raises(httpx.LocalProtocolError, match="does not fit") as caught:
            await client.post(server.url, content=body, headers=headers)
        assert (await client.get(server.url)).text == "ok"
    assert getattr(caught.value, "unsent", False)
    assert len(server.requests) == 1


async def test_response_read_late_is_whole() -> None:
    """A response that has arrived waits for its reader longer than the read timeout, and its connection lives on."""
    async with peer(http_response("hello")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        async with client.stream("GET", server.url, timeout=0.05) as response:
            await asyncio.sleep(0.15)
            assert await response.aread() == b"hello"
        assert (await client.get(server.url)).text == "hello"
    assert server.connections == 1


async def test_coded_body_comes_in_small_pieces() -> None:
    """A compressed body reaches httpx's decoder in pieces, so that a small one cannot fill the memory at once."""
    body = gzip.compress(b"\0" * 40_000_000)
    async with peer(http_response(body, content_encoding="gzip")) as server:
        async with (
            httpx.AsyncClient(transport=PooledTransport()) as client,
            client.stream("GET", server.url) as response,
        ):
            largest = max([len(part) async for part in response.aiter_bytes()])
    assert largest <= 20_000_000


def test_handle_async_request_without_asyncio_is_refused() -> None:
    """Another library's event loop is no asyncio loop: nothing is sent."""
    sending = PooledTransport().handle_async_request(httpx.Request("GET", "http://127.0.0.1:1"))
    with pytest.raises(RuntimeError, match="no running event loop"):
        sending.send(None)


class _Chunks(httpx.AsyncByteStream):
    """A body that no header announces."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"hello"


async def test_handle_async_request_body_that_no_header_announces_is_refused() -> None:
    """A body that the server could not find is neither left out silently nor sent as the next request."""
    async with peer(http_response("ok")) as server, PooledTransport() as transport:
        request = httpx.Request("POST", server.url, headers={"host": "x"}, stream=_Chunks())
        with pytest.raises(httpx.LocalProtocolError, match="needs content-length or transfer-encoding") as caught:
            await transport.handle_async_request(request)
    assert getattr(caught.value, "unsent", False)
    assert server.connections == 0


async def test_handle_async_request_synchronous_body_is_refused() -> None:
    """A body for a synchronous client would block the event loop."""
    request = httpx.Request("POST", "http://127.0.0.1:1", stream=httpx.SyncByteStream())
    async with PooledTransport() as transport:
        with pytest.raises(TypeError, match="read asynchronously"):
            await transport.handle_async_request(request)


async def test_handle_async_request_method_outside_ascii_is_refused() -> None:
    """A method that cannot be written is an error of httpx, unsent, with its name."""
    async with PooledTransport() as transport:
        with pytest.raises(httpx.LocalProtocolError, match="the method 'GÉT' cannot be sent") as caught:
            await transport.handle_async_request(httpx.Request("gét", "http://127.0.0.1:1"))
    assert getattr(caught.value, "unsent", False)


def test_response_dropped_after_its_loop_is_closed_warns_alone() -> None:
    """The collector finds a response whose event loop is gone: a warning, no exception."""
    kept: list[httpx.Response] = []

    async def leave_open() -> None:
        async with peer(http_response(b"x" * 1_000_000)) as server:
            transport = PooledTransport()
            kept.append(await transport.handle_async_request(httpx.Request("GET", server.url)))
            await transport.aclose()

    asyncio.run(leave_open())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept.clear()
        gc.collect()
    assert [str(warning.message) for warning in caught] == ["a response of 127.0.0.1 was dropped unread"]
