"""Requests that change a video (contract: Video tools)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import integer, item_count, text_length, wire
from aiowery._core.media import Media, media_list, to_media
from aiowery._core.result import VideoResult
from aiowery.weryai.requests._base import CallerRequest, WebhookRequest, optional_text, required_text
from aiowery.weryai.requests._choices import BackgroundColor, Language, Resolution
from aiowery.weryai.requests._geometry import RECTANGLES_TEXT, Rectangle, rectangles


@attrs.frozen(kw_only=True)
class _VideoTool(WebhookRequest[VideoResult]):
    """Base class of the video tools; `video_url`: the video to change, a URL or a local file."""

    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[VideoResult]] = VideoResult

    video_url: Media = attrs.field(converter=to_media, metadata=wire(media="video"))


@attrs.frozen(kw_only=True)
class VideoAnimeReplace(_VideoTool):
    """Put a drawn figure into a video: `POST /v1/generation/video-anime-replace`.

    `image_url`: a picture of the figure, a URL or a local file. `mode`: "replace" (the value in the vendor's client)
    or "move". `resolution`: 480p, 580p or 720p.
    """

    type_name: ClassVar[str] = "video-anime-replace"
    endpoint: ClassVar[str] = "/v1/generation/video-anime-replace"

    image_url: Media = attrs.field(converter=to_media, metadata=wire(media="image"))
    mode: Literal["move", "replace"] | str | None = attrs.field(
        default=None, validator=optional_text, metadata=wire("type")
    )
    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class VideoBackgroundRemove(_VideoTool):
    """Remove the background of a video: `POST /v1/generation/video-background-remove`.

    `background_color`: the replacement, such as "TRANSPARENT" or "BLACK" (values in the vendor's client).
    """

    type_name: ClassVar[str] = "video-background-remove"
    endpoint: ClassVar[str] = "/v1/generation/video-background-remove"

    background_color: BackgroundColor | str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class VideoExtend(CallerRequest[VideoResult]):
    """Continue a video: `POST /v1/generation/video-extend`.

    `video_url`: the video, a URL or a local file. `prompt`: the continuation in words. `style`: anime, 3d_animation,
    cyberpunk or comic. `resolution`: 360p, 540p, 720p (the provider's default) or 1080p. `duration`: 5 (the provider's
    default) or 8 seconds. No webhook is documented here.
    """

    type_name: ClassVar[str] = "video-extend"
    endpoint: ClassVar[str] = "/v1/generation/video-extend"
    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[VideoResult]] = VideoResult

    video_url: Media = attrs.field(converter=to_media, metadata=wire(media="video"))
    prompt: str = attrs.field(validator=text_length(shortest=1, longest=100_000))
    style: Literal["anime", "3d_animation", "cyberpunk", "comic"] | str | None = attrs.field(
        default=None, validator=optional_text
    )
    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)
    duration: int | None = attrs.field(default=None, validator=integer(least=1))


@attrs.frozen(kw_only=True)
class VideoFaceChange(_VideoTool):
    """Replace the face in a video: `POST /v1/generation/video-face-change`.

    `face_image_url`: the picture with the new face, a URL or a local file.
    """

    type_name: ClassVar[str] = "video-face-change"
    endpoint: ClassVar[str] = "/v1/generation/video-face-change"

    face_image_url: Media = attrs.field(converter=to_media, metadata=wire("image_url", media="image"))


@attrs.frozen(kw_only=True)
class VideoLipsChange(_VideoTool):
    """Synchronize the lips in a video with a sound: `POST /v1/generation/video-lips-change`.

    `audio_url`: the sound, a URL or a local file.
    """

    type_name: ClassVar[str] = "video-lips-change"
    endpoint: ClassVar[str] = "/v1/generation/video-lips-change"

    audio_url: Media = attrs.field(converter=to_media, metadata=wire(media="audio"))


@attrs.frozen(kw_only=True)
class VideoMagic(_VideoTool):
    """Redraw a video in another style: `POST /v1/generation/video-magic`.

    `video_style`: realistic_2, anime_style_3 (the value in the vendor's client) or anime_style_4.
    """

    type_name: ClassVar[str] = "video-magic"
    endpoint: ClassVar[str] = "/v1/generation/video-magic"

    video_style: Literal["realistic_2", "anime_style_3", "anime_style_4"] | str | None = attrs.field(
        default=None, validator=optional_text
    )


@attrs.frozen(kw_only=True)
class VideoMerge(CallerRequest[VideoResult]):
    """Join videos: `POST /v1/generation/video-merge`.

    `video_urls`: 2 to 30 videos in order, each under 3 minutes, URLs or local files. No webhook is documented here.
    """

    type_name: ClassVar[str] = "video-merge"
    endpoint: ClassVar[str] = "/v1/generation/video-merge"
    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[VideoResult]] = VideoResult

    video_urls: tuple[Media, ...] = attrs.field(
        converter=media_list, validator=item_count(least=2, most=30), metadata=wire(media="video")
    )


def _corners(regions: tuple[Rectangle, ...]) -> list[Any] | None:
    return [region.on_wire() for region in regions] or None


@attrs.frozen(kw_only=True)
class _RegionTool(_VideoTool):
    """Base class of the video tools with regions; `regions`: the parts of the picture to change."""

    regions: tuple[Rectangle, ...] = attrs.field(
        default=(), converter=rectangles, metadata=wire("rect_vo_list", write=_corners, text_form=RECTANGLES_TEXT)
    )


@attrs.frozen(kw_only=True)
class VideoSubtitleErase(_RegionTool):
    """Remove subtitles from a video: `POST /v1/generation/video-subtitle-erase`.

    `regions`: their positions as `Rectangle`s; left out, the provider finds them.
    """

    type_name: ClassVar[str] = "video-subtitle-erase"
    endpoint: ClassVar[str] = "/v1/generation/video-subtitle-erase"


@attrs.frozen(kw_only=True)
class VideoSubtitleTranslate(_VideoTool):
    """Translate a video's subtitles: `POST /v1/generation/video-subtitle-translate`.

    `target_language`: en, zh, ja, ko, fr, de or es.
    """

    type_name: ClassVar[str] = "video-subtitle-translate"
    endpoint: ClassVar[str] = "/v1/generation/video-subtitle-translate"

    target_language: Language | str = attrs.field(validator=required_text)


@attrs.frozen(kw_only=True)
class VideoUpscale(_VideoTool):
    """Increase the resolution of a video: `POST /v1/generation/video-upscaler`.

    `resolution`: 1080p (the value in the vendor's client), 2k or 4k.
    """

    type_name: ClassVar[str] = "video-upscaler"
    endpoint: ClassVar[str] = "/v1/generation/video-upscaler"

    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class VideoWatermarkRemove(_RegionTool):
    """Remove a watermark from a video: `POST /v1/generation/video-watermark-remove`.

    `regions`: its positions as `Rectangle`s; left out, the provider finds it.
    """

    type_name: ClassVar[str] = "video-watermark-remove"
    endpoint: ClassVar[str] = "/v1/generation/video-watermark-remove"
