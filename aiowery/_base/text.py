"""Short names from foreign text, for files and logs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

_MAX_NAME: Final = 80
_MAX_LABEL: Final = 50
_MAX_SHOWN: Final = 5
_UNSAFE: Final = re.compile(r"[^\w.]+")


def clean_name(text: str, max_bytes: int = _MAX_NAME) -> str:
    """Return the text as one safe path component: letters, digits, dots and dashes, never hidden or empty."""
    name = _UNSAFE.sub("-", text.encode("utf-8", "ignore").decode()).strip("-._")
    return name.encode()[:max_bytes].decode("utf-8", "ignore").rstrip("-._") or "file"


def shorten(text: str) -> str:
    """Return a text without newlines, cut to at most 50 characters."""
    short = " ".join(text.split())
    return short if len(short) <= _MAX_LABEL else short[: _MAX_LABEL - 3] + "..."


def some_of(ids: Sequence[str]) -> str:
    """Return the first five ids as text, and the number of further ones."""
    more = f" and {len(ids) - _MAX_SHOWN} more" if len(ids) > _MAX_SHOWN else ""
    return f"{', '.join(ids[:_MAX_SHOWN])}{more}"


def synchronous_task_id() -> str:
    """Return a new task id, made by the client for a direct response that contains none."""
    return f"answered-at-once-{secrets.token_hex(6)}"
