"""Short names made of other people's words: for files, for logs."""

from __future__ import annotations

import re
import secrets
from typing import Final

_LONGEST_NAME: Final = 80
_LONGEST_LABEL: Final = 50
_UNSAFE: Final = re.compile(r"[^\w.]+")


def clean_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return the text as one harmless path component: letters, digits, dots and dashes, never hidden or empty."""
    name = _UNSAFE.sub("-", text.encode("utf-8", "ignore").decode()).strip("-._")
    return name.encode()[:longest].decode("utf-8", "ignore").rstrip("-._") or "file"


def shorten(said: str) -> str:
    """Return a text as one line of at most 50 characters."""
    words = " ".join(said.split())
    return words if len(words) <= _LONGEST_LABEL else words[: _LONGEST_LABEL - 3] + "..."


def synchronous_task_id() -> str:
    """Return an id of our own for an answer that came at once and brought none."""
    return f"answered-at-once-{secrets.token_hex(6)}"
