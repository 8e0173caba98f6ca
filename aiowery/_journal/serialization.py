"""Snapshots, errors and kinds of jobs as the ledger keeps them, and back."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, Final

import attrs
import cattrs

from aiowery import errors
from aiowery._base.snapshot import Snapshot
from aiowery._core.codec import make_converter
from aiowery._core.durations import Interval
from aiowery.errors import AioweryError, JobError, JobFailed, LedgerError
from aiowery.ledger import Entry

_converter: Final = make_converter()
_BETWEEN: Final = ": "


def dump_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as JSON has it, from which `kept_snapshots` makes an equal one."""
    told = attrs.asdict(snapshot, recurse=False, filter=lambda _, value: value is not None and value != ())
    told["state"] = snapshot.state.value
    for name in ("assets", "script"):
        if name in told:
            told[name] = [attrs.asdict(part, recurse=False) for part in told[name]]
    return told


def load_snapshots(entry: Entry) -> list[Snapshot]:
    """Return the last snapshots of an entry's tasks; LedgerError for what cannot be read."""
    try:
        return [_converter.structure(told, Snapshot) for told in entry.snapshots]
    except (cattrs.BaseValidationError, ValueError) as fault:
        words = "; ".join(cattrs.transform_error(fault))
        raise LedgerError(f"entry {entry.id} holds answers that cannot be read ({words})") from fault


def duration_kind(host: str, key: tuple[str, ...]) -> str:
    """Return the kind of jobs that teach each other: host, endpoint, model and settings.

    In words, since the requests beside it in the ledger say the same; nobody's prompt is among them.
    """
    return json.dumps((host, *key))


def durations_at(host: str, told: Mapping[str, list[Interval]]) -> dict[Hashable, list[Interval]]:
    """Return what a ledger knows of the durations at one host, by the `duration_key` of requests."""
    kinds = {kind: json.loads(kind) for kind in told}
    return {tuple(words[1:]): told[kind] for kind, words in kinds.items() if words[0] == host}


def dump_error(error: BaseException) -> str:
    """Return an error as a note."""
    return f"{type(error).__name__}{_BETWEEN}{error}"


def load_error(entry: Entry) -> AioweryError:
    """Return the error that a failed entry's note tells of: of the class that it was, if that is one of ours."""
    name, _, message = entry.reason.partition(_BETWEEN)
    known: type[Any] | None = getattr(errors, name, None) if name in errors.__all__ else None
    if known is None:
        name, message = "", entry.reason
    facts: Mapping[str, Any] = {"request_id": entry.request_id}
    if entry.task_ids:
        cls = known if known is not None and issubclass(known, JobError) else JobFailed
        return cls(message, task_ids=entry.task_ids, snapshots=tuple(load_snapshots(entry)), **facts)
    return (known or AioweryError)(message)
