"""The state machine, in SQL: each move is one statement that names the state it starts from.

    NEW -> CLAIMED -> SENDING -> ACCEPTED -> DONE | FAILED
              |          |-> FAILED (refused), or CLAIMED again
              |          '-> IN_DOUBT -> ACCEPTED (adopted, or told late) | NEW (released)
              '-> NEW (given up, or its owner died: nothing was sent)

A move whose statement meets no row has come too late, or is out of place. Whatever follows `mark_sending` goes by
`submission_id`, not by state alone: a process that was frozen may wake with the real ids after others have declared a
doubt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from aiowery._core.durations import REMEMBERED
from aiowery.errors import LedgerError
from aiowery.ledger._records import (
    MOST_DELIVERIES,
    NO_BATCH,
    Duration,
    Entry,
    NewEntry,
    State,
    check_budget,
    with_late_tasks,
    wrong_base_url,
)
from aiowery.ledger._rows import COLUMNS, LINE, Connection, encode_duration, entry_of, storable, text_of

_KEY: Final = 2
_WHILE: Final = 1.0
_OPEN: Final = frozenset({State.SENDING, State.IN_DOUBT})


def add(
    connection: Connection, batch: str, items: Sequence[NewEntry], claimant: str | None, *, reuse: bool
) -> list[Entry]:
    """Return an entry for each item: the one that is there under its key, or a new one, claimed if need be.

    With `reuse`, one of the same request_hash that is done or may yet be goes before.
    """
    _check_host(connection, batch, items)
    state = State.NEW if claimant is None else State.CLAIMED
    if not reuse:
        _insert(connection, [_new_row(batch, item, state, claimant) for item in items])
        found = _by_key(connection, batch, [item.key for item in items])
        return [entry_of(found[item.key]) for item in items]
    entries = []
    for item in items:  # one by one: an item may be like one before it
        row = _equal_entry(connection, batch, item)
        if row is None:
            _insert(connection, [_new_row(batch, item, state, claimant)])
            row = _by_key(connection, batch, [item.key])[item.key]
        entries.append(entry_of(row))
    return entries


def _insert(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.executemany(
        "INSERT INTO entry (batch, key, entry_index, request, base_url, request_hash, price_key, state, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch, key) DO NOTHING",
        rows,
    )


def _new_row(batch: str, item: NewEntry, state: State, claimant: str | None) -> tuple[Any, ...]:
    request = text_of(item.request)
    return (batch, item.key, item.index, request, item.base_url, item.request_hash, item.price_key, state, claimant)


def _by_key(connection: Connection, batch: str, keys: Sequence[str]) -> dict[str, Sequence[Any]]:
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(f"SELECT {COLUMNS} FROM entry WHERE batch = ? AND key IN ({marks})", (batch, *keys))  # noqa: S608 - marks only
    return {row[_KEY]: row for row in rows}


def _check_host(connection: Connection, batch: str, items: Sequence[NewEntry]) -> None:
    row = connection.execute("SELECT base_url FROM entry WHERE batch = ? LIMIT 1", (batch,)).fetchone()
    if row is not None and batch != NO_BATCH and items and items[0].base_url != row[0]:
        raise wrong_base_url(batch, items[0], row[0])


def _equal_entry(connection: Connection, batch: str, item: NewEntry) -> Sequence[Any] | None:
    """Return an entry of the same request_hash: the item's own before others, those that are done before others."""
    row: Sequence[Any] | None = connection.execute(
        f"SELECT {COLUMNS} FROM entry WHERE request_hash = ? AND base_url = ?"  # noqa: S608 - a constant
        " AND state NOT IN ('failed', 'in doubt') ORDER BY state = 'done' DESC, batch = ? AND key = ? DESC, id LIMIT 1",
        (item.request_hash, item.base_url, batch, item.key),
    ).fetchone()
    return row


def claim(connection: Connection, entry_ids: Sequence[int], owner: str) -> list[int]:
    """Take new entries and return those that are ours now."""
    statement = "UPDATE entry SET state = 'claimed', owner = ? WHERE id = ? AND state = 'new'"
    return [entry_id for entry_id in entry_ids if connection.execute(statement, (owner, entry_id)).rowcount]


def unclaim(connection: Connection, entry_id: int, owner: str) -> None:
    """Let go of a claimed entry: nothing was sent. One of no batch is forgotten."""
    connection.execute(
        "DELETE FROM entry WHERE id = ? AND owner = ? AND state = 'claimed' AND batch = ''", (entry_id, owner)
    )
    connection.execute(
        "UPDATE entry SET state = 'new', owner = NULL WHERE id = ? AND owner = ? AND state = 'claimed'",
        (entry_id, owner),
    )


