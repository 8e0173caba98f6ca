"""Values that the contract rules out are refused before anything is sent, and all others pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiowery import File, ScriptLine
from aiowery.errors import ConfigurationError
from aiowery.weryai import REQUESTS, Message, Point, Rectangle, Size
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.request_samples import PICTURE, SOUND, VIDEO, smallest

PROMPTED = (
    "text-to-image",
    "image-to-image",
    "text-to-video",
    "image-to-video",
    "multi-image-to-video",
    "first-last-image-to-video",
)
NUMBERED = (*PROMPTED[2:], "almighty-reference-to-video")
TASKS = [name for name, cls in REQUESTS.items() if "webhook_url" in attrs.fields_dict(cls)]
CALLED = [name for name, cls in REQUESTS.items() if "caller_id" in attrs.fields_dict(cls)]

BLANK = "a text that is not blank"
STRING = "must be a string"

# Each row: request, field, value, and the part of the message that names the valid values.
REFUSED: list[tuple[str, str, Any, str]] = [
    *[(name, "prompt", value, BLANK) for name in (*PROMPTED, "video-extend") for value in ("", " \n")],
    *[(name, "prompt", "x" * 2001, "at most 2000") for name in (*PROMPTED, "image-bg-change")],
    ("almighty-reference-to-video", "prompt", "x" * 501, "at most 500"),
    *[(name, "negative_prompt", "x" * 1001, "at most 1000") for name in PROMPTED],
    *[(name, "prompt", 7, STRING) for name in PROMPTED],
    *[(name, "model", value, BLANK) for name in (*PROMPTED, "almighty-reference-to-video", "chat") for value in ("",)],
    *[(name, "model", 7, STRING) for name in (*PROMPTED, "image-text-erase", "image-to-prompt", "deep-research")],
    *[(name, "aspect_ratio", "  ", BLANK) for name in ("text-to-image", "image-to-image", "image-reframe")],
    *[(name, "aspect_ratio", 1.5, STRING) for name in (*PROMPTED, "effect-template", "image-reframe")],
    *[(name, "image_number", 0, ">= 1") for name in PROMPTED[:2]],
    *[(name, "video_number", value, ">= 1") for name in NUMBERED for value in (0, -1, "2", 1.0, True)],
    *[(name, "duration", value, ">= 1") for name in PROMPTED[2:] for value in (0, 5.0, "5", True)],
    *[("almighty-reference-to-video", "duration", value, ">= 4 and <= 15") for value in (3, 16, "5")],
    ("video-extend", "duration", 0, ">= 1"),
    *[(name, "use_web_search", 1, "True or False") for name in PROMPTED[:2]],
    *[(name, "generate_audio", "true", "True or False") for name in NUMBERED],
    ("effect-template", "background_music", 0, "True or False"),
    ("deep-research", "collaborative_planning", "no", "True or False"),
    ("effect-template", "template_config_id", "12", "an integer"),
    ("effect-template", "template_config_id", -1, ">= 0"),
    *[(name, "caller_id", value, "an integer >= 0") for name in CALLED for value in (-1, "me", True)],
    *[(name, "webhook_url", "https://example.com/" + "x" * 2000, "at most 2000") for name in TASKS],
    ("text-to-audio", "text", "x" * 501, "at most 500"),
    ("text-to-audio", "text", " ", BLANK),
    ("text-to-audio", "voice_id", "81", "an integer"),
    *[("text-to-audio", name, value, "a number from 0") for name in ("speed", "volume") for value in ("1.0", -1, 1001)],
    ("podcast", "query", "x" * 2001, "at most 2000"),
    ("podcast", "query", "", BLANK),
    ("podcast-voice", "task_id", "", BLANK),
    ("music", "mode", "", BLANK),
    ("image-translate", "target_language", "", BLANK),
    ("video-subtitle-translate", "target_language", " ", BLANK),
    *[
        ("image-bg-change", "background_color", value, "'#FFFFFF'")
        for value in ("#FFF", "FFFFFF", "#GGGGGG", "#FFFFFF0", "#FFFFFF\n", "white", 7)
    ],
    *[("image-to-prompt", "image_kilobytes", value, ">= 1") for value in (0, -5, 1.5, "320", True)],
    ("corpus-upload", "file_url", "", BLANK),
    *[("chat", "max_tokens", value, ">= 1") for value in (0, 1.5)],
    ("chat", "n", 0, ">= 1"),
    *[("chat", "temperature", value, "a number from 0 to 2") for value in (-0.1, 2.1, "1", True, float("nan"))],
    *[("chat", "top_p", value, "a number from 0 to 1") for value in (-0.1, 1.1)],
    *[
        ("chat", name, value, "a number from -2 to 2")
        for name in ("presence_penalty", "frequency_penalty")
        for value in (-2.1, 2.1)
    ],
]


@pytest.mark.parametrize(
    ("name", "field", "value", "needed"),
    REFUSED,
    ids=[f"{name}-{field}-{value!r:.12}" for name, field, value, _ in REFUSED],
)
def test_request_value_outside_bounds_is_refused_with_fix(name: str, field: str, value: Any, needed: str) -> None:
    """The error has class, field and value, and names the valid values."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, **{field: value})
    message = str(caught.value)
    assert message.endswith("nothing was sent")
    assert f"{REQUESTS[name].__name__}.{field} " in message
    assert (repr(value) if len(repr(value)) < 100 else repr(value[:30])) in message
    assert needed in message


