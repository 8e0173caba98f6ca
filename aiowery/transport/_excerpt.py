"""The beginning of a response, as text for errors.

The cleaner of texts is loaded with the first such error, because the transport alone needs nothing else of the package.
"""

from __future__ import annotations

from typing import Final

MAX_EXCERPT: Final = 2048
"""The most bytes of a response that an error keeps."""
_LAYOUT: Final = "\t\n"


def clean_excerpt(data: bytes) -> str:
    """Return the first 2,048 bytes as text, with a ? for each unprintable character but tabs and newlines."""
    from aiowery._base.text import printable  # noqa: PLC0415 - as above

    return printable(data[:MAX_EXCERPT].decode("utf-8", "replace").replace("\r\n", "\n"), _LAYOUT)


def clean_quote(data: bytes) -> str:
    """Return bytes as one printable line of text."""
    from aiowery._base.text import safe_text  # noqa: PLC0415 - as above

    return safe_text(data.decode("utf-8", "replace"))
