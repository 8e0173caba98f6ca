"""WeryAI's contract as a plain reader of its documentation: every entry, its parameters and their rules.

It is independent of the package, so that requests and sandbox can both be compared with it. Open lists of models, of
most ratios and of most resolutions rule nothing out and are left out here; `MODEL_ROWS` has what single models exclude.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs


@attrs.frozen
class Field:
    """One parameter: its name on the wire, its JSON type, and the rules that the documentation makes hard."""

    name: str
    type: type
    required: bool = False
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    fewest: int | None = None
    most_items: int | None = None
    pattern: str | None = None


@attrs.frozen
class Entry:
    """One entry of the contract.

    `shape` is the form of the response to a submission, `output` the member with the outputs of a finished task.
    One of the parameters in `either` is required. `example` is a body that must be accepted.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    shape: Literal["batch", "task", "podcast", "research"] | None = None
    output: str | None = None
    host: Literal["main", "models"] = "main"
    fields: tuple[Field, ...] = ()
    either: tuple[str, ...] = ()
    example: Mapping[str, Any] = attrs.field(factory=dict)


def tool(
    name: str, path: str, fields: tuple[Field, ...], example: Mapping[str, Any], either: tuple[str, ...] = ()
) -> Entry:
    """Return the entry of an image or video tool: a task whose outputs are of the kind that its name begins with."""
    kind = name.partition("_")[0]
    return Entry(
        name, "POST", f"/v1/generation/{path}", "task", f"{kind}s", fields=fields, either=either, example=example
    )


MODEL: Final = Field("model", str, required=True)
PROMPT: Final = Field("prompt", str, required=True, longest=2000)
ASPECT_RATIO: Final = Field("aspect_ratio", str, required=True)
# The pages of videos require a ratio, and the vendor's own clients leave it out.
FREE_RATIO: Final = Field("aspect_ratio", str)
NEGATIVE_PROMPT: Final = Field("negative_prompt", str, longest=1000)
RESOLUTION: Final = Field("resolution", str)
WEBHOOK_URL: Final = Field("webhook_url", str)
CALLER_ID: Final = Field("caller_id", int)
DURATION: Final = Field("duration", int, required=True)
VIDEO_NUMBER: Final = Field("video_number", int, least=1, most=4)
GENERATE_AUDIO: Final = Field("generate_audio", bool)
VIDEO_URL: Final = Field("video_url", str, required=True)
IMG_URL: Final = Field("img_url", str, required=True)
ANY_MODEL: Final = Field("model", str)
COMMON: Final = (WEBHOOK_URL, CALLER_ID)
IMAGE: Final = (
    MODEL,
    PROMPT,
    ASPECT_RATIO,
    NEGATIVE_PROMPT,
    Field("image_number", int, least=1),
    RESOLUTION,
    Field("use_web_search", bool),
    *COMMON,
)
VIDEO: Final = (NEGATIVE_PROMPT, VIDEO_NUMBER, RESOLUTION, GENERATE_AUDIO, *COMMON)
PICTURE: Final = "https://example.com/a.png"
OTHER_PICTURE: Final = "https://example.com/b.png"
FILM: Final = "https://example.com/a.mp4"
OTHER_FILM: Final = "https://example.com/b.mp4"
SOUND: Final = "https://example.com/a.wav"
A_PICTURE: Final = {"model": "WERYAI_IMAGE_2_0", "prompt": "hills", "aspect_ratio": "1:1"}
A_FILM: Final = {"model": "VEO_3_1", "prompt": "hills", "duration": 8}

