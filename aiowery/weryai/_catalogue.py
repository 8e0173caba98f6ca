"""Everything WeryAI can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiowery._catalogue import Catalogue, as_object
from aiowery.weryai._audio import Music, SpeechRecognize, TextToAudio
from aiowery.weryai._chat import Chat
from aiowery.weryai._common import WeryAIRequest
from aiowery.weryai._image_tools import (
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
from aiowery.weryai._images import ImageToImage, TextToImage
from aiowery.weryai._podcast import Podcast, PodcastVoice
from aiowery.weryai._research import CorpusUpload, DeepResearch
from aiowery.weryai._video_tools import (
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
from aiowery.weryai._videos import (
    AlmightyReferenceToVideo,
    EffectTemplate,
    FirstLastImageToVideo,
    ImageToVideo,
    MultiImageToVideo,
    TextToVideo,
)

CATALOGUE: Final[Catalogue[WeryAIRequest[Any]]] = Catalogue(
    TextToImage,
    ImageToImage,
    TextToVideo,
    ImageToVideo,
    MultiImageToVideo,
    FirstLastImageToVideo,
    AlmightyReferenceToVideo,
    EffectTemplate,
    Music,
    TextToAudio,
    SpeechRecognize,
    Podcast,
    PodcastVoice,
    ImageBackgroundChange,
    ImageBackgroundRemove,
    ImageExpand,
    ImageFaceSwap,
    ImageReframe,
    ImageRepair,
    ImageTextErase,
    ImageTranslate,
    ImageUpscale,
    ImageToPrompt,
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
    DeepResearch,
    CorpusUpload,
    Chat,
)
REQUESTS: Final[Mapping[str, type[WeryAIRequest[Any]]]] = CATALOGUE.requests
"""Every request class by its `type_name`, which files and the command line use."""


def request_type(name: object) -> type[WeryAIRequest[Any]]:
    """Return the request class of this `type_name`; ConfigurationError lists the known ones."""
    return CATALOGUE.request_type(name)


def from_object(values: Mapping[str, Any]) -> WeryAIRequest[Any]:
    """Make the request that a JSON object describes: `type` names its class, null means left out.

    (For a video's ratio, which has a default, null means that none is sent.)

    A text in a media field that is no url is a local file's path, so take objects from people you trust with your
    files only. Names that the class does not know go to `extra`. Raises ConfigurationError.
    """
    return CATALOGUE.from_object(values)


__all__ = ("CATALOGUE", "REQUESTS", "as_object", "from_object", "request_type")
