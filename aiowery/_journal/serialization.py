"""Serialize snapshots, errors and durations for the ledger, and load them."""

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
    """Return a snapshot as a JSON object, from which `load_snapshots` makes an equal one."""
    fields = attrs.asdict(snapshot, recurse=False, filter=lambda _, value: value is not None and value != ())
    fields["state"] = snapshot.state.value
    for name in ("assets", "script"):
        if name in fields:
            fields[name] = [attrs.asdict(part, recurse=False) for part in fields[name]]
    return fields


def load_snapshots(entry: Entry) -> list[Snapshot]:
    """Return the last snapshots of an entry's tasks. Raises LedgerError if they cannot be read."""
    try:
        return [_converter.structure(fields, Snapshot) for fields in entry.snapshots]
    except (cattrs.BaseValidationError, ValueError) as fault:
        faults = "; ".join(cattrs.transform_error(fault))
        raise LedgerError(f"entry {entry.id} holds snapshots that cannot be read ({faults})") from fault


def duration_kind(base_url: str, timing_key: tuple[str, ...]) -> str:
    """Return the key of jobs of similar duration: address, endpoint, model and settings; it holds no prompt."""
    return json.dumps((base_url, *timing_key))


def durations_at(base_url: str, durations: Mapping[str, list[Interval]]) -> dict[Hashable, list[Interval]]:
    """Return a ledger's durations at one address, by the `timing_key` of requests."""
    keys = {kind: json.loads(kind) for kind in durations}
    return {tuple(key[1:]): durations[kind] for kind, key in keys.items() if key[0] == base_url}


def dump_error(error: BaseException) -> str:
    """Return an error as a ledger entry's reason."""
    return f"{type(error).__name__}{_BETWEEN}{error}"


def load_error(entry: Entry) -> AioweryError:
    """Return the error in a failed entry's reason: of its class, if that is one of `aiowery.errors`."""
    name, _, message = entry.reason.partition(_BETWEEN)
    known: type[Any] | None = getattr(errors, name, None) if name in errors.__all__ else None
    if known is None:
        name, message = "", entry.reason
    facts: Mapping[str, Any] = {"request_id": entry.request_id}
    if entry.task_ids:
        cls = known if known is not None and issubclass(known, JobError) else JobFailed
        return cls(message, task_ids=entry.task_ids, snapshots=tuple(load_snapshots(entry)), **facts)
    return (known or AioweryError)(message)
