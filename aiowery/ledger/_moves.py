"""The state machine, in SQL: each move is one statement that names the state it starts from.

    NEW -> CLAIMED -> SENDING -> ACCEPTED -> DONE | FAILED
              |          |-> FAILED (refused), or CLAIMED again
              |          '-> IN_DOUBT -> ACCEPTED (adopted, or told late) | NEW (released)
              '-> NEW (given up, or its owner died: nothing was sent)

A move whose statement meets no row has come too late, or is out of place. Whatever follows the fence goes by `ref`,
not by state alone: a process that was frozen may wake with the real ids after others have declared a doubt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from aiowery.errors import LedgerError
from aiowery.ledger._entries import BatchSummary, Entry, Item, State

Connection = sqlite3.Connection

_COLUMNS: Final = (
    "id, batch, key, position, request, state, attempts, ref, owner, sent_at, task_ids, batch_id, request_id, note,"
    " snapshots, credits, files"
)


def enter(connection: Connection, batch: str, items: Sequence[Item]) -> list[Entry]:
    """Return an entry for each item: the one that is there under its key, or a new one."""
    rows = [(batch, item.key, item.position, _text(item.request)) for item in items]
    connection.executemany(
        "INSERT INTO item (batch, key, position, request) VALUES (?, ?, ?, ?) ON CONFLICT (batch, key) DO NOTHING", rows
    )
    found = (
        connection.execute(f"SELECT {_COLUMNS} FROM item WHERE batch = ? AND key = ?", row[:2]).fetchone()  # noqa: S608 - a constant
        for row in rows
    )
    return list(map(_entry, found))


def claim(connection: Connection, entry_id: int, owner: str) -> Entry | None:
    """Take a new entry; None when somebody else was quicker, or it is not new any more."""
    row = connection.execute(
        f"UPDATE item SET state = 'claimed', owner = ? WHERE id = ? AND state = 'new' RETURNING {_COLUMNS}",  # noqa: S608 - a constant
        (owner, entry_id),
    ).fetchone()
    return None if row is None else _entry(row)


def give_up(connection: Connection, entry_id: int, owner: str) -> None:
    """Let go of a claimed entry: nothing was sent."""
    connection.execute(
        "UPDATE item SET state = 'new', owner = NULL WHERE id = ? AND owner = ? AND state = 'claimed'",
        (entry_id, owner),
    )


def fence(connection: Connection, entry_id: int, owner: str, ref: str, at: float) -> None:
    """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
    changed = connection.execute(
        "UPDATE item SET state = 'sending', ref = ?, sent_at = ?, attempts = attempts + 1"
        " WHERE id = ? AND owner = ? AND state = 'claimed'",
        (ref, at, entry_id, owner),
    ).rowcount
    if not changed:
        raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")


def unsent(connection: Connection, ref: str) -> None:
    """Note that what was about to leave provably did not: the entry is claimed again."""
    connection.execute(
        "UPDATE item SET state = 'claimed', ref = NULL, sent_at = NULL WHERE ref = ? AND state = 'sending'", (ref,)
    )


def accepted(
    connection: Connection, ref: str, task_ids: Sequence[str], batch_id: str | None, request_id: str | None
) -> None:
    """Keep the ids, however late they come; those of an attempt that was released meanwhile stand in the note."""
    changed = connection.execute(
        "UPDATE item SET state = 'accepted', task_ids = ?, batch_id = ?, request_id = ?, note = ''"
        " WHERE ref = ? AND state IN ('sending', 'in doubt')",
        (_text(list(task_ids)), batch_id, request_id, ref),
    ).rowcount
    if not changed:
        told = f"an attempt that was released was accepted after all, as {', '.join(task_ids)}"
        connection.execute(
            "UPDATE item SET note = ltrim(note || '; ' || ?, '; ')"
            " WHERE id = (SELECT item FROM released WHERE ref = ?)",
            (told, ref),
        )


def refused(connection: Connection, ref: str, note: str, *, again: bool) -> None:
    """Note a refusal: the entry has failed, or is claimed again to be sent later."""
    state = State.CLAIMED if again else State.FAILED
    connection.execute(
        "UPDATE item SET state = ?, note = ?, ref = CASE WHEN ? THEN NULL ELSE ref END,"
        " owner = CASE WHEN ? THEN owner END WHERE ref = ? AND state = 'sending'",
        (state, note, again, again, ref),
    )


