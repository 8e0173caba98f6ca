"""Requests from what people write in files: generic over the types of the catalogue and over their fields."""

from __future__ import annotations

import functools
import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from aiowery import Request
from aiowery.errors import ConfigurationError
from aiowery.weryai import TextToImage, request_type
from aiowery.weryai import from_object as read_object

DEFAULT_TYPE: Final = TextToImage.type_name

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")


def from_object(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Request[Any]:
    """Build the request that a JSON object means: `type` names it, unknown names go to `extra`.

    `defaults` fill fields that the object leaves out or sets to null. Raises ConfigurationError.
    """
    cls = request_type(values.get("type") or DEFAULT_TYPE)
    names = {field.name for field in attrs.fields(cls)}
    given = {name: value for name, value in values.items() if value is not None}
    filled = {name: value for name, value in defaults.items() if name in names}
    return read_object({**filled, **given, "type": cls.type_name})


def from_cells(cells: Mapping[str, str], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
    """Build the request that a table's row means; return it with the cells that are no fields, as notes.

    A column names a field whatever its case and whether it has spaces, dashes or underscores. An empty cell
    means the default. Raises ConfigurationError.
    """
    named = {column_name(column): cell.strip() for column, cell in cells.items()}
    cls = request_type(named.get("type") or DEFAULT_TYPE)
    hints = field_types(cls.type_name)
    known = {name: _converted(name, cell, hints[name]) for name, cell in named.items() if cell and name in hints}
    notes = {column: cell for column, cell in cells.items() if column_name(column) not in {*hints, "type"}}
    filled = {name: value for name, value in defaults.items() if name in hints}
    request = read_object({**filled, **known, "type": cls.type_name})
    return request, {column: cell for column, cell in notes.items() if cell.strip()}


@functools.cache
def field_types(type_name: str) -> Mapping[str, Any]:
    """Return the annotations of a request type's fields."""
    cls = request_type(type_name)
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


def column_name(column: str) -> str:
    """Return the field name that a column's heading may mean."""
    return re.sub(r"[\s_-]+", "_", column.strip().lower())


def prompt_of(request: Request[Any]) -> str:
    """Return what the request asks for, in its own words."""
    prompt = getattr(request, "prompt", None)
    return prompt if isinstance(prompt, str) else request.label


def _converted(name: str, text: str, hint: Any) -> Any:
    """Turn a cell into what its field holds: text as it is, numbers and truths read, anything else as JSON."""
    kinds = _kinds(hint)
    if str in kinds:
        return text
    for kind, (read, wanted) in _READERS.items():
        if kind in kinds:
            try:
                return read(text)
            except (ValueError, KeyError):
                raise ConfigurationError(f"{name} is {text!r}; {wanted} is needed") from None
    return _as_json(name, text)


def _as_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{name} is {text!r}; JSON is needed") from None


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


_READERS: Final[Mapping[type, tuple[Callable[[str], Any], str]]] = {
    bool: (lambda text: _TRUTHS[text.lower()], "true or false"),
    int: (_whole, "a whole number"),
    float: (float, "a number"),
}


def _kinds(hint: Any) -> set[Any]:
    """Return the plain types that a hint allows."""
    if get_origin(hint) in {Union, types.UnionType}:
        return set().union(*map(_kinds, get_args(hint)))
    if get_origin(hint) is Literal:
        return {type(value) for value in get_args(hint)}
    return {get_origin(hint) or hint}
