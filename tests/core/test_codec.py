"""The strict converter: JSON's types are kept apart, and every fault has a path."""

from __future__ import annotations

from math import inf
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._core.codec import Identifier, make_converter, structure
from aiowery.errors import UnexpectedResponse

CONVERTER = make_converter()


@attrs.frozen
class Inner:
    """A class within another."""

    name: str
    size: int = 1


@attrs.frozen
class Outer:
    """A class with parts."""

    id: Identifier
    parts: tuple[Inner, ...] = ()
    weight: float | None = None
    good: bool = True


def read(raw: Any, cls: Any, where: str = "$") -> Any:
    """Structure one value."""
    return structure(CONVERTER, raw, cls, http_status=200, where=where, request_id="req-1")


SAMPLES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "whole": 5,
    "fraction": 1.5,
    "string": "5",
    "array": [1],
    "object": {"a": 1},
}
ACCEPTED = {str: {"string"}, bool: {"boolean"}, int: {"whole"}, float: {"whole", "fraction"}}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("cls", ACCEPTED, ids=lambda cls: cls.__name__)
def test_structure_converts_no_type_into_another(cls: type[Any], sample: str) -> None:
    """A null is not "None", "5" is not 5 and true is not 1. Only an integer may become a float."""
    value = SAMPLES[sample]
    if sample in ACCEPTED[cls]:
        read_back = read(value, cls)
        assert read_back == value
        assert type(read_back) is cls
    else:
        with pytest.raises(UnexpectedResponse, match="is expected, got"):
            read(value, cls)


@pytest.mark.parametrize(
    ("value", "text"), [("t1", "t1"), (7, "7"), (0, "0"), ("a/b", "a/b"), ("a.", "a."), ("é", "é")]
)
def test_structure_id_becomes_a_string(value: object, text: str) -> None:
    """Strings and integers are ids."""
    assert read(value, Identifier) == text


@pytest.mark.parametrize("value", ["", " ", "\t\n", ".", "..", " .. ", "\ud800", None, True, 1.0, ["t"], {}], ids=repr)
def test_structure_value_unfit_for_a_path_is_no_id(value: object) -> None:
    """A status request for blanks, dots or surrogates would name another path, or none."""
    with pytest.raises(UnexpectedResponse, match="an id is expected"):
        read(value, Identifier)


def test_structure_integer_beyond_float_is_a_fault() -> None:
    """JSON allows integers that no float can represent."""
    assert read(10**300, float) == 1e300
    with pytest.raises(UnexpectedResponse, match="a number that fits a float is expected"):
        read(10**400, float)
    assert read(inf, float) == inf


def test_structure_null_is_absent_and_unknown_keys_are_ignored() -> None:
    """Optional members may be missing or null, and keys without a field are ignored."""
    whole = read({"id": 4, "parts": None, "weight": None, "good": None, "new": [1]}, Outer)
    assert whole == read({"id": "4"}, Outer) == Outer(Identifier("4"))


def test_structure_reports_each_fault_with_path_and_text() -> None:
    """One error reports all faults, each as `path: type is expected, got type`, with status and request id."""
    raw = {"parts": [{"name": "a"}, {"name": None}, {"name": 5, "size": "big"}, 7], "weight": "heavy", "good": 1}
    with pytest.raises(UnexpectedResponse) as caught:
        read(raw, Outer, "$.data")
    error = caught.value
    assert sorted(error.faults) == [
        "$.data.good: a boolean is expected, got a number",
        "$.data.id: the field 'id' is missing",
        "$.data.parts[1].name: the field 'name' is missing",
        "$.data.parts[2].name: a string is expected, got a number",
        "$.data.parts[2].size: an integer is expected, got a string",
        "$.data.parts[3]: an object is expected, got a number",
        "$.data.weight: a number is expected, got a string",
    ]
    assert (error.http_status, error.raw, error.request_id) == (200, raw, "req-1")
    assert str(error).startswith("HTTP 200 with a response outside the contract: $.data")
    assert all(fault in str(error) for fault in error.faults)


@pytest.mark.parametrize("raw", [None, True, 5, "text", [], [{"id": 1}]], ids=repr)
def test_structure_class_is_read_from_objects_only(raw: object) -> None:
    """A class is read from a JSON object and from no other value."""
    with pytest.raises(UnexpectedResponse, match=r"\$: an object is expected, got"):
        read(raw, Outer)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "parts", "name", "size", "weight", "good", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(raw=anything)
def test_structure_any_json_is_read_or_unexpected(raw: Any) -> None:
    """Any JSON gives a value with the right types, or UnexpectedResponse."""
    try:
        whole = read(raw, Outer)
    except UnexpectedResponse as error:
        faults = error.faults
    else:
        assert isinstance(whole.id, str)
        assert all(isinstance(part.name, str) and type(part.size) is int for part in whole.parts)
        return
    assert faults
    assert all(fault.startswith("$") and ": " in fault for fault in faults)
