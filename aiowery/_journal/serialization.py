"""Convert snapshots, errors and duration keys to the form that the ledger stores, and back."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, Final

import attrs
import cattrs

from aiowery import errors
from aiowery._base.snapshot import Snapshot
from aiowery._base.text import MAX_MESSAGE, safe_text
from aiowery._core.codec import make_converter
from aiowery._core.durations import Interval
from aiowery._core.redaction import redact, redact_json
from aiowery.errors import AioweryError, JobError, JobFailed, LedgerError
from aiowery.ledger import Entry

_converter: Final = make_converter()
_SEPARATOR: Final = ": "
_MAX_RAW: Final = 64 * 1024
_MAX_REASON: Final = MAX_MESSAGE + 100


def dump_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as a JSON object, from which `load_snapshots` restores an equal one.

    Keys in `raw` are hidden, and of a large one the members beyond 64 kB are left out.
    """
    values = attrs.asdict(snapshot, recurse=False, filter=lambda _, value: value is not None and value != ())
    values["state"] = snapshot.state.value
    values["raw"] = _stored_raw(snapshot.raw)
    for name in ("assets", "script"):
        if name in values:
            values[name] = [attrs.asdict(part, recurse=False) for part in values[name]]
    return values


def _stored_raw(raw: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = _MAX_RAW
    for name, value in raw.items():
        try:
            room -= len(json.dumps({name: value}))
            if room < 0:
                break
            kept[redact(name)] = redact_json(value)
        except RecursionError:  # nested too deep to be read again
            continue
    return kept


def load_snapshots(entry: Entry) -> list[Snapshot]:
    """Return the last snapshots of an entry's tasks. Raises LedgerError if they cannot be read."""
    try:
        return [_converter.structure(values, Snapshot) for values in entry.snapshots]
    except (cattrs.BaseValidationError, ValueError) as error:
        problems = "; ".join(cattrs.transform_error(error))
        raise LedgerError(f"the stored snapshots of entry {entry.id} cannot be read ({problems})") from error


def duration_kind(base_url: str, timing_key: tuple[str, ...]) -> str:
    """Return the ledger's key for durations: base URL, endpoint, model and settings, as readable JSON.

    It contains no prompt. It is not hashed, because the ledger stores the same values in the requests.
    """
    return json.dumps((base_url, *timing_key))


def durations_at(base_url: str, intervals_by_kind: Mapping[str, list[Interval]]) -> dict[Hashable, list[Interval]]:
    """Return a ledger's durations at one base URL, by the `timing_key` of requests."""
    keys = {kind: json.loads(kind) for kind in intervals_by_kind}
    return {tuple(parts[1:]): intervals_by_kind[kind] for kind, parts in keys.items() if parts[0] == base_url}


def dump_error(error: BaseException) -> str:
    """Return an error as the reason of an entry: its class name and message, without keys."""
    return safe_text(redact(f"{type(error).__name__}{_SEPARATOR}{error}"), _MAX_REASON)


def load_error(entry: Entry) -> AioweryError:
    """Return the error of a failed entry from its reason, with its original class if that is one of `errors`."""
    name, _, message = entry.reason.partition(_SEPARATOR)
    known: type[Any] | None = getattr(errors, name, None) if name in errors.__all__ else None
    if known is None:
        name, message = "", entry.reason
    facts: Mapping[str, Any] = {"request_id": entry.request_id}
    if entry.task_ids:
        cls = known if known is not None and issubclass(known, JobError) else JobFailed
        return cls(message, task_ids=entry.task_ids, snapshots=tuple(load_snapshots(entry)), **facts)
    return (known or AioweryError)(message)
