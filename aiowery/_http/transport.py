"""What a way through the door is: it sends one request and returns the answer as it begins to arrive."""

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
"""Hears from the HTTP library how far a request has come, in httpcore's words."""


@attrs.define
class TransportRequest:
    """What is to be sent to `base` + `path`: a body, a form, or neither.

    `patience` is how many seconds the answer, and the sending of a form, may rest; for connecting, and where there is
    none, the way's own time-out holds.
    """

    method: str
    base: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    content: bytes | None = attrs.field(default=None, repr=False)
    form: MultipartForm | None = None
    timeout: float | None = None
    trace: Trace | None = attrs.field(default=None, repr=False)

    def timeouts(self, usual: float) -> dict[str, float]:
        """Return the time-outs of each phase, in httpx's words."""
        rest = usual if self.timeout is None else self.timeout
        return {"connect": usual, "pool": usual, "read": rest, "write": rest}


@attrs.define
class StreamingResponse:
    """An answer that has begun: its body comes in `chunks`, decoded, and `aclose` must be called in the end.

    Header names are in lower case.
    """

    http_status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]


class Transport(ABC):
    """Sends requests, follows no redirect, adds no credentials. `faults`: what sending and reading may raise."""

    faults: tuple[type[Exception], ...]

    @abstractmethod
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    @abstractmethod
    def reports_send_start(self) -> bool:
        """Whether a trace hears that a request's first byte is about to leave."""

    @abstractmethod
    def is_provably_unsent(self, fault: Exception) -> bool:
        """Whether one of the faults proves that no byte has left, though no trace has heard how far it came."""

    def describe(self, fault: Exception) -> str:
        """Return one of the faults' name, and what it says if it says something."""
        return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__

    @abstractmethod
    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send it and return what begins to come back."""

    async def send_and_read(self, outgoing: TransportRequest, most: int) -> HttpResponse:
        """Send it, and read what comes back to its end; NoAnswer for a body that does not end.

        The library's time-out is for each chunk: a body that trickles is given up after twice the patience. One of more
        than so many bytes is not read any further, and returned as far as it was.
        """
        reply = await self.send(outgoing)
        patience = 2 * (outgoing.timeout or inf)
        now = asyncio.get_running_loop().time
        give_up = now() + patience
        body = b""
        try:
            async for chunk in reply.chunks:
                body = body + chunk if body else chunk
                if now() > give_up:
                    raise NoAnswer(f"the answer did not end within {patience:g} s; the request may have arrived")
                if len(body) > most:
                    break
        finally:
            await reply.aclose()
        return HttpResponse(reply.http_status, reply.headers, body)

    @abstractmethod
    async def aclose(self) -> None:
        """Close what belongs to the door."""


def multipart(form: MultipartForm, content_type: str) -> tuple[AsyncIterable[bytes], str]:
    """Return a form's body for a content type, which names the boundary, and the length of that body in bytes."""
    request = httpx.Request("POST", "http://form", headers={"content-type": content_type}, **form_arguments(form))
    assert isinstance(request.stream, AsyncIterable)  # noqa: S101 - a form of bytes can be read either way
    return request.stream, request.headers["content-length"]


def form_arguments(form: MultipartForm) -> dict[str, Any]:
    """Return the arguments by which httpx takes a form."""
    return {"data": dict(form.fields), "files": {"file": (form.filename, form.content, form.content_type)}}