ENTRIES: Final = (
    Entry(
        "text_to_image",
        "POST",
        "/v1/generation/text-to-image",
        shape="batch",
        output="images",
        fields=(*IMAGE, Field("quality", str)),
        example=A_PICTURE,
    ),
    Entry(
        "image_to_image",
        "POST",
        "/v1/generation/image-to-image",
        shape="batch",
        output="images",
        fields=(*IMAGE, Field("images", list, required=True)),
        example={**A_PICTURE, "images": [PICTURE]},
    ),
    Entry(
        "text_to_video",
        "POST",
        "/v1/generation/text-to-video",
        shape="batch",
        output="videos",
        fields=(MODEL, PROMPT, DURATION, FREE_RATIO, *VIDEO),
        example=A_FILM,
    ),
    Entry(
        "image_to_video",
        "POST",
        "/v1/generation/image-to-video",
        shape="batch",
        output="videos",
        fields=(MODEL, PROMPT, Field("image", str, required=True), FREE_RATIO, DURATION, *VIDEO),
        example={**A_FILM, "image": PICTURE, "aspect_ratio": "16:9"},
    ),
    Entry(
        "multi_image_to_video",
        "POST",
        "/v1/generation/multi-image-to-video",
        shape="batch",
        output="videos",
        fields=(MODEL, PROMPT, Field("images", list, required=True, most_items=3), FREE_RATIO, DURATION, *VIDEO),
        example={**A_FILM, "images": [PICTURE, OTHER_PICTURE], "aspect_ratio": "16:9"},
    ),
    Entry(
        "first_last_image_to_video",
        "POST",
        "/v1/generation/first-last-image-to-video",
        shape="batch",
        output="videos",
        fields=(
            MODEL,
            PROMPT,
            Field("first_pic_url", str, required=True),
            Field("end_pic_url", str, required=True),
            FREE_RATIO,
            DURATION,
            *VIDEO,
        ),
        example={**A_FILM, "first_pic_url": PICTURE, "end_pic_url": OTHER_PICTURE, "aspect_ratio": "16:9"},
    ),
    Entry(
        "almighty_reference_to_video",
        "POST",
        "/v1/generation/almighty-reference-to-video",
        shape="task",
        output="videos",
        fields=(
            MODEL,
            Field("prompt", str, longest=500),
            Field("duration", int, required=True, least=4, most=15),
            Field("images", list, most_items=9),
            Field("videos", list, most_items=3),
            Field("audios", list, most_items=3),
            Field("aspect_ratio", str, choices=("1:1", "9:16", "16:9")),
            Field("resolution", str, choices=("480p", "720p")),
            Field("generate_audio", str, choices=("true", "false")),
            VIDEO_NUMBER,
            *COMMON,
        ),
        either=("images", "videos"),
        example={"model": "WERYDANCE", "duration": 5, "images": [PICTURE]},
    ),
    Entry(
        "effect_template",
        "POST",
        "/v1/generation/effect-template",
        shape="batch",
        output="videos",
        fields=(
            Field("template_config_id", int, required=True),
            Field("image_url", list, required=True, fewest=1),
            Field("bgm", bool),
            Field("aspect_ratio", str),
            Field("prompt_inputs", dict),
            *COMMON,
        ),
        example={"template_config_id": 7, "image_url": [PICTURE]},
    ),
    Entry(
        "music_generate",
        "POST",
        "/v1/generation/music/generate",
        shape="task",
        output="audios",
        fields=(
            Field("type", str, required=True, choices=("VOCAL_SONG", "ONLY_MUSIC")),
            Field("description", str),
            Field("styles", dict),
            Field("lyrics", str),
            Field("reference_audio", str),
            Field("audio_name", str),
            Field("gender", str, choices=("m", "f")),
            *COMMON,
        ),
        either=("description", "styles"),
        example={"type": "VOCAL_SONG", "description": "rain"},
    ),
    Entry(
        "podcast_generate_text",
        "POST",
        "/v1/generation/podcast/generate/text",
        shape="podcast",
        output="scripts",
        fields=(
            Field("query", str, required=True, longest=2000),
            Field("speakers", list, required=True, fewest=1, most_items=2),
            Field("language", str, required=True, choices=("en", "zh", "ja")),
            Field("mode", str, required=True, choices=("quick", "debate", "deep")),
            *COMMON,
        ),
        example={"query": "tides", "speakers": ["spk-en-07"], "language": "en", "mode": "quick"},
    ),
    Entry(
        "podcast_generate_audio",
        "POST",
        "/v1/generation/podcast/generate/{task_id}/audio",
        shape="podcast",
        output="audios",
        fields=(Field("scripts", list), *COMMON),
    ),
    Entry(
        "podcast_speakers",
        "GET",
        "/v1/generation/podcast/speakers/list",
        fields=(Field("language", str, choices=("en", "zh", "ja")),),
    ),
    Entry(
        "text_to_audio",
        "POST",
        "/v1/generation/text-to-audio",
        shape="task",
        output="audios",
        fields=(
            Field("text", str, required=True, longest=500),
            Field("voice_id", int, required=True),
            Field("speed", str),
            Field("vol", str),
            Field("trace_id", str),
            *COMMON,
        ),
        example={"text": "Hello there", "voice_id": 81},
    ),
    Entry(
        "speech_recognize",
        "POST",
        "/v1/generation/speech-recognize",
        shape="task",
        output="speech_text",
        fields=(Field("audio_url", str), Field("audio_base64", str), Field("language", str), *COMMON),
        either=("audio_url", "audio_base64"),
        example={"audio_url": SOUND},
    ),
    tool(
        "video_extend",
        "video-extend",
        fields=(
            VIDEO_URL,
            Field("prompt", str, required=True),
            Field("style", str, choices=("anime", "3d_animation", "cyberpunk", "comic")),
            Field("resolution", str, choices=("360p", "540p", "720p", "1080p")),
            Field("duration", int, choices=(5, 8)),
            CALLER_ID,
        ),
        example={"video_url": FILM, "prompt": "it goes on"},
    ),
    tool(
        "video_merge",
        "video-merge",
        fields=(Field("video_urls", list, required=True, fewest=2, most_items=30), CALLER_ID),
        example={"video_urls": [FILM, OTHER_FILM]},
    ),
    tool(
        "video_anime_replace",
        "video-anime-replace",
        fields=(
            VIDEO_URL,
            Field("image_url", str, required=True),
            Field("type", str, choices=("move", "replace")),
            Field("resolution", str, choices=("480p", "580p", "720p")),
            *COMMON,
        ),
        example={"video_url": FILM, "image_url": PICTURE},
    ),
    tool(
        "video_background_remove",
        "video-background-remove",
        fields=(
            VIDEO_URL,
            Field(
                "background_color",
                str,
                choices=(
                    "TRANSPARENT",
                    "BLACK",
                    "WHITE",
                    "GRAY",
                    "RED",
                    "GREEN",
                    "BLUE",
                    "YELLOW",
                    "CYAN",
                    "MAGENTA",
                    "ORANGE",
                ),
            ),
            *COMMON,
        ),
        example={"video_url": FILM},
    ),
    tool(
        "video_face_change",
        "video-face-change",
        fields=(VIDEO_URL, Field("image_url", str, required=True), *COMMON),
        example={"video_url": FILM, "image_url": PICTURE},
    ),
    tool(
        "video_lips_change",
        "video-lips-change",
        fields=(VIDEO_URL, Field("audio_url", str, required=True), *COMMON),
        example={"video_url": FILM, "audio_url": SOUND},
    ),
    tool(
        "video_magic",
        "video-magic",
        fields=(
            VIDEO_URL,
            Field("video_style", str, choices=("realistic_2", "anime_style_3", "anime_style_4")),
            *COMMON,
        ),
        example={"video_url": FILM},
    ),
    tool(
        "video_subtitle_erase",
        "video-subtitle-erase",
        fields=(VIDEO_URL, Field("rect_vo_list", list), *COMMON),
        example={"video_url": FILM},
    ),
    tool(
        "video_subtitle_translate",
        "video-subtitle-translate",
        fields=(
            VIDEO_URL,
            Field("target_language", str, required=True, choices=("en", "zh", "ja", "ko", "fr", "de", "es")),
            *COMMON,
        ),
        example={"video_url": FILM, "target_language": "en"},
    ),
    tool(
        "video_upscaler",
        "video-upscaler",
        fields=(VIDEO_URL, Field("resolution", str, choices=("1080p", "2k", "4k")), *COMMON),
        example={"video_url": FILM},
    ),
    tool(
        "video_watermark_remove",
        "video-watermark-remove",
        fields=(VIDEO_URL, Field("rect_vo_list", list), *COMMON),
        example={"video_url": FILM},
    ),
    tool(
        "image_background_change",
        "image-bg-change",
        fields=(IMG_URL, Field("prompt", str), Field("bg_color", str, pattern=r"^#[0-9a-fA-F]{6}$"), *COMMON),
        either=("prompt", "bg_color"),
        example={"img_url": PICTURE, "prompt": "a beach"},
    ),
    tool("image_background_remove", "image-bg-remove", fields=(IMG_URL, *COMMON), example={"img_url": PICTURE}),
    tool(
        "image_expand",
        "image-expand",
        fields=(
            IMG_URL,
            Field("original_image_size", str, required=True, pattern=r"^\d+x\d+$"),
            Field("canvas_size", str, required=True, pattern=r"^\d+x\d+$"),
            Field("original_image_location", str, required=True),
            *COMMON,
        ),
        example={
            "img_url": PICTURE,
            "original_image_size": "10x20",
            "canvas_size": "30x40",
            "original_image_location": "5,5",
        },
    ),
    tool(
        "image_face_swap",
        "image-face-swap",
        fields=(IMG_URL, Field("face_img_url", str, required=True), *COMMON),
        example={"img_url": PICTURE, "face_img_url": OTHER_PICTURE},
    ),
    tool(
        "image_reframe",
        "image-reframe",
        fields=(
            IMG_URL,
            Field("aspect_ratio", str, required=True, choices=("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21")),
            *COMMON,
        ),
        example={"img_url": PICTURE, "aspect_ratio": "16:9"},
    ),
    tool("image_repair", "image-repair", fields=(IMG_URL, *COMMON), example={"img_url": PICTURE}),
    tool("image_text_erase", "image-text-erase", fields=(IMG_URL, ANY_MODEL, *COMMON), example={"img_url": PICTURE}),
    tool(
        "image_translate",
        "image-translate",
        fields=(
            IMG_URL,
            Field("target_lang", str, required=True),
            Field("type", str, choices=("text", "image")),
            *COMMON,
        ),
        example={"img_url": PICTURE, "target_lang": "en"},
    ),
    tool("image_upscale", "image-upscale", fields=(IMG_URL, *COMMON), example={"img_url": PICTURE}),
    Entry(
        "image_to_prompt",
        "POST",
        "/v1/generation/image-to-prompt",
        fields=(IMG_URL, Field("image_size", int, required=True), Field("language", str), ANY_MODEL),
        example={"img_url": PICTURE, "image_size": 120},
    ),
    Entry(
        "upload_file",
        "POST",
        "/v1/generation/upload-file",
        fields=(Field("file", bytes, required=True), Field("batch_no", str), Field("fixed", bool)),
    ),
    Entry(
        "upload_file_legacy",
        "POST",
        "/growthai/v1/generation/upload-file",
        host="models",
        fields=(Field("file", bytes, required=True), Field("batch_no", str), Field("fixed", bool)),
    ),
    Entry("task_status", "GET", "/v1/generation/{task_id}/status"),
    Entry("batch_status", "GET", "/v1/generation/batch/{batch_id}/status"),
    Entry("balance", "GET", "/v1/generation/balance"),
    Entry(
        "chat_completions",
        "POST",
        "/v1/chat/completions",
        fields=(
            MODEL,
            Field("messages", list, required=True, fewest=1, most_items=50),
            Field("max_tokens", int, least=1),
            Field("temperature", float, least=0, most=2),
            Field("top_p", float, least=0, most=1),
            Field("presence_penalty", float, least=-2, most=2),
            Field("frequency_penalty", float, least=-2, most=2),
            Field("seed", int),
            Field("n", int, least=1),
            Field("stream", bool),
        ),
        example={"model": "GPT_4O", "messages": [{"role": "user", "content": "hi"}]},
    ),
    Entry("chat_models", "GET", "/v1/chat/models"),
    Entry(
        "deep_research",
        "POST",
        "/v1/generation/deep_research",
        shape="research",
        output="deep_research_outputs",
        fields=(
            Field("mode", str, choices=("DEEP_RESEARCH", "DEEP_RESEARCH_MAX")),
            ANY_MODEL,
            Field("input", str),
            Field("input_resource", list),
            Field("previous_interaction_id", str),
            Field("thinking_summaries", str, choices=("auto",)),
            Field("collaborative_planning", bool),
            Field("visualization", str, choices=("auto",)),
            Field("tools", list),
            *COMMON,
        ),
        either=("input", "input_resource"),
        example={"input": "Why do boats float?"},
    ),
    Entry(
        "file_search_stores",
        "POST",
        "/v1/generation/file_search_stores",
        fields=(Field("file_url", str, required=True), Field("file_name", str)),
        example={"file_url": "https://example.com/a.pdf"},
    ),
    Entry("video_models", "GET", "/growthai/v1/video/models", host="models"),
    Entry("image_models", "GET", "/growthai/v1/image/models", host="models"),
    Entry("webhook", "POST", "/"),
)
"""The last one is sent by WeryAI to a `webhook_url`; all others are sent by the client."""

