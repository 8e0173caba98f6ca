"""The interface of a transport: it sends one request and returns its response, or raises `TransportFault`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Self

import attrs
import httpx

from aiowery._base.secret import HoldsSecret
from aiowery._core.messages import HttpResponse, MultipartForm
from aiowery._http.causes import strip
from aiowery.errors import NoAnswer, NotSent
from aiowery.transport import encode_fields
from aiowery.transport._excerpt import MAX_EXCERPT

_TOTAL_BEYOND_IDLE: Final = 10.0
BeforeSend = Callable[[], Awaitable[None]]
"""Runs before the first byte of a paid request is sent. If it raises, nothing is sent."""


class TransportFault(Exception):
    """A request without a whole response. `unsent`: no byte of it was sent. The cause is the library's exception.

    `excerpt` is the beginning of what was received, at most 2,048 bytes, without control characters.
    """

    def __init__(self, description: str, *, unsent: bool, excerpt: str = "") -> None:
        super().__init__(description)
        self.unsent = unsent
        self.excerpt = excerpt


class AddressFault(TransportFault):
    """A request that was not sent, because all addresses of its host are in private networks."""


class ResponseTooLong(Exception):
    """A response whose body is longer than wanted; `response` has the beginning of it only."""

    def __init__(self, http_status: int, headers: Mapping[str, str], max_bytes: int, body: bytes) -> None:
        super().__init__(f"HTTP {http_status} with more than {max_bytes} bytes")
        self.response = HttpResponse(http_status, headers, body[:MAX_EXCERPT])


@attrs.frozen(repr=False)
class RequestHeaders(HoldsSecret):
    """The header fields of a request: by name in lower case, and `encoded` as they are written.

    They are encoded once, not for each request.
    """

    values: Mapping[str, str]
    encoded: bytes = attrs.field(init=False)

    @encoded.default
    def _encode(self) -> bytes:
        return encode_fields((name.encode(), value.encode()) for name, value in self.values.items())

    def including(self, name: str, value: str) -> Self:
        """Return these fields and another one."""
        return type(self)({**self.values, name: value})


@attrs.define
class TransportRequest:
    """A request to `base` + `path` with a body, a form, or neither.

    `timeout` limits, in seconds, how long reading the response or sending a form may be idle. The transport's own
    timeout applies to connecting, and wherever `timeout` is None. `any_address`: the caller has named the host, so a
    download may connect to it in a private network too.
    """

    method: str
    base: str
    path: str
    headers: RequestHeaders = attrs.field(repr=False)
    content: bytes | None = attrs.field(default=None, repr=False)
    form: MultipartForm | None = None
    timeout: float | None = None
    any_address: bool = False


@attrs.define
class StreamingResponse:
    """A response that has begun: its body arrives in `chunks`, which may raise `TransportFault`.

    `aclose` must be called in the end. Header names are in lower case.
    """

    http_status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]


class Transport(ABC):
    """A backend that sends requests. It follows no redirect and adds no credentials. It raises `TransportFault`.

    `send` is for other hosts than the provider's: they get nothing but the headers of the request.
    """

    @abstractmethod
    def is_closed(self) -> bool:
        """Return True once the transport is closed."""

    @abstractmethod
    async def send(self, outgoing: TransportRequest) -> StreamingResponse:
        """Send a request that costs nothing, and return the response when it begins; its body is not decoded."""

    @abstractmethod
    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send a request and return the whole response. Raises ResponseTooLong for a body beyond `max_bytes`.

        `before_send` runs when the first byte is next: after pool, DNS, connect and TLS, if the transport can tell.
        What it raises passes through, and nothing is sent.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections that belong to the transport."""


def check_open(transport: Transport) -> None:
    """Raise NotSent if the transport is closed."""
    if transport.is_closed():
        raise NotSent("the HTTP client is closed; nothing was sent: open it, or give another as http=")


def error_of(fault: TransportFault, handled: BaseException | None) -> NotSent | NoAnswer:
    """Return the package's error for a fault. `handled` is the exception that the caller was handling before.

    Its causes keep their messages only, without dozens of frames, whose variables may hold the key.
    """
    strip(fault, handled)
    if fault.unsent:
        return NotSent(f"{fault}; nothing was sent: check the network, base_url and any proxy")
    error = NoAnswer(f"{fault}; the request may have arrived")
    error.excerpt = fault.excerpt
    return error


def total_limit(*waits: float) -> float:
    """Return the seconds that a whole response may take, if each of these waits may take so many seconds."""
    return sum(waits) + _TOTAL_BEYOND_IDLE


def fault_of(fault: Exception, *, unsent: bool) -> TransportFault:
    """Return a library's exception as the fault that it means, with what it knows of the response."""
    return TransportFault(describe(fault), unsent=unsent, excerpt=getattr(fault, "excerpt", ""))


def header_fields(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return fields by their names in lower case, the values of a repeated one joined by commas.

    Latin-1 loses none of their bytes.
    """
    fields: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.lower().decode("latin-1"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def describe(fault: BaseException) -> str:
    """Return the name of an error, and its message if it has one."""
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__


def multipart(form: MultipartForm, content_type: str) -> tuple[AsyncIterable[bytes], int]:
    """Return a form's body, and its length in bytes. The content type names the boundary."""
    request = httpx.Request("POST", "http://form", headers={"content-type": content_type}, **form_arguments(form))
    assert isinstance(request.stream, AsyncIterable)  # noqa: S101 - a form of bytes can be read either way
    return request.stream, int(request.headers["content-length"])


def form_arguments(form: MultipartForm) -> dict[str, Any]:
    """Return a form as httpx's arguments."""
    return {"data": dict(form.fields), "files": {"file": (form.filename, form.content, form.content_type)}}
