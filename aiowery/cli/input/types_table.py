"""Tables of all request types, and of the fields of one type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from aiowery._core.fields import wire_of
from aiowery.cli.input.requests import REQUESTS, field_types, kinds_of
from aiowery.cli.input.set_option import required
from aiowery.cli.output.tables import print_table
from aiowery.weryai import Message, Point, Rectangle, Size

_ENDPOINT: Final = re.compile(r":?\s?`POST [^`]*`(,[^.]*)?")
_CLASSES: Final = {cls.__name__: f"`{type_name}`" for type_name, cls in REQUESTS.items()}
_CLASS: Final = re.compile(rf"`({'|'.join(_CLASSES)})`")
_LAST: Final = ("webhook_url", "caller_id", "extra")
_MEDIA: Final = {"image": "picture", "video": "video", "audio": "sound"}
_WORDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Size: "size, such as 1024x768",
    Point: "position, such as 128,0",
}


def show_types() -> None:
    """Print every request type with its purpose and its required fields."""
    rows = [(type_name, _purpose(type_name), ", ".join(required(type_name))) for type_name in REQUESTS]
    print_table(("type", "what it does", "requires"), rows)
    print("aiowery run TYPE --fields shows the fields of one; aiowery run TYPE --set field=value ... runs it.")


def show_fields(type_name: str) -> None:
    """Print the description and the fields of one request type."""
    first, _, rest = _description(type_name).partition("\n\n")
    print(f"{type_name}: {_ENDPOINT.sub('', first)}")
    if rest:
        print(f"\n{rest}")
    fields = sorted(attrs.fields(REQUESTS[type_name]), key=_sort_key)
    hints = field_types(type_name)
    print()
    print_table(
        ("field", "value", "default"),
        [(field.name, _kind(field, hints[field.name]), _default(field)) for field in fields],
    )
    print(f"aiowery run {type_name} {' '.join(f'--set {name}=...' for name in required(type_name))}".rstrip())


def _purpose(type_name: str) -> str:
    return _ENDPOINT.sub("", _description(type_name).partition("\n\n")[0]).rstrip(".")


def _description(type_name: str) -> str:
    """Return the docstring of the class, with class names replaced by type names."""
    text = inspect.getdoc(REQUESTS[type_name]) or type_name
    return _CLASS.sub(lambda found: _CLASSES[found[1]], text)


def _sort_key(field: attrs.Attribute[Any]) -> tuple[bool, bool]:
    """Return a sort key: required fields first, fields of all requests last."""
    return field.name in _LAST, field.default is not attrs.NOTHING


def _kind(field: attrs.Attribute[Any], hint: Any) -> str:
    """Return a description of the values of a field."""
    media = wire_of(field).media
    several = tuple in kinds_of(hint)
    if media is not None:
        return f"{_MEDIA[media]}s, each a url or a file" if several else f"{_MEDIA[media]}: a url or a file"
    if several:
        return f"list: {_item(get_args(hint)[0])}"
    choices = _choices(hint)
    return f"{' | '.join(map(str, choices))} | ..." if choices else _plain(hint)


def _item(hint: Any) -> str:
    if hint is Rectangle:
        return "rectangles, each [left, top, right, bottom] from 0 to 1"
    return "a text, or objects with role and content" if hint is Message else f"each a {_plain(hint)}"


def _plain(hint: Any) -> str:
    kinds = kinds_of(hint)
    name = next((word for kind, word in _WORDS.items() if kind in kinds), None)
    parts = next((attrs.fields(kind) for kind in kinds if attrs.has(kind)), ())
    made_of = f"JSON object with {', '.join(part.name for part in parts)}" if parts else "JSON object"
    return name or made_of


def _choices(hint: Any) -> tuple[Any, ...]:
    found = (arg for arg in (hint, *get_args(hint)) if get_origin(arg) is Literal)
    return next(map(get_args, found), ())


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "(required)"
    return str(field.default) if isinstance(field.default, (str, int, float)) else ""
