"""HTTP libraries, each used for the same GET: aiowery's transports, httpx, httpx2, aiohttp, pyreqwest, and none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal, cast

import aiohttp
import attrs
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
from benchmarks._certificates import PLAIN, Certificates

CONCURRENT: Final = 16
LIMITS: Final = httpx.Limits(max_connections=CONCURRENT, max_keepalive_connections=CONCURRENT)
_PATH: Final = "/v1/generation/nothing/status"
_HEADERS: Final = {"user-agent": "aiowery", "accept": "application/json", "authorization": f"Bearer {_workload.KEY}"}
_TIMEOUT: Final = 30.0
_TIMEOUTS: Final = dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT)


@attrs.frozen
class Endpoint:
    """A server, and the certificates with which it is trusted."""

    url: str
    certificates: Certificates = PLAIN

    @property
    def origin(self) -> Origin:
        """The server, as the pool knows it."""
        url = httpx.URL(self.url)
        assert url.port is not None
        return Origin(url.scheme == "https", url.host, url.port)

    @property
    def netloc(self) -> str:
        """Host and port."""
        return httpx.URL(self.url).netloc.decode()


Get = Callable[[], Awaitable[bytes]]
Library = Callable[[Endpoint], AbstractAsyncContextManager[Get]]


def httpx_client(
    endpoint: Endpoint, *, limits: httpx.Limits = LIMITS, timeout: float | None = _TIMEOUT
) -> httpx.AsyncClient:
    """Return an httpx client over httpx's own transport."""
    return httpx.AsyncClient(verify=endpoint.certificates.verify, limits=limits, timeout=timeout)


def pooled_client(
    endpoint: Endpoint, *, limits: httpx.Limits = LIMITS, timeout: float | None = _TIMEOUT
) -> httpx.AsyncClient:
    """Return an httpx client over the pooled transport."""
    return httpx.AsyncClient(transport=pooled_transport(endpoint, limits=limits), timeout=timeout)


def pooled_transport(endpoint: Endpoint, *, limits: httpx.Limits = LIMITS) -> PooledTransport:
    """Return the pooled transport."""
    return PooledTransport(verify=endpoint.certificates.verify, limits=limits)


@asynccontextmanager
async def get_with(client: Any, endpoint: Endpoint) -> AsyncIterator[Get]:
    """Use a client that has httpx's interface, and close it."""
    async with client:

        async def get() -> bytes:
            content: bytes = (await client.get(endpoint.url + _PATH, headers=_HEADERS)).content
            return content

        yield get


@asynccontextmanager
async def _client(make: Callable[[Endpoint], Any], endpoint: Endpoint) -> AsyncIterator[Get]:
    async with get_with(make(endpoint), endpoint) as get:
        yield get


@asynccontextmanager
async def _transport(make: Callable[[Endpoint], httpx.AsyncBaseTransport], endpoint: Endpoint) -> AsyncIterator[Get]:
    """Use a transport that has httpx's interface, without a client above it."""
    async with make(endpoint) as transport:

        async def get() -> bytes:
            url = endpoint.url + _PATH
            request = httpx.Request("GET", url, headers=_HEADERS, extensions={"timeout": _TIMEOUTS})
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = b"".join([chunk async for chunk in response.stream])
            await response.aclose()
            return body

        yield get


@asynccontextmanager
async def _aiowery(http: Literal["httpx"] | None, endpoint: Endpoint) -> AsyncIterator[Get]:
    """Use aiowery's HTTP client: the key, the choice of a transport, the response as a value."""
    endpoint.certificates.trust()
    key = ApiKeySource(_workload.KEY)
    client = await HttpClient.open(endpoint.url, key, connections=CONCURRENT, timeout=_TIMEOUT, http=http)

    async def get() -> bytes:
        return (await client.send(HttpRequest("GET", _PATH))).body

    yield get
    await client.aclose()


@asynccontextmanager
async def _pooled(endpoint: Endpoint) -> AsyncIterator[Get]:
    """Use the pool without httpx's objects, as aiowery's HTTP client does."""
    origin, headers = endpoint.origin, {"host": endpoint.netloc, **_HEADERS}
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = OutgoingRequest(b"GET", encode_head(b"GET", _PATH.encode(), fields))
    terms, clocks = LeaseTerms(), Clocks()
    async with pooled_transport(endpoint) as transport:

        async def get() -> bytes:
            response = await transport.pool.exchange(origin, request, terms=terms, clocks=clocks, max_body=1_000_000)
            return response.body

        yield get


