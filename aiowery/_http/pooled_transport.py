"""The default transport: connections of the package's own, leased from a pool."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

import httpx

from aiowery._core.messages import HttpResponse
from aiowery._http.transport import (
    AddressFault,
    BeforeSend,
    ResponseTooLong,
    StreamingResponse,
    Transport,
    TransportFault,
    TransportRequest,
    fault_of,
    header_fields,
    multipart,
    total_limit,
)
from aiowery.errors import ConfigurationError
from aiowery.transport import (
    AddressRefused,
    CertificatesUnusable,
    Clocks,
    Connection,
    ConnectionPool,
    ConnectionUnusable,
    LeaseTerms,
    Origin,
    OutgoingRequest,
    PoolClosed,
    encode_fields,
    encode_head,
)
from aiowery.transport import Response as PoolResponse

_BASES: Final = 64
_LEASES: Final = 3
_PORTS: Final = {b"http": 80, b"https": 443}


class _Base(NamedTuple):
    """The parts of a base URL, parsed once for all requests to it."""

    origin: Origin
    host_field: bytes
    path: bytes


class PooledHttpTransport(Transport):
    """A transport over a pool of connections, which others may share.

    `timeout` is in seconds, for connecting and between bytes.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._closed = False
        self._terms = LeaseTerms(timeout, timeout, holder=self)

    def is_closed(self) -> bool:
        """Return True once the transport is closed."""
        return self._closed

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send a request, a paid one with `before_send` between its lease and its first byte; return the response."""
        try:
            base = _base(outgoing.base)
            request = _encode(outgoing, base)
            clocks = self._clocks(outgoing)
            if not (request.body is None or isinstance(request.body, bytes)):
                response = await self._upload(base.origin, request, clocks, max_bytes)
            elif before_send is None:
                response = await self._pool.exchange(
                    base.origin, request, terms=self._terms, clocks=clocks, max_body=max_bytes
                )
            else:
                response = await self._send_paid(base.origin, request, clocks, max_bytes, before_send)
        except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as fault:
            raise _translated(fault) from fault
        headers = header_fields(response.headers)
        if not response.is_complete:
            raise ResponseTooLong(response.status, headers, max_bytes, response.body)
        return HttpResponse(response.status, headers, response.body)

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a read; its connection is released when the response is closed."""
        try:
            base = _base(outgoing.base)
            clocks = self._clocks(outgoing)._replace(total=inf)
            connection, response = await self._pool.open_stream(
                base.origin, _encode(outgoing, base), terms=self._terms, clocks=clocks
            )
        except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as fault:
            raise _translated(fault) from fault

        async def aclose() -> None:
            self._pool.release(connection)

        return StreamingResponse(response.status, header_fields(response.headers), _parts(connection), aclose)

    async def aclose(self) -> None:
        """End what is under way; the pool belongs to others too."""
        self.close()

    def close(self) -> None:
        """End what is under way, without waiting."""
        self._closed = True
        self._pool.end(self)

    def _clocks(self, outgoing: TransportRequest) -> Clocks:
        idle = outgoing.timeout or self._timeout
        return Clocks(idle, idle, total_limit(idle))

    async def _send_paid(
        self, origin: Origin, request: OutgoingRequest, clocks: Clocks, max_bytes: int, before_send: BeforeSend
    ) -> PoolResponse:
        """Send a paid request: lease, `before_send`, write.

        If the connection is found lost before the write, nothing has left: the request is sent on a new connection.
        """
        has_run = False
        for lease in range(_LEASES):
            async with self._pool.lease(origin, self._terms._replace(is_paid=True, is_fresh=lease > 0)) as connection:
                if self._closed:
                    raise PoolClosed("the client was closed; nothing was sent")
                if not has_run:
                    if not await connection.is_alive():
                        continue
                    await before_send()
                    has_run = True
                try:
                    return await connection.exchange(request, clocks=clocks, max_body=max_bytes)
                except ConnectionUnusable:
                    if lease == _LEASES - 1:
                        raise
        raise ConnectionUnusable("the server closed each connection before the request was written")

    async def _upload(self, origin: Origin, request: OutgoingRequest, clocks: Clocks, max_bytes: int) -> PoolResponse:
        async with self._pool.lease(origin, self._terms) as connection:
            response = await connection.start_stream(request, clocks)
            body = b""
            while len(body) <= max_bytes and (part := await connection.next_part()):
                body += part
        return response._replace(body=body, is_complete=len(body) <= max_bytes)


async def _parts(connection: Connection) -> AsyncIterator[bytes]:
    try:
        while part := await connection.next_part():
            yield part
    except httpx.TransportError as fault:
        raise _translated(fault) from fault
    if connection.has_surplus:  # a file that goes on behind its announced end would be saved without its rest
        raise TransportFault("bytes follow the announced end of the response", unsent=False)


def _translated(fault: Exception) -> Exception:
    if isinstance(fault, CertificatesUnusable):
        return ConfigurationError(str(fault))
    if isinstance(fault, AddressRefused):
        return AddressFault(str(fault), unsent=True)
    unsent = getattr(fault, "unsent", isinstance(fault, (httpx.InvalidURL, UnicodeError)))
    return fault_of(fault, unsent=unsent)


@lru_cache(maxsize=_BASES)
def _base(base: str) -> _Base:
    url = httpx.URL(base)
    port = url.port or _PORTS.get(url.raw_scheme, 0)
    origin = Origin(url.raw_scheme == b"https", url.raw_host.decode("ascii"), port)
    return _Base(origin, encode_fields([(b"host", url.netloc)]), b"" if url.raw_path == b"/" else url.raw_path)


def _encode(outgoing: TransportRequest, base: _Base) -> OutgoingRequest:
    body: bytes | AsyncIterable[bytes] | None = outgoing.content
    length, headers = None, []
    if outgoing.content is not None:
        headers = [(b"content-length", b"%d" % len(outgoing.content))]
    elif outgoing.form is not None:
        body, length = multipart(outgoing.form, outgoing.headers.values["content-type"])
        headers = [(b"content-length", b"%d" % length)]
    method, target = outgoing.method.encode("ascii"), base.path + outgoing.path.encode("ascii")
    head = encode_head(method, target or b"/", headers, encoded=base.host_field + outgoing.headers.encoded)
    return OutgoingRequest(method, head, body, length)
