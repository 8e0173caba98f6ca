"""One thread that writes: whatever waits becomes one transaction, made durable by one write to the disk.

Moves that are ordered in one turn of an event loop are handed over together, at its end.
"""

from __future__ import annotations

import asyncio
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

_MOST: Final = 5000
_LAZY: Final = 0.05
_COMPANY: Final = 50


@attrs.define(eq=False)
class PendingWrite:
    """A move that somebody waits for, and its end."""

    move: Callable[[sqlite3.Connection], Any]
    whole: bool
    lazy: bool
    guarded: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        """Tell who waits, unless he has left."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs moves on a connection of its own, which its thread opens and closes; from any number of event loops.

    A group is durable as a whole, or each of its moves gets LedgerError. A move that raises one of our errors by itself
    has changed nothing, and costs the others nothing.
    """

    def __init__(self, files: LedgerFiles) -> None:
        self.files: LedgerFiles = files
        self._ordered: dict[asyncio.AbstractEventLoop, list[PendingWrite]] = {}
        self._orders: queue.SimpleQueue[list[PendingWrite] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="aiowery-ledger", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def do(
        self, move: Callable[[sqlite3.Connection], T], *, whole: bool, lazy: bool, guarded: bool
    ) -> asyncio.Future[T]:
        """Return the future of what the move returns, done once it is durable. Who is cancelled does not undo it.

        A move is `whole` when its statements hold together or not at all, and `lazy` when it may wait a moment for
        others, whose write to the disk serves it too. A `guarded` one is not made, but gets LedgerError, once a path no
        longer leads to the file that is open; the others are, for what they tell is true and must not be lost.
        """
        if self._closed:
            raise LedgerError("the ledger is closed; nothing was sent or changed: open it first")
        loop = asyncio.get_running_loop()
        order = PendingWrite(move, whole, lazy, guarded, loop, loop.create_future())
        ordered = self._ordered.get(loop)
        if ordered is None:
            self._ordered[loop] = [order]
            loop.call_soon(self._hand_over, loop)
        else:
            ordered.append(order)
        return order.future

    def close(self) -> None:
        """Take no more orders."""
        self._closed = True
        for loop in tuple(self._ordered):
            self._hand_over(loop)
        self._orders.put(None)

    def finish(self) -> None:
        """Wait for the end of what was ordered before closing. Blocks."""
        self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        ordered = self._ordered.pop(loop, None)
        if ordered is not None:
            self._orders.put(ordered)

    def _main(self) -> None:
        try:
            connection = self.files.connect()
        except (sqlite3.Error, OSError, LedgerError) as fault:
            self._refuse_all(fault if isinstance(fault, LedgerError) else self.files.explain(fault))
            return
        try:
            while self._work(connection):
                pass
        finally:
            self.files.disconnect(connection)

    def _work(self, connection: sqlite3.Connection) -> bool:
        """Do all that waits as one group; return whether there may be more."""
        orders, more = self._waiting()
        if orders:
            self._write(connection, self._allowed(orders))
            _settle(orders)
        return more

    def _allowed(self, orders: list[PendingWrite]) -> list[PendingWrite]:
        """Return the orders that may be carried out; the others get why not."""
        if not any(order.guarded for order in orders):
            return orders
        try:
            self.files.check()
        except LedgerError as refusal:
            for order in orders:
                order.error = refusal if order.guarded else None
        return [order for order in orders if order.error is None]

    def _write(self, connection: sqlite3.Connection, orders: list[PendingWrite]) -> None:
        """Make the moves as one group; where one of them cannot be told to SQLite, each by itself."""
        if not orders:
            return
        try:
            _group(connection, orders)
        except Exception as fault:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _abandon(connection)
            if len(orders) > 1 and not isinstance(fault, (sqlite3.Error, OSError)):
                for order in orders:
                    self._write(connection, [order])
                return
            for order in orders:
                order.error = self.files.explain(fault)

    def _waiting(self) -> tuple[list[PendingWrite], bool]:
        """Return the orders of the next group, and whether there may be more after it."""
        orders: list[PendingWrite] = []
        more = self._orders.get()
        until = time.monotonic() + _LAZY
        while more is not None:
            orders += more
            if len(orders) >= _COMPANY or not all(order.lazy for order in more):
                until = 0.0
            if len(orders) >= _MOST:
                break
            try:
                more = self._next(until)
            except queue.Empty:
                break
        return orders, more is not None

    def _next(self, until: float) -> list[PendingWrite] | None:
        """Return the next orders if they come until then."""
        patience = until - time.monotonic()
        return self._orders.get(timeout=patience) if patience > 0 else self._orders.get_nowait()

    def _refuse_all(self, error: LedgerError) -> None:
        """Tell everybody that there is no ledger, until we are told to end."""
        while (orders := self._orders.get()) is not None:
            for order in orders:
                order.error = error
            _settle(orders)


def _group(connection: sqlite3.Connection, orders: list[PendingWrite]) -> None:
    """Make the moves in one transaction; a single one of single statements is one by itself."""
    alone = len(orders) == 1 and not orders[0].whole
    if not alone:
        connection.execute("BEGIN IMMEDIATE")
    for order in orders:
        order.error = None
        try:
            order.result = order.move(connection)
        except AioweryError as error:
            order.error = error
    if not alone:
        connection.execute("COMMIT")


def _abandon(connection: sqlite3.Connection) -> None:
    """Undo what a group has begun."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _settle(orders: list[PendingWrite]) -> None:
    """Wake each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[PendingWrite]] = {}
    for order in orders:
        by_loop.setdefault(order.loop, []).append(order)
    for loop, its in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_here, its)
        except RuntimeError:  # the loop has been closed: nobody waits there any more
            continue


def _settle_here(orders: list[PendingWrite]) -> None:
    for order in orders:
        order.resolve()
