"""Requests from what people write in files: generic over the types of the catalogue and over their fields."""

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
"""Everything that can be asked for, of whichever service; no two use one name."""

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SEPARATORS: Final = re.compile(r"[\s_-]+")
_SEEN: Final = frozenset({"image", "video"})


def from_object(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Request[Any]:
    """Build the request that a JSON object means: `type` names it, unknown names go to `extra`.

    `defaults` name the type where the object does not. Where pictures or videos are asked for, they fill fields that
    it leaves out or sets to null; a null that none of them fills means what it means to the library. Raises
    ConfigurationError.
    """
    cls = _BY_NAME.request_type(values.get("type") or defaults.get("type") or TextToImage.type_name)
    filled = _filled(cls, defaults)
    given = {name: value for name, value in values.items() if value is not None or name not in filled}
    return _BY_NAME.from_dict({**filled, **given, "type": cls.type_name})


def from_cells(cells: Mapping[str, str], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
    """Build the request that a table's row means; return it with the cells that are no fields, as notes.

    A column names a field whatever its case and whether it has spaces, dashes or underscores. An empty cell
    means the default. Raises ConfigurationError.
    """
    named = {column_name(column): cell.strip() for column, cell in cells.items()}
    cls = _BY_NAME.request_type(named.get("type") or defaults.get("type") or TextToImage.type_name)
    hints = field_types(cls.type_name)
    known = {name: convert(name, [cell], hints[name]) for name, cell in named.items() if cell and name in hints}
    notes = {column: cell for column, cell in cells.items() if column_name(column) not in {*hints, "type"}}
    request = _BY_NAME.from_dict({**_filled(cls, defaults), **known, "type": cls.type_name})
    return request, {column: cell for column, cell in notes.items() if cell.strip()}


def with_options(type_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return wishes as defaults for requests of this type; ConfigurationError for one that it has no field for."""
    hints = field_types(type_name)
    for name in options:
        if name not in hints:
            raise ConfigurationError(f"--{name.replace('_', '-')}: {type_name} has nothing of the kind; leave it out")
    texts = {name: convert(name, [wish], hints[name]) for name, wish in options.items() if isinstance(wish, str)}
    return {"type": type_name, **options, **texts}


def _filled(cls: type[Request[Any]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that mean something for such a request."""
    if cls.kind not in _SEEN:
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
    """Return the field name that a column's heading may mean."""
    return _SEPARATORS.sub("_", column.strip().lower())


def prompt_of(request: Request[Any]) -> str:
    """Return what the request asks for: its prompt, its label, or what is to be done to which files."""
    prompt = getattr(request, "prompt", None)
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    label = request.label
    return label if label != request.type_name else " ".join((label, *filter(None, map(_name, media_of(request)))))


def media_of(request: Request[Any]) -> Iterator[Media]:
    """Yield the pictures, videos and sounds that a request works on."""
    for field in attrs.fields(type(request)):
        value = getattr(request, field.name)
        if wire_of(field).media is not None and value is not None:
            yield from value if isinstance(value, tuple) else (value,)


def _name(media: Media) -> str:
    """Return what a file is called, without its ending; a url that holds its content has no name."""
    if isinstance(media, str):
        try:
            parts = urlsplit(media)
        except ValueError:
            return ""
        return "" if parts.scheme == "data" else PurePath(unquote(parts.path)).stem
    return PurePath(media.name).stem


def convert(name: str, texts: list[str], hint: Any) -> Any:
    """Turn texts into what a field holds: text as it is, numbers and truths read, anything else as JSON.

    A list takes several texts, each an item or a JSON list of items; for any other field the last one counts.
    """
    if tuple in kinds_of(hint):
        item = kinds_of(get_args(hint)[0])
        return [read for text in texts for read in _listed(name, text, item)]
    return _converted(name, texts[-1], kinds_of(hint))


def _listed(name: str, text: str, item: set[Any]) -> Iterable[Any]:
    """Read one text as the items of a list."""
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
    if int in kinds and _WHOLE.fullmatch(text):  # a model has a name, or a number
        return int(text)
    if kinds & _TEXTS:
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


def _integer(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


_TEXTS: Final = frozenset({str, Size, Point})
"""What is written as a text: sizes and places read themselves."""
_READERS: Final[Mapping[type, tuple[Callable[[str], Any], str]]] = {
    bool: (lambda text: _TRUTHS[text.lower()], "true or false"),
    int: (_integer, "a whole number"),
    float: (float, "a number"),
}


def kinds_of(hint: Any) -> set[Any]:
    """Return the plain types that a hint allows."""
    if get_origin(hint) in {Union, types.UnionType}:
        return set().union(*map(kinds_of, get_args(hint)))
    if get_origin(hint) is Literal:
        return {type(value) for value in get_args(hint)}
    return {get_origin(hint) or hint}