ENTRY: Final[Mapping[str, Entry]] = {entry.name: entry for entry in ENTRIES}


@attrs.frozen
class ModelRow:
    """What one model takes on one endpoint: a body's fields that it accepts, and those that it excludes."""

    entry: str
    model: str
    accepted: tuple[Mapping[str, Any], ...] = ()
    excluded: tuple[Mapping[str, Any], ...] = ()


def _ratios(*ratios: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({"aspect_ratio": ratio} for ratio in ratios)


def _seconds(*durations: int) -> tuple[Mapping[str, Any], ...]:
    return tuple({"duration": duration} for duration in durations)


MODEL_ROWS: Final = (
    ModelRow("text_to_image", "WERYAI_IMAGE_2_0", _ratios("9:16", "4:3"), _ratios("7:5", "21:9", "3:2", "2k")),
    ModelRow("image_to_image", "WERYAI_IMAGE_2_0", _ratios("21:9"), _ratios("7:5")),
    ModelRow(
        "text_to_image",
        "WERYAI_IMAGE_1_0",
        ({"aspect_ratio": "3:4", "image_number": 4},),
        ({"image_number": 1}, {"image_number": 5}),
    ),
    ModelRow("text_to_image", "GEMINI_3_1_FLASH_IMAGE", _ratios("8:1", "1:8", "5:4"), _ratios("4:5")),
    ModelRow("text_to_image", "GPT_IMAGE_2", _ratios("16:9(4k)", "9:16(1k)", "4:5", "5:4"), _ratios("16:9", "2k")),
    ModelRow("image_to_image", "GPT_IMAGE_2", _ratios("16:9(4k)"), _ratios("4:5", "5:4")),
    ModelRow("text_to_image", "GPT_IMAGE_1_5", _ratios("3:2", "1:1", "2:3"), _ratios("16:9")),
    ModelRow("text_to_image", "SEEDREAM_5_0_LITE", _ratios("2k", "3k"), _ratios("4k")),
    ModelRow("text_to_image", "SEEDREAM_4_5", _ratios("2k", "4k"), _ratios("3k")),
    ModelRow("text_to_image", "GROK_IMAGINE_IMAGE", _ratios("3:4"), _ratios("1:1")),
    ModelRow("text_to_image", "FLUX_PRO", _ratios("1:1", "7:5")),
    ModelRow("text_to_image", "IMAGE4", _ratios("1:1")),
    ModelRow("image_to_video", "WERYAI_VIDEO_1_0", (*_ratios("1:1"), *_seconds(4, 15)), _seconds(3, 16)),
    ModelRow("image_to_video", "VEO_3_1", (*_ratios("9:16"), *_seconds(8)), (*_ratios("1:1"), *_seconds(5))),
    ModelRow("image_to_video", "CHATBOT_VEO_3_1_FAST", _seconds(8), _seconds(4)),
    ModelRow("text_to_video", "SORA_2", _seconds(4, 8, 12), (*_seconds(5), *_ratios("1:1"))),
    ModelRow("text_to_video", "WERYDANCE_2_0", _seconds(4, 15), (*_seconds(3), *_ratios("21:9"))),
    ModelRow("text_to_video", "SEEDANCE_2_0", _seconds(5, 15), _seconds(4)),
    ModelRow("image_to_video", "DOUBAO_1_5_PRO", (*_ratios("21:9"), *_seconds(5, 10)), _seconds(8)),
    ModelRow("image_to_video", "KLING_V3_0_PRO", _seconds(5, 10, 15), _seconds(8)),
    ModelRow("image_to_video", "VIDU_Q3", (*_ratios("4:3"), *_seconds(5)), _ratios("21:9")),
    ModelRow("image_to_video", "PIKA_2_2", ({}, *_ratios("16:9"), *_seconds(5, 10)), _seconds(8)),
    ModelRow("image_to_video", "PIXVERSE_V6", ({}, *_seconds(1, 15)), _seconds(16)),
    ModelRow("image_to_video", "HAILUO_2_3_STA", _seconds(6, 10), _seconds(5)),
    ModelRow("image_to_video", "HAILUO_2_3_PRO", _seconds(5, 9)),
    ModelRow("text_to_video", "GROK_IMAGINE_VIDEO", _seconds(7)),
    ModelRow("multi_image_to_video", "WERYDANCE_2_0_FAST", _seconds(4), _seconds(16)),
    ModelRow("first_last_image_to_video", "KLING_V2_5_TURBO", _seconds(5)),
    ModelRow("almighty_reference_to_video", "WERYDANCE", _seconds(4, 15), _seconds(3)),
    ModelRow("almighty_reference_to_video", "WERYDANCE_2_0_MINI", _seconds(4)),
    ModelRow("almighty_reference_to_video", "SEEDANCE_2_0_OS", _seconds(5), _seconds(4)),
)
"""Rows of the documentation's tables of models, with values of the list and beside it."""

OTHER_ENDPOINTS: Final = (
    ("text_to_image", "VEO_3_1"),
    ("text_to_video", "WERYAI_IMAGE_2_0"),
    ("multi_image_to_video", "WERYAI_VIDEO_1_0"),
    ("first_last_image_to_video", "WERYAI_VIDEO_1_0"),
    ("first_last_image_to_video", "PIKA_2_2"),
    ("almighty_reference_to_video", "VEO_3_1"),
    ("chat_completions", "FLUX"),
    ("deep_research", "GPT_4O"),
)
"""Entries with a model that the documentation names for other endpoints only."""
