"""Checks of the paths of files that a caller names for aiowery to keep something in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from aiowery._core.fields import short_repr
from aiowery.errors import ConfigurationError

IN_MEMORY: Final = ":memory:"
"""What database libraries read as a name for memory."""
_MAX_NAME_BYTES: Final = 240  # and a suffix
_MAX_PATH_BYTES: Final = 4000


def file_path(name: str, path: str | os.PathLike[str], example: str) -> Path:
    """Return the path of a file that a setting names. Raises ConfigurationError for a text that names no file."""
    text = os.fsdecode(path)
    if text.lower().startswith("file:"):
        raise ConfigurationError(
            f"{name} must be a plain path, got the URI {short_repr(text)}; nothing was sent: give the path in it"
        )
    if text in {"", IN_MEMORY} or "\0" in text:
        raise ConfigurationError(
            f"{name} must be the path of a file, got {short_repr(text)}; nothing was sent: give a name such as"
            f" {example!r}"
        )
    raw = text.encode("utf-8", "surrogatepass")
    names = (part.encode("utf-8", "surrogatepass") for part in Path(text).parts)
    if len(raw) > _MAX_PATH_BYTES or any(len(part) > _MAX_NAME_BYTES for part in names):
        raise ConfigurationError(
            f"{name} must have at most {_MAX_NAME_BYTES} bytes in a name and {_MAX_PATH_BYTES:,} in its path, got"
            f" {len(raw):,}; nothing was sent: give a shorter one"
        )
    return Path(text)
