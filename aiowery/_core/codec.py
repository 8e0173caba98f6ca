"""A strict converter for all JSON from the network.

Unknown keys are ignored, missing optional keys get their default, and every fault is reported with its path. Primitive
types are strict, because the stock converter would turn null into the string `"None"`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NewType, TypeVar

import attrs
import cattrs

from aiowery._base.text import MAX_ID
from aiowery._core.fields import fits_in_a_path
from aiowery.errors import UnexpectedResponse

T = TypeVar("T")

Identifier = NewType("Identifier", str)
"""An id that arrives as a string or an integer, and is a string after conversion."""

_MAX_IDS: Final = 64
_TYPE_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class TypeFault(ValueError):
    """A value of the wrong type; the message names both types as JSON does."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(f"{expected} is expected, got {_TYPE_NAMES.get(type(value), type(value).__name__)}")


def _string(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeFault("a string", value)
    return value


def _boolean(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeFault("a boolean", value)
    return value


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeFault("an integer", value)
    return value


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeFault("a number", value)
    return _to_float(value)


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as fault:  # JSON integers may exceed the largest float
        raise TypeFault("a number that fits a float", value) from fault


def lenient_number(value: Any) -> float | None:
    """Return an optional number as a float, even if it arrives as text; None for anything else."""
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
    """Return the task ids that a response other than an acceptance names, without duplicates.

    At most 64 ids are returned, and none of more than 256 characters or with unprintable ones.
    """
    usable = (id_ for id_ in dict.fromkeys(ids) if len(id_) <= MAX_ID and id_.isprintable())
    return tuple(islice(usable, _MAX_IDS))


def make_converter() -> cattrs.Converter:
    """Return a converter with strict primitive types; a provider adds its own hooks."""
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook(str, _string)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Identifier, _identifier)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _object_only(converter, cls))
    return converter


def _object_only(converter: cattrs.Converter, cls: type[T]) -> Any:
    """Return a hook that makes an attrs class from a JSON object; a null member counts as absent."""
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
    """Return `raw` converted to `cls`; `where` is the path of `raw` in the response body.

    Raises UnexpectedResponse, which lists every fault with its path.
    """
    try:
        return converter.structure(raw, cls)
    except (cattrs.BaseValidationError, ValueError, RecursionError) as fault:
        faults = tuple(map(_path_first, cattrs.transform_error(fault, path=where, format_exception=_describe)))
        raise UnexpectedResponse(
            f"HTTP {http_status} with a response outside the contract: {'; '.join(faults)}",
            http_status=http_status,
            raw=raw,
            faults=faults,
            request_id=request_id,
        ) from fault


def _path_first(fault: str) -> str:
    """Return a fault as "path: description", from the "description @ path" of cattrs."""
    description, _, path = fault.rpartition(" @ ")
    return f"{path}: {description}"


def _describe(fault: BaseException, _: type | None) -> str:
    if isinstance(fault, TypeFault):
        return str(fault)
    if isinstance(fault, KeyError):
        return f"the field {fault.args[0]!r} is missing"
    return f"{type(fault).__name__}: {fault}"
