"""Requests: refused values, the JSON that is sent, and the values that a request derives."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any, ClassVar, get_args

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._base.text import printable
from aiowery._core.request import Request
from aiowery._core.result import ImageResult
from aiowery.errors import ConfigurationError
from aiowery.weryai import ASPECT_RATIOS, IMAGE_MODELS, AspectRatio, EffectTemplate, TextToImage
from aiowery.weryai._provider import BALANCE, WeryAIProvider
from tests.weryai.request_samples import sent

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


@pytest.mark.parametrize(("field", "value", "fix"), WRONG, ids=[f"{name}-{value!r:.12}" for name, value, _ in WRONG])
def test_request_invalid_value_names_field_value_and_fix(field: str, value: Any, fix: str) -> None:
    """A value that the contract rules out raises ConfigurationError with the field, the value and the fix."""
    fields = {"prompt": "hills", field: value}
    with pytest.raises(ConfigurationError) as caught:
        TextToImage(**fields)
    message = str(caught.value)
    assert f"TextToImage.{field} " in message
    assert (repr(value) if len(repr(value)) < 100 else repr(value[:30])) in message
    assert fix in message


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
def test_request_value_within_limits_is_sent_unchanged(fields: dict[str, Any]) -> None:
    """Limits are inclusive, and undocumented values pass: the provider decides."""
    assert sent(TextToImage(**fields)).items() >= fields.items()


def test_encode_smallest_request_has_given_values_and_defaults() -> None:
    """A field that is None is not sent, and the promised defaults are written out."""
    assert sent(TextToImage(prompt="hills")) == {
        "prompt": "hills",
        "model": "WERYAI_IMAGE_2_0",
        "aspect_ratio": "1:1",
    }


def test_encode_fields_have_the_parameters_names() -> None:
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


def test_encode_extra_is_sent_beside_the_fields() -> None:
    """Parameters without a field are sent beside the fields, None and nested ones too. `extra` itself is not sent."""
    extra = {"style": {"name": "ink", "weights": [1, 2.5]}, "seed": None}
    body = sent(TextToImage(prompt="hills", extra=extra))
    assert body == {"prompt": "hills", "model": "WERYAI_IMAGE_2_0", "aspect_ratio": "1:1", **extra}


@pytest.mark.parametrize("name", ["prompt", "model", "image_number", "extra"])
def test_request_extra_with_a_fields_name_is_refused(name: str) -> None:
    """Each value has one place: a field's name in `extra` is refused, with the fix."""
    with pytest.raises(ConfigurationError, match=rf"extra\['{name}'\].*write {name}=\.\.\. instead"):
        TextToImage(prompt="hills", extra={name: 1})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, b"bytes", {1, 2}, object()], ids=["nan", "infinity", "bytes", "set", "object"]
)
def test_encode_extra_without_json_is_refused(value: object) -> None:
    """A value without JSON raises ConfigurationError in `encode`, before anything is sent."""
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        sent(TextToImage(prompt="hills", extra={"odd": value}))


def test_encode_request_is_a_post_to_its_endpoint() -> None:
    """Method and path are those of the contract."""
    request = WeryAIProvider().encode(TextToImage(prompt="hills"))
    assert (request.method, request.path) == ("POST", "/v1/generation/text-to-image")


def test_read_requests_are_gets_without_body() -> None:
    """Status, batch status and balance have the contract's paths."""
    provider = WeryAIProvider()
    requests = [provider.status_request("task_1"), provider.batch_request("900417"), BALANCE]
    assert [(request.method, request.path, request.body) for request in requests] == [
        ("GET", "/v1/generation/task_1/status", None),
        ("GET", "/v1/generation/batch/900417/status", None),
        ("GET", "/v1/generation/balance", None),
    ]


@attrs.frozen(kw_only=True)
class Foreign(Request[ImageResult]):
    """A request of another provider."""

    endpoint: ClassVar[str] = "/v1/elsewhere"
    kind: ClassVar[Any] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult


def test_encode_foreign_request_is_refused() -> None:
    """A request of another provider is refused with the fix, and not posted to an unknown path."""
    with pytest.raises(ConfigurationError, match=r"Foreign.*is not a WeryAI request.*aiowery\.weryai"):
        WeryAIProvider().encode(Foreign())


@pytest.mark.parametrize(
    ("fields", "count"),
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
def test_task_count_is_the_number_of_pictures(fields: dict[str, Any], count: int) -> None:
    """Each picture is a task of its own. WERYAI_IMAGE_1_0 always makes four."""
    assert TextToImage(prompt="hills", **fields).task_count == count


@given(prompt=st.text(min_size=1, max_size=2000).filter(str.strip))
@example(prompt="x" * 50)
@example(prompt="x" * 51)
@example(prompt="  two\n words  ")
def test_label_is_one_short_text_line(prompt: str) -> None:
    """A label has at most 50 printable characters of the prompt on one line. A cut one ends in three dots."""
    label = TextToImage(prompt=prompt).label
    words = printable(" ".join(prompt.split()))
    assert len(label) <= 50
    assert "\n" not in label
    assert label == words if len(words) <= 50 else label == words[:47] + "..."


def test_timing_key_depends_on_settings_not_on_prompt() -> None:
    """Model, resolution, quality and number of pictures decide the duration of a job. The prompt does not."""
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


def test_request_is_a_frozen_value() -> None:
    """Equal requests have equal hashes, copy and pickle. The fields cannot be changed."""
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


def test_aspect_ratios_each_has_a_use() -> None:
    """The literal and the table of uses have the same ratios, and the default is one of them."""
    assert list(ASPECT_RATIOS) == list(get_args(AspectRatio))
    assert all(ASPECT_RATIOS.values())
    assert TextToImage(prompt="hills").aspect_ratio in ASPECT_RATIOS
    assert TextToImage(prompt="hills").model in IMAGE_MODELS


def snapshot(task_id: str, state: TaskState, **more: Any) -> Snapshot:
    """Return a snapshot of a finished task."""
    return Snapshot(task_id, state, raw={"task_id": task_id}, **more)


def test_result_gathers_its_tasks_in_order() -> None:
    """Ids, outputs and raw parts are in task order. Failed tasks are listed, and reported credits are summed."""
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
    """None means that no credits were reported. Zero means that zero was reported."""
    tasks = [snapshot(str(number), TaskState.DONE, credits=charged) for number, charged in enumerate(reported)]
    assert ImageResult.from_snapshots(tasks, seconds=1.0, request_id=None).credits == total
