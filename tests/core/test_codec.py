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
    """A part."""

    name: str
    size: int = 1


@attrs.frozen
class Outer:
    """A whole."""

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
def test_no_type_is_turned_into_another(cls: type[Any], sample: str) -> None:
    """A null is not "None", "5" is not 5, true is not 1: only a whole number may serve as a float."""
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
def test_an_id_is_a_string_from_here_on(value: object, text: str) -> None:
    """Strings and whole numbers name things."""
    assert read(value, Identifier) == text


@pytest.mark.parametrize("value", ["", " ", "\t\n", ".", "..", " .. ", "\ud800", None, True, 1.0, ["t"], {}], ids=repr)
def test_what_no_path_can_hold_is_no_id(value: object) -> None:
    """Blanks, dots alone and half characters would ask for something else, or for nothing."""
    with pytest.raises(UnexpectedResponse, match="an id is expected"):
        read(value, Identifier)


def test_a_number_beyond_any_float_is_a_fault() -> None:
    """JSON knows whole numbers that no float can hold."""
    assert read(10**300, float) == 1e300
    with pytest.raises(UnexpectedResponse, match="a number that fits a float is expected"):
        read(10**400, float)
    assert read(inf, float) == inf


def test_absent_and_null_are_one_and_unknown_keys_are_ignored() -> None:
    """Optional members may be missing or null; what we have no field for does no harm."""
    whole = read({"id": 4, "parts": None, "weight": None, "good": None, "new": [1]}, Outer)
    assert whole == read({"id": "4"}, Outer) == Outer(Identifier("4"))


def test_every_fault_has_its_path_and_words() -> None:
    """One error reports all faults, each as `path: what is expected, got what`, with status and request id."""
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
def test_only_an_object_is_an_object(raw: object) -> None:
    """A class is read from JSON objects and from nothing else."""
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
def test_any_json_is_read_or_refused(raw: Any) -> None:
    """Nothing that JSON can hold raises anything but UnexpectedResponse, and what is read has the right types."""
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
