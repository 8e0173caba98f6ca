"""Requests: local rules, those of one edition, and the exact body that each edition gets."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.betterwaifu import MODELS, REQUESTS, SAMPLERS, GenerateImage, from_dict, request_type, to_dict
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.errors import ConfigurationError
from aiowery.weryai import TextToImage

V1, JOBS = BetterWaifuProvider("v1-images"), BetterWaifuProvider("jobs")
FULL: dict[str, Any] = {
    "prompt": "1girl, rain",
    "negative_prompt": "blurry",
    "steps": 30,
    "cfg_scale": 7.5,
    "width": 832,
    "height": 1216,
    "sampler": "euler-a",
    "seed": 42,
}


def body(provider: BetterWaifuProvider, request: GenerateImage) -> dict[str, Any]:
    """Return the JSON body that would be sent."""
    encoded = provider.encode(request)
    assert encoded.body is not None
    sent: dict[str, Any] = json.loads(encoded.body)
    return sent


def test_encode_left_out_fields_are_not_sent() -> None:
    """Only the prompt is sent, in both editions. The provider's defaults apply."""
    request = GenerateImage(prompt="1girl")
    assert body(V1, request) == body(JOBS, request) == {"prompt": "1girl"}


def test_encode_model_is_spelled_per_edition() -> None:
    """The fields are the same but the model: a slug in one edition, a number under another name in the other."""
    assert body(V1, GenerateImage(model="plant-milk", **FULL)) == {"model": "plant-milk", **FULL}
    assert body(JOBS, GenerateImage(model=814910, **FULL)) == {"model_version_id": 814910, **FULL}


def test_encode_path_and_timeout_per_edition() -> None:
    """Each edition has one POST. The synchronous one may take minutes, and reads go by id."""
    request = GenerateImage(prompt="x")
    v1, jobs = V1.encode(request), JOBS.encode(request)
    assert (v1.method, v1.path, v1.timeout) == ("POST", "/v1/images/generate", 300.0)
    assert (jobs.method, jobs.path, jobs.timeout) == ("POST", "/generate", None)
    assert JOBS.status_request("job/1 2").path == "/generate/job%2F1%202"


def test_encode_random_seed_is_sent_in_v1_only() -> None:
    """-1 means random in v1-images. It is not documented in jobs, where leaving it out means the same."""
    assert body(V1, GenerateImage(prompt="x", seed=-1)) == {"prompt": "x", "seed": -1}
    assert body(JOBS, GenerateImage(prompt="x", seed=-1)) == {"prompt": "x"}


def test_encode_extra_is_sent_unchanged() -> None:
    """Parameters that the library does not know are sent."""
    request = GenerateImage(prompt="x", extra={"clip_skip": 2})
    assert body(V1, request) == body(JOBS, request) == {"prompt": "x", "clip_skip": 2}


@pytest.mark.parametrize("name", ["steps", "model", "model_version_id"])
def test_request_extra_with_a_fields_name_is_refused(name: str) -> None:
    """Each value has one place, under either spelling."""
    with pytest.raises(ConfigurationError, match=r"extra\["):
        GenerateImage(prompt="x", extra={name: 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "  "),
        ("prompt", None),
        ("prompt", "x" * 100_001),
        ("negative_prompt", 5),
        ("model", ""),
        ("model", True),
        ("model", 0),
        ("model", 1.5),
        ("steps", 0),
        ("steps", True),
        ("steps", 30.0),
        pytest.param("steps", 10**5000, id="steps of 5,000 digits"),
        ("cfg_scale", math.nan),
        ("cfg_scale", math.inf),
        ("cfg_scale", -1),
        ("cfg_scale", "7"),
        ("width", 0),
        ("height", -8),
        ("sampler", ""),
        ("seed", -2),
        ("seed", 1.0),
    ],
)
def test_request_invalid_value_is_refused(field: str, value: Any) -> None:
    """The error names the field, and nothing is sent."""
    with pytest.raises(ConfigurationError, match=f"GenerateImage.{field}.*; nothing was sent"):
        GenerateImage(**{"prompt": "x", field: value})


@pytest.mark.parametrize(("field", "bad"), [("steps", (19, 51)), ("cfg_scale", (0.5, 20.5))])
def test_validate_range_applies_in_v1_only(field: str, bad: tuple[float, float]) -> None:
    """The range is documented for v1-images. In jobs the provider judges."""
    for value in bad:
        values: dict[str, Any] = {"prompt": "x", field: value}
        request = GenerateImage(**values)
        with pytest.raises(ConfigurationError, match=f"GenerateImage.{field} is .*edition='v1-images' takes"):
            V1.validate(request)
        JOBS.validate(request)


@pytest.mark.parametrize("value", [20, 50])
def test_validate_range_is_inclusive(value: int) -> None:
    """20 and 50 steps are accepted."""
    V1.validate(GenerateImage(prompt="x", steps=value))


