"""The beginning of a response, as text for errors."""

from __future__ import annotations

from typing import Final

MAX_EXCERPT: Final = 2048
"""The most bytes of a response that an error keeps."""


def clean_excerpt(data: bytes) -> str:
    """Return the first 2,048 bytes as text, with a ? for each control character but tabs and newlines."""
    text = data[:MAX_EXCERPT].decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(one if one.isprintable() or one in "\t\n" else "?" for one in text)
