"""Thread that writes to a ledger file: all pending writes become one transaction, and one write to the disk.

Writes that are requested in one event-loop iteration are handed over together, at its end.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from aiowery.errors import AioweryError, LedgerError
from aiowery.ledger._files import LedgerFiles

T = TypeVar("T")

_MAX_GROUP: Final = 5000
_MAX_DELAY: Final = 0.05
"""Seconds that a delayable write waits for others."""
_ENOUGH: Final = 50
"""Number of pending writes at which a group no longer waits."""


@attrs.define(eq=False)
class PendingWrite:
    """An operation that waits to be executed, and its result."""

    operation: Callable[[sqlite3.Connection], Any]
    is_atomic: bool
    is_delayable: bool
    is_guarded: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        """Set the result of the future, unless its caller was cancelled."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """A thread that executes operations on a connection of its own, for any number of event loops.

    A group of operations is durable as a whole, or each of them gets LedgerError. If an operation raises an
    AioweryError itself, it has changed nothing, and the rest of the group is unaffected.
    """

    def __init__(self, files: LedgerFiles) -> None:
        self.files: LedgerFiles = files
        self._requested: dict[asyncio.AbstractEventLoop, list[PendingWrite]] = {}
        self._queue: queue.SimpleQueue[list[PendingWrite] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="aiowery-ledger", daemon=True)
        self._closed = False
        self._process = os.getpid()

    @property
    def is_inherited(self) -> bool:
        """True in a process that was forked from the one of the thread."""
        return self._process != os.getpid()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def do(
        self, operation: Callable[[sqlite3.Connection], T], *, atomic: bool, delayable: bool, guarded: bool
    ) -> asyncio.Future[T]:
        """Return the future of the operation's result, which is set once the result is durable.

        A cancelled caller does not undo its operation. An operation is `atomic` if it needs a transaction, because its
        statements belong together. It is `delayable` if it may wait a moment to share another operation's write to the
        disk. If it is `guarded`, it is not executed, and gets LedgerError, once a path no longer leads to the open
        file. All other operations are executed even then: they store facts that must not be lost.
        """
        if self._closed:
            raise LedgerError("the ledger is closed; nothing was sent or changed: open it first")
        loop = asyncio.get_running_loop()
        write = PendingWrite(operation, atomic, delayable, guarded, loop, loop.create_future())
        requested = self._requested.get(loop)
        if requested is None:
            self._requested[loop] = [write]
            loop.call_soon(self._hand_over, loop)
        else:
            requested.append(write)
        return write.future

    def close(self) -> None:
        """Accept no more operations."""
        self._closed = True
        for loop in tuple(self._requested):
            self._hand_over(loop)
        self._queue.put(None)

    def finish(self) -> None:
        """Wait until the operations that were requested before closing are done. Blocks."""
        self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        requested = self._requested.pop(loop, None)
        if requested is not None:
            self._queue.put(requested)

    def _main(self) -> None:
        try:
            connection = self.files.connect()
        except Exception as fault:  # noqa: BLE001 - every caller must get its result, whatever the error is
            self._reject_all(fault if isinstance(fault, LedgerError) else self.files.explain(fault))
            return
        try:
            while self._execute_pending(connection):
                pass
        finally:
            self.files.disconnect(connection)

    def _execute_pending(self, connection: sqlite3.Connection) -> bool:
        """Execute the pending writes as one group; return True if there may be more."""
        writes, more = self._next_group()
        if writes:
            self._execute(connection, self._permitted(writes))
            _resolve(writes)
        return more

    def _permitted(self, writes: list[PendingWrite]) -> list[PendingWrite]:
        """Return the writes that may be executed; the rest get the error."""
        if not any(write.is_guarded for write in writes):
            return writes
        try:
            self.files.check()
        except LedgerError as refusal:
            for write in writes:
                write.error = refusal if write.is_guarded else None
        return [write for write in writes if write.error is None]

    def _execute(self, connection: sqlite3.Connection, writes: list[PendingWrite]) -> None:
        """Execute the writes as one group, or one by one if SQLite does not accept the values of one of them."""
        if not writes:
            return
        try:
            _execute_group(connection, writes)
        except Exception as fault:  # noqa: BLE001 - every caller must get its result, whatever the error is
            _roll_back(connection)
            if len(writes) > 1 and not isinstance(fault, (sqlite3.Error, OSError)):
                for write in writes:
                    self._execute(connection, [write])
                return
            for write in writes:
                write.error = self.files.explain(fault)

    def _next_group(self) -> tuple[list[PendingWrite], bool]:
        """Return the writes of the next group, and True if there may be more after it."""
        writes: list[PendingWrite] = []
        more = self._queue.get()
        deadline = time.monotonic() + _MAX_DELAY
        while more is not None:
            writes += more
            if len(writes) >= _ENOUGH or not all(write.is_delayable for write in more):
                deadline = 0.0
            if len(writes) >= _MAX_GROUP:
                break
            try:
                more = self._get_until(deadline)
            except queue.Empty:
                break
        return writes, more is not None

    def _get_until(self, deadline: float) -> list[PendingWrite] | None:
        """Return the next writes. Raises queue.Empty if there are none before the deadline."""
        timeout = deadline - time.monotonic()
        return self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()

    def _reject_all(self, error: LedgerError) -> None:
        """Give all writes this error until the writer is closed."""
        while (writes := self._queue.get()) is not None:
            for write in writes:
                write.error = error
            _resolve(writes)


def _execute_group(connection: sqlite3.Connection, writes: list[PendingWrite]) -> None:
    """Execute the writes in one transaction; a single statement is a transaction by itself."""
    alone = len(writes) == 1 and not writes[0].is_atomic
    if not alone:
        connection.execute("BEGIN IMMEDIATE")
    for write in writes:
        write.error = None
        try:
            write.result = write.operation(connection)
        except AioweryError as error:
            write.error = error
    if not alone:
        connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    """Undo the changes of a group."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _resolve(writes: list[PendingWrite]) -> None:
    """Resolve the futures of all writes, with one callback for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[PendingWrite]] = {}
    for write in writes:
        by_loop.setdefault(write.loop, []).append(write)
    for loop, writes_of_loop in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_in_loop, writes_of_loop)
        except RuntimeError:  # the loop is closed, and with it every task that waited
            continue


def _resolve_in_loop(writes: list[PendingWrite]) -> None:
    for write in writes:
        write.resolve()
