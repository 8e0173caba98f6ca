"""Each WeryAI request twice: with the fields that it needs, and with every field that it can hold.

The fields and their values come from the contract's facts. A request has values of its own here where the facts give
none: for structured fields, and where a test needs a certain value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery import File, ScriptLine
from aiowery._core.fields import wire_of
from aiowery.weryai import REQUESTS, Message, Rectangle
from aiowery.weryai._provider import WeryAIProvider
from aiowery.weryai.requests._base import WeryAIRequest
from tests.weryai.facts import ENTRIES, FILM, OTHER_PICTURE, PICTURE, SOUND, Entry, Field

__all__ = ("EVERYTHING", "EXCLUDED", "HOOK", "LOCAL", "NEEDED", "OTHER_PICTURE", "PICTURE", "SOUND", "VIDEO")

VIDEO: Final = FILM
HOOK: Final = "https://example.com/hook"
TASK_ID: Final = "Ab12Cd34"

_PROMPTED: dict[str, Any] = {
    "prompt": "hills at dawn",
    "model": "VEO_3_1",
    "duration": 8,
    "aspect_ratio": "9:16",
    "negative_prompt": "rain",
    "resolution": "1080p",
    "generate_audio": True,
    "video_number": 2,
}
_PICTURES: dict[str, Any] = {
    "prompt": "hills at dawn",
    "model": "GPT_IMAGE_2",
    "aspect_ratio": "3:2",
    "negative_prompt": "rain",
    "image_number": 2,
    "resolution": "2k",
    "use_web_search": False,
}
_REGIONS: dict[str, Any] = {
    "video_url": VIDEO,
    "regions": (Rectangle(0.0, 0.25, 0.5, 1.0), Rectangle(0.1, 0.2, 0.3, 0.4)),
}

_ENTRIES: Final = {entry.path: entry for entry in ENTRIES}


def _entry(type_name: str) -> Entry:
    return _ENTRIES[REQUESTS[type_name].endpoint]


def _needed(type_name: str) -> dict[str, Any]:
    """Return the fields without a default, and those of `either`, with the values of the contract's example."""
    entry = _entry(type_name)
    values: dict[str, Any] = {}
    for field in attrs.fields(REQUESTS[type_name]):
        wire = wire_of(field)
        name = wire.name or field.name
        if wire.in_path:
            values[field.name] = TASK_ID
        elif name in entry.example and (field.default is attrs.NOTHING or name in entry.either):
            values[field.name] = entry.example[name]
    return values


def _everything(type_name: str) -> dict[str, Any]:
    """Return a value for each field for which the facts or `NEEDED` give one."""
    facts = {fact.name: fact for fact in _entry(type_name).fields}
    values = dict(NEEDED[type_name])
    for field in attrs.fields(REQUESTS[type_name]):
        fact = facts.get(wire_of(field).name or field.name)
        if field.name not in values and fact is not None:
            values.update(_sample(field.name, fact))
    return values


def _sample(name: str, fact: Field) -> dict[str, Any]:
    if name == "webhook_url":
        return {name: HOOK}
    if fact.choices:
        return {name: fact.choices[-1]}
    samples: dict[type, Any] = {str: "words", int: int(fact.most or fact.least or 0), bool: False}
    return {name: samples[fact.type]} if fact.type in samples else {}


NEEDED: dict[str, dict[str, Any]] = {
    **{type_name: _needed(type_name) for type_name in REQUESTS},
    "image-to-prompt": {"image_url": PICTURE, "image_kilobytes": 320},
}
"""By type_name, the fields without which such a request cannot be made."""

