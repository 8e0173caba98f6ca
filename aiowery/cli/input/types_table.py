"""Tables of all request types, and of the fields of one type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from aiowery import Request
from aiowery._core.fields import wire_of
from aiowery._core.request_types import RequestTypes
from aiowery.cli.input.requests import field_types, kinds_of
from aiowery.cli.input.set_option import required
from aiowery.cli.output.tables import print_table
from aiowery.cli.terminal import print_prose

_ENDPOINT: Final = re.compile(r":?\s?`POST [^`]*`(,[^.]*)?")
_CLASS: Final = re.compile(r"`([A-Z]\w+)`")
_LINE_BREAK: Final = re.compile(r"(?<!\n)\n(?!\n)")
_LAST: Final = ("webhook_url", "caller_id", "extra")
_MEDIA: Final = {"image": "picture", "video": "video", "audio": "sound"}
_VALUE_KINDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
}


def show_types(types: RequestTypes[Request[Any]]) -> None:
    """Print every request type with its purpose and its required fields."""
    rows = [(name, _purpose(cls, types), ", ".join(required(cls))) for name, cls in types.requests.items()]
    print_table(("type", "what it does", "requires"), rows)
    print_prose("aiowery run TYPE --fields shows the fields of one; aiowery run TYPE --set field=value ... runs it.")


def show_fields(cls: type[Request[Any]], types: RequestTypes[Request[Any]]) -> None:
    """Print the description and the fields of one request type."""
    first, _, rest = _description(cls, types).partition("\n\n")
    print_prose(f"{cls.type_name}: {_ENDPOINT.sub('', first)}")
    if rest:
        print_prose(f"\n{rest}")
    fields = sorted(attrs.fields(cls), key=_sort_key)
    hints = field_types(cls)
    print_prose("")
    print_table(
        ("field", "value", "default"),
        [(field.name, _kind(field, hints[field.name]), _default(field)) for field in fields],
    )
    print_prose(f"aiowery run {cls.type_name} {' '.join(f'--set {name}=...' for name in required(cls))}".rstrip())


def _purpose(cls: type[Request[Any]], types: RequestTypes[Request[Any]]) -> str:
    return _ENDPOINT.sub("", _description(cls, types).partition("\n\n")[0]).rstrip(".")


def _description(cls: type[Request[Any]], types: RequestTypes[Request[Any]]) -> str:
    """Return the docstring of the class, each paragraph in one line, with class names replaced by type names."""
    names = {other.__name__: type_name for type_name, other in types.requests.items()}
    text = _LINE_BREAK.sub(" ", inspect.getdoc(cls) or cls.type_name)
    return _CLASS.sub(lambda found: f"`{names.get(found[1], found[1])}`", text)


def _sort_key(field: attrs.Attribute[Any]) -> tuple[bool, bool]:
    """Return a sort key: required fields first, fields of all requests last."""
    return field.name in _LAST, field.default is not attrs.NOTHING


def _kind(field: attrs.Attribute[Any], hint: Any) -> str:
    """Return a description of the values of a field."""
    media, text_form = wire_of(field).media, wire_of(field).text_form
    several = tuple in kinds_of(hint)
    if media is not None:
        return f"{_MEDIA[media]}s, each a URL or a file" if several else f"{_MEDIA[media]}: a URL or a file"
    if text_form is not None:
        return text_form
    if several:
        return f"list: each a {_plain(get_args(hint)[0])}"
    choices = _choices(hint)
    return f"{' | '.join(map(str, choices))} | ..." if choices else _plain(hint)


def _plain(hint: Any) -> str:
    kinds = kinds_of(hint)
    name = next((text for kind, text in _VALUE_KINDS.items() if kind in kinds), None)
    parts = next((attrs.fields(kind) for kind in kinds if attrs.has(kind)), ())
    made_of = f"JSON object with {', '.join(part.name for part in parts)}" if parts else "JSON object"
    return name or made_of


def _choices(hint: Any) -> tuple[Any, ...]:
    found = (arg for arg in (hint, *get_args(hint)) if get_origin(arg) is Literal)
    return next(map(get_args, found), ())


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "(required)"
    if getattr(field.default, "takes_self", False):
        return "(depends on other fields)"
    return str(field.default) if isinstance(field.default, (str, int, float)) else ""
