"""Every call goes through here.

Over the door's own connections or the caller's client; with the key, to the provider's own host only; and every
foreign exception is translated, once.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import attrs
import httpx

from aiowery._addresses import checked_base_url, is_loopback, is_private
from aiowery._credential import Credential
from aiowery._door._ways import CallersClient, OwnConnections, Way
from aiowery._wire import MAIN_HOST, Answer, Call
from aiowery.errors import (
    DownloadError,
    NoAnswer,
    NotSent,
    TransportError,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from aiowery._door._ways import HTTPClient

_LARGEST_ANSWER: Final = 16 * 1024 * 1024
_MOST_REDIRECTS: Final = 5
_HEADERS: Final = {"user-agent": "aiowery", "accept": "application/json"}
# Undecoded, so that ranges count the bytes of the file.
_FOREIGN_HEADERS: Final = {"user-agent": "aiowery", "accept-encoding": "identity"}
_SENDING: Final = "send_request_headers.started"
# What no transport says of a request that it has begun. A transport that reports no events (aiohttp's, say) calls
# a reset after sending a ConnectError or ConnectTimeout too, so those prove nothing by name.
_UNSENT: Final = ("PoolTimeout", "UnsupportedProtocol")


@attrs.define
class _Trace:
    """Hears from the HTTP library how far a request has come, and passes the fence before the first byte leaves."""

    fence: Fence | None = None
    heard: bool = False
    sent: bool = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.heard = True
        # A proxy's CONNECT reports the same event; it carries no body and costs nothing.
        if event.endswith(_SENDING) and getattr(info.get("request"), "method", b"") != b"CONNECT":
            await self.pass_fence()
            self.sent = True

    async def pass_fence(self) -> None:
        """Pass the fence, once; what it raises keeps the request from being sent."""
        fence, self.fence = self.fence, None
        if fence is not None:
            await fence()

    def proves_unsent(self, fault: Exception) -> bool:
        if self.sent:
            return False
        return self.heard or type(fault).__name__ in _UNSENT


Fence = Callable[[], Awaitable[None]]
"""Called when a paid request is about to leave; while it has not returned, nothing is sent, and never if it raises."""
Translated = Callable[[_Trace], contextlib.AbstractContextManager[None]]


class Body:
    """A download under way: status, headers, and its bytes in chunks."""

    def __init__(self, response: httpx.Response, translated: Translated) -> None:
        self._response = response
        self._translated = translated
        self.http_status = response.status_code
        self.headers = _lower_case(response.headers)

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
        with self._translated(_Trace()):
            async for chunk in self._response.aiter_bytes():
                yield chunk


class Door:
    """One provider host, one key, one way to send."""

    def __init__(
        self,
        base_url: str,
        credential: Credential,
        way: Way,
        *,
        timeout: float,
        other_hosts: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url: str = checked_base_url(base_url)
        self._hosts = {
            MAIN_HOST: self.base_url,
            **{name: checked_base_url(url) for name, url in (other_hosts or {}).items()},
        }
        self._credential = credential
        self._way = way
        self._timeout = timeout

    @classmethod
    async def open(
        cls,
        base_url: str,
        credential: Credential,
        *,
        connections: int,
        timeout: float,
        http: HTTPClient | None = None,
        other_hosts: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a door over `connections` of its own or through the caller's client.

        `other_hosts` are further addresses of the same provider, which get the same key; a call names its own.
        """
        way = CallersClient(http, timeout) if http is not None else await OwnConnections.open(connections, timeout)
        return cls(base_url, credential, way, timeout=timeout, other_hosts=other_hosts)

    async def aclose(self) -> None:
        """Close the connections, if they are the door's own."""
        await self._way.aclose()

    async def call(self, call: Call, fence: Fence | None = None) -> Answer:
        """Make one call with the key and return the whole answer, whatever its status.

        The `fence` is passed when the first byte is about to leave: after pool, DNS, connect and TLS. Over a
        caller's transport that does not tell of that moment, it is passed before the call.

        Raises NotSent or NoAnswer; UnexpectedResponse for an answer beyond 16 MB; what the fence raises.
        """
        key = await self._credential.key()
        headers = {**_HEADERS, "authorization": f"Bearer {key}"}
        if call.body is not None:
            headers["content-type"] = "application/json"
        elif call.form is not None:
            # Said here, for a caller's client may have a content type of its own for everything.
            headers["content-type"] = f"multipart/form-data; boundary={secrets.token_hex(16)}"
        trace = _Trace(fence)
        with self._translated(trace):
            if not self._way.tells_first_byte:
                await trace.pass_fence()
            patience = max(call.timeout or 0.0, self._timeout)
            url = self._hosts[call.host] + call.path
            response = await self._way.send(
                call.method, url, headers, trace, content=call.body, form=call.form, patience=patience
            )
            try:
                body = await _whole(response, 2 * patience)
            finally:
                await response.aclose()
        return Answer(*_without(key, response.status_code, _lower_case(response.headers), body))

    @contextlib.asynccontextmanager
    async def download(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Body]:
        """Open a foreign url without credentials, through at most five redirects, each checked."""
        with self._translated(_Trace()):
            response = await self._follow(url, {**_FOREIGN_HEADERS, **headers})
        try:
            yield Body(response, self._translated)
        finally:
            await response.aclose()

    async def _follow(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_foreign(url)
            response = await self._way.send("GET", url, headers, _Trace())
            if not response.has_redirect_location:
                return response
            await response.aclose()
            url = str(response.url.join(response.headers["location"]))
        raise NoAnswer(f"more than {_MOST_REDIRECTS} redirects, the last to {url}")

    def _check_foreign(self, url: str) -> None:
        """Refuse what a server has no business to make us read: other schemes, and our own network."""
        target = httpx.URL(url)
        if target.scheme not in {"http", "https"} or not target.host:
            raise DownloadError(f"{url!r} is not a web address; nothing was fetched", url=url)
        if is_private(target.host) and not is_loopback(httpx.URL(self.base_url).host):
            raise DownloadError(f"{url!r} lies in a private network; nothing was fetched", url=url)

    @contextlib.contextmanager
    def _translated(self, trace: _Trace) -> Iterator[None]:
        """Turn the library's exceptions into ours, `from` the original."""
        if self._way.is_closed:
            raise NotSent("the HTTP client is closed; nothing was sent: open it, or give another as http=")
        library = self._way.library
        try:
            yield
        except (library.HTTPError, library.InvalidURL, library.StreamError, OSError) as fault:
            raise _translation(fault, trace) from fault


def _translation(fault: Exception, trace: _Trace) -> TransportError:
    what = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
    if trace.proves_unsent(fault):
        return NotSent(f"{what}; nothing was sent: check the network, base_url and any proxy")
    return NoAnswer(f"{what}; the request may have arrived")


def _without(
    key: str, http_status: int, headers: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    """Return an answer whose server does not get the key, which it quotes, into our results and errors."""
    escaped = json.dumps(key)[1:-1]
    for quoted in {key, escaped, escaped.replace("/", "\\/")}:
        if quoted.encode() in body:
            body = body.replace(quoted.encode(), b"***")
    if any(key in value for value in headers.values()):
        headers = {name: value.replace(key, "***") for name, value in headers.items()}
    return http_status, headers, body


def _lower_case(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _whole(response: httpx.Response, patience: float) -> bytes:
    """Read the body. The library's time-out is per chunk: a body that trickles is given up here."""
    body = bytearray()
    give_up = anyio.current_time() + patience
    async for chunk in response.aiter_bytes():
        body += chunk
        if anyio.current_time() > give_up:
            raise NoAnswer(f"the answer did not end within {patience:g} s; the request may have arrived")
        if len(body) > _LARGEST_ANSWER:
            raise UnexpectedResponse(
                f"HTTP {response.status_code} with more than {_LARGEST_ANSWER} bytes; the rest was not read",
                http_status=response.status_code,
            )
    return bytes(body)
