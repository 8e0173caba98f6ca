"""Every call goes through here.

Over the door's own connections or the caller's client; with the key, to the provider's own host only; and every
foreign exception is translated, once.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio.lowlevel
import attrs
import httpx

from aiowery._core.messages import MAIN_HOST, HttpRequest, HttpResponse
from aiowery._core.urls import is_loopback, is_private, validate_base_url
from aiowery._http.api_key import ApiKeySource
from aiowery._http.httpcore_transport import HttpcoreTransport
from aiowery._http.httpx_transport import HttpxTransport
from aiowery._http.transport import StreamingResponse, Transport, TransportRequest
from aiowery.errors import (
    DownloadError,
    NoAnswer,
    NotSent,
    TransportError,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from aiowery._http.httpx_transport import HTTPChoice

_LARGEST_ANSWER: Final = 16 * 1024 * 1024
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {"user-agent": "aiowery", "accept": "application/json"}
# Undecoded, so that ranges count the bytes of the file.
_FOREIGN_HEADERS: Final = {"user-agent": "aiowery", "accept-encoding": "identity"}
_SENDING: Final = "send_request_headers.started"

BeforeSend = Callable[[], Awaitable[None]]
"""Called when a paid request is about to leave; while it has not returned, nothing is sent, and never if it raises."""


@attrs.define
class _Trace:
    """Hears from the HTTP library how far a request has come, and passes the fence before the first byte leaves."""

    before_send: BeforeSend | None = None
    responded: bool = False
    sent: bool = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.responded = True
        # A proxy's CONNECT reports the same event; it carries no body and costs nothing.
        if event.endswith(_SENDING) and getattr(info.get("request"), "method", b"") != b"CONNECT":
            await self.call_before_send()
            self.sent = True

    async def call_before_send(self) -> None:
        """Pass the fence, once; what it raises keeps the request from being sent."""
        fence, self.before_send = self.before_send, None
        if fence is not None:
            await fence()


@attrs.define
class _Translation:
    """Turns the HTTP library's exceptions into ours, `from` the original."""

    way: Transport
    trace: _Trace | None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(fault, self.way.faults):
            raise self._of(fault) from fault

    def _of(self, fault: Exception) -> TransportError:
        what, trace = self.way.describe(fault), self.trace
        if self.way.is_provably_unsent(fault) if trace is None or not trace.responded else not trace.sent:
            return NotSent(f"{what}; nothing was sent: check the network, base_url and any proxy")
        return NoAnswer(f"{what}; the request may have arrived")


Translated = Callable[[], _Translation]


