"""Canvas for the motifs, in coordinates of 0-1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from aiowery.sandbox._media.palette import Colour, Palette

SMOOTHING = 2
"""Factor by which everything is drawn larger and then reduced, which smooths edges."""
_RIDGE_STEPS = 96
# Pillow's radial gradient has this level in the middle of its edges, and 255 only in its corners.
_RIM = 181


@attrs.frozen
class Canvas:
    """An unfinished image. x and y run from 0 to 1, sizes are shares of the shorter side.

    `pen` draws opaque shapes, and is several times faster than `brush`, which supports transparency.
    """

    image: Image.Image
    pen: ImageDraw.ImageDraw
    brush: ImageDraw.ImageDraw
    chance: Random
    palette: Palette

    @classmethod
    def blank(cls, width: int, height: int, palette: Palette, chance: Random) -> Canvas:
        """Return a canvas with the palette's sky on it."""
        sky = Image.new("RGB", (1, 3))
        sky.putpixel((0, 0), palette.top)
        sky.putpixel((0, 1), palette.horizon)
        sky.putpixel((0, 2), palette.horizon)
        image = sky.resize((1, height * SMOOTHING), Image.Resampling.BICUBIC)
        image = image.resize((width * SMOOTHING, height * SMOOTHING), Image.Resampling.NEAREST)
        return cls(image, ImageDraw.Draw(image), ImageDraw.Draw(image, "RGBA"), chance, palette)

    @property
    def unit(self) -> int:
        """Pixels of the shorter side."""
        return min(self.image.size)

    @property
    def aspect(self) -> float:
        """Width in units of the shorter side."""
        return self.image.width / self.unit

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel position of a point."""
        return x * self.image.width, y * self.image.height

    def disc(self, x: float, y: float, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a filled circle."""
        left, top = self.at(x, y)
        size = radius * self.unit
        box = (left - size, top - size, left + size, top + size)
        if opacity == 1:
            self.pen.ellipse(box, colour)
        else:
            self.brush.ellipse(box, (*colour, round(255 * opacity)))

    def ring(self, x: float, y: float, radius: float, thickness: float, colour: Colour) -> None:
        """Draw the outline of a circle."""
        left, top = self.at(x, y)
        size = radius * self.unit
        box = (left - size, top - size, left + size, top + size)
        self.pen.ellipse(box, outline=colour, width=max(1, round(thickness * self.unit)))

    def polygon(self, points: list[tuple[float, float]], colour: Colour, opacity: float = 1.0) -> None:
        """Fill the shape between points."""
        pixels = [self.at(x, y) for x, y in points]
        if opacity == 1:
            self.pen.polygon(pixels, colour)
        else:
            self.brush.polygon(pixels, (*colour, round(255 * opacity)))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add a soft light to the image."""
        size = round(2 * radius * self.unit)
        left, top = (round(value) - size // 2 for value in self.at(x, y))
        shades = [round(255 * strength * max(0.0, 1 - level / _RIM) ** 1.7) for level in range(256)]
        mask = Image.radial_gradient("L").point(shades).resize((size, size), Image.Resampling.BILINEAR)
        self.image.paste(colour, (left, top, left + size, top + size), mask)

    def ridge(self, height: Callable[[float], float], colour: Colour, edge: Colour | None = None) -> None:
        """Fill everything below the line that `height` returns for x. `edge` is the colour of the line itself."""
        line = [(step / _RIDGE_STEPS, height(step / _RIDGE_STEPS)) for step in range(_RIDGE_STEPS + 1)]
        self.polygon([*line, (1.0, 1.0), (0.0, 1.0)], colour)
        if edge is not None:
            self.pen.line([self.at(x, y) for x, y in line], edge, max(2, self.unit // 120), joint="curve")

    def rolling(self, level: float, swing: float, waves: float) -> Callable[[float], float]:
        """Return a gentle line around `level`: three sines of random phase, `waves` of the longest."""
        parts = [
            (swing / (part + 1), waves * (1 + part * 1.3) * self.aspect, self.chance.random()) for part in range(3)
        ]

        def line(x: float) -> float:
            return level + sum(size * math.sin(math.tau * (often * x + phase)) for size, often, phase in parts)

        return line