# Each row: request, field, too many or too few items, and a text of the message.
MISCOUNTED: list[tuple[str, str, Any, str]] = [
    ("image-to-image", "image_urls", [], "at least 1"),
    ("multi-image-to-video", "image_urls", [], "at least 1 and at most 3"),
    ("multi-image-to-video", "image_urls", [PICTURE] * 4, "at least 1 and at most 3"),
    ("almighty-reference-to-video", "image_urls", [PICTURE] * 10, "at most 9"),
    ("almighty-reference-to-video", "video_urls", [VIDEO] * 4, "at most 3"),
    ("almighty-reference-to-video", "audio_urls", [SOUND] * 4, "at most 3"),
    ("effect-template", "image_urls", [], "at least 1"),
    ("podcast", "speakers", [], "at least 1 and at most 2"),
    ("podcast", "speakers", ["a", "b", "c"], "at least 1 and at most 2"),
    ("video-merge", "video_urls", [VIDEO], "at least 2 and at most 30"),
    ("video-merge", "video_urls", [VIDEO] * 31, "at least 2 and at most 30"),
    ("chat", "messages", [], "at least 1 and at most 50"),
    ("chat", "messages", [Message("user", "x")] * 51, "at least 1 and at most 50"),
]


@pytest.mark.parametrize(
    ("name", "field", "value", "needed"),
    MISCOUNTED,
    ids=[f"{name}-{field}-{len(value)}" for name, field, value, _ in MISCOUNTED],
)
def test_request_number_of_items_outside_bounds_is_refused(name: str, field: str, value: Any, needed: str) -> None:
    """The error has class and field, the number of items and the limit."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, **{field: value})
    assert f"{REQUESTS[name].__name__}.{field} must have " in str(caught.value)
    assert str(caught.value).endswith(f" items, got {len(value)}; nothing was sent")
    assert needed in str(caught.value)


# Each row: request, its fields, and the pieces of the message.
TOGETHER: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("image-bg-change", {"prompt": None}, ("ImageBackgroundChange", "prompt or background_color")),
    ("image-bg-change", {"prompt": " "}, ("ImageBackgroundChange", "prompt or background_color")),
    ("music", {"description": None}, ("Music", "description or styles")),
    ("music", {"description": "", "styles": []}, ("Music", "description or styles")),
    ("music", {"description": "", "styles": {}}, ("Music", "description or styles")),
    ("music", {"reference_audio_url": SOUND}, ("Music.reference_audio_url needs a title", "add audio_name")),
    ("music", {"reference_audio_url": SOUND, "audio_name": " "}, ("reference_audio_url", "audio_name")),
    ("music", {"mode": "ONLY_MUSIC", "lyrics": "la"}, ("Music.lyrics belongs to songs", "VOCAL_SONG")),
    ("music", {"mode": "ONLY_MUSIC", "gender": "f"}, ("Music.gender belongs to songs", "VOCAL_SONG")),
    ("speech-recognize", {"audio_url": None}, ("SpeechRecognize", "audio_url or audio_base64")),
    ("speech-recognize", {"audio_url": None, "audio_base64": ""}, ("SpeechRecognize", "audio_url or audio_base64")),
    ("podcast", {"mode": "debate"}, ("Podcast.speakers has 1 ids", "exactly 2")),
    ("podcast", {"speakers": [" "]}, ("Podcast.speakers is", "client.speakers()")),
    ("podcast", {"speakers": [""]}, ("Podcast.speakers is", "client.speakers()")),
    ("podcast", {"speakers": [7]}, ("Podcast.speakers is", "client.speakers()")),
    (
        "almighty-reference-to-video",
        {"image_urls": [], "audio_urls": [SOUND]},
        ("AlmightyReferenceToVideo.audio_urls is given alone", "add image_urls or video_urls"),
    ),
    (
        "almighty-reference-to-video",
        {"image_urls": [], "prompt": "a boat"},
        ("AlmightyReferenceToVideo: give image_urls or video_urls", "TextToVideo"),
    ),
    *[
        (
            "almighty-reference-to-video",
            {"model": model, "duration": 4},
            (f"AlmightyReferenceToVideo.duration must be at least 5 for {model}, got 4", "WERYDANCE"),
        )
        for model in ("SEEDANCE_2_0", "SEEDANCE_2_0_FAST_OS")
    ],
    (
        "almighty-reference-to-video",
        {"image_urls": [PICTURE] * 8, "video_urls": [VIDEO] * 3, "audio_urls": [SOUND] * 2},
        ("AlmightyReferenceToVideo has 13 files", "at most 12"),
    ),
    ("deep-research", {"input": None}, ("DeepResearch", "input or input_resource")),
    ("deep-research", {"input": " "}, ("DeepResearch", "input or input_resource")),
    ("deep-research", {"mode": "DEEP_RESEARCH", "model": "GEMINI_25_PRO"}, ("DeepResearch", "mode and model exclude")),
    (
        "image-to-prompt",
        {"image_kilobytes": None},
        ("ImageToPrompt.image_kilobytes is left out", PICTURE, "in KB"),
    ),
]


@pytest.mark.parametrize(("name", "fields", "pieces"), TOGETHER, ids=str)
def test_request_conflicting_fields_are_refused_together(
    name: str, fields: dict[str, Any], pieces: tuple[str, ...]
) -> None:
    """Either-or, all-or-none and sums over several fields are refused with the fix."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, **fields)
    for piece in pieces:
        assert piece in str(caught.value)
    assert str(caught.value).endswith("nothing was sent")


