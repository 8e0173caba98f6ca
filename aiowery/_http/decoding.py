"""Decode a body that a server has compressed, within bounds."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Final

_STEP: Final = 64 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16
_WINDOWS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


def is_coded(coding: str) -> bool:
    """Return True for a content-encoding that changes the bytes of a body."""
    return coding.strip().lower() not in {"", "identity"}


def decode_body(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Return the body without its one coding; an empty one has none.

    Raises ValueError for another coding than gzip or deflate, for several, and for a body that is cut, corrupt, or
    longer than `max_bytes`; no more than that is decoded.
    """
    if not body or not is_coded(coding):
        return body
    name = coding.strip().lower()
    window = _WINDOWS.get(name)
    if window is None:
        raise ValueError(f"content-encoding {coding[:64]!r} was not accepted and is not decoded")
    try:
        return _decompress(body, name, window, max_bytes)
    except zlib.error as fault:
        if name == "deflate":
            return _decode_raw_deflate(body, max_bytes)
        raise ValueError(f"the body is no valid {name}: {fault}") from fault


def _decode_raw_deflate(body: bytes, max_bytes: int) -> bytes:
    """Decode deflate without its zlib header, which some servers leave out."""
    try:
        return _decompress(body, "deflate", -zlib.MAX_WBITS, max_bytes)
    except zlib.error as fault:
        raise ValueError(f"the body is no valid deflate: {fault}") from fault


def _decompress(body: bytes, name: str, window: int, max_bytes: int) -> bytes:
    decoder = zlib.decompressobj(window)
    decoded = io.BytesIO()
    for part in _steps(decoder, body):
        decoded.write(part)
        if decoded.tell() > max_bytes:
            raise ValueError(f"the {name} body has more than {max_bytes} bytes")
    if not decoder.eof:
        raise ValueError(f"the {name} body is not complete")
    if decoder.unused_data:
        raise ValueError(f"the {name} body goes on after its end")
    return decoded.getvalue()


def _steps(decoder: zlib._Decompress, body: bytes) -> Iterator[bytes]:
    """Yield the decoded body in parts, from parts of the body, so that little is copied and kept."""
    whole = memoryview(body)
    for start in range(0, len(body), _STEP):
        part: bytes | memoryview = whole[start : start + _STEP]
        decoded = b""
        # A full step may have left something in the decoder; after the end its unconsumed tail means nothing.
        while not decoder.eof and (part or len(decoded) == _STEP):
            decoded = decoder.decompress(part, _STEP)
            part = decoder.unconsumed_tail
            yield decoded
        if decoder.eof:
            decoder.decompress(whole[start + _STEP : start + 2 * _STEP])  # only shows whether the body goes on
            return
