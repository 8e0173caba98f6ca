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

from aiowery import Request
from aiowery._core.fields import wire_names, wire_of
from aiowery._core.media import Media
from aiowery._core.request_types import RequestTypes
from aiowery.cli.input.texts import clean_values
from aiowery.cli.providers import request_types
from aiowery.errors import ConfigurationError

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SEPARATORS: Final = re.compile(r"[\s_-]+")
_VISUAL_KINDS: Final = frozenset({"image", "video"})
_TYPE: Final = "type"
_NOTE: Final = "note."
_MIN_LETTERS: Final = 5


@attrs.frozen
class RequestDefaults:
    """Defaults for the entries of an input: the known request types, and the fields that an entry leaves out.

    `fields` name the type if an entry does not. They fill the fields of pictures and videos only.
    """

    types: RequestTypes[Request[Any]]
    fields: Mapping[str, Any]

    def request_type(self, name: object) -> type[Request[Any]]:
        """Return the request type of this name, or the default one. Raises ConfigurationError for an unknown name."""
        return self.types.request_type(name or self.fields["type"])

    def fields_for(self, cls: type[Request[Any]]) -> dict[str, Any]:
        """Return the defaults that this request type has fields for."""
        if cls.kind not in _VISUAL_KINDS:
            return {}
        names = {field.name for field in attrs.fields(cls)}
        return {name: value for name, value in self.fields.items() if name in names}


def from_stored(values: Mapping[str, Any]) -> Request[Any]:
    """Return the request of a ledger entry. Raises ConfigurationError, also for a request of another version."""
    return request_types().from_dict(values)


def from_object(values: Mapping[str, Any], defaults: RequestDefaults) -> Request[Any]:
    """Return the request of a JSON object, as `read_object` does."""
    return read_object(values, defaults)[0]


def read_object(values: Mapping[str, Any], defaults: RequestDefaults) -> tuple[Request[Any], dict[str, Any]]:
    """Return the request of a JSON object, whose `type` names its type, and its notes.

    A field that is missing or null gets its default. A null without a default keeps its meaning for the request type.
    Raises ConfigurationError.
    """
    cls = defaults.request_type(values.get(_TYPE))
    known, notes = split_notes(cls, values)
    filled = defaults.fields_for(cls)
    given = {name: value for name, value in known.items() if value is not None or name not in filled}
    return defaults.types.from_dict({**filled, **clean_values(given), _TYPE: cls.type_name}), notes


def read_cells(cells: Mapping[str, str], defaults: RequestDefaults) -> tuple[Request[Any], dict[str, Any]]:
    """Return the request of a table row, and its notes. An empty cell means the default.

    Case, spaces, dashes and underscores do not matter in the names of columns. Raises ConfigurationError.
    """
    filled = {column: cell.strip() for column, cell in cells.items() if cell.strip()}
    cls = defaults.request_type(next((cell for column, cell in filled.items() if column_name(column) == _TYPE), None))
    hints = field_types(cls)
    spelled = {column_name(column) if column_name(column) in {_TYPE, *hints} else column: column for column in filled}
    known, notes = split_notes(cls, {name: filled[column] for name, column in spelled.items()})
    texts = {name: text for name, text in clean_values(known).items() if name != _TYPE}
    values = {name: convert(name, [text], hints[name]) for name, text in texts.items()}
    return defaults.types.from_dict({**defaults.fields_for(cls), **values, _TYPE: cls.type_name}), notes


def split_notes(cls: type[Request[Any]], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of a request's fields, and the others: they are notes, which are not sent.

    `note.KEY` is the note KEY. Raises ConfigurationError for another name that is nearly that of a field.
    """
    known: dict[str, Any] = {}
    notes: dict[str, Any] = {}
    for name, value in values.items():
        if name == _TYPE or name in field_types(cls):
            known[name] = value
        elif name.strip().lower().startswith(_NOTE):
            notes[name.strip()[len(_NOTE) :]] = value
        elif near := near_fields(cls, name):
            raise ConfigurationError(
                f"{cls.type_name} has no field {name!r}: did you mean {' or '.join(near)}? To keep it as a note, name"
                f' it "{_NOTE}{name}"; to send it as it is, put it into "extra"'
            )
        else:
            notes[name] = value
    return known, notes


def near_fields(cls: type[Request[Any]], name: str) -> list[str]:
    """Return the fields that a name is nearly the name of, in Python or in the HTTP request."""
    hashable: Any = cls  # which attrs' stubs deny
    return list(_near_fields(hashable, name))


@functools.lru_cache(maxsize=1_000)
def _near_fields(cls: Any, name: str) -> tuple[str, ...]:
    spellings = {field.name: wire_names(field) for field in attrs.fields(cls)}
    folded = _folded(name)
    found = [field for field, names in spellings.items() if any(_is_near(folded, spelling) for spelling in names)]
    return (_TYPE, *found) if folded == _TYPE else tuple(found)


def _is_near(folded: str, spelling: str) -> bool:
    """Return True for the same letters, for the first word of several, and for one edit of at least five letters."""
    first, *further = spelling.lower().split("_")
    target = _folded(spelling)
    is_first = bool(further) and folded == first
    return folded == target or is_first or (len(target) >= _MIN_LETTERS and _is_one_edit(folded, target))


def _is_one_edit(one: str, other: str) -> bool:
    """Return True if inserting, leaving out or replacing a letter, or swapping two neighbors, makes one the other."""
    start = next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        return abs(len(one) - len(other)) == 1
    one, other = one[start:], other[start:]
    return other[1:] in {one, one[1:]} or one[1:] == other or (one[:2] == other[1::-1] and one[2:] == other[2:])


def _folded(name: str) -> str:
    return _SEPARATORS.sub("", name.casefold())


def with_options(types: RequestTypes[Request[Any]], type_name: str, options: Mapping[str, Any]) -> RequestDefaults:
    """Return options as defaults for a request type. Raises ConfigurationError for an option without a field."""
    hints = field_types(types.request_type(type_name))
    for name in options:
        if name not in hints:
            raise ConfigurationError(
                f"--{name.replace('_', '-')}: {type_name} has no such field; nothing was sent: leave the option out"
            )
    texts = {name: convert(name, [text], hints[name]) for name, text in options.items() if isinstance(text, str)}
    return RequestDefaults(types, {"type": type_name, **options, **texts})


def field_types(cls: type[Request[Any]]) -> Mapping[str, Any]:
    """Return the annotations of a request type's fields."""
    hashable: Any = cls  # which attrs' stubs deny
    return _field_types(hashable)


@functools.cache
def _field_types(cls: Any) -> Mapping[str, Any]:
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
    """Return the stem of the file name, or an empty text for a data URL."""
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
    is_one = any(map(attrs.has, item)) and not any(isinstance(part, (list, dict)) for part in value)
    return [value] if is_one else value


def _item(name: str, text: str, kinds: set[Any]) -> Any:
    if any(map(attrs.has, kinds)) and not text.lstrip().startswith("{"):
        return text  # the field validates it
    return _converted(name, text, kinds)


def _converted(name: str, text: str, kinds: set[Any]) -> Any:
    if int in kinds and _INTEGER.fullmatch(text):  # a field that accepts a number or a text, such as a model
        return int(text)
    if any(map(_is_text, kinds)):
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


def _is_text(kind: Any) -> bool:
    """Return True for a type that is passed on as text: a string, or a named tuple, which a field parses."""
    return kind is str or (isinstance(kind, type) and issubclass(kind, tuple) and kind is not tuple)


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
