"""The door's own pool: a stack of connections.

httpcore walks through all connections of a pool several times a request, and polls the sockets of the idle ones.
With two dozen of them that is most of the cost of a status check, so each connection here is a pool of one, and the
last used is the next. How many there are at once is decided by the gates in front of the door.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, cast

import httpx

from aiowery.errors import ConfigurationError

# Shorter than the idle time that servers commonly grant (60 s and more): a connection that the server is just
# closing would put a paid POST in doubt.
_KEEPALIVE: Final = 15.0

_Origin = tuple[str, str, int | None]


class Connections(httpx.AsyncBaseTransport):
    """A transport that keeps up to `most` connections alive, and obeys the environment's proxies.

    httpx reads the proxy variables only for transports that it makes itself.
    """

    def __init__(self, most: int, tls: ssl.SSLContext) -> None:
        self._most = most
        self._tls = tls
        self._free: list[tuple[_Origin, httpx.AsyncHTTPTransport]] = []
        self._all: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request over a free connection, which is taken back when the body has been closed."""
        origin = (request.url.scheme, request.url.host, request.url.port)
        connection = await self._take(origin)

        async def give_back(usable: bool) -> None:
            if usable:
                self._free.append((origin, connection))
            else:
                await self._drop(connection)

        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await give_back(usable=False)
            raise
        response.stream = _Lent(cast("httpx.AsyncByteStream", response.stream), give_back)
        return response

    async def _drop(self, connection: httpx.AsyncHTTPTransport) -> None:
        """Close a connection that broke off: a cancelled request can leave it busy for ever, in httpcore's eyes."""
        self._all.discard(connection)
        await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._all:
            await self._all.pop().aclose()

    async def _take(self, origin: _Origin) -> httpx.AsyncHTTPTransport:
        """Return the last used free connection to this origin, or a new one in the place of the longest idle."""
        for index in reversed(range(len(self._free))):
            if self._free[index][0] == origin:
                return self._free.pop(index)[1]
        if self._free and len(self._all) >= self._most:
            _, idle = self._free.pop(0)
            self._all.discard(idle)
            await idle.aclose()
        connection = self._open(origin)
        self._all.add(connection)
        return connection

    def _open(self, origin: _Origin) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE)
        scheme, host, _ = origin
        proxy = _environment_proxy(scheme, host)
        try:
            return httpx.AsyncHTTPTransport(verify=self._tls, limits=limits, proxy=proxy)
        except (ImportError, ValueError, httpx.InvalidURL) as fault:
            raise ConfigurationError(
                f"the environment's proxy for {scheme} cannot be used ({fault}); correct {scheme.upper()}_PROXY or"
                " ALL_PROXY, or give an httpx.AsyncClient as http="
            ) from fault


class _Lent(httpx.AsyncByteStream):
    """A body whose end gives its connection back."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[bool], Awaitable[None]]) -> None:
        self._stream = stream
        self._give_back: Callable[[bool], Awaitable[None]] | None = give_back
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._whole = True

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        closed = False
        try:
            await self._stream.aclose()
            closed = True
        finally:
            if give_back is not None:
                await give_back(closed and self._whole)


def _environment_proxy(scheme: str, host: str) -> str | None:
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
