"""Requests compared with the contract: each parameter has a field, and each documented bound is enforced."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from aiowery._core.fields import wire_of
from aiowery.errors import ConfigurationError
from aiowery.weryai import REQUESTS
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.facts import ENTRIES, Entry, Field
from tests.weryai.request_samples import PICTURE, SOUND, fullest, sent, smallest

NAMES = {cls.endpoint: name for name, cls in REQUESTS.items()}
PAIRS = [(NAMES[entry.path], entry) for entry in ENTRIES if entry.method == "POST" and entry.path in NAMES]
DOUBTFUL = {
    "text-to-audio": {"trace_id"},
    "chat": {"stream"},
    "video-extend": {"webhook_url"},
    "video-merge": {"webhook_url"},
    "deep-research": {"model"},  # excluded by mode in the filled example
}
"""By type_name, parameters that only client code has, that are not supported yet, or that another one excludes."""


def field_of(name: str, fact: Field) -> str:
    """Return the field that is sent under a parameter's name."""
    fields = attrs.fields(REQUESTS[name])
    found: str = next(field.name for field in fields if (wire_of(field).name or field.name) == fact.name)
    return found


FACTS = [(name, fact) for name, entry in PAIRS for fact in entry.fields if fact.name not in DOUBTFUL.get(name, ())]


def test_requests_each_class_has_a_contract_entry() -> None:
    """Each request class has an endpoint of the contract."""
    assert {name for name, _ in PAIRS} == set(REQUESTS)


@pytest.mark.parametrize(("name", "entry"), PAIRS, ids=[name for name, _ in PAIRS])
def test_encode_full_request_has_the_documented_parameters(name: str, entry: Entry) -> None:
    """Names and types of a full request are the documented ones, and no other parameter is sent."""
    request = WeryAIProvider().encode(fullest(name))
    assert (request.method, re.sub("Ab12Cd34", "{task_id}", request.path), request.host) == (
        "POST",
        entry.path,
        entry.host,
    )
    types = {fact.name: fact.type for fact in entry.fields}
    body = sent(fullest(name))
    assert set(body) <= set(types)
    assert set(types) - set(body) - {"task_id"} <= DOUBTFUL.get(name, set())
    for parameter, value in body.items():
        allowed = (int, float) if types[parameter] is float else (types[parameter],)
        assert type(value) in allowed, parameter


@pytest.mark.parametrize(("name", "entry"), PAIRS, ids=[name for name, _ in PAIRS])
def test_encode_smallest_request_has_required_parameters(name: str, entry: Entry) -> None:
    """The smallest request has all required parameters, and one of those in `either`."""
    body = sent(smallest(name))
    assert {fact.name for fact in entry.fields if fact.required} - {"task_id"} <= set(body)
    assert not entry.either or set(entry.either) & set(body)


def beyond(fact: Field) -> list[Any]:
    """Return values just outside the bounds of a parameter."""
    wrong: list[Any] = []
    if fact.least is not None:
        wrong.append(int(fact.least) - 1)
    if fact.most is not None:
        wrong.append(int(fact.most) + 1)
    if fact.longest is not None:
        wrong.append("x" * (fact.longest + 1))
    if fact.pattern is not None:
        wrong.append("nothing like it")
    item = SOUND if fact.name == "audios" else PICTURE
    if fact.fewest is not None:
        wrong.append([item] * (fact.fewest - 1))
    if fact.most_items is not None:
        wrong.append([item] * (fact.most_items + 1))
    return wrong


BEYOND = [(name, fact, value) for name, fact in FACTS if fact.name != "video_number" for value in beyond(fact)]


@pytest.mark.parametrize(
    ("name", "fact", "value"), BEYOND, ids=[f"{name}-{fact.name}-{value!r:.10}" for name, fact, value in BEYOND]
)
def test_request_value_beyond_documented_bound_is_refused(name: str, fact: Field, value: Any) -> None:
    """A value just beyond a documented bound is refused before it is sent."""
    if fact.name == "messages":
        value = [{"role": "user", "content": "x"}] * len(value)
    with pytest.raises(ConfigurationError):
        smallest(name, **{field_of(name, fact): value})


LISTED = [(name, fact) for name, fact in FACTS if fact.choices and fact.type is str and fact.name != "generate_audio"]


@pytest.mark.parametrize(("name", "fact"), LISTED, ids=[f"{name}-{fact.name}" for name, fact in LISTED])
def test_request_undocumented_choice_is_sent(name: str, fact: Field) -> None:
    """Each documented choice is sent, and so is an undocumented one."""
    for choice in (*fact.choices, "a_choice_of_tomorrow"):
        more = {"speakers": ["a", "b"]} if name == "podcast" else {}
        assert sent(smallest(name, **more, **{field_of(name, fact): choice}))[fact.name] == choice
