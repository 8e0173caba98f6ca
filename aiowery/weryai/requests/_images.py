"""Requests for pictures, from a prompt or from pictures (contract: Images)."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from aiowery._base.snapshot import Kind
from aiowery._core.fields import boolean, integer, item_count, wire
from aiowery._core.media import Media, media_list
from aiowery._core.result import ImageResult
from aiowery.weryai.requests._base import WebhookRequest, negative_prompt, optional_text, prompt, required_text
from aiowery.weryai.requests._choices import AspectRatio

_FIXED_IMAGE_NUMBER: Final = {"WERYAI_IMAGE_1_0": 4}


@attrs.frozen(kw_only=True)
class _Pictures(WebhookRequest[ImageResult]):
    """Base class of the requests for pictures; `TextToImage` documents the fields."""

    kind: ClassVar[Kind] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult

    prompt: str = attrs.field(validator=prompt)
    model: str = attrs.field(default="WERYAI_IMAGE_2_0", validator=required_text)
    aspect_ratio: AspectRatio | str = attrs.field(default="1:1", validator=required_text)
    negative_prompt: str | None = attrs.field(default=None, validator=negative_prompt)
    image_number: int | None = attrs.field(default=None, validator=integer(least=1))
    resolution: str | None = attrs.field(default=None, validator=optional_text)
    use_web_search: bool | None = attrs.field(default=None, validator=boolean)

    @property
    def task_count(self) -> int:
        """The number of pictures: each is a task."""
        return _FIXED_IMAGE_NUMBER.get(self.model) or self.image_number or 1


@attrs.frozen(kw_only=True)
class TextToImage(_Pictures):
    """A request for pictures from a prompt: `POST /v1/generation/text-to-image`.

    `prompt`: 1 to 2,000 characters. `model`: a key such as those in `IMAGE_MODELS`. `aspect_ratio`: see
    `ASPECT_RATIOS` for the uses of each. `negative_prompt`: things to leave out, at most 1,000 characters.
    `image_number`: the number of pictures. Each is a task of its own and takes a slot in the queue; WERYAI_IMAGE_1_0
    always makes four. `resolution`: such as "1k", "2k" or "4k". `quality`: "low", "medium" or "high" (GPT_IMAGE_2).
    `use_web_search`: let the model search the web. Not every model supports the last three.

    Raises ConfigurationError for values that the contract rules out; the provider judges the others.
    """

    type_name: ClassVar[str] = "text-to-image"
    endpoint: ClassVar[str] = "/v1/generation/text-to-image"

    quality: str | None = attrs.field(default=None, validator=optional_text)


@attrs.frozen(kw_only=True)
class ImageToImage(_Pictures):
    """A request for pictures from a prompt and pictures: `POST /v1/generation/image-to-image`.

    `image_urls`: at least one picture (jpg, png, webp), URLs or local files; the registry entry of a model has its
    limit. The other fields are those of `TextToImage`, without `quality`. The key of Seedream 4.0 is SEEDREAM here.
    """

    type_name: ClassVar[str] = "image-to-image"
    endpoint: ClassVar[str] = "/v1/generation/image-to-image"

    image_urls: tuple[Media, ...] = attrs.field(
        converter=media_list, validator=item_count(least=1), metadata=wire("images", media="image")
    )
