"""Responses of the registries: models, chat models and speakers, and the issues of a request."""

from __future__ import annotations

from typing import Any

import pytest

from aiowery import CheckIssue
from aiowery._core.messages import HttpResponse
from aiowery.errors import AioweryError, UnexpectedResponse
from aiowery.weryai import REQUESTS, ChatModel, Model, Speaker
from aiowery.weryai._model_listing import (
    REGISTRY_MODES,
    check_issues,
    decode_chat_models,
    decode_models,
    decode_speakers,
    find_entry,
)
from tests.weryai.request_samples import PICTURE, fullest, smallest
from tests.weryai.responses import enveloped, json_response

VEO: dict[str, Any] = {
    "model_key": "VEO_3_1",
    "title": "Veo 3.1",
    "durations": [8],
    "aspect_ratios": ["9:16", "16:9"],
    "resolutions": ["720p", "1080p", "4k"],
    "has_generate_audio": True,
    "has_negative_prompt": False,
    "prompt_length_limit": 2000,
    "support_multiple_images": True,
    "support_first_last_frame": False,
    "upload_image_limit": 3,
}
WERY: dict[str, Any] = {
    "model_key": "WERYAI_IMAGE_2_0",
    "title": "WeryAI Image 2.0",
    "image_sizes": ["1:1", "16:9"],
    "num_images": [1, 2, 4],
    "resolutions": ["2k"],
    "prompt_length_limit": 2000,
    "upload_image_limit": 5,
}


def test_decode_models_video_entry_has_all_fields() -> None:
    """Each documented member has its field, and the entry itself is kept."""
    (model,) = decode_models(enveloped({"text_to_video": [VEO], "image_to_video": [], "multi_image_to_video": []}))
    assert model == Model(
        key="VEO_3_1",
        kind="video",
        mode="text-to-video",
        title="Veo 3.1",
        aspect_ratios=("9:16", "16:9"),
        durations=(8,),
        resolutions=("720p", "1080p", "4k"),
        audio=True,
        negative_prompt=False,
        longest_prompt=2000,
        most_images=3,
        several_images=True,
        first_last_frame=False,
    )
    assert model.raw == VEO


def test_decode_models_image_entry_has_all_fields() -> None:
    """Ratios are named image sizes there, and numbers of pictures are listed."""
    models = decode_models(enveloped({"text_to_image": [WERY], "image_to_image": [WERY]}))
    assert [model.mode for model in models] == ["text-to-image", "image-to-image"]
    assert models[0] == Model(
        key="WERYAI_IMAGE_2_0",
        kind="image",
        mode="text-to-image",
        title="WeryAI Image 2.0",
        aspect_ratios=("1:1", "16:9"),
        resolutions=("2k",),
        image_numbers=(1, 2, 4),
        longest_prompt=2000,
        most_images=5,
    )


def test_decode_models_invalid_entry_is_skipped() -> None:
    """An entry without a key is left out, and a member of an unexpected type counts as absent."""
    entries = [
        None,
        "VEO_3",
        {},
        {"model_key": ""},
        {"model_key": 7},
        {
            "model_key": " ODD ",
            "title": 5,
            "durations": ["5", 10, True, None, 7.5, "x"],
            "aspect_ratios": "16:9",
            "resolutions": [720, "1080p"],
            "has_generate_audio": "yes",
            "has_negative_prompt": 1,
            "prompt_length_limit": "2000",
            "upload_image_limit": -1.5,
            "price": {"credits": 3},
        },
        VEO,
    ]
    odd, veo = decode_models(enveloped({"image_to_video": entries, "text_to_video": "none", "text_to_music": [VEO]}))
    assert odd == Model(
        key="ODD",
        kind="video",
        mode="image-to-video",
        durations=(5, 10),
        resolutions=("1080p",),
        longest_prompt=2000,
    )
    assert odd.raw["price"] == {"credits": 3}
    assert (veo.key, veo.mode) == ("VEO_3_1", "image-to-video")


@pytest.mark.parametrize("data", [None, [], "x", 7, [VEO]], ids=repr)
def test_decode_models_data_without_modes_is_unexpected(data: Any) -> None:
    """Models are listed by mode in an object."""
    with pytest.raises(AioweryError) as caught:
        decode_models(enveloped(data))
    assert isinstance(caught.value, UnexpectedResponse)


GPT_ENTRY = {"model": "GPT_4O", "desc": "general", "max_tokens": 4096, "input_price": 1.5, "output_price": 6.0}
GPT = ChatModel(key="GPT_4O", description="general", max_tokens=4096, input_price=1.5, output_price=6.0)


@pytest.mark.parametrize(
    "response",
    [
        json_response({"models": [GPT_ENTRY]}),
        enveloped({"models": [GPT_ENTRY]}),
        enveloped([GPT_ENTRY]),
        json_response({"models": [None, "x", {}, {"model": None}, GPT_ENTRY]}),
    ],
    ids=["bare", "enveloped", "list", "odd entries"],
)
def test_decode_chat_models_with_or_without_envelope(response: HttpResponse) -> None:
    """The list is read in the documented form and in plausible ones. Entries without a key are skipped."""
    (model,) = decode_chat_models(response)
    assert model == GPT
    assert model.raw == GPT_ENTRY


