"""Identity of a ledger, stored in its file, by which a copy, an earlier state and a file without its log are detected.

It is in the file itself as well as in the log: `record_open` is followed by a checkpoint.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import attrs

from aiowery.ledger._rows import Connection


@attrs.frozen
class Identity:
    """Identity of a ledger and of the file that it was written to."""

    inode: str
    """Inode number of the file; the number of its device is not stored, because it may change at a restart."""
    name: str = attrs.field(factory=lambda: secrets.token_hex(16))
    """Random name of the ledger."""
    count: int = 0
    """Number of times that it was opened and closed."""


@attrs.frozen
class OpenRecord:
    """An opening of the ledger: its owner, the path of the file, and the inode number of the log."""

    owner: str
    path: str
    log: str


def identity(connection: Connection) -> Identity | None:
    """Return the identity that was stored at the last opening; None if there was none."""
    row = connection.execute("SELECT inode, name, count FROM identity").fetchone()
    return None if row is None else Identity(*row)


def open_records(connection: Connection) -> list[OpenRecord]:
    """Return the openings that were not closed, those of dead processes included."""
    rows: Iterable[Any] = connection.execute("SELECT owner, path, log FROM opening")
    return [OpenRecord(*row) for row in rows]


def record_open(connection: Connection, new_identity: Identity, records: Iterable[OpenRecord]) -> None:
    """Store the identity of the ledger, and all its openings."""
    connection.execute("DELETE FROM identity")
    connection.execute(
        "INSERT INTO identity (inode, name, count) VALUES (?, ?, ?)",
        (new_identity.inode, new_identity.name, new_identity.count),
    )
    connection.execute("DELETE FROM opening")
    connection.executemany(
        "INSERT INTO opening (owner, path, log) VALUES (?, ?, ?)",
        [(record.owner, record.path, record.log) for record in records],
    )


def remove_open(connection: Connection, owner: str) -> Identity | None:
    """Delete an opening that is closed, and return the identity from then on."""
    connection.execute("DELETE FROM opening WHERE owner = ?", (owner,))
    connection.execute("UPDATE identity SET count = count + 1")
    return identity(connection)
