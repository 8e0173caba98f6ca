"""Everything WeryAI can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiowery._core.request_types import LazyTypes, RequestTypes, to_dict
from aiowery.weryai.requests._base import WeryAIRequest

_NAMES: Final = {
    "text-to-image": "TextToImage",
    "image-to-image": "ImageToImage",
    "text-to-video": "TextToVideo",
    "image-to-video": "ImageToVideo",
    "multi-image-to-video": "MultiImageToVideo",
    "first-last-image-to-video": "FirstLastImageToVideo",
    "almighty-reference-to-video": "AlmightyReferenceToVideo",
    "effect-template": "EffectTemplate",
    "music": "Music",
    "text-to-audio": "TextToAudio",
    "speech-recognize": "SpeechRecognize",
    "podcast": "Podcast",
    "podcast-voice": "PodcastVoice",
    "image-bg-change": "ImageBackgroundChange",
    "image-bg-remove": "ImageBackgroundRemove",
    "image-expand": "ImageExpand",
    "image-face-swap": "ImageFaceSwap",
    "image-reframe": "ImageReframe",
    "image-repair": "ImageRepair",
    "image-text-erase": "ImageTextErase",
    "image-translate": "ImageTranslate",
    "image-upscale": "ImageUpscale",
    "image-to-prompt": "ImageToPrompt",
    "video-anime-replace": "VideoAnimeReplace",
    "video-background-remove": "VideoBackgroundRemove",
    "video-extend": "VideoExtend",
    "video-face-change": "VideoFaceChange",
    "video-lips-change": "VideoLipsChange",
    "video-magic": "VideoMagic",
    "video-merge": "VideoMerge",
    "video-subtitle-erase": "VideoSubtitleErase",
    "video-subtitle-translate": "VideoSubtitleTranslate",
    "video-upscaler": "VideoUpscale",
    "video-watermark-remove": "VideoWatermarkRemove",
    "deep-research": "DeepResearch",
    "corpus-upload": "CorpusUpload",
    "chat": "Chat",
}
CATALOGUE: Final[RequestTypes[WeryAIRequest[Any]]] = RequestTypes(LazyTypes("aiowery.weryai", _NAMES))
REQUESTS: Final[Mapping[str, type[WeryAIRequest[Any]]]] = CATALOGUE.requests
"""Every request class by its `type_name`, which files and the command line use."""


def request_type(name: object) -> type[WeryAIRequest[Any]]:
    """Return the request class of this `type_name`; ConfigurationError lists the known ones."""
    return CATALOGUE.request_type(name)


def from_dict(values: Mapping[str, Any]) -> WeryAIRequest[Any]:
    """Make the request that a JSON object describes: `type` names its class, null means left out.

    (For a video's ratio, which has a default, null means that none is sent.)

    A text in a media field that is no url is a local file's path, so take objects from people you trust with your
    files only. Names that the class does not know go to `extra`. Raises ConfigurationError.
    """
    return CATALOGUE.from_dict(values)


__all__ = ("CATALOGUE", "REQUESTS", "from_dict", "request_type", "to_dict")