class DownloadResponse:
    """A download under way: status, headers, and its bytes in chunks."""

    def __init__(self, reply: StreamingResponse, translated: Translated) -> None:
        self._reply = reply
        self._translated = translated
        self.http_status: int = reply.http_status
        self.headers: Mapping[str, str] = reply.headers

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def encoded(self) -> bool:
        """Whether the body comes compressed, although nobody asked for that."""
        return self.headers.get("content-encoding", "identity") != "identity"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes as they arrive."""
        with self._translated():
            async for chunk in self._reply.chunks:
                yield chunk


@attrs.frozen(repr=False)
class _Key:
    """A key as it goes out, and as a server may quote it back; made once, not for every call."""

    secret: str
    headers: Mapping[str, str]
    quoted: tuple[bytes, ...]

    @classmethod
    def of(cls, secret: str) -> Self:
        escaped = json.dumps(secret)[1:-1]
        spellings = {secret, escaped, escaped.replace("/", "\\/")}
        return cls(secret, {**_HEADERS, "authorization": f"Bearer {secret}"}, tuple(one.encode() for one in spellings))

    def hidden_in(self, answer: HttpResponse) -> HttpResponse:
        """Return an answer whose server does not get the key, which it quotes, into our results and errors."""
        headers, body = answer.headers, answer.body
        for quoted in self.quoted:
            if quoted in body:
                body = body.replace(quoted, b"***")
        if any(self.secret in value for value in headers.values()):
            headers = {name: value.replace(self.secret, "***") for name, value in headers.items()}
        return HttpResponse(answer.http_status, headers, body)


class HttpClient:
    """One provider host, one key, one way to send."""

    def __init__(
        self,
        base_url: str,
        credential: ApiKeySource,
        way: Transport,
        *,
        timeout: float,
        other_hosts: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url: str = validate_base_url(base_url)
        self._hosts = {
            MAIN_HOST: self.base_url,
            **{name: validate_base_url(url) for name, url in (other_hosts or {}).items()},
        }
        self._credential = credential
        self._made: _Key | None = None
        self._way = way
        self._timeout = timeout

    @classmethod
    async def open(
        cls,
        base_url: str,
        credential: ApiKeySource,
        *,
        connections: int,
        timeout: float,
        http: HTTPChoice | None = None,
        other_hosts: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a door over `connections` of its own, httpx's or "fast" ones, or through the caller's client.

        `other_hosts` are further addresses of the same provider, which get the same key; a call names its own.
        """
        way = await _choose_transport(http, connections, timeout)
        return cls(base_url, credential, way, timeout=timeout, other_hosts=other_hosts)

    async def aclose(self) -> None:
        """Close the connections, if they are the door's own."""
        await self._way.aclose()

    async def send(self, call: HttpRequest, fence: BeforeSend | None = None) -> HttpResponse:
        """Make one call with the key and return the whole answer, whatever its status.

        The `fence` is passed when the first byte is about to leave: after pool, DNS, connect and TLS. Over a way
        that does not tell of that moment, it is passed before the call.

        Raises NotSent or NoAnswer; UnexpectedResponse for an answer beyond 16 MB; what the fence raises.
        """
        key = await self._key()
        # A read may be repeated in any case: how far it has come is not worth the listening.
        trace = None if call.method == "GET" and fence is None else _Trace(fence)
        patience = max(call.timeout or 0.0, self._timeout)
        with self._translated(trace):
            if trace is not None and not self._way.reports_send_start():
                await trace.call_before_send()
            host, headers = self._hosts[call.host], _typed(call, key.headers)
            outgoing = TransportRequest(call.method, host, call.path, headers, call.body, call.form, patience, trace)
            answer = await self._way.send_and_read(outgoing, _LARGEST_ANSWER)
        if len(answer.body) > _LARGEST_ANSWER:
            raise UnexpectedResponse(
                f"HTTP {answer.http_status} with more than {_LARGEST_ANSWER} bytes; the rest was not read",
                http_status=answer.http_status,
            )
        return key.hidden_in(answer)

    async def _key(self) -> _Key:
        secret = await self._credential.key()
        if self._made is None or self._made.secret != secret:
            self._made = _Key.of(secret)
        return self._made

    @contextlib.asynccontextmanager
    async def download(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[DownloadResponse]:
        """Open a foreign url without credentials, through at most five redirects, each checked."""
        with self._translated():
            reply = await self._follow(url, {**_FOREIGN_HEADERS, **headers})
        try:
            yield DownloadResponse(reply, self._translated)
        finally:
            await reply.aclose()

    async def _follow(self, url: str, headers: Mapping[str, str]) -> StreamingResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_foreign(url)
            reply = await self._way.send(TransportRequest("GET", url, "", headers))
            target = reply.headers.get("location")
            if reply.http_status not in _REDIRECTS or target is None:
                return reply
            await reply.aclose()
            url = str(_parsed(url).join(_parsed(target)))
        raise NoAnswer(f"more than {_MOST_REDIRECTS} redirects, the last to {url}")

    def _check_foreign(self, url: str) -> None:
        """Refuse what a server has no business to make us read: other schemes, and our own network."""
        target = _parsed(url)
        if target.scheme not in {"http", "https"} or not target.host:
            raise DownloadError(f"{url!r} is not a web address; nothing was fetched", url=url)
        if is_private(target.host) and not is_loopback(httpx.URL(self.base_url).host):
            raise DownloadError(f"{url!r} lies in a private network; nothing was fetched", url=url)

    def _translated(self, trace: _Trace | None = None) -> _Translation:
        if self._way.is_closed():
            raise NotSent("the HTTP client is closed; nothing was sent: open it, or give another as http=")
        return _Translation(self._way, trace)


async def _choose_transport(http: HTTPChoice | None, connections: int, timeout: float) -> Transport:
    if http is None:
        return await HttpcoreTransport.open(connections, timeout)
    if http == "fast":
        from aiowery._http.pyreqwest_transport import PyreqwestTransport  # noqa: PLC0415 - an extra

        return await PyreqwestTransport.open(connections, timeout)
    await anyio.lowlevel.checkpoint()  # loads anyio's part for this event loop: now, and not for the first request
    return HttpxTransport(http, timeout)


def _typed(call: HttpRequest, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add what says of which kind the body is."""
    if call.body is not None:
        return {**headers, "content-type": "application/json"}
    if call.form is not None:
        # Said here, for a caller's client may have a content type of its own for everything.
        return {**headers, "content-type": f"multipart/form-data; boundary={secrets.token_hex(16)}"}
    return headers


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        parsed.host  # noqa: B018 - this is where a name in Punycode that is none comes to light
    except (httpx.InvalidURL, UnicodeError) as fault:
        raise DownloadError(f"{url!r} is not a web address ({fault}); nothing was fetched", url=url) from fault
    return parsed
