"""Which bytes of a file a response holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)
_SEPARATOR: Final = "-"
_UNKNOWN: Final = "?"
_MAX_SHOWN: Final = 100
_MAX_DIGITS: Final = 18


@attrs.frozen
class Extent:
    """The bytes of a file that a response holds: from `start` to before `end`, of `total`; None for what is unknown."""

    start: int = 0
    end: int | None = None
    total: int | None = None

    @property
    def wanted(self) -> int | None:
        """The size in bytes of the whole file, as far as it is known."""
        return self.end if self.total is None else self.total


def extent_of(http_status: int, headers: Mapping[str, str]) -> Extent:
    """Return the extent of a response with a file. Content-Range decides, whatever the status.

    Raises ValueError for headers that contradict each other, and for a part without its position.
    """
    length = _length(headers.get("content-length", ""))
    text = headers.get("content-range")
    if text is None:
        if http_status == HTTPStatus.PARTIAL_CONTENT:
            raise ValueError("a part of the file that does not name its position")
        return Extent(0, length, length)
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"a part of the file with the position {text[:_MAX_SHOWN]!r}")
    start, end = int(match[1]), int(match[2]) + 1
    total = None if match[3] == "*" else int(match[3])
    if end <= start or (total is not None and end > total) or length not in {None, end - start}:
        raise ValueError(f"a part of the file whose position {text[:_MAX_SHOWN]!r} contradicts its length")
    return Extent(start, end, total)


def version_of(headers: Mapping[str, str], total: int | None) -> str:
    """Return a short text that names the version of a file of this size; "" if the headers do not name it exactly.

    A strong ETag does; Last-Modified does together with the size. A weak ETag does not, because versions that differ in
    some bytes may share it.
    """
    etag, modified = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if etag and not etag.startswith(("W/", "w/")):
        return f"{digest(etag)}{_SEPARATOR}{_UNKNOWN if total is None else total}"
    return f"{digest(f'{modified} {etag}')}{_SEPARATOR}{total}" if modified and total is not None else ""


def is_same_version(one: str, other: str) -> bool:
    """Return True for equal versions, of which one may lack the size."""
    (name, _, size), (other_name, _, other_size) = one.partition(_SEPARATOR), other.partition(_SEPARATOR)
    return bool(name) and name == other_name and (size == other_size or _UNKNOWN in {size, other_size})


def digest(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _length(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
