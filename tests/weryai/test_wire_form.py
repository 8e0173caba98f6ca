"""The HTTP request of each request class, name by name and value by value."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from aiowery import File
from aiowery._core.fields import wire_names, wire_of
from aiowery._core.messages import HttpRequest
from aiowery.errors import ConfigurationError
from aiowery.weryai import (
    REQUESTS,
    AlmightyReferenceToVideo,
    Chat,
    DeepResearch,
    EffectTemplate,
    ImageExpand,
    ImageToPrompt,
    ImageToVideo,
    Message,
    Music,
    PodcastVoice,
    Point,
    Size,
    TextToAudio,
    VideoSubtitleErase,
    VideoWatermarkRemove,
    request_type,
)
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.request_samples import (
    EVERYTHING,
    EXCLUDED,
    HOOK,
    LOCAL,
    NEEDED,
    OTHER_PICTURE,
    PICTURE,
    SOUND,
    VIDEO,
    field_names,
    fullest,
    sent,
    smallest,
)

PROMPTED: dict[str, Any] = {
    "prompt": "hills at dawn",
    "model": "VEO_3_1",
    "duration": 8,
    "aspect_ratio": "9:16",
    "negative_prompt": "rain",
    "resolution": "1080p",
    "generate_audio": True,
    "video_number": 2,
}
PICTURES: dict[str, Any] = {
    "prompt": "hills at dawn",
    "model": "GPT_IMAGE_2",
    "aspect_ratio": "3:2",
    "negative_prompt": "rain",
    "image_number": 2,
    "resolution": "2k",
    "use_web_search": False,
}
TASK: dict[str, Any] = {"webhook_url": HOOK, "caller_id": 0}
CORNERS = [
    {"lt_x": 0.0, "lt_y": 0.25, "rb_x": 0.5, "rb_y": 1.0},
    {"lt_x": 0.1, "lt_y": 0.2, "rb_x": 0.3, "rb_y": 0.4},
]
GENERATION = "/v1/generation/"

SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "text-to-image": (f"{GENERATION}text-to-image", {**PICTURES, "quality": "high", **TASK}),
    "image-to-image": (f"{GENERATION}image-to-image", {**PICTURES, "images": [PICTURE, OTHER_PICTURE], **TASK}),
    "text-to-video": (f"{GENERATION}text-to-video", {**PROMPTED, **TASK}),
    "image-to-video": (f"{GENERATION}image-to-video", {**PROMPTED, "image": PICTURE, **TASK}),
    "multi-image-to-video": (
        f"{GENERATION}multi-image-to-video",
        {**PROMPTED, "images": [PICTURE, OTHER_PICTURE], **TASK},
    ),
    "first-last-image-to-video": (
        f"{GENERATION}first-last-image-to-video",
        {**PROMPTED, "first_pic_url": PICTURE, "end_pic_url": OTHER_PICTURE, **TASK},
    ),
    "almighty-reference-to-video": (
        f"{GENERATION}almighty-reference-to-video",
        {
            "prompt": "hills at dawn",
            "model": "SEEDANCE_2_0",
            "duration": 15,
            "images": [PICTURE],
            "videos": [VIDEO],
            "audios": [SOUND],
            "aspect_ratio": "9:16",
            "resolution": "480p",
            "generate_audio": "false",
            "video_number": 3,
            **TASK,
        },
    ),
    "effect-template": (
        f"{GENERATION}effect-template",
        {
            "template_config_id": 2**40,
            "image_url": [PICTURE, OTHER_PICTURE],
            "bgm": False,
            "aspect_ratio": "1:1",
            "prompt_inputs": {"name": "Mira"},
            **TASK,
        },
    ),
    "music": (
        f"{GENERATION}music/generate",
        {
            "type": "VOCAL_SONG",
            "description": "rain on a roof",
            "styles": {"JAZZ": "slow jazz", "WARM": "warm", "PIANO": "piano"},
            "lyrics": "la\nla",
            "reference_audio": SOUND,
            "audio_name": "Roof",
            "gender": "f",
            **TASK,
        },
    ),
    "text-to-audio": (
        f"{GENERATION}text-to-audio",
        {"text": "Hello", "voice_id": 66, "speed": "1.0", "vol": "4.5", **TASK},
    ),
    "speech-recognize": (
        f"{GENERATION}speech-recognize",
        {"audio_url": SOUND, "audio_base64": "data:audio/wav;base64,UklGRg==", "language": "en", **TASK},
    ),
    "podcast": (
        f"{GENERATION}podcast/generate/text",
        {"query": "tides", "speakers": ["spk-en-07", "spk-en-08"], "language": "ja", "mode": "debate", **TASK},
    ),
    "podcast-voice": (
        f"{GENERATION}podcast/generate/Ab12Cd34/audio",
        {
            "scripts": [
                {"speaker_id": "spk-en-07", "content": "Hello", "speaker_name": "Mira"},
                {"speaker_id": "spk-en-08", "content": "Hi"},
            ],
            **TASK,
        },
    ),
    "image-bg-change": (
        f"{GENERATION}image-bg-change",
        {"img_url": PICTURE, "prompt": "a beach", "bg_color": "#FFaa00", **TASK},
    ),
    "image-bg-remove": (f"{GENERATION}image-bg-remove", {"img_url": PICTURE, **TASK}),
    "image-expand": (
        f"{GENERATION}image-expand",
        {
            "img_url": PICTURE,
            "original_image_size": "10x20",
            "canvas_size": "30x40",
            "original_image_location": "5,5",
            **TASK,
        },
    ),
    "image-face-swap": (
        f"{GENERATION}image-face-swap",
        {"img_url": PICTURE, "face_img_url": OTHER_PICTURE, **TASK},
    ),
    "image-reframe": (f"{GENERATION}image-reframe", {"img_url": PICTURE, "aspect_ratio": "16:9", **TASK}),
    "image-repair": (f"{GENERATION}image-repair", {"img_url": PICTURE, **TASK}),
    "image-text-erase": (f"{GENERATION}image-text-erase", {"img_url": PICTURE, "model": "ERASER_1", **TASK}),
    "image-translate": (
        f"{GENERATION}image-translate",
        {"img_url": PICTURE, "target_lang": "en", "type": "image", **TASK},
    ),
    "image-upscale": (f"{GENERATION}image-upscale", {"img_url": PICTURE, **TASK}),
    "image-to-prompt": (
        f"{GENERATION}image-to-prompt",
        {"img_url": PICTURE, "image_size": 320, "language": "en", "model": "GPT_4O"},
    ),
    "video-anime-replace": (
        f"{GENERATION}video-anime-replace",
        {"video_url": VIDEO, "image_url": PICTURE, "type": "move", "resolution": "580p", **TASK},
    ),
    "video-background-remove": (
        f"{GENERATION}video-background-remove",
        {"video_url": VIDEO, "background_color": "TRANSPARENT", **TASK},
    ),
    "video-extend": (
        f"{GENERATION}video-extend",
        {
            "video_url": VIDEO,
            "prompt": "it rains",
            "style": "3d_animation",
            "resolution": "540p",
            "duration": 8,
            "caller_id": 0,
        },
    ),
    "video-face-change": (f"{GENERATION}video-face-change", {"video_url": VIDEO, "image_url": PICTURE, **TASK}),
    "video-lips-change": (f"{GENERATION}video-lips-change", {"video_url": VIDEO, "audio_url": SOUND, **TASK}),
    "video-magic": (f"{GENERATION}video-magic", {"video_url": VIDEO, "video_style": "anime_style_4", **TASK}),
    "video-merge": (
        f"{GENERATION}video-merge",
        {"video_urls": [VIDEO, "https://example.com/w.mp4"], "caller_id": 0},
    ),
    "video-subtitle-erase": (
        f"{GENERATION}video-subtitle-erase",
        {"video_url": VIDEO, "rect_vo_list": CORNERS, **TASK},
    ),
    "video-subtitle-translate": (
        f"{GENERATION}video-subtitle-translate",
        {"video_url": VIDEO, "target_language": "ja", **TASK},
    ),
    "video-upscaler": (f"{GENERATION}video-upscaler", {"video_url": VIDEO, "resolution": "4k", **TASK}),
    "video-watermark-remove": (
        f"{GENERATION}video-watermark-remove",
        {"video_url": VIDEO, "rect_vo_list": CORNERS, **TASK},
    ),
    "deep-research": (
        f"{GENERATION}deep_research",
        {
            "input": "tides",
            "input_resource": [{"type": "document", "uri": "https://example.com/d.pdf", "pages": [1, 2]}],
            "mode": "DEEP_RESEARCH_MAX",
            "previous_interaction_id": "int_4",
            "thinking_summaries": "auto",
            "collaborative_planning": False,
            "visualization": "auto",
            "tools": [
                {"type": "GOOGLE_SEARCH"},
                {"type": "FILE_SEARCH", "file_search_store_names": ["fileSearchStores/demo-1"]},
            ],
            **TASK,
        },
    ),
    "corpus-upload": (
        f"{GENERATION}file_search_stores",
        {"file_url": "https://example.com/d.pdf", "file_name": "d.pdf"},
    ),
    "chat": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "model": "GLM_5",
            "max_tokens": 1,
            "temperature": 0,
            "top_p": 0.5,
            "presence_penalty": -2,
            "frequency_penalty": 2,
            "seed": -7,
            "n": 2,
        },
    ),
}

LEAST: dict[str, dict[str, Any]] = {
    "text-to-image": {"prompt": "hills", "model": "WERYAI_IMAGE_2_0", "aspect_ratio": "1:1"},
    "image-to-image": {
        "prompt": "hills",
        "model": "WERYAI_IMAGE_2_0",
        "aspect_ratio": "1:1",
        "images": [PICTURE],
    },
    "text-to-video": {"prompt": "hills", "model": "WERYAI_VIDEO_1_0", "duration": 5, "aspect_ratio": "16:9"},
    "image-to-video": {
        "prompt": "hills",
        "model": "WERYAI_VIDEO_1_0",
        "duration": 5,
        "aspect_ratio": "16:9",
        "image": PICTURE,
    },
    "multi-image-to-video": {
        "prompt": "hills",
        "model": "WERYDANCE_2_0",
        "duration": 5,
        "images": [PICTURE, OTHER_PICTURE],
    },
    "first-last-image-to-video": {
        "prompt": "hills",
        "model": "WERYDANCE_2_0",
        "duration": 5,
        "first_pic_url": PICTURE,
        "end_pic_url": OTHER_PICTURE,
    },
    "almighty-reference-to-video": {"model": "WERYDANCE", "duration": 5, "images": [PICTURE]},
    "effect-template": {"template_config_id": 7, "image_url": [PICTURE]},
    "music": {"type": "VOCAL_SONG", "description": "rain"},
    "text-to-audio": {"text": "Hello there", "voice_id": 81},
    "speech-recognize": {"audio_url": SOUND},
    "podcast": {"query": "tides", "speakers": ["spk-en-07"], "language": "en", "mode": "quick"},
    "podcast-voice": {},
    "image-translate": {"img_url": PICTURE, "target_lang": "en"},
    "video-extend": {"video_url": VIDEO, "prompt": "it goes on"},
    "video-subtitle-erase": {"video_url": VIDEO},
    "deep-research": {"input": "Why do boats float?"},
    "chat": {"messages": [{"role": "user", "content": "hi"}], "model": "GPT_4O"},
}


def encoded(request: Any) -> HttpRequest:
    """Return the HTTP request of a request."""
    return WeryAIProvider().encode(request)


def test_requests_each_class_has_a_wire_form() -> None:
    """Each request class has its wire form in this file, and an endpoint of its own."""
    assert set(REQUESTS) == set(SENT) == set(EVERYTHING) == set(NEEDED)
    assert set(LEAST) | set(LOCAL) <= set(REQUESTS)
    assert len({cls.endpoint for cls in REQUESTS.values()}) == len(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_request_samples_have_a_value_for_each_field(name: str) -> None:
    """The filled sample has a value for each field, except those that exclude each other."""
    assert set(EVERYTHING[name]) == field_names(name) - EXCLUDED.get(name, set())


@pytest.mark.parametrize("name", REQUESTS)
def test_encode_full_request_has_its_documented_wire_form(name: str) -> None:
    """Method, path, names, values and their types are the contract's, and nothing else is sent."""
    request = encoded(fullest(name))
    path, body = SENT[name]
    assert (request.method, request.path, request.host, request.form) == ("POST", path, "main", None)
    assert request.body is not None
    found = json.loads(request.body)
    assert found == body
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in body.items()}


