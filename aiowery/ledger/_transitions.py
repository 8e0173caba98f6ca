"""The state machine, in SQL: each move is one statement that names the state it starts from.

    NEW -> CLAIMED -> SENDING -> ACCEPTED -> DONE | FAILED
              |          |-> FAILED (refused), or CLAIMED again
              |          '-> IN_DOUBT -> ACCEPTED (adopted, or told late) | NEW (released)
              '-> NEW (given up, or its owner died: nothing was sent)

A move whose statement meets no row has come too late, or is out of place. Whatever follows the fence goes by `ref`,
not by state alone: a process that was frozen may wake with the real ids after others have declared a doubt.
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
    UNNAMED,
    Duration,
    Entry,
    Item,
    State,
    over_budget,
    with_late,
    wrong_host,
)
from aiowery.ledger._rows import COLUMNS, LINE, Connection, entry_of, line_of, storable, text_of

_KEY: Final = 2
_WHILE: Final = 1.0
_OPEN: Final = frozenset({State.SENDING, State.IN_DOUBT})


def enter(
    connection: Connection, batch: str, items: Sequence[Item], claimant: str | None, *, reuse: bool
) -> list[Entry]:
    """Return an entry for each item: the one that is there under its key, or a new one, claimed if need be.

    With `reuse`, one of the same body that is done or may yet be goes before.
    """
    _check_host(connection, batch, items)
    state = State.NEW if claimant is None else State.CLAIMED
    if not reuse:
        _insert(connection, [_new_row(batch, item, state, claimant) for item in items])
        found = _by_key(connection, batch, [item.key for item in items])
        return [entry_of(found[item.key]) for item in items]
    entries = []
    for item in items:  # one by one: an item may be like one before it
        row = _alike(connection, batch, item)
        if row is None:
            _insert(connection, [_new_row(batch, item, state, claimant)])
            row = _by_key(connection, batch, [item.key])[item.key]
        entries.append(entry_of(row))
    return entries


def _insert(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.executemany(
        "INSERT INTO item (batch, key, position, request, host, body, price_key, state, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch, key) DO NOTHING",
        rows,
    )


def _new_row(batch: str, item: Item, state: State, claimant: str | None) -> tuple[Any, ...]:
    request = text_of(item.request)
    return (batch, item.key, item.position, request, item.host, item.body, item.price_key, state, claimant)


def _by_key(connection: Connection, batch: str, keys: Sequence[str]) -> dict[str, Sequence[Any]]:
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(f"SELECT {COLUMNS} FROM item WHERE batch = ? AND key IN ({marks})", (batch, *keys))  # noqa: S608 - marks only
    return {row[_KEY]: row for row in rows}


def _check_host(connection: Connection, batch: str, items: Sequence[Item]) -> None:
    row = connection.execute("SELECT host FROM item WHERE batch = ? LIMIT 1", (batch,)).fetchone()
    if row is not None and batch != UNNAMED and items and items[0].host != row[0]:
        raise wrong_host(batch, items[0], row[0])


def _alike(connection: Connection, batch: str, item: Item) -> Sequence[Any] | None:
    """Return an entry of the same body: the item's own before others, those that are done before others."""
    row: Sequence[Any] | None = connection.execute(
        f"SELECT {COLUMNS} FROM item WHERE body = ? AND host = ?"  # noqa: S608 - a constant
        " AND state NOT IN ('failed', 'in doubt') ORDER BY state = 'done' DESC, batch = ? AND key = ? DESC, id LIMIT 1",
        (item.body, item.host, batch, item.key),
    ).fetchone()
    return row


def claim(connection: Connection, entry_ids: Sequence[int], owner: str) -> list[int]:
    """Take new entries and return those that are ours now."""
    statement = "UPDATE item SET state = 'claimed', owner = ? WHERE id = ? AND state = 'new'"
    return [entry_id for entry_id in entry_ids if connection.execute(statement, (owner, entry_id)).rowcount]


def give_up(connection: Connection, entry_id: int, owner: str) -> None:
    """Let go of a claimed entry: nothing was sent. One of no batch is forgotten."""
    connection.execute(
        "DELETE FROM item WHERE id = ? AND owner = ? AND state = 'claimed' AND batch = ''", (entry_id, owner)
    )
    connection.execute(
        "UPDATE item SET state = 'new', owner = NULL WHERE id = ? AND owner = ? AND state = 'claimed'",
        (entry_id, owner),
    )


