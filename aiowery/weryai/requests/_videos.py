"""Requests for videos, from prompts, pictures and other material (contract: Videos, Effects)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import boolean, integer, item_count, optional_mapping, text_length, wire, wrong_request
from aiowery._core.media import Media, media_list, to_media
from aiowery._core.result import Result, VideoResult
from aiowery.weryai.requests._base import WebhookRequest, negative_prompt, optional_text, prompt, required_text
from aiowery.weryai.requests._choices import Resolution

_MAX_REFERENCES: Final = 12
_WERYDANCE: Final = "WERYDANCE"
_LEAST_SECONDS: Final = 5
_USUAL_RATIO: Final = "16:9"
_WITHOUT_RATIOS: Final = ("KLING_V2_6_PRO", "PIKA_2_2", "WAN_2_6", "PIXVERSE_V6", "HAILUO_")
"""The beginnings of the keys of models that have no choice of aspect ratios."""


@attrs.frozen(kw_only=True)
class _Videos(WebhookRequest[VideoResult]):
    """Base class of the requests for videos; `video_number`: the number of videos, each a task of its own."""

    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[VideoResult]] = VideoResult

    video_number: int | None = attrs.field(default=None, validator=integer(least=1))

    @property
    def task_count(self) -> int:
        """The number of videos: each is a task."""
        return self.video_number or 1


@attrs.frozen(kw_only=True)
class _PromptedVideos(_Videos):
    """Base class of the requests for videos with a prompt; `TextToVideo` documents the fields."""

    prompt: str = attrs.field(validator=prompt)
    model: str = attrs.field(default="WERYAI_VIDEO_1_0", validator=required_text)
    duration: int = attrs.field(default=5, validator=integer(least=1))
    aspect_ratio: str | None = attrs.field(validator=required_text, metadata=wire(may_be_none=True))
    negative_prompt: str | None = attrs.field(default=None, validator=negative_prompt)
    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)
    generate_audio: bool | None = attrs.field(default=None, validator=boolean)

    @aspect_ratio.default
    def _usual_ratio(self) -> str | None:
        """Return the default, None for a model that has no choice of it; the model may be of any type here."""
        return None if str(self.model).startswith(_WITHOUT_RATIOS) else _USUAL_RATIO


@attrs.frozen(kw_only=True)
class _VideosOfPictures(_PromptedVideos):
    """Base class of the requests for videos from several pictures, which have a ratio of their own."""

    model: str = attrs.field(default="WERYDANCE_2_0", validator=required_text)
    aspect_ratio: str | None = attrs.field(default=None, validator=required_text)


@attrs.frozen(kw_only=True)
class TextToVideo(_PromptedVideos):
    """A request for videos from a prompt: `POST /v1/generation/text-to-video`.

    `prompt`: 1 to 2,000 characters. `model`: a key such as those in `VIDEO_MODELS`. `duration`: seconds.
    `aspect_ratio`: such as "16:9" (the default); None leaves it out, which is the default for models without a choice
    of ratios (KLING_V2_6_PRO, PIKA_2_2, WAN_2_6, PIXVERSE_V6, HAILUO). `resolution`: such as "720p". Models differ in
    the values of these three, see `client.check(request)`. `negative_prompt`: at most 1,000 characters.
    `video_number`: the number of videos, each a task of its own. `generate_audio`: add sound, if the model can.

    Confidence: this endpoint is known from client code.
    """

    type_name: ClassVar[str] = "text-to-video"
    endpoint: ClassVar[str] = "/v1/generation/text-to-video"


@attrs.frozen(kw_only=True)
class ImageToVideo(_PromptedVideos):
    """A request for videos that start with a picture: `POST /v1/generation/image-to-video`.

    `image_url`: one picture (jpg, png, webp), a URL or a local file. The other fields are those of `TextToVideo`.
    """

    type_name: ClassVar[str] = "image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/image-to-video"

    image_url: Media = attrs.field(converter=to_media, metadata=wire("image", media="image"))


@attrs.frozen(kw_only=True)
class MultiImageToVideo(_VideosOfPictures):
    """A request for videos from up to three pictures in order: `POST /v1/generation/multi-image-to-video`.

    `image_urls`: 1 to 3 pictures, URLs or local files. `model`: WERYDANCE_2_0 (the default), WERYDANCE_2_0_FAST,
    VEO_3_1, KLING_O1, PIKA_2_2 or DOUBAO_1_LITE. `aspect_ratio`: left out by default. The other fields are those of
    `TextToVideo`.
    """

    type_name: ClassVar[str] = "multi-image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/multi-image-to-video"

    image_urls: tuple[Media, ...] = attrs.field(
        converter=media_list, validator=item_count(least=1, most=3), metadata=wire("images", media="image")
    )


@attrs.frozen(kw_only=True)
class FirstLastImageToVideo(_VideosOfPictures):
    """A request for videos between two pictures: `POST /v1/generation/first-last-image-to-video`.

    `first_image_url`, `last_image_url`: the pictures, URLs or local files. `model`: WERYDANCE_2_0 (the default),
    VEO_3_1, DOUBAO_1_5_PRO, KLING_V3_0_PRO and others. `aspect_ratio`: left out by default. The other fields are those
    of `TextToVideo`.
    """

    type_name: ClassVar[str] = "first-last-image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/first-last-image-to-video"

    first_image_url: Media = attrs.field(converter=to_media, metadata=wire("first_pic_url", media="image"))
    last_image_url: Media = attrs.field(converter=to_media, metadata=wire("end_pic_url", media="image"))


def _boolean_text(value: bool) -> str:
    return "true" if value else "false"


@attrs.frozen(kw_only=True)
class AlmightyReferenceToVideo(_Videos):
    """A request for videos after pictures, videos and sounds: `POST /v1/generation/almighty-reference-to-video`.

    `image_urls`: at most 9 pictures. `video_urls`, `audio_urls`: at most 3 of each, 2 to 15 seconds each and 15 seconds
    together. At least one picture or video is required. All files together: at most 12. `prompt`: at most 500
    characters; optional on the page, required in the vendor's client. `model`: WERYDANCE (the default),
    WERYDANCE_2_0_MINI, SEEDANCE_2_0, SEEDANCE_2_0_OS, SEEDANCE_2_0_FAST_OS or SEEDANCE_2_0_MINI_OS. `duration`: 5 to 15
    seconds, with WERYDANCE models from 4. `aspect_ratio`: 1:1, 9:16 or 16:9. `resolution`: such as "720p".
    `generate_audio`: add sound; sent as a text.
    """

    type_name: ClassVar[str] = "almighty-reference-to-video"
    endpoint: ClassVar[str] = "/v1/generation/almighty-reference-to-video"

    prompt: str | None = attrs.field(default=None, validator=text_length(longest=500))
    model: str = attrs.field(default=_WERYDANCE, validator=required_text)
    duration: int = attrs.field(default=5, validator=integer(least=4, most=15))
    image_urls: tuple[Media, ...] = attrs.field(
        default=(), converter=media_list, validator=item_count(most=9), metadata=wire("images", media="image")
    )
    video_urls: tuple[Media, ...] = attrs.field(
        default=(), converter=media_list, validator=item_count(most=3), metadata=wire("videos", media="video")
    )
    audio_urls: tuple[Media, ...] = attrs.field(
        default=(), converter=media_list, validator=item_count(most=3), metadata=wire("audios", media="audio")
    )
    aspect_ratio: Literal["1:1", "9:16", "16:9"] | str | None = attrs.field(default=None, validator=optional_text)
    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)
    generate_audio: bool | None = attrs.field(default=None, validator=boolean, metadata=wire(write=_boolean_text))

    def __attrs_post_init__(self) -> None:
        visual_count = len(self.image_urls) + len(self.video_urls)
        if self.audio_urls and not visual_count:
            raise wrong_request(
                f"{type(self).__name__}.audio_urls is given alone; add image_urls or video_urls, or use another request"
            )
        if not visual_count:
            raise wrong_request(
                f"{type(self).__name__}: give image_urls or video_urls; both are left out (TextToVideo needs none)"
            )
        if self.duration < _LEAST_SECONDS and not self.model.startswith(_WERYDANCE):
            raise wrong_request(
                f"{type(self).__name__}.duration must be at least {_LEAST_SECONDS} for {self.model}, got"
                f" {self.duration}; models whose key begins with {_WERYDANCE} make shorter videos"
            )
        file_count = visual_count + len(self.audio_urls)
        if file_count > _MAX_REFERENCES:
            raise wrong_request(f"{type(self).__name__} has {file_count} files; at most {_MAX_REFERENCES} are allowed")


@attrs.frozen(kw_only=True)
class EffectTemplate(WebhookRequest[Result]):
    """A request that applies an effect template to pictures: `POST /v1/generation/effect-template`.

    `template_config_id`: the number of the template, from WeryAI's pages. `image_urls`: as many pictures as the
    template requires, URLs or local files. `background_music`: add the template's music, if it has any.
    `aspect_ratio`: one of the template's. `prompt_inputs`: texts by the keys of the template's prompt variables. The
    result's assets are pictures or videos, depending on the template.
    """

    type_name: ClassVar[str] = "effect-template"
    endpoint: ClassVar[str] = "/v1/generation/effect-template"
    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[Result]] = Result

    template_config_id: int = attrs.field(validator=integer(least=0))
    image_urls: tuple[Media, ...] = attrs.field(
        converter=media_list, validator=item_count(least=1), metadata=wire("image_url", media="image")
    )
    background_music: bool | None = attrs.field(default=None, validator=boolean, metadata=wire("bgm"))
    aspect_ratio: str | None = attrs.field(default=None, validator=optional_text)
    prompt_inputs: Mapping[str, str] | None = attrs.field(default=None, converter=optional_mapping)

    @property
    def timing_key(self) -> tuple[str, ...]:
        """The endpoint and the template: durations differ between templates."""
        return (*super().timing_key, str(self.template_config_id))