@attrs.frozen
class SubmissionStart:
    """What is about to be sent: under which mark, when, for how much, of which budget."""

    submission_id: str
    sent_at: float
    cost: float = 0.0
    budget: float | None = None


def mark_sending(connection: Connection, entry_id: int, owner: str, purchase: SubmissionStart) -> None:
    """Note that the next thing to happen is the first byte.

    LedgerError when this entry is not ours to send, BudgetExceeded when its batch may not pay for it.
    """
    if purchase.budget is not None:
        (used,) = connection.execute(
            "SELECT total(used) FROM batch_spend WHERE batch = (SELECT batch FROM entry WHERE id = ?)", (entry_id,)
        ).fetchone()
        if refusal := check_budget(used, purchase.cost, purchase.budget):
            raise refusal
    changed = connection.execute(
        "UPDATE entry SET state = 'sending', submission_id = ?, sent_at = ?, cost = ?, attempts = attempts + 1"
        " WHERE id = ? AND owner = ? AND state = 'claimed'",
        (purchase.submission_id, purchase.sent_at, purchase.cost, entry_id, owner),
    ).rowcount
    if not changed:
        raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")


def mark_unsent(connection: Connection, submission_id: str) -> None:
    """Note that what was about to leave provably did not: the entry is claimed again."""
    connection.execute(
        "UPDATE entry SET state = 'claimed', submission_id = NULL, sent_at = NULL, cost = 0"
        " WHERE submission_id = ? AND state = 'sending'",
        (submission_id,),
    )


def mark_accepted(
    connection: Connection,
    submission_id: str,
    task_ids: Sequence[str],
    provider_batch_id: str | None,
    request_id: str | None,
) -> None:
    """Keep the ids, however late they come; those of an attempt that was released meanwhile are late."""
    changed = connection.execute(
        "UPDATE entry SET state = 'accepted', task_ids = ?, provider_batch_id = ?, request_id = ?, reason = ''"
        " WHERE submission_id = ? AND state IN ('sending', 'in doubt')",
        (text_of(list(task_ids)), storable(provider_batch_id), storable(request_id), submission_id),
    ).rowcount
    if not changed:
        _record_late_tasks(connection, submission_id, task_ids)


def _record_late_tasks(connection: Connection, submission_id: str, task_ids: Sequence[str]) -> Entry | None:
    """Note what became of an attempt after it was released, and return its entry."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM entry WHERE id = (SELECT entry_id FROM released_submission WHERE submission_id = ?)",  # noqa: S608 - a constant
        (submission_id,),
    ).fetchone()
    if row is None:
        return None
    found = entry_of(row)
    connection.execute(
        "UPDATE entry SET late_task_ids = ? WHERE id = ?", (text_of(with_late_tasks(found, task_ids)), found.id)
    )
    return found


@attrs.frozen
class DeliveryRecord:
    """A task of which the provider has told under a mark, whether as ended, and when."""

    submission_id: str
    task_id: str
    ended: bool
    at: float


def record_delivery(connection: Connection, told: DeliveryRecord) -> Entry | None:
    """Return the entry whose attempt has this mark, and keep what was told of it."""
    row = connection.execute(f"SELECT {COLUMNS} FROM entry WHERE submission_id = ?", (told.submission_id,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        return _record_late_tasks(connection, told.submission_id, (told.task_id,))
    found = entry_of(row)
    if found.task_ids and told.task_id not in found.task_ids:
        return None
    if found.state in _OPEN or (found.state is State.ACCEPTED and told.ended):
        _store_delivery(connection, told)
    return found


def _store_delivery(connection: Connection, told: DeliveryRecord) -> None:
    """Keep a delivery, as news if it is the first, tells more, or comes a while after the one before."""
    task_id = storable(told.task_id)
    connection.execute(
        "DELETE FROM delivery WHERE submission_id = ? AND task_id = ? AND (finished < ? OR abs(at - ?) > ?)",
        (told.submission_id, task_id, told.ended, told.at, _WHILE),
    )
    connection.execute(
        "INSERT OR IGNORE INTO delivery (submission_id, task_id, finished, at) SELECT ?, ?, ?, ?"
        " WHERE (SELECT count(*) FROM delivery WHERE submission_id = ?) < ?",
        (told.submission_id, task_id, told.ended, told.at, told.submission_id, MOST_DELIVERIES),
    )


def mark_refused(connection: Connection, submission_id: str, reason: str, *, again: bool) -> None:
    """Note a refusal: the entry has failed, or is claimed again to be sent later."""
    state = State.CLAIMED if again else State.FAILED
    connection.execute(
        "UPDATE entry SET state = ?, reason = ?, cost = 0,"
        " submission_id = CASE WHEN ? THEN NULL ELSE submission_id END,"
        " owner = CASE WHEN ? THEN owner END WHERE submission_id = ? AND state = 'sending'",
        (state, storable(reason), again, again, submission_id),
    )


def mark_in_doubt(connection: Connection, submission_id: str, reason: str) -> None:
    """Note that nobody knows what became of an attempt."""
    connection.execute(
        "UPDATE entry SET state = 'in doubt', owner = NULL, reason = ? WHERE submission_id = ? AND state = 'sending'",
        (storable(reason), submission_id),
    )


@attrs.frozen
class FinishedState:
    """How an entry ended."""

    state: State
    snapshots: Sequence[Mapping[str, Any]] = ()
    credits: float | None = None
    reason: str = ""
    seconds: float | None = None
    duration: Duration | None = None


def mark_finished(connection: Connection, entry_id: int, end: FinishedState) -> None:
    """Keep an accepted entry's end, and how long its job took."""
    if end.duration is not None:
        _store_duration(connection, end.duration)
    connection.execute(
        "UPDATE entry SET state = ?, snapshots = ?, credits = ?, cost = coalesce(?, cost), reason = ?, seconds = ?,"
        " owner = NULL WHERE id = ? AND state = 'accepted'",
        (
            end.state,
            text_of(list(end.snapshots)),
            end.credits,
            end.credits,
            storable(end.reason),
            end.seconds,
            entry_id,
        ),
    )


