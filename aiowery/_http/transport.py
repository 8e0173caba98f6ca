"""The interface of a transport: it sends one request and returns the response when it begins to arrive."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from math import inf
from typing import Any

import attrs
import httpx

from aiowery._core.messages import HttpResponse, MultipartForm
from aiowery.errors import NoAnswer

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Receives the HTTP library's events of a request, with httpcore's event names."""


@attrs.define
class TransportRequest:
    """A request to `base` + `path` with a body, a form, or neither.

    `timeout` limits, in seconds, how long reading the response or sending a form may be idle. The transport's own
    timeout applies to connecting, and wherever `timeout` is None.
    """

    method: str
    base: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    content: bytes | None = attrs.field(default=None, repr=False)
    form: MultipartForm | None = None
    timeout: float | None = None
    trace: Trace | None = attrs.field(default=None, repr=False)

    def timeouts(self, default: float) -> dict[str, float]:
        """Return the timeout of each phase in seconds, with httpx's names of the phases."""
        idle = default if self.timeout is None else self.timeout
        return {"connect": default, "pool": default, "read": idle, "write": idle}


@attrs.define
class StreamingResponse:
    """A response that has begun: its body arrives in `chunks`, decoded.

    `aclose` must be called in the end. Header names are in lower case.
    """

    http_status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]


class Transport(ABC):
    """A backend that sends requests. It follows no redirect and adds no credentials.

    `faults` are the exceptions that sending and reading may raise.
    """

    faults: tuple[type[Exception], ...]

    @abstractmethod
    def is_closed(self) -> bool:
        """Return True once the transport is closed."""

    @abstractmethod
    def reports_send_start(self) -> bool:
        """Return True if a trace is notified before a request's first byte is sent."""

    @abstractmethod
    def is_provably_unsent(self, fault: Exception) -> bool:
        """Return True if the error proves that no byte was sent, although no trace was notified."""

    def describe(self, fault: Exception) -> str:
        """Return the name of an error, and its message if it has one."""
        return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__

    @abstractmethod
    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request and return the response when it begins."""

    async def send_and_read(self, outgoing: TransportRequest, max_bytes: int) -> HttpResponse:
        """Send a request and return the whole response.

        A body of more than `max_bytes` is returned as far as it was read. Raises NoAnswer if the body has not ended
        after twice the request's timeout: the library's own timeout applies to each chunk only.
        """
        response = await self.send(outgoing)
        timeout = 2 * (outgoing.timeout or inf)
        now = asyncio.get_running_loop().time
        deadline = now() + timeout
        body = b""
        try:
            async for chunk in response.chunks:
                body = body + chunk if body else chunk
                if now() > deadline:
                    raise NoAnswer(f"the answer did not end within {timeout:g} s; the request may have arrived")
                if len(body) > max_bytes:
                    break
        finally:
            await response.aclose()
        return HttpResponse(response.http_status, response.headers, body)

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections that belong to the transport."""


def multipart(form: MultipartForm, content_type: str) -> tuple[AsyncIterable[bytes], str]:
    """Return a form's body, and its length in bytes. The content type names the boundary."""
    request = httpx.Request("POST", "http://form", headers={"content-type": content_type}, **form_arguments(form))
    assert isinstance(request.stream, AsyncIterable)  # noqa: S101 - a form of bytes can be read either way
    return request.stream, request.headers["content-length"]


def form_arguments(form: MultipartForm) -> dict[str, Any]:
    """Return a form as httpx's arguments."""
    return {"data": dict(form.fields), "files": {"file": (form.filename, form.content, form.content_type)}}
