"""Files of one sandbox: generated in threads, the newest cached, and the uploaded ones."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from aiowery.sandbox._media.draw import Form, draw
from aiowery.sandbox._media.film import film
from aiowery.sandbox._media.shape import pixels
from aiowery.sandbox._media.sound import song, speech
from aiowery.sandbox._media.uploads import Uploads
from aiowery.sandbox._tasks import OutputKind, TaskSpec

_CACHE_SIZE = 64
_FILM_CACHE_SIZE = 8
_LARGEST_FILM = 512


class Gallery:
    """Files of one sandbox. An image's longer side has `picture_size` pixels, a video's at most 512."""

    def __init__(self, picture_size: int) -> None:
        self.uploads = Uploads()
        self._size = picture_size
        self._draw = lru_cache(maxsize=_CACHE_SIZE)(draw)
        self._film = lru_cache(maxsize=_FILM_CACHE_SIZE)(film)
        self._song = lru_cache(maxsize=_FILM_CACHE_SIZE)(song)
        self._speech = lru_cache(maxsize=_FILM_CACHE_SIZE)(speech)

    async def picture(self, prompt: str, index: int, aspect_ratio: str) -> bytes:
        """Return PNG bytes. Equal arguments give equal bytes."""
        return await asyncio.to_thread(self._draw, prompt, index, *pixels(aspect_ratio, self._size))

    async def painting(self, prompt: str, index: int, width: int, height: int, form: Form) -> bytes:
        """Return an image of this format and size, reduced if its longer side exceeds `picture_size`."""
        size = pixels(f"{width}:{height}", min(self._size, max(width, height)))
        return await asyncio.to_thread(self._draw, prompt, index, *size, form)

    async def film(self, spec: TaskSpec, index: int) -> bytes:
        """Return MP4 bytes for the specification."""
        size = pixels(spec.aspect_ratio, min(self._size, _LARGEST_FILM))
        return await asyncio.to_thread(self._film, spec.prompt, index, *size, spec.seconds)

    async def sound(self, spec: TaskSpec) -> bytes:
        """Return WAV bytes: music for songs and music, else a voice."""
        if spec.output_kind in {OutputKind.SONG, OutputKind.MUSIC}:
            return await asyncio.to_thread(self._song, spec.prompt, spec.seconds)
        return await asyncio.to_thread(self._speech, spec.spoken_text, spec.seconds)
