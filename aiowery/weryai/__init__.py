"""WeryAI: its client and everything it can be asked for.

    _client                              verbs
    _podcast_job                         a podcast's two steps
    _provider | _catalogue | _registry   requests to calls; requests by name; what the registries say
    _answers | _refusals                 answers to values, or to errors
    _bodies                              what answers hold
    _images | _videos | _image_tools | _video_tools | _audio | _podcast | _research | _chat
    _common | _shapes | _known

Requests are frozen values; `client.run(request)` returns the result that belongs to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery._base.lazy import lazy_names

_HOMES: Final = {
    "_client": ("WeryAI",),
    "_deliveries": ("decode_delivery", "parse_delivery"),
    "_model_listing": ("ChatModel", "CheckIssue", "Model", "Speaker"),
    "_podcast_job": ("PodcastJob",),
    "_request_types": ("REQUESTS", "from_dict", "request_type", "to_dict"),
    "requests._audio": ("Music", "SpeechRecognize", "Styles", "TextToAudio"),
    "requests._chat": ("Chat", "ChatResult", "Message"),
    "requests._choices": ("ASPECT_RATIOS", "IMAGE_MODELS", "VIDEO_MODELS", "VOICES", "AspectRatio"),
    "requests._geometry": ("Point", "Rectangle", "Size"),
    "requests._image_tools": (
        "ImageBackgroundChange",
        "ImageBackgroundRemove",
        "ImageExpand",
        "ImageFaceSwap",
        "ImageReframe",
        "ImageRepair",
        "ImageTextErase",
        "ImageToPrompt",
        "ImageTranslate",
        "ImageUpscale",
    ),
    "requests._images": ("ImageToImage", "TextToImage"),
    "requests._podcast": ("Podcast", "PodcastResult", "PodcastScript", "PodcastVoice"),
    "requests._research": ("CorpusResult", "CorpusUpload", "DeepResearch", "ResearchResult"),
    "requests._video_tools": (
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
    ),
    "requests._videos": (
        "AlmightyReferenceToVideo",
        "EffectTemplate",
        "FirstLastImageToVideo",
        "ImageToVideo",
        "MultiImageToVideo",
        "TextToVideo",
    ),
}

if TYPE_CHECKING:
    from aiowery.weryai._client import WeryAI
    from aiowery.weryai._deliveries import decode_delivery, parse_delivery
    from aiowery.weryai._model_listing import ChatModel, CheckIssue, Model, Speaker
    from aiowery.weryai._podcast_job import PodcastJob
    from aiowery.weryai._request_types import REQUESTS, from_dict, request_type, to_dict
    from aiowery.weryai.requests._audio import Music, SpeechRecognize, Styles, TextToAudio
    from aiowery.weryai.requests._chat import Chat, ChatResult, Message
    from aiowery.weryai.requests._choices import (
        ASPECT_RATIOS,
        IMAGE_MODELS,
        VIDEO_MODELS,
        VOICES,
        AspectRatio,
    )
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
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

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
    "CheckIssue",
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
    "Styles",
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
