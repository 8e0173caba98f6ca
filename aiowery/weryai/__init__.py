"""WeryAI: its client and all its requests.

Requests are frozen values; `client.run(request)` returns the result that belongs to the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from aiowery._base.public_names import lazy_names

# Each module's request classes, with the `type_name` of each, in the order in which they are listed.
_REQUEST_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "requests._images": {"TextToImage": "text-to-image", "ImageToImage": "image-to-image"},
    "requests._videos": {
        "TextToVideo": "text-to-video",
        "ImageToVideo": "image-to-video",
        "MultiImageToVideo": "multi-image-to-video",
        "FirstLastImageToVideo": "first-last-image-to-video",
        "AlmightyReferenceToVideo": "almighty-reference-to-video",
        "EffectTemplate": "effect-template",
    },
    "requests._audio": {"Music": "music", "TextToAudio": "text-to-audio", "SpeechRecognize": "speech-recognize"},
    "requests._podcast": {"Podcast": "podcast", "PodcastVoice": "podcast-voice"},
    "requests._image_tools": {
        "ImageBackgroundChange": "image-bg-change",
        "ImageBackgroundRemove": "image-bg-remove",
        "ImageExpand": "image-expand",
        "ImageFaceSwap": "image-face-swap",
        "ImageReframe": "image-reframe",
        "ImageRepair": "image-repair",
        "ImageTextErase": "image-text-erase",
        "ImageTranslate": "image-translate",
        "ImageUpscale": "image-upscale",
        "ImageToPrompt": "image-to-prompt",
    },
    "requests._video_tools": {
        "VideoAnimeReplace": "video-anime-replace",
        "VideoBackgroundRemove": "video-background-remove",
        "VideoExtend": "video-extend",
        "VideoFaceChange": "video-face-change",
        "VideoLipsChange": "video-lips-change",
        "VideoMagic": "video-magic",
        "VideoMerge": "video-merge",
        "VideoSubtitleErase": "video-subtitle-erase",
        "VideoSubtitleTranslate": "video-subtitle-translate",
        "VideoUpscale": "video-upscaler",
        "VideoWatermarkRemove": "video-watermark-remove",
    },
    "requests._research": {"DeepResearch": "deep-research", "CorpusUpload": "corpus-upload"},
    "requests._chat": {"Chat": "chat"},
}
# Each module's other public names.
_NAMES: Final[Mapping[str, Iterable[str]]] = {
    "_client": ("WeryAI",),
    "_deliveries": ("decode_delivery", "parse_delivery"),
    "_model_listing": ("ChatModel", "Model", "Speaker"),
    "_podcast_job": ("PodcastJob",),
    "_request_types": ("REQUESTS", "from_dict", "request_type", "to_dict"),
    "requests._chat": ("ChatResult", "Message"),
    "requests._choices": ("ASPECT_RATIOS", "IMAGE_MODELS", "VIDEO_MODELS", "VOICES", "AspectRatio"),
    "requests._geometry": ("Point", "Rectangle", "Size"),
    "requests._podcast": ("PodcastResult", "PodcastScript"),
    "requests._research": ("CorpusResult", "ResearchResult"),
}

# `python -m tests.tables --write` writes the imports below and `__all__` from these tables.
if TYPE_CHECKING:
    from aiowery.weryai._client import WeryAI
    from aiowery.weryai._deliveries import decode_delivery, parse_delivery
    from aiowery.weryai._model_listing import ChatModel, Model, Speaker
    from aiowery.weryai._podcast_job import PodcastJob
    from aiowery.weryai._request_types import REQUESTS, from_dict, request_type, to_dict
    from aiowery.weryai.requests._audio import Music, SpeechRecognize, TextToAudio
    from aiowery.weryai.requests._chat import Chat, ChatResult, Message
    from aiowery.weryai.requests._choices import ASPECT_RATIOS, IMAGE_MODELS, VIDEO_MODELS, VOICES, AspectRatio
    from aiowery.weryai.requests._geometry import Point, Rectangle, Size
    from aiowery.weryai.requests._image_tools import (
        ImageBackgroundChange,
        ImageBackgroundRemove,
        ImageExpand,
        ImageFaceSwap,
        ImageReframe,
        ImageRepair,
        ImageTextErase,
        ImageToPrompt,
        ImageTranslate,
        ImageUpscale,
    )
    from aiowery.weryai.requests._images import ImageToImage, TextToImage
    from aiowery.weryai.requests._podcast import Podcast, PodcastResult, PodcastScript, PodcastVoice
    from aiowery.weryai.requests._research import CorpusResult, CorpusUpload, DeepResearch, ResearchResult
    from aiowery.weryai.requests._video_tools import (
        VideoAnimeReplace,
        VideoBackgroundRemove,
        VideoExtend,
        VideoFaceChange,
        VideoLipsChange,
        VideoMagic,
        VideoMerge,
        VideoSubtitleErase,
        VideoSubtitleTranslate,
        VideoUpscale,
        VideoWatermarkRemove,
    )
    from aiowery.weryai.requests._videos import (
        AlmightyReferenceToVideo,
        EffectTemplate,
        FirstLastImageToVideo,
        ImageToVideo,
        MultiImageToVideo,
        TextToVideo,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__, _NAMES, _REQUEST_NAMES)

__all__ = (
    "ASPECT_RATIOS",
    "IMAGE_MODELS",
    "REQUESTS",
    "VIDEO_MODELS",
    "VOICES",
    "AlmightyReferenceToVideo",
    "AspectRatio",
    "Chat",
    "ChatModel",
    "ChatResult",
    "CorpusResult",
    "CorpusUpload",
    "DeepResearch",
    "EffectTemplate",
    "FirstLastImageToVideo",
    "ImageBackgroundChange",
    "ImageBackgroundRemove",
    "ImageExpand",
    "ImageFaceSwap",
    "ImageReframe",
    "ImageRepair",
    "ImageTextErase",
    "ImageToImage",
    "ImageToPrompt",
    "ImageToVideo",
    "ImageTranslate",
    "ImageUpscale",
    "Message",
    "Model",
    "MultiImageToVideo",
    "Music",
    "Podcast",
    "PodcastJob",
    "PodcastResult",
    "PodcastScript",
    "PodcastVoice",
    "Point",
    "Rectangle",
    "ResearchResult",
    "Size",
    "Speaker",
    "SpeechRecognize",
    "TextToAudio",
    "TextToImage",
    "TextToVideo",
    "VideoAnimeReplace",
    "VideoBackgroundRemove",
    "VideoExtend",
    "VideoFaceChange",
    "VideoLipsChange",
    "VideoMagic",
    "VideoMerge",
    "VideoSubtitleErase",
    "VideoSubtitleTranslate",
    "VideoUpscale",
    "VideoWatermarkRemove",
    "WeryAI",
    "decode_delivery",
    "from_dict",
    "parse_delivery",
    "request_type",
    "to_dict",
)
