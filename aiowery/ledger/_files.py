"""Files of one opening of a ledger: checks that they are the original, and that their paths still lead to them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from aiowery._base.new_files import PRIVATE, SHARED, create
from aiowery.errors import LedgerError
from aiowery.ledger import _identity
from aiowery.ledger._identity import Identity, OpenRecord
from aiowery.ledger._liveness import LiveProcesses
from aiowery.ledger._path_checks import check_path, has_stable_inodes, path_error, real_path, tighten
from aiowery.ledger._schema import compact, prepare

_BUSY_TIMEOUT: Final = 30.0
_SUFFIXES: Final = ("", "-wal", "-shm")
_LOG: Final = "-wal"
_LATEST: Final = "latest"
_MISSING: Final = "-"
_MAX_BYTES: Final = 200
_CHECKS: Final = 5
_PAUSE: Final = 0.02

_creating = threading.Lock()
_connected: Final[set[LedgerFiles]] = set()
_inherited: Final[set[Path]] = set()
"""Files that were open when this process was forked: SQLite would take its parent's locks on them for its own."""


def _inherit() -> None:
    global _creating  # noqa: PLW0603 - a thread that the child does not have may have held it
    _creating = threading.Lock()
    _inherited.update(files.path for files in _connected)
    _connected.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inherit)


@attrs.frozen
class InodeNumbers:
    """Inode numbers of a ledger's file and of its log, which identify them; - for a missing one."""

    file: str = _MISSING
    log: str = _MISSING

    @classmethod
    def of(cls, file: os.stat_result | None, log: os.stat_result | None) -> InodeNumbers:
        """Return the numbers of the files that exist."""
        return cls(*(_MISSING if one is None else str(one.st_ino) for one in (file, log)))

    def __str__(self) -> str:
        return f"{self.file} {self.log}"


@attrs.frozen
class _Latest:
    """Name, count and files of a ledger, as stored beside it when it was last opened or closed."""

    name: str = ""
    count: int = 0
    numbers: InodeNumbers = InodeNumbers()


