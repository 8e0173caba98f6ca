"""What a ledger says of itself, by which a copy of it, an earlier state and a file without its log are known.

All of it is in the file itself as well as in the log: `enter` is followed by a checkpoint.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import attrs

from aiowery.ledger._rows import Connection


@attrs.frozen
class Identity:
    """Which ledger this is, in which file it was written, and how often it has been opened and closed.

    `inode` is the file's number; that of its device changes when the system starts anew.
    """

    inode: str
    name: str = attrs.field(factory=lambda: secrets.token_hex(16))
    count: int = 0


@attrs.frozen
class OpenRecord:
    """A process that has the ledger open: its owner, the path of the file, and the inode number of the log."""

    owner: str
    path: str
    log: str


def identity(connection: Connection) -> Identity | None:
    """Return what the ledger was when it was last opened; None for one that never was."""
    row = connection.execute("SELECT inode, name, count FROM identity").fetchone()
    return None if row is None else Identity(*row)


def open_records(connection: Connection) -> list[OpenRecord]:
    """Return the openings that have not been closed; those of dead processes are among them."""
    rows: Iterable[Any] = connection.execute("SELECT owner, path, log FROM opening")
    return [OpenRecord(*row) for row in rows]


def record_open(connection: Connection, identity_: Identity, openings_: Iterable[OpenRecord]) -> None:
    """Write down what the ledger is from here on, and all that have it open."""
    connection.execute("DELETE FROM identity")
    connection.execute(
        "INSERT INTO identity (inode, name, count) VALUES (?, ?, ?)", (identity_.inode, identity_.name, identity_.count)
    )
    connection.execute("DELETE FROM opening")
    connection.executemany(
        "INSERT INTO opening (owner, path, log) VALUES (?, ?, ?)",
        [(one.owner, one.path, one.log) for one in openings_],
    )


def remove_open(connection: Connection, owner: str) -> Identity | None:
    """Note that an opening has been closed, and return what the ledger is from here on."""
    connection.execute("DELETE FROM opening WHERE owner = ?", (owner,))
    connection.execute("UPDATE identity SET count = count + 1")
    return identity(connection)
