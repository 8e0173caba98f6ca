"""WeryAI's model registries, and the check of a request against them (contract: Model registries)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from aiowery._core.messages import HttpResponse
from aiowery._core.models import CheckIssue, ModelInfo
from aiowery.weryai._decode import read_body, unwrap_body, unwrap_envelope
from aiowery.weryai.requests._base import WeryAIRequest

_MODES: Final[Mapping[str, Literal["image", "video"]]] = {
    "text_to_image": "image",
    "image_to_image": "image",
    "text_to_video": "video",
    "image_to_video": "video",
    "multi_image_to_video": "video",
}
_MAX_NAMED: Final = 5


@attrs.frozen(kw_only=True)
class Model(ModelInfo):
    """An entry of the registries: the values that one model accepts in one mode.

    A field that the registry leaves out is None or empty, and then allows any value.

    `key`: the value of a request's `model`. `kind`: "image" or "video". `mode`: the `type_name` of the requests that
    the entry is about. `title`: the name for people. `aspect_ratios`, `durations` (seconds), `resolutions` and
    `image_numbers`: the allowed values. `audio`: True if the model can add sound. `negative_prompt`: True if it accepts
    one. `longest_prompt`: the limit in characters. `most_images`: the largest number of input images.
    `several_images`: False if only one input image is accepted. `first_last_frame`: True if a first and a last picture
    are accepted. `raw`: the entry as received.
    """

    key: str
    kind: Literal["image", "video"]
    mode: str
    title: str = ""
    aspect_ratios: tuple[str, ...] = ()
    durations: tuple[int, ...] = ()
    resolutions: tuple[str, ...] = ()
    image_numbers: tuple[int, ...] = ()
    audio: bool | None = None
    negative_prompt: bool | None = None
    longest_prompt: int | None = None
    most_images: int | None = None
    several_images: bool | None = None
    first_last_frame: bool | None = None

    @property
    def details(self) -> Mapping[str, str]:
        """The title, the allowed values and the abilities."""
        abilities = {
            "sound": self.audio,
            "negative prompt": self.negative_prompt,
            "first and last picture": self.first_last_frame,
        }
        return {
            "title": self.title,
            "shapes": ", ".join(self.aspect_ratios),
            "seconds": _ranges(self.durations),
            "resolutions": ", ".join(self.resolutions),
            "outputs": _ranges(self.image_numbers),
            "takes pictures": _grouped(self.most_images),
            "also": ", ".join(name for name, able in abilities.items() if able),
        }


@attrs.frozen(kw_only=True)
class ChatModel(ModelInfo):
    """A model of `Chat`.

    `key`: the value of `Chat.model`. `description`: the provider's text. `max_tokens`: the limit in tokens.
    `input_price`, `output_price`: the provider's numbers, whose unit is not documented. `raw`: the entry as received.
    """

    key: str
    kind: Literal["chat"] = "chat"
    mode: str = "chat"
    max_tokens: int | None = None
    input_price: float | None = None
    output_price: float | None = None

    @property
    def details(self) -> Mapping[str, str]:
        """The limit, the prices and the description."""
        return {
            "most tokens": _grouped(self.max_tokens),
            "price in": "" if self.input_price is None else f"{self.input_price:g}",
            "price out": "" if self.output_price is None else f"{self.output_price:g}",
            **super().details,
        }


@attrs.frozen(kw_only=True)
class Speaker:
    """A voice for podcasts.

    `id`: the value for `Podcast.speakers`. `name`, `gender`, `language`: the provider's texts. `demo_url`: a sound
    sample, if there is one.
    """

    id: str
    name: str = ""
    gender: str = ""
    language: str = ""
    demo_url: str | None = None


def decode_models(response: HttpResponse) -> tuple[Model, ...]:
    """Return the entries of a registry; entries without a model key are left out."""
    data, request_id = unwrap_envelope(response)
    if not isinstance(data, Mapping):
        raise response.unexpected("the answer holds no models", "$.data: an object is expected", data, request_id)
    return tuple(
        _model(mode.replace("_", "-"), kind, entry)
        for mode, kind in _MODES.items()
        for entry in _objects(data.get(mode))
        if _text(entry.get("model_key"))
    )


def decode_chat_models(response: HttpResponse) -> tuple[ChatModel, ...]:
    """Return the chat models; the response has no envelope."""
    body = read_body(response)
    has_models = response.success and isinstance(body, Mapping) and "models" in body
    data = body if has_models else unwrap_body(response, body)[0]
    entries = data.get("models") if isinstance(data, Mapping) else data
    return tuple(
        ChatModel(
            key=_text(entry.get("model")),
            description=_text(entry.get("desc")),
            max_tokens=_integer(entry.get("max_tokens")),
            input_price=_number(entry.get("input_price")),
            output_price=_number(entry.get("output_price")),
            raw=entry,
        )
        for entry in _objects(entries)
        if _text(entry.get("model"))
    )


def decode_speakers(response: HttpResponse) -> tuple[Speaker, ...]:
    """Return the voices for podcasts."""
    data, _ = unwrap_envelope(response)
    entries = data.get("speakers") if isinstance(data, Mapping) else data
    return tuple(
        Speaker(
            id=_text(entry.get("speaker_id")),
            name=_text(entry.get("name")),
            gender=_text(entry.get("gender")),
            language=_text(entry.get("language")),
            demo_url=_text(entry.get("demo_audio_url")) or None,
        )
        for entry in _objects(entries)
        if _text(entry.get("speaker_id"))
    )


REGISTRY_MODES: Final[Mapping[str, tuple[str, ...]]] = {
    **{mode: (mode,) for mode in (name.replace("_", "-") for name in _MODES)},
    # The registry may hold an empty list for the first, and has none for the second.
    "multi-image-to-video": ("multi-image-to-video", "image-to-video"),
    "first-last-image-to-video": ("image-to-video",),
}
"""By a request's type_name, the modes whose entries apply to it."""


