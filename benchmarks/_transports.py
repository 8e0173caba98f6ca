"""Measure the CPU time of a GET, sent back to back, over aiowery's transports and over each HTTP library alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal

import aiohttp
import httpx
import httpx2
import pyreqwest.client
import pyreqwest.compatibility.httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.transport import Clocks, LeaseTerms, Origin, OutgoingRequest, PooledTransport, encode_head
from benchmarks import _workload
from benchmarks._fake_server import FakeServer

_CONCURRENT: Final = 16
_PATH: Final = "/v1/generation/nothing/status"
_HEADERS: Final = {"user-agent": "aiowery", "accept": "application/json", "authorization": f"Bearer {_workload.KEY}"}
_TIMEOUTS: Final = {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}

Get = Callable[[], Awaitable[bytes]]
Library = Callable[[str], AbstractAsyncContextManager[Get]]


def cpu_per_get(name: str, times: int) -> float:
    """Return the CPU seconds of one GET over the library of this name in `LIBRARIES`."""
    with FakeServer() as server:
        return asyncio.run(_cpu_per_get(LIBRARIES[name], server.url, times))


async def _cpu_per_get(library: Library, url: str, times: int) -> float:
    async with library(url) as get:
        await _send_gets(get, 20 * _CONCURRENT)
        began = time.process_time()
        await _send_gets(get, times)
        return (time.process_time() - began) / times


async def _send_gets(get: Get, times: int) -> None:
    remaining = iter(range(times))

    async def send_gets() -> None:
        for _ in remaining:
            assert (await get()).endswith(b"}")

    await asyncio.gather(*(send_gets() for _ in range(_CONCURRENT)))


@asynccontextmanager
async def _aiowery(http: Literal["httpx"] | None, url: str) -> AsyncIterator[Get]:
    client = await HttpClient.open(url, ApiKeySource(_workload.KEY), connections=_CONCURRENT, timeout=30, http=http)

    async def get() -> bytes:
        return (await client.send(HttpRequest("GET", _PATH))).body

    yield get
    await client.aclose()


@asynccontextmanager
async def _client(make: Callable[[], Any], url: str) -> AsyncIterator[Get]:
    """Use a client that has httpx's interface."""
    async with make() as client:

        async def get() -> bytes:
            content: bytes = (await client.get(url + _PATH, headers=_HEADERS)).content
            return content

        yield get


@asynccontextmanager
async def _transport(make: Callable[[], httpx.AsyncBaseTransport], url: str) -> AsyncIterator[Get]:
    """Use a transport that has httpx's interface, without a client above it."""
    async with make() as transport:

        async def get() -> bytes:
            request = httpx.Request("GET", url + _PATH, headers=_HEADERS, extensions={"timeout": _TIMEOUTS})
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = b"".join([chunk async for chunk in response.stream])
            await response.aclose()
            return body

        yield get


@asynccontextmanager
async def _pooled(url: str) -> AsyncIterator[Get]:
    """Use the pool without httpx's objects, as the clients do."""
    parts = httpx.URL(url)
    origin = Origin(False, parts.host, parts.port or 80)
    headers = [(b"host", parts.netloc), *((name.encode(), value.encode()) for name, value in _HEADERS.items())]
    request = OutgoingRequest(b"GET", encode_head(b"GET", _PATH.encode(), headers))
    async with _make_pooled() as transport:

        async def get() -> bytes:
            response = await transport.pool.exchange(
                origin, request, terms=LeaseTerms(), clocks=Clocks(), max_body=1_000_000
            )
            return response.body

        yield get


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncIterator[Get]:
    async with aiohttp.ClientSession() as session:

        async def get() -> bytes:
            async with session.get(url + _PATH, headers=_HEADERS) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def _pyreqwest(url: str) -> AsyncIterator[Get]:
    async with pyreqwest.client.ClientBuilder().build() as client:

        async def get() -> bytes:
            return bytes(await (await client.get(url + _PATH).headers(_HEADERS).build().send()).bytes())

        yield get


@asynccontextmanager
async def _protocol(url: str) -> AsyncIterator[Get]:
    """Use no library: the least that a transport written by hand could cost."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [f"GET {_PATH} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in _HEADERS.items())]
    request = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    connections = [await loop.create_connection(_Connection, host, int(port)) for _ in range(_CONCURRENT)]
    free = [connection for _, connection in connections]

    async def get() -> bytes:
        connection = free.pop()
        body = await connection.send(request)
        free.append(connection)
        return body

    yield get
    for transport, _ in connections:
        transport.close()


class _Connection(asyncio.Protocol):
    """A connection that expects each response in one piece, which holds for a small response on loopback."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        self._response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._response

    def data_received(self, data: bytes) -> None:
        self._response.set_result(data.partition(b"\r\n\r\n")[2])


_LIMITS: Final = httpx.Limits(max_connections=_CONCURRENT, max_keepalive_connections=_CONCURRENT)
_LIMITS2: Final = httpx2.Limits(max_connections=_CONCURRENT, max_keepalive_connections=_CONCURRENT)


def _make_pooled() -> PooledTransport:
    return PooledTransport(limits=_LIMITS)


_OverPyreqwest: Final = pyreqwest.compatibility.httpx.HttpxTransport

LIBRARIES: Final[dict[str, Library]] = {
    "aiowery, default": partial(_aiowery, None),
    'aiowery, http="httpx"': partial(_aiowery, "httpx"),
    "pooled transport, straight": _pooled,
    "httpx client": partial(_client, partial(httpx.AsyncClient, limits=_LIMITS)),
    "httpx transport": partial(_transport, partial(httpx.AsyncHTTPTransport, limits=_LIMITS)),
    "httpx client over the pooled transport": partial(_client, lambda: httpx.AsyncClient(transport=_make_pooled())),
    "pooled transport under httpx's interface": partial(_transport, _make_pooled),
    "httpx2 client": partial(_client, partial(httpx2.AsyncClient, limits=_LIMITS2)),
    "httpx client over aiohttp": partial(_client, HttpxAiohttpClient),
    "httpx transport over aiohttp": partial(_transport, AiohttpTransport),
    "httpx client over pyreqwest": partial(_client, lambda: httpx.AsyncClient(transport=_OverPyreqwest())),
    "httpx transport over pyreqwest": partial(_transport, _OverPyreqwest),
    "aiohttp": _aiohttp,
    "pyreqwest": _pyreqwest,
    "no library": _protocol,
}
