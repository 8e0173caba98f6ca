"""Webhook deliveries in SQL: what is stored of them, and by which submission or task an entry is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from aiowery.ledger._records import MAX_DELIVERIES, Entry, WebhookDelivery, with_late_tasks
from aiowery.ledger._rows import COLUMNS, Connection, entry_of, state_list, storable, to_json
from aiowery.ledger._states import AWAITS_DELIVERIES, UNRESOLVED, State

_REPEAT_AFTER: Final = 1.0
"""Seconds after which a repeated delivery is reported again."""

_BY_SUBMISSION: Final = f"SELECT {COLUMNS} FROM entry WHERE submission_id = ?"  # noqa: S608 - a constant
_BY_RELEASED: Final = (
    f"SELECT {COLUMNS} FROM entry WHERE id = (SELECT entry_id FROM released_submission WHERE submission_id = ?)"  # noqa: S608 - a constant
)
_DELIVERIES: Final = (
    "SELECT id, submission_id, task_id, finished FROM delivery WHERE id > ? AND (? IS NULL OR submission_id = ?)"  # noqa: S608 - constants
    " AND EXISTS (SELECT 1 FROM entry WHERE submission_id = delivery.submission_id"
    f" AND state IN {state_list(AWAITS_DELIVERIES)}) ORDER BY id"
)


@attrs.frozen
class DeliveryRecord:
    """A task that a webhook delivery named for a submission, and the time of the delivery."""

    submission_id: str
    task_id: str
    finished: bool
    at: float


def record_delivery(connection: Connection, delivery: DeliveryRecord) -> Entry | None:
    """Store a delivery; return the entry of its submission, None if there is none."""
    row = connection.execute(_BY_SUBMISSION, (delivery.submission_id,)).fetchone()
    if row is None:
        return record_late_tasks(connection, delivery.submission_id, (delivery.task_id,))
    entry = entry_of(row)
    if entry.task_ids and delivery.task_id not in entry.task_ids:
        return None
    if entry.state in UNRESOLVED or (entry.state is State.ACCEPTED and delivery.finished):
        _store(connection, delivery)
    return entry


def record_late_tasks(connection: Connection, submission_id: str, task_ids: Sequence[str]) -> Entry | None:
    """Store task ids of a submission that was released; return its entry, None if there is no such submission."""
    row = connection.execute(_BY_RELEASED, (submission_id,)).fetchone()
    if row is None:
        return None
    entry = entry_of(row)
    connection.execute(
        "UPDATE entry SET late_task_ids = ? WHERE id = ?", (to_json(with_late_tasks(entry, task_ids)), entry.id)
    )
    return entry


def _store(connection: Connection, delivery: DeliveryRecord) -> None:
    """Store a delivery under a new id if it is the first of its task, the first finished one, or a later repeat."""
    task_id = storable(delivery.task_id)
    connection.execute(
        "DELETE FROM delivery WHERE submission_id = ? AND task_id = ? AND (finished < ? OR abs(at - ?) > ?)",
        (delivery.submission_id, task_id, delivery.finished, delivery.at, _REPEAT_AFTER),
    )
    connection.execute(
        "INSERT OR IGNORE INTO delivery (submission_id, task_id, finished, at) SELECT ?, ?, ?, ?"
        " WHERE (SELECT count(*) FROM delivery WHERE submission_id = ?) < ?",
        (delivery.submission_id, task_id, delivery.finished, delivery.at, delivery.submission_id, MAX_DELIVERIES),
    )


def deliveries(connection: Connection, after: int, submission_id: str | None) -> list[WebhookDelivery]:
    """Return the stored deliveries with an id above `after`, in order; of one submission, or of all."""
    rows = connection.execute(_DELIVERIES, (after, submission_id, submission_id))
    return [WebhookDelivery(id_, found_id, task_id, bool(finished)) for id_, found_id, task_id, finished in rows]


def has_submission(connection: Connection, submission_id: str) -> bool:
    """Return True if an entry has or had this submission."""
    row = connection.execute(
        "SELECT 1 FROM entry WHERE submission_id = ?"
        " OR id = (SELECT entry_id FROM released_submission WHERE submission_id = ?)",
        (submission_id, submission_id),
    ).fetchone()
    return row is not None


def entries_with_task(connection: Connection, task_id: str) -> list[int]:
    """Return the ids of the entries that have this task, late tasks included."""
    rows = connection.execute("SELECT entry_id FROM entry_task WHERE task_id = ?", (storable(task_id),))
    return [entry_id for (entry_id,) in rows]
