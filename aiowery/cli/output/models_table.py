"""Tables of the models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from aiowery import ModelInfo
from aiowery.cli.output.tables import print_columns
from aiowery.cli.terminal import print_text


def print_models(models: Iterable[ModelInfo]) -> None:
    """Print a table for each mode of models, in the order of the models."""
    models = tuple(models)
    for mode, group in groupby(models, lambda model: model.mode):
        _print_mode(mode, tuple(group))
    if not models:
        print_text("There are no such models.")


def _print_mode(mode: str, models: Sequence[ModelInfo]) -> None:
    """Print the models of one mode, without empty columns."""
    headings = dict.fromkeys(heading for model in models for heading in model.details)
    columns = {heading: [model.details.get(heading, "") for model in models] for heading in headings}
    print_columns({"model": [str(model.key) for model in models], **columns}, title=mode)