def doubt(connection: Connection, ref: str, note: str) -> None:
    """Note that nobody knows what became of an attempt."""
    connection.execute(
        "UPDATE item SET state = 'in doubt', owner = NULL, note = ? WHERE ref = ? AND state = 'sending'", (note, ref)
    )


@attrs.frozen
class End:
    """How an entry ended."""

    state: State
    snapshots: Sequence[Mapping[str, Any]] = ()
    credits: float | None = None
    note: str = ""


def ended(connection: Connection, entry_id: int, end: End) -> None:
    """Keep an accepted entry's end."""
    connection.execute(
        "UPDATE item SET state = ?, snapshots = ?, credits = ?, note = ?, owner = NULL"
        " WHERE id = ? AND state = 'accepted'",
        (end.state, _text(list(end.snapshots)), end.credits, end.note, entry_id),
    )


def saved(connection: Connection, entry_id: int, files: Sequence[str]) -> None:
    """Keep the names of what was saved."""
    connection.execute("UPDATE item SET files = ? WHERE id = ?", (_text(list(files)), entry_id))


def adopt(connection: Connection, entry_id: int, task_ids: Sequence[str]) -> None:
    """Settle a doubt: these are its tasks. LedgerError for an entry that is in none."""
    changed = connection.execute(
        "UPDATE item SET state = 'accepted', task_ids = ?, note = '' WHERE id = ? AND state = 'in doubt'",
        (_text(list(task_ids)), entry_id),
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
        "UPDATE item SET state = 'new', ref = NULL, note = '' WHERE id = ? AND state = 'in doubt'", (entry_id,)
    ).rowcount
    _must_be_in_doubt(changed, entry_id)


def owners(connection: Connection) -> list[str]:
    """Return who looks after something."""
    return [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM item WHERE owner IS NOT NULL")]


def inherit(connection: Connection, dead: str, owner: str) -> int:
    """Take over what a dead owner left; return how many of its entries are in doubt now.

    Claimed ones were not sent; accepted ones are looked after by us; of those being sent nobody knows.
    """
    connection.execute("UPDATE item SET state = 'new', owner = NULL WHERE owner = ? AND state = 'claimed'", (dead,))
    connection.execute("UPDATE item SET owner = ? WHERE owner = ? AND state = 'accepted'", (owner, dead))
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


def entry(connection: Connection, entry_id: int) -> Entry | None:
    """Return one entry."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM item WHERE id = ?", (entry_id,)).fetchone()  # noqa: S608 - a constant
    return None if row is None else _entry(row)


def entries(
    connection: Connection, batch: str | None, states: Iterable[State] | None, after: int, limit: int
) -> list[Entry]:
    """Return a page of entries, by id."""
    wanted = tuple(State) if states is None else tuple(states)
    marks = ", ".join("?" * len(wanted))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM item WHERE id > ? AND (? IS NULL OR batch = ?) AND state IN ({marks})"  # noqa: S608 - marks only
        " ORDER BY id LIMIT ?",
        (after, batch, batch, *wanted, limit),
    )
    return list(map(_entry, rows))


def batches(connection: Connection) -> list[BatchSummary]:
    """Return all batches in numbers, oldest first."""
    rows = connection.execute(
        "SELECT batch, state, count(*), sum(credits) FROM item GROUP BY batch, state ORDER BY min(id)"
    ).fetchall()
    names = dict.fromkeys(row[0] for row in rows)
    return [_summary(name, [row for row in rows if row[0] == name]) for name in names]


def _summary(name: str, rows: Iterable[tuple[str, str, int, float | None]]) -> BatchSummary:
    rows = list(rows)
    told = [credits_ for _, _, _, credits_ in rows if credits_ is not None]
    states = {State(state): number for _, state, number, _ in rows}
    return BatchSummary(name=name, states=states, credits=sum(told) if told else None)


def _must_be_in_doubt(changed: int, entry_id: int) -> None:
    if not changed:
        raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")


def _entry(row: Sequence[Any]) -> Entry:
    (id_, batch, key, position, request, state, attempts, ref, owner, sent_at, task_ids, *rest) = row
    batch_id, request_id, note, snapshots, credits_, files = rest
    return Entry(
        id=id_,
        batch=batch,
        key=key,
        position=position,
        request=json.loads(request),
        state=State(state),
        attempts=attempts,
        ref=ref,
        owner=owner,
        sent_at=sent_at,
        task_ids=tuple(json.loads(task_ids)),
        batch_id=batch_id,
        request_id=request_id,
        note=note,
        snapshots=tuple(json.loads(snapshots)),
        credits=credits_,
        files=tuple(json.loads(files)),
    )


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
