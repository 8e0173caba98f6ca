"""Choose, for each request, between the package's own connections and httpx's: for proxies and mocks."""

from __future__ import annotations

import os
import urllib.request
from typing import Final

import httpx

from aiowery._core.messages import HttpResponse
from aiowery._core.urls import is_loopback
from aiowery._http.httpx_transport import HttpxTransport
from aiowery._http.mocks import is_mocked
from aiowery._http.pooled_transport import PooledHttpTransport
from aiowery._http.shared_pools import join_pools
from aiowery._http.transport import BeforeSend, StreamingResponse, Transport, TransportRequest
from aiowery.errors import ConfigurationError

HTTPX: Final = "httpx"
"""The choice of httpx's own connections: `http="httpx"`, or this value of the environment variable AIOWERY_HTTP."""
_VARIABLE: Final = "AIOWERY_HTTP"
_MAX_BASES: Final = 64


class TransportRouter(Transport):
    """A transport that sends over the pools, and over httpx where a mock is active or the environment names a proxy.

    Loopback never goes through a proxy. `only_httpx`: send everything over httpx. `allow_private`: download from
    private addresses too.
    """

    def __init__(
        self, limits: httpx.Limits, timeout: float, *, only_httpx: bool = False, allow_private: bool = False
    ) -> None:
        pools = self._pools = join_pools()
        self._short = PooledHttpTransport(pools.short, timeout)
        self._long = PooledHttpTransport(pools.long, timeout)
        self._downloads = self._long if allow_private else PooledHttpTransport(pools.public, timeout)
        self._closed = False
        self._limits = limits
        self._timeout = timeout
        self._only_httpx = only_httpx or os.environ.get(_VARIABLE) == HTTPX
        self._over_httpx: dict[str | None, HttpxTransport] = {}
        self._proxies: dict[str, str | None] = {}
        if self._only_httpx:
            self._make_over_httpx(None)

    def is_closed(self) -> bool:
        """Return True once the transport is closed."""
        return self._closed

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request over the transport for it."""
        return await self._transport_for(outgoing.base, self._downloads).send(outgoing)

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send a request over the transport for it, and return the whole response."""
        is_long = outgoing.form is not None or (outgoing.timeout or 0.0) > self._timeout
        transport = self._transport_for(outgoing.base, self._long if is_long else self._short)
        return await transport.send_and_read(outgoing, max_bytes, before_send)

    async def aclose(self) -> None:
        """End everything under way, and leave the pools."""
        if self._closed:
            return
        self._closed = True
        for pooled in (self._short, self._long, self._downloads):
            pooled.close()
        try:
            while self._over_httpx:
                _, transport = self._over_httpx.popitem()
                await transport.aclose()
        finally:
            await self._pools.leave()

    def _transport_for(self, base: str, pooled: PooledHttpTransport) -> Transport:
        if base not in self._proxies:
            if len(self._proxies) >= _MAX_BASES:
                self._proxies.clear()
            self._proxies[base] = environment_proxy(base)
        proxy = self._proxies[base]
        if proxy is None and not self._only_httpx and not is_mocked():
            return pooled
        return self._over_httpx.get(proxy) or self._make_over_httpx(proxy)

    def _make_over_httpx(self, proxy: str | None) -> HttpxTransport:
        transport = self._over_httpx[proxy] = HttpxTransport(self._make_client(proxy), self._timeout, owned=True)
        return transport

    def _make_client(self, proxy: str | None) -> httpx.AsyncClient:
        try:
            transport = httpx.AsyncHTTPTransport(proxy=proxy, limits=self._limits)
        except (ImportError, RuntimeError, ValueError, httpx.InvalidURL) as fault:
            raise ConfigurationError(
                f"the environment's proxy cannot be used ({fault}); nothing was sent: correct HTTP_PROXY, HTTPS_PROXY"
                " or ALL_PROXY, or give an httpx.AsyncClient as http="
            ) from fault
        except OSError as fault:
            raise ConfigurationError(
                f"the certificates cannot be read ({fault}); nothing was sent: correct SSL_CERT_FILE or SSL_CERT_DIR"
            ) from fault
        return httpx.AsyncClient(transport=transport, trust_env=False)


def environment_proxy(base: str) -> str | None:
    """Return the URL of the proxy that the environment names for a base URL, None for none and for loopback."""
    try:
        url = httpx.URL(base)
    except httpx.InvalidURL:
        return None
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
