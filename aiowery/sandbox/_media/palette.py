"""Colours of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from random import Random

Colour = tuple[int, int, int]


def _colour(text: str) -> Colour:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Blend two colours: `share` 0 returns `one`, 1 returns `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


@attrs.frozen
class Palette:
    """Colours of the sky from top to horizon, of the ground from far to near, and of the light."""

    top: Colour = attrs.field(converter=_colour)
    horizon: Colour = attrs.field(converter=_colour)
    far: Colour = attrs.field(converter=_colour)
    near: Colour = attrs.field(converter=_colour)
    light: Colour = attrs.field(converter=_colour)
    accent: Colour = attrs.field(converter=_colour)

    def depth(self, share: float) -> Colour:
        """Return the colour of the ground: `share` 0 is at the horizon, 1 in the foreground."""
        return mix(self.far, self.near, share)

    @property
    def inks(self) -> tuple[Colour, ...]:
        """Colours that harmonize."""
        return self.light, self.accent, self.far, self.near, mix(self.accent, self.light, 0.5)


_PALETTES = {
    "dawn": Palette("3a4a80", "f9c1a0", "a88fb0", "2b2346", "ffe6bd", "e8747c"),
    "day": Palette("4d9fd3", "e6f1ea", "9ac4c8", "1f4f55", "fff4cf", "f2a65a"),
    "dusk": Palette("2d2260", "f5805c", "97507f", "1d1233", "ffd584", "d8436b"),
    "night": Palette("060920", "33458a", "3a4a86", "070a1d", "f6f1d8", "7f8df0"),
    "forest": Palette("8fbfa6", "f3edc8", "88b08c", "143228", "fff2ae", "d9822b"),
    "desert": Palette("e5935a", "fde8c4", "dd9565", "652a2b", "fff5da", "b5403a"),
    "snow": Palette("7ba3d0", "f4f7fb", "c0d2e6", "39527a", "ffffff", "e07a5f"),
    "sea": Palette("1b6a89", "d3ecdf", "62abaa", "0b3649", "fff3d1", "f08a4b"),
    "blossom": Palette("ef9ab8", "fdf1d8", "e695b0", "54275f", "fff7e6", "c43c6e"),
    "neon": Palette("170c36", "c73b82", "7a339c", "10071f", "6ff2ff", "ffb347"),
    "paper": Palette("dcd6ca", "f6f2ea", "b3ada0", "2d2b2b", "f7c548", "e4572e"),
    "mint": Palette("2b7a78", "def2e6", "7fc0ae", "17303f", "fdf6c3", "ff7f66"),
}
_BY_WORD = {
    "night": "night midnight moon star stars starry space galaxy nebula cosmic",
    "dusk": "sunset dusk evening twilight fire lava autumn",
    "dawn": "sunrise dawn morning fog mist",
    "desert": "desert sand dune dunes canyon mars",
    "snow": "snow snowy winter ice icy glacier arctic frozen",
    "sea": "sea ocean beach underwater island harbour harbor ship boat",
    "forest": "forest jungle woods garden green moss bamboo",
    "neon": "neon cyberpunk futuristic synthwave",
    "blossom": "blossom flower flowers cherry spring pink rose",
}


def choose(words: set[str], chance: Random) -> Palette:
    """Return the palette that the words select, else a random one."""
    for name, wanted in _BY_WORD.items():
        if words & set(wanted.split()):
            return _PALETTES[name]
    return chance.choice(tuple(_PALETTES.values()))
