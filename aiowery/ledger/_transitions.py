"""Transitions in SQL: each is one statement, composed from the table in `_states`.

A statement that changes no row came too late or is out of place. After `mark_sending`, entries are found by
`submission_id` as well as by state: a process that was frozen may wake with task ids when another process has already
put its entry in doubt.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from aiowery._core.durations import REMEMBERED
from aiowery.ledger._deliveries import record_late_tasks
from aiowery.ledger._records import NO_BATCH, Duration, Entry, NewEntry, check_budget, wrong_base_url
from aiowery.ledger._rows import (
    COLUMNS,
    DURATION_LENGTH,
    FROM_REUSED,
    REUSED_COLUMNS,
    Connection,
    encode_duration,
    entry_of,
    state_list,
    storable,
    to_json,
)
from aiowery.ledger._states import FINAL, NOT_REUSABLE, TRANSITIONS, UNRESOLVED, State, Verb, finished_verb, misplaced

_KEY_COLUMN: Final = 2


def _literal(value: str | float | None) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else f"{value:g}"


def _update(verb: Verb, *assignments: str, where: str) -> str:
    """Return the statement of a transition; `assignments` set what the table does not determine."""
    transition = TRANSITIONS[verb]
    resets = (f"{column} = {_literal(value)}" for column, value in transition.resets.items())
    changes = ", ".join([f"state = '{transition.end}'", *resets, *assignments])
    return f"UPDATE entry SET {changes} WHERE {where} AND state IN {state_list(transition.start)}"  # noqa: S608 - constants


_WITH_EXCLUSIVE: Final = (
    "json_each(?) AS exclusive JOIN entry_task ON entry_task.task_id = exclusive.value"
    " JOIN entry AS other ON other.id = entry_task.entry_id"
)
_NAMED_EXCLUSIVE: Final = (
    "json_each(?) AS exclusive JOIN delivery ON delivery.task_id = exclusive.value"
    f" JOIN entry AS other ON other.submission_id = delivery.submission_id AND other.state IN {state_list(UNRESOLVED)}"
)
_IS_OTHER: Final = "other.id <> entry.id AND other.base_url = entry.base_url"
_TAKEN: Final = (
    f"SELECT entry_task.task_id FROM {_WITH_EXCLUSIVE} JOIN entry ON entry.submission_id = ? WHERE {_IS_OTHER} UNION"  # noqa: S608 - constants
    f" SELECT delivery.task_id FROM {_NAMED_EXCLUSIVE} JOIN entry ON entry.submission_id = ? WHERE {_IS_OTHER}"
)
_IS_USABLE: Final = f"state NOT IN {state_list(NOT_REUSABLE)}"
_EQUAL: Final = (
    f"SELECT {COLUMNS} FROM entry WHERE request_hash = ? AND base_url = ? AND {_IS_USABLE}"  # noqa: S608 - constants
    f" ORDER BY state = '{State.DONE}' DESC, batch = ? AND key = ? DESC, id LIMIT 1"
)
_REUSED: Final = f"SELECT {REUSED_COLUMNS} {FROM_REUSED} AND reused.batch = ?"
_BASE_URL: Final = (
    "SELECT base_url FROM entry WHERE batch = ? UNION ALL"  # noqa: S608 - constants
    f" SELECT origin.base_url {FROM_REUSED} AND reused.batch = ? LIMIT 1"
)
_REUSE: Final = "INSERT OR REPLACE INTO reused (batch, key, entry_index, entry_id) VALUES (?, ?, ?, ?)"
_CLAIM: Final = _update(Verb.CLAIM, "owner = ?", where="id = ?")
_UNCLAIM: Final = _update(Verb.UNCLAIM, where="id = ? AND owner = ?")
_DELETE_CLAIMED: Final = (
    f"DELETE FROM entry WHERE owner = ? AND batch = '{NO_BATCH}'"  # noqa: S608 - constants
    f" AND state IN {state_list(TRANSITIONS[Verb.UNCLAIM].start)}"
)
_DELETE_CLAIMED_ENTRY: Final = f"{_DELETE_CLAIMED} AND id = ?"
_MARK_SENDING: Final = _update(
    Verb.MARK_SENDING,
    "submission_id = ?, sent_at = ?, cost = ?, attempts = attempts + 1",
    where="id = ? AND owner = ?",
)
_MARK_UNSENT: Final = _update(Verb.MARK_UNSENT, where="submission_id = ?")
_MARK_ACCEPTED: Final = _update(
    Verb.MARK_ACCEPTED,
    "task_ids = ?, provider_batch_id = ?, request_id = ?",
    where=f"submission_id = ? AND NOT EXISTS (SELECT 1 FROM {_WITH_EXCLUSIVE} WHERE {_IS_OTHER})"  # noqa: S608 - constants
    f" AND NOT EXISTS (SELECT 1 FROM {_NAMED_EXCLUSIVE} WHERE {_IS_OTHER})",
)
_MARK_REFUSED: Final = _update(Verb.MARK_REFUSED, "reason = ?", where="submission_id = ?")
_MARK_BUSY: Final = _update(Verb.MARK_BUSY, "reason = ?", where="submission_id = ?")
_MARK_IN_DOUBT: Final = _update(Verb.MARK_IN_DOUBT, "reason = ?, excerpt = ?", where="submission_id = ?")
_MARK_FINISHED: Final = {
    state: _update(
        finished_verb(state),
        "snapshots = ?, credits = ?, cost = coalesce(?, cost), reason = ?, seconds = ?",
        where="id = ?",
    )
    for state in FINAL
}
_TAKE_OWNERSHIP: Final = _update(Verb.TAKE_OWNERSHIP, "owner = ?", where="id = ? AND (owner IS NULL OR owner = ?)")
_GIVE_UP_OWNERSHIP: Final = _update(Verb.GIVE_UP_OWNERSHIP, where="id = ? AND owner = ?")
_RESOLVE_ACCEPTED: Final = _update(Verb.RESOLVE_ACCEPTED, "task_ids = ?", where="id = ?")
_RESOLVE_UNSENT: Final = _update(Verb.RESOLVE_UNSENT, where="id = ?")
_KEEP_RELEASED: Final = (
    "INSERT OR IGNORE INTO released_submission SELECT submission_id, id FROM entry WHERE id = ?"  # noqa: S608 - constants
    f" AND submission_id IS NOT NULL AND state IN {state_list(TRANSITIONS[Verb.RESOLVE_UNSENT].start)}"
)
_RECOVER: Final = tuple(_update(verb, where="owner = ?") for verb in (Verb.UNCLAIM, Verb.GIVE_UP_OWNERSHIP))
_RECOVER_SENDING: Final = _update(Verb.MARK_IN_DOUBT, "reason = ?", where="owner = ?")


def add(
    connection: Connection, batch: str, new_entries: Sequence[NewEntry], claimant: str | None, *, reuse: bool
) -> list[Entry]:
    """Return an entry for each new one: the existing one of its key, or the new one, claimed if there is a claimant.

    With `reuse`, an entry of the same request_hash is preferred if it is done or may still become so. If it belongs to
    another batch, or has another key, it is entered into this batch: later it is found there without `reuse` too.
    """
    _check_base_url(connection, batch, new_entries)
    state = State.NEW if claimant is None else State.CLAIMED
    if not reuse:
        found = _reused(connection, batch, [new_entry.key for new_entry in new_entries])
        others = [new_entry for new_entry in new_entries if new_entry.key not in found]
        _insert(connection, [_new_row(batch, new_entry, state, claimant) for new_entry in others])
        found |= _by_key(connection, batch, [new_entry.key for new_entry in others])
        return [entry_of(found[new_entry.key]) for new_entry in new_entries]
    entries = []
    for new_entry in new_entries:  # one at a time: a request may be equal to an earlier one
        row = connection.execute(_EQUAL, (new_entry.request_hash, new_entry.base_url, batch, new_entry.key)).fetchone()
        if row is None:
            _insert(connection, [_new_row(batch, new_entry, state, claimant)])
            row = _by_key(connection, batch, [new_entry.key])[new_entry.key]
        elif batch != NO_BATCH and (row[1], row[_KEY_COLUMN]) != (batch, new_entry.key):
            connection.execute(_REUSE, (batch, new_entry.key, new_entry.index, row[0]))
        entries.append(entry_of(row))
    return entries


def _reused(connection: Connection, batch: str, keys: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Return the rows of entries that answer requests of this batch, although they are not its own, by key."""
    placeholders = ", ".join("?" * len(keys))
    statement = f"{_REUSED} AND reused.key IN ({placeholders})"
    return {row[_KEY_COLUMN]: row for row in connection.execute(statement, (batch, *keys))}


