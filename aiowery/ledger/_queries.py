"""Questions to the tables: nothing changes by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiowery._core.durations import Interval
from aiowery.ledger._records import BatchSummary, Entry, State, WebhookDelivery
from aiowery.ledger._rows import COLUMNS, Connection, decode_durations, entry_of, text_of


def has_submission(connection: Connection, submission_id: str) -> bool:
    """Return True if an entry has or had an attempt with this mark."""
    row = connection.execute(
        "SELECT 1 FROM entry WHERE submission_id = ?"
        " OR id = (SELECT entry_id FROM released_submission WHERE submission_id = ?)",
        (submission_id, submission_id),
    ).fetchone()
    return row is not None


def deliveries(connection: Connection, after: int, submission_id: str | None) -> list[WebhookDelivery]:
    """Return what has been told, by id."""
    rows = connection.execute(
        "SELECT id, submission_id, task_id, finished FROM delivery WHERE id > ? AND (? IS NULL OR submission_id = ?)"
        " AND EXISTS (SELECT 1 FROM entry WHERE submission_id = delivery.submission_id"
        " AND state IN ('sending', 'accepted', 'in doubt')) ORDER BY id",
        (after, submission_id, submission_id),
    )
    return [WebhookDelivery(id_, told_ref, task_id, bool(ended)) for id_, told_ref, task_id, ended in rows]


def entries_with_task(connection: Connection, task_id: str) -> list[int]:
    """Return the ids of the entries that have this task, be it late."""
    rows = connection.execute(
        "SELECT id FROM entry WHERE instr(task_ids, ?) OR instr(late_task_ids, ?)", (text_of(task_id),) * 2
    )
    return [entry_id for (entry_id,) in rows]


def change_counter(connection: Connection) -> int:
    """Return a number that changes when another connection has written."""
    (number,) = connection.execute("PRAGMA data_version").fetchone()
    return int(number)


def owners(connection: Connection) -> list[str]:
    """Return who looks after something."""
    return [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM entry WHERE owner IS NOT NULL")]


def entry(connection: Connection, entry_id: int) -> Entry | None:
    """Return one entry."""
    row = connection.execute(f"SELECT {COLUMNS} FROM entry WHERE id = ?", (entry_id,)).fetchone()  # noqa: S608 - a constant
    return None if row is None else entry_of(row)


def entries(
    connection: Connection, batch: str | None, states: Iterable[State] | None, after: int, limit: int
) -> list[Entry]:
    """Return a page of entries, by id."""
    wanted = tuple(State) if states is None else tuple(states)
    marks = ", ".join("?" * len(wanted))
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM entry WHERE id > ? AND (? IS NULL OR batch = ?) AND state IN ({marks})"  # noqa: S608 - marks only
        " ORDER BY id LIMIT ?",
        (after, batch, batch, *wanted, limit),
    )
    return list(map(entry_of, rows))


def price(connection: Connection, price_key: str) -> float | None:
    """Return what the latest entry of this price key was charged; what has failed tells no price."""
    row = connection.execute(
        "SELECT credits FROM entry WHERE price_key = ? AND credits IS NOT NULL AND state = 'done'"
        " ORDER BY id DESC LIMIT 1",
        (price_key,),
    ).fetchone()
    return None if row is None else float(row[0])


def durations(connection: Connection) -> dict[str, list[Interval]]:
    """Return the bounds of the durations of each kind, the latest last."""
    rows = connection.execute("SELECT kind, seen FROM duration ORDER BY at, id")
    return {kind: decode_durations(seen) for kind, seen in rows}


def batches(connection: Connection) -> list[BatchSummary]:
    """Return all batches in numbers, oldest first."""
    rows = connection.execute(
        "SELECT batch, state, count(*), sum(credits) FROM entry GROUP BY batch, state ORDER BY min(id)"
    ).fetchall()
    used = dict(connection.execute("SELECT batch, used FROM batch_spend"))
    names = dict.fromkeys(row[0] for row in rows)
    return [_summary(name, [row for row in rows if row[0] == name], used.get(name, 0.0)) for name in names]


def _summary(name: str, rows: Sequence[tuple[str, str, int, float | None]], used: float) -> BatchSummary:
    told = [credits_ for _, _, _, credits_ in rows if credits_ is not None]
    states = {State(state): number for _, state, number, _ in rows}
    return BatchSummary(name=name, states=states, credits=sum(told) if told else None, used=used)
