"""Entries as rows of the table, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from aiowery._core.durations import Interval
from aiowery.ledger._records import Duration, Entry, State

Connection = sqlite3.Connection

COLUMNS: Final = (
    "id, batch, key, entry_index, request, state, attempts, submission_id, owner, sent_at, task_ids, provider_batch_id,"
    " request_id, reason, snapshots, credits, files, seconds, late_task_ids, cost, base_url, request_hash, price_key"
)


def entry_of(row: Sequence[Any]) -> Entry:
    """Return the entry of a row with all columns."""
    (id_, batch, key, entry_index, request, state, attempts, submission_id, owner, sent_at, task_ids, *rest) = row
    (
        provider_batch_id,
        request_id,
        reason,
        snapshots,
        credits_,
        files,
        seconds,
        late_task_ids,
        cost,
        base_url,
        request_hash,
        price_key,
    ) = rest
    return Entry(
        id=id_,
        batch=batch,
        key=key,
        index=entry_index,
        request=json.loads(request),
        state=State(state),
        attempts=attempts,
        submission_id=submission_id,
        owner=owner,
        sent_at=sent_at,
        task_ids=tuple(json.loads(task_ids)),
        provider_batch_id=provider_batch_id,
        request_id=request_id,
        reason=reason,
        snapshots=tuple(json.loads(snapshots)),
        credits=credits_,
        files=tuple(json.loads(files)),
        seconds=seconds,
        late_task_ids=tuple(json.loads(late_task_ids)),
        cost=cost,
        base_url=base_url,
        request_hash=request_hash,
        price_key=price_key,
    )


LINE: Final = 20
"""How many characters each duration takes."""
_LONGEST: Final = 99999.999


def encode_duration(duration: Duration) -> str:
    """Return a duration as a line of the text that is kept of its kind."""
    return f"{min(duration.lower, _LONGEST):9.3f} {min(duration.upper, _LONGEST):9.3f}\n"


def decode_durations(lines: str) -> list[Interval]:
    """Return the bounds of the durations that are kept of a kind."""
    numbers = list(map(float, lines.split()))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


# Made once: json.dumps would make one for every text.
text_of: Final = json.JSONEncoder(separators=(",", ":")).encode


def storable(text: str | None) -> str | None:
    """Return a text that may be stored: half a character, which JSON can bring, is none."""
    return None if text is None else text.encode("utf-8", "replace").decode()