@asynccontextmanager
async def _aiohttp(endpoint: Endpoint) -> AsyncIterator[Get]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=endpoint.certificates.verify)) as session:

        async def get() -> bytes:
            async with session.get(endpoint.url + _PATH, headers=_HEADERS) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def _pyreqwest(endpoint: Endpoint) -> AsyncIterator[Get]:
    async with _pyreqwest_client(endpoint) as client:

        async def get() -> bytes:
            return bytes(await (await client.get(endpoint.url + _PATH).headers(_HEADERS).build().send()).bytes())

        yield get


def _pyreqwest_client(endpoint: Endpoint) -> pyreqwest.client.Client:
    builder, authority = pyreqwest.client.ClientBuilder(), endpoint.certificates.authority
    return (builder if authority is None else builder.add_root_certificate_pem(authority.read_bytes())).build()


def _pyreqwest_transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
    transport: httpx.AsyncBaseTransport = pyreqwest.compatibility.httpx.HttpxTransport(_pyreqwest_client(endpoint))
    return transport


def _pyreqwest_httpx_client(endpoint: Endpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=_pyreqwest_transport(endpoint))


@asynccontextmanager
async def _protocol(endpoint: Endpoint) -> AsyncIterator[Get]:
    """Use no library: the least that a transport written by hand could cost."""
    headers = {"host": endpoint.netloc, **_HEADERS}
    lines = [f"GET {_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    request = "\r\n".join([*lines, "", ""]).encode()
    connections = [await open_connection(endpoint) for _ in range(CONCURRENT)]
    free = list(connections)

    async def get() -> bytes:
        connection = free.pop()
        response = await connection.send(request)
        free.append(connection)
        return response.partition(b"\r\n\r\n")[2]

    yield get
    for connection in connections:
        connection.close()


async def open_connection(endpoint: Endpoint) -> BareConnection:
    """Open a connection without any library."""
    origin = endpoint.origin
    loop, tls = asyncio.get_running_loop(), endpoint.certificates.client_context
    _, connection = await loop.create_connection(BareConnection, origin.host, origin.port, ssl=tls)
    return connection


class BareConnection(asyncio.Protocol):
    """A connection that expects each response in one piece, which holds for a small response on loopback."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        """Write a request, and return the future of its response."""
        self._response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._response

    def data_received(self, data: bytes) -> None:
        self._response.set_result(data)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def _httpx_transport(endpoint: Endpoint) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=endpoint.certificates.verify, limits=LIMITS)


def _httpx2_client(endpoint: Endpoint) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=CONCURRENT, max_keepalive_connections=CONCURRENT)
    return httpx2.AsyncClient(verify=endpoint.certificates.verify, limits=limits)


def _aiohttp_client(endpoint: Endpoint) -> httpx.AsyncClient:
    client: httpx.AsyncClient = HttpxAiohttpClient(verify=endpoint.certificates.verify)
    return client


def _aiohttp_transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
    transport: httpx.AsyncBaseTransport = AiohttpTransport(verify=endpoint.certificates.verify)
    return transport


AIOWERY: Final = "aiowery's HTTP client"
POOLED: Final = "pooled transport, straight"
HTTPX_OVER_POOL: Final = "httpx client over the pooled transport"
HTTPX: Final = "httpx client"
HTTPX_OVER_AIOHTTP: Final = "httpx client over aiohttp"
AIOHTTP: Final = "aiohttp"
NO_LIBRARY: Final = "no library"

LIBRARIES: Final[dict[str, Library]] = {
    AIOWERY: partial(_aiowery, None),
    'the same, http="httpx"': partial(_aiowery, "httpx"),
    POOLED: _pooled,
    "pooled transport under httpx's interface": partial(_transport, pooled_transport),
    HTTPX_OVER_POOL: partial(_client, pooled_client),
    HTTPX: partial(_client, httpx_client),
    "httpx transport": partial(_transport, _httpx_transport),
    "httpx2 client": partial(_client, _httpx2_client),
    HTTPX_OVER_AIOHTTP: partial(_client, lambda endpoint: HttpxAiohttpClient(verify=endpoint.certificates.verify)),
    "httpx transport over aiohttp": partial(
        _transport, lambda endpoint: AiohttpTransport(verify=endpoint.certificates.verify)
    ),
    "httpx client over pyreqwest": partial(
        _client, lambda endpoint: httpx.AsyncClient(transport=_pyreqwest_transport(endpoint))
    ),
    "httpx transport over pyreqwest": partial(_transport, _pyreqwest_transport),
    AIOHTTP: _aiohttp,
    "pyreqwest": _pyreqwest,
    NO_LIBRARY: _protocol,
}