# Each row: request, and fields at the very edge of what is allowed.
ALLOWED: list[tuple[str, dict[str, Any]]] = [
    *[(name, {"prompt": "x" * 2000, "negative_prompt": "y" * 1000}) for name in PROMPTED],
    *[(name, {"model": "A_MODEL_OF_TOMORROW", "resolution": "8k", "aspect_ratio": "16:9(4k)"}) for name in PROMPTED],
    *[(name, {"duration": 1, "video_number": 50}) for name in PROMPTED[2:]],
    ("multi-image-to-video", {"image_urls": [PICTURE] * 3}),
    ("image-to-image", {"image_urls": [PICTURE] * 40}),
    *[("almighty-reference-to-video", {"duration": seconds, "prompt": "x" * 500}) for seconds in (4, 15)],
    *[
        ("almighty-reference-to-video", {"model": model, "duration": 4})
        for model in ("WERYDANCE", "WERYDANCE_2_0", "WERYDANCE_2_0_MINI")
    ],
    ("almighty-reference-to-video", {"model": "SEEDANCE_2_0", "duration": 5}),
    ("almighty-reference-to-video", {"image_urls": (), "video_urls": [VIDEO]}),
    ("almighty-reference-to-video", {"prompt": ""}),
    (
        "almighty-reference-to-video",
        {"image_urls": [PICTURE] * 6, "video_urls": [VIDEO] * 3, "audio_urls": [SOUND] * 3},
    ),
    ("almighty-reference-to-video", {"image_urls": [PICTURE] * 9, "audio_urls": [SOUND] * 3}),
    ("almighty-reference-to-video", {"video_urls": [VIDEO], "audio_urls": [SOUND]}),
    ("almighty-reference-to-video", {"resolution": "1080p", "aspect_ratio": "4:3"}),
    ("effect-template", {"template_config_id": 2**62}),
    ("music", {"description": None, "styles": ["A_MOOD_OF_TOMORROW"]}),
    ("music", {"styles": {"POP": "x" * 1000}}),
    ("music", {"mode": "A_MODE_OF_TOMORROW", "gender": "x"}),
    ("music", {"mode": "ONLY_MUSIC", "reference_audio_url": SOUND, "audio_name": "Rain"}),
    ("text-to-audio", {"text": "x" * 500, "voice_id": 9999}),
    ("speech-recognize", {"audio_url": None, "audio_base64": "UklGRg=="}),
    ("podcast", {"query": "x" * 2000, "language": "fr", "mode": "shout"}),
    ("podcast", {"mode": "debate", "speakers": ["a", "b"]}),
    ("image-bg-change", {"prompt": None, "background_color": "#00ff99"}),
    ("image-reframe", {"aspect_ratio": "7:5"}),
    ("image-translate", {"target_language": "tlh", "mode": "sound"}),
    ("image-expand", {"image_location": "-20,-5"}),
    ("video-anime-replace", {"mode": "dance", "resolution": "8k"}),
    ("video-background-remove", {"background_color": "PINK"}),
    ("video-extend", {"style": "noir", "resolution": "8k", "duration": 30}),
    ("video-magic", {"video_style": "realistic_99"}),
    ("video-merge", {"video_urls": [VIDEO] * 2}),
    ("video-merge", {"video_urls": [VIDEO] * 30}),
    ("video-subtitle-translate", {"target_language": "tlh"}),
    ("video-upscaler", {"resolution": "16k"}),
    ("deep-research", {"input": None, "input_resource": [{"type": "text", "text": "tides"}]}),
    ("deep-research", {"model": "A_MODEL_OF_TOMORROW", "visualization": "none", "thinking_summaries": "all"}),
    ("deep-research", {"mode": "DEEP_RESEARCH_ULTRA"}),
    ("chat", {"messages": [Message("wizard", "x")] * 50, "model": "A_MODEL_OF_TOMORROW"}),
    ("chat", {"temperature": 2, "top_p": 1, "presence_penalty": 2, "frequency_penalty": -2, "max_tokens": 1, "n": 1}),
    ("chat", {"temperature": 0.0, "top_p": 0.0, "presence_penalty": -2.0, "frequency_penalty": 2.0}),
    ("chat", {"messages": [Message("user", "")]}),
    ("image-to-prompt", {"image_kilobytes": 1}),
    *[(name, {"caller_id": 2**62}) for name in CALLED],
]


