"""Outputs that a response holds itself, as a `data:` URL."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

_SCHEME: Final = "data:"
_BLANK: Final = re.compile(rb"\s+")
_PADDING: Final = 4


def is_data_url(url: str) -> bool:
    """Return True for a `data:` URL."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def decode_data_url(url: str) -> tuple[bytes, str]:
    """Return the content of a `data:` URL, and its media type in lower case. Raises ValueError for an invalid one."""
    head, comma, data = url[len(_SCHEME) :].partition(",")
    if not comma:
        raise ValueError("it holds no comma, and so no content")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    content = unquote_to_bytes(data)
    return _decode_base64(content) if "base64" in parameters else content, media_type


def _decode_base64(text: bytes) -> bytes:
    """Decode base64 in either alphabet, with or without blanks and padding."""
    text = _BLANK.sub(b"", text).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % _PADDING), validate=True)
    except binascii.Error as fault:
        raise ValueError(f"its base64 is not valid: {fault}") from fault
