"""One request from a command's words: a type, a JSON object, settings of single fields."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery import Request
from aiowery._core.fields import wire_names
from aiowery.cli.input.prompt_files import STDIN, decode, json_object
from aiowery.cli.input.requests import REQUESTS, column_name, convert, field_types, from_object
from aiowery.cli.output.progress import write_line
from aiowery.errors import ConfigurationError

_FILE: Final = "@"
_LIKELY: Final = 0.8


def known_type(name: str) -> str:
    """Return the `type_name` that is meant; ConfigurationError names the ones that come close."""
    type_name = name.strip().lower().replace("_", "-")
    if type_name in REQUESTS:
        return type_name
    near = _close(type_name, REQUESTS)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigurationError(f"nothing is called {name!r}; {guess}aiowery run --list shows everything")


def request_of(type_name: str, json: str | None, settings: Sequence[str]) -> Request[Any]:
    """Build the request that a JSON object (or @FILE, or - for standard input) and `field=value` settings mean.

    A setting overrules the object; an empty one leaves the field out. Raises ConfigurationError.
    """
    values = {} if json is None else _object(type_name, json)
    values = {**values, **_set(type_name, settings), "type": type_name}
    _refuse_missing(type_name, values)
    return from_object(values, {})


def _object(type_name: str, source: str) -> Mapping[str, Any]:
    text, name = _text(source)
    values = json_object(text)
    if isinstance(values, str):
        raise ConfigurationError(f"{name} {values}")
    said = values.get("type")
    if said is not None and said != type_name:
        raise ConfigurationError(f"{name} says type {said!r}, the command says {type_name}; leave one out")
    _check_unknown(type_name, [field for field in values if field not in {"type", *field_types(type_name)}])
    return values


def _text(source: str) -> tuple[str, str]:
    """Return what is to be read, and what to call it."""
    if source == STDIN:
        return decode(sys.stdin.buffer.read(), "standard input"), "standard input"
    if not source.startswith(_FILE):
        return source, "--json"
    path = Path(source.removeprefix(_FILE))
    try:
        return decode(path.read_bytes(), str(path)), str(path)
    except OSError as fault:
        raise ConfigurationError(f"cannot read {path}: {fault.strerror or fault}") from fault


def _check_unknown(type_name: str, names: Iterable[str]) -> None:
    """Refuse what looks like a slip of the pen; tell what is sent although nobody here knows it."""
    for name in names:
        if near := _close_fields(type_name, name, _LIKELY):
            raise ConfigurationError(_no_field(type_name, name, near) + '; if you mean it, put it into "extra"')
        write_line(sys.stderr, f"Note: {type_name} has no field {name!r}; it is sent as it is.")


def _set(type_name: str, settings: Iterable[str]) -> dict[str, Any]:
    hints = field_types(type_name)
    texts: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {setting}: field=value is needed, such as --set prompt='a cat'")
        field = column_name(name)
        if field not in hints:
            raise ConfigurationError(_no_field(type_name, name, _close_fields(type_name, field)))
        texts.setdefault(field, []).append(text)
    return {field: convert(field, said, hints[field]) if any(said) else None for field, said in texts.items()}


def _refuse_missing(type_name: str, values: Mapping[str, Any]) -> None:
    missing = [name for name in required(type_name) if values.get(name) is None]
    if missing:
        how = " ".join(f"--set {name}=..." for name in missing)
        raise ConfigurationError(
            f"{type_name} needs {' and '.join(missing)}: {how} (aiowery run {type_name} --fields explains them)"
        )


def required(type_name: str) -> list[str]:
    """Return the fields that such a request cannot do without."""
    return [field.name for field in attrs.fields(REQUESTS[type_name]) if field.default is attrs.NOTHING]


def _no_field(type_name: str, name: str, near: Sequence[str]) -> str:
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{type_name} has no field {name!r}{guess} (aiowery run {type_name} --fields lists them)"


def _close_fields(type_name: str, name: str, likeness: float = 0.6) -> list[str]:
    """Return the fields whose name comes close, in our spelling or in the provider's."""
    spelt = {word: field.name for field in attrs.fields(REQUESTS[type_name]) for word in wire_names(field)}
    return list(dict.fromkeys(spelt[word] for word in _close(name, spelt, likeness)))


def _close(word: str, words: Iterable[str], likeness: float = 0.6) -> list[str]:
    return difflib.get_close_matches(word, list(words), n=3, cutoff=likeness)
