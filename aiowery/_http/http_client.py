"""Send every HTTP request of a client, and download files.

The requests go over the client's own connections or the caller's HTTP client. The key goes to the provider's hosts
only. Each exception of an HTTP library is translated once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import anyio.lowlevel
import attrs
import httpx

from aiowery._base.secret import HoldsSecret, Secret
from aiowery._core.messages import MAIN_HOST, HttpRequest, HttpResponse
from aiowery._core.redaction import KeyRedactor
from aiowery._core.urls import Hosts, is_host, is_private, normalized_host, validate_base_url
from aiowery._core.webhook_config import without_addresses
from aiowery._http.api_key import ApiKeySource
from aiowery._http.causes import strip
from aiowery._http.decoding import decode_body, is_coded
from aiowery._http.httpx_transport import HttpxTransport
from aiowery._http.router import HTTPX, TransportRouter
from aiowery._http.transport import (
    AddressFault,
    BeforeSend,
    RequestHeaders,
    ResponseTooLong,
    StreamingResponse,
    Transport,
    TransportFault,
    TransportRequest,
    total_limit,
)
from aiowery.errors import (
    DownloadError,
    NoAnswer,
    NotSent,
    UnexpectedResponse,
)
from aiowery.transport._excerpt import clean_excerpt

if TYPE_CHECKING:
    from aiowery._http.httpx_transport import HTTPChoice

_MAX_RESPONSE: Final = 16 * 1024 * 1024
_MAX_REDIRECTS: Final = 5
_FILE_STATUSES: Final = frozenset({200, 206})
_MIN_RATE: Final = 1_000
_RATE_SECONDS: Final = 30.0
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "user-agent": "aiowery",
    "accept": "application/json",
    "accept-encoding": "identity",
    "cache-control": "no-cache",
}
_PORTS: Final = {"http": 80, "https": 443}
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
# Not compressed, so that ranges count the bytes of the file.
_FOREIGN_HEADERS: Final = {"user-agent": "aiowery", "accept-encoding": "identity"}


class DownloadResponse:
    """A download under way: status, headers, and its bytes in chunks."""

    def __init__(self, response: StreamingResponse) -> None:
        self._response = response
        self.http_status: int = response.http_status
        self.headers: Mapping[str, str] = response.headers

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; the first one of a repeated header."""
        return self.headers.get("content-type", "").partition(";")[0].partition(",")[0].strip().lower()

    def retry_after(self) -> float | None:
        """Return the seconds in the Retry-After header; None without one."""
        return HttpResponse(self.http_status, self.headers, b"").retry_after()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes as they arrive. Raises NoAnswer if they trickle."""
        now, handled = asyncio.get_running_loop().time, sys.exception()
        waited, received = 0.0, 0
        began = now()
        try:
            async for chunk in self._response.chunks:
                waited += now() - began
                received += len(chunk)
                if waited > _RATE_SECONDS:
                    if received < _MIN_RATE * waited:
                        raise NoAnswer(f"fewer than {_MIN_RATE:,} bytes a second for {_RATE_SECONDS:g} s")
                    waited, received = 0.0, 0
                yield chunk
                began = now()
        except TransportFault as fault:
            raise _translated(fault, handled) from fault.__cause__


@attrs.frozen(repr=False)
class _SentKey(HoldsSecret):
    """An API key as it is sent, and what takes it out of texts that a server quotes it in.

    It is made once for each key, not for each request.
    """

    secret: Secret
    headers: RequestHeaders
    json_headers: RequestHeaders
    redactor: KeyRedactor

    @classmethod
    def from_secret(cls, secret: Secret) -> Self:
        headers = RequestHeaders({**_HEADERS, "authorization": f"Bearer {secret.reveal()}"})
        json_headers = headers.including("content-type", "application/json")
        return cls(secret, headers, json_headers, KeyRedactor(secret.reveal()))

    def redact_fault(self, fault: TransportFault) -> None:
        """Remove the key from a fault and its cause."""
        for error in filter(None, (fault, fault.__cause__)):
            error.args = tuple(self.redactor.redact_cut(one) if isinstance(one, str) else one for one in error.args)
            if excerpt := getattr(error, "excerpt", ""):
                vars(error)["excerpt"] = self.redactor.redact_cut(excerpt)


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
        self._allowed = allow_hosts | {_host_and_port(httpx.URL(url)) for url in self._hosts.values()}
        self._api_key = api_key
        self._sent_key: _SentKey | None = None
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
        host, headers = self._hosts[request.host], _headers_for(request, key)
        outgoing = TransportRequest(request.method, host, request.path, headers, request.body, request.form, timeout)
        self._check_open()
        try:
            response = await self._transport.send_and_read(outgoing, _MAX_RESPONSE, before_send)
        except TransportFault as fault:
            raise _translated(fault, handled, key) from fault.__cause__
        except ResponseTooLong as fault:
            strip(fault, handled)
            message = f"{fault}; the request has arrived, and the rest of the response was not read"
            raise _unreadable(message, fault.http_status, fault.beginning, key) from None
        return _decoded(response, key)

    @property
    def redactor(self) -> KeyRedactor | None:
        """What takes the key in use out of texts; None before the first request."""
        return None if self._sent_key is None else self._sent_key.redactor

    def redacted(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key, for errors, logs and `raw`.

        Ids and URLs of a result are read from the response as it came.
        """
        if self._sent_key is None:
            return response
        redactor = self._sent_key.redactor
        headers = {name: redactor.redact(value) for name, value in response.headers.items()}
        body = response.body
        if redactor.occurs_in(body):
            with contextlib.suppress(UnexpectedResponse, RecursionError):  # it is no JSON
                body = json.dumps(redactor.redact_json(response.json())).encode()
        return HttpResponse(response.http_status, headers, redactor.redact_bytes(body))

    async def _current_key(self) -> _SentKey:
        secret = await self._api_key.key()
        if self._sent_key is None or self._sent_key.secret != secret:
            self._sent_key = _SentKey.from_secret(secret)
        return self._sent_key

    @contextlib.asynccontextmanager
    async def download(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[DownloadResponse]:
        """Open a URL of any host without the key, through at most five redirects; each target is checked."""
        self._check_open()
        handled = sys.exception()
        try:
            response = await self._follow(url, RequestHeaders({**_FOREIGN_HEADERS, **headers}))
        except TransportFault as fault:
            raise _translated(fault, handled) from fault.__cause__
        coding = response.headers.get("content-encoding", "")
        if is_coded(coding) and response.http_status in _FILE_STATUSES:
            await response.aclose()
            raise DownloadError(
                f"{url} was sent with content-encoding {coding[:64]!r}, which was not accepted; nothing was saved:"
                " fetch it by other means",
                url=url,
            )
        try:
            yield DownloadResponse(response)
        finally:
            await response.aclose()

    async def _follow(self, url: str, headers: RequestHeaders) -> StreamingResponse:
        target = _parse_url(url)
        for _ in range(_MAX_REDIRECTS + 1):
            is_allowed = self._check_foreign(target)
            # What was checked is what is sent.
            outgoing = TransportRequest("GET", str(target), "", headers, any_address=is_allowed)
            try:
                response = await self._begin_download(outgoing)
            except AddressFault:
                raise _private_error(target) from None
            location = response.headers.get("location")
            if response.http_status not in _REDIRECT_STATUSES or location is None:
                return response
            await response.aclose()
            target = _parse_url(str(target.join(_parse_url(_whole_location(location)))))
        raise NoAnswer(f"more than {_MAX_REDIRECTS} redirects, the last to {target}; nothing was fetched")

    async def _begin_download(self, outgoing: TransportRequest) -> StreamingResponse:
        """Return a response when it begins. The body has a least rate, its head has a limit."""
        limit = total_limit(self._timeout, self._timeout, self._timeout)  # for a connection, connecting, reading
        try:
            async with asyncio.timeout(limit):
                return await self._transport.send(outgoing)
        except TimeoutError:
            raise NoAnswer(f"the response did not begin within {limit:g} s") from None

    def _check_foreign(self, target: httpx.URL) -> bool:
        """Return True for a host that the caller has named. Raises DownloadError for one in a private network.

        A server must not be able to make this client read local addresses.
        """
        if target.scheme not in _PORTS or not is_host(target.raw_host.decode("ascii")):
            raise DownloadError(f"{str(target)!r} is not a web address; nothing was fetched", url=str(target))
        host, port = _host_and_port(target)
        if (host, port) in self._allowed or (host, None) in self._allowed:
            return True
        if is_private(host):
            raise _private_error(target)
        return False

    def _check_open(self) -> None:
        if self._transport.is_closed():
            raise NotSent("the HTTP client is closed; nothing was sent: open it, or give another as http=")


async def _choose_transport(http: HTTPChoice | None, connections: int, timeout: float) -> Transport:
    await anyio.lowlevel.checkpoint()  # anyio loads its backend here, so that the first request need not wait for it
    if http is None or http == HTTPX:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        return TransportRouter(limits, timeout, only_httpx=http == HTTPX)
    return HttpxTransport(http, timeout)


def _translated(
    fault: TransportFault, handled: BaseException | None, key: _SentKey | None = None
) -> NotSent | NoAnswer:
    """Return the error of a transport's fault, without the key, which a server may have quoted.

    Its causes keep their messages only, without dozens of frames, whose variables may hold the key.
    """
    strip(fault, handled)
    if fault.unsent:
        return NotSent(f"{fault}; nothing was sent: check the network, base_url and any proxy")
    if key is not None:
        key.redact_fault(fault)
    error = NoAnswer(f"{fault}; the request may have arrived")
    error.excerpt = fault.excerpt
    return error


def _unreadable(message: str, http_status: int, body: bytes, key: _SentKey) -> UnexpectedResponse:
    """Return the error for a response whose body was not read or decoded."""
    error = UnexpectedResponse(key.redactor.redact_cut(message), http_status=http_status)
    error.excerpt = key.redactor.redact_cut(clean_excerpt(body))
    return error


def _decoded(response: HttpResponse, key: _SentKey) -> HttpResponse:
    """Return the response with its body decoded, and without the secrets of webhook URLs, which a provider may quote.

    Raises UnexpectedResponse for a coding that cannot be decoded.
    """
    coding = response.headers.get("content-encoding", "")
    try:
        body = without_addresses(decode_body(response.body, coding, _MAX_RESPONSE))
    except ValueError as fault:
        message = f"HTTP {response.http_status}: {fault}; the request has arrived"
        raise _unreadable(message, response.http_status, response.body, key) from None
    return response if body is response.body else HttpResponse(response.http_status, response.headers, body)


def _headers_for(request: HttpRequest, key: _SentKey) -> RequestHeaders:
    """Return the headers of a request, with the content type of its body."""
    if request.body is not None:
        return key.json_headers
    if request.form is not None:
        # Set explicitly, because a caller's client may have a default content type.
        return key.headers.including("content-type", f"multipart/form-data; boundary={secrets.token_hex(16)}")
    return key.headers


def _parse_url(url: str) -> httpx.URL:
    """Return a URL without credentials. Raises DownloadError for one that libraries read differently."""
    if "\\" in url.partition("?")[0]:
        raise DownloadError(f"{url!r} is not a web address (it holds a backslash); nothing was fetched", url=url)
    try:
        parsed = httpx.URL(url)
        parsed.host  # noqa: B018 - httpx raises for invalid Punycode only here
    except (httpx.InvalidURL, UnicodeError) as fault:
        raise DownloadError(f"{url!r} is not a web address ({fault}); nothing was fetched", url=url) from fault
    return parsed.copy_with(userinfo=b"") if parsed.userinfo else parsed


def _whole_location(location: str) -> str:
    """Return a redirect's target in which all bytes are kept: text in UTF-8 as it is, other bytes percent-encoded."""
    raw = location.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return quote(raw, safe=_PRINTABLE)


def _host_and_port(url: httpx.URL) -> tuple[str, int | None]:
    return normalized_host(url.raw_host.decode("ascii")), url.port or _PORTS.get(url.scheme)


def _private_error(url: httpx.URL) -> DownloadError:
    return DownloadError(
        f"{str(url)!r} lies in a private network; nothing was fetched: name its host in allow_hosts= (--allow-host on"
        " the command line) if you trust it",
        url=str(url),
    )
