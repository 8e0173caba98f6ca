"""Fetch files from any host, without the key: each URL and each redirect is checked before it is connected to.

One parser reads a URL, and what was checked is what is sent and connected to.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import quote

import httpx

from aiowery._core.messages import HttpResponse
from aiowery._core.urls import Hosts, is_host, is_plain_authority, is_private, normalized_host
from aiowery._http.decoding import is_coded
from aiowery._http.transport import (
    AddressFault,
    RequestHeaders,
    StreamingResponse,
    Transport,
    TransportFault,
    TransportRequest,
    check_open,
    error_of,
    total_limit,
)
from aiowery.errors import DownloadError, NoAnswer

_MAX_REDIRECTS: Final = 5
_FILE_STATUSES: Final = frozenset({200, 206})
_MIN_RATE: Final = 1_000
_RATE_SECONDS: Final = 30.0
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_PORTS: Final = {"http": 80, "https": 443}
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
# Not compressed, so that ranges count the bytes of the file.
_HEADERS: Final = {"user-agent": "aiowery", "accept-encoding": "identity"}


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
            raise error_of(fault, handled) from fault.__cause__


class FileFetcher:
    """A sender of GET requests to hosts of files.

    `allowed` are the hosts, with their ports or None, that may lie in a private network. `timeout` is in seconds.
    """

    def __init__(self, transport: Transport, timeout: float, allowed: Hosts) -> None:
        self._transport = transport
        self._timeout = timeout
        self._allowed = allowed

    @contextlib.asynccontextmanager
    async def download(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[DownloadResponse]:
        """Open a URL of any host without the key, through at most five redirects; each target is checked."""
        check_open(self._transport)
        handled = sys.exception()
        try:
            response = await self._follow(url, RequestHeaders({**_HEADERS, **headers}))
        except TransportFault as fault:
            raise error_of(fault, handled) from fault.__cause__
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
            is_allowed = self._check(target)
            # What was checked is what is sent.
            outgoing = TransportRequest("GET", str(target), "", headers, any_address=is_allowed)
            try:
                response = await self._begin(outgoing)
            except AddressFault:
                raise _private_error(target) from None
            location = response.headers.get("location")
            if response.http_status not in _REDIRECT_STATUSES or location is None:
                return response
            await response.aclose()
            target = _parse_url(str(target.join(_parse_url(_whole_location(location)))))
        raise NoAnswer(f"more than {_MAX_REDIRECTS} redirects, the last to {target}; nothing was fetched")

    async def _begin(self, outgoing: TransportRequest) -> StreamingResponse:
        """Return a response when it begins. The body has a least rate, its head has a limit."""
        limit = total_limit(self._timeout, self._timeout, self._timeout)  # for a connection, connecting, reading
        try:
            async with asyncio.timeout(limit):
                return await self._transport.send(outgoing)
        except TimeoutError:
            raise NoAnswer(f"the response did not begin within {limit:g} s") from None

    def _check(self, target: httpx.URL) -> bool:
        """Return True for a host that the caller has named. Raises DownloadError for one in a private network.

        A server must not be able to make this client read local addresses.
        """
        if target.scheme not in _PORTS or not is_host(target.raw_host.decode("ascii")):
            raise DownloadError(f"{str(target)!r} is not a web address; nothing was fetched", url=str(target))
        host, port = host_and_port(target)
        if (host, port) in self._allowed or (host, None) in self._allowed:
            return True
        if is_private(host):
            raise _private_error(target)
        return False


def host_and_port(url: httpx.URL) -> tuple[str, int | None]:
    """Return the host of a URL, in the spelling by which two are compared, and its port, also if it is the usual."""
    return normalized_host(url.raw_host.decode("ascii")), url.port or _PORTS.get(url.scheme)


def _parse_url(url: str) -> httpx.URL:
    """Return a URL without credentials. Raises DownloadError for one that libraries read differently."""
    if "\\" in url.partition("?")[0]:
        raise DownloadError(f"{url!r} is not a web address (it holds a backslash); nothing was fetched", url=url)
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # httpx raises for invalid Punycode only here
        parsed = parsed.copy_with(userinfo=b"") if parsed.userinfo else parsed
        # The transport reads the text again: "http:////a.example" would get a host then.
        is_stable = httpx.URL(str(parsed)).raw_host == parsed.raw_host
    except (httpx.InvalidURL, UnicodeError) as fault:
        raise DownloadError(f"{url!r} is not a web address ({fault}); nothing was fetched", url=url) from fault
    if not is_stable or (host and not is_plain_authority(url)):
        raise DownloadError(f"{url!r} is not a web address (an odd host or port); nothing was fetched", url=url)
    return parsed


def _whole_location(location: str) -> str:
    """Return a redirect's target in which all bytes are kept: text in UTF-8 as it is, other bytes percent-encoded."""
    raw = location.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return quote(raw, safe=_PRINTABLE)


def _private_error(url: httpx.URL) -> DownloadError:
    return DownloadError(
        f"{str(url)!r} lies in a private network; nothing was fetched: name its host in allow_hosts= (--allow-host on"
        " the command line) if you trust it",
        url=str(url),
    )
