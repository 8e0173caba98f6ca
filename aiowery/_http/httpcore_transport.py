"""The default transport: its own connections, directly on httpcore.

An `AsyncClient` on top would add cookies, authentication, redirects and hooks, which are not wanted here. With its
pool and its request and response objects, that is two thirds of the cost of a status check.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final, cast

import anyio.to_thread
import attrs
import httpcore
import httpx

from aiowery._http.pool import Connection, ConnectionPool
from aiowery._http.transport import StreamingResponse, Transport, TransportRequest, multipart

_ORIGINS: Final = 64


@attrs.frozen
class _Address:
    """The parts of a base URL, parsed once for all requests to it."""

    origin: httpcore.Origin
    host: bytes
    path: bytes


class HttpcoreTransport(Transport):
    """A transport over a stack of httpcore connections."""

    faults: tuple[type[Exception], ...] = (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
        httpcore.ConnectionNotAvailable,
        httpx.DecodingError,
        httpx.InvalidURL,
        OSError,
    )
    _unsent: ClassVar[tuple[type[Exception], ...]] = (
        httpcore.ConnectError,
        httpcore.ConnectTimeout,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
        httpcore.ConnectionNotAvailable,
        httpx.InvalidURL,
    )

    def __init__(self, connections: ConnectionPool, timeout: float) -> None:
        self._connections = connections
        self._timeout = timeout
        self._closed = False

    @classmethod
    async def open(cls, connections: int, timeout: float) -> HttpcoreTransport:
        """Make room for so many connections; certificates are read from the disk in a thread."""
        tls = await anyio.to_thread.run_sync(httpx.create_ssl_context)
        return cls(ConnectionPool(connections, tls), timeout)

    def is_provably_unsent(self, fault: Exception) -> bool:
        """Return True if the error happened while connecting, or before."""
        return isinstance(fault, self._unsent)

    def is_closed(self) -> bool:
        """Return True once the transport is closed."""
        return self._closed

    def reports_send_start(self) -> bool:
        """Return True: httpcore reports when it starts to send."""
        return True

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send over the last used free connection, which is released when the response is closed."""
        address = _address(outgoing.base)
        request = _request(outgoing, address)
        request.extensions["timeout"] = outgoing.timeouts(self._timeout)
        if outgoing.trace is not None:
            request.extensions["trace"] = outgoing.trace
        connection = await self._connections.acquire(address.origin)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._connections.discard(connection)
            raise
        return self._response(response, address.origin, connection)

    def _response(
        self, response: httpcore.Response, origin: httpcore.Origin, connection: Connection
    ) -> StreamingResponse:
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}

        async def aclose() -> None:
            try:
                await response.aclose()
            except BaseException:
                await self._connections.discard(connection)
                raise
            await self._connections.release(origin, connection)

        return StreamingResponse(response.status, headers, _chunks(response, headers), aclose)

    async def aclose(self) -> None:
        """Close all connections; nothing is sent any more."""
        self._closed = True
        await self._connections.aclose()


@lru_cache(maxsize=_ORIGINS)
def _address(base: str) -> _Address:
    url = httpx.URL(base)
    standard = {b"http": 80, b"https": 443}.get(url.raw_scheme, 0)
    origin = httpcore.Origin(url.raw_scheme, url.raw_host, url.port or standard)
    return _Address(origin, url.netloc, b"" if url.raw_path == b"/" else url.raw_path)


def _request(outgoing: TransportRequest, address: _Address) -> httpcore.Request:
    origin, headers = address.origin, outgoing.headers
    target = address.path + outgoing.path.encode("ascii")
    url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target or b"/")
    header_list = [(b"host", address.host), *((name.encode(), value.encode()) for name, value in headers.items())]
    body: bytes | AsyncIterable[bytes] | None = outgoing.content
    if outgoing.content is not None:
        header_list.append((b"content-length", b"%d" % len(outgoing.content)))
    elif outgoing.form is not None:
        body, length = multipart(outgoing.form, headers["content-type"])
        header_list.append((b"content-length", length.encode()))
    return httpcore.Request(outgoing.method, url, headers=header_list, content=cast("Any", body), extensions={})


def _chunks(response: httpcore.Response, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Return the body's chunks; httpx decodes them if the server compressed them unasked."""
    if headers.get("content-encoding", "identity") == "identity":
        return response.aiter_stream()
    return httpx.Response(response.status, headers=response.headers, content=response.aiter_stream()).aiter_bytes()
