"""Videos from words, pictures and other material (contract: Videos, Effects)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import boolean, integer, item_count, optional_mapping, text_length, wire
from aiowery._core.media import Media, media_list, to_media
from aiowery._core.request import Result, VideoResult
from aiowery.errors import ConfigurationError
from aiowery.weryai.requests._base import WebhookRequest, negative_prompt, optional_text, prompt, required_text
from aiowery.weryai.requests._choices import Resolution

_MAX_REFERENCES: Final = 12


@attrs.frozen(kw_only=True)
class _Videos(WebhookRequest[VideoResult]):
    kind: ClassVar[Kind] = "video"
    result_type: ClassVar[type[VideoResult]] = VideoResult

    video_number: int | None = attrs.field(default=None, validator=integer(least=1))

    @property
    def task_count(self) -> int:
        """One task per video."""
        return self.video_number or 1


@attrs.frozen(kw_only=True)
class _PromptedVideos(_Videos):
    prompt: str = attrs.field(validator=prompt)
    model: str = attrs.field(default="WERYAI_VIDEO_1_0", validator=required_text)
    duration: int = attrs.field(default=5, validator=integer(least=1))
    aspect_ratio: str | None = attrs.field(default="16:9", validator=required_text, metadata=wire(may_be_none=True))
    negative_prompt: str | None = attrs.field(default=None, validator=negative_prompt)
    resolution: Resolution | str | None = attrs.field(default=None, validator=optional_text)
    generate_audio: bool | None = attrs.field(default=None, validator=boolean)


@attrs.frozen(kw_only=True)
class TextToVideo(_PromptedVideos):
    """A video from a prompt: `POST /v1/generation/text-to-video`.

    `prompt`: 1 to 2,000 characters. `model`: a key such as those in `VIDEO_MODELS`. `duration`: seconds; which
    ones, and which `aspect_ratio` and `resolution`, depends on the model: `client.check(request)` tells.
    `aspect_ratio=None` leaves it out, as models without a list of ratios want it (PIKA_2_2, WAN_2_6, HAILUO).
    `negative_prompt`: at most 1,000 characters. `video_number`: how many; each is a task of its own.
    `generate_audio`: with sound, where the model can. Confidence: this endpoint is known from client code.
    """

    type_name: ClassVar[str] = "text-to-video"
    endpoint: ClassVar[str] = "/v1/generation/text-to-video"


@attrs.frozen(kw_only=True)
class ImageToVideo(_PromptedVideos):
    """A video that begins with a picture: `POST /v1/generation/image-to-video`.

    `image_url`: one picture (jpg, png, webp), a url or a local file. The rest as in `TextToVideo`.
    """

    type_name: ClassVar[str] = "image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/image-to-video"

    image_url: Media = attrs.field(converter=to_media, metadata=wire("image", media="image"))


@attrs.frozen(kw_only=True)
class MultiImageToVideo(_PromptedVideos):
    """A video from up to three pictures in their order: `POST /v1/generation/multi-image-to-video`.

    `image_urls`: 1 to 3, urls or local files. The rest as in `TextToVideo`.
    """

    type_name: ClassVar[str] = "multi-image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/multi-image-to-video"

    image_urls: tuple[Media, ...] = attrs.field(
        converter=media_list, validator=item_count(least=1, most=3), metadata=wire("images", media="image")
    )


@attrs.frozen(kw_only=True)
class FirstLastImageToVideo(_PromptedVideos):
    """A video between two pictures: `POST /v1/generation/first-last-image-to-video`.

    `first_image_url` and `last_image_url`: urls or local files. The rest as in `TextToVideo`.
    """

    type_name: ClassVar[str] = "first-last-image-to-video"
    endpoint: ClassVar[str] = "/v1/generation/first-last-image-to-video"

    first_image_url: Media = attrs.field(converter=to_media, metadata=wire("first_pic_url", media="image"))
    last_image_url: Media = attrs.field(converter=to_media, metadata=wire("end_pic_url", media="image"))


def _boolean_text(value: bool) -> str:
    return "true" if value else "false"


@attrs.frozen(kw_only=True)
class AlmightyReferenceToVideo(_Videos):
    """A video after pictures, videos and sounds: `POST /v1/generation/almighty-reference-to-video`.

    `prompt`: at most 500 characters (the page calls it optional, the vendor's client wants it). `duration`: 5 to 15
    seconds. `image_urls`: at most 9; `video_urls` and `audio_urls`: at most 3 each, each of 2 to 15 seconds and
    together at most 15; sounds never alone; 12 files in all. `generate_audio` is a bool here and a string on the
    wire. `model`: SEEDANCE_2_0 on the page, WERYDANCE_2_0 in newer clients.
    """

    type_name: ClassVar[str] = "almighty-reference-to-video"
    endpoint: ClassVar[str] = "/v1/generation/almighty-reference-to-video"

    prompt: str | None = attrs.field(default=None, validator=text_length(longest=500))
    model: str = attrs.field(default="WERYDANCE_2_0", validator=required_text)
    duration: int = attrs.field(default=5, validator=integer(least=5, most=15))
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
            raise ConfigurationError(
                f"{type(self).__name__}.audio_urls is given alone; add image_urls or video_urls, or use another request"
            )
        file_count = visual_count + len(self.audio_urls)
        if file_count > _MAX_REFERENCES:
            raise ConfigurationError(
                f"{type(self).__name__} has {file_count} files; at most {_MAX_REFERENCES} are allowed"
            )


@attrs.frozen(kw_only=True)
class EffectTemplate(WebhookRequest[Result]):
    """A ready-made effect over one's own pictures: `POST /v1/generation/effect-template`.

    `template_config_id`: the template's number, from WeryAI's pages. `image_urls`: as many pictures as the template
    takes, urls or local files. `background_music`: only if the template has some. `aspect_ratio`: one of the
    template's. `prompt_inputs`: texts by the keys of the template's prompt variables. The result's assets are what
    the template makes, pictures or videos.
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
        """The template: each is a work of its own."""
        return (*super().timing_key, str(self.template_config_id))
