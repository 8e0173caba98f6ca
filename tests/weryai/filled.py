"""Every request of WeryAI twice: with the least that it needs and with everything that it can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from aiowery import File, ScriptLine
from aiowery.weryai import REQUESTS, Message, Rectangle, Styles
from aiowery.weryai.requests._base import WeryAIRequest

PICTURE = "https://example.com/a.png"
OTHER_PICTURE = "https://example.com/b.jpg"
VIDEO = "https://example.com/v.mp4"
SOUND = "http://example.com/s.mp3"
HOOK = "https://example.com/hook"

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
_TASK: dict[str, Any] = {"webhook_url": HOOK, "caller_id": 0}
_REGIONS: dict[str, Any] = {
    "video_url": VIDEO,
    "regions": (Rectangle(0.0, 0.25, 0.5, 1.0), Rectangle(0.1, 0.2, 0.3, 0.4)),
}

NEEDED: dict[str, dict[str, Any]] = {
    "text-to-image": {"prompt": "hills"},
    "image-to-image": {"prompt": "hills", "image_urls": [PICTURE]},
    "text-to-video": {"prompt": "hills"},
    "image-to-video": {"prompt": "hills", "image_url": PICTURE},
    "multi-image-to-video": {"prompt": "hills", "image_urls": [PICTURE]},
    "first-last-image-to-video": {"prompt": "hills", "first_image_url": PICTURE, "last_image_url": OTHER_PICTURE},
    "almighty-reference-to-video": {},
    "effect-template": {"template_config_id": 12, "image_urls": [PICTURE]},
    "music": {"description": "rain on a roof"},
    "text-to-audio": {"text": "Hello"},
    "speech-recognize": {"audio_url": SOUND},
    "podcast": {"query": "tides", "speakers": ["spk-en-07"]},
    "podcast-voice": {"task_id": "Ab12Cd34"},
    "image-bg-change": {"image_url": PICTURE, "prompt": "a beach"},
    "image-bg-remove": {"image_url": PICTURE},
    "image-expand": {
        "image_url": PICTURE,
        "image_size": "512x512",
        "canvas_size": "1024x768",
        "image_location": "256,128",
    },
    "image-face-swap": {"image_url": PICTURE, "face_image_url": OTHER_PICTURE},
    "image-reframe": {"image_url": PICTURE, "aspect_ratio": "9:21"},
    "image-repair": {"image_url": PICTURE},
    "image-text-erase": {"image_url": PICTURE},
    "image-translate": {"image_url": PICTURE, "target_language": "en"},
    "image-upscale": {"image_url": PICTURE},
    "image-to-prompt": {"image_url": PICTURE, "image_kilobytes": 320},
    "video-anime-replace": {"video_url": VIDEO, "image_url": PICTURE},
    "video-background-remove": {"video_url": VIDEO},
    "video-extend": {"video_url": VIDEO, "prompt": "it rains"},
    "video-face-change": {"video_url": VIDEO, "face_image_url": PICTURE},
    "video-lips-change": {"video_url": VIDEO, "audio_url": SOUND},
    "video-magic": {"video_url": VIDEO},
    "video-merge": {"video_urls": [VIDEO, VIDEO]},
    "video-subtitle-erase": {"video_url": VIDEO},
    "video-subtitle-translate": {"video_url": VIDEO, "target_language": "ja"},
    "video-upscaler": {"video_url": VIDEO},
    "video-watermark-remove": {"video_url": VIDEO},
    "deep-research": {"input": "tides"},
    "corpus-upload": {"file_url": "https://example.com/d.pdf"},
    "chat": {"messages": "hi"},
}
"""By type_name, the fields without which such a request cannot be made."""

EVERYTHING: dict[str, dict[str, Any]] = {
    "text-to-image": {**_PICTURES, "quality": "high", **_TASK},
    "image-to-image": {**_PICTURES, "image_urls": (PICTURE, OTHER_PICTURE), **_TASK},
    "text-to-video": {**_PROMPTED, **_TASK},
    "image-to-video": {**_PROMPTED, "image_url": PICTURE, **_TASK},
    "multi-image-to-video": {**_PROMPTED, "image_urls": (PICTURE, OTHER_PICTURE), **_TASK},
    "first-last-image-to-video": {
        **_PROMPTED,
        "first_image_url": PICTURE,
        "last_image_url": OTHER_PICTURE,
        **_TASK,
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
        **_TASK,
    },
    "effect-template": {
        "template_config_id": 2**40,
        "image_urls": (PICTURE, OTHER_PICTURE),
        "background_music": False,
        "aspect_ratio": "1:1",
        "prompt_inputs": {"name": "Mira"},
        **_TASK,
    },
    "music": {
        "mode": "ONLY_MUSIC",
        "description": "rain on a roof",
        "styles": Styles(genre="JAZZ", emotion="WARM", instrument="PIANO"),
        "lyrics": "la\nla",
        "reference_audio_url": SOUND,
        "audio_name": "Roof",
        "gender": "f",
        **_TASK,
    },
    "text-to-audio": {"text": "Hello", "voice_id": 66, "speed": 1, "volume": 4.5, **_TASK},
    "speech-recognize": {
        "audio_url": SOUND,
        "audio_base64": "data:audio/wav;base64,UklGRg==",
        "language": "en",
        **_TASK,
    },
    "podcast": {
        "query": "tides",
        "speakers": ("spk-en-07", "spk-en-08"),
        "language": "ja",
        "mode": "debate",
        **_TASK,
    },
    "podcast-voice": {
        "task_id": "Ab12Cd34",
        "script": (ScriptLine("spk-en-07", "Hello", "Mira"), ScriptLine("spk-en-08", "Hi")),
        **_TASK,
    },
    "image-bg-change": {"image_url": PICTURE, "prompt": "a beach", "background_color": "#FFaa00", **_TASK},
    "image-bg-remove": {"image_url": PICTURE, **_TASK},
    "image-expand": {**NEEDED["image-expand"], **_TASK},
    "image-face-swap": {**NEEDED["image-face-swap"], **_TASK},
    "image-reframe": {**NEEDED["image-reframe"], **_TASK},
    "image-repair": {"image_url": PICTURE, **_TASK},
    "image-text-erase": {"image_url": PICTURE, "model": "ERASER_1", **_TASK},
    "image-translate": {"image_url": PICTURE, "target_language": "en", "mode": "image", **_TASK},
    "image-upscale": {"image_url": PICTURE, **_TASK},
    "image-to-prompt": {"image_url": PICTURE, "image_kilobytes": 320, "language": "en", "model": "GPT_4O"},
    "video-anime-replace": {
        "video_url": VIDEO,
        "image_url": PICTURE,
        "mode": "move",
        "resolution": "580p",
        **_TASK,
    },
    "video-background-remove": {"video_url": VIDEO, "background_color": "TRANSPARENT", **_TASK},
    "video-extend": {
        "video_url": VIDEO,
        "prompt": "it rains",
        "style": "3d_animation",
        "resolution": "540p",
        "duration": 8,
        "caller_id": 0,
    },
    "video-face-change": {**NEEDED["video-face-change"], **_TASK},
    "video-lips-change": {**NEEDED["video-lips-change"], **_TASK},
    "video-magic": {"video_url": VIDEO, "video_style": "anime_style_4", **_TASK},
    "video-merge": {"video_urls": (VIDEO, "https://example.com/w.mp4"), "caller_id": 0},
    "video-subtitle-erase": {**_REGIONS, **_TASK},
    "video-subtitle-translate": {"video_url": VIDEO, "target_language": "ja", **_TASK},
    "video-upscaler": {"video_url": VIDEO, "resolution": "4k", **_TASK},
    "video-watermark-remove": {**_REGIONS, **_TASK},
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
        **_TASK,
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
"""By type_name, a value for every field that a request can hold; of fields that exclude each other, one."""

EXCLUDED: dict[str, set[str]] = {"deep-research": {"model"}}
"""By type_name, the fields for which `EVERYTHING` has no room."""

LOCAL: dict[str, dict[str, Any]] = {
    "image-to-image": {"image_urls": [Path("in/a.png"), File(b"\x89PNG\r\n\x1a\n", "b.png"), PICTURE]},
    "multi-image-to-video": {"image_urls": [File(b"\xff\xd8\xff"), Path("/tmp/b.jpg")]},  # noqa: S108 - never opened
    "first-last-image-to-video": {"first_image_url": Path("a.png"), "last_image_url": File(b"\xff\xd8\xff", "b.jpg")},
    "almighty-reference-to-video": {
        "image_urls": [Path("a.png")],
        "video_urls": [File(b"\x1aE\xdf\xa3", "v.webm")],
        "audio_urls": [Path("s.mp3")],
    },
    "music": {"reference_audio_url": File(b"OggS", "s.ogg")},
    "speech-recognize": {"audio_url": Path("s.wav")},
    "image-to-prompt": {"image_url": Path("a.png"), "image_kilobytes": None},
    "image-face-swap": {"image_url": Path("a.png"), "face_image_url": File(b"\xff\xd8\xff", "b.jpg")},
    "video-merge": {"video_urls": [Path("v.mp4"), VIDEO]},
}
"""By type_name, local files in the place of urls."""


def smallest(type_name: str, **more: Any) -> WeryAIRequest[Any]:
    """Make a request of the least that it needs, and of what is given besides."""
    return REQUESTS[type_name](**{**NEEDED[type_name], **more})


def fullest(type_name: str, **more: Any) -> WeryAIRequest[Any]:
    """Make a request that holds a value in every field."""
    return REQUESTS[type_name](**{**EVERYTHING[type_name], **more})


def field_names(type_name: str) -> set[str]:
    """Name the fields of a request class, without `extra`."""
    return {field.name for field in attrs.fields(REQUESTS[type_name])} - {"extra"}
