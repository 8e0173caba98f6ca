"""Tables of a ledger file, and the steps from an earlier schema to the present one."""

from __future__ import annotations

import itertools
import sqlite3
import time
from typing import Any, Final

from aiowery.errors import LedgerError
from aiowery.ledger._rows import state_list
from aiowery.ledger._states import AWAITS_DELIVERIES

APPLICATION_ID: Final = 0x41_57_52_4C
_BEFORE_RELEASE: Final = 0x41_57_52_59
"""Application id of ledgers that versions before 0.1.0 wrote."""
_OLDEST_SQLITE: Final = (3, 35)
_BUSY_TIMEOUT: Final = 10.0
_PAUSE: Final = 0.02

_MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        batch TEXT NOT NULL,
        key TEXT NOT NULL,
        entry_index INTEGER NOT NULL,
        request TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'new',
        attempts INTEGER NOT NULL DEFAULT 0,
        submission_id TEXT,
        owner TEXT,
        sent_at REAL,
        task_ids TEXT NOT NULL DEFAULT '[]',
        provider_batch_id TEXT,
        request_id TEXT,
        reason TEXT NOT NULL DEFAULT '',
        snapshots TEXT NOT NULL DEFAULT '[]',
        credits REAL,
        files TEXT NOT NULL DEFAULT '[]',
        seconds REAL,
        late_task_ids TEXT NOT NULL DEFAULT '[]',
        cost REAL NOT NULL DEFAULT 0,
        base_url TEXT NOT NULL DEFAULT '',
        request_hash TEXT NOT NULL DEFAULT '',
        price_key TEXT NOT NULL DEFAULT '',
        UNIQUE (batch, key)
        )
        """,
        "CREATE UNIQUE INDEX entry_submission ON entry (submission_id) WHERE submission_id IS NOT NULL",
        "CREATE INDEX entry_owner ON entry (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX entry_request_hash ON entry (request_hash) WHERE request_hash <> ''",
        "CREATE INDEX entry_price ON entry (price_key) WHERE credits IS NOT NULL",
        """
        CREATE TABLE released_submission (
        submission_id TEXT PRIMARY KEY,
        entry_id INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE batch_spend (batch TEXT PRIMARY KEY, used REAL NOT NULL) WITHOUT ROWID",
        """
        CREATE TRIGGER entry_cost AFTER UPDATE OF cost ON entry WHEN new.cost <> old.cost BEGIN
            INSERT INTO batch_spend (batch, used) VALUES (new.batch, new.cost - old.cost)
            ON CONFLICT (batch) DO UPDATE SET used = used + excluded.used;
        END
        """,
        """
        CREATE TABLE delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        submission_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        finished INTEGER NOT NULL,
        at REAL NOT NULL,
        UNIQUE (submission_id, task_id)
        )
        """,
        """
        CREATE TABLE duration (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL UNIQUE,
        seen TEXT NOT NULL,
        at REAL NOT NULL
        )
        """,
        # Old kinds are deleted when a kind is added, not at each end of a job.
        """
        CREATE TRIGGER duration_kinds AFTER INSERT ON duration BEGIN
            DELETE FROM duration WHERE id IN (SELECT id FROM duration ORDER BY at DESC, id DESC LIMIT -1 OFFSET 1000);
        END
        """,
        # One row. `inode` is the number of the file that was written, `count` grows with each opening and closing.
        "CREATE TABLE identity (name TEXT NOT NULL, inode TEXT NOT NULL, count INTEGER NOT NULL)",
        "CREATE TABLE opening (owner TEXT PRIMARY KEY, path TEXT NOT NULL, log TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        "ALTER TABLE entry ADD COLUMN excerpt TEXT NOT NULL DEFAULT ''",
        """
        CREATE TABLE entry_task (
        task_id TEXT NOT NULL,
        entry_id INTEGER NOT NULL,
        PRIMARY KEY (task_id, entry_id)
        ) WITHOUT ROWID
        """,
        """
        INSERT OR IGNORE INTO entry_task (task_id, entry_id) SELECT json_each.value, entry.id
        FROM entry, json_each(entry.task_ids)
        """,
        """
        INSERT OR IGNORE INTO entry_task (task_id, entry_id) SELECT json_each.value, entry.id
        FROM entry, json_each(entry.late_task_ids)
        """,
        """
        CREATE TRIGGER entry_tasks AFTER UPDATE OF task_ids ON entry BEGIN
            INSERT OR IGNORE INTO entry_task (task_id, entry_id) SELECT value, new.id FROM json_each(new.task_ids);
        END
        """,
        """
        CREATE TRIGGER entry_late_tasks AFTER UPDATE OF late_task_ids ON entry BEGIN
            INSERT OR IGNORE INTO entry_task (task_id, entry_id) SELECT value, new.id FROM json_each(new.late_task_ids);
        END
        """,
    ),
    (
        """
        CREATE TABLE reused (
        batch TEXT NOT NULL,
        key TEXT NOT NULL,
        entry_index INTEGER NOT NULL,
        entry_id INTEGER NOT NULL,
        PRIMARY KEY (batch, key)
        ) WITHOUT ROWID
        """,
    ),
    ("CREATE INDEX delivery_task ON delivery (task_id)",),
)
"""Statements of each version; a released version never changes, the next one is appended."""
VERSION: Final = len(_MIGRATIONS)


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, or bring those of an earlier version up to date, and make every commit durable.

    Raises LedgerError for the database of another program, which is left unchanged.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise LedgerError(
            f"SQLite must be 3.35 or later, got {sqlite3.sqlite_version}; nothing was sent: use a newer Python"
        )
    _check(connection)
    _keep_log(connection)
    _migrate(connection)


def _check(connection: sqlite3.Connection) -> None:
    """Refuse other databases; in one transaction, because another process may be creating the tables."""
    connection.execute("BEGIN")
    (tables,) = _fetch_when_free(connection, "SELECT count(*) FROM sqlite_master")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("COMMIT")
    if application == _BEFORE_RELEASE:
        raise LedgerError(
            "it was written by a version of aiowery before 0.1.0, whose ledgers this version does not read; nothing was"
            " sent: give another file, or finish its batches with the version that wrote it"
        )
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerError("it is the database of another program; nothing was sent: give another file")
    if version > VERSION:
        raise LedgerError(
            f"it was written by a later version (schema {version}, not {VERSION}); nothing was sent: update aiowery"
        )


def _keep_log(connection: sqlite3.Connection) -> None:
    """Make every commit durable, and let other connections read while one writes."""
    (mode,) = _fetch_when_free(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise LedgerError("SQLite cannot keep its log there; nothing was sent: give a file on a local disk")
    connection.execute("PRAGMA synchronous = FULL")


def compact(connection: sqlite3.Connection) -> None:
    """Delete the deliveries that no entry needs; done at opening, which is far rarer than the end of a job."""
    connection.execute(
        "DELETE FROM delivery WHERE submission_id NOT IN (SELECT submission_id FROM entry"  # noqa: S608 - constants
        f" WHERE submission_id IS NOT NULL AND state IN {state_list(AWAITS_DELIVERIES)})"
    )


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date; if they are, nothing is written, because the file may lack its log."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been quicker
    if version < VERSION:
        for statement in itertools.chain.from_iterable(_MIGRATIONS[version:]):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _fetch_when_free(connection: sqlite3.Connection, statement: str) -> tuple[Any, ...]:
    """Return the row of a statement; wait while the file is locked, which SQLite does not do for these statements."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            row: tuple[Any, ...] = connection.execute(statement).fetchone()
        except sqlite3.OperationalError as fault:
            if "locked" not in str(fault) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return row
