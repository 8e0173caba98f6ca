"""WeryAI's contract as a plain reader of its pages sees it: every entry, its parameters and their rules.

It knows nothing of our code, so that our requests and our sandbox can both be held against it. Lists of models, of most
ratios and of most resolutions are open: they rule nothing out and are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs


@attrs.frozen
class Field:
    """One parameter: its name on the wire, the type that JSON gives it, and the rules that the pages make hard."""

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
    """One call. `shape` is how a submission is answered, `output` the member that a finished status answer holds.

    Of the parameters in `either`, one has to be there. `example` is a body that has to be accepted.
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


MODEL: Final = Field("model", str, required=True)
PROMPT: Final = Field("prompt", str, required=True, longest=2000)
ASPECT_RATIO: Final = Field("aspect_ratio", str, required=True)
NEGATIVE_PROMPT: Final = Field("negative_prompt", str, longest=1000)
RESOLUTION: Final = Field("resolution", str)
WEBHOOK_URL: Final = Field("webhook_url", str)
CALLER_ID: Final = Field("caller_id", int)
DURATION: Final = Field("duration", int, required=True)
VIDEO_NUMBER: Final = Field("video_number", int, least=1, most=4)
GENERATE_AUDIO: Final = Field("generate_audio", bool)
VIDEO_URL: Final = Field("video_url", str, required=True)
IMG_URL: Final = Field("img_url", str, required=True)
MODEL_2: Final = Field("model", str)
COMMON: Final = (WEBHOOK_URL, CALLER_ID)

