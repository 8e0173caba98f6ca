"""The files of one opening of a ledger: whether they are the original, and whether their paths still lead to them."""

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

from aiowery.errors import LedgerError
from aiowery.ledger import _identity
from aiowery.ledger._identity import Identity, OpenRecord
from aiowery.ledger._liveness import LiveProcesses
from aiowery.ledger._path_checks import check_path, has_stable_inodes, path_error, real_path
from aiowery.ledger._schema import compact, prepare

_BUSY: Final = 30.0
_ENDINGS: Final = ("", "-wal", "-shm")
_LOG: Final = "-wal"
_LATEST: Final = "latest"
_MISSING: Final = "-"
_LARGEST: Final = 200
_LOOKS: Final = 5
_PAUSE: Final = 0.02

_making: Final = threading.Lock()


@attrs.frozen
class Numbers:
    """The inode numbers of a ledger's file and of its log, by which processes know them again; - for one missing."""

    file: str = _MISSING
    log: str = _MISSING

    @classmethod
    def record(cls, file: os.stat_result | None, log: os.stat_result | None) -> Numbers:
        """Return the numbers of two files, as far as they are there."""
        return cls(*(_MISSING if one is None else str(one.st_ino) for one in (file, log)))

    def __str__(self) -> str:
        return f"{self.file} {self.log}"


@attrs.frozen
class _Latest:
    """What was noted beside a ledger when it was last opened or closed: its name and count, and its files."""

    name: str = ""
    count: int = 0
    numbers: Numbers = Numbers()


