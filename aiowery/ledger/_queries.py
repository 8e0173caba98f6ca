"""Queries of entries and statistics in SQL; none of them changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiowery._core.durations import Interval
from aiowery.ledger._records import BatchSummary, Entry
from aiowery.ledger._rows import COLUMNS, Connection, decode_durations, entry_of, state_list
from aiowery.ledger._states import State

_ENTRY: Final = f"SELECT {COLUMNS} FROM entry WHERE id = ?"  # noqa: S608 - a constant
_PRICE: Final = (
    "SELECT credits FROM entry WHERE price_key = ? AND credits IS NOT NULL"  # noqa: S608 - a constant
    f" AND state = '{State.DONE}' ORDER BY id DESC LIMIT 1"
)


def change_counter(connection: Connection) -> int:
    """Return a number that changes when another connection has written."""
    (number,) = connection.execute("PRAGMA data_version").fetchone()
    return int(number)


def owners(connection: Connection) -> list[str]:
    """Return the owners of entries."""
    return [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM entry WHERE owner IS NOT NULL")]


def entry(connection: Connection, entry_id: int) -> Entry | None:
    """Return an entry, None if there is none of this id."""
    row = connection.execute(_ENTRY, (entry_id,)).fetchone()
    return None if row is None else entry_of(row)


def entries(
    connection: Connection, batch: str | None, states: Iterable[State] | None, after: int, limit: int
) -> list[Entry]:
    """Return at most `limit` entries with an id above `after`, in order; of one batch, in some states, or all."""
    wanted = state_list(frozenset(State if states is None else states))
    statement = (
        f"SELECT {COLUMNS} FROM entry WHERE id > ? AND (? IS NULL OR batch = ?) AND state IN {wanted}"  # noqa: S608 - constants
        " ORDER BY id LIMIT ?"
    )
    return list(map(entry_of, connection.execute(statement, (after, batch, batch, limit))))


def price(connection: Connection, price_key: str) -> float | None:
    """Return the credits that the latest done entry of this price key was charged.

    A failed entry is refunded, so its charge is not the price.
    """
    row = connection.execute(_PRICE, (price_key,)).fetchone()
    return None if row is None else float(row[0])


def durations(connection: Connection) -> dict[str, list[Interval]]:
    """Return the bounds of the durations of each kind, the latest last."""
    rows = connection.execute("SELECT kind, seen FROM duration ORDER BY at, id")
    return {kind: decode_durations(seen) for kind, seen in rows}


def batches(connection: Connection) -> list[BatchSummary]:
    """Return the figures of each batch, the oldest first."""
    rows = connection.execute(
        "SELECT batch, state, count(*), sum(credits) FROM entry GROUP BY batch, state ORDER BY min(id)"
    ).fetchall()
    used = dict(connection.execute("SELECT batch, used FROM batch_spend"))
    names = dict.fromkeys(row[0] for row in rows)
    return [_summary(name, [row for row in rows if row[0] == name], used.get(name, 0.0)) for name in names]


def _summary(name: str, rows: Sequence[tuple[str, str, int, float | None]], used: float) -> BatchSummary:
    reported = [credits_ for _, _, _, credits_ in rows if credits_ is not None]
    states = {State(state): number for _, state, number, _ in rows}
    return BatchSummary(name=name, states=states, credits=sum(reported) if reported else None, used=used)