def find_entry(request: WeryAIRequest[Any], models: Iterable[Model]) -> Model | None:
    """Return the registry entry for the model and type of the request, None if there is none."""
    entries = {model.mode: model for model in models if model.key == request.model_name}
    return next((entries[mode] for mode in REGISTRY_MODES.get(request.type_name, ()) if mode in entries), None)


def check_issues(request: WeryAIRequest[Any], model: Model, models: Iterable[Model] = ()) -> tuple[CheckIssue, ...]:
    """Return the conflicts between a request and `model`, the registry entry of its model.

    If the model cannot serve such a request at all, the issue names some of `models` that can.
    """
    return (*_issues(request, model), *_ability_issues(request, model, tuple(models)))


def _issues(request: WeryAIRequest[Any], model: Model) -> Iterator[CheckIssue]:
    choices = (
        ("aspect_ratio", model.aspect_ratios),
        ("duration", model.durations),
        ("resolution", model.resolutions),
        ("image_number", model.image_numbers),
    )
    for name, allowed in choices:
        value = getattr(request, name, None)
        if value is not None and allowed and value not in allowed:
            yield CheckIssue(field=name, value=value, message=f"{model.key} takes {', '.join(map(str, allowed))}")
    if model.raw.get("aspect_ratios") == [] and not model.aspect_ratios and getattr(request, "aspect_ratio", None):
        yield CheckIssue(
            field="aspect_ratio",
            value=getattr(request, "aspect_ratio", None),
            message=f"{model.key} has no choice of it; leave it out (None)",
        )
    abilities = (
        ("generate_audio", model.audio, "makes no sound"),
        ("negative_prompt", model.negative_prompt, "takes none"),
    )
    for name, supported, objection in abilities:
        if getattr(request, name, None) and supported is False:
            yield CheckIssue(field=name, value=getattr(request, name), message=f"{model.key} {objection}; leave it out")
    yield from _size_issues(request, model)


def _ability_issues(request: WeryAIRequest[Any], model: Model, models: Sequence[Model]) -> Iterator[CheckIssue]:
    abilities: Mapping[str, tuple[Callable[[Model], bool | None], str]] = {
        "multi-image-to-video": (lambda entry: entry.several_images, "it takes one picture only"),
        "first-last-image-to-video": (lambda entry: entry.first_last_frame, "it does not work between two pictures"),
    }
    is_able, objection = abilities.get(request.type_name, (lambda _: True, ""))
    if is_able(model) is False:
        modes = REGISTRY_MODES[request.type_name]
        able = list(dict.fromkeys(entry.key for entry in models if entry.mode in modes and is_able(entry)))
        others = f", such as {', '.join(able[:_MAX_NAMED])}" if able else ""
        yield CheckIssue(field="model", value=model.key, message=f"{objection}; take another{others}")


def _size_issues(request: WeryAIRequest[Any], model: Model) -> Iterator[CheckIssue]:
    prompt = getattr(request, "prompt", None) or ""
    if model.longest_prompt is not None and len(prompt) > model.longest_prompt:
        message = f"{model.key} takes at most {model.longest_prompt} characters, not {len(prompt)}"
        yield CheckIssue(field="prompt", value=prompt[:30] + "...", message=message)
    images = getattr(request, "image_urls", ())
    limit = 1 if model.several_images is False and model.kind == "image" else model.most_images
    if limit is not None and len(images) > limit:
        yield CheckIssue(field="image_urls", value=len(images), message=f"{model.key} takes at most {limit}")


def _model(mode: str, kind: Literal["image", "video"], entry: Mapping[str, Any]) -> Model:
    return Model(
        key=_text(entry["model_key"]),
        kind=kind,
        mode=mode,
        title=_text(entry.get("title")),
        aspect_ratios=_texts(entry.get("aspect_ratios") or entry.get("image_sizes")),
        durations=_integers(entry.get("durations")),
        resolutions=_texts(entry.get("resolutions")),
        image_numbers=_integers(entry.get("num_images")),
        audio=_boolean(entry.get("has_generate_audio")),
        negative_prompt=_boolean(entry.get("has_negative_prompt")),
        longest_prompt=_integer(entry.get("prompt_length_limit")),
        most_images=_integer(entry.get("upload_image_limit")),
        several_images=_boolean(entry.get("support_multiple_images")),
        first_last_frame=_boolean(entry.get("support_first_last_frame")),
        raw=entry,
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as text; consecutive ones as a range."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):  # noqa: PLR2004 - two are no range
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _grouped(value: int | None) -> str:
    """Return a number with separators between thousands."""
    return "" if value is None else f"{value:,}"


# Informative values are read leniently: an unexpected one counts as absent.


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _integers(value: Any) -> tuple[int, ...]:
    numbers = map(_integer, value) if isinstance(value, list) else ()
    return tuple(number for number in numbers if number is not None)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