@attrs.frozen
class Purchase:
    """What is about to be sent: under which mark, when, for how much, of which budget."""

    ref: str
    at: float
    cost: float = 0.0
    budget: float | None = None


def fence(connection: Connection, entry_id: int, owner: str, purchase: Purchase) -> None:
    """Note that the next thing to happen is the first byte.

    LedgerError when this entry is not ours to send, BudgetExceeded when its batch may not pay for it.
    """
    if purchase.budget is not None:
        batch = "SELECT batch FROM item WHERE id = ?"
        (used,) = connection.execute(f"SELECT total(used) FROM purse WHERE batch = ({batch})", (entry_id,)).fetchone()  # noqa: S608 - a constant
        if refusal := over_budget(used, purchase.cost, purchase.budget):
            raise refusal
    changed = connection.execute(
        "UPDATE item SET state = 'sending', ref = ?, sent_at = ?, cost = ?, attempts = attempts + 1"
        " WHERE id = ? AND owner = ? AND state = 'claimed'",
        (purchase.ref, purchase.at, purchase.cost, entry_id, owner),
    ).rowcount
    if not changed:
        raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")


def unsent(connection: Connection, ref: str) -> None:
    """Note that what was about to leave provably did not: the entry is claimed again."""
    connection.execute(
        "UPDATE item SET state = 'claimed', ref = NULL, sent_at = NULL, cost = 0 WHERE ref = ? AND state = 'sending'",
        (ref,),
    )


def accepted(
    connection: Connection, ref: str, task_ids: Sequence[str], batch_id: str | None, request_id: str | None
) -> None:
    """Keep the ids, however late they come; those of an attempt that was released meanwhile are late."""
    changed = connection.execute(
        "UPDATE item SET state = 'accepted', task_ids = ?, batch_id = ?, request_id = ?, note = ''"
        " WHERE ref = ? AND state IN ('sending', 'in doubt')",
        (text_of(list(task_ids)), storable(batch_id), storable(request_id), ref),
    ).rowcount
    if not changed:
        _note_late(connection, ref, task_ids)


def _note_late(connection: Connection, ref: str, task_ids: Sequence[str]) -> Entry | None:
    """Note what became of an attempt after it was released, and return its entry."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM item WHERE id = (SELECT item FROM released WHERE ref = ?)",  # noqa: S608 - a constant
        (ref,),
    ).fetchone()
    if row is None:
        return None
    found = entry_of(row)
    connection.execute("UPDATE item SET late_ids = ? WHERE id = ?", (text_of(with_late(found, task_ids)), found.id))
    return found


@attrs.frozen
class Told:
    """A task of which the provider has told under a mark, whether as ended, and when."""

    ref: str
    task_id: str
    ended: bool
    at: float


def delivered(connection: Connection, told: Told) -> Entry | None:
    """Return the entry whose attempt has this mark, and keep what was told of it."""
    row = connection.execute(f"SELECT {COLUMNS} FROM item WHERE ref = ?", (told.ref,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        return _note_late(connection, told.ref, (told.task_id,))
    found = entry_of(row)
    if found.task_ids and told.task_id not in found.task_ids:
        return None
    if found.state in _OPEN or (found.state is State.ACCEPTED and told.ended):
        _keep(connection, told)
    return found


def _keep(connection: Connection, told: Told) -> None:
    """Keep a delivery, as news if it is the first, tells more, or comes a while after the one before."""
    task_id = storable(told.task_id)
    connection.execute(
        "DELETE FROM delivery WHERE ref = ? AND task_id = ? AND (ended < ? OR abs(at - ?) > ?)",
        (told.ref, task_id, told.ended, told.at, _WHILE),
    )
    connection.execute(
        "INSERT OR IGNORE INTO delivery (ref, task_id, ended, at) SELECT ?, ?, ?, ?"
        " WHERE (SELECT count(*) FROM delivery WHERE ref = ?) < ?",
        (told.ref, task_id, told.ended, told.at, told.ref, MOST_DELIVERIES),
    )


def refused(connection: Connection, ref: str, note: str, *, again: bool) -> None:
    """Note a refusal: the entry has failed, or is claimed again to be sent later."""
    state = State.CLAIMED if again else State.FAILED
    connection.execute(
        "UPDATE item SET state = ?, note = ?, cost = 0, ref = CASE WHEN ? THEN NULL ELSE ref END,"
        " owner = CASE WHEN ? THEN owner END WHERE ref = ? AND state = 'sending'",
        (state, storable(note), again, again, ref),
    )


def doubt(connection: Connection, ref: str, note: str) -> None:
    """Note that nobody knows what became of an attempt."""
    connection.execute(
        "UPDATE item SET state = 'in doubt', owner = NULL, note = ? WHERE ref = ? AND state = 'sending'",
        (storable(note), ref),
    )


@attrs.frozen
class End:
    """How an entry ended."""

    state: State
    snapshots: Sequence[Mapping[str, Any]] = ()
    credits: float | None = None
    note: str = ""
    seconds: float | None = None
    duration: Duration | None = None


def ended(connection: Connection, entry_id: int, end: End) -> None:
    """Keep an accepted entry's end, and how long its job took."""
    if end.duration is not None:
        _keep_duration(connection, end.duration)
    connection.execute(
        "UPDATE item SET state = ?, snapshots = ?, credits = ?, cost = coalesce(?, cost), note = ?, seconds = ?,"
        " owner = NULL WHERE id = ? AND state = 'accepted'",
        (end.state, text_of(list(end.snapshots)), end.credits, end.credits, storable(end.note), end.seconds, entry_id),
    )