class LedgerFiles:
    """Files that `connect` opens, `check` compares with their paths, and `disconnect` closes; all three block.

    `given` is the caller's path, used in messages. The file and everything beside it are at the real path, without
    symbolic links. SQLite's files are never opened here once they exist: closing them would drop the locks of all other
    connections in the process.
    """

    def __init__(self, given: Path, owner: str, *, accept_copy: bool, read_only: bool) -> None:
        path = real_path(given)
        check_path(path)
        self.processes: LiveProcesses = LiveProcesses(path, owner)
        self.path: Path = path
        self.mode: int = PRIVATE
        self._given = given
        self._owner = owner
        self._accept_copy = accept_copy
        self._read_only = read_only
        self._has_stable_inodes = has_stable_inodes(path)
        self._opened: dict[Path, os.stat_result] = {}

    def explain(self, fault: Exception) -> LedgerError:
        """Return an error that explains an error of the system or of SQLite."""
        return path_error(self._given, fault)

    def connect(self) -> sqlite3.Connection:
        """Open the ledger, or create it. Raises LedgerError if the file is foreign, incomplete, or not the original."""
        self._refuse_inherited()
        self._refuse_other_files()
        if not self._read_only:
            _create(self.path)
            tighten(filter(Path.exists, map(self._beside, _SUFFIXES)))
        before = self.path.stat()
        self.mode = before.st_mode & SHARED
        self._check_names(before)
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        try:
            self._prepare(connection)
            # A second name for a file that this process has open has no index file of its own.
            self._opened = {path: found for path in map(self._beside, _SUFFIXES) if (found := _stat(path))}
            self._check_same(before)
            if self._read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                self._register(connection)
        except BaseException:
            connection.close()
            self.processes.unregister()
            raise
        _connected.add(self)
        return connection

    def disconnect(self, connection: sqlite3.Connection) -> None:
        """Close the ledger; other processes may take what this opening still owns."""
        try:
            if not self._read_only:
                self._unregister(connection)
        finally:
            connection.close()
            _connected.discard(self)

    def check(self) -> None:
        """Raise LedgerError unless every path leads to the open file; other processes would send the same again."""
        if self._read_only:
            raise LedgerError(f"{self._given} is open for reading only; nothing was sent: open it without read_only")
        for path, opened in self._opened.items():
            found = _stat(path)
            if found is None or not os.path.samestat(found, opened):
                raise _displaced_error(path, "replaced by another file" if found else "removed or renamed")
            if path == self.path:
                self._check_names(found)
        if not self.processes.is_in_place():
            raise _displaced_error(self.processes.directory, "removed or renamed")

    def _check_same(self, before: os.stat_result) -> None:
        """Raise LedgerError if the file was replaced, or its log is missing, since before it was opened."""
        now = self._opened.get(self.path)
        if now is None or not os.path.samestat(before, now) or self._beside(_LOG) not in self._opened:
            raise LedgerError(f"{self._given} was replaced while it was being opened; nothing was sent: try again")

    def _check_names(self, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            raise LedgerError(
                f"{self._given} has {found.st_nlink} names (hard links), and processes that use different ones would"
                " send the same; nothing was sent: remove the other names"
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        try:
            prepare(connection)
        except LedgerError as refusal:
            raise LedgerError(f"{self._given}: {refusal}") from refusal

    def _register(self, connection: sqlite3.Connection) -> None:
        """Store this opening in the ledger. Raises LedgerError if the file is a copy, or lacks its log."""
        with _transaction(connection):
            known = _identity.identity(connection) or Identity(self._inode)
            records = [record for record in _identity.open_records(connection) if record.owner != self._owner]
            is_copy = self._is_accepted(self._copy_error(known))
            live = [record for record in records if self._is_open(record)]
            lacks_log = self._is_accepted(self._missing_log_error(records))
            now = Identity(self._inode) if is_copy or lacks_log else attrs.evolve(known, count=known.count + 1)
            self.processes.register(str(self._numbers))
            _identity.record_open(connection, now, [*live, self._opening])
            compact(connection)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # because a copy is often made without the log
        self._store_latest(now)

    def _unregister(self, connection: sqlite3.Connection) -> None:
        self.processes.unregister()  # before the log is removed, which other processes expect beside a live one
        with contextlib.suppress(sqlite3.Error):
            with _transaction(connection):
                now = _identity.remove_open(connection, self._owner)
            if now is not None:
                self._store_latest(now)

    @property
    def _inode(self) -> str:
        return self._numbers.file if self._has_stable_inodes else ""

    @property
    def _numbers(self) -> InodeNumbers:
        return InodeNumbers.of(self._opened.get(self.path), self._opened.get(self._beside(_LOG)))

    @property
    def _opening(self) -> OpenRecord:
        return OpenRecord(self._owner, str(self.path), self._numbers.log)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _refuse_inherited(self) -> None:
        if self.path in _inherited:
            raise LedgerError(
                f"{self._given} was open when this process was forked, and SQLite cannot tell the locks of both apart;"
                " nothing was sent: start the process by the method 'spawn', or before the ledger is opened"
            )

    def _refuse_other_files(self) -> None:
        """Raise LedgerError if a live process, or a log that was left, belongs to another file of this name."""
        for _ in range(_CHECKS):  # another process may be opening or closing it
            live = set(self.processes.alive().values())
            latest = self._latest().numbers
            now = InodeNumbers.of(_stat(self.path), _stat(self._beside(_LOG)))
            other_files = live - {"", str(now)}
            # SQLite takes any log that it finds for the log of the file.
            log_left = self._has_stable_inodes and latest.log == now.log != _MISSING and latest.file != now.file
            if not (other_files or log_left):
                return
            time.sleep(_PAUSE)
        if other_files:
            raise LedgerError(
                f"{self.path} or its log was removed or replaced while a running process has it open; nothing was"
                " sent: end that process first"
            )
        raise LedgerError(
            f"{self.path} was removed or replaced while its log stayed, which contains what was sent last; nothing was"
            f" sent: put the file back, or begin anew by removing {self._beside(_LOG)} as well"
        )

    def _is_open(self, record: OpenRecord) -> bool:
        """Return True if a running process has the ledger open. Raises LedgerError if it has, at another path."""
        if self.processes.is_alive(record.owner):
            return True
        if record.path != str(self.path) and LiveProcesses(Path(record.path), self._owner).is_alive(record.owner):
            raise LedgerError(
                f"{self._given}, or what it is a copy of, is open in a running process, as {record.path}; nothing was"
                " sent: end that process first"
            )
        return False

    def _is_accepted(self, message: str) -> bool:
        """Return True if there is an error and it is accepted, False if there is none. Raises LedgerError otherwise."""
        if message and not self._accept_copy:
            raise LedgerError(message)
        return bool(message)

    def _copy_error(self, known: Identity) -> str:
        """Return the message if this is not the file that was written last, an empty text if it is."""
        latest = self._latest()
        if known.inode == self._inode and not (latest.name == known.name and latest.count > known.count):
            return ""
        return (
            f"{self._given} is a copy of a ledger, or a restored backup: what was sent since it was made is not in it,"
            f" and would be paid for again; nothing was sent. Use the original, or {self._next_steps}"
        )

    def _missing_log_error(self, records: Iterable[OpenRecord]) -> str:
        """Return the message if the latest entries are missing, an empty text if they are not."""
        for record in records:
            log = Path(record.path + _LOG)
            found = _stat(log)
            if found is not None and str(found.st_ino) == record.log != self._opening.log:
                return (
                    f"{self._given} was renamed without its log, which contains what was sent last; nothing was sent."
                    f" Rename {log} to {self._beside(_LOG)} before anything opens it, or {self._next_steps}"
                )
        return ""

    @property
    def _next_steps(self) -> str:
        return (
            "accept the file as it is, once no other is in use: aiowery ledger accept-copy --ledger FILE, or"
            " SqliteLedger(path, accept_copy=True)"
        )

    def _latest(self) -> _Latest:
        """Return the facts that the last process stored beside the ledger."""
        try:
            with (self.processes.directory / _LATEST).open("rb") as file:
                name, count, inode, log = file.read(_MAX_BYTES).decode("ascii").split()
            return _Latest(name, int(count), InodeNumbers(inode, log))
        except (OSError, ValueError):
            return _Latest()

    def _store_latest(self, now: Identity) -> None:
        """Store the present identity beside the ledger; if that fails, a restored backup is not detected."""
        beside = self.processes.directory / f"{_LATEST}-{self._owner}"
        with contextlib.suppress(OSError):
            beside.write_text(f"{now.name} {now.count} {self._numbers}", "ascii")
            beside.replace(self.processes.directory / _LATEST)


def _create(path: Path) -> None:
    """Create a file that only its owner may read, unless it exists."""
    with _creating, contextlib.suppress(FileExistsError):
        create(path, PRIVATE).close()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _displaced_error(path: Path, how: str) -> LedgerError:
    return LedgerError(
        f"{path} was {how} while the ledger is open, so other processes do not see what is sent; nothing was sent:"
        " end this process, and put the file back before the next one"
    )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
