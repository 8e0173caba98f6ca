"""Everything WeryAI can be asked for, by name; and each request as JSON, to files and back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery._fields import wire_of
from aiowery._media import File, is_url
from aiowery._values import Request
from aiowery.errors import ConfigurationError
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
from aiowery.weryai._shapes import Point, Size
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

_CLASSES: Final[tuple[type[WeryAIRequest[Any]], ...]] = (
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
REQUESTS: Final[Mapping[str, type[WeryAIRequest[Any]]]] = {cls.type_name: cls for cls in _CLASSES}
"""Every request class by its `type_name`, which files and the command line use."""

_TYPE: Final = "type"


def request_type(name: object) -> type[WeryAIRequest[Any]]:
    """Return the request class of this `type_name`; ConfigurationError lists the known ones."""
    cls = REQUESTS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ConfigurationError(f"type is {name!r}; known types are: {', '.join(REQUESTS)}")
    return cls


def as_object(request: Request[Any]) -> dict[str, Any]:
    """Return the request as a JSON object, from which `from_object` makes an equal one.

    Only what was set is there. A local file stands by its path, a file in memory with its content in base64.
    """
    told = {
        field.name: _told(value)
        for field in attrs.fields(type(request))
        if (value := getattr(request, field.name)) is not None or _is_none_by_choice(field, value)
        if value != () and (field.name != "extra" or value)
    }
    return {_TYPE: request.type_name, **told}


def from_object(values: Mapping[str, Any]) -> WeryAIRequest[Any]:
    """Make the request that a JSON object describes: `type` names its class, null means left out.

    (For a video's ratio, which has a default, null means that none is sent.)

    A text in a media field that is no url is a local file's path, so take objects from people you trust with your
    files only. Names that the class does not know go to `extra`. Raises ConfigurationError.
    """
    cls = request_type(values.get(_TYPE))
    fields = {field.name: field for field in attrs.fields(cls)}
    given = {
        name: value
        for name, value in values.items()
        if name != _TYPE and (value is not None or _is_none_by_choice(fields.get(name), value))
    }
    extra = given.pop("extra", {})
    if not isinstance(extra, Mapping):
        raise ConfigurationError(f"extra is {extra!r}; an object is needed")
    known = {name: _read(fields[name], value) for name, value in given.items() if name in fields}
    unknown = {name: value for name, value in given.items() if name not in fields}
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in known:
            raise ConfigurationError(f"no {name}; {cls.type_name} needs one")
    return cls(extra={**extra, **unknown}, **known)


def _is_none_by_choice(field: attrs.Attribute[Any] | None, value: Any) -> bool:
    return value is None and field is not None and wire_of(field).may_be_none


def _told(value: Any) -> Any:
    """Write one of our values as JSON has it."""
    if isinstance(value, (Size, Point, Path)):
        return str(value)
    if isinstance(value, File):
        return {"base64": base64.b64encode(value.content).decode(), "name": value.name}
    if isinstance(value, tuple):
        return [_told(item) for item in value]
    if attrs.has(type(value)):
        return {
            name: _told(member) for name, member in attrs.asdict(value, recurse=False).items() if member is not None
        }
    return dict(value) if isinstance(value, Mapping) else value


def _read(field: attrs.Attribute[Any], value: Any) -> Any:
    """Read what JSON says of a media field; other fields convert by themselves."""
    if wire_of(field).media is None:
        return value
    return [_local(item) for item in value] if isinstance(value, list) else _local(value)


def _local(value: Any) -> Any:
    if isinstance(value, str):
        return value if is_url(value) else Path(value)
    if isinstance(value, Mapping):
        try:
            return File(base64.b64decode(value["base64"], validate=True), str(value.get("name", "")))
        except (KeyError, TypeError, binascii.Error, ValueError) as fault:
            raise ConfigurationError(f"a file is given as {{'base64': ..., 'name': ...}}: {fault!r}") from fault
    return value
