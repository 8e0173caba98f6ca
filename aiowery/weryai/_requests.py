"""What WeryAI can be asked for: one frozen class per endpoint."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

import attrs

from aiowery._tasks import AssetKind
from aiowery._values import ImageResult, Request
from aiowery.errors import ConfigurationError

AspectRatio = Literal[
    "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "5:4", "4:1", "1:4", "8:1", "1:8", "21:9", "9:21"
]
"""Shapes that WeryAI documents. Which of them a model takes differs, and models add their own words ("2k",
"16:9(4k)"), so any string is accepted and the provider decides."""

ASPECT_RATIOS: Final[dict[str, str]] = {
    "1:1": "profile pictures, thumbnails, social media posts",
    "16:9": "widescreen, video thumbnails, presentations",
    "9:16": "vertical video, stories, phone wallpapers",
    "4:3": "traditional displays",
    "3:4": "portraits, posters",
    "3:2": "photographs, landscape",
    "2:3": "photographs, portrait",
    "5:4": "large-format prints",
    "4:1": "banners",
    "1:4": "tall banners",
    "8:1": "very wide strips",
    "1:8": "very tall strips",
    "21:9": "ultra-wide, cinematic",
    "9:21": "ultra-tall",
}
"""What each shape is good for."""

IMAGE_MODELS: Final = (
    "WERYAI_IMAGE_2_0",
    "WERYAI_IMAGE_1_0",
    "GEMINI_3_1_FLASH_IMAGE",
    "CHATBOT_GEMINI_3_PRO_IMAGE_PREVIEW",
    "GEMINI_2_5_FLASH",
    "GPT_IMAGE_2",
    "GPT_IMAGE_1_5",
    "SEEDREAM_5_0_LITE",
    "SEEDREAM_4_5",
    "SEEDREAM_4",
    "WAN_2_7",
    "WAN_2_7_PRO",
    "WAN_2_6",
    "WAN_2_5",
)
"""Model keys that the text-to-image page lists. The set changes: any string is accepted."""

_LABEL: Final = 50


def text(*, shortest: int = 0, longest: int) -> Any:
    """Return a validator for a text whose length the contract bounds."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        where = f"{type(owner).__name__}.{field.name}"
        if value is None and field.default is None:
            return
        if not isinstance(value, str):
            raise ConfigurationError(f"{where} is {value!r}; a string is needed")
        if len(value.strip()) < shortest:
            raise ConfigurationError(f"{where} is {value!r}; a text that is not blank is needed")
        if len(value) > longest:
            raise ConfigurationError(
                f"{where} has {len(value)} characters ({value[:30]!r}...); at most {longest} are allowed: shorten it"
            )

    return check


def whole_number(*, least: int) -> Any:
    """Return a validator for a whole number that is not smaller than `least`."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value is None and field.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(
                f"{type(owner).__name__}.{field.name} is {value!r}; a whole number of at least {least} is needed"
            )

    return check


@attrs.frozen(kw_only=True)
class TextToImage(Request[ImageResult]):
    """Pictures from a prompt: `POST /v1/generation/text-to-image`.

    `prompt`: 1 to 2,000 characters. `model`: a key such as those in `IMAGE_MODELS`. `aspect_ratio`: see
    `ASPECT_RATIOS` for what each is good for. `negative_prompt`: what to keep out, at most 1,000 characters.
    `image_number`: how many pictures; each is a task of its own and takes a place in the lane (WERYAI_IMAGE_1_0
    always makes four). `resolution` (such as "1k", "2k", "4k"), `quality` and `use_web_search` are not known to
    every model. Raises ConfigurationError for what the contract rules out; everything else is the provider's to
    judge.
    """

    endpoint: ClassVar[str] = "/v1/generation/text-to-image"
    kind: ClassVar[AssetKind] = "image"
    result_type: ClassVar[type[ImageResult]] = ImageResult

    prompt: str = attrs.field(validator=text(shortest=1, longest=2000))
    model: str = attrs.field(default="WERYAI_IMAGE_2_0", validator=text(shortest=1, longest=200))
    aspect_ratio: AspectRatio | str = attrs.field(default="1:1", validator=text(shortest=1, longest=200))
    negative_prompt: str | None = attrs.field(default=None, validator=text(longest=1000))
    image_number: int | None = attrs.field(default=None, validator=whole_number(least=1))
    resolution: str | None = attrs.field(default=None, validator=text(longest=200))
    quality: str | None = attrs.field(default=None, validator=text(longest=200))
    use_web_search: bool | None = None
    caller_id: int | None = attrs.field(default=None, validator=whole_number(least=0))

    @property
    def places(self) -> int:
        """One task per picture."""
        return 4 if self.model == "WERYAI_IMAGE_1_0" else self.image_number or 1

    @property
    def duration_key(self) -> tuple[str, ...]:
        """The model and its settings."""
        return (self.endpoint, self.model, self.resolution or "", self.quality or "", str(self.places))

    @property
    def model_key(self) -> str:
        """The model."""
        return self.model

    @property
    def label(self) -> str:
        """The beginning of the prompt."""
        words = " ".join(self.prompt.split())
        return words if len(words) <= _LABEL else words[: _LABEL - 3] + "..."
