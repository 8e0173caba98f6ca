"""One strict converter for everything that arrives from the network.

Keys that nobody asked for are ignored, missing optional ones get their default, and every fault is reported with
its path. Primitive types are strict: the stock converter would make the string `"None"` of null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NewType, TypeVar

import attrs
import cattrs

from aiowery._core.fields import fits_in_a_path
from aiowery.errors import UnexpectedResponse

T = TypeVar("T")

Identifier = NewType("Identifier", str)
"""An id that arrives as a string or as a whole number, and is a string from here on."""

_MOST_IDS: Final = 64
_LONGEST_ID: Final = 256
_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class TypeFault(ValueError):
    """A value of the wrong type, named in JSON's own words."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(f"{wanted} is expected, got {_NAMES.get(type(value), type(value).__name__)}")


def _string(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeFault("a string", value)
    return value


def _boolean(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeFault("a boolean", value)
    return value


def _whole(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeFault("a whole number", value)
    return value


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeFault("a number", value)
    return _whole_or_float(value)


def _whole_or_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as fault:  # JSON knows whole numbers beyond any float
        raise TypeFault("a number of reasonable size", value) from fault


def lenient_number(value: Any) -> float | None:
    """Read a number that merely informs, also when it comes as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _identifier(value: Any, _: Any) -> Identifier:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not fits_in_a_path(str(value)):
        raise TypeFault("an id", value)
    return Identifier(str(value))


def named_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids, each once, that an answer other than an acceptance may name: no long ones, at most 64."""
    usable = (one for one in dict.fromkeys(ids) if len(one) <= _LONGEST_ID and one.isprintable())
    return tuple(islice(usable, _MOST_IDS))


def make_converter() -> cattrs.Converter:
    """Return a converter with strict primitives, to which a provider adds its own hooks."""
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook(str, _string)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Identifier, _identifier)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _object_only(converter, cls))
    return converter


def _object_only(converter: cattrs.Converter, cls: type[T]) -> Any:
    """Structure attrs classes from JSON objects only, and leave out null members: absent and null are one."""
    structure = cattrs.gen.make_dict_structure_fn(cls, converter)

    def hook(value: Any, _: Any) -> T:
        if not isinstance(value, Mapping):
            raise TypeFault("an object", value)
        return structure({name: member for name, member in value.items() if member is not None}, cls)

    return hook


def structure(
    converter: cattrs.Converter,
    raw: Any,
    cls: type[T],
    *,
    http_status: int,
    where: str = "$",
    request_id: str | None = None,
) -> T:
    """Return `raw` as `cls`, or raise UnexpectedResponse with the path of every fault below `where`."""
    try:
        return converter.structure(raw, cls)
    except (cattrs.BaseValidationError, ValueError, RecursionError) as fault:
        faults = tuple(map(_place_first, cattrs.transform_error(fault, path=where, format_exception=_joined_lines)))
        raise UnexpectedResponse(
            f"HTTP {http_status} with an answer outside the contract: {'; '.join(faults)}",
            http_status=http_status,
            raw=raw,
            faults=faults,
            request_id=request_id,
        ) from fault


def _place_first(line: str) -> str:
    words, _, place = line.rpartition(" @ ")
    return f"{place}: {words}"


def _joined_lines(fault: BaseException, _: type | None) -> str:
    if isinstance(fault, TypeFault):
        return str(fault)
    if isinstance(fault, KeyError):
        return f"the field {fault.args[0]!r} is missing"
    return f"{type(fault).__name__}: {fault}"
