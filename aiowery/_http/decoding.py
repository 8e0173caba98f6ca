"""Decode a body that a server has compressed, within bounds."""

from __future__ import annotations

import zlib
from typing import Final

_WINDOWS: Final = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def decode_body(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Return the body without its one coding, cut off beyond `max_bytes`.

    Raises ValueError for another coding than gzip or deflate, for several, and for a body that is cut or corrupt.
    """
    name = coding.strip().lower()
    if name in {"", "identity"}:
        return body
    window = _WINDOWS.get(name)
    if window is None:
        raise ValueError(f"content-encoding {coding[:64]!r} was not accepted and is not decoded")
    try:
        decoder = zlib.decompressobj(window)
        decoded = decoder.decompress(body, max_bytes + 1)
        if len(decoded) <= max_bytes and not decoder.eof:
            raise ValueError(f"the {name} body is not complete")
    except zlib.error as fault:
        if name == "deflate" and window > 0:
            return _decode_raw_deflate(body, max_bytes)
        raise ValueError(f"the body is no valid {name}: {fault}") from fault
    return decoded


def _decode_raw_deflate(body: bytes, max_bytes: int) -> bytes:
    """Decode deflate without its zlib header, which some servers leave out."""
    try:
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        decoded = decoder.decompress(body, max_bytes + 1)
    except zlib.error as fault:
        raise ValueError(f"the body is no valid deflate: {fault}") from fault
    if len(decoded) <= max_bytes and not decoder.eof:
        raise ValueError("the deflate body is not complete")
    return decoded
