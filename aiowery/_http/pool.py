"""A connection pool that is a stack: the last used connection is the next.

httpcore's own pool walks through all its connections several times a request, and polls the sockets of the idle ones.
With two dozen of them that is most of the cost of a status check. The semaphores in front of the HTTP client limit
how many connections there are.
"""

from __future__ import annotations

import ssl
import urllib.request
from typing import Any, Final

import httpcore
import httpx

from aiowery.errors import ConfigurationError

# Shorter than the idle time that servers commonly grant (60 s and more): a connection that the server is just
# closing would put a paid POST in doubt.
KEEPALIVE: Final = 15.0

Connection = httpcore.AsyncConnectionInterface


class ConnectionPool:
    """Keeps up to `most` connections alive, and obeys the environment's proxies."""

    def __init__(self, most: int, tls: ssl.SSLContext) -> None:
        self._most = most
        self._tls = tls
        self._free: list[tuple[httpcore.Origin, Connection]] = []
        self._all: set[Connection] = set()

    async def acquire(self, origin: httpcore.Origin) -> Connection:
        """Return the last used free connection to this origin, or a new one in the place of the longest idle."""
        while (free := self._last_free(origin)) is not None:
            if not free.has_expired():
                return free
            await self.discard(free)
        if self._free and len(self._all) >= self._most:
            await self.discard(self._free.pop(0)[1])
        connection = self._open(origin)
        self._all.add(connection)
        return connection

    def _last_free(self, origin: httpcore.Origin) -> Connection | None:
        for index in reversed(range(len(self._free))):
            if self._free[index][0] == origin:
                return self._free.pop(index)[1]
        return None

    async def release(self, origin: httpcore.Origin, connection: Connection) -> None:
        """Take a connection back after an exchange, to be used again if it can be."""
        if connection in self._all and connection.is_idle():
            self._free.append((origin, connection))
        else:
            await self.discard(connection)

    async def discard(self, connection: Connection) -> None:
        """Close a connection that broke off: a cancelled request can leave it busy for ever, in httpcore's eyes."""
        self._all.discard(connection)
        await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        self._free.clear()
        while self._all:
            await self._all.pop().aclose()

    def _open(self, origin: httpcore.Origin) -> Connection:
        scheme = origin.scheme.decode()
        proxy = _environment_proxy(scheme, origin.host.decode())
        try:
            # A pool knows which kind of connection leads where; it is needed for no more.
            pool = httpcore.AsyncConnectionPool(**self._common()) if proxy is None else self._proxied(proxy)
            return pool.create_connection(origin)
        except (ImportError, RuntimeError, ValueError, httpx.InvalidURL) as fault:
            raise ConfigurationError(
                f"the environment's proxy for {scheme} cannot be used ({fault}); correct {scheme.upper()}_PROXY or"
                " ALL_PROXY, or give an httpx.AsyncClient as http="
            ) from fault

    def _common(self) -> dict[str, Any]:
        return {"ssl_context": self._tls, "keepalive_expiry": KEEPALIVE}

    def _proxied(self, url: str) -> httpcore.AsyncConnectionPool:
        proxy = httpx.Proxy(url)
        at = proxy.url
        where = httpcore.URL(scheme=at.raw_scheme, host=at.raw_host, port=at.port, target=at.raw_path)
        if at.scheme.startswith("socks"):
            return httpcore.AsyncSOCKSProxy(where, proxy_auth=proxy.raw_auth, **self._common())
        return httpcore.AsyncHTTPProxy(
            where, proxy_auth=proxy.raw_auth, proxy_headers=proxy.headers.raw, **self._common()
        )


def _environment_proxy(scheme: str, host: str) -> str | None:
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
