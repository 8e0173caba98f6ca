"""The words of the house: frozen, comparable, and refusing what would be ambiguous."""

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
    """A request with nothing but what all requests have."""

    endpoint: ClassVar[str] = "/v1/plain"
    kind: ClassVar[Any] = "image"
    result_type: ClassVar[type[Result]] = Result

    colour: str = "red"


@given(values=mappings, others=mappings)
def test_a_frozen_mapping_is_its_mapping(values: dict[str, Any], others: dict[str, Any]) -> None:
    """It reads, compares and prints like the dictionary it was made of, and equal ones hash alike."""
    frozen = FrozenMapping(values)
    assert dict(frozen) == values
    assert len(frozen) == len(values)
    assert repr(frozen) == repr(values)
    assert (frozen == FrozenMapping(others)) == (values == others)
    assert (frozen == others) == (values == others)
    assert hash(frozen) == hash(FrozenMapping(dict(reversed(values.items()))))


@given(values=mappings)
def test_a_frozen_mapping_pickles_and_copies(values: dict[str, Any]) -> None:
    """It travels to another process, unlike a MappingProxyType."""
    frozen = FrozenMapping(values)
    for other in (pickle.loads(pickle.dumps(frozen)), copy.copy(frozen), copy.deepcopy(frozen)):  # noqa: S301
        assert type(other) is FrozenMapping
        assert other == frozen


def test_a_frozen_mapping_cannot_be_written() -> None:
    """No item can be set or deleted, and the dictionary it was made of no longer matters."""
    source = {"a": 1}
    frozen: Any = FrozenMapping(source)
    source["a"] = 2
    assert frozen["a"] == 1
    with pytest.raises(TypeError):
        frozen["a"] = 3
    with pytest.raises(TypeError):
        del frozen["a"]


@pytest.mark.parametrize("name", ["colour", "extra"])
def test_extra_names_no_field(name: str) -> None:
    """A field's name in `extra` is refused with the class, the name and the way out."""
    with pytest.raises(ConfigurationError) as caught:
        Plain(extra={"new": 1, name: 2})
    assert str(caught.value) == f"extra['{name}']: Plain has a field for it; write {name}=... instead"


def test_extra_is_a_read_only_copy() -> None:
    """What is changed in the caller's dictionary afterwards does not reach the request."""
    extra = {"seed": 1}
    request = Plain(extra=extra)
    extra["seed"] = 2
    assert request.extra == {"seed": 1}
    with pytest.raises(TypeError):
        request.extra["seed"] = 3  # type: ignore[index]


def test_a_request_without_more_knows_the_least() -> None:
    """One place, its endpoint as what it teaches, no model, its class as label."""
    request = Plain()
    assert (request.task_count, request.timing_key, request.model_name, request.label) == (
        1,
        ("/v1/plain",),
        None,
        "Plain",
    )


def test_requests_of_two_classes_differ() -> None:
    """Equality is by class and fields."""

    @attrs.frozen(kw_only=True)
    class Other(Plain):
        """The same fields under another name."""

    assert Plain() == Plain()
    assert Plain() != Other()


def test_default_is_neither_none_nor_a_number() -> None:
    """`None` stays free to mean "without end", and DEFAULT survives pickling as itself."""
    assert repr(DEFAULT) == "DEFAULT"
    assert pickle.loads(pickle.dumps(DEFAULT)) is DEFAULT  # noqa: S301
    assert DEFAULT is not None


def test_an_outcome_unwraps_to_its_result_or_its_error() -> None:
    """`unwrap` returns the one or raises the other, and says so when there is neither."""
    result, error = Result(task_ids=("t",)), JobFailed("no luck", task_ids=("t",))
    assert Outcome(index=0, request=Plain(), result=result).unwrap() is result
    with pytest.raises(JobFailed) as caught:
        Outcome(index=0, request=Plain(), error=error).unwrap()
    assert caught.value is error
    with pytest.raises(AioweryError, match="neither a result nor an error"):
        Outcome(index=0, request=Plain()).unwrap()


def test_a_result_knows_its_urls() -> None:
    """`urls` are all assets in order, `url` of pictures is the first."""
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
def test_values_pickle_and_stay_as_they_are(value: Any) -> None:
    """Every value travels to another process and cannot be changed."""
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
    assert copy.deepcopy(value) == value
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, attrs.fields(type(value))[0].name, None)
