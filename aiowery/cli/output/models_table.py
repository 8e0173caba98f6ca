"""Tables of the models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal

from aiowery import BetterWaifu, WeryAI, betterwaifu
from aiowery.cli.output.tables import print_table
from aiowery.weryai import ChatModel, Model

ModelKind = Literal["image", "video", "chat"]
AnyModel = Model | ChatModel | betterwaifu.Model


async def models_of(client: WeryAI | BetterWaifu, kind: ModelKind | None) -> list[AnyModel]:
    """Return the models of one kind, or of all."""
    models: list[AnyModel] = []
    if isinstance(client, BetterWaifu):
        return [*models, *(await client.models())] if kind in {None, "image"} else models
    if kind != "chat":
        models += [model for model in await client.models() if kind in {None, model.kind}]
    if kind in {None, "chat"}:
        models += await client.chat_models()
    return models


def print_models(models: Iterable[AnyModel]) -> None:
    """Print a table for each mode of models."""
    models = tuple(models)
    numbered = [model for model in models if isinstance(model, betterwaifu.Model)]
    if numbered:
        rows = [
            (str(model.id), model.model_name, model.name, model.base_model, "yes" if model.nsfw else "")
            for model in numbered
        ]
        print_table(("model", "name", "version", "base", "for adults"), rows, title="generate-image")
    for mode, group in groupby((model for model in models if isinstance(model, Model)), lambda model: model.mode):
        _print_media_models(mode, tuple(group))
    chat = [model for model in models if isinstance(model, ChatModel)]
    if chat:
        rows = [
            (
                model.key,
                _number(model.max_tokens),
                _price(model.input_price),
                _price(model.output_price),
                model.description,
            )
            for model in chat
        ]
        print_table(("model", "most tokens", "price in", "price out", "about"), rows, title="chat")
    if not models:
        print("The registries list no models.")


def print_slugs() -> None:
    """Print the models that the v1-images edition documents; it has no endpoint that lists them."""
    print_table(("model", "good for"), list(betterwaifu.MODELS.items()), title="generate-image")


def _print_media_models(mode: str, models: Sequence[Model]) -> None:
    """Print the models of one mode; empty columns are left out."""
    columns: dict[str, list[str]] = {
        "model": [model.key for model in models],
        "title": [model.title for model in models],
        "shapes": [", ".join(model.aspect_ratios) for model in models],
        "seconds": [_numbers(model.durations) for model in models],
        "resolutions": [", ".join(model.resolutions) for model in models],
        "outputs": [_numbers(model.image_numbers) for model in models],
        "takes pictures": [_number(model.most_images) for model in models],
        "also": [_abilities(model) for model in models],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    print_table(tuple(filled), list(zip(*filled.values(), strict=True)), title=mode)


def _abilities(model: Model) -> str:
    able: dict[str, Any] = {
        "sound": model.audio,
        "negative prompt": model.negative_prompt,
        "first and last picture": model.first_last_frame,
    }
    return ", ".join(name for name, is_able in able.items() if is_able)


def _numbers(numbers: Sequence[int]) -> str:
    """Return numbers as text; consecutive ones as a range."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):  # noqa: PLR2004 - two are no range
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:g}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