def _insert(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.executemany(
        "INSERT INTO entry (batch, key, entry_index, request, base_url, request_hash, price_key, state, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch, key) DO NOTHING",
        rows,
    )


def _new_row(batch: str, new: NewEntry, state: State, claimant: str | None) -> tuple[Any, ...]:
    request = to_json(new.request)
    return (batch, new.key, new.index, request, new.base_url, new.request_hash, new.price_key, state, claimant)


def _by_key(connection: Connection, batch: str, keys: Sequence[str]) -> dict[str, Sequence[Any]]:
    placeholders = ", ".join("?" * len(keys))
    statement = f"SELECT {COLUMNS} FROM entry WHERE batch = ? AND key IN ({placeholders})"  # noqa: S608 - placeholders
    return {row[_KEY_COLUMN]: row for row in connection.execute(statement, (batch, *keys))}


def _check_base_url(connection: Connection, batch: str, new_entries: Sequence[NewEntry]) -> None:
    row = connection.execute(_BASE_URL, (batch, batch)).fetchone()
    if row is not None and batch != NO_BATCH and new_entries and new_entries[0].base_url != row[0]:
        raise wrong_base_url(batch, new_entries[0], row[0])


def claim(connection: Connection, entry_ids: Sequence[int], owner: str) -> list[int]:
    """Claim new entries and return the ids of those that were claimed."""
    return [entry_id for entry_id in entry_ids if connection.execute(_CLAIM, (owner, entry_id)).rowcount]


def unclaim(connection: Connection, entry_id: int, owner: str) -> None:
    """Make a claimed entry new again; one without a batch is deleted."""
    connection.execute(_DELETE_CLAIMED_ENTRY, (owner, entry_id))
    connection.execute(_UNCLAIM, (entry_id, owner))


@attrs.frozen
class SubmissionStart:
    """A submission that is about to be sent."""

    submission_id: str
    sent_at: float
    cost: float = 0.0
    budget: float | None = None


def mark_sending(connection: Connection, entry_id: int, owner: str, start: SubmissionStart) -> None:
    """Record that the first byte is about to be sent.

    Raises LedgerError if the owner has not claimed the entry, and BudgetExceeded if its batch would exceed the budget.
    """
    if start.budget is not None:
        (used,) = connection.execute(
            "SELECT total(used) FROM batch_spend WHERE batch = (SELECT batch FROM entry WHERE id = ?)", (entry_id,)
        ).fetchone()
        if refusal := check_budget(used, start.cost, start.budget):
            raise refusal
    values = (start.submission_id, start.sent_at, start.cost, entry_id, owner)
    _require_change(connection, Verb.MARK_SENDING, entry_id, _MARK_SENDING, values)


def mark_unsent(connection: Connection, submission_id: str) -> None:
    """Record that a submission was provably not sent; its entry is claimed again."""
    connection.execute(_MARK_UNSENT, (submission_id,))


@attrs.frozen
class Acceptance:
    """The tasks of an accepted submission; no other entry may have the `exclusive` ones."""

    submission_id: str
    task_ids: Sequence[str]
    exclusive: Collection[str]
    provider_batch_id: str | None
    request_id: str | None


def mark_accepted(connection: Connection, acceptance: Acceptance) -> tuple[str, ...]:
    """Store the task ids, however late they arrive; those of a released submission are stored as late.

    Return those that another entry has already, or that were named for one in doubt; then nothing is stored.
    """
    submission_id, exclusive = acceptance.submission_id, to_json(list(acceptance.exclusive))
    ids = to_json(list(acceptance.task_ids)), storable(acceptance.provider_batch_id), storable(acceptance.request_id)
    if connection.execute(_MARK_ACCEPTED, (*ids, submission_id, exclusive, exclusive)).rowcount:
        return ()
    taken = connection.execute(_TAKEN, (exclusive, submission_id) * 2).fetchall()
    if not taken:
        record_late_tasks(connection, submission_id, acceptance.task_ids)
    return tuple(task_id for (task_id,) in taken)


def mark_refused(connection: Connection, submission_id: str, reason: str, *, again: bool) -> None:
    """Record a refusal: the entry has failed, or with `again` is claimed again to be sent later."""
    connection.execute(_MARK_BUSY if again else _MARK_REFUSED, (storable(reason), submission_id))


def mark_in_doubt(connection: Connection, submission_id: str, reason: str, excerpt: str) -> None:
    """Record that it is unknown whether a submission was accepted, with the beginning of the response."""
    connection.execute(_MARK_IN_DOUBT, (storable(reason), storable(excerpt), submission_id))


@attrs.frozen
class FinishedState:
    """Final state of an entry, and the facts that are stored with it."""

    state: State
    snapshots: Sequence[Mapping[str, Any]] = ()
    credits: float | None = None
    reason: str = ""
    seconds: float | None = None
    duration: Duration | None = None


def mark_finished(connection: Connection, entry_id: int, end: FinishedState) -> None:
    """Give an accepted entry its final state, and store the duration of its job."""
    if end.duration is not None:
        _store_duration(connection, end.duration)
    snapshots = to_json(list(end.snapshots))
    values = (snapshots, end.credits, end.credits, storable(end.reason), end.seconds, entry_id)
    connection.execute(_MARK_FINISHED[end.state], values)


def _store_duration(connection: Connection, duration: Duration) -> None:
    """Append a duration to those of its kind, of which the latest are kept."""
    connection.execute(
        "INSERT INTO duration (kind, seen, at) VALUES (?, ?, ?)"
        " ON CONFLICT (kind) DO UPDATE SET seen = substr(seen || excluded.seen, ?), at = excluded.at",
        (duration.kind, encode_duration(duration), time.time(), -REMEMBERED * DURATION_LENGTH),
    )


def set_files(connection: Connection, entry_id: int, files: Sequence[str]) -> None:
    """Store the names of the saved files."""
    connection.execute("UPDATE entry SET files = ? WHERE id = ?", (to_json(list(files)), entry_id))


def resolve_accepted(connection: Connection, entry_id: int, task_ids: Sequence[str]) -> None:
    """Resolve an entry in doubt: it was accepted, with these task ids. Raises LedgerError for any other entry."""
    values = (to_json(list(task_ids)), entry_id)
    _require_change(connection, Verb.RESOLVE_ACCEPTED, entry_id, _RESOLVE_ACCEPTED, values)


def resolve_unsent(connection: Connection, entry_id: int) -> None:
    """Resolve an entry in doubt: nothing was charged. Raises LedgerError for any other entry."""
    connection.execute(_KEEP_RELEASED, (entry_id,))
    _require_change(connection, Verb.RESOLVE_UNSENT, entry_id, _RESOLVE_UNSENT, (entry_id,))


def recover_from(connection: Connection, dead: str) -> int:
    """Free the entries of a dead owner; return how many of them are in doubt now.

    Claimed entries were not sent. Accepted ones may be taken by any process. Of those being sent the end is unknown.
    """
    connection.execute(_DELETE_CLAIMED, (dead,))
    for statement in _RECOVER:
        connection.execute(statement, (dead,))
    return connection.execute(_RECOVER_SENDING, ("its process ended while it was being sent", dead)).rowcount


def take_ownership(connection: Connection, entry_id: int, owner: str) -> bool:
    """Become the owner of an accepted entry that has no other owner; return True if that is so now."""
    return bool(connection.execute(_TAKE_OWNERSHIP, (owner, entry_id, owner)).rowcount)


def give_up_ownership(connection: Connection, entry_id: int, owner: str) -> None:
    """Stop owning an accepted entry."""
    connection.execute(_GIVE_UP_OWNERSHIP, (entry_id, owner))


def _require_change(connection: Connection, verb: Verb, entry_id: int, statement: str, values: tuple[Any, ...]) -> None:
    if not connection.execute(statement, values).rowcount:
        raise misplaced(verb, entry_id)
