"""Motifs of landscapes: sky, land, water, and the things on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from aiowery.sandbox._media.palette import mix

if TYPE_CHECKING:
    from aiowery.sandbox._media.canvas import Canvas


def stars(canvas: Canvas) -> None:
    """Draw stars over the upper part."""
    chance = canvas.chance
    for _ in range(round(110 * canvas.aspect)):
        y = 0.75 * chance.random() ** 1.4
        size = 0.0012 + 0.0035 * chance.random() ** 4
        canvas.disc(chance.random(), y, size, canvas.palette.light, 0.35 + 0.65 * chance.random())


def sun(canvas: Canvas) -> None:
    """Draw a sun with its glow over the horizon."""
    chance, light = canvas.chance, canvas.palette.light
    x, y = chance.uniform(0.22, 0.78), chance.uniform(0.26, 0.5)
    radius = chance.uniform(0.07, 0.12)
    canvas.glow(x, y, radius * 4.5, light, 0.75)
    canvas.disc(x, y, radius, light)


def moon(canvas: Canvas) -> None:
    """Draw a moon with three dark areas."""
    chance, light = canvas.chance, canvas.palette.light
    x, y = chance.uniform(0.2, 0.8), chance.uniform(0.16, 0.36)
    radius = chance.uniform(0.06, 0.1)
    canvas.glow(x, y, radius * 4, light, 0.45)
    canvas.disc(x, y, radius, light)
    width, height = canvas.image.size
    for _ in range(3):
        across = chance.uniform(-0.5, 0.5) * radius * canvas.unit / width
        down = chance.uniform(-0.5, 0.5) * radius * canvas.unit / height
        canvas.disc(x + across, y + down, radius * chance.uniform(0.12, 0.25), canvas.palette.far, 0.25)


def clouds(canvas: Canvas) -> None:
    """Draw some flat clouds."""
    chance = canvas.chance
    colour = mix(canvas.palette.horizon, (255, 255, 255), 0.5)
    for _ in range(4):
        left, top = (round(value) for value in canvas.at(chance.uniform(-0.1, 0.9), chance.uniform(0.06, 0.4)))
        width, height = round(canvas.unit * chance.uniform(0.22, 0.34)), round(canvas.unit * 0.06)
        mask = Image.new("L", (width, height))
        pen = ImageDraw.Draw(mask)
        for _ in range(6):
            start, thickness = chance.uniform(0, 0.6) * width, chance.uniform(0.3, 0.6) * height
            roof = chance.uniform(0, 1) * (height - thickness)
            box = (start, roof, start + chance.uniform(0.3, 0.4) * width, roof + thickness)
            pen.rounded_rectangle(box, thickness / 2, 105)
        canvas.image.paste(colour, (left, top, left + width, top + height), mask)


def mountains(canvas: Canvas) -> None:
    """Draw two ranges with snow on their peaks."""
    chance, palette = canvas.chance, canvas.palette
    for depth, base in ((0.15, 0.66), (0.45, 0.72)):
        count = round(3 * canvas.aspect + 2)
        for number in range(count):
            x = (number + chance.uniform(-0.1, 0.9)) / count
            half = chance.uniform(0.2, 0.34) / canvas.aspect
            tall = chance.uniform(0.2, 0.38) * (1 - depth * 0.6)
            _mountain(canvas, (x, base), half, tall, depth)
        canvas.ridge(canvas.rolling(base - 0.01, 0.008, 2), palette.depth(depth + 0.08))


def _mountain(canvas: Canvas, middle: tuple[float, float], half: float, tall: float, depth: float) -> None:
    x, base = middle
    palette, lean = canvas.palette, canvas.chance.uniform(-0.25, 0.25) * half
    peak, foot = (x, base - tall), x + lean
    canvas.polygon([(x - half, base), peak, (x + half, base)], palette.depth(depth))
    canvas.polygon([peak, (x + half, base), (foot, base)], palette.depth(min(1.0, depth + 0.16)))
    line = base - tall * 0.72
    reach = half * 0.28
    cap = [
        (x - reach, line),
        peak,
        (x + reach, line),
        (x + reach * 0.4, line - tall * 0.06),
        (x, line + tall * 0.05),
    ]
    canvas.polygon([*cap, (x - reach * 0.45, line - tall * 0.05)], mix(palette.light, palette.far, 0.15), 0.92)


def hills(canvas: Canvas) -> None:
    """Draw hills, hazy in the distance and dark in front."""
    layers = 5
    for layer in range(layers):
        share = layer / (layers - 1)
        line = canvas.rolling(0.56 + 0.34 * share, 0.035 + 0.02 * share, 1.1 - 0.5 * share)
        canvas.ridge(line, canvas.palette.depth(share * 0.92))


def forest(canvas: Canvas) -> None:
    """Draw firs in four rows."""
    chance = canvas.chance
    for row in range(4):
        share = row / 3
        line = canvas.rolling(0.62 + 0.26 * share, 0.025, 1.2)
        colour = canvas.palette.depth(0.2 + 0.75 * share)
        count = round((38 - 18 * share) * canvas.aspect)
        for number in range(count):
            x = (number + chance.random()) / count
            tall = chance.uniform(0.08, 0.15) * (0.8 + 0.9 * share)
            _fir(canvas, x, line(x) + 0.02, tall, colour)
        canvas.ridge(line, colour)


def _fir(canvas: Canvas, x: float, foot: float, tall: float, colour: tuple[int, int, int]) -> None:
    for part in range(3):
        half = tall * (0.13 + 0.07 * part) / canvas.aspect
        top = foot - tall * (1 - 0.26 * part)
        canvas.polygon([(x - half, top + tall * 0.45), (x, top), (x + half, top + tall * 0.45)], colour)


def city(canvas: Canvas) -> None:
    """Draw a skyline in three rows, with lit windows in the nearest two."""
    chance = canvas.chance
    for row in range(3):
        share = row / 2
        x = -0.02
        while x < 1:
            width = chance.uniform(0.05, 0.11) * (0.8 + 0.5 * share) / canvas.aspect
            roof = 0.82 - chance.uniform(0.12, 0.46) * (1 - 0.35 * share)
            _building(canvas, (x, roof, x + width), share, lit=row > 0)
            x += width * chance.uniform(0.95, 1.15)


def _building(canvas: Canvas, place: tuple[float, float, float], share: float, *, lit: bool) -> None:
    left, roof, right = place
    chance, palette = canvas.chance, canvas.palette
    body = palette.depth(0.25 + 0.65 * share)
    canvas.polygon([(left, roof), (right, roof), (right, 1), (left, 1)], body)
    if chance.random() < 0.25:  # noqa: PLR2004 - every fourth has an antenna
        middle = (left + right) / 2
        canvas.polygon([(middle - 0.002, roof), (middle, roof - 0.06), (middle + 0.002, roof)], body)
    if not lit:
        return
    columns, rows = 4, round((0.86 - roof) / 0.028)
    step = (right - left) / (columns + 0.5)
    for column in range(columns):
        for row in range(rows):
            if chance.random() < 0.4:  # noqa: PLR2004 - of all windows, two in five are lit
                x, y = left + step * (column + 0.45), roof + 0.016 + row * 0.028
                glass = mix(palette.light, palette.accent, chance.random() * 0.7)
                start, end = canvas.at(x, y), canvas.at(x + step * 0.55, y + 0.013)
                canvas.pen.rectangle((*start, *end), mix(body, glass, 0.88))


def water(canvas: Canvas) -> None:
    """Draw water in the foreground, which mirrors the scene above it and has waves."""
    chance, palette = canvas.chance, canvas.palette
    width, height = canvas.image.size
    shore = round(height * 0.7)
    mirrored = canvas.image.crop((0, 2 * shore - height, width, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    tint = Image.new("RGB", mirrored.size, mix(palette.top, palette.near, 0.45))
    canvas.image.paste(Image.blend(mirrored, tint, 0.42), (0, shore))
    for _ in range(round(70 * canvas.aspect)):
        down = chance.random() ** 1.5
        y = shore + down * (height - shore)
        x, length = chance.random() * width, (0.03 + 0.16 * down) * canvas.unit * chance.uniform(0.4, 1)
        thickness = canvas.unit * (0.0015 + 0.004 * down)
        colour = palette.light if chance.random() < 0.6 else palette.horizon  # noqa: PLR2004 - mostly light
        canvas.brush.rounded_rectangle((x - length, y, x + length, y + thickness), thickness, (*colour, 70))