def _keep_duration(connection: Connection, duration: Duration) -> None:
    """Keep a duration behind those of its kind."""
    connection.execute(
        "INSERT INTO duration (kind, seen, at) VALUES (?, ?, ?)"
        " ON CONFLICT (kind) DO UPDATE SET seen = substr(seen || excluded.seen, ?), at = excluded.at",
        (duration.kind, line_of(duration), time.time(), -REMEMBERED * LINE),
    )


def saved(connection: Connection, entry_id: int, files: Sequence[str]) -> None:
    """Keep the names of what was saved."""
    connection.execute("UPDATE item SET files = ? WHERE id = ?", (text_of(list(files)), entry_id))


def adopt(connection: Connection, entry_id: int, task_ids: Sequence[str]) -> None:
    """Settle a doubt: these are its tasks. LedgerError for an entry that is in none."""
    changed = connection.execute(
        "UPDATE item SET state = 'accepted', task_ids = ?, note = '' WHERE id = ? AND state = 'in doubt'",
        (text_of(list(task_ids)), entry_id),
    ).rowcount
    _must_be_in_doubt(changed, entry_id)


def release(connection: Connection, entry_id: int) -> None:
    """Settle a doubt: nothing was charged, so it may be sent again. LedgerError for an entry that is in none."""
    connection.execute(
        "INSERT OR IGNORE INTO released SELECT ref, id FROM item"
        " WHERE id = ? AND state = 'in doubt' AND ref IS NOT NULL",
        (entry_id,),
    )
    changed = connection.execute(
        "UPDATE item SET state = 'new', ref = NULL, cost = 0, note = '' WHERE id = ? AND state = 'in doubt'",
        (entry_id,),
    ).rowcount
    _must_be_in_doubt(changed, entry_id)


def inherit(connection: Connection, dead: str) -> int:
    """Free what a dead owner left; return how many of its entries are in doubt now.

    Claimed ones were not sent; accepted ones are for whoever asks for them first; of those being sent nobody knows.
    """
    connection.execute("DELETE FROM item WHERE owner = ? AND state = 'claimed' AND batch = ''", (dead,))
    connection.execute("UPDATE item SET state = 'new', owner = NULL WHERE owner = ? AND state = 'claimed'", (dead,))
    connection.execute("UPDATE item SET owner = NULL WHERE owner = ? AND state = 'accepted'", (dead,))
    return connection.execute(
        "UPDATE item SET state = 'in doubt', owner = NULL, note = 'its process ended while it was being sent'"
        " WHERE owner = ? AND state = 'sending'",
        (dead,),
    ).rowcount


def look_after(connection: Connection, entry_id: int, owner: str) -> bool:
    """Take an accepted entry that nobody looks after; return whether it is ours now."""
    return bool(
        connection.execute(
            "UPDATE item SET owner = ? WHERE id = ? AND state = 'accepted' AND (owner IS NULL OR owner = ?)",
            (owner, entry_id, owner),
        ).rowcount
    )


def leave(connection: Connection, entry_id: int, owner: str) -> None:
    """Look after an accepted entry of ours no more."""
    connection.execute(
        "UPDATE item SET owner = NULL WHERE id = ? AND state = 'accepted' AND owner = ?", (entry_id, owner)
    )


def _must_be_in_doubt(changed: int, entry_id: int) -> None:
    if not changed:
        raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")
