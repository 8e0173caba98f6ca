"""Names of files made of other people's words."""

from __future__ import annotations

import re
from typing import Final

_LONGEST_NAME: Final = 80


def clean_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return the text as one harmless path component: letters, digits, dots and dashes, never hidden or empty."""
    name = re.sub(r"[^\w.]+", "-", text.encode("utf-8", "ignore").decode()).strip("-._")
    while len(name.encode()) > longest:
        name = name[:-1]
    return name.rstrip("-._") or "file"
