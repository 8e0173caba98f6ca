"""A transport over pyreqwest, which does HTTP in Rust on a thread of its own.

It does not report when a request's first byte is next, so `before_send` runs before the request. The type of an
exception proves nothing: a connection that is closed after sending is a `ConnectError` too. The causes do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar
from urllib.request import getproxies

import anyio.to_thread
from pyreqwest import exceptions
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from aiowery._core.messages import HttpResponse
from aiowery._http.pool import KEEPALIVE
from aiowery._http.transport import StreamingResponse, Transport, TransportRequest, multipart
from aiowery.errors import ConfigurationError, NotSent

# How Rust's hyper says that a connection did not come about.
_CONNECTING: Final = "client error (Connect)"
# Connecting and reading have the same timeout: without this margin, a failed connect could look like a failed read.
_START: Final = 0.1

T = TypeVar("T")


class PyreqwestTransport(Transport):
    """pyreqwest's connections."""

    faults: tuple[type[Exception], ...] = (exceptions.PyreqwestError,)

    def __init__(self, connections: int, timeout: float) -> None:
        self._connections = connections
        self._timeout = timeout
        # pyreqwest knows how long reading may rest by client, not by request.
        self._clients: dict[float, Client] = {}
        self._closed = False

    @classmethod
    async def open(cls, connections: int, timeout: float) -> PyreqwestTransport:
        """Make room for so many connections; certificates are read from the disk in a thread."""
        if any(proxy.startswith("socks") for proxy in getproxies().values()):
            raise ConfigurationError(
                "the environment names a SOCKS proxy, which pyreqwest would pass by in silence: name an HTTP proxy, or"
                " leave http='fast' out"
            )
        transport = cls(connections, timeout)
        await anyio.to_thread.run_sync(transport._prepare)
        return transport

    def is_closed(self) -> bool:
        """Return True once the transport is closed."""
        return self._closed

    def reports_send_start(self) -> bool:
        """Return False: pyreqwest does not report when it starts to send."""
        return False

    def is_provably_unsent(self, fault: Exception) -> bool:
        """Return True if the error happened while connecting: DNS, TCP, a proxy's tunnel, or TLS."""
        return _CONNECTING in _causes(fault)

    def describe(self, fault: Exception) -> str:
        """Return the name of an error, its message, and its root cause."""
        return ": ".join((type(fault).__name__, *filter(None, (str(fault.args[0]), *_causes(fault)[-1:]))))

    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send over a free connection; the answer's bytes come as they arrive."""
        exchange = self._request(outgoing).streamed_read_buffer_limit(1).build_streamed()
        aclose = partial(exchange.__aexit__, None, None, None)
        response = await _cancellable(exchange.__aenter__(), aclose)
        return StreamingResponse(response.status, _headers(response), _chunks(response), aclose)

    async def send_and_read(self, outgoing: TransportRequest, max_bytes: int) -> HttpResponse:
        """Send over a free connection and read the response, for at most twice the timeout after the first byte."""
        request = self._request(outgoing)
        if outgoing.timeout is not None:
            request = request.timeout(timedelta(seconds=2 * outgoing.timeout))
        return await _cancellable(_read(request.build_streamed(), max_bytes))

    def _request(self, outgoing: TransportRequest) -> RequestBuilder:
        client, url = self._client(outgoing.timeout or self._timeout), outgoing.base + outgoing.path
        try:
            request = client.request(outgoing.method, url).headers(outgoing.headers)
        except ValueError as fault:
            raise NotSent(f"{url!r} cannot be asked for ({fault}); nothing was sent") from fault
        if outgoing.content is not None:
            return request.body_bytes(outgoing.content)
        if outgoing.form is not None:
            body, length = multipart(outgoing.form, outgoing.headers["content-type"])
            return request.body_stream(body).header("content-length", length)
        return request

    def _prepare(self) -> None:
        """Make the usual client, and return nothing: a thread may remember for long what it has returned."""
        self._client(self._timeout)

    def _client(self, patience: float) -> Client:
        client = self._clients.get(patience)
        if client is None:
            client = self._clients[patience] = (
                ClientBuilder()
                .follow_redirects(enable=False)
                .referer(enable=False)
                .connect_timeout(timedelta(seconds=self._timeout))
                .read_timeout(timedelta(seconds=patience + _START))
                .pool_idle_timeout(timedelta(seconds=KEEPALIVE))
                .pool_max_idle_per_host(self._connections)
                .build()
            )
        return client

    async def aclose(self) -> None:
        """Close all connections; nothing is sent any more."""
        self._closed = True
        while self._clients:  # its idle connections end with a client's last reference
            _, client = self._clients.popitem()
            await client.close()


def _causes(fault: Exception) -> list[str]:
    details = fault.details if isinstance(fault, exceptions.DetailedPyreqwestError) else None
    return [cause["message"] for cause in (details and details["causes"]) or ()]


def _headers(response: Response) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _read(exchange: StreamRequest, most: int) -> HttpResponse:
    async with exchange as response:
        body = await response.body_reader.read(most + 1)
        return HttpResponse(response.status, _headers(response), b"" if body is None else bytes(body))


async def _chunks(response: Response) -> AsyncIterator[bytes]:
    reader = response.body_reader
    while (chunk := await _cancellable(reader.read_chunk())) is not None:
        yield bytes(chunk)


async def _cancellable(awaited: Awaitable[T], undo: Callable[[], Awaitable[None]] | None = None) -> T:
    """Await something of pyreqwest's, which swallows a cancellation that comes just as it has its answer."""
    task = asyncio.current_task()
    requests = task.cancelling() if task else 0
    value = await awaited
    if task and task.cancelling() > requests:
        if undo is not None:
            await undo()
        raise asyncio.CancelledError
    return value