class LedgerFiles:
    """What `connect` opens at a path, follows with `check`, and `disconnect` closes. All methods block a little.

    `given` is the path as the caller knows it. The file and everything beside it lie at the real one, without symbolic
    links. None of SQLite's files is opened here once it is there: to close it would drop the locks of all other
    connections in the process.
    """

    def __init__(self, given: Path, owner: str, *, accept_copy: bool, read_only: bool) -> None:
        path = real_path(given)
        check_path(path)
        self.owners: LiveProcesses = LiveProcesses(path, owner)
        self._given = given
        self._path = path
        self._owner = owner
        self._accept_copy = accept_copy
        self._read_only = read_only
        self._keeps_numbers = has_stable_inodes(path)
        self._opened: dict[Path, os.stat_result] = {}

    def explain(self, fault: Exception) -> LedgerError:
        """Return what the system's or SQLite's words mean for this ledger."""
        return path_error(self._given, fault)

    def connect(self) -> sqlite3.Connection:
        """Open the ledger, or make it. LedgerError for what is not ours, not whole, or not the original."""
        self._refuse_strangers()
        if not self._read_only:
            _make(self._path)
        before = self._path.stat()
        self._check_names(before)
        connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
        try:
            self._prepare(connection)
            # A second name for a file that this process has open has no index of its own.
            self._opened = {path: found for path in map(self._beside, _ENDINGS) if (found := _stat(path))}
            self._check_same(before)
            if self._read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                self._register(connection)
        except BaseException:
            connection.close()
            self.owners.unregister()
            raise
        return connection

    def disconnect(self, connection: sqlite3.Connection) -> None:
        """Close the ledger; whatever this opening still owns is for others from here on."""
        try:
            if not self._read_only:
                self._unregister(connection)
        finally:
            connection.close()

    def check(self) -> None:
        """Raise LedgerError unless every path leads to what was opened: other processes would send the same again."""
        if self._read_only:
            raise LedgerError(f"{self._given} was opened to be read only; nothing was sent")
        for path, opened in self._opened.items():
            found = _stat(path)
            if found is None or not os.path.samestat(found, opened):
                raise _displaced(path, "replaced by another file" if found else "removed or renamed")
            if path == self._path:
                self._check_names(found)
        if not self.owners.is_in_place():
            raise _displaced(self.owners.directory, "removed or renamed")

    def _check_same(self, before: os.stat_result) -> None:
        """Refuse what has not been one file, with its log, from before it was opened."""
        now = self._opened.get(self._path)
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
        """Write this opening into the ledger if nothing speaks against it."""
        with _transaction(connection):
            known = _identity.identity(connection) or Identity(self._inode)
            others = [other for other in _identity.open_records(connection) if other.owner != self._owner]
            copied = self._accepted(self._copied(known))
            living = [other for other in others if self._is_open(other)]
            lost = self._accepted(self._without_log(others))
            now = Identity(self._inode) if copied or lost else attrs.evolve(known, count=known.count + 1)
            self.owners.register(str(self._numbers))
            _identity.record_open(connection, now, [*living, self._opening])
            compact(connection)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # for a copy is often made without the log
        self._keep_latest(now)

    def _unregister(self, connection: sqlite3.Connection) -> None:
        self.owners.unregister()  # before the log goes, for those that look for it beside a living process
        with contextlib.suppress(sqlite3.Error):
            with _transaction(connection):
                now = _identity.remove_open(connection, self._owner)
            if now is not None:
                self._keep_latest(now)

    @property
    def _inode(self) -> str:
        return self._numbers.file if self._keeps_numbers else ""

    @property
    def _numbers(self) -> Numbers:
        return Numbers.record(self._opened.get(self._path), self._opened.get(self._beside(_LOG)))

    @property
    def _opening(self) -> OpenRecord:
        return OpenRecord(self._owner, str(self._path), self._numbers.log)

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)

    def _refuse_strangers(self) -> None:
        """Refuse to open a file beside a process, or beside a log, that knows another one by this name."""
        for _ in range(_LOOKS):  # another process may be opening or closing it just now
            living = set(self.owners.alive().values())
            latest = self._latest().numbers
            now = Numbers.record(_stat(self._path), _stat(self._beside(_LOG)))
            strangers = living - {"", str(now)}
            # SQLite itself takes any log that lies there for that of the file.
            left = self._keeps_numbers and latest.log == now.log != _MISSING and latest.file != now.file
            if not (strangers or left):
                return
            time.sleep(_PAUSE)
        if strangers:
            raise LedgerError(
                f"{self._path} or its log was removed or replaced while a running process has it open; nothing was"
                " sent: end that process first"
            )
        raise LedgerError(
            f"{self._path} was removed or replaced while its log stayed, in which lies what was sent last; nothing was"
            f" sent: put the file back, or begin anew by removing {self._beside(_LOG)} as well"
        )

    def _is_open(self, other: OpenRecord) -> bool:
        """Return whether a running process has the ledger open. LedgerError if it has, in another place."""
        if self.owners.is_alive(other.owner):
            return True
        if other.path != str(self._path) and LiveProcesses(Path(other.path), self._owner).is_alive(other.owner):
            raise LedgerError(
                f"{self._given}, or what it is a copy of, is open in a running process, as {other.path}; nothing was"
                " sent: end that process first"
            )
        return False

    def _accepted(self, refusal: str) -> bool:
        """Return whether something is the matter that is accepted. LedgerError if it is not accepted."""
        if refusal and not self._accept_copy:
            raise LedgerError(refusal)
        return bool(refusal)

    def _copied(self, known: Identity) -> str:
        """Return why this is not the file that was written last, an empty text if it is."""
        latest = self._latest()
        if known.inode == self._inode and not (latest.name == known.name and latest.count > known.count):
            return ""
        return (
            f"{self._given} is a copy of a ledger, or a restored backup: what was sent since it was made is not in it,"
            f" and would be paid for again; nothing was sent. Use the original, or {self._next_steps}"
        )

    def _without_log(self, others: Iterable[OpenRecord]) -> str:
        """Return why the latest entries are missing, an empty text if they are not."""
        for other in others:
            log = Path(other.path + _LOG)
            found = _stat(log)
            if found is not None and str(found.st_ino) == other.log != self._opening.log:
                return (
                    f"{self._given} was renamed without its log, in which lies what was sent last; nothing was sent."
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
        """Return what was last noted beside the ledger, by whichever process."""
        try:
            with (self.owners.directory / _LATEST).open("rb") as file:
                name, count, inode, log = file.read(_LARGEST).decode("ascii").split()
            return _Latest(name, int(count), Numbers(inode, log))
        except (OSError, ValueError):
            return _Latest()

    def _keep_latest(self, now: Identity) -> None:
        """Note what the ledger is now; where that cannot be, a restored backup is not known as one."""
        beside = self.owners.directory / f"{_LATEST}-{self._owner}"
        with contextlib.suppress(OSError):
            beside.write_text(f"{now.name} {now.count} {self._numbers}", "ascii")
            beside.replace(self.owners.directory / _LATEST)


def _make(path: Path) -> None:
    """Make a file that only its owner may read, unless one is there."""
    with _making, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _displaced(path: Path, how: str) -> LedgerError:
    return LedgerError(
        f"{path} was {how} while the ledger is open, so that other processes do not see what is sent; nothing was sent:"
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
