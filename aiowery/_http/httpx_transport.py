"""A transport over the caller's client, with its proxies, TLS settings and hooks, but without its credentials."""

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

# A caller's client may add these to every request; the provider and file hosts must not get them.
_CALLERS_CREDENTIALS: Final = ("authorization", "cookie", "x-api-key")


class HttpxTransport(Transport):
    """A transport over an `httpx.AsyncClient` or `httpx2.AsyncClient` that belongs to the caller."""

    def __init__(self, client: HTTPClient, timeout: float) -> None:
        library = _library_of(client)
        self._own_transport = library.AsyncHTTPTransport
        self.faults = (
            library.HTTPError,
            library.InvalidURL,
            library.StreamError,
            OSError,
        )
        # A transport without events (such as aiohttp's) raises ConnectError or ConnectTimeout also for a reset after
        # sending, so those prove nothing by name.
        self._unsent = (library.PoolTimeout, library.UnsupportedProtocol)
        # The two libraries share one interface, but not one type.
        self._client: Any = client
        self._timeout = timeout

    def is_closed(self) -> bool:
        """Return True if the caller has closed the client."""
        return bool(self._client.is_closed)

    def reports_send_start(self) -> bool:
        """Return True if all transports of the client are the library's own.

        Other transports may report nothing, or too late.
        """
        mounts = getattr(self._client, "_mounts", {})
        transports = (getattr(self._client, "_transport", None), *mounts.values())
        # A mount without a transport means the client's default transport.
        return all(type(one) is self._own_transport for one in transports if one is not None)

    def is_provably_unsent(self, fault: Exception) -> bool:
        """Return True if the type of the error alone proves that nothing was sent."""
        return isinstance(fault, self._unsent)

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request through the client and return the response when it begins."""
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
        """Do nothing: the client belongs to the caller."""


def _library_of(client: Any) -> ModuleType:
    """Return the module of the client's class: httpx or httpx2."""
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        'http must be an httpx.AsyncClient, an httpx2.AsyncClient or "fast", got'
        f" {type(client).__module__}.{type(client).__qualname__}; nothing was sent"
    )