def _store_duration(connection: Connection, duration: Duration) -> None:
    """Keep a duration behind those of its kind."""
    connection.execute(
        "INSERT INTO duration (kind, seen, at) VALUES (?, ?, ?)"
        " ON CONFLICT (kind) DO UPDATE SET seen = substr(seen || excluded.seen, ?), at = excluded.at",
        (duration.kind, encode_duration(duration), time.time(), -REMEMBERED * LINE),
    )


def set_files(connection: Connection, entry_id: int, files: Sequence[str]) -> None:
    """Keep the names of what was saved."""
    connection.execute("UPDATE entry SET files = ? WHERE id = ?", (text_of(list(files)), entry_id))


def resolve_accepted(connection: Connection, entry_id: int, task_ids: Sequence[str]) -> None:
    """Settle a doubt: these are its tasks. LedgerError for an entry that is in none."""
    changed = connection.execute(
        "UPDATE entry SET state = 'accepted', task_ids = ?, reason = '' WHERE id = ? AND state = 'in doubt'",
        (text_of(list(task_ids)), entry_id),
    ).rowcount
    _require_in_doubt(changed, entry_id)


def resolve_unsent(connection: Connection, entry_id: int) -> None:
    """Settle a doubt: nothing was charged, so it may be sent again. LedgerError for an entry that is in none."""
    connection.execute(
        "INSERT OR IGNORE INTO released_submission SELECT submission_id, id FROM entry"
        " WHERE id = ? AND state = 'in doubt' AND submission_id IS NOT NULL",
        (entry_id,),
    )
    changed = connection.execute(
        "UPDATE entry SET state = 'new', submission_id = NULL, cost = 0, reason = ''"
        " WHERE id = ? AND state = 'in doubt'",
        (entry_id,),
    ).rowcount
    _require_in_doubt(changed, entry_id)


def recover_from(connection: Connection, dead: str) -> int:
    """Free what a dead owner left; return how many of its entries are in doubt now.

    Claimed ones were not sent; accepted ones are for whoever asks for them first; of those being sent nobody knows.
    """
    connection.execute("DELETE FROM entry WHERE owner = ? AND state = 'claimed' AND batch = ''", (dead,))
    connection.execute("UPDATE entry SET state = 'new', owner = NULL WHERE owner = ? AND state = 'claimed'", (dead,))
    connection.execute("UPDATE entry SET owner = NULL WHERE owner = ? AND state = 'accepted'", (dead,))
    return connection.execute(
        "UPDATE entry SET state = 'in doubt', owner = NULL, reason = 'its process ended while it was being sent'"
        " WHERE owner = ? AND state = 'sending'",
        (dead,),
    ).rowcount


def take_ownership(connection: Connection, entry_id: int, owner: str) -> bool:
    """Take an accepted entry that nobody looks after; return whether it is ours now."""
    return bool(
        connection.execute(
            "UPDATE entry SET owner = ? WHERE id = ? AND state = 'accepted' AND (owner IS NULL OR owner = ?)",
            (owner, entry_id, owner),
        ).rowcount
    )


def give_up_ownership(connection: Connection, entry_id: int, owner: str) -> None:
    """Look after an accepted entry of ours no more."""
    connection.execute(
        "UPDATE entry SET owner = NULL WHERE id = ? AND state = 'accepted' AND owner = ?", (entry_id, owner)
    )


def _require_in_doubt(changed: int, entry_id: int) -> None:
    if not changed:
        raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")
