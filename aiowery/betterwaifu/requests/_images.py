"""BetterWaifu's one request: a picture from a prompt (contract: POST /generate, Request fields)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import attrs

from aiowery._base.snapshot import Kind, Snapshot
from aiowery._base.text import shorten
from aiowery._core.fields import integer, invalid_field, number, text_length, wire
from aiowery._core.request import Request
from aiowery._core.result import ImageResult
from aiowery.betterwaifu._schema import read_outputs
from aiowery.betterwaifu.requests._choices import Model, Sampler

# No limit is documented; a longer text is most likely the wrong file.
_MAX_PROMPT_LENGTH: Final = 100_000
_MAX_NAME_LENGTH: Final = 200
_MAX_CFG_SCALE: Final = 1000


def _model(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    is_id = isinstance(value, int) and not isinstance(value, bool) and value > 0
    is_slug = isinstance(value, str) and 0 < len(value.strip()) <= _MAX_NAME_LENGTH
    if not (is_id or is_slug):
        raise invalid_field(owner, field, value, "a slug such as 'noobai-xl' (v1-images) or a model's number (jobs)")


@attrs.frozen(kw_only=True)
class GeneratedImage(ImageResult):
    """The result of a `GenerateImage` request: one picture or several.

    `seed`: the seed that was used; it makes the same picture again. `image_ids`: the provider's ids, in the order of
    `assets`. `created_at`: the time of creation. `parameters`: the values that were used. Only the v1-images edition
    reports the last two.
    """

    seed: int | None = None
    image_ids: tuple[str, ...] = ()
    created_at: datetime | None = None
    parameters: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The seed and the provider's ids of the pictures, and the time of creation if reported."""
        metadata = {"seed": self.seed, "image_ids": list(self.image_ids)}
        return metadata if self.created_at is None else {**metadata, "created_at": self.created_at.isoformat()}

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        outputs = [read_outputs(snapshot.raw) for snapshot in snapshots]
        return {
            "seed": next((output.seed for output in outputs if output.seed is not None), None),
            "image_ids": tuple(image_id for output in outputs for image_id in output.image_ids),
            "created_at": next((output.created_at for output in outputs if output.created_at), None),
            "parameters": next((output.parameters for output in outputs if output.parameters), {}),
        }


@attrs.frozen(kw_only=True)
class GenerateImage(Request[GeneratedImage]):
    """A request for a picture from a prompt: `POST /v1/images/generate` (v1-images), `POST /generate` (jobs).

    A field that is left out has the provider's default, given in parentheses. `prompt`: comma-separated tags work
    best. `negative_prompt`: things to leave out. `model`: a slug such as those in `MODELS` (v1-images), or a number
    from `client.models()` (jobs); the client refuses the wrong kind before anything is sent. `steps`: 20 to 50 in
    v1-images (28). `cfg_scale`: closeness to the prompt, 1 to 20 in v1-images (7). `width`, `height`: pixels (832 x
    1216). `sampler`: with dashes in v1-images (`dpm-2m-karras`), with underscores in jobs (`euler_a`). `seed`: the
    seed of an earlier picture; -1 is random.
    """

    type_name: ClassVar[str] = "generate-image"
    endpoint: ClassVar[str] = "generate"
    kind: ClassVar[Kind] = "image"
    result_type: ClassVar[type[GeneratedImage]] = GeneratedImage

    prompt: str = attrs.field(validator=text_length(shortest=1, longest=_MAX_PROMPT_LENGTH))
    negative_prompt: str | None = attrs.field(default=None, validator=text_length(longest=_MAX_PROMPT_LENGTH))
    model: Model | str | int | None = attrs.field(default=None, validator=_model, metadata=wire("model_version_id"))
    steps: int | None = attrs.field(default=None, validator=integer(least=1))
    cfg_scale: float | None = attrs.field(default=None, validator=number(least=0, most=_MAX_CFG_SCALE))
    width: int | None = attrs.field(default=None, validator=integer(least=1))
    height: int | None = attrs.field(default=None, validator=integer(least=1))
    sampler: Sampler | str | None = attrs.field(
        default=None, validator=text_length(shortest=1, longest=_MAX_NAME_LENGTH)
    )
    seed: int | None = attrs.field(default=None, validator=integer(least=-1))

    @property
    def timing_key(self) -> tuple[str, ...]:
        """The endpoint with the model, the size and the number of steps, on which the duration depends."""
        return (self.endpoint, *(str(value or "") for value in (self.model, self.width, self.height, self.steps)))

    @property
    def model_name(self) -> str | None:
        """The model as a text, None if the request has none."""
        return None if self.model is None else str(self.model)

    @property
    def label(self) -> str:
        """The beginning of the prompt."""
        return shorten(self.prompt)
