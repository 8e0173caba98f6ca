"""Requests: what is refused before it is sent, what is sent, and what a request knows of itself."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any, ClassVar, get_args

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.request import Request
from aiowery._core.result import ImageResult
from aiowery.errors import ConfigurationError
from aiowery.weryai import ASPECT_RATIOS, IMAGE_MODELS, AspectRatio, EffectTemplate, TextToImage
from aiowery.weryai._provider import BALANCE, WeryAIProvider


def sent(request: Request[Any]) -> dict[str, Any]:
    """Return the JSON that a request becomes."""
    body = WeryAIProvider().encode(request).body
    assert body is not None
    decoded: dict[str, Any] = json.loads(body)
    return decoded


WRONG: list[tuple[str, Any, str]] = [
    ("prompt", "", "a text that is not blank"),
    ("prompt", " \n", "a text that is not blank"),
    ("prompt", "x" * 2001, "at most 2000"),
    ("prompt", None, "must be a string"),
    ("prompt", 7, "must be a string"),
    ("prompt", b"hills", "must be a string"),
    ("model", "", "a text that is not blank"),
    ("model", None, "must be a string"),
    ("aspect_ratio", "  ", "a text that is not blank"),
    ("aspect_ratio", (16, 9), "must be a string"),
    ("negative_prompt", "y" * 1001, "at most 1000"),
    ("negative_prompt", 0, "must be a string"),
    ("image_number", 0, "an integer >= 1"),
    ("image_number", -3, "an integer >= 1"),
    ("image_number", 2.0, "an integer >= 1"),
    ("image_number", "2", "an integer >= 1"),
    ("image_number", True, "an integer >= 1"),
    ("resolution", 1024, "must be a string"),
    ("quality", "z" * 201, "at most 200"),
    ("caller_id", -1, "an integer >= 0"),
    ("caller_id", "me", "an integer >= 0"),
]


@pytest.mark.parametrize(
    ("field", "value", "way_out"), WRONG, ids=[f"{name}-{value!r:.12}" for name, value, _ in WRONG]
)
def test_request_invalid_value_names_field_value_and_fix(field: str, value: Any, way_out: str) -> None:
    """A value that the contract rules out raises ConfigurationError with the field, the value and the fix."""
    fields = {"prompt": "hills", field: value}
    with pytest.raises(ConfigurationError) as caught:
        TextToImage(**fields)
    message = str(caught.value)
    assert f"TextToImage.{field} " in message
    assert (repr(value) if len(repr(value)) < 100 else repr(value[:30])) in message
    assert way_out in message


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x" * 2000},
        {"prompt": " x "},
        {"prompt": "x", "negative_prompt": ""},
        {"prompt": "x", "negative_prompt": "y" * 1000},
        {"prompt": "x", "image_number": 1},
        {"prompt": "x", "image_number": 50},
        {"prompt": "x", "caller_id": 0},
        {"prompt": "x", "model": "A_MODEL_OF_TOMORROW", "aspect_ratio": "16:9(4k)", "resolution": "8k"},
    ],
    ids=str,
)
def test_what_the_contract_does_not_rule_out_is_sent_as_it_is(fields: dict[str, Any]) -> None:
    """Limits are inclusive, and words that nobody documented yet pass: the provider decides."""
    assert sent(TextToImage(**fields)).items() >= fields.items()


def test_only_what_was_set_is_sent() -> None:
    """A field left at None stays away from the wire; defaults that we promise are written out."""
    assert sent(TextToImage(prompt="hills")) == {
        "prompt": "hills",
        "model": "WERYAI_IMAGE_2_0",
        "aspect_ratio": "1:1",
    }


def test_every_field_arrives_under_its_own_name() -> None:
    """The fields of the class are the parameters of the contract."""
    fields: dict[str, Any] = {
        "prompt": "hills",
        "model": "GPT_IMAGE_2",
        "aspect_ratio": "3:2",
        "negative_prompt": "rain",
        "image_number": 2,
        "resolution": "2k",
        "quality": "high",
        "use_web_search": False,
        "caller_id": 0,
    }
    assert sent(TextToImage(**fields)) == fields


def test_extra_is_merged_as_it_is() -> None:
    """Parameters without a field go out beside the fields, None and nested ones too; `extra` itself does not."""
    extra = {"style": {"name": "ink", "weights": [1, 2.5]}, "seed": None}
    body = sent(TextToImage(prompt="hills", extra=extra))
    assert body == {"prompt": "hills", "model": "WERYAI_IMAGE_2_0", "aspect_ratio": "1:1", **extra}


@pytest.mark.parametrize("name", ["prompt", "model", "image_number", "extra"])
def test_extra_does_not_repeat_a_field(name: str) -> None:
    """One value has one place: a field's name in `extra` is refused, with the way out."""
    with pytest.raises(ConfigurationError, match=rf"extra\['{name}'\].*write {name}=\.\.\. instead"):
        TextToImage(prompt="hills", extra={name: 1})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, b"bytes", {1, 2}, object()], ids=["nan", "infinity", "bytes", "set", "object"]
)
def test_extra_that_is_no_json_is_refused_before_it_is_sent(value: object) -> None:
    """What JSON cannot hold is our caller's mistake, found in `encode`."""
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        sent(TextToImage(prompt="hills", extra={"odd": value}))


def test_the_call_is_the_endpoints_post() -> None:
    """Method and path are the contract's."""
    call = WeryAIProvider().encode(TextToImage(prompt="hills"))
    assert (call.method, call.path) == ("POST", "/v1/generation/text-to-image")


