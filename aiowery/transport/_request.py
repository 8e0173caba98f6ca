"""A request as it is written to a connection, checked before anything is leased."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable
from typing import Final, NamedTuple

from aiowery.transport._errors import RequestRefused

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"/[!-~]*|\*")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_HOST: Final = re.compile(r"[0-9A-Za-z._~%!$&'()*+,;=-]+|[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?")
_MAX_PORT: Final = 65_535

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Origin(NamedTuple):
    """The server of a connection. `server_name` is the name in its certificate, if it differs from the host."""

    is_tls: bool
    host: str
    port: int
    server_name: str | None = None

    def check(self) -> None:
        """Raise RequestRefused for a host that is no name and no address, and for an impossible port."""
        if not _HOST.fullmatch(self.host) or ".." in self.host or not 0 < self.port <= _MAX_PORT:
            raise RequestRefused(f"{self.host!r} port {self.port} is no address of a server; nothing was sent")


class OutgoingRequest(NamedTuple):
    """A request: its head in bytes, and its body whole, as a stream, or None.

    `length` is the number of bytes that a stream must have; None for one that is sent in chunks. The repr shows neither
    headers nor body, because a traceback may print it.
    """

    method: bytes
    head: bytes
    body: bytes | AsyncIterable[bytes] | None = None
    length: int | None = None

    def __repr__(self) -> str:
        return f"<OutgoingRequest {self.head.partition(b' HTTP/')[0]!r}>"


def encode_head(
    method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]] = (), *, encoded: bytes = b""
) -> bytes:
    """Return the head of a request with these header fields, and those that `encode_fields` has encoded before.

    Raises RequestRefused for what would be another request, or several.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise RequestRefused(f"{method[:50]!r} {target[:200]!r} cannot be sent: it holds characters that HTTP forbids")
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, target, encode_fields(headers), encoded)


def encode_fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as they are written. Raises RequestRefused for characters that would end a field early."""
    parts: list[bytes] = []
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise RequestRefused(f"the header {name[:100]!r} cannot be sent: it holds characters that HTTP forbids")
        parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)
