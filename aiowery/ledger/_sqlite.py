"""A ledger in a file of SQLite's."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread

from aiowery._core.durations import Interval
from aiowery.errors import LedgerError
from aiowery.ledger import _queries, _transitions
from aiowery.ledger._files import LedgerFiles
from aiowery.ledger._liveness import new_owner
from aiowery.ledger._records import BatchSummary, Delivery, Duration, Entry, Item, State, checked_end
from aiowery.ledger._writer import Writer

T = TypeVar("T")
Move = Callable[[sqlite3.Connection], T]

_PAGE: Final = 1000


class SqliteLedger:
    """Keeps entries in a file, durably: what a verb has returned from survives any crash.

    Several processes may open one file. What was left under way by one that has ended is taken over by the next that
    asks (`take_over`). Beside the file lies a directory of the locks that say which processes are alive.

    A file with a second name (a hard link), a copy and a restored backup are refused, for what other processes send is
    not in them; `accept_copy` makes such a file the ledger from here on. Once the file or what lies beside it has been
    removed, renamed or replaced, `fence` and `take_over` raise LedgerError; all else is written into the open file.
    `read_only` opens copies too, and every verb that writes raises LedgerError.
    """

    def __init__(self, path: str | os.PathLike[str], *, accept_copy: bool = False, read_only: bool = False) -> None:
        self.path: Path = Path(path)
        self.owner: str = new_owner()
        self.remembers: bool = True
        self.shared: bool = True
        self._accept_copy = accept_copy
        self._read_only = read_only
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"<SqliteLedger {self.path}>"

    async def open(self) -> None:
        """Open the file, or make it; LedgerError when it cannot be a ledger."""
        await anyio.to_thread.run_sync(self._start)
        try:
            await self._do(lambda _: None)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Finish what waits, and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            await anyio.to_thread.run_sync(writer.finish)

    async def take_over(self) -> int:
        """Free what dead processes left under way; return how many entries are in doubt for that reason."""
        writer = self._open_writer
        found = await self._do(_queries.owners)
        dead = await anyio.to_thread.run_sync(writer.files.owners.dead, found)
        inherit = (self._do(partial(_transitions.inherit, dead=name), whole=True, guarded=True) for name in dead)
        return sum(await asyncio.gather(*inherit))

    async def enter(
        self, batch: str, items: Sequence[Item], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one."""
        claimant = self.owner if claim else None
        return await self._do(
            lambda connection: _transitions.enter(connection, batch, items, claimant, reuse=reuse), whole=True
        )

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Take new entries and return those that are ours now; the others were taken, or are not new any more."""
        whole = len(entry_ids) > 1
        return await self._do(lambda connection: _transitions.claim(connection, entry_ids, self.owner), whole=whole)

    async def give_up(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent."""
        await self._do(lambda connection: _transitions.give_up(connection, entry_id, self.owner))

    async def fence(
        self, entry_id: int, ref: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
        purchase = _transitions.Purchase(ref, at, cost, budget)
        await self._do(
            lambda connection: _transitions.fence(connection, entry_id, self.owner, purchase),
            whole=budget is not None,
            guarded=True,
        )

    async def unsent(self, ref: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        await self._do(lambda connection: _transitions.unsent(connection, ref))

    async def accepted(
        self, ref: str, task_ids: Sequence[str], *, batch_id: str | None = None, request_id: str | None = None
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        await self._do(lambda connection: _transitions.accepted(connection, ref, task_ids, batch_id, request_id))

    async def refused(self, ref: str, note: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        await self._do(lambda connection: _transitions.refused(connection, ref, note, again=again))

    async def doubt(self, ref: str, note: str) -> None:
        """Note that nobody knows what became of an attempt."""
        await self._do(lambda connection: _transitions.doubt(connection, ref, note))

    async def ended(
        self,
        entry_id: int,
        state: State,
        *,
        snapshots: Sequence[Mapping[str, Any]] = (),
        credits: float | None = None,  # noqa: A002 - the provider's word; the builtin is a copyright notice
        note: str = "",
        seconds: float | None = None,
        duration: Duration | None = None,
    ) -> None:
        """Keep an accepted entry's end, DONE or FAILED."""
        end = _transitions.End(checked_end(state), snapshots, credits, note, seconds, duration)
        whole = duration is not None
        await self._do(lambda connection: _transitions.ended(connection, entry_id, end), whole=whole, lazy=True)

    async def saved(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        await self._do(lambda connection: _transitions.saved(connection, entry_id, files))

    async def look_after(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        return await self._do(lambda connection: _transitions.look_after(connection, entry_id, self.owner))

    async def leave(self, entry_id: int) -> None:
        """Look after an accepted entry of ours no more, so that another process may."""
        await self._do(lambda connection: _transitions.leave(connection, entry_id, self.owner))

    async def adopt(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        await self._do(lambda connection: _transitions.adopt(connection, entry_id, task_ids))

    async def release(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        await self._do(lambda connection: _transitions.release(connection, entry_id), whole=True)

    async def knows(self, ref: str) -> bool:
        """Return True if an entry has or had an attempt with this mark."""
        return await self._do(lambda connection: _queries.knows(connection, ref))

    async def delivered(self, ref: str, task_id: str, *, ended: bool = True) -> Entry | None:
        """Return the entry whose attempt has this mark, None if there is none, and keep what was told of it."""
        told = _transitions.Told(ref, task_id, ended, time.time())
        return await self._do(lambda connection: _transitions.delivered(connection, told), whole=True)

    async def deliveries(self, *, after: int = 0, ref: str | None = None) -> list[Delivery]:
        """Return what `delivered` has kept, by id, those after `after`; of one mark, or of all."""
        return await self._do(lambda connection: _queries.deliveries(connection, after, ref))

    async def holders(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, be it late."""
        return await self._do(lambda connection: _queries.holders(connection, task_id))

    async def version(self) -> int:
        """Return a number that is another one once another process has written."""
        return await self._do(_queries.version)

    async def entry(self, entry_id: int) -> Entry | None:
        """Return one entry."""
        return await self._do(lambda connection: _queries.entry(connection, entry_id))

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = _PAGE,
    ) -> list[Entry]:
        """Return a page of entries by id, those after `after`; of one batch, in some states, or all."""
        return await self._do(lambda connection: _queries.entries(connection, batch, states, after, limit))

    async def price(self, price_key: str) -> float | None:
        """Return what the latest entry of this price key that is done was charged; None where none was."""
        return await self._do(lambda connection: _queries.price(connection, price_key))

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the bounds of the latest durations of each kind, the latest last."""
        return await self._do(_queries.durations)

    async def batches(self) -> list[BatchSummary]:
        """Return all batches in numbers, oldest first."""
        return await self._do(_queries.batches)

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise LedgerError("the ledger is closed; open it again")
        return self._writer

    def _do(
        self, move: Move[T], *, whole: bool = False, lazy: bool = False, guarded: bool = False
    ) -> asyncio.Future[T]:
        return self._open_writer.do(move, whole=whole, lazy=lazy, guarded=guarded)

    def _start(self) -> None:
        files = LedgerFiles(self.path, self.owner, accept_copy=self._accept_copy, read_only=self._read_only)
        self._writer = Writer(files)
        self._writer.start()
