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
from aiowery.ledger import _deliveries, _queries, _transitions
from aiowery.ledger._files import LedgerFiles
from aiowery.ledger._liveness import new_owner
from aiowery.ledger._records import BatchSummary, Duration, Entry, NewEntry, WebhookDelivery
from aiowery.ledger._states import State, finished_verb
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
        self.keeps_finished: bool = True
        self.is_shared: bool = True
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

    async def recover_abandoned(self) -> int:
        """Free what dead processes left under way; return how many entries are in doubt for that reason."""
        writer = self._open_writer
        found = await self._do(_queries.owners)
        dead = await anyio.to_thread.run_sync(writer.files.owners.dead, found)
        inherit = (self._do(partial(_transitions.recover_from, dead=name), whole=True, guarded=True) for name in dead)
        return sum(await asyncio.gather(*inherit))

    async def add(
        self, batch: str, new_entries: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one."""
        claimant = self.owner if claim else None
        return await self._do(
            lambda connection: _transitions.add(connection, batch, new_entries, claimant, reuse=reuse), whole=True
        )

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Take new entries and return those that are ours now; the others were taken, or are not new any more."""
        whole = len(entry_ids) > 1
        return await self._do(lambda connection: _transitions.claim(connection, entry_ids, self.owner), whole=whole)

    async def unclaim(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent."""
        await self._do(lambda connection: _transitions.unclaim(connection, entry_id, self.owner))

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
        purchase = _transitions.SubmissionStart(submission_id, at, cost, budget)
        await self._do(
            lambda connection: _transitions.mark_sending(connection, entry_id, self.owner, purchase),
            whole=budget is not None,
            guarded=True,
        )

    async def mark_unsent(self, submission_id: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        await self._do(lambda connection: _transitions.mark_unsent(connection, submission_id))

    async def mark_accepted(
        self,
        submission_id: str,
        task_ids: Sequence[str],
        *,
        provider_batch_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        await self._do(
            lambda connection: _transitions.mark_accepted(
                connection, submission_id, task_ids, provider_batch_id, request_id
            )
        )

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        await self._do(lambda connection: _transitions.mark_refused(connection, submission_id, reason, again=again))

    async def mark_in_doubt(self, submission_id: str, reason: str) -> None:
        """Note that nobody knows what became of an attempt."""
        await self._do(lambda connection: _transitions.mark_in_doubt(connection, submission_id, reason))

    async def mark_finished(
        self,
        entry_id: int,
        state: State,
        *,
        snapshots: Sequence[Mapping[str, Any]] = (),
        credits: float | None = None,  # noqa: A002 - the provider's word; the builtin is a copyright notice
        reason: str = "",
        seconds: float | None = None,
        duration: Duration | None = None,
    ) -> None:
        """Keep an accepted entry's end, DONE or FAILED."""
        finished_verb(state)
        end = _transitions.FinishedState(state, snapshots, credits, reason, seconds, duration)
        whole = duration is not None
        await self._do(lambda connection: _transitions.mark_finished(connection, entry_id, end), whole=whole, lazy=True)

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        await self._do(lambda connection: _transitions.set_files(connection, entry_id, files))

    async def take_ownership(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        return await self._do(lambda connection: _transitions.take_ownership(connection, entry_id, self.owner))

    async def give_up_ownership(self, entry_id: int) -> None:
        """Look after an accepted entry of ours no more, so that another process may."""
        await self._do(lambda connection: _transitions.give_up_ownership(connection, entry_id, self.owner))

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        await self._do(lambda connection: _transitions.resolve_accepted(connection, entry_id, task_ids))

    async def resolve_unsent(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        await self._do(lambda connection: _transitions.resolve_unsent(connection, entry_id), whole=True)

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had an attempt with this mark."""
        return await self._do(lambda connection: _deliveries.has_submission(connection, submission_id))

    async def record_delivery(self, submission_id: str, task_id: str, *, ended: bool = True) -> Entry | None:
        """Return the entry whose attempt has this mark, None if there is none, and keep what was told of it."""
        delivery = _deliveries.DeliveryRecord(submission_id, task_id, ended, time.time())
        return await self._do(lambda connection: _deliveries.record_delivery(connection, delivery), whole=True)

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return what `delivered` has kept, by id, those after `after`; of one mark, or of all."""
        return await self._do(lambda connection: _deliveries.deliveries(connection, after, submission_id))

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, be it late."""
        return await self._do(lambda connection: _deliveries.entries_with_task(connection, task_id))

    async def change_counter(self) -> int:
        """Return a number that is another one once another process has written."""
        return await self._do(_queries.change_counter)

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
            raise LedgerError("the ledger is closed; nothing was sent or changed: open it first")
        return self._writer

    def _do(
        self, move: Move[T], *, whole: bool = False, lazy: bool = False, guarded: bool = False
    ) -> asyncio.Future[T]:
        return self._open_writer.do(move, whole=whole, lazy=lazy, guarded=guarded)

    def _start(self) -> None:
        files = LedgerFiles(self.path, self.owner, accept_copy=self._accept_copy, read_only=self._read_only)
        self._writer = Writer(files)
        self._writer.start()
