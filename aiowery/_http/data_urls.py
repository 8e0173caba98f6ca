"""Read data URLs: outputs that a provider puts into its response instead of a file's address."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import unquote_to_bytes

SCHEME: Final = "data:"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def is_data_url(url: str) -> bool:
    """Return True for a URL that holds its content itself."""
    return url[: len(SCHEME)].lower() == SCHEME


def read_data_url(url: str) -> tuple[str, bytes]:
    """Return the media type and the content of a data URL. Raises ValueError for one that cannot be decoded."""
    head, comma, data = url[len(SCHEME) :].partition(",")
    if not comma:
        raise ValueError("it has no comma before its content")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    content = unquote_to_bytes(data)
    if parameters and parameters[-1] == "base64":
        text = b"".join(content.split()).rstrip(b"=").translate(_URL_SAFE)
        content = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    return media_type, content
