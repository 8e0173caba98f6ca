"""Send every HTTP request of a client.

The requests go over the client's own connections or the caller's HTTP client. The key goes to the provider's hosts
only; files are fetched without it. Each exception of an HTTP library is translated once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Self

import anyio.lowlevel
import httpx

from aiowery._core.messages import MAIN_HOST, HttpRequest, HttpResponse
from aiowery._core.redaction import KeyRedactor
from aiowery._core.urls import Hosts, validate_base_url
from aiowery._core.webhook_config import without_addresses
from aiowery._http.api_key import ApiKeySource
from aiowery._http.causes import strip
from aiowery._http.decoding import decode_body
from aiowery._http.foreign import DownloadResponse, FileFetcher, host_and_port
from aiowery._http.httpx_transport import HttpxTransport
from aiowery._http.router import HTTPX, TransportRouter
from aiowery._http.sent_key import SentKey
from aiowery._http.transport import (
    BeforeSend,
    ResponseTooLong,
    Transport,
    TransportFault,
    TransportRequest,
    check_open,
    error_of,
)

if TYPE_CHECKING:
    from aiowery._http.httpx_transport import HTTPChoice

_MAX_RESPONSE: Final = 16 * 1024 * 1024


class HttpClient:
    """An HTTP client for one provider, with one API key and one transport."""

    def __init__(
        self,
        base_url: str,
        api_key: ApiKeySource,
        transport: Transport,
        *,
        timeout: float,
        other_hosts: Mapping[str, str] | None = None,
        allow_hosts: Hosts = frozenset(),
    ) -> None:
        self.base_url: str = validate_base_url(base_url)
        self._hosts = {
            MAIN_HOST: self.base_url,
            **{name: validate_base_url(url) for name, url in (other_hosts or {}).items()},
        }
        own_hosts = {host_and_port(httpx.URL(url)) for url in self._hosts.values()}
        self._files = FileFetcher(transport, timeout, allow_hosts | own_hosts)
        self._api_key = api_key
        self._sent_key: SentKey | None = None
        self._transport = transport
        self._timeout = timeout

    @classmethod
    async def open(
        cls,
        base_url: str,
        api_key: ApiKeySource,
        *,
        connections: int,
        timeout: float,
        http: HTTPChoice | None = None,
        other_hosts: Mapping[str, str] | None = None,
        allow_hosts: Hosts = frozenset(),
    ) -> Self:
        """Open a client with up to `connections` of its own, or over the caller's HTTP client.

        `http` selects the transport: None for the package's own, "httpx" for httpx's, or the caller's client.
        `other_hosts` are further base URLs of the same provider, which get the same key; a request names its host.
        `timeout` is in seconds. `allow_hosts` are hosts, with their ports or None, from which files may be downloaded
        although they lie in a private network, as from the hosts of the base URLs.
        """
        for url in (base_url, *(other_hosts or {}).values()):
            validate_base_url(url)
        transport = await _choose_transport(http, connections, timeout)
        return cls(base_url, api_key, transport, timeout=timeout, other_hosts=other_hosts, allow_hosts=allow_hosts)

    async def aclose(self) -> None:
        """Close the connections, unless they belong to the caller's client."""
        await self._transport.aclose()

    async def send(self, request: HttpRequest, before_send: BeforeSend | None = None) -> HttpResponse:
        """Send one request with the key and return the whole response, whatever its status.

        `before_send` runs when the first byte is next: after pool, DNS, connect and TLS. If the caller's client does
        not report that moment, it runs before the request.

        Raises NotSent or NoAnswer, UnexpectedResponse for a response beyond 16 MB, and what `before_send` raises.
        """
        handled = sys.exception()
        key = await self._current_key()
        timeout = max(request.timeout or 0.0, self._timeout)
        host, headers = self._hosts[request.host], key.headers_for(request)
        outgoing = TransportRequest(request.method, host, request.path, headers, request.body, request.form, timeout)
        check_open(self._transport)
        try:
            response = await self._transport.send_and_read(outgoing, _MAX_RESPONSE, before_send)
        except TransportFault as fault:
            key.redact_fault(fault)
            raise error_of(fault, handled) from fault.__cause__
        except ResponseTooLong as fault:
            strip(fault, handled)
            message = f"{fault}; the request has arrived, and the rest of the response was not read"
            raise key.unreadable(message, fault.response) from None
        return _decoded(response, key)

    def download(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[DownloadResponse]:
        """Open a URL of any host without the key, through at most five redirects; each target is checked."""
        return self._files.download(url, headers)

    @property
    def redactor(self) -> KeyRedactor | None:
        """What takes the key in use out of texts; None before the first request."""
        return None if self._sent_key is None else self._sent_key.redactor

    def redacted(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key, for errors, logs and `raw`.

        Ids and URLs of a result are read from the response as it came.
        """
        return response if self._sent_key is None else self._sent_key.redacted(response)

    async def _current_key(self) -> SentKey:
        secret = await self._api_key.key()
        if self._sent_key is None or self._sent_key.secret != secret:
            self._sent_key = SentKey.from_secret(secret)
        return self._sent_key


async def _choose_transport(http: HTTPChoice | None, connections: int, timeout: float) -> Transport:
    await anyio.lowlevel.checkpoint()  # anyio loads its backend here, so that the first request need not wait for it
    if http is None or http == HTTPX:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        return TransportRouter(limits, timeout, only_httpx=http == HTTPX)
    return HttpxTransport(http, timeout)


def _decoded(response: HttpResponse, key: SentKey) -> HttpResponse:
    """Return the response with its body decoded, and without the secrets of webhook URLs, which a provider may quote.

    Raises UnexpectedResponse for a coding that cannot be decoded.
    """
    coding = response.headers.get("content-encoding", "")
    try:
        body = without_addresses(decode_body(response.body, coding, _MAX_RESPONSE))
    except ValueError as fault:
        message = f"HTTP {response.http_status}: {fault}; the request has arrived"
        raise key.unreadable(message, response) from None
    return response if body is response.body else HttpResponse(response.http_status, response.headers, body)
