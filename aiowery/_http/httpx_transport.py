"""A transport over an httpx client: the caller's, with its proxies, TLS settings and hooks, or one made for a proxy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import httpx

from aiowery._core.messages import HttpResponse
from aiowery._http.causes import strip
from aiowery._http.mocks import is_mocked
from aiowery._http.time_limit import time_limit
from aiowery._http.transport import (
    BeforeSend,
    ResponseTooLong,
    StreamingResponse,
    Transport,
    TransportFault,
    TransportRequest,
    fault_of,
    form_arguments,
    header_fields,
    total_limit,
)
from aiowery.errors import ConfigurationError
from aiowery.transport import CertificatesUnusable
from aiowery.transport._tls import explain_handshake, refused_certificate

if TYPE_CHECKING:
    import httpx2

    HTTPClient = httpx.AsyncClient | httpx2.AsyncClient
    HTTPChoice = HTTPClient | Literal["httpx"]
else:  # httpx2 need not be installed
    HTTPChoice = httpx.AsyncClient | Literal["httpx"]

# A caller's client may add these to every request; the provider and file hosts must not get them.
_CALLERS_CREDENTIALS: Final = ("authorization", "cookie", "x-api-key")
_SENDING: Final = "send_request_headers.started"


@attrs.define
class _Trace:
    """A trace callback that records how far a request has come, and runs `before_send` before the first byte."""

    before_send: BeforeSend | None = None
    has_events: bool = False
    sent: bool = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.has_events = True
        # A proxy's CONNECT reports the same event; it carries no body and costs nothing.
        if event.endswith(_SENDING) and getattr(info.get("request"), "method", b"") != b"CONNECT":
            await self.run_before_send()
            self.sent = True

    async def run_before_send(self) -> None:
        """Run `before_send`, once. An exception that it raises prevents the sending."""
        before_send, self.before_send = self.before_send, None
        if before_send is not None:
            await before_send()


class HttpxTransport(Transport):
    """A transport over an `httpx.AsyncClient` or `httpx2.AsyncClient`.

    The client belongs to the caller and stays open, unless `owned`.
    """

    def __init__(self, client: HTTPClient, timeout: float, *, owned: bool = False) -> None:
        library = self._library = _library_of(client)
        self._own_transport = library.AsyncHTTPTransport
        # httpx reads the address of a redirect although it is not followed: UnicodeError for invalid Punycode.
        self._faults = (library.HTTPError, library.InvalidURL, library.StreamError, OSError, UnicodeError)
        # Another transport than the library's own (such as aiohttp's) raises these also for a reset after sending.
        self._unsent_by_own = (library.ConnectError, library.ConnectTimeout, library.ProxyError)
        # The two libraries share one interface, but not one type.
        self._client: Any = client
        self._timeout = timeout
        self._owned = owned

    def is_closed(self) -> bool:
        """Return True once the client is closed."""
        return bool(self._client.is_closed)

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request through the client and return the response when it begins."""
        trace, request = _Trace(), self._make_foreign(outgoing)
        try:
            response = await self._send(request)
        except self._faults as fault:
            raise self._translated(fault, outgoing, trace) from fault
        headers, chunks = header_fields(response.headers.raw), self._chunks(response, outgoing, trace)
        return StreamingResponse(response.status_code, headers, chunks, response.aclose)

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send a request through the client and return the whole response.

        The whole has a limit too, because the library's own timeouts apply to connecting and between two reads only.
        """
        trace = _Trace(before_send)
        request = self._make_own(outgoing, trace)
        if before_send is not None and (is_mocked(self._library) or not self._has_own_transports()):
            await trace.run_before_send()
        # For a connection, connecting, reading.
        limit = total_limit(self._timeout, self._timeout, outgoing.timeout or self._timeout)
        try:
            async with time_limit(limit) as whole:
                response = await self._send(request)
                is_decoded = response.is_stream_consumed  # by a mock or a hook, which has read all of it
                body = await _read(response, max_bytes)
        except self._faults as fault:
            expired = TimeoutError(f"the response was not complete within {limit:g} s") if whole.expired() else None
            raise self._translated(expired or fault, outgoing, trace) from fault
        headers = header_fields(response.headers.raw)
        if is_decoded:
            headers.pop("content-encoding", None)
        return HttpResponse(response.status_code, headers, body)

    async def aclose(self) -> None:
        """Close the client if it is owned."""
        if self._owned:
            await self._client.aclose()

    def _has_own_transports(self) -> bool:
        """Return True if all transports of the client are the library's own.

        Other transports, and mocks, may report nothing, or too late.
        """
        mounts = getattr(self._client, "_mounts", {})
        transports = (getattr(self._client, "_transport", None), *mounts.values())
        # A mount without a transport means the client's default transport.
        return all(type(one) is self._own_transport for one in transports if one is not None)

    def _make_own(self, outgoing: TransportRequest, trace: _Trace) -> Any:
        """Return a request to the provider, with the client's defaults except its credentials."""
        headers, form = outgoing.headers.values, outgoing.form
        body = {"content": outgoing.content} if form is None else form_arguments(form)
        url = outgoing.base + outgoing.path
        # A read may be repeated in any case, so a trace of it would cost time for nothing.
        extensions = self._timeouts(outgoing) | ({} if _is_read(outgoing) else {"trace": trace})
        with self._unsent_faults():
            request = self._client.build_request(outgoing.method, url, headers=headers, extensions=extensions, **body)
        for name in _CALLERS_CREDENTIALS:
            if name not in headers:
                request.headers.pop(name, None)
        return request

    def _make_foreign(self, outgoing: TransportRequest) -> Any:
        """Return a request without the client's parameters, headers and cookies."""
        url, headers = outgoing.base + outgoing.path, outgoing.headers.values
        with self._unsent_faults():
            return self._library.Request(outgoing.method, url, headers=headers, extensions=self._timeouts(outgoing))

    @contextlib.contextmanager
    def _unsent_faults(self) -> Iterator[None]:
        """Raise the faults of a request that cannot be made. The same exceptions in sending may be the response's."""
        try:
            yield
        except self._faults as fault:
            raise fault_of(fault, unsent=True) from fault

    def _timeouts(self, outgoing: TransportRequest) -> dict[str, Any]:
        idle = outgoing.timeout or self._timeout
        return {"timeout": {"connect": self._timeout, "pool": self._timeout, "read": idle, "write": idle}}

    async def _send(self, request: Any) -> Any:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)

    async def _chunks(self, response: Any, outgoing: TransportRequest, trace: _Trace) -> AsyncIterator[bytes]:
        try:
            async for chunk in _raw_chunks(response):
                yield chunk
        except self._faults as fault:
            raise self._translated(fault, outgoing, trace) from fault

    def _translated(self, fault: Exception, outgoing: TransportRequest, trace: _Trace) -> Exception:
        if isinstance(fault, CertificatesUnusable):  # of the package's own transport, under a caller's client
            strip(fault, None)
            return ConfigurationError(str(fault))
        known = getattr(fault, "unsent", None)  # of the package's own transport, under a caller's client
        if known is not None:
            unsent = bool(known)
        elif trace.has_events:
            unsent = not trace.sent
        else:
            by_own = isinstance(fault, self._unsent_by_own) and self._has_own_transports()
            unsent = by_own or isinstance(fault, self._library.PoolTimeout)
        refused = refused_certificate(fault)
        if refused is None:
            return fault_of(fault, unsent=unsent)
        explained = explain_handshake(httpx.URL(outgoing.base).host, refused)
        return TransportFault(f"{type(fault).__name__}: {explained}", unsent=unsent)


async def _read(response: Any, max_bytes: int) -> bytes:
    body = b""
    try:
        async for chunk in _raw_chunks(response):
            body = body + chunk if body else chunk
            if len(body) > max_bytes:
                raise ResponseTooLong(response.status_code, header_fields(response.headers.raw), max_bytes, body)
    finally:
        await response.aclose()
    return body


def _raw_chunks(response: Any) -> AsyncIterator[bytes]:
    """Return the body as it arrives, not decoded, because the library would decode without a limit."""
    chunks: AsyncIterator[bytes] = response.aiter_bytes() if response.is_stream_consumed else response.aiter_raw()
    return chunks


def _is_read(outgoing: TransportRequest) -> bool:
    return outgoing.method == "GET"


def _library_of(client: Any) -> ModuleType:
    """Return the module of the client's class: httpx or httpx2."""
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        'http must be an httpx.AsyncClient, an httpx2.AsyncClient or "httpx", got'
        f" {type(client).__module__}.{type(client).__qualname__}; nothing was sent"
    )
