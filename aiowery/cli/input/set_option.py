"""A single request from command-line options: a type, a JSON object, and `--set` options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery import Request
from aiowery._core.fields import wire_names
from aiowery._core.request_types import RequestTypes
from aiowery.cli.input.json_rows import json_object
from aiowery.cli.input.prompt_files import STDIN, decode, read_input
from aiowery.cli.input.requests import column_name, convert, field_types, split_notes
from aiowery.cli.input.texts import clean_values
from aiowery.cli.terminal import print_message
from aiowery.errors import ConfigurationError

_FILE: Final = "@"


def known_type(types: RequestTypes[Request[Any]], name: str) -> type[Request[Any]]:
    """Return the request type of this name. Raises ConfigurationError, with similar names, if there is none."""
    type_name = name.strip().lower().replace("_", "-")
    for spelling in (name.strip(), type_name):
        if spelling in types.requests:
            return types.requests[spelling]
    near = _close(type_name, types.requests)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigurationError(
        f"there is no request type {name!r}; nothing was sent: {guess}aiowery run --list shows all types"
    )


def request_of(cls: type[Request[Any]], json: str | None, settings: Sequence[str]) -> Request[Any]:
    """Return the request of a JSON object (or @FILE, or - for standard input) and `field=value` settings.

    A setting overrides the object; an empty one leaves the field out. Raises ConfigurationError.
    """
    values = {} if json is None else _object(cls, json)
    values = {**values, **_set(cls, settings), "type": cls.type_name}
    _refuse_missing(cls, values)
    return RequestTypes({cls.type_name: cls}).from_dict(clean_values(values))


def _object(cls: type[Request[Any]], source: str) -> Mapping[str, Any]:
    text, name = _text(source)
    values = json_object(text)
    if isinstance(values, str):
        raise ConfigurationError(f"{name} {values}; nothing was sent: correct the JSON")
    given = values.get("type")
    if given is not None and given != cls.type_name:
        raise ConfigurationError(
            f"{name} has type {given!r}, but the command names {cls.type_name}; nothing was sent: leave one out"
        )
    known, notes = split_notes(cls, values)
    for field in notes:
        print_message(
            f'Note: {cls.type_name} has no field {field!r}; it is not sent. To send it as it is, put it into "extra".'
        )
    return known


def _text(source: str) -> tuple[str, str]:
    """Return the text of the JSON source, and its name in messages."""
    if source == STDIN:
        return read_input(), "standard input"
    if not source.startswith(_FILE):
        return source, "--json"
    path = Path(source.removeprefix(_FILE))
    try:
        return decode(path.read_bytes(), str(path)), str(path)
    except OSError as fault:
        reason = fault.strerror or fault
        raise ConfigurationError(
            f"cannot read {path}: {reason}; nothing was sent: name a JSON file that can be read"
        ) from fault


def _set(cls: type[Request[Any]], settings: Iterable[str]) -> dict[str, Any]:
    hints = field_types(cls)
    texts: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigurationError(
                f"--set must be field=value, got {setting!r}; nothing was sent: write for example --set prompt='a cat'"
            )
        field = column_name(name)
        if field not in hints:
            raise ConfigurationError(_no_field(cls, name, _close_fields(cls, field)))
        texts.setdefault(field, []).append(text)
    return {field: convert(field, values, hints[field]) if any(values) else None for field, values in texts.items()}


def _refuse_missing(cls: type[Request[Any]], values: Mapping[str, Any]) -> None:
    missing = [name for name in required(cls) if values.get(name) is None]
    if missing:
        settings = " ".join(f"--set {name}=..." for name in missing)
        raise ConfigurationError(
            f"{cls.type_name} needs {' and '.join(missing)}; nothing was sent: add {settings}"
            f" (aiowery run {cls.type_name} --fields explains them)"
        )


def required(cls: type[Request[Any]]) -> list[str]:
    """Return the names of the required fields of a request type."""
    return [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]


def _no_field(cls: type[Request[Any]], name: str, near: Sequence[str]) -> str:
    guess = f": did you mean {' or '.join(near)}?" if near else ""
    return (
        f"{cls.type_name} has no field {name!r}; nothing was sent{guess}"
        f" (aiowery run {cls.type_name} --fields lists them)"
    )


def _close_fields(cls: type[Request[Any]], name: str) -> list[str]:
    """Return the fields with a similar name, in Python spelling or in the provider's."""
    fields_by_name = {spelling: field.name for field in attrs.fields(cls) for spelling in wire_names(field)}
    return list(dict.fromkeys(fields_by_name[spelling] for spelling in _close(name, fields_by_name)))


def _close(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
