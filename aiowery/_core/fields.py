"""The fields of requests: their names in the HTTP body, and validators for the limits that the API documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from aiowery._base.snapshot import AssetKind
from aiowery._base.text import MAX_ID
from aiowery.errors import ConfigurationError

_KEY: Final = "aiowery"
_MAX_SHOWN: Final = 300
_MAX_INTEGER: Final = 2**63 - 1


@attrs.frozen(kw_only=True)
class Wire:
    """The form of a request's field in the HTTP request."""

    name: str | None = None
    """The name in the HTTP request; None for the field's own name."""
    media: AssetKind | None = None
    """The kind of media whose URLs, or local files to upload first, the field holds; None for other fields."""
    in_path: bool = False
    """True if the value is a part of the URL's path instead of the body."""
    write: Callable[[Any], Any] | None = None
    """A function that converts the value to JSON; None if the value is sent unchanged."""
    text_form: str | None = None
    """A description of the value as text on a command line, if its type does not say it."""
    may_be_none: bool = False
    """True if None is a choice, to leave the field out, although the default is another value."""


_PLAIN: Final = Wire()


def wire(
    name: str | None = None,
    *,
    media: AssetKind | None = None,
    in_path: bool = False,
    write: Callable[[Any], Any] | None = None,
    text_form: str | None = None,
    may_be_none: bool = False,
) -> Mapping[str, Wire]:
    """Return the attrs metadata of a field whose form in the HTTP request is not simply its name and value."""
    form = Wire(name=name, media=media, in_path=in_path, write=write, text_form=text_form, may_be_none=may_be_none)
    return {_KEY: form}


def wire_of(field: attrs.Attribute[Any]) -> Wire:
    """Return the form of a field in the HTTP request."""
    found: Wire = field.metadata.get(_KEY, _PLAIN)
    return found


def wire_names(field: attrs.Attribute[Any]) -> set[str]:
    """Return the names of a field: in Python and in the HTTP request."""
    return {field.name, wire_of(field).name or field.name}


def wrong_request(message: str) -> ConfigurationError:
    """Return the error for a request, or a value of it, that the provider would not accept; nothing was sent."""
    return ConfigurationError(f"{message}; nothing was sent")


def invalid_field(owner: Any, field: attrs.Attribute[Any] | str, value: Any, expected: str) -> ConfigurationError:
    """Return the error for a field with a wrong value. `expected` completes "must be ..."."""
    name = field if isinstance(field, str) else field.name
    return wrong_request(f"{type(owner).__name__}.{name} must be {expected}, got {short_repr(value)}")


def short_repr(value: object) -> str:
    """Return the repr of a value for an error message, cut to at most 300 characters."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - repr fails for integers of 4,300 digits, and a caller's class may raise anything
        return f"a value of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def replace_surrogates(text: str) -> str:
    """Return the text with U+FFFD in place of each lone surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text_length(*, shortest: int = 0, longest: int) -> Any:
    """Return a validator for a string whose length the API limits, in characters; `shortest` does not count spaces."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and (field.default is None or wire_of(field).may_be_none):
            return
        if not isinstance(value, str):
            raise invalid_field(owner, field, value, "a string")
        if len(value.strip()) < shortest:
            raise invalid_field(owner, field, value, "a text that is not blank")
        if len(value) > longest:
            raise wrong_request(
                f"{type(owner).__name__}.{field.name} must have at most {longest} characters, got {len(value)}"
                f" ({value[:30]!r}...): shorten it"
            )

    return check


def integer(*, least: int, most: int = _MAX_INTEGER) -> Any:
    """Return a validator for an integer within bounds. By default `most` is the largest 64-bit integer."""
    expected = f"an integer >= {least} and <= {most}"

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or not least <= value <= most:
            raise invalid_field(owner, field, value, expected)

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
    """Raise ConfigurationError unless the value is True, False, or an optional field's None."""
    if not (isinstance(value, bool) or (value is None and field.default is None)):
        raise invalid_field(owner, field, value, "True or False")


def pattern(form: re.Pattern[str], example: str) -> Any:
    """Return a validator for a string that matches the whole pattern; `example` is for the error message."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        if not isinstance(value, str) or not form.fullmatch(value):
            raise invalid_field(owner, field, value, f"a text such as {example!r}")

    return check


def fits_in_a_path(text: str) -> bool:
    """Return True if a text, once quoted, can be one segment of a URL's path: at most 256 characters."""
    # Dots alone would mean another folder, and a text with a replaced character is another id.
    return (
        len(text) <= MAX_ID
        and bool(text.strip().strip("."))
        and replace_surrogates(text) == text
        and "\ufffd" not in text
    )


def path_segment(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise ConfigurationError unless the value can be an id in a URL's path."""
    if not isinstance(value, str) or not fits_in_a_path(value):
        raise invalid_field(owner, field, value, "an id as the provider returned it")


def item_count(*, least: int = 0, most: int | None = None) -> Any:
    """Return a validator for the number of items that a tuple may hold."""
    expected = f"at least {least}" + ("" if most is None else f" and at most {most}")

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not least <= len(value) <= (len(value) if most is None else most):
            raise wrong_request(f"{type(owner).__name__}.{field.name} must have {expected} items, got {len(value)}")

    return check


def items(value: Any) -> tuple[Any, ...]:
    """Return the items as a tuple. Raises ConfigurationError for a single string or mapping."""
    if isinstance(value, (str, bytes, Mapping)):
        raise wrong_request(f"expected a list, got {short_repr(value)}; wrap it in [...]")
    try:
        return tuple(value)
    except TypeError as fault:
        raise wrong_request(f"expected a list, got {short_repr(value)}; pass one, such as [...]") from fault


def mapping(value: Any) -> FrozenMapping:
    """Return a read-only copy of a mapping whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise wrong_request(f"expected a mapping with string keys, such as {{'seed': 7}}, got {short_repr(value)}")
    return FrozenMapping(value)


def optional_mapping(value: Any) -> FrozenMapping | None:
    """Return a read-only copy of a mapping, or None for None."""
    return None if value is None else mapping(value)


class FrozenMapping(Mapping[str, Any]):
    """A read-only copy of a mapping that, unlike MappingProxyType, can be pickled and hashed."""

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
