"""Requests from what people write in files, and back: one table of names, generic over the fields.

A new request type is one line in `TYPES`.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from aiowery import Request
from aiowery.errors import ConfigurationError
from aiowery.weryai import TextToImage

TYPES: Final[Mapping[str, type[Request[Any]]]] = {"text-to-image": TextToImage}
DEFAULT_TYPE: Final = "text-to-image"

_NAMES: Final = {cls: name for name, cls in TYPES.items()}
_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")


def from_object(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Request[Any]:
    """Build the request that a JSON object means: `type` names it, unknown names go to `extra`.

    `defaults` fill fields that the object leaves out or sets to null. Raises ConfigurationError.
    """
    cls = _type_named(values.get("type"))
    extra = values.get("extra")
    if not isinstance(extra, Mapping | None):
        raise ConfigurationError(f"extra is {extra!r}; an object is needed")
    known = {name: value for name, value in values.items() if name in _hints(cls) and name != "extra"}
    unknown = {name: value for name, value in values.items() if name not in {*_hints(cls), "type"}}
    return _made(cls, known, {**(extra or {}), **unknown}, defaults)


def from_cells(cells: Mapping[str, str], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
    """Build the request that a table's row means; return it with the cells that are no fields, as notes.

    A column names a field whatever its case and whether it has spaces, dashes or underscores. An empty cell
    means the default. Raises ConfigurationError.
    """
    named = {column_name(column): cell.strip() for column, cell in cells.items()}
    cls = _type_named(named.get("type") or None)
    hints = _hints(cls)
    known = {name: _converted(name, cell, hints[name]) for name, cell in named.items() if cell and name in hints}
    notes = {column: cell for column, cell in cells.items() if column_name(column) not in {*hints, "type"}}
    extra = known.pop("extra", {})
    if not isinstance(extra, Mapping):
        raise ConfigurationError(f"extra is {extra!r}; a JSON object is needed")
    return _made(cls, known, extra, defaults), {column: cell for column, cell in notes.items() if cell.strip()}


def as_object(request: Request[Any]) -> dict[str, Any]:
    """Return the JSON object that `from_object` reads as an equal request."""
    fields = {field.name: getattr(request, field.name) for field in attrs.fields(type(request))}
    extra = dict(fields.pop("extra"))
    told = {name: value for name, value in fields.items() if value is not None}
    return {"type": _NAMES[type(request)], **told, **({"extra": extra} if extra else {})}


def column_name(column: str) -> str:
    """Return the field name that a column's heading may mean."""
    return re.sub(r"[\s_-]+", "_", column.strip().lower())


def prompt_of(request: Request[Any]) -> str:
    """Return what the request asks for, in its own words."""
    prompt = getattr(request, "prompt", None)
    return prompt if isinstance(prompt, str) else request.label


def _type_named(name: object) -> type[Request[Any]]:
    if name is None:
        name = DEFAULT_TYPE
    cls = TYPES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ConfigurationError(f"type is {name!r}; known types are: {', '.join(TYPES)}")
    return cls


def _made(
    cls: type[Request[Any]], given: Mapping[str, Any], extra: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Request[Any]:
    values = {name: value for name, value in defaults.items() if name in _hints(cls)}
    values.update((name, value) for name, value in given.items() if value is not None)
    for field in attrs.fields(cls):
        if field.default is attrs.NOTHING and field.name not in values:
            raise ConfigurationError(f"no {field.name}; {_NAMES[cls]} needs one")
    return cls(extra=extra, **values)


def _hints(cls: type[Request[Any]]) -> Mapping[str, Any]:
    """Return the types of the request's fields."""
    return _HINTS[cls]


def _read_hints(cls: type[Request[Any]]) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


_HINTS: Final = {cls: _read_hints(cls) for cls in _NAMES}


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
