"""Values that users receive and make: frozen, comparable, and refusing ambiguous input."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import DEFAULT, AioweryError, Asset, ImageResult, Outcome, Request, Result, Snapshot, TaskState
from aiowery._core.fields import FrozenMapping
from aiowery._core.request import Accepted
from aiowery.errors import ConfigurationError, JobFailed

mappings = st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers(), max_size=2), max_size=4)


@attrs.frozen(kw_only=True)
class Plain(Request[Result]):
    """A request with only the fields that all requests have."""

    endpoint: ClassVar[str] = "/v1/plain"
    kind: ClassVar[Any] = "image"
    result_type: ClassVar[type[Result]] = Result

    colour: str = "red"


@given(values=mappings, others=mappings)
def test_frozen_mapping_equals_its_mapping(values: dict[str, Any], others: dict[str, Any]) -> None:
    """It reads, compares and prints like the dictionary it was made of, and equal ones have equal hashes."""
    frozen = FrozenMapping(values)
    assert dict(frozen) == values
    assert len(frozen) == len(values)
    assert repr(frozen) == repr(values)
    assert (frozen == FrozenMapping(others)) == (values == others)
    assert (frozen == others) == (values == others)
    assert hash(frozen) == hash(FrozenMapping(dict(reversed(values.items()))))


@given(values=mappings)
def test_frozen_mapping_pickles_and_copies(values: dict[str, Any]) -> None:
    """It can be sent to another process, unlike a MappingProxyType."""
    frozen = FrozenMapping(values)
    for other in (pickle.loads(pickle.dumps(frozen)), copy.copy(frozen), copy.deepcopy(frozen)):  # noqa: S301
        assert type(other) is FrozenMapping
        assert other == frozen


def test_frozen_mapping_cannot_be_changed() -> None:
    """No item can be set or deleted, and later changes of the original dictionary have no effect."""
    source = {"a": 1}
    frozen: Any = FrozenMapping(source)
    source["a"] = 2
    assert frozen["a"] == 1
    with pytest.raises(TypeError):
        frozen["a"] = 3
    with pytest.raises(TypeError):
        del frozen["a"]


@pytest.mark.parametrize("name", ["colour", "extra"])
def test_request_extra_with_a_fields_name_is_refused(name: str) -> None:
    """A field's name in `extra` is refused with the class, the name and the fix."""
    with pytest.raises(ConfigurationError) as caught:
        Plain(extra={"new": 1, name: 2})
    assert str(caught.value) == f"extra['{name}']: Plain has a field for it; write {name}=... instead; nothing was sent"


def test_request_extra_is_a_read_only_copy() -> None:
    """Later changes of the caller's dictionary do not reach the request."""
    extra = {"seed": 1}
    request = Plain(extra=extra)
    extra["seed"] = 2
    assert request.extra == {"seed": 1}
    with pytest.raises(TypeError):
        request.extra["seed"] = 3  # type: ignore[index]


def test_request_defaults_of_a_plain_class() -> None:
    """The defaults are one task, the endpoint as timing key, no model, and the class name as label."""
    request = Plain()
    assert (request.task_count, request.timing_key, request.model_name, request.label) == (
        1,
        ("/v1/plain",),
        None,
        "Plain",
    )


def test_request_equality_is_by_class_and_fields() -> None:
    """Requests of two classes differ, although their fields are equal."""

    @attrs.frozen(kw_only=True)
    class Other(Plain):
        """The same fields under another name."""

    assert Plain() == Plain()
    assert Plain() != Other()


def test_default_is_a_singleton_apart_from_none() -> None:
    """`None` stays free to mean "no timeout", and a pickled DEFAULT is the same object."""
    assert repr(DEFAULT) == "DEFAULT"
    assert pickle.loads(pickle.dumps(DEFAULT)) is DEFAULT  # noqa: S301
    assert DEFAULT is not None


def test_outcome_unwrap_returns_result_or_raises_error() -> None:
    """`unwrap` returns the result or raises the error, and raises AioweryError if there is neither."""
    result, error = Result(task_ids=("t",)), JobFailed("no luck", task_ids=("t",))
    assert Outcome(index=0, request=Plain(), result=result).unwrap() is result
    with pytest.raises(JobFailed) as caught:
        Outcome(index=0, request=Plain(), error=error).unwrap()
    assert caught.value is error
    with pytest.raises(AioweryError, match="neither a result nor an error"):
        Outcome(index=0, request=Plain()).unwrap()


def test_result_urls_are_those_of_its_assets() -> None:
    """`urls` has all assets in order, and `url` of pictures is the first."""
    result = ImageResult(task_ids=("t",), assets=(Asset("https://a"), Asset("https://b")))
    assert result.urls == ("https://a", "https://b")
    assert result.url == "https://a"


SNAPSHOT = Snapshot("t", TaskState.RUNNING, "PROCESSING", (Asset("https://a"),), credits=1.0, raw={"a": 1})


@pytest.mark.parametrize(
    "value",
    [
        SNAPSHOT,
        Asset("https://a", "video", "https://c", "t"),
        ImageResult(task_ids=("t",), assets=(Asset("https://a"),), failures=(SNAPSHOT,), raw=({"a": 1},)),
        Outcome(index=3, request=Plain(), result=Result(task_ids=("t",))),
        Accepted(task_ids=("t",), provider_batch_id="1", snapshots=(SNAPSHOT,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_pickle_copy_and_are_frozen(value: Any) -> None:
    """Every value can be sent to another process and cannot be changed."""
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
    assert copy.deepcopy(value) == value
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, attrs.fields(type(value))[0].name, None)
