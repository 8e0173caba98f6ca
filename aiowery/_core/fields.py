"""A request's fields: how the wire spells them, and the rules that the contract makes hard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from aiowery._base.snapshot import AssetKind
from aiowery.errors import ConfigurationError

_KEY: Final = "aiowery"
_SHOWN: Final = 300
_LARGEST: Final = 2**63 - 1


@attrs.frozen(kw_only=True)
class Wire:
    """What a field is on the wire.

    `name`: its spelling there, by default its own name. `media`: it holds urls of that kind, or local files to be
    uploaded first. `in_path`: it is a part of the path, not of the body. `write` turns a value into what is sent.
    `may_be_none`: None is a choice there (to leave it out), and not the default.
    """

    name: str | None = None
    media: AssetKind | None = None
    in_path: bool = False
    write: Callable[[Any], Any] | None = None
    may_be_none: bool = False


_PLAIN: Final = Wire()


def wire(
    name: str | None = None,
    *,
    media: AssetKind | None = None,
    in_path: bool = False,
    write: Callable[[Any], Any] | None = None,
    may_be_none: bool = False,
) -> Mapping[str, Wire]:
    """Return the metadata of a field whose wire form is not simply its name and value."""
    return {_KEY: Wire(name=name, media=media, in_path=in_path, write=write, may_be_none=may_be_none)}


def wire_of(field: attrs.Attribute[Any]) -> Wire:
    """Return what a field is on the wire."""
    found: Wire = field.metadata.get(_KEY, _PLAIN)
    return found


def wire_names(field: attrs.Attribute[Any]) -> set[str]:
    """Return the names by which a field is known: ours and the wire's."""
    return {field.name, wire_of(field).name or field.name}


def invalid_field(owner: Any, field: attrs.Attribute[Any] | str, value: Any, needed: str) -> ConfigurationError:
    """Return the error that names the field, its value and what is needed instead."""
    name = field if isinstance(field, str) else field.name
    return ConfigurationError(f"{type(owner).__name__}.{name} is {short_repr(value)}; {needed} is needed")


def short_repr(value: object) -> str:
    """Return a value as an error shows it: as code, of a long one the beginning."""
    try:
        words = repr(value)
    except Exception:  # noqa: BLE001 - Python writes no number of 4,300 digits, and a caller's class may raise anything
        return f"a value of type {type(value).__name__} that cannot be shown"
    return words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."


def replace_surrogates(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair, which no encoding can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text_length(*, shortest: int = 0, longest: int) -> Any:
    """Return a validator for a text whose length the contract bounds."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and (field.default is None or wire_of(field).may_be_none):
            return
        if not isinstance(value, str):
            raise invalid_field(owner, field, value, "a string")
        if len(value.strip()) < shortest:
            raise invalid_field(owner, field, value, "a text that is not blank")
        if len(value) > longest:
            raise ConfigurationError(
                f"{type(owner).__name__}.{field.name} has {len(value)} characters ({value[:30]!r}...); at most"
                f" {longest} are allowed: shorten it"
            )

    return check


def integer(*, least: int, most: int = _LARGEST) -> Any:
    """Return a validator for a whole number within bounds: by default, those that every service can read."""
    needed = f"a whole number of at least {least} and at most {most}"

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            raise invalid_field(owner, field, value, needed)

    return check


def number(*, least: float, most: float) -> Any:
    """Return a validator for a number within bounds."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise invalid_field(owner, field, value, f"a number from {least:g} to {most:g}")

    return check


def boolean(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is neither true nor false, nor left out."""
    if not (isinstance(value, bool) or (value is None and field.default is None)):
        raise invalid_field(owner, field, value, "True or False")


def pattern(form: re.Pattern[str], example: str) -> Any:
    """Return a validator for a text of a given form."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        if not isinstance(value, str) or not form.fullmatch(value):
            raise invalid_field(owner, field, value, f"a text such as {example!r}")

    return check


def fits_in_a_path(text: str) -> bool:
    """Whether a text can be one segment of a url's path, once it is quoted."""
    # Dots alone would mean another folder there; what has lost a character on its way names something else.
    return bool(text.strip().strip(".")) and replace_surrogates(text) == text and "\ufffd" not in text


def path_segment(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what cannot be an id in a path."""
    if not isinstance(value, str) or not fits_in_a_path(value):
        raise invalid_field(owner, field, value, "an id as the provider gave it")


def item_count(*, least: int = 0, most: int | None = None) -> Any:
    """Return a validator for the number of items that a tuple may hold."""
    needed = f"at least {least}" + ("" if most is None else f" and at most {most}")

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not least <= len(value) <= (len(value) if most is None else most):
            raise ConfigurationError(f"{type(owner).__name__}.{field.name} has {len(value)} items; {needed} are needed")

    return check


def items(value: Any) -> tuple[Any, ...]:
    """Convert a list of things to a tuple; a single string is refused, because it is a list of letters."""
    if isinstance(value, (str, bytes, Mapping)):
        raise ConfigurationError(f"{short_repr(value)} is one thing where a list is needed; put it into [...]")
    try:
        return tuple(value)
    except TypeError as fault:
        raise ConfigurationError(f"{short_repr(value)} is no list; give one, such as [...]") from fault


def mapping(value: Any) -> FrozenMapping:
    """Convert values by name to a read-only copy."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(f"{short_repr(value)} is given where values by name are needed, such as {{'seed': 7}}")
    return FrozenMapping(value)


def optional_mapping(value: Any) -> FrozenMapping | None:
    """Convert values by name that may be left out."""
    return None if value is None else mapping(value)


class FrozenMapping(Mapping[str, Any]):
    """A read-only copy of a mapping that, unlike MappingProxyType, pickles and hashes."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def __repr__(self) -> str:
        return repr(self._values)
