"""The adapter: requests, responses and exceptions of httpx over the pool."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from math import inf
from types import TracebackType
from typing import Any, Final, Self

import httpx

from aiowery.transport._connection import Clocks, Connection
from aiowery.transport._dial import AllowAddress, Dialer
from aiowery.transport._errors import ReadError, RequestRefused, UnsupportedProtocol
from aiowery.transport._pool import ConnectionPool, LeaseTerms
from aiowery.transport._request import Origin, OutgoingRequest, encode_head
from aiowery.transport._tls import Cert, Verify
from aiowery.transport._trace import Tracer

_PORTS: Final = {b"http": 80, b"https": 443}
_PIECE: Final = 256 * 1024
_CODED_PIECE: Final = 16 * 1024
_NOT_SUPPORTED: Final = ("target", "network_stream")
_DEFAULT_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)


class PooledTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient`, for HTTP/1.1 over asyncio.

        async with httpx.AsyncClient(transport=PooledTransport()) as client:
            response = await client.get("https://example.com")

    The names and defaults are those of `httpx.AsyncHTTPTransport`. `verify` is an `ssl.SSLContext`, or False for none;
    contexts are made once for equal settings. `allow_address` receives each IP address before it is connected to, also
    those of redirects, and returns False to refuse it.

    A client with a transport of its own reads no proxy from the environment. HTTP/2, upgrades, Unix sockets and the
    extensions `target` and `network_stream` are not supported and raise LocalProtocolError. Bodies are not decoded
    here; httpx does that.
    """

    def __init__(
        self,
        *,
        verify: Verify = True,
        cert: Cert | None = None,
        limits: httpx.Limits = _DEFAULT_LIMITS,
        local_address: str | None = None,
        allow_address: AllowAddress | None = None,
    ) -> None:
        dialer = Dialer(verify=verify, cert=cert, local_address=local_address, allow_address=allow_address)
        self._pool = ConnectionPool(
            dialer,
            max_connections=inf if limits.max_connections is None else limits.max_connections,
            max_resting=inf if limits.max_keepalive_connections is None else limits.max_keepalive_connections,
            rest_seconds=inf if limits.keepalive_expiry is None else limits.keepalive_expiry,
        )

    @property
    def pool(self) -> ConnectionPool:
        """The pool of connections, for callers that lease connections themselves."""
        return self._pool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; what is under way ends with an error."""
        await self._pool.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, whose body is read from `response.stream`."""
        trace = request.extensions.get("trace")
        tracer = None if trace is None else Tracer(trace, request)
        try:
            origin, outgoing = _encode(request)
            terms, clocks = _timeouts(request.extensions.get("timeout") or {})
            connection, response = await self._pool.open_stream(
                origin, outgoing, terms=terms, clocks=clocks, tracer=tracer
            )
        except httpx.TransportError as error:
            error.request = request
            raise
        is_coded = any(name.lower() == b"content-encoding" for name, _ in response.headers)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_ResponseStream(self._pool, connection, request, tracer, is_coded=is_coded),
            extensions={"http_version": f"HTTP/{response.http_version}".encode(), "reason_phrase": response.reason},
        )


class _ResponseStream(httpx.AsyncByteStream):
    """The body of a response. Its connection returns to the pool when the body has been read, or is closed."""

    def __init__(
        self,
        pool: ConnectionPool,
        connection: Connection,
        request: httpx.Request,
        tracer: Tracer | None,
        *,
        is_coded: bool,
    ) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._request = request
        self._tracer = tracer
        # httpx decodes piece by piece: a small one cannot become too large in memory.
        self._piece = _CODED_PIECE if is_coded else _PIECE

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read() if self._tracer is None else self._tracer.read(self._read())

    async def _read(self) -> AsyncGenerator[bytes, None]:
        try:
            while (connection := self._connection) is not None:
                part, is_last = await connection.next_part(), connection.is_received
                if not part:
                    return
                for start in range(0, len(part), self._piece):
                    yield part[start : start + self._piece]
                    is_whole = is_last and start + self._piece >= len(part)
                    if self._connection is None and not is_whole:
                        raise ReadError("the response was closed before its body had been read")
        except httpx.TransportError as error:
            error.request = self._request
            raise
        finally:
            self._release()

    async def aclose(self) -> None:
        """Return the connection to the pool; it is closed unless the body has been read to its end."""
        self._release()
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            await tracer.close()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)

    def __del__(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if not connection.loop.is_closed():  # the collector may run in any thread
                connection.loop.call_soon_threadsafe(self._pool.release, connection)
            warnings.warn(f"a response of {self._request.url.host} was dropped unread", ResourceWarning, stacklevel=1)


def _encode(request: httpx.Request) -> tuple[Origin, OutgoingRequest]:
    """Return the server of a request and its bytes. Raises LocalProtocolError for what cannot be sent."""
    for name in _NOT_SUPPORTED:
        if name in request.extensions:
            raise RequestRefused(f"the extension {name!r} is not supported by PooledTransport")
    url = request.url
    port = _PORTS.get(url.raw_scheme)
    if port is None:
        raise UnsupportedProtocol(f"{url.scheme or 'an empty scheme'}: http and https are supported; nothing was sent")
    server_name = request.extensions.get("sni_hostname")
    origin = Origin(url.raw_scheme == b"https", url.raw_host.decode("ascii"), url.port or port, server_name)
    headers = request.headers.raw
    try:
        method = request.method.encode("ascii")
    except UnicodeEncodeError:
        raise RequestRefused(f"the method {request.method[:50]!r} cannot be sent") from None
    head = encode_head(method, url.raw_path, headers)
    if "upgrade" in request.headers:
        raise RequestRefused("upgrades are not supported by PooledTransport")
    if isinstance(request.stream, httpx.ByteStream):
        body = b"".join(request.stream)
        _check_framing(headers, len(body))
        return origin, OutgoingRequest(method, head, body or None)
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise TypeError("an async client needs a body that can be read asynchronously")
    length, is_chunked = _check_framing(headers, None)
    if length is None and not is_chunked:
        raise RequestRefused("nothing was sent: a streamed body needs content-length or transfer-encoding: chunked")
    return origin, OutgoingRequest(method, head, request.stream, length)


def _check_framing(headers: list[tuple[bytes, bytes]], body_length: int | None) -> tuple[int | None, bool]:
    """Return the announced length, and whether the body is sent in chunks.

    Raises LocalProtocolError for headers that do not fit the body: its rest would be read as the next request.
    """
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    is_valid = len(lengths) + len(codings) <= 1 and all(map(bytes.isdigit, lengths)) and codings in ([], [b"chunked"])
    length = int(lengths[0]) if is_valid and lengths else None
    if not is_valid or (body_length is not None and (codings or (length or 0) != body_length)):
        raise RequestRefused(
            f"nothing was sent: the body does not fit content-length {lengths} and transfer-encoding {codings}"
        )
    return length, bool(codings)


def _timeouts(timeout: Mapping[str, Any]) -> tuple[LeaseTerms, Clocks]:
    limits = (timeout.get(name) for name in Clocks._fields)
    clocks = Clocks(*(inf if limit is None else limit for limit in limits))
    return LeaseTerms(timeout.get("pool"), timeout.get("connect")), clocks
