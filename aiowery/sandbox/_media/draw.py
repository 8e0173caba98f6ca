"""Images drawn from a prompt: its words select colours and motifs, its hash the rest."""

from __future__ import annotations

import io
import random
import re
from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from aiowery.sandbox._media import abstract, landscape
from aiowery.sandbox._media.canvas import SMOOTHING, Canvas
from aiowery.sandbox._media.palette import choose

_FORMS = {
    abstract.petals: "flower flowers rose petal petals blossom bouquet garden",
    abstract.circles: "circle circles bubble bubbles balloon balloons ball planet planets",
    abstract.tiles: "pattern tile tiles mosaic poster geometric bauhaus logo",
    abstract.shards: "crystal crystals glass diamond gem origami polygon",
    abstract.waves: "abstract wave waves flow music dream silk smoke",
}
# From back to front: later motifs cover earlier ones.
_SCENERY = {
    landscape.stars: "night midnight star stars starry space galaxy nebula cosmic",
    landscape.sun: "sun sunny sunset sunrise dawn dusk morning evening desert",
    landscape.moon: "moon moonlit moonlight night midnight wolf",
    landscape.clouds: "cloud clouds cloudy sky day rain storm bird birds",
    landscape.mountains: "mountain mountains alps peak peaks snow snowy glacier volcano valley",
    landscape.hills: "hill hills meadow field fields farm desert dune dunes landscape village horse",
    landscape.city: "city cities street skyline tower towers urban town building buildings cyberpunk neon",
    landscape.forest: "forest tree trees woods wood jungle pine fir deer fox bear",
    landscape.water: "water sea ocean lake river beach harbour harbor boat ship island coast pond",
}
_GROUND = (landscape.mountains, landscape.hills, landscape.city, landscape.forest)
_WORDS = re.compile(r"[a-z]+")


Form = Literal["png", "webp"]
_SAVING: dict[Form, dict[str, int]] = {"png": {"compress_level": 1}, "webp": {"quality": 85, "method": 2}}


def draw(prompt: str, index: int, width: int, height: int, form: Form = "png") -> bytes:
    """Return image number `index` for `prompt` as bytes in this format. Equal arguments give equal bytes."""
    words = set(_WORDS.findall(prompt.lower()))
    palette = choose(words, random.Random(prompt))  # noqa: S311 - repeatable on purpose
    chance = random.Random(f"{index} {prompt}")  # noqa: S311 - repeatable on purpose
    canvas = Canvas.blank(width, height, palette, chance)
    _compose(canvas, words)
    image = canvas.image.reduce(SMOOTHING)
    _caption(image, prompt)
    out = io.BytesIO()
    image.save(out, form, **_SAVING[form])
    return out.getvalue()


def _compose(canvas: Canvas, words: set[str]) -> None:
    scenery = [motif for motif, wanted in _SCENERY.items() if words & set(wanted.split())]
    forms = [motif for motif, wanted in _FORMS.items() if words & set(wanted.split())]
    if not scenery:
        canvas.chance.choice(forms or abstract.ALL)(canvas)
        return
    if not any(motif in _GROUND for motif in scenery):
        scenery.append(canvas.chance.choice((landscape.mountains, landscape.hills)))
    if landscape.stars not in scenery and landscape.moon not in scenery:
        scenery.extend((landscape.sun, landscape.clouds))
    for motif in _SCENERY:
        if motif in scenery:
            motif(canvas)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _caption(image: Image.Image, prompt: str) -> None:
    """Draw the prompt in at most two lines at the bottom, on a dark strip that keeps it legible."""
    size = max(11, round(min(image.size) * 0.028))
    margin = size
    pen = ImageDraw.Draw(image, "RGBA")
    lines = _lines(pen, prompt, size, image.width - 2 * margin)
    top = image.height - margin - round(len(lines) * size * 1.3)
    pen.rectangle((0, top - margin // 2, image.width, image.height), (12, 12, 20, 150))
    for number, line in enumerate(lines):
        pen.text((margin, top + number * size * 1.3), line, (255, 255, 255, 235), _font(size))


def _lines(pen: ImageDraw.ImageDraw, prompt: str, size: int, width: int) -> list[str]:
    """Break the prompt into one or two lines that fit. An ellipsis replaces the rest."""
    lines: list[str] = [""]
    for word in prompt.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, _font(size)) <= width:
            lines[-1] = longer
        elif len(lines) == 1 and lines[0]:
            lines.append(word)
        else:
            lines[-1] = _shortened(pen, longer, size, width)
            break
    return lines


def _shortened(pen: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    while text and pen.textlength(text + "…", _font(size)) > width:
        text = text[:-1]
    return text + "…"