_OWN_VALUES: dict[str, dict[str, Any]] = {
    "text-to-image": {**_PICTURES, "quality": "high"},
    "image-to-image": {**_PICTURES, "image_urls": (PICTURE, OTHER_PICTURE)},
    "text-to-video": {**_PROMPTED},
    "image-to-video": {**_PROMPTED, "image_url": PICTURE},
    "multi-image-to-video": {**_PROMPTED, "image_urls": (PICTURE, OTHER_PICTURE)},
    "first-last-image-to-video": {
        **_PROMPTED,
        "first_image_url": PICTURE,
        "last_image_url": OTHER_PICTURE,
    },
    "almighty-reference-to-video": {
        "prompt": "hills at dawn",
        "model": "SEEDANCE_2_0",
        "duration": 15,
        "image_urls": (PICTURE,),
        "video_urls": (VIDEO,),
        "audio_urls": (SOUND,),
        "aspect_ratio": "9:16",
        "resolution": "480p",
        "generate_audio": False,
        "video_number": 3,
    },
    "effect-template": {
        "template_config_id": 2**40,
        "image_urls": (PICTURE, OTHER_PICTURE),
        "background_music": False,
        "aspect_ratio": "1:1",
        "prompt_inputs": {"name": "Mira"},
    },
    "music": {
        "mode": "VOCAL_SONG",
        "description": "rain on a roof",
        "styles": {"JAZZ": "slow jazz", "WARM": "warm", "PIANO": "piano"},
        "lyrics": "la\nla",
        "reference_audio_url": SOUND,
        "audio_name": "Roof",
        "gender": "f",
    },
    "text-to-audio": {"text": "Hello", "voice_id": 66, "speed": 1, "volume": 4.5},
    "speech-recognize": {
        "audio_url": SOUND,
        "audio_base64": "data:audio/wav;base64,UklGRg==",
        "language": "en",
    },
    "podcast": {
        "query": "tides",
        "speakers": ("spk-en-07", "spk-en-08"),
        "language": "ja",
        "mode": "debate",
    },
    "podcast-voice": {
        "task_id": "Ab12Cd34",
        "script": (ScriptLine("spk-en-07", "Hello", "Mira"), ScriptLine("spk-en-08", "Hi")),
    },
    "image-bg-change": {"prompt": "a beach", "background_color": "#FFaa00"},
    "image-text-erase": {"model": "ERASER_1"},
    "image-translate": {"target_language": "en", "mode": "image"},
    "image-to-prompt": {"image_kilobytes": 320, "language": "en", "model": "GPT_4O"},
    "video-anime-replace": {
        "mode": "move",
        "resolution": "580p",
    },
    "video-background-remove": {"background_color": "TRANSPARENT"},
    "video-extend": {
        "prompt": "it rains",
        "style": "3d_animation",
        "resolution": "540p",
        "duration": 8,
    },
    "video-magic": {"video_style": "anime_style_4"},
    "video-merge": {"video_urls": (VIDEO, "https://example.com/w.mp4")},
    "video-subtitle-erase": {**_REGIONS},
    "video-subtitle-translate": {"target_language": "ja"},
    "video-upscaler": {"resolution": "4k"},
    "video-watermark-remove": {**_REGIONS},
    "deep-research": {
        "input": "tides",
        "input_resource": ({"type": "document", "uri": "https://example.com/d.pdf", "pages": [1, 2]},),
        "mode": "DEEP_RESEARCH_MAX",
        "previous_interaction_id": "int_4",
        "thinking_summaries": "auto",
        "collaborative_planning": False,
        "visualization": "auto",
        "tools": (
            {"type": "GOOGLE_SEARCH"},
            {"type": "FILE_SEARCH", "file_search_store_names": ["fileSearchStores/demo-1"]},
        ),
    },
    "corpus-upload": {"file_url": "https://example.com/d.pdf", "file_name": "d.pdf"},
    "chat": {
        "messages": (Message("system", "Be brief."), Message("user", "hi")),
        "model": "GLM_5",
        "max_tokens": 1,
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "seed": -7,
        "n": 2,
    },
}
"""By type_name, values that the facts do not give, or of which a test needs others."""

EXCLUDED: dict[str, set[str]] = {"deep-research": {"model"}}
"""By type_name, the fields for which `EVERYTHING` has no room."""

EVERYTHING: dict[str, dict[str, Any]] = {
    type_name: {**_everything(type_name), **_OWN_VALUES.get(type_name, {})} for type_name in REQUESTS
}
for _type_name, _names in EXCLUDED.items():
    for _name in _names:
        EVERYTHING[_type_name].pop(_name, None)
"""By type_name, a value for every field that a request can hold; of fields that exclude each other, one."""

LOCAL: dict[str, dict[str, Any]] = {
    "image-to-image": {"image_urls": [Path("in/a.png"), File(b"\x89PNG\r\n\x1a\n", "b.png"), PICTURE]},
    "multi-image-to-video": {"image_urls": [File(b"\xff\xd8\xff"), Path("/tmp/b.jpg")]},  # noqa: S108 - never opened
    "first-last-image-to-video": {"first_image_url": Path("a.png"), "last_image_url": File(b"\xff\xd8\xff", "b.jpg")},
    "almighty-reference-to-video": {
        "image_urls": [Path("a.png")],
        "video_urls": [File(b"\x1aE\xdf\xa3", "v.webm")],
        "audio_urls": [Path("s.mp3")],
    },
    "music": {"reference_audio_url": File(b"OggS", "s.ogg"), "audio_name": "S"},
    "speech-recognize": {"audio_url": Path("s.wav")},
    "image-to-prompt": {"image_url": Path("a.png"), "image_kilobytes": None},
    "image-face-swap": {"image_url": Path("a.png"), "face_image_url": File(b"\xff\xd8\xff", "b.jpg")},
    "video-merge": {"video_urls": [Path("v.mp4"), VIDEO]},
}
"""By type_name, local files in the place of urls."""


def smallest(type_name: str, **more: Any) -> WeryAIRequest[Any]:
    """Return a request with the fields that it needs, and those that are given."""
    return REQUESTS[type_name](**{**NEEDED[type_name], **more})


def fullest(type_name: str, **more: Any) -> WeryAIRequest[Any]:
    """Return a request with a value in every field."""
    return REQUESTS[type_name](**{**EVERYTHING[type_name], **more})


def field_names(type_name: str) -> set[str]:
    """Return the names of the fields of a request class, without `extra`."""
    return {field.name for field in attrs.fields(REQUESTS[type_name])} - {"extra"}


def sent(request: Any) -> dict[str, Any]:
    """Return the JSON body of a request's POST."""
    body = WeryAIProvider().encode(request).body
    assert body is not None
    decoded: dict[str, Any] = json.loads(body)
    return decoded
