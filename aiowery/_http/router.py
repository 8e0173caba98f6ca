"""Choose, for each request, between the package's own connections and httpx's: for proxies and mocks."""

from __future__ import annotations

import os
import ssl
import sys
from typing import Final

import httpx

from aiowery._core.messages import HttpResponse
from aiowery._http.httpx_transport import HttpxTransport
from aiowery._http.mocks import is_mocked
from aiowery._http.pooled_transport import PooledHttpTransport
from aiowery._http.proxies import EnvironmentProxy, environment_proxy
from aiowery._http.shared_pools import join_pools
from aiowery._http.transport import (
    BeforeSend,
    StreamingResponse,
    Transport,
    TransportFault,
    TransportRequest,
    describe,
)
from aiowery.errors import ConfigurationError
from aiowery.transport import CertificatesUnusable
from aiowery.transport._tls import load_context

HTTPX: Final = "httpx"
"""The choice of httpx's own connections: `http="httpx"`, or this value of the environment variable AIOWERY_HTTP."""
_VARIABLE: Final = "AIOWERY_HTTP"
_MAX_BASES: Final = 64


class TransportRouter(Transport):
    """A transport that sends over the pools, and over httpx where a mock is active or the environment names a proxy.

    Loopback never goes through a proxy. `only_httpx`: send everything over httpx, as on Windows in any case.
    """

    def __init__(self, limits: httpx.Limits, timeout: float, *, only_httpx: bool = False) -> None:
        pools = self._pools = join_pools()
        self._short = PooledHttpTransport(pools.short, timeout)
        self._long = PooledHttpTransport(pools.long, timeout)
        self._downloads = PooledHttpTransport(pools.public, timeout)
        self._closed = False
        self._limits = limits
        self._timeout = timeout
        # The pools have not been seen to work under the event loop of Windows yet.
        self._only_httpx = only_httpx or os.environ.get(_VARIABLE) == HTTPX or sys.platform == "win32"
        self._over_httpx: dict[tuple[EnvironmentProxy | None, bool], HttpxTransport] = {}
        self._proxies: dict[str, EnvironmentProxy | None] = {}
        if self._only_httpx:
            _import_httpx_connections()

    def is_closed(self) -> bool:
        """Return True once the transport is closed."""
        return self._closed

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request over the transport for it."""
        pooled = self._long if outgoing.any_address else self._downloads
        return await (await self._transport_for(outgoing.base, pooled)).send(outgoing)

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send a request over the transport for it, and return the whole response."""
        is_long = outgoing.form is not None or (outgoing.timeout or 0.0) > self._timeout
        transport = await self._transport_for(outgoing.base, self._long if is_long else self._short)
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

    async def _transport_for(self, base: str, pooled: PooledHttpTransport) -> Transport:
        """Return the pooled transport, unless a proxy, a mock or the caller's choice demands httpx."""
        if self._only_httpx or self._proxy_for(base) is not None or is_mocked():
            return await self._over_httpx_for(base)
        return pooled

    def _proxy_for(self, base: str) -> EnvironmentProxy | None:
        if base not in self._proxies:
            if len(self._proxies) >= _MAX_BASES:
                self._proxies.clear()
            self._proxies[base] = environment_proxy(base, dict(os.environ))
        return self._proxies[base]

    async def _over_httpx_for(self, base: str) -> HttpxTransport:
        """Return the transport over httpx for a base URL. Raises ConfigurationError if a setting prevents it."""
        route = self._proxy_for(base), not base.lower().startswith("http:")
        if route not in self._over_httpx:
            try:
                made = await _make_httpx_transport(*route, self._limits)
            except OSError as fault:
                raise TransportFault(describe(fault), unsent=True) from fault
            if self._closed:
                raise TransportFault("the client was closed", unsent=True)
            client = httpx.AsyncClient(transport=made, trust_env=False)
            self._over_httpx.setdefault(route, HttpxTransport(client, self._timeout, owned=True))
        return self._over_httpx[route]


def _import_httpx_connections() -> None:
    """Let httpx import the modules of its connections, so that the first request need not wait for them."""
    httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def _make_httpx_transport(
    proxy: EnvironmentProxy | None, is_tls: bool, limits: httpx.Limits
) -> httpx.AsyncHTTPTransport:
    """Return a transport of httpx's own; certificates are read only if they are needed. Raises ConfigurationError."""
    try:
        tls = await load_context(verify=True, cert=None) if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        through = None
        if proxy is not None:
            to_proxy = await load_context(verify=True, cert=None) if proxy.url.scheme == "https" else None
            through = httpx.Proxy(proxy.url, ssl_context=to_proxy)
        return httpx.AsyncHTTPTransport(verify=tls, proxy=through, limits=limits)
    except CertificatesUnusable as fault:
        raise ConfigurationError(str(fault)) from fault
    except ImportError as fault:
        if proxy is None:
            raise
        raise ConfigurationError(
            f"{proxy.variable} names a SOCKS proxy, for which a package is missing; nothing was sent: pip install"
            " 'httpx[socks]'"
        ) from fault
