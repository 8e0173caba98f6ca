"""Requests that change a picture (contract: Image tools). `image_url` is `img_url` on the wire here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import integer, pattern, text_length, wire, wrong_request
from aiowery._core.media import Media, to_media
from aiowery._core.result import ImageResult, TextResult
from aiowery.weryai.requests._base import WebhookRequest, WeryAIRequest, optional_text, required_text
from aiowery.weryai.requests._choices import AspectRatio
from aiowery.weryai.requests._geometry import POINT_TEXT, SIZE_TEXT, Point, Size, point, size

_COLOUR: Final = re.compile("#[0-9a-fA-F]{6}")


@attrs.frozen(kw_only=True)
class _ImageTool(WebhookRequest[ImageResult]):
    """Base class of the image tools; `image_url`: the picture to change, a URL or a local file."""

    kind: ClassVar[Kind] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult

    image_url: Media = attrs.field(converter=to_media, metadata=wire("img_url", media="image"))


@attrs.frozen(kw_only=True)
class ImageBackgroundChange(_ImageTool):
    """Replace the background of a picture: `POST /v1/generation/image-bg-change`.

    `prompt`: the new background in words, at most 2,000 characters. `background_color`: its color as "#RRGGBB". At
    least one of the two is required.
    """

    type_name: ClassVar[str] = "image-bg-change"
    endpoint: ClassVar[str] = "/v1/generation/image-bg-change"

    prompt: str | None = attrs.field(default=None, validator=text_length(longest=2000))
    background_color: str | None = attrs.field(
        default=None, validator=pattern(_COLOUR, "#FFFFFF"), metadata=wire("bg_color")
    )

    def __attrs_post_init__(self) -> None:
        if not (self.prompt and self.prompt.strip()) and self.background_color is None:
            raise wrong_request(f"{type(self).__name__}: give prompt or background_color; both are left out")


@attrs.frozen(kw_only=True)
class ImageBackgroundRemove(_ImageTool):
    """Remove the background of a picture: `POST /v1/generation/image-bg-remove`."""

    type_name: ClassVar[str] = "image-bg-remove"
    endpoint: ClassVar[str] = "/v1/generation/image-bg-remove"


@attrs.frozen(kw_only=True)
class ImageExpand(_ImageTool):
    """Extend a picture to a larger canvas: `POST /v1/generation/image-expand`.

    `image_size`: the size of the picture on the canvas. `canvas_size`: the size of the canvas. `image_location`: the
    position of the picture's top left corner on the canvas. All are in pixels, as pairs or as texts ("1024x768",
    "128,0").
    """

    type_name: ClassVar[str] = "image-expand"
    endpoint: ClassVar[str] = "/v1/generation/image-expand"

    image_size: Size = attrs.field(converter=size, metadata=wire("original_image_size", write=str, text_form=SIZE_TEXT))
    canvas_size: Size = attrs.field(converter=size, metadata=wire(write=str, text_form=SIZE_TEXT))
    image_location: Point = attrs.field(
        converter=point, metadata=wire("original_image_location", write=str, text_form=POINT_TEXT)
    )


@attrs.frozen(kw_only=True)
class ImageFaceSwap(_ImageTool):
    """Replace the face in a picture: `POST /v1/generation/image-face-swap`.

    `face_image_url`: the picture with the new face, a URL or a local file.
    """

    type_name: ClassVar[str] = "image-face-swap"
    endpoint: ClassVar[str] = "/v1/generation/image-face-swap"

    face_image_url: Media = attrs.field(converter=to_media, metadata=wire("face_img_url", media="image"))


@attrs.frozen(kw_only=True)
class ImageReframe(_ImageTool):
    """Change the aspect ratio of a picture: `POST /v1/generation/image-reframe`.

    `aspect_ratio`: 16:9, 9:16, 1:1, 4:3, 3:4, 21:9 or 9:21.
    """

    type_name: ClassVar[str] = "image-reframe"
    endpoint: ClassVar[str] = "/v1/generation/image-reframe"

    aspect_ratio: AspectRatio | str = attrs.field(validator=required_text)


@attrs.frozen(kw_only=True)
class ImageRepair(_ImageTool):
    """Repair a damaged or blurred picture: `POST /v1/generation/image-repair`."""

    type_name: ClassVar[str] = "image-repair"
    endpoint: ClassVar[str] = "/v1/generation/image-repair"


@attrs.frozen(kw_only=True)
class ImageTextErase(_ImageTool):
    """Remove text from a picture: `POST /v1/generation/image-text-erase`.

    `model`: a model key, the provider's default if None.
    """

    type_name: ClassVar[str] = "image-text-erase"
    endpoint: ClassVar[str] = "/v1/generation/image-text-erase"

    model: str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class ImageTranslate(_ImageTool):
    """Translate the text in a picture: `POST /v1/generation/image-translate`.

    `target_language`: such as "en". `mode`: "image" (the value in the vendor's client) or "text".
    """

    type_name: ClassVar[str] = "image-translate"
    endpoint: ClassVar[str] = "/v1/generation/image-translate"

    target_language: str = attrs.field(validator=required_text, metadata=wire("target_lang"))
    mode: Literal["text", "image"] | str | None = attrs.field(
        default=None, validator=optional_text, metadata=wire("type")
    )


@attrs.frozen(kw_only=True)
class ImageUpscale(_ImageTool):
    """Double the size of a picture: `POST /v1/generation/image-upscale`."""

    type_name: ClassVar[str] = "image-upscale"
    endpoint: ClassVar[str] = "/v1/generation/image-upscale"


@attrs.frozen(kw_only=True)
class ImageToPrompt(WeryAIRequest[TextResult]):
    """Describe a picture as a prompt: `POST /v1/generation/image-to-prompt`. The response holds the prompt itself.

    `image_url`: the picture, a URL or a local file. `image_kilobytes`: its size in KB, at least 1; the client sets it
    for a local file. `language`: the language of the prompt. `model`: a model key. The result's `text` is the prompt;
    `raw` holds its cost (`cost_mill`, unit not documented).
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
            raise wrong_request(
                f"{type(self).__name__}.image_kilobytes is left out; give the size of {self.image_url[:100]!r} in KB"
            )

    @property
    def direct_timeout(self) -> float:
        """Two minutes."""
        return 120.0

    def with_uploads(self, urls: Mapping[str, Any], sizes: Mapping[str, int]) -> Self:
        """Return the request with the URLs of uploaded files and the size of an uploaded picture."""
        kilobytes = self.image_kilobytes or max(1, -(-sizes.get("image_url", 0) // 1024))
        return super().with_uploads({**urls, "image_kilobytes": kilobytes}, sizes)
