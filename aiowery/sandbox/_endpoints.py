"""The submitting endpoints: which parameters they take, and what an order of theirs means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._answer import parameter_error
from aiowery.sandbox._shape import is_ratio
from aiowery.sandbox._world import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@attrs.frozen
class Field:
    """One documented parameter: its name, the provider's words for it, and its rules."""

    name: str
    label: str
    type: type = str
    required: bool = False
    longest: int | None = None
    least: int | None = None
    allowed: Callable[[Any], bool] | None = None

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise `Refused` (1001) when the parameter breaks a rule. null counts as left out."""
        value = params.get(self.name)
        if value is None or (isinstance(value, str) and not value.strip()):
            if self.required:
                raise parameter_error(f"{self.label} cannot be empty")
            return
        if type(value) is not self.type:
            raise parameter_error(f"{self.label} is not supported")
        self._check_limits(value)

    def _check_limits(self, value: Any) -> None:
        if self.longest is not None and len(value) > self.longest:
            raise parameter_error(f"{self.label} exceeds the limit of {self.longest} characters")
        is_too_low = self.least is not None and value < self.least
        is_strange = self.allowed is not None and not self.allowed(value)
        if is_too_low or is_strange:
            raise parameter_error(f"{self.label} is not supported")


@attrs.frozen
class Endpoint:
    """One submitting endpoint. `order` reads parameters that `fields` have found sound."""

    path: str
    fields: tuple[Field, ...]
    order: Callable[[Mapping[str, Any]], Order]

    def read(self, params: Any) -> Order:
        """Validate a decoded body and turn it into an order; unknown parameters are accepted.

        Raises `Refused` with code 1001.
        """
        if not isinstance(params, dict):
            raise parameter_error("request body must be a JSON object")
        for field in self.fields:
            field.check(params)
        return self.order(params)


_FIXED_NUMBER = {"WERYAI_IMAGE_1_0": 4}


def _image_number(params: Mapping[str, Any]) -> int:
    fixed = _FIXED_NUMBER.get(params["model"])
    number: int | None = params.get("image_number")
    if fixed is not None and number not in {None, fixed}:
        raise parameter_error("image number is not supported")
    return fixed or number or 1


def _text_to_image(params: Mapping[str, Any]) -> Order:
    return Order(
        prompt=params["prompt"],
        model=params["model"],
        aspect_ratio=params["aspect_ratio"],
        pictures=_image_number(params),
    )


ENDPOINTS = (
    Endpoint(
        path="/v1/generation/text-to-image",
        fields=(
            Field("model", "model", required=True),
            Field("prompt", "prompt", required=True, longest=2000),
            Field("aspect_ratio", "aspect ratio", required=True, allowed=is_ratio),
            Field("negative_prompt", "negative prompt", longest=1000),
            Field("image_number", "image number", int, least=1),
            Field("resolution", "resolution"),
            Field("use_web_search", "use web search", bool),
            Field("webhook_url", "webhook url"),
            Field("caller_id", "caller id", int),
        ),
        order=_text_to_image,
    ),
)