def test_validate_model_of_other_edition_is_refused() -> None:
    """A number is refused in v1-images and a slug in jobs, each with the fix."""
    with pytest.raises(ConfigurationError, match="by a slug such as"):
        V1.validate(GenerateImage(prompt="x", model=814910))
    with pytest.raises(ConfigurationError, match=r"client\.find_model"):
        JOBS.validate(GenerateImage(prompt="x", model="noobai-xl"))
    V1.validate(GenerateImage(prompt="x", model="one-that-came-later"))
    JOBS.validate(GenerateImage(prompt="x", model=1))


@pytest.mark.parametrize("other", [TextToImage(prompt="x"), "1girl", None])
def test_validate_foreign_request_is_refused(other: object) -> None:
    """Another provider's request, or another object, is refused."""
    for provider in (V1, JOBS):
        with pytest.raises(ConfigurationError, match="BetterWaifu request"):
            provider.validate(other)


def test_choices_list_documented_models_and_samplers() -> None:
    """Models have their uses, samplers start with the default, and types have names."""
    assert (next(iter(MODELS)), SAMPLERS[0]) == ("noobai-xl", "dpm-2m-karras")
    assert all(MODELS.values())
    assert {"generate-image": GenerateImage} == REQUESTS
    assert request_type("generate-image") is GenerateImage
    with pytest.raises(ConfigurationError, match="known types are: generate-image"):
        request_type("text-to-image")


texts = st.text(min_size=1).filter(str.strip)
requests = st.builds(
    GenerateImage,
    prompt=texts,
    negative_prompt=st.none() | st.text(),
    model=st.none() | texts.filter(lambda text: len(text) <= 200) | st.integers(1, 10**9),
    steps=st.none() | st.integers(1, 10**6),
    cfg_scale=st.none() | st.floats(0, 1000),
    width=st.none() | st.integers(1, 10**5),
    height=st.none() | st.integers(1, 10**5),
    sampler=st.none() | texts.filter(lambda text: len(text) <= 200),
    seed=st.none() | st.integers(-1, 2**32),
    extra=st.dictionaries(st.sampled_from(["a", "b"]), st.integers() | st.text()),
)


@given(requests)
def test_request_json_round_trip_keeps_it(request: GenerateImage) -> None:
    """A request that is written to a file and read again is equal, and encodes to the same body."""
    again = from_dict(json.loads(json.dumps(to_dict(request))))
    assert again == request
    assert body(JOBS, again) == body(JOBS, request)


def test_request_has_label_model_name_and_timing_key() -> None:
    """A request has a short label, its model's name, and the settings on which its duration depends."""
    request = GenerateImage(prompt="a " * 50, model=814910, width=512)
    assert len(request.label) == 50
    assert request.model_name == "814910"
    assert request.timing_key != GenerateImage(prompt="x", width=1024).timing_key
    assert GenerateImage(prompt="x").model_name is None
    assert request.task_count == 1


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
fields = st.sampled_from([*FULL, "model", "model_version_id", "extra", "brand_new", "type"])


@given(st.dictionaries(fields, junk | st.sampled_from(["generate-image", "noobai-xl", 814910, 30]), max_size=4))
def test_from_dict_any_object_makes_a_request_or_configuration_error(values: dict[str, Any]) -> None:
    """For any content of a file: a request that is written and sent alike, or ConfigurationError."""
    with contextlib.suppress(ConfigurationError):
        request = from_dict({"type": "generate-image", "prompt": "x", **values})
        again = from_dict(to_dict(request))
        assert again == request
        assert len(request.label) <= 50
        assert all(isinstance(part, str) for part in request.timing_key)
        for provider in (V1, JOBS):
            assert provider.encode(again) == provider.encode(request)
            provider.validate(request)


def test_encode_extra_without_json_is_refused() -> None:
    """NaN and objects in `extra` have no JSON and are refused before anything is sent."""
    for value in (math.nan, object(), {1, 2}):
        request = GenerateImage(prompt="x", extra={"own": value})
        for provider in (V1, JOBS):
            with pytest.raises(ConfigurationError, match="extra"):
                provider.encode(request)


def test_encode_sampler_is_sent_unchanged() -> None:
    """The provider decides between dashes and underscores."""
    for sampler in (*SAMPLERS, "euler_a", "of-tomorrow_x"):
        request = GenerateImage(prompt="x", sampler=sampler)
        assert body(V1, request) == body(JOBS, request) == {"prompt": "x", "sampler": sampler}


@pytest.mark.parametrize("job_id", ["", " ", "..", ".", "\ud800"])
def test_status_request_invalid_id_is_refused(job_id: str) -> None:
    """Such an id would name another path. In v1-images there is no status at all."""
    with pytest.raises(ConfigurationError, match="as the provider gave it"):
        JOBS.status_request(job_id)
    with pytest.raises(ConfigurationError, match="answers at once"):
        V1.status_request("img_1")
