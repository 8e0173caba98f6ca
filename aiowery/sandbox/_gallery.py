"""Pictures on demand: drawn off the event loop, the newest kept."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from aiowery.sandbox._draw import draw
from aiowery.sandbox._shape import pixels

_KEPT = 64


class Gallery:
    """The pictures of one sandbox; their longer side is `picture_size` pixels."""

    def __init__(self, picture_size: int) -> None:
        self._size = picture_size
        self._draw = lru_cache(maxsize=_KEPT)(draw)

    async def picture(self, prompt: str, index: int, aspect_ratio: str) -> bytes:
        """PNG bytes, the same for the same arguments at any time."""
        return await asyncio.to_thread(self._draw, prompt, index, *pixels(aspect_ratio, self._size))
