"""GETs back to back over one HTTP library after the other, ours included, for what each costs by itself."""

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
from benchmarks import _work
from benchmarks._server import FakeServer

_AT_ONCE: Final = 16
_PATH: Final = "/v1/generation/nothing/status"
_HEADERS: Final = {"user-agent": "aiowery", "accept": "application/json", "authorization": f"Bearer {_work.KEY}"}
_TIMEOUTS: Final = {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}

Get = Callable[[], Awaitable[bytes]]
Library = Callable[[str], AbstractAsyncContextManager[Get]]


def cpu_per_get(name: str, times: int) -> float:
    """Return the CPU seconds that a GET costs with this one of `LIBRARIES`."""
    with FakeServer() as server:
        return asyncio.run(_cpu_per_get(LIBRARIES[name], server.url, times))


async def _cpu_per_get(library: Library, url: str, times: int) -> float:
    async with library(url) as get:
        await _ask(get, 20 * _AT_ONCE)
        began = time.process_time()
        await _ask(get, times)
        return (time.process_time() - began) / times


async def _ask(get: Get, times: int) -> None:
    turns = iter(range(times))

    async def ask() -> None:
        for _ in turns:
            assert (await get()).endswith(b"}")

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))


@asynccontextmanager
async def _door(http: Literal["fast"] | None, url: str) -> AsyncIterator[Get]:
    door = await HttpClient.open(url, ApiKeySource(_work.KEY), connections=_AT_ONCE, timeout=30, http=http)

    async def get() -> bytes:
        return (await door.send(HttpRequest("GET", _PATH))).body

    yield get
    await door.aclose()


@asynccontextmanager
async def _client(make: Callable[[], Any], url: str) -> AsyncIterator[Get]:
    """Use a client with httpx's interface."""
    async with make() as client:

        async def get() -> bytes:
            content: bytes = (await client.get(url + _PATH, headers=_HEADERS)).content
            return content

        yield get


@asynccontextmanager
async def _transport(make: Callable[[], httpx.AsyncBaseTransport], url: str) -> AsyncIterator[Get]:
    """Use a transport with httpx's interface, without a client on top."""
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
async def _aiohttp(url: str) -> AsyncIterator[Get]:
    async with aiohttp.ClientSession() as session:

        async def get() -> bytes:
            async with session.get(url + _PATH, headers=_HEADERS) as answer:
                return await answer.read()

        yield get


@asynccontextmanager
async def _pyreqwest(url: str) -> AsyncIterator[Get]:
    async with pyreqwest.client.ClientBuilder().build() as client:

        async def get() -> bytes:
            return bytes(await (await client.get(url + _PATH).headers(_HEADERS).build().send()).bytes())

        yield get


@asynccontextmanager
async def _protocol(url: str) -> AsyncIterator[Get]:
    """Use no library: what a transport written by hand could at best come to."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [f"GET {_PATH} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in _HEADERS.items())]
    question = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    links = [await loop.create_connection(_Link, host, int(port)) for _ in range(_AT_ONCE)]
    free = [link for _, link in links]

    async def get() -> bytes:
        link = free.pop()
        body = await link.ask(question)
        free.append(link)
        return body

    yield get
    for transport, _ in links:
        transport.close()


class _Link(asyncio.Protocol):
    """One connection, which believes that an answer comes in one piece: enough for a small one on loopback."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, question: bytes) -> asyncio.Future[bytes]:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._answer.set_result(data.partition(b"\r\n\r\n")[2])


_LIMITS: Final = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
_LIMITS2: Final = httpx2.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
_OverPyreqwest: Final = pyreqwest.compatibility.httpx.HttpxTransport

LIBRARIES: Final[dict[str, Library]] = {
    "ours, usual": partial(_door, None),
    'ours, "fast"': partial(_door, "fast"),
    "httpx client": partial(_client, partial(httpx.AsyncClient, limits=_LIMITS)),
    "httpx transport": partial(_transport, partial(httpx.AsyncHTTPTransport, limits=_LIMITS)),
    "httpx2 client": partial(_client, partial(httpx2.AsyncClient, limits=_LIMITS2)),
    "httpx client over aiohttp": partial(_client, HttpxAiohttpClient),
    "httpx transport over aiohttp": partial(_transport, AiohttpTransport),
    "httpx client over pyreqwest": partial(_client, lambda: httpx.AsyncClient(transport=_OverPyreqwest())),
    "httpx transport over pyreqwest": partial(_transport, _OverPyreqwest),
    "aiohttp": _aiohttp,
    "pyreqwest": _pyreqwest,
    "no library": _protocol,
}