@pytest.mark.parametrize(("name", "fields"), ALLOWED, ids=lambda value: str(value)[:60])
def test_encode_value_on_bound_or_undocumented_choice_is_sent(name: str, fields: dict[str, Any]) -> None:
    """A value on a bound passes, and so does an undocumented model, ratio, style or mode."""
    request = WeryAIProvider().encode(smallest(name, **fields))
    assert request.body is not None
    assert json.loads(request.body)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("image-to-image", "image_urls"),
        ("almighty-reference-to-video", "video_urls"),
        ("video-merge", "video_urls"),
        ("podcast", "speakers"),
        ("podcast-voice", "script"),
        ("deep-research", "input_resource"),
        ("deep-research", "tools"),
        ("video-subtitle-erase", "regions"),
    ],
)
@pytest.mark.parametrize("value", [PICTURE, b"bytes", {"type": "text"}, 7], ids=str)
def test_request_single_value_in_list_field_is_refused(name: str, field: str, value: Any) -> None:
    """A single text would become a list of letters: the error shows the missing brackets."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, **{field: value})
    assert repr(value) in str(caught.value)
    assert "[...]" in str(caught.value)
    assert str(caught.value).endswith("nothing was sent")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("image-expand", "image_size", "512"),
        ("image-expand", "image_size", "512x"),
        ("image-expand", "image_size", "0x512"),
        ("image-expand", "canvas_size", (512, 0)),
        ("image-expand", "canvas_size", (512.0, 512)),
        ("image-expand", "canvas_size", (True, 512)),
        ("image-expand", "canvas_size", (1, 2, 3)),
        ("image-expand", "canvas_size", None),
        ("image-expand", "image_location", "1x2"),
        ("image-expand", "image_location", ("1", "2")),
        ("image-expand", "image_location", 7),
        ("video-subtitle-erase", "regions", [(0, 0, 1)]),
        ("video-subtitle-erase", "regions", [{"left": 0, "top": 0}]),
        ("video-subtitle-erase", "regions", [{"lt_x": 0, "lt_y": 0, "rb_x": 1, "rb_y": 1}]),
        ("video-subtitle-erase", "regions", [7]),
        ("music", "styles", "JAZZ"),
        ("music", "styles", {"Genre": "POP"}),
        ("music", "styles", ["emotion"]),
        ("music", "styles", {"POP": ""}),
        ("music", "styles", {"POP": 7}),
        ("music", "styles", {"POP": "x" * 1001}),
        ("music", "styles", {7: "pop"}),
        ("music", "styles", [["POP"]]),
        ("music", "styles", [" "]),
        ("music", "styles", 7),
        ("podcast-voice", "script", ["Hello"]),
        ("podcast-voice", "script", [{"speaker_id": "a"}]),
        ("podcast-voice", "script", [{"speaker_id": "a", "content": " "}]),
        ("podcast-voice", "script", [ScriptLine("", "Hello")]),
        ("podcast-voice", "script", [ScriptLine("a", 7)]),  # type: ignore[arg-type]
        ("chat", "messages", [{"role": "user"}]),
        ("chat", "messages", [5]),
        ("chat", "messages", [7]),
        ("chat", "messages", [{"role": "user", "content": None}]),
        ("chat", "messages", [{"role": "", "content": "x"}]),
        ("deep-research", "tools", ["GOOGLE_SEARCH"]),
        ("deep-research", "input_resource", [{7: "text"}]),
        ("effect-template", "prompt_inputs", ["a"]),
        ("effect-template", "prompt_inputs", {7: "text"}),
        ("text-to-image", "extra", ["seed"]),
        ("text-to-image", "extra", {7: "seed"}),
    ],
    ids=str,
)
def test_request_part_of_wrong_form_raises_configuration_error(name: str, field: str, value: Any) -> None:
    """Any value in a structured field raises ConfigurationError, never TypeError."""
    with pytest.raises(ConfigurationError) as caught:
        smallest(name, **{field: value})
    assert len(str(caught.value)) > 20
    assert str(caught.value).endswith("nothing was sent")


CORNERS = [
    (0.5, 0, 0.5, 1, "left must be smaller"),
    (0.6, 0, 0.5, 1, "left must be smaller"),
    (0, 0.5, 1, 0.5, "top than bottom"),
    (0, 1, 1, 0, "top than bottom"),
    (-0.1, 0, 1, 1, "Rectangle.left must be a number from 0 to 1, got -0.1"),
    (0, -0.1, 1, 1, "Rectangle.top must be a number from 0 to 1, got -0.1"),
    (0, 0, 1.1, 1, "Rectangle.right must be a number from 0 to 1, got 1.1"),
    (0, 0, 1, 1.1, "Rectangle.bottom must be a number from 0 to 1, got 1.1"),
    (0, 0, "1", 1, "Rectangle.right must be a number from 0 to 1, got '1'"),
]


@pytest.mark.parametrize(("left", "top", "right", "bottom", "message"), CORNERS, ids=str)
def test_rectangle_outside_picture_or_empty_is_refused(
    left: Any, top: Any, right: Any, bottom: Any, message: str
) -> None:
    """The corners are fractions from 0 to 1, left before right and top before bottom."""
    with pytest.raises(ConfigurationError) as caught:
        Rectangle(left, top, right, bottom)
    assert message in str(caught.value)
    assert str(caught.value).endswith("nothing was sent")


def test_size_and_point_str_is_their_wire_form() -> None:
    """A size is "WxH", a point "x,y"."""
    assert (str(Size(3, 4)), str(Point(-1, 0))) == ("3x4", "-1,0")


def test_image_to_prompt_local_picture_needs_no_kilobytes() -> None:
    """The client measures the picture that it uploads."""
    smallest("image-to-prompt", image_url=Path("a.png"), image_kilobytes=None)
    smallest("image-to-prompt", image_url=File(b"x"), image_kilobytes=None)


def test_speech_recognize_repr_hides_base64_audio() -> None:
    """A megabyte of base64 does not fill a log."""
    request = smallest("speech-recognize", audio_base64="A" * 10_000)
    assert "AAAA" not in repr(request)


@pytest.mark.parametrize("name", REQUESTS)
def test_request_fields_are_keyword_only(name: str) -> None:
    """A new field would change the meaning of positions."""
    with pytest.raises(TypeError):
        REQUESTS[name]("hills")  # type: ignore[call-arg]


@pytest.mark.parametrize("id_", ["..", ".", "", " ", "\ud800"], ids=ascii)
def test_status_request_invalid_id_is_refused(id_: str) -> None:
    """An id that is no path segment is refused in each request that takes an id."""
    for request_for in (WeryAIProvider().status_request, WeryAIProvider().batch_request):
        with pytest.raises(ConfigurationError, match="an id as the provider gave it"):
            request_for(id_)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("chat", {"seed": "no"}),
        ("chat", {"seed": True}),
        ("corpus-upload", {"file_url": "d.pdf"}),
        ("text-to-image", {"webhook_url": "nope"}),
        ("podcast-voice", {"script": [{"speaker_id": "a", "content": "b", "speaker_name": 7}]}),
    ],
    ids=str,
)
def test_request_meaningless_value_is_refused(name: str, fields: dict[str, Any]) -> None:
    """A seed that is no number, a document that is no URL and a name that is no text are refused."""
    with pytest.raises(ConfigurationError):
        smallest(name, **fields)
