"""Conversion between ledger values and SQL: rows, JSON columns, and state names in statements."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from aiowery._core.durations import Interval
from aiowery.ledger._records import Duration, Entry
from aiowery.ledger._states import NOT_REUSABLE, State

Connection = sqlite3.Connection

COLUMNS: Final = (
    "id, batch, key, entry_index, request, state, attempts, submission_id, owner, sent_at, task_ids, provider_batch_id,"
    " request_id, reason, snapshots, credits, files, seconds, late_task_ids, cost, base_url, request_hash, price_key,"
    " excerpt"
)


def entry_of(row: Sequence[Any]) -> Entry:
    """Return the entry of a row that has all columns, and perhaps the batch from which it is reused."""
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
        excerpt,
        *reused_from,
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
        task_ids=_items(task_ids),
        provider_batch_id=provider_batch_id,
        request_id=request_id,
        reason=reason,
        snapshots=_items(snapshots),
        credits=credits_,
        files=_items(files),
        seconds=seconds,
        late_task_ids=_items(late_task_ids),
        cost=cost,
        base_url=base_url,
        request_hash=request_hash,
        price_key=price_key,
        excerpt=excerpt,
        reused_from=reused_from[0] if reused_from else None,
    )


def _items(text: str) -> tuple[Any, ...]:
    """Return the items of a JSON array; most are empty."""
    return () if text == "[]" else tuple(json.loads(text))


DURATION_LENGTH: Final = 20
"""Characters that each duration takes."""
_MAX_SECONDS: Final = 99999.999


def encode_duration(duration: Duration) -> str:
    """Return a duration as text that is appended to the text of its kind."""
    return f"{min(duration.lower, _MAX_SECONDS):9.3f} {min(duration.upper, _MAX_SECONDS):9.3f}\n"


def decode_durations(text: str) -> list[Interval]:
    """Return the bounds in the text that is stored for a kind."""
    numbers = list(map(float, text.split()))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


# One encoder for all texts: json.dumps would create one for each.
to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


def storable(text: str | None) -> str | None:
    """Return a text that SQLite accepts: lone surrogates, which JSON can contain, are replaced."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def state_list(states: Collection[State]) -> str:
    """Return states as a list in a statement, in the order in which they are defined."""
    return "(" + ", ".join(f"'{state}'" for state in State if state in states) + ")"


FROM_REUSED: Final = (
    "FROM reused JOIN entry AS origin ON origin.id = reused.entry_id"
    f" WHERE origin.state NOT IN {state_list(NOT_REUSABLE)}"
)
"""Entries that answer requests of other batches than their own."""
_OF_REUSE: Final = frozenset({"batch", "key", "entry_index"})
REUSED_COLUMNS: Final = ", ".join(
    [f"{'reused' if name in _OF_REUSE else 'origin'}.{name}" for name in COLUMNS.split(", ")] + ["origin.batch"]
)
"""Columns of such an entry, as one of the other batch, and the batch that it belongs to."""
