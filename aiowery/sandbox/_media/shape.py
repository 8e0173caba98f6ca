"""Aspect ratios as the providers write them."""

from __future__ import annotations

import re

SHORTEST_SIDE = 16
LONGEST_SIDE = 4096

_RATIO = re.compile(r"([1-9]\d{0,3}):([1-9]\d{0,3})(?:\([1-9]k\))?")
_SQUARE = re.compile(r"[1-9]k")


def is_ratio(text: str) -> bool:
    """Return True if `text` is "W:H", "W:H(2k)", or a square literal such as "2k"."""
    return bool(_RATIO.fullmatch(text) or _SQUARE.fullmatch(text))


def pixels(ratio: str, long_side: int) -> tuple[int, int]:
    """Return width and height of an image of this ratio whose longer side has `long_side` pixels.

    Literals without a ratio are square. The shorter side has at least 16 pixels.
    """
    match = _RATIO.fullmatch(ratio)
    width, height = (int(match[1]), int(match[2])) if match else (1, 1)
    scale = long_side / max(width, height)
    return max(SHORTEST_SIDE, round(width * scale)), max(SHORTEST_SIDE, round(height * scale))
