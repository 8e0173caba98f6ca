"""Sizes and points in pixels, and rectangles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import attrs

from aiowery._core.fields import items, number, short_repr, wrong_request

_SIZE: Final = re.compile(r"(?<!\d)(\d{1,9}+)\s*+[xX]\s*+(\d{1,9}+)")
_POINT: Final = re.compile(r"(?<![-\d])(-?\d{1,9}+)\s*+,\s*+(-?\d{1,9}+)")
_MAX_PIXELS: Final = 10**9


SIZE_TEXT: Final = "size, such as 1024x768"
POINT_TEXT: Final = "position, such as 128,0"
RECTANGLES_TEXT: Final = "list: rectangles, each [left, top, right, bottom] from 0 to 1"


class Size(NamedTuple):
    """A size in pixels: `width` and `height`."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Point(NamedTuple):
    """A point in pixels: `x` and `y`, from the top left corner."""

    x: int
    y: int

    def __str__(self) -> str:
        return f"{self.x},{self.y}"


@attrs.frozen
class Rectangle:
    """A part of a picture: `left` and `right` in fractions (0 to 1) of its width, `top` and `bottom` of its height."""

    left: float = attrs.field(validator=number(least=0, most=1))
    top: float = attrs.field(validator=number(least=0, most=1))
    right: float = attrs.field(validator=number(least=0, most=1))
    bottom: float = attrs.field(validator=number(least=0, most=1))

    def __attrs_post_init__(self) -> None:
        if self.left >= self.right or self.top >= self.bottom:
            raise wrong_request(f"{self!r}: left must be smaller than right, and top than bottom")

    def on_wire(self) -> dict[str, float]:
        """Return the rectangle as two corners, in WeryAI's form."""
        return {"lt_x": self.left, "lt_y": self.top, "rb_x": self.right, "rb_y": self.bottom}


def size(value: Size | tuple[int, int] | str) -> Size:
    """Convert a pair or a text such as "1024x768" into a size."""
    width, height = _pair(value, _SIZE, "a size such as '1024x768' or (1024, 768)")
    if width < 1 or height < 1:
        raise wrong_request(f"{short_repr(value)}: a size of at least 1x1 is needed")
    return Size(width, height)


def point(value: Point | tuple[int, int] | str) -> Point:
    """Convert a pair or a text such as "128,0" into a point."""
    return Point(*_pair(value, _POINT, "a place such as '128,0' or (128, 0)"))


def _pair(value: object, form: re.Pattern[str], expected: str) -> tuple[int, int]:
    match = form.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return int(match[1]), int(match[2])
    if (
        isinstance(value, (tuple, list))
        and len(value) == len(Size._fields)
        and all(type(part) is int and abs(part) < _MAX_PIXELS for part in value)
    ):
        return value[0], value[1]
    raise wrong_request(f"{short_repr(value)} is given where {expected} is needed")


def rectangles(values: Iterable[Any]) -> tuple[Rectangle, ...]:
    """Convert rectangles, each given as a `Rectangle`, as four numbers, or as an object with its fields."""
    return tuple(map(_rectangle, items(values)))


def _rectangle(value: Any) -> Rectangle:
    if isinstance(value, Rectangle):
        return value
    try:
        return Rectangle(**value) if isinstance(value, Mapping) else Rectangle(*value)
    except TypeError as error:
        raise wrong_request(f"{short_repr(value)} is no rectangle; give left, top, right and bottom") from error