@pytest.mark.parametrize("name", REQUESTS)
def test_encode_smallest_request_sends_no_null_and_nothing_empty(name: str) -> None:
    """A field that is left out is not sent, so that the provider's own default applies."""
    body = sent(smallest(name))
    assert body.items() >= LEAST.get(name, {}).items()
    assert all(value not in (None, [], {}) for value in body.values())
    assert set(body) <= set(SENT[name][1])


@pytest.mark.parametrize("name", LEAST)
def test_encode_smallest_request_sends_needed_fields_and_defaults(name: str) -> None:
    """A required field with a default is written out, so that a request keeps its meaning."""
    assert sent(smallest(name)) == LEAST[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_encode_extra_is_sent_unchanged_beside_the_fields(name: str) -> None:
    """Parameters without a field are sent unchanged, null and nested ones too."""
    extra = {"brand_new": {"deep": [1, None, {"er": 2.5}]}, "nothing": None}
    assert sent(smallest(name, extra=extra)) == {**sent(smallest(name)), **extra}


EVERY_SPELLING = [
    (name, field.name, spelling)
    for name, cls in REQUESTS.items()
    for field in attrs.fields(cls)
    for spelling in sorted(wire_names(field))
]


@pytest.mark.parametrize(("name", "field", "spelling"), EVERY_SPELLING)
def test_request_extra_with_either_name_of_a_field_is_refused(name: str, field: str, spelling: str) -> None:
    """Each value has one place: `extra` takes neither the field's name nor its name on the wire."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, extra={spelling: 1})
    message = str(caught.value)
    assert f"extra[{spelling!r}]: {REQUESTS[name].__name__} has a field for it" in message
    fields = {one.name for one in attrs.fields(REQUESTS[name]) if spelling in wire_names(one)}
    assert any(f"write {one}=... instead" in message for one in fields)
    assert field in fields


def test_request_type_known_name_returns_class() -> None:
    """Each name has its class, and the error about an unknown name lists all names."""
    assert all(request_type(name) is cls for name, cls in REQUESTS.items())
    for unknown in ("text_to_image", "", None, 7, ["chat"]):
        with pytest.raises(ConfigurationError) as caught:
            request_type(unknown)
        assert f"unknown type {unknown!r}; known types are: text-to-image, " in str(caught.value)
        assert all(name in str(caught.value) for name in REQUESTS)


@pytest.mark.parametrize(
    ("size", "point"),
    [
        ("1024x768", "128,0"),
        (" 1024 X 768 ", " 128 , 0 "),
        ((1024, 768), (128, 0)),
        ([1024, 768], [128, 0]),
        (Size(1024, 768), Point(128, 0)),
    ],
    ids=str,
)
def test_encode_size_and_point_are_texts(size: Any, point: Any) -> None:
    """Pixels are sent as "WxH" and "x,y", in whichever form they were given."""
    request = ImageExpand(image_url=PICTURE, image_size=size, canvas_size=size, image_location=point)
    assert (request.image_size, request.image_location) == (Size(1024, 768), Point(128, 0))
    body = sent(request)
    assert body["original_image_size"] == body["canvas_size"] == "1024x768"
    assert body["original_image_location"] == "128,0"


@pytest.mark.parametrize("cls", [VideoSubtitleErase, VideoWatermarkRemove])
@pytest.mark.parametrize(
    "region", [(0, 0.5, 1, 0.75), [0, 0.5, 1, 0.75], {"left": 0, "top": 0.5, "right": 1, "bottom": 0.75}], ids=str
)
def test_encode_region_has_two_corners(cls: Any, region: Any) -> None:
    """Four numbers or an object become the rectangle's two corners."""
    corners = {"lt_x": 0, "lt_y": 0.5, "rb_x": 1, "rb_y": 0.75}
    assert sent(cls(video_url=VIDEO, regions=[region]))["rect_vo_list"] == [corners]


@pytest.mark.parametrize("value", [True, False])
def test_encode_generate_audio_is_text_for_one_endpoint_only(value: bool) -> None:
    """Almighty reference-to-video gets "true" or "false", every other endpoint a boolean."""
    almighty = sent(AlmightyReferenceToVideo(image_urls=[PICTURE], generate_audio=value))["generate_audio"]
    assert almighty == ("true" if value else "false")
    for name in ("text-to-video", "image-to-video", "multi-image-to-video", "first-last-image-to-video"):
        assert sent(smallest(name, generate_audio=value))["generate_audio"] is value


@pytest.mark.parametrize(("value", "text"), [(1, "1.0"), (0.75, "0.75"), (4.0, "4.0"), (0, "0.0"), (1000, "1000.0")])
def test_encode_speed_and_volume_are_decimal_texts(value: float, text: str) -> None:
    """Numbers are sent as texts with a decimal point."""
    body = sent(TextToAudio(text="Hello", speed=value, volume=value))
    assert (body["speed"], body["vol"]) == (text, text)


@pytest.mark.parametrize(
    ("styles", "wire"),
    [
        (["POP"], {"POP": "pop"}),
        (("JAZZ", "FOLK", "EPIC"), {"JAZZ": "jazz", "FOLK": "folk", "EPIC": "epic"}),
        ({"POP": "pop", "HAPPY": "happy", "GUITAR": "guitar"}, {"POP": "pop", "HAPPY": "happy", "GUITAR": "guitar"}),
        ({"JAZZ": "slow jazz, like rain"}, {"JAZZ": "slow jazz, like rain"}),
        ([" jazz", "Electronic_Sound"], {"JAZZ": "jazz", "ELECTRONIC_SOUND": "electronic_sound"}),
        ({"jazz": "cool"}, {"JAZZ": "cool"}),
        ({"JAZZ": None}, {"JAZZ": "jazz"}),
        (["A_STYLE_OF_TOMORROW"], {"A_STYLE_OF_TOMORROW": "a_style_of_tomorrow"}),
    ],
    ids=str,
)
def test_encode_styles_are_words_by_name(styles: Any, wire: dict[str, str]) -> None:
    """Names in capitals, of any category and several of one, have words: those given, else the name in lower case."""
    assert sent(Music(styles=styles))["styles"] == wire


@pytest.mark.parametrize("styles", [[], (), {}, None], ids=str)
def test_encode_no_styles_are_not_sent(styles: Any) -> None:
    """An empty list or mapping counts as left out."""
    assert "styles" not in sent(Music(description="rain", styles=styles))


@pytest.mark.parametrize("name", ["text-to-video", "image-to-video"])
@pytest.mark.parametrize("model", ["PIKA_2_2", "KLING_V2_6_PRO", "WAN_2_6", "PIXVERSE_V6", "HAILUO_2_3_STA_FAST"])
def test_encode_default_ratio_is_dropped_for_models_without_choice(name: str, model: str) -> None:
    """A ratio that was not given is not sent to a model without a list of ratios; one that was given is."""
    assert "aspect_ratio" not in sent(smallest(name, model=model))
    assert sent(smallest(name, model=model, aspect_ratio="1:1"))["aspect_ratio"] == "1:1"
    assert sent(smallest(name, model="VEO_3_1"))["aspect_ratio"] == "16:9"


def test_encode_chat_text_is_a_user_message() -> None:
    """A single text, an object and a `Message` give the same messages."""
    for messages in ("hi", [Message("user", "hi")], [{"role": "user", "content": "hi"}]):
        assert sent(Chat(messages=messages))["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "name", ["text-to-video", "image-to-video", "multi-image-to-video", "first-last-image-to-video"]
)
def test_encode_ratio_none_is_not_sent(name: str) -> None:
    """Models without a list of ratios take none: None sends none, whatever the default is."""
    assert "aspect_ratio" not in sent(smallest(name, aspect_ratio=None))


@pytest.mark.parametrize(
    ("task_id", "segment"),
    [("Ab12Cd34", "Ab12Cd34"), ("a/b", "a%2Fb"), ("../x", "..%2Fx"), ("a?b#c", "a%3Fb%23c"), ("é{x}", "%C3%A9%7Bx%7D")],
)
def test_encode_id_in_path_is_one_segment(task_id: str, segment: str) -> None:
    """An id never leads to another path, and the body does not repeat it."""
    request = encoded(PodcastVoice(task_id=task_id))
    assert (request.path, request.body) == (f"/v1/generation/podcast/generate/{segment}/audio", b"{}")


def test_encode_research_objects_are_sent_unchanged() -> None:
    """Nested objects are sent whole."""
    tools = [{"type": "NEW", "inner": {"list": [1, {"a": None}]}}]
    assert sent(DeepResearch(input="x", tools=tools))["tools"] == tools


def test_prompt_inputs_are_sent_as_an_object() -> None:
    """A template's variables are sent as texts by key, and none are sent if none are given."""
    given = sent(EffectTemplate(template_config_id=1, image_urls=[PICTURE], prompt_inputs={"a": "b"}))
    assert given["prompt_inputs"] == {"a": "b"}


@pytest.mark.parametrize("name", LOCAL)
def test_encode_request_with_local_file_is_refused(name: str) -> None:
    """A request that still has a local file cannot be encoded: the file is uploaded first."""
    with pytest.raises(ConfigurationError):
        encoded(smallest(name, **LOCAL[name]))


@pytest.mark.parametrize("name", LOCAL)
def test_with_uploads_replaces_files_by_urls(name: str) -> None:
    """With URLs in place of its files, a request is sent like one that had URLs from the beginning."""
    request = smallest(name, **LOCAL[name])
    media = [field for field in attrs.fields(type(request)) if wire_of(field).media and getattr(request, field.name)]
    urls = {
        field.name: (PICTURE,) * len(value) if isinstance(value := getattr(request, field.name), tuple) else PICTURE
        for field in media
    }
    uploaded = request.with_uploads(urls, dict.fromkeys(urls, 5000))
    body = sent(uploaded)
    for field in media:
        value = urls[field.name]
        assert body[wire_of(field).name or field.name] == (list(value) if isinstance(value, tuple) else value)
    assert type(uploaded) is type(request)


@pytest.mark.parametrize(
    ("size", "kilobytes"), [(0, 1), (1, 1), (1024, 1), (1025, 2), (5000, 5), (10 * 1024**2, 10240)]
)
def test_with_uploads_fills_in_size_of_picture(size: int, kilobytes: int) -> None:
    """Image-to-prompt gets at least one kilobyte, rounded up, and a size that was given stays."""
    request = ImageToPrompt(image_url=File(b"\xff\xd8\xff"))
    assert sent(request.with_uploads({"image_url": PICTURE}, {"image_url": size}))["image_size"] == kilobytes
    stated = ImageToPrompt(image_url=File(b"\xff\xd8\xff"), image_kilobytes=77)
    assert sent(stated.with_uploads({"image_url": PICTURE}, {"image_url": size}))["image_size"] == 77


SLOW = {"image-to-prompt": 120.0, "corpus-upload": 180.0, "chat": 600.0}


@pytest.mark.parametrize("name", REQUESTS)
def test_encode_only_direct_requests_have_a_timeout(name: str) -> None:
    """A task is accepted quickly. Only a direct request has a timeout of its own."""
    assert encoded(smallest(name)).timeout == SLOW.get(name)


def test_encode_research_with_model_is_a_direct_request() -> None:
    """With a model the response is the report, and the request may take ten minutes."""
    assert encoded(DeepResearch(input="x", model="GEMINI_25_PRO")).timeout == 600.0
    assert encoded(DeepResearch(input="x", mode="DEEP_RESEARCH")).timeout is None


@pytest.mark.parametrize("name", REQUESTS)
def test_request_derived_values_come_from_the_request_alone(name: str) -> None:
    """Label, task count, model and timing key come from the request, and each endpoint has its own timing keys."""
    request = fullest(name)
    assert 0 < len(request.label) <= 50
    assert request.timing_key[0] == REQUESTS[name].endpoint
    assert request.model_name == EVERYTHING[name].get("model")
    count = EVERYTHING[name].get("image_number") or EVERYTHING[name].get("video_number") or 1
    assert request.task_count == count
    assert request.timing_key == fullest(name, extra={"brand_new": 1}).timing_key


def test_image_to_video_list_of_pictures_is_refused() -> None:
    """The contract has one URL, not a list."""
    with pytest.raises(ConfigurationError):
        ImageToVideo(prompt="hills", image_url=[PICTURE])  # type: ignore[arg-type]
