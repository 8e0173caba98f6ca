"""The two ways through the door: over its own connections, or through the caller's client."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio.to_thread
import httpx

from aiowery._door._connections import Connections
from aiowery._wire import Form
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

    HTTPClient = httpx.AsyncClient | httpx2.AsyncClient

# What a caller's own client may add to every request, and nobody here asked for.
_CALLERS_CREDENTIALS: Final = ("authorization", "cookie", "x-api-key")


class Way(Protocol):
    """Sends one request, follows no redirect, and returns the response with its body still to be read."""

    @property
    def library(self) -> ModuleType:
        """The library whose exceptions `send` raises."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        ...

    @property
    def tells_first_byte(self) -> bool:
        """Whether its transport reports that a request's first byte is about to leave."""
        ...

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        trace: Any,
        *,
        content: bytes | None = None,
        form: Form | None = None,
        patience: float | None = None,
    ) -> httpx.Response:
        """Send a body, a form, or neither; raises the library's own exceptions.

        `patience` is how many seconds the answer, and the sending of a form, may rest; for connecting the way's own
        time-out holds.
        """
        ...

    async def aclose(self) -> None:
        """Close what belongs to the door."""
        ...


class OwnConnections:
    """Straight to the door's own connections.

    An `AsyncClient` on top would add cookies, authentication, redirects and hooks, none of which the door wants,
    and which cost as much as a third of a status check.
    """

    library: ModuleType = httpx
    tells_first_byte: bool = True

    def __init__(self, connections: Connections, timeout: float) -> None:
        self._connections = connections
        self._timeout = timeout
        self.is_closed = False

    @classmethod
    async def open(cls, connections: int, timeout: float) -> OwnConnections:
        """Make room for so many connections; certificates are read from the disk in a thread."""
        tls = await anyio.to_thread.run_sync(httpx.create_ssl_context)
        return cls(Connections(connections, tls), timeout)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        trace: Any,
        *,
        content: bytes | None = None,
        form: Form | None = None,
        patience: float | None = None,
    ) -> httpx.Response:
        """Send over the next free connection."""
        extensions = {"timeout": _timeout(self._timeout, patience).as_dict(), "trace": trace}
        request = httpx.Request(method, url, headers=headers, extensions=extensions, **_content(content, form))
        response = await self._connections.handle_async_request(request)
        response.request = request
        return response

    async def aclose(self) -> None:
        """Close all connections; nothing is sent any more."""
        self.is_closed = True
        await self._connections.aclose()


class CallersClient:
    """Through the caller's client, whose proxies, TLS settings and hooks hold; its credentials stay at home."""

    def __init__(self, client: HTTPClient, timeout: float) -> None:
        self.library = _library_of(client)
        # The two libraries share one interface, but not one type.
        self._client: Any = client
        self._timeout = timeout

    @property
    def is_closed(self) -> bool:
        """Whether the caller has closed it."""
        return bool(self._client.is_closed)

    @property
    def tells_first_byte(self) -> bool:
        """Whether all its transports are the library's own: others may report nothing, or too late."""
        mounts = getattr(self._client, "_mounts", {})
        transports = (getattr(self._client, "_transport", None), *mounts.values())
        # A mount without a transport stands for the client's usual one.
        return all(type(one) is self.library.AsyncHTTPTransport for one in transports if one is not None)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        trace: Any,
        *,
        content: bytes | None = None,
        form: Form | None = None,
        patience: float | None = None,
    ) -> httpx.Response:
        """Send through the client."""
        timeout = _timeout(self._timeout, patience).as_dict()
        request = self._client.build_request(
            method, url, headers=headers, extensions={"trace": trace, "timeout": timeout}, **_content(content, form)
        )
        for name in _CALLERS_CREDENTIALS:
            if name not in headers:
                request.headers.pop(name, None)
        response: httpx.Response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
        return response

    async def aclose(self) -> None:
        """Leave the client to its owner."""


def _timeout(usual: float, patience: float | None) -> httpx.Timeout:
    if patience is None:
        return httpx.Timeout(usual)
    return httpx.Timeout(usual, read=patience, write=patience)


def _content(content: bytes | None, form: Form | None) -> dict[str, Any]:
    """Return the arguments by which both libraries take a body."""
    if form is None:
        return {"content": content}
    return {"data": dict(form.fields), "files": {"file": (form.filename, form.content, form.content_type)}}


def _library_of(client: Any) -> ModuleType:
    """Return the module, httpx or httpx2, whose AsyncClient this is."""
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        f"http={type(client).__module__}.{type(client).__qualname__}: an httpx.AsyncClient or httpx2.AsyncClient"
        " is needed"
    )