def test_decode_chat_models_invalid_values_count_as_absent() -> None:
    """Prices and limits of an unexpected type count as absent."""
    entry = {"model": "X", "desc": None, "max_tokens": "many", "input_price": "1.5", "output_price": True}
    assert decode_chat_models(json_response({"models": [entry]})) == (ChatModel(key="X"),)


def test_decode_registry_refusal_raises_its_error() -> None:
    """Each registry's refusals have the classes that refusals have everywhere."""
    for decode in (decode_models, decode_chat_models, decode_speakers):
        with pytest.raises(AioweryError, match="Authentication failed"):
            decode(json_response({"status": 1002, "desc": "Authentication failed"}))
        with pytest.raises(AioweryError, match="HTTP 503"):
            decode(HttpResponse(503, {}, b"<html>"))


def test_decode_speakers_returns_each_with_an_id() -> None:
    """Each speaker has an id, and its other values may be missing."""
    entry = {
        "name": "Mira",
        "speaker_id": "spk-en-07",
        "demo_audio_url": "https://cdn.example/mira.mp3",
        "gender": "female",
        "language": "en",
    }
    mira = Speaker(id="spk-en-07", name="Mira", gender="female", language="en", demo_url="https://cdn.example/mira.mp3")
    odd = [None, {}, {"speaker_id": ""}, {"speaker_id": "spk-2", "name": 7, "demo_audio_url": None}]
    assert decode_speakers(enveloped({"speakers": [entry, *odd]})) == (mira, Speaker(id="spk-2"))
    assert decode_speakers(enveloped([entry])) == (mira,)
    assert decode_speakers(enveloped({"speakers": []})) == ()


def model_entry(mode: str, key: str = "M", **more: Any) -> Model:
    """Return an entry of a registry."""
    return Model(key=key, kind="video" if "video" in mode else "image", mode=mode, **more)


KNOWN: dict[str, Any] = {"aspect_ratios": ("16:9",)}

# Each row: request, its fields, the limits of the entry, and the field and a text of the issue; None for no issue.
RULES: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, str] | None]] = [
    ("text-to-image", {"aspect_ratio": "3:2"}, {"aspect_ratios": ("1:1", "2k")}, ("aspect_ratio", "M takes 1:1, 2k")),
    ("text-to-image", {"aspect_ratio": "2k"}, {"aspect_ratios": ("1:1", "2k")}, None),
    ("text-to-image", {"aspect_ratio": "3:2"}, {"aspect_ratios": ()}, None),
    ("text-to-image", {"resolution": "4k"}, {"resolutions": ("1k", "2k")}, ("resolution", "M takes 1k, 2k")),
    ("text-to-image", {"resolution": "1k"}, {"resolutions": ("1k", "2k")}, None),
    ("text-to-image", {}, {"resolutions": ("1k", "2k"), "image_numbers": (2, 4)}, None),
    ("text-to-image", {"image_number": 3}, {"image_numbers": (1, 4)}, ("image_number", "M takes 1, 4")),
    ("text-to-image", {"image_number": 4}, {"image_numbers": (1, 4)}, None),
    ("text-to-image", {"prompt": "x" * 11}, {"longest_prompt": 10}, ("prompt", "at most 10 characters, not 11")),
    ("text-to-image", {"prompt": "x" * 10}, {"longest_prompt": 10}, None),
    ("image-to-image", {"image_urls": [PICTURE] * 3}, {"most_images": 2}, ("image_urls", "at most 2")),
    ("image-to-image", {"image_urls": [PICTURE] * 2}, {"most_images": 2}, None),
    ("image-to-image", {"image_urls": [PICTURE] * 2}, {"several_images": False}, ("image_urls", "at most 1")),
    ("image-to-image", {"image_urls": [PICTURE]}, {"several_images": False}, None),
    ("text-to-video", {"duration": 5}, {**KNOWN, "durations": (8, 10)}, ("duration", "M takes 8, 10")),
    ("text-to-video", {"duration": 8}, {**KNOWN, "durations": (8, 10)}, None),
    ("text-to-video", {"aspect_ratio": "1:1"}, KNOWN, ("aspect_ratio", "M takes 16:9")),
    ("text-to-video", {"generate_audio": True}, {**KNOWN, "audio": False}, ("generate_audio", "makes no sound")),
    ("text-to-video", {"generate_audio": False}, {**KNOWN, "audio": False}, None),
    ("text-to-video", {"generate_audio": True}, {**KNOWN, "audio": True}, None),
    ("text-to-video", {"negative_prompt": "x"}, {**KNOWN, "negative_prompt": False}, ("negative_prompt", "takes none")),
    ("text-to-video", {"negative_prompt": ""}, {**KNOWN, "negative_prompt": False}, None),
    (
        "multi-image-to-video",
        {"image_urls": [PICTURE] * 2},
        {**KNOWN, "several_images": False},
        ("model", "it takes one picture only; take another"),
    ),
    ("first-last-image-to-video", {}, {**KNOWN, "first_last_frame": False}, ("model", "take another")),
    ("first-last-image-to-video", {}, {**KNOWN, "first_last_frame": True}, None),
    ("image-to-video", {}, {**KNOWN, "first_last_frame": False}, None),
]


