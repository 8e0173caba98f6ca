"""Tools that change a picture (contract: Image tools). WeryAI spells `image_url` as `img_url` here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import integer, pattern, text_length, wire
from aiowery._core.media import Media, to_media
from aiowery._core.request import ImageResult, TextResult
from aiowery.errors import ConfigurationError
from aiowery.weryai.requests._base import WebhookRequest, WeryAIRequest, optional_text, required_text
from aiowery.weryai.requests._choices import AspectRatio
from aiowery.weryai.requests._geometry import Point, Size, point, size

_COLOUR: Final = re.compile("#[0-9a-fA-F]{6}")


@attrs.frozen(kw_only=True)
class _ImageTool(WebhookRequest[ImageResult]):
    kind: ClassVar[Kind] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult

    image_url: Media = attrs.field(converter=to_media, metadata=wire("img_url", media="image"))


@attrs.frozen(kw_only=True)
class ImageBackgroundChange(_ImageTool):
    """Put another background behind what a picture shows: `POST /v1/generation/image-bg-change`.

    Either `prompt`, or `background_color` as "#RRGGBB", or both.
    """

    type_name: ClassVar[str] = "image-bg-change"
    endpoint: ClassVar[str] = "/v1/generation/image-bg-change"

    prompt: str | None = attrs.field(default=None, validator=text_length(longest=2000))
    background_color: str | None = attrs.field(
        default=None, validator=pattern(_COLOUR, "#FFFFFF"), metadata=wire("bg_color")
    )

    def __attrs_post_init__(self) -> None:
        if not (self.prompt and self.prompt.strip()) and self.background_color is None:
            raise ConfigurationError(f"{type(self).__name__}: give prompt or background_color; both are left out")


@attrs.frozen(kw_only=True)
class ImageBackgroundRemove(_ImageTool):
    """Take the background away: `POST /v1/generation/image-bg-remove`."""

    type_name: ClassVar[str] = "image-bg-remove"
    endpoint: ClassVar[str] = "/v1/generation/image-bg-remove"


@attrs.frozen(kw_only=True)
class ImageExpand(_ImageTool):
    """Paint around a picture until it fills a larger canvas: `POST /v1/generation/image-expand`.

    `image_size`: the picture's size on the canvas, `canvas_size`: the whole, `image_location`: where the picture's
    top left corner lies on it; in pixels, as pairs or as texts ("1024x768", "128,0").
    """

    type_name: ClassVar[str] = "image-expand"
    endpoint: ClassVar[str] = "/v1/generation/image-expand"

    image_size: Size = attrs.field(converter=size, metadata=wire("original_image_size", write=str))
    canvas_size: Size = attrs.field(converter=size, metadata=wire(write=str))
    image_location: Point = attrs.field(converter=point, metadata=wire("original_image_location", write=str))


@attrs.frozen(kw_only=True)
class ImageFaceSwap(_ImageTool):
    """Give a picture the face of another one: `POST /v1/generation/image-face-swap`."""

    type_name: ClassVar[str] = "image-face-swap"
    endpoint: ClassVar[str] = "/v1/generation/image-face-swap"

    face_image_url: Media = attrs.field(converter=to_media, metadata=wire("face_img_url", media="image"))


@attrs.frozen(kw_only=True)
class ImageReframe(_ImageTool):
    """Change a picture's shape: `POST /v1/generation/image-reframe`.

    `aspect_ratio`: 16:9, 9:16, 1:1, 4:3, 3:4, 21:9 or 9:21.
    """

    type_name: ClassVar[str] = "image-reframe"
    endpoint: ClassVar[str] = "/v1/generation/image-reframe"

    aspect_ratio: AspectRatio | str = attrs.field(validator=required_text)


@attrs.frozen(kw_only=True)
class ImageRepair(_ImageTool):
    """Mend a damaged or blurred picture: `POST /v1/generation/image-repair`."""

    type_name: ClassVar[str] = "image-repair"
    endpoint: ClassVar[str] = "/v1/generation/image-repair"


@attrs.frozen(kw_only=True)
class ImageTextErase(_ImageTool):
    """Take writing out of a picture: `POST /v1/generation/image-text-erase`."""

    type_name: ClassVar[str] = "image-text-erase"
    endpoint: ClassVar[str] = "/v1/generation/image-text-erase"

    model: str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class ImageTranslate(_ImageTool):
    """Translate the writing in a picture: `POST /v1/generation/image-translate`.

    `target_language`: such as "en". `mode`: "image" (what the vendor's client sends) or "text".
    """

    type_name: ClassVar[str] = "image-translate"
    endpoint: ClassVar[str] = "/v1/generation/image-translate"

    target_language: str = attrs.field(validator=required_text, metadata=wire("target_lang"))
    mode: Literal["text", "image"] | str | None = attrs.field(
        default=None, validator=optional_text, metadata=wire("type")
    )


@attrs.frozen(kw_only=True)
class ImageUpscale(_ImageTool):
    """Double a picture's size: `POST /v1/generation/image-upscale`."""

    type_name: ClassVar[str] = "image-upscale"
    endpoint: ClassVar[str] = "/v1/generation/image-upscale"


@attrs.frozen(kw_only=True)
class ImageToPrompt(WeryAIRequest[TextResult]):
    """Describe a picture as a prompt: `POST /v1/generation/image-to-prompt`, which answers at once.

    `image_kilobytes`: the picture's size in KB, at least 1; the client fills it in for a local file. The result's
    `text` is the prompt; its cost (`cost_mill`, unit not documented) stands in `raw`.
    """

    type_name: ClassVar[str] = "image-to-prompt"
    endpoint: ClassVar[str] = "/v1/generation/image-to-prompt"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[TextResult]] = TextResult
    result_field: ClassVar[str] = "prompt"

    image_url: Media = attrs.field(converter=to_media, metadata=wire("img_url", media="image"))
    image_kilobytes: int | None = attrs.field(default=None, validator=integer(least=1), metadata=wire("image_size"))
    language: str | None = attrs.field(default=None, validator=optional_text)
    model: str | None = attrs.field(default=None, validator=optional_text)

    def __attrs_post_init__(self) -> None:
        if self.image_kilobytes is None and isinstance(self.image_url, str):
            raise ConfigurationError(
                f"{type(self).__name__}.image_kilobytes is left out; give the size of {self.image_url[:100]!r} in KB"
            )

    @property
    def direct_timeout(self) -> float:
        """Two minutes."""
        return 120.0

    def with_uploads(self, urls: Mapping[str, Any], sizes: Mapping[str, int]) -> Self:
        """Fill in the size of a picture that was a local file."""
        kilobytes = self.image_kilobytes or max(1, -(-sizes.get("image_url", 0) // 1024))
        return super().with_uploads({**urls, "image_kilobytes": kilobytes}, sizes)
