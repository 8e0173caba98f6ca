"""Requests built from JSON objects and table rows, for all request types and their fields."""

from __future__ import annotations

import functools
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

import attrs

from aiowery import Request, betterwaifu, weryai
from aiowery._core.fields import wire_of
from aiowery._core.media import Media
from aiowery._core.request_types import RequestTypes
from aiowery.errors import ConfigurationError
from aiowery.weryai import Message, Point, Rectangle, Size, TextToImage

_BY_NAME: Final[RequestTypes[Request[Any]]] = RequestTypes({**weryai.REQUESTS, **betterwaifu.REQUESTS})
REQUESTS: Final = _BY_NAME.requests
"""All request types of all providers by name; no two share a name."""

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SEPARATORS: Final = re.compile(r"[\s_-]+")
_VISUAL_KINDS: Final = frozenset({"image", "video"})


def from_object(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Request[Any]:
    """Return the request of a JSON object: `type` names its type, unknown names go to `extra`.

    `defaults` name the type if the object does not. For pictures and videos they also fill fields that are missing or
    null. A null without a default keeps its meaning for the request type. Raises ConfigurationError.
    """
    cls = _BY_NAME.request_type(values.get("type") or defaults.get("type") or TextToImage.type_name)
    filled = _filled(cls, defaults)
    given = {name: value for name, value in values.items() if value is not None or name not in filled}
    return _BY_NAME.from_dict({**filled, **given, "type": cls.type_name})


def from_cells(cells: Mapping[str, str], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
    """Return the request of a table row, and the cells of other columns.

    Case, spaces, dashes and underscores do not matter in column names. An empty cell means the default. Raises
    ConfigurationError.
    """
    named = {column_name(column): cell.strip() for column, cell in cells.items()}
    cls = _BY_NAME.request_type(named.get("type") or defaults.get("type") or TextToImage.type_name)
    hints = field_types(cls.type_name)
    known = {name: convert(name, [cell], hints[name]) for name, cell in named.items() if cell and name in hints}
    notes = {column: cell for column, cell in cells.items() if column_name(column) not in {*hints, "type"}}
    request = _BY_NAME.from_dict({**_filled(cls, defaults), **known, "type": cls.type_name})
    return request, {column: cell for column, cell in notes.items() if cell.strip()}


def with_options(type_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as defaults for a request type. Raises ConfigurationError for an option without a field."""
    hints = field_types(type_name)
    for name in options:
        if name not in hints:
            raise ConfigurationError(f"--{name.replace('_', '-')}: {type_name} has no such field; leave the option out")
    texts = {name: convert(name, [wish], hints[name]) for name, wish in options.items() if isinstance(wish, str)}
    return {"type": type_name, **options, **texts}


def _filled(cls: type[Request[Any]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that this request type has fields for."""
    if cls.kind not in _VISUAL_KINDS:
        return {}
    names = {field.name for field in attrs.fields(cls)}
    return {name: value for name, value in defaults.items() if name in names}


@functools.cache
def field_types(type_name: str) -> Mapping[str, Any]:
    """Return the annotations of a request type's fields."""
    cls = REQUESTS[type_name]
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


def column_name(column: str) -> str:
    """Return a column heading in the spelling of field names."""
    return _SEPARATORS.sub("_", column.strip().lower())


def prompt_of(request: Request[Any]) -> str:
    """Return the prompt of a request, or its label, or its type with the names of its files."""
    prompt = getattr(request, "prompt", None)
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    label = request.label
    return label if label != request.type_name else " ".join((label, *filter(None, map(_name, media_of(request)))))


def media_of(request: Request[Any]) -> Iterator[Media]:
    """Yield the pictures, videos and sounds in the fields of a request."""
    for field in attrs.fields(type(request)):
        value = getattr(request, field.name)
        if wire_of(field).media is not None and value is not None:
            yield from value if isinstance(value, tuple) else (value,)


def _name(media: Media) -> str:
    """Return the stem of a file name; a data url has none."""
    if isinstance(media, str):
        try:
            parts = urlsplit(media)
        except ValueError:
            return ""
        return "" if parts.scheme == "data" else PurePath(unquote(parts.path)).stem
    return PurePath(media.name).stem


def convert(name: str, texts: list[str], hint: Any) -> Any:
    """Return the value of a field from texts: a text, a number, a boolean, or else JSON.

    A list accepts several texts, each an item or a JSON list of items. For any other field the last text counts.
    """
    if tuple in kinds_of(hint):
        item = kinds_of(get_args(hint)[0])
        return [read for text in texts for read in _listed(name, text, item)]
    return _converted(name, texts[-1], kinds_of(hint))


def _listed(name: str, text: str, item: set[Any]) -> Iterable[Any]:
    """Return the list items in one text."""
    if not text.lstrip().startswith("["):
        return [_item(name, text, item)]
    value = _as_json(name, text)
    is_one = Rectangle in item and not any(isinstance(part, (list, dict)) for part in value)
    return [value] if is_one else value


def _item(name: str, text: str, kinds: set[Any]) -> Any:
    if Message in kinds and not text.lstrip().startswith("{"):
        return {"role": "user", "content": text}
    return _converted(name, text, kinds)


def _converted(name: str, text: str, kinds: set[Any]) -> Any:
    if int in kinds and _INTEGER.fullmatch(text):  # BetterWaifu's models may be numbers
        return int(text)
    if kinds & _TEXTS:
        return text
    for kind, (read, wanted) in _READERS.items():
        if kind in kinds:
            try:
                return read(text)
            except (ValueError, KeyError):
                raise ConfigurationError(f"{name} must be {wanted}, got {text!r}") from None
    return _as_json(name, text)


def _as_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{name} must be JSON, got {text!r}") from None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


_TEXTS: Final = frozenset({str, Size, Point})
"""Types that are passed on as text; Size and Point parse themselves."""
_READERS: Final[Mapping[type, tuple[Callable[[str], Any], str]]] = {
    bool: (lambda text: _BOOLEANS[text.lower()], "true or false"),
    int: (_integer, "a whole number"),
    float: (float, "a number"),
}


def kinds_of(hint: Any) -> set[Any]:
    """Return the plain types in a type hint."""
    if get_origin(hint) in {Union, types.UnionType}:
        return set().union(*map(kinds_of, get_args(hint)))
    if get_origin(hint) is Literal:
        return {type(value) for value in get_args(hint)}
    return {get_origin(hint) or hint}