@pytest.mark.parametrize(("name", "fields", "known", "expected"), RULES, ids=lambda value: str(value)[:50])
def test_check_issues_each_limit_names_field_value_and_choices(
    name: str, fields: dict[str, Any], known: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    """An issue names the field, its value and what the model takes. A request within the limits has none."""
    request = smallest(name, model="M", **fields)
    found = check_issues(request, model_entry(name, **known))
    if expected is None:
        assert found == ()
        return
    (issue,) = found
    field, text = expected
    assert issue.field == field
    assert text in issue.message
    assert str(issue) == f"{field} is {issue.value!r}; {issue.message}"


@pytest.mark.parametrize("name", REGISTRY_MODES)
def test_check_issues_entry_without_limits_has_none(name: str) -> None:
    """An entry with only a key allows every value, as `Model` documents."""
    assert check_issues(fullest(name, model="M"), model_entry(name)) == ()


def test_check_issues_empty_ratio_list_of_video_model_wants_none() -> None:
    """An empty list means that the model takes no ratio. Known models leave it out by default, others by the fix."""
    (pika,) = decode_models(enveloped({"text_to_video": [{"model_key": "PIKA_2_2", "aspect_ratios": []}]}))
    assert check_issues(smallest("text-to-video", model="PIKA_2_2"), pika) == ()
    (model,) = decode_models(enveloped({"text_to_video": [{"model_key": "M", "aspect_ratios": []}]}))
    (issue,) = check_issues(smallest("text-to-video", model="M"), model)
    assert (issue.field, issue.value) == ("aspect_ratio", "16:9")
    assert "leave it out (None)" in issue.message


def test_check_issues_ratio_list_under_either_name_counts() -> None:
    """An empty list beside a full one rules nothing out."""
    row = {"model_key": "M", "aspect_ratios": [], "image_sizes": ["1:1"]}
    (model,) = decode_models(enveloped({"text_to_image": [row]}))
    assert check_issues(smallest("text-to-image", model="M", aspect_ratio="1:1"), model) == ()


def test_check_issues_returns_all_conflicts() -> None:
    """Each field is named, so that one correction is enough."""
    request = smallest("text-to-video", model="M", duration=5, resolution="8k", generate_audio=True)
    known = model_entry("text-to-video", durations=(8,), resolutions=("720p",), aspect_ratios=("16:9",), audio=False)
    assert [issue.field for issue in check_issues(request, known)] == [
        "duration",
        "resolution",
        "generate_audio",
    ]


@pytest.mark.parametrize(
    ("name", "ability"),
    [("multi-image-to-video", "several_images"), ("first-last-image-to-video", "first_last_frame")],
)
def test_check_issues_unable_model_names_able_ones(name: str, ability: str) -> None:
    """The issue names up to five models that can serve such a request, from the modes that apply to it."""
    yes: dict[str, Any] = {ability: True}
    no: dict[str, Any] = {ability: False}
    unable = model_entry("image-to-video", **no)
    able = [model_entry("image-to-video", f"ABLE_{number}", **yes) for number in range(7)]
    others = [model_entry("image-to-video", "UNKNOWN"), model_entry("text-to-video", "TEXT", **yes)]
    (issue,) = check_issues(smallest(name, model="M", aspect_ratio=None), unable, [unable, *others, *able])
    assert issue.field == "model"
    assert issue.message.endswith("take another, such as ABLE_0, ABLE_1, ABLE_2, ABLE_3, ABLE_4")


def test_check_issue_str_is_a_sentence() -> None:
    """The text has the field, the value and the conflict."""
    issue = CheckIssue(field="duration", value=5, message="VEO_3_1 takes 8")
    assert str(issue) == "duration is 5; VEO_3_1 takes 8"


def test_find_entry_returns_entry_of_model_and_mode() -> None:
    """Requests with several or two pictures fall back to the entry for one picture."""
    text, image, several = (
        model_entry("text-to-video"),
        model_entry("image-to-video"),
        model_entry("multi-image-to-video"),
    )
    other = model_entry("text-to-video", "OTHER")
    models = (other, text, image, several)
    expected = {
        "text-to-video": text,
        "image-to-video": image,
        "multi-image-to-video": several,
        "first-last-image-to-video": image,
    }
    for name, found in expected.items():
        assert find_entry(smallest(name, model="M"), models) is found
        assert find_entry(smallest(name, model="NEW"), models) is None
    assert find_entry(smallest("multi-image-to-video", model="M"), (text, image)) is image
    assert find_entry(smallest("image-to-video", model="M"), (text, several)) is None


@pytest.mark.parametrize("name", [name for name in REQUESTS if name not in REGISTRY_MODES])
def test_find_entry_other_request_has_none(name: str) -> None:
    """The registries list only picture and video models."""
    models = [model_entry(mode, "M") for mode in ("text-to-video", "text-to-image", "image-to-video")]
    assert find_entry(smallest(name), models) is None
