"""The way through the caller's client, whose proxies, TLS settings and hooks hold; its credentials stay at home."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx

from aiowery._http.transport import StreamingResponse, Transport, TransportRequest, form_arguments
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

    HTTPClient = httpx.AsyncClient | httpx2.AsyncClient
    HTTPChoice = HTTPClient | Literal["fast"]
else:  # httpx2 need not be installed
    HTTPChoice = httpx.AsyncClient | Literal["fast"]

# What a caller's own client may add to every request, and nobody here asked for.
_CALLERS_CREDENTIALS: Final = ("authorization", "cookie", "x-api-key")


class HttpxTransport(Transport):
    """An `httpx.AsyncClient` or `httpx2.AsyncClient` that belongs to the caller."""

    def __init__(self, client: HTTPClient, timeout: float) -> None:
        library = _library_of(client)
        self._own_transport = library.AsyncHTTPTransport
        self.faults = (
            library.HTTPError,
            library.InvalidURL,
            library.StreamError,
            OSError,
        )
        # A transport that reports no events (aiohttp's, say) calls a reset after sending a ConnectError or
        # ConnectTimeout too, so those prove nothing by name.
        self._unsent = (library.PoolTimeout, library.UnsupportedProtocol)
        # The two libraries share one interface, but not one type.
        self._client: Any = client
        self._timeout = timeout

    def is_closed(self) -> bool:
        """Whether the caller has closed it."""
        return bool(self._client.is_closed)

    def reports_send_start(self) -> bool:
        """Whether all its transports are the library's own: others may report nothing, or too late."""
        mounts = getattr(self._client, "_mounts", {})
        transports = (getattr(self._client, "_transport", None), *mounts.values())
        # A mount without a transport stands for the client's usual one.
        return all(type(one) is self._own_transport for one in transports if one is not None)

    def is_provably_unsent(self, fault: Exception) -> bool:
        """Whether its name alone proves it."""
        return isinstance(fault, self._unsent)

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send through the client."""
        headers, form = outgoing.headers, outgoing.form
        extensions: dict[str, Any] = {"timeout": outgoing.timeouts(self._timeout)}
        if outgoing.trace is not None:
            extensions["trace"] = outgoing.trace
        body = {"content": outgoing.content} if form is None else form_arguments(form)
        url = outgoing.base + outgoing.path
        request = self._client.build_request(outgoing.method, url, headers=headers, extensions=extensions, **body)
        for name in _CALLERS_CREDENTIALS:
            if name not in headers:
                request.headers.pop(name, None)
        response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
        lower_case = {name.lower(): value for name, value in response.headers.items()}
        return StreamingResponse(response.status_code, lower_case, response.aiter_bytes(), response.aclose)

    async def aclose(self) -> None:
        """Leave the client to its owner."""


def _library_of(client: Any) -> ModuleType:
    """Return the module, httpx or httpx2, whose AsyncClient this is."""
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        f"http={type(client).__module__}.{type(client).__qualname__}: an httpx.AsyncClient or httpx2.AsyncClient"
        ' is needed, or "fast"'
    )
