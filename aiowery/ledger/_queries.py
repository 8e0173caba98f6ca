"""Queries of entries and statistics in SQL; none of them changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiowery._core.durations import Interval
from aiowery.ledger._records import BatchSummary, Entry
from aiowery.ledger._rows import (
    COLUMNS,
    FROM_REUSED,
    REUSED_COLUMNS,
    Connection,
    decode_durations,
    entry_of,
    state_list,
)
from aiowery.ledger._states import State

_ENTRY: Final = f"SELECT {COLUMNS} FROM entry WHERE id = ?"  # noqa: S608 - a constant
_PRICE: Final = (
    "SELECT credits FROM entry WHERE price_key = ? AND credits IS NOT NULL"  # noqa: S608 - a constant
    f" AND state = '{State.DONE}' ORDER BY id DESC LIMIT 1"
)

_IS_OWN: Final = f"NOT EXISTS (SELECT 1 {FROM_REUSED} AND reused.batch = entry.batch AND reused.key = entry.key)"
_BATCHES: Final = (
    "SELECT batch, state, count(*), sum(credits) FROM ("  # noqa: S608 - constants
    f"SELECT id, batch, state, credits FROM entry WHERE {_IS_OWN} UNION ALL"
    f" SELECT origin.id, reused.batch, origin.state, NULL {FROM_REUSED}"
    ") GROUP BY batch, state ORDER BY min(id)"
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
    if batch is None:
        statement = f"SELECT {COLUMNS} FROM entry WHERE id > ? AND state IN {wanted} ORDER BY id LIMIT ?"  # noqa: S608 - constants
        return list(map(entry_of, connection.execute(statement, (after, limit))))
    statement = (
        f"SELECT {COLUMNS}, NULL FROM entry WHERE id > ? AND batch = ? AND state IN {wanted} AND {_IS_OWN}"  # noqa: S608 - constants
        f" UNION ALL SELECT {REUSED_COLUMNS} {FROM_REUSED} AND origin.id > ? AND reused.batch = ?"
        f" AND origin.state IN {wanted} ORDER BY 1 LIMIT ?"
    )
    return list(map(entry_of, connection.execute(statement, (after, batch, after, batch, limit))))


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
    rows = connection.execute(_BATCHES).fetchall()
    used = dict(connection.execute("SELECT batch, used FROM batch_spend"))
    names = dict.fromkeys(row[0] for row in rows)
    return [_summary(name, [row for row in rows if row[0] == name], used.get(name, 0.0)) for name in names]


def _summary(name: str, rows: Sequence[tuple[str, str, int, float | None]], used: float) -> BatchSummary:
    reported = [credits_ for _, _, _, credits_ in rows if credits_ is not None]
    states = {State(state): number for _, state, number, _ in rows}
    return BatchSummary(name=name, states=states, credits=sum(reported) if reported else None, used=used)
