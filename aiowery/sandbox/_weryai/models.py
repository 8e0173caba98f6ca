"""Models, as the model listings contain them, and speakers."""

from __future__ import annotations

from typing import Any

import attrs

from aiowery.sandbox._weryai.model_rows import FIRST_LAST, IMAGE_TO_IMAGE, MULTI_IMAGE, TEXT_TO_IMAGE, VIDEOS

_ANY_SIZES = ("9:16", "1:1", "16:9", "3:4", "4:3")
"""Listed for a model whose ratios are documented nowhere."""
_PROMPT = 2000


@attrs.frozen
class _Image:
    key: str
    title: str
    numbers: tuple[int, ...] = (1, 2, 3, 4)
    resolutions: tuple[str, ...] = ("1k", "2k", "4k")
    pictures: int = 3

    def to_json(self, *, takes_pictures: bool) -> dict[str, Any]:
        row = (IMAGE_TO_IMAGE if takes_pictures else TEXT_TO_IMAGE)[self.key]
        return {
            "model_key": self.key,
            "title": self.title,
            "image_sizes": list(row.ratios or _ANY_SIZES),
            "num_images": list(self.numbers),
            "resolutions": list(self.resolutions),
            "prompt_length_limit": _PROMPT,
            **({"upload_image_limit": self.pictures} if takes_pictures else {}),
        }


@attrs.frozen
class _Video:
    key: str
    title: str
    resolutions: tuple[str, ...] = ("480p", "720p")
    audio: bool = False
    negative: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "model_key": self.key,
            "title": self.title,
            "durations": list(VIDEOS[self.key].durations),
            "aspect_ratios": list(VIDEOS[self.key].ratios),
            "resolutions": list(self.resolutions),
            "has_generate_audio": self.audio,
            "has_negative_prompt": self.negative,
            "prompt_length_limit": _PROMPT,
            "support_multiple_images": self.key in MULTI_IMAGE,
            "support_first_last_frame": self.key in FIRST_LAST,
            "upload_image_limit": 3 if self.key in MULTI_IMAGE else 1,
        }


_IMAGES = (
    _Image("WERYAI_IMAGE_2_0", "WeryAI Image 2.0"),
    _Image("WERYAI_IMAGE_1_0", "WeryAI Image 1.0", numbers=(4,), resolutions=()),
    _Image("GEMINI_3_1_FLASH_IMAGE", "Nano Banana 2"),
    _Image("GEMINI_2_5_FLASH", "Nano Banana", resolutions=()),
    _Image("GPT_IMAGE_2", "GPT Image 2"),
    _Image("GPT_IMAGE_1_5", "GPT Image 1.5", resolutions=()),
    _Image("SEEDREAM_4_5", "Seedream 4.5"),
    _Image("QWEN_IMAGE", "Qwen Image"),
)
_VIDEOS = (
    _Video("WERYAI_VIDEO_1_0", "WeryAI Video 1.0", negative=True),
    _Video("VEO_3_1", "Veo 3.1", ("720p", "1080p", "4k"), audio=True),
    _Video("SORA_2", "Sora 2", ("720p",)),
    _Video("SORA_2_PRO", "Sora 2 Pro", ("720p", "1080p")),
    _Video("WERYDANCE_2_0", "WeryDance 2.0", audio=True),
    _Video("SEEDANCE_2_0", "Seedance 2.0", audio=True),
    _Video("DOUBAO_1_5_PRO", "Seedance 1.5 Pro", ("480p", "720p", "1080p"), audio=True),
    _Video("DOUBAO_1_LITE", "Seedance 1.0 Lite"),
    _Video("KLING_V3_0_PRO", "Kling 3.0 Pro", (), audio=True, negative=True),
    _Video("KLING_V2_6_PRO", "Kling 2.6 Pro", (), audio=True, negative=True),
    _Video("VIDU_Q3", "Vidu Q3", ("360p", "540p", "720p", "1080p"), audio=True),
    _Video("PIKA_2_2", "Pika 2.2", ("720p", "1080p"), negative=True),
)
_CHATS = (
    ("GPT_5_5", "for hard questions", 128_000, 2.5, 10.0),
    ("GPT_4O", "general", 16_384, 1.5, 6.0),
    ("CLAUDE_SONNET_4_6", "writes and programs well", 64_000, 3.0, 15.0),
    ("GEMINI_3_1_PRO", "reads long documents", 65_536, 1.25, 10.0),
    ("DEEPSEEK_R1", "thinks aloud", 32_768, 0.5, 2.2),
    ("GLM_4_7_FLASH", "quick and cheap", 16_384, 0.1, 0.4),
)
_SPEAKERS = (
    ("Mira", "spk-en-07", "female", "en"),
    ("Jon", "spk-en-11", "male", "en"),
    ("Lan", "spk-zh-02", "female", "zh"),
    ("Wei", "spk-zh-05", "male", "zh"),
    ("Aoi", "spk-ja-01", "female", "ja"),
    ("Ren", "spk-ja-04", "male", "ja"),
)


def image_models() -> dict[str, Any]:
    """Return the listing of image models."""
    return {
        "text_to_image": [model.to_json(takes_pictures=False) for model in _IMAGES],
        "image_to_image": [model.to_json(takes_pictures=True) for model in _IMAGES],
    }


def video_models() -> dict[str, Any]:
    """Return the listing of video models. Its third list has been seen empty."""
    models = [model.to_json() for model in _VIDEOS]
    return {"text_to_video": models, "image_to_video": models, "multi_image_to_video": []}


def chat_models() -> dict[str, Any]:
    """Return the chat models. The response has no envelope."""
    names = ("model", "desc", "max_tokens", "input_price", "output_price")
    return {"models": [dict(zip(names, model, strict=True)) for model in _CHATS]}


def speakers(language: str | None, base_url: str) -> dict[str, Any]:
    """Return the speakers of one language, or all if `language` is None."""
    return {
        "speakers": [
            {
                "name": name,
                "speaker_id": id_,
                "demo_audio_url": f"{base_url}files/{id_}.wav",
                "gender": gender,
                "language": spoken,
            }
            for name, id_, gender, spoken in _SPEAKERS
            if language in {None, spoken}
        ]
    }


NAMES = {id_: name for name, id_, _, _ in _SPEAKERS}
"""Names of the speakers by id."""
LANGUAGES = frozenset(language for _, _, _, language in _SPEAKERS)