ENTRIES: Final = (
    Entry(
        "text_to_image",
        "POST",
        "/v1/generation/text-to-image",
        shape="batch",
        output="images",
        fields=(
            MODEL,
            PROMPT,
            ASPECT_RATIO,
            NEGATIVE_PROMPT,
            Field("image_number", int, least=1),
            RESOLUTION,
            Field("use_web_search", bool),
            Field("quality", str),
            *COMMON,
        ),
        example={"model": "WERYAI_IMAGE_2_0", "prompt": "hills", "aspect_ratio": "1:1"},
    ),
    Entry(
        "image_to_image",
        "POST",
        "/v1/generation/image-to-image",
        shape="batch",
        output="images",
        fields=(
            MODEL,
            PROMPT,
            Field("images", list, required=True),
            ASPECT_RATIO,
            NEGATIVE_PROMPT,
            Field("image_number", int, least=1),
            RESOLUTION,
            Field("use_web_search", bool),
            *COMMON,
        ),
        example={
            "model": "WERYAI_IMAGE_2_0",
            "prompt": "hills",
            "aspect_ratio": "1:1",
            "images": ["https://example.com/a.png"],
        },
    ),
    Entry(
        "text_to_video",
        "POST",
        "/v1/generation/text-to-video",
        shape="batch",
        output="videos",
        fields=(
            MODEL,
            PROMPT,
            DURATION,
            Field("aspect_ratio", str),
            NEGATIVE_PROMPT,
            VIDEO_NUMBER,
            RESOLUTION,
            GENERATE_AUDIO,
            *COMMON,
        ),
        example={"model": "VEO_3_1", "prompt": "hills", "duration": 8},
    ),
    Entry(
        "image_to_video",
        "POST",
        "/v1/generation/image-to-video",
        shape="batch",
        output="videos",
        fields=(
            MODEL,
            PROMPT,
            Field("image", str, required=True),
            ASPECT_RATIO,
            DURATION,
            NEGATIVE_PROMPT,
            VIDEO_NUMBER,
            RESOLUTION,
            GENERATE_AUDIO,
            *COMMON,
        ),
        example={
            "model": "VEO_3_1",
            "prompt": "hills",
            "duration": 8,
            "image": "https://example.com/a.png",
            "aspect_ratio": "16:9",
        },
    ),
    Entry(
        "multi_image_to_video",
        "POST",
        "/v1/generation/multi-image-to-video",
        shape="batch",
        output="videos",
        fields=(
            MODEL,
            PROMPT,
            Field("images", list, required=True, most_items=3),
            ASPECT_RATIO,
            DURATION,
            NEGATIVE_PROMPT,
            VIDEO_NUMBER,
            RESOLUTION,
            GENERATE_AUDIO,
            *COMMON,
        ),
        example={
            "model": "VEO_3_1",
            "prompt": "hills",
            "duration": 8,
            "images": ["https://example.com/a.png", "https://example.com/b.png"],
            "aspect_ratio": "16:9",
        },
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
            ASPECT_RATIO,
            DURATION,
            NEGATIVE_PROMPT,
            VIDEO_NUMBER,
            RESOLUTION,
            GENERATE_AUDIO,
            *COMMON,
        ),
        example={
            "model": "VEO_3_1",
            "prompt": "hills",
            "duration": 8,
            "first_pic_url": "https://example.com/a.png",
            "end_pic_url": "https://example.com/b.png",
            "aspect_ratio": "16:9",
        },
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
            Field("duration", int, required=True, least=5, most=15),
            Field("images", list, most_items=9),
            Field("videos", list, most_items=3),
            Field("audios", list, most_items=3),
            Field(
                "aspect_ratio",
                str,
                choices=(
                    "1:1",
                    "9:16",
                    "16:9",
                ),
            ),
            Field(
                "resolution",
                str,
                choices=(
                    "480p",
                    "720p",
                ),
            ),
            Field(
                "generate_audio",
                str,
                choices=(
                    "true",
                    "false",
                ),
            ),
            VIDEO_NUMBER,
            *COMMON,
        ),
        example={"model": "SEEDANCE_2_0", "duration": 5, "images": ["https://example.com/a.png"]},
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
        example={"template_config_id": 7, "image_url": ["https://example.com/a.png"]},
    ),
    Entry(
        "music_generate",
        "POST",
        "/v1/generation/music/generate",
        shape="task",
        output="audios",
        fields=(
            Field(
                "type",
                str,
                required=True,
                choices=(
                    "VOCAL_SONG",
                    "ONLY_MUSIC",
                ),
            ),
            Field("description", str),
            Field("styles", dict),
            Field("lyrics", str),
            Field("reference_audio", str),
            Field("audio_name", str),
            Field(
                "gender",
                str,
                choices=(
                    "m",
                    "f",
                ),
            ),
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
            Field(
                "language",
                str,
                required=True,
                choices=(
                    "en",
                    "zh",
                    "ja",
                ),
            ),
            Field(
                "mode",
                str,
                required=True,
                choices=(
                    "quick",
                    "debate",
                    "deep",
                ),
            ),
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
        fields=(
            Field("scripts", list),
            *COMMON,
        ),
    ),
    Entry(
        "podcast_speakers",
        "GET",
        "/v1/generation/podcast/speakers/list",
        fields=(
            Field(
                "language",
                str,
                choices=(
                    "en",
                    "zh",
                    "ja",
                ),
            ),
        ),
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
        fields=(
            Field("audio_url", str),
            Field("audio_base64", str),
            Field("language", str),
            *COMMON,
        ),
        either=("audio_url", "audio_base64"),
        example={"audio_url": "https://example.com/a.wav"},
    ),
    Entry(
        "video_extend",
        "POST",
        "/v1/generation/video-extend",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("prompt", str, required=True),
            Field(
                "style",
                str,
                choices=(
                    "anime",
                    "3d_animation",
                    "cyberpunk",
                    "comic",
                ),
            ),
            Field(
                "resolution",
                str,
                choices=(
                    "360p",
                    "540p",
                    "720p",
                    "1080p",
                ),
            ),
            Field(
                "duration",
                int,
                choices=(
                    5,
                    8,
                ),
            ),
            CALLER_ID,
        ),
        example={"video_url": "https://example.com/a.mp4", "prompt": "it goes on"},
    ),
    Entry(
        "video_merge",
        "POST",
        "/v1/generation/video-merge",
        shape="task",
        output="videos",
        fields=(
            Field("video_urls", list, required=True, fewest=2, most_items=30),
            CALLER_ID,
        ),
        example={"video_urls": ["https://example.com/a.mp4", "https://example.com/b.mp4"]},
    ),
    Entry(
        "video_anime_replace",
        "POST",
        "/v1/generation/video-anime-replace",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("image_url", str, required=True),
            Field(
                "type",
                str,
                choices=(
                    "move",
                    "replace",
                ),
            ),
            Field(
                "resolution",
                str,
                choices=(
                    "480p",
                    "580p",
                    "720p",
                ),
            ),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4", "image_url": "https://example.com/a.png"},
    ),
    Entry(
        "video_background_remove",
        "POST",
        "/v1/generation/video-background-remove",
        shape="task",
        output="videos",
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
        example={"video_url": "https://example.com/a.mp4"},
    ),
    Entry(
        "video_face_change",
        "POST",
        "/v1/generation/video-face-change",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("image_url", str, required=True),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4", "image_url": "https://example.com/a.png"},
    ),
    Entry(
        "video_lips_change",
        "POST",
        "/v1/generation/video-lips-change",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("audio_url", str, required=True),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4", "audio_url": "https://example.com/a.wav"},
    ),
    Entry(
        "video_magic",
        "POST",
        "/v1/generation/video-magic",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field(
                "video_style",
                str,
                choices=(
                    "realistic_2",
                    "anime_style_3",
                    "anime_style_4",
                ),
            ),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4"},
    ),
    Entry(
        "video_subtitle_erase",
        "POST",
        "/v1/generation/video-subtitle-erase",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("rect_vo_list", list),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4"},
    ),
    Entry(
        "video_subtitle_translate",
        "POST",
        "/v1/generation/video-subtitle-translate",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field(
                "target_language",
                str,
                required=True,
                choices=(
                    "en",
                    "zh",
                    "ja",
                    "ko",
                    "fr",
                    "de",
                    "es",
                ),
            ),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4", "target_language": "en"},
    ),
    Entry(
        "video_upscaler",
        "POST",
        "/v1/generation/video-upscaler",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field(
                "resolution",
                str,
                choices=(
                    "1080p",
                    "2k",
                    "4k",
                ),
            ),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4"},
    ),
    Entry(
        "video_watermark_remove",
        "POST",
        "/v1/generation/video-watermark-remove",
        shape="task",
        output="videos",
        fields=(
            VIDEO_URL,
            Field("rect_vo_list", list),
            *COMMON,
        ),
        example={"video_url": "https://example.com/a.mp4"},
    ),
    Entry(
        "image_background_change",
        "POST",
        "/v1/generation/image-bg-change",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            Field("prompt", str),
            Field("bg_color", str, pattern=r"^#[0-9a-fA-F]{6}$"),
            *COMMON,
        ),
        either=("prompt", "bg_color"),
        example={"img_url": "https://example.com/a.png", "prompt": "a beach"},
    ),
    Entry(
        "image_background_remove",
        "POST",
        "/v1/generation/image-bg-remove",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png"},
    ),
    Entry(
        "image_expand",
        "POST",
        "/v1/generation/image-expand",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            Field("original_image_size", str, required=True, pattern=r"^\d+x\d+$"),
            Field("canvas_size", str, required=True, pattern=r"^\d+x\d+$"),
            Field("original_image_location", str, required=True),
            *COMMON,
        ),
        example={
            "img_url": "https://example.com/a.png",
            "original_image_size": "10x20",
            "canvas_size": "30x40",
            "original_image_location": "5,5",
        },
    ),
    Entry(
        "image_face_swap",
        "POST",
        "/v1/generation/image-face-swap",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            Field("face_img_url", str, required=True),
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png", "face_img_url": "https://example.com/b.png"},
    ),
    Entry(
        "image_reframe",
        "POST",
        "/v1/generation/image-reframe",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            Field(
                "aspect_ratio",
                str,
                required=True,
                choices=(
                    "16:9",
                    "9:16",
                    "1:1",
                    "4:3",
                    "3:4",
                    "21:9",
                    "9:21",
                ),
            ),
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png", "aspect_ratio": "16:9"},
    ),
    Entry(
        "image_repair",
        "POST",
        "/v1/generation/image-repair",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png"},
    ),
    Entry(
        "image_text_erase",
        "POST",
        "/v1/generation/image-text-erase",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            MODEL_2,
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png"},
    ),
    Entry(
        "image_translate",
        "POST",
        "/v1/generation/image-translate",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            Field("target_lang", str, required=True),
            Field(
                "type",
                str,
                choices=(
                    "text",
                    "image",
                ),
            ),
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png", "target_lang": "en"},
    ),
    Entry(
        "image_upscale",
        "POST",
        "/v1/generation/image-upscale",
        shape="task",
        output="images",
        fields=(
            IMG_URL,
            *COMMON,
        ),
        example={"img_url": "https://example.com/a.png"},
    ),
    Entry(
        "image_to_prompt",
        "POST",
        "/v1/generation/image-to-prompt",
        fields=(
            IMG_URL,
            Field("image_size", int, required=True),
            Field("language", str),
            MODEL_2,
        ),
        example={"img_url": "https://example.com/a.png", "image_size": 120},
    ),
    Entry(
        "upload_file",
        "POST",
        "/v1/generation/upload-file",
        fields=(
            Field("file", bytes, required=True),
            Field("batch_no", str),
            Field("fixed", bool),
        ),
    ),
    Entry(
        "upload_file_legacy",
        "POST",
        "/growthai/v1/generation/upload-file",
        host="models",
        fields=(
            Field("file", bytes, required=True),
            Field("batch_no", str),
            Field("fixed", bool),
        ),
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
            Field(
                "mode",
                str,
                choices=(
                    "DEEP_RESEARCH",
                    "DEEP_RESEARCH_MAX",
                ),
            ),
            MODEL_2,
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
        fields=(
            Field("file_url", str, required=True),
            Field("file_name", str),
        ),
        example={"file_url": "https://example.com/a.pdf"},
    ),
    Entry("video_models", "GET", "/growthai/v1/video/models", host="models"),
    Entry("image_models", "GET", "/growthai/v1/image/models", host="models"),
    Entry("webhook", "POST", "/"),
)
"""The last one is sent by WeryAI to a `webhook_url`; all others are sent by us."""

ENTRY: Final[Mapping[str, Entry]] = {entry.name: entry for entry in ENTRIES}