def test_reads_are_gets_without_body() -> None:
    """Status, batch status and balance have the contract's paths."""
    provider = WeryAIProvider()
    calls = [provider.status_request("task_1"), provider.batch_request("900417"), BALANCE]
    assert [(call.method, call.path, call.body) for call in calls] == [
        ("GET", "/v1/generation/task_1/status", None),
        ("GET", "/v1/generation/batch/900417/status", None),
        ("GET", "/v1/generation/balance", None),
    ]


@attrs.frozen(kw_only=True)
class Foreign(Request[ImageResult]):
    """A request of somebody else's."""

    endpoint: ClassVar[str] = "/v1/elsewhere"
    kind: ClassVar[Any] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult


def test_a_foreign_request_is_not_sent() -> None:
    """A request that is not WeryAI's is refused with the way out, not posted to a path that is not there."""
    with pytest.raises(ConfigurationError, match=r"Foreign.*is not a WeryAI request.*aiowery\.weryai"):
        WeryAIProvider().encode(Foreign())


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({}, 1),
        ({"image_number": 1}, 1),
        ({"image_number": 4}, 4),
        ({"model": "WERYAI_IMAGE_1_0"}, 4),
        ({"model": "WERYAI_IMAGE_1_0", "image_number": 1}, 4),
        ({"model": "SOMETHING_NEW", "image_number": 3}, 3),
    ],
    ids=str,
)
def test_task_count_is_the_number_of_pictures(fields: dict[str, Any], places: int) -> None:
    """Each picture is a task of its own; WERYAI_IMAGE_1_0 always makes four."""
    assert TextToImage(prompt="hills", **fields).task_count == places


@given(prompt=st.text(min_size=1, max_size=2000).filter(str.strip))
@example(prompt="x" * 50)
@example(prompt="x" * 51)
@example(prompt="  two\n words  ")
def test_a_label_is_one_short_line(prompt: str) -> None:
    """At most 50 characters on one line, the beginning of the prompt; a cut one ends in three dots."""
    label = TextToImage(prompt=prompt).label
    words = " ".join(prompt.split())
    assert len(label) <= 50
    assert "\n" not in label
    assert label == words if len(words) <= 50 else label == words[:47] + "..."


def test_timing_key_depends_on_settings_not_on_prompt() -> None:
    """Model, resolution, quality and number of pictures decide the duration of a job; the prompt does not."""
    one = TextToImage(prompt="hills")
    assert one.timing_key == TextToImage(prompt="rivers", negative_prompt="x", caller_id=3).timing_key
    others = [{"model": "WAN_2_5"}, {"resolution": "4k"}, {"quality": "high"}, {"image_number": 2}]
    keys = {TextToImage(prompt="hills", **other).timing_key for other in others}  # type: ignore[arg-type]
    assert len(keys | {one.timing_key}) == 5
    assert one.model_name == "WERYAI_IMAGE_2_0"


def test_timing_key_differs_between_templates() -> None:
    """Each effect template has its own duration and price."""
    picture = "https://example.com/me.png"
    keys = {EffectTemplate(template_config_id=number, image_urls=[picture]).timing_key for number in (1, 2)}
    assert len(keys) == 2


def test_requests_are_values() -> None:
    """Equal requests are equal, hash alike, copy and pickle; the fields cannot be changed."""
    request = TextToImage(prompt="hills", image_number=2, extra={"a": [1], "b": {"c": 2}})
    twin = TextToImage(prompt="hills", image_number=2, extra={"b": {"c": 2}, "a": [1]})
    assert request == twin
    assert hash(request) == hash(twin)
    assert request != attrs.evolve(twin, extra={"a": [2]})
    assert request != attrs.evolve(twin, prompt="rivers")
    for other in (pickle.loads(pickle.dumps(request)), copy.copy(request), copy.deepcopy(request)):  # noqa: S301
        assert other == request
        assert hash(other) == hash(request)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.prompt = "rivers"  # type: ignore[misc]


def test_every_documented_ratio_says_what_it_is_good_for() -> None:
    """The literal and the table of uses hold the same shapes, and the default is one of them."""
    assert list(ASPECT_RATIOS) == list(get_args(AspectRatio))
    assert all(ASPECT_RATIOS.values())
    assert TextToImage(prompt="hills").aspect_ratio in ASPECT_RATIOS
    assert TextToImage(prompt="hills").model in IMAGE_MODELS


def snapshot(task_id: str, state: TaskState, **more: Any) -> Snapshot:
    """Make a snapshot of an ended task."""
    return Snapshot(task_id, state, raw={"task_id": task_id}, **more)


def test_a_result_gathers_its_tasks_in_order() -> None:
    """Ids, outputs and raw parts in task order; failed tasks are kept apart; reported credits are summed."""
    failed = snapshot("b", TaskState.FAILED, reason="blurred")
    tasks = [snapshot("a", TaskState.DONE, credits=1.5), failed, snapshot("c", TaskState.DONE, credits=2.0)]
    result = ImageResult.from_snapshots(tasks, seconds=12.0, request_id="req-1")
    assert type(result) is ImageResult
    assert result.task_ids == ("a", "b", "c")
    assert (result.credits, result.seconds, result.request_id) == (3.5, 12.0, "req-1")
    assert result.failures == (failed,)
    assert [raw["task_id"] for raw in result.raw] == ["a", "b", "c"]


@pytest.mark.parametrize(("reported", "total"), [((None, None), None), ((0.0, None), 0.0), ((None, 2.0), 2.0)])
def test_result_credits_unreported_are_none(reported: tuple[float | None, ...], total: float | None) -> None:
    """None means that no credits were reported; zero means that zero was reported."""
    tasks = [snapshot(str(number), TaskState.DONE, credits=charged) for number, charged in enumerate(reported)]
    assert ImageResult.from_snapshots(tasks, seconds=1.0, request_id=None).credits == total
