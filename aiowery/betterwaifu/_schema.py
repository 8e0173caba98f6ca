"""Fields of BetterWaifu's responses, in both editions: states, outputs, parameters (contract: 1.5, 2.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from aiowery._base.snapshot import Asset, TaskState
from aiowery._core.fields import fits_in_a_path
from aiowery._core.media import clean_url

_STATES: Final = {
    "queued": TaskState.WAITING,
    "pending": TaskState.WAITING,
    "processing": TaskState.RUNNING,
    "succeeded": TaskState.DONE,
    "completed": TaskState.DONE,
    "failed": TaskState.FAILED,
}
_INTEGER: Final = re.compile(r"-?[0-9]{1,30}")


@attrs.frozen(kw_only=True)
class ImageOutputs:
    """The outputs in a response: pictures, their ids, and the parameters that made them."""

    assets: tuple[Asset, ...] = ()
    image_ids: tuple[str, ...] = ()
    seed: int | None = None
    created_at: datetime | None = None
    parameters: Mapping[str, Any] = attrs.field(factory=dict)


def to_state(raw_status: str) -> TaskState | None:
    """Return the state for a raw status; None for an undocumented one."""
    return _STATES.get(raw_status.strip().casefold())


def raw_status_in(part: Mapping[str, Any]) -> str:
    """Return the raw status in a part of a response, "" if there is none."""
    raw_status = part.get("status")
    return raw_status if isinstance(raw_status, str) else ""


def id_in(part: Any, *names: str) -> str | None:
    """Return the first usable id under one of these names."""
    return next(ids_in(part, *names), None)


def ids_in(part: Any, *names: str) -> Iterator[str]:
    """Yield the usable ids under these names."""
    values = (part.get(name) for name in names) if isinstance(part, Mapping) else ()
    return (str(value) for value in values if _is_id(value))


def read_outputs(part: Mapping[str, Any], task_id: str | None = None) -> ImageOutputs:
    """Return the outputs: one URL (v1-images), or a list below `output` (jobs). Invalid ones are left out."""
    output = _object(part.get("output"))
    parameters = _object(part.get("parameters"))
    images = _images(part, output)
    seeds = (output.get("seed"), parameters.get("seed"), part.get("seed"))
    return ImageOutputs(
        assets=tuple(Asset(url, "image", None, task_id) for url, _ in images),
        image_ids=tuple(image_id for _, image_id in images if image_id),
        seed=next((seed for seed in map(optional_int, seeds) if seed is not None), None),
        created_at=optional_datetime(part.get("created_at")),
        parameters=dict(parameters),
    )


def optional_int(value: Any) -> int | None:
    """Return an integer, also if written as text; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def optional_datetime(value: Any) -> datetime | None:
    """Return a time in ISO 8601, in UTC if it has no zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def optional_text(value: Any) -> str | None:
    """Return a text that is not blank; None for anything else."""
    return value if isinstance(value, str) and value.strip() else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _images(part: Mapping[str, Any], output: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the URL and id of each picture, from the first place that has any."""
    for source in (output.get("images"), part.get("images"), part.get("output"), part):
        items = source if isinstance(source, list) else [source]
        found = [(url, id_in(item, "image_id", "id")) for item in items if (url := _url(item))]
        if found:
            return found
    return []


def _url(item: Any) -> str | None:
    """Return the URL in an object, or a text that is one; None for anything else."""
    return clean_url(item if isinstance(item, str) else _object(item).get("url"))


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and fits_in_a_path(str(value))
