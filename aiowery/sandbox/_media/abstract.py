"""Motifs for prompts that name no landscape: compositions of simple shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aiowery.sandbox._media.palette import mix

if TYPE_CHECKING:
    from aiowery.sandbox._media.canvas import Canvas
    from aiowery.sandbox._media.palette import Colour


def circles(canvas: Canvas) -> None:
    """Draw concentric discs beside and over each other, with thin rings around some."""
    chance, inks = canvas.chance, canvas.palette.inks
    for _ in range(round(6 * canvas.aspect + 3)):
        x, y = chance.uniform(0.05, 0.95), chance.uniform(0.05, 0.85)
        radius = 0.05 + 0.22 * chance.random() ** 1.6
        for part in range(chance.randint(2, 5)):
            canvas.disc(x, y, radius * (1 - 0.22 * part), chance.choice(inks))
        if chance.random() < 0.5:  # noqa: PLR2004 - every other has a ring
            canvas.ring(x, y, radius * 1.15, 0.005, canvas.palette.near)


def waves(canvas: Canvas) -> None:
    """Draw a stack of flowing bands of colour."""
    palette, bands = canvas.palette, 9
    for band in range(bands):
        share = band / (bands - 1)
        line = canvas.rolling(0.2 + 0.72 * share, 0.05, 0.7)
        colour = mix(mix(palette.light, palette.accent, min(1, 1.6 * share)), palette.near, max(0, 1.6 * share - 0.7))
        canvas.ridge(line, colour, edge=mix(colour, palette.light, 0.45))


def petals(canvas: Canvas) -> None:
    """Draw a large flower, and smaller ones around it."""
    chance = canvas.chance
    places = [(chance.uniform(0.05, 0.95), chance.uniform(0.05, 0.85), chance.uniform(0.08, 0.16)) for _ in range(5)]
    for x, y, radius in [*places, (chance.uniform(0.4, 0.6), chance.uniform(0.38, 0.48), 0.36)]:
        _rosette(canvas, x, y, radius)


def _rosette(canvas: Canvas, x: float, y: float, radius: float) -> None:
    chance, palette = canvas.chance, canvas.palette
    count, rotation = chance.randint(8, 13), chance.random() * math.tau
    outer, inner = chance.sample(palette.inks[:4], 2)
    for ring in range(4):
        reach = radius * (1 - 0.22 * ring)
        colour = mix(outer, inner, ring / 3)
        for number in range(count):
            angle = rotation + math.tau * (number + ring / 2) / count
            _petal(canvas, (x, y), angle, (reach, math.pi / count), colour)
    canvas.disc(x, y, radius * 0.16, palette.light)


def _petal(
    canvas: Canvas, centre: tuple[float, float], angle: float, size: tuple[float, float], colour: Colour
) -> None:
    reach, spread = size
    width, height = canvas.image.size
    outline = ((0.0, 0.0), (0.45, -0.8), (0.75, -0.85), (0.93, -0.5), (1.0, 0.0))
    mirrored = [(along, -side) for along, side in reversed(outline)]
    points = []
    for along, side in [*outline, *mirrored]:
        direction = angle + side * spread
        step = along * reach * canvas.unit
        points.append((centre[0] + step * math.cos(direction) / width, centre[1] + step * math.sin(direction) / height))
    canvas.polygon(points, colour)


def shards(canvas: Canvas) -> None:
    """Divide the surface into facets of different brightness."""
    chance, palette = canvas.chance, canvas.palette
    columns, rows = max(2, round(6 * canvas.aspect)), max(2, round(6 * canvas.image.height / canvas.unit))
    grid = {
        (column, row): (
            (column + chance.uniform(-0.38, 0.38)) / columns,
            (row + chance.uniform(-0.38, 0.38)) / rows,
        )
        for column in range(-1, columns + 2)
        for row in range(-1, rows + 2)
    }
    for (column, row), one in grid.items():
        two = grid.get((column + 1, row + 1))
        if two is None:
            continue
        for corner in (grid[column + 1, row], grid[column, row + 1]):
            height = min(1.0, max(0.0, (one[1] + two[1] + corner[1]) / 3))
            colour = mix(mix(palette.light, palette.accent, height), palette.near, height**2)
            canvas.polygon([one, two, corner], mix(colour, chance.choice(palette.inks), 0.28 * chance.random()))


def tiles(canvas: Canvas) -> None:
    """Draw a floor of quarter circles and half tiles."""
    chance, inks = canvas.chance, canvas.palette.inks
    size = canvas.unit / 4
    for column in range(math.ceil(canvas.image.width / size)):
        for row in range(math.ceil(canvas.image.height / size)):
            left, top = column * size, row * size
            back, front, dot = chance.sample(inks, 3)
            canvas.pen.rectangle((left, top, left + size, top + size), back)
            quarter = chance.randrange(4)
            x, y = left - size * (quarter in {1, 2}), top - size * (quarter in {2, 3})
            box = (x, y, x + 2 * size, y + 2 * size)
            start = (180, 270, 0, 90)[quarter]
            canvas.pen.pieslice(box, start, start + 90, front)
            if chance.random() < 0.4:  # noqa: PLR2004 - some tiles have a dot
                middle = (left + size / 2) / canvas.image.width, (top + size / 2) / canvas.image.height
                canvas.disc(*middle, 0.035, dot)


ALL = (circles, waves, petals, shards, tiles)
