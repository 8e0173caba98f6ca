"""Ledger in an SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread

from aiowery._base.new_files import PRIVATE
from aiowery._core.durations import Interval
from aiowery.errors import LedgerError
from aiowery.ledger import _deliveries, _queries, _transitions
from aiowery.ledger._files import LedgerFiles
from aiowery.ledger._liveness import new_owner
from aiowery.ledger._path_checks import validate_path
from aiowery.ledger._records import BatchSummary, Duration, Entry, NewEntry, WebhookDelivery
from aiowery.ledger._states import State, finished_verb
from aiowery.ledger._writer import Writer

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

_LIMIT: Final = 1000


class SqliteLedger:
    """A ledger that keeps entries in a file: when a method has returned, its change survives any crash.

    Raises ConfigurationError for a path that cannot be a file's, such as ":memory:". A file that all users of the
    machine may read is made private when it is opened, because it holds prompts and URLs.

    Several processes may open one file. `recover_abandoned` frees the entries of processes that have ended. Locks in a
    directory beside the file show which processes are alive.

    A file with a second name (a hard link), a copy and a restored backup are refused, because they lack what other
    processes send. `accept_copy` makes such a file the ledger from then on. Once the file, its log or its directory of
    locks is removed, renamed or replaced, `mark_sending` and `recover_abandoned` raise LedgerError; all other changes
    are written to the open file. With `read_only`, copies are opened too, and every method that writes raises
    LedgerError.

    A process that is forked while the file is open cannot use it, and its methods raise LedgerError there: open it in
    processes that are started by another method, such as "spawn", or fork before it is opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, accept_copy: bool = False, read_only: bool = False) -> None:
        self.path: Path = validate_path(path)
        self.owner: str = new_owner()
        self.keeps_finished: bool = True
        self.is_shared: bool = True
        self._accept_copy = accept_copy
        self._read_only = read_only
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"<SqliteLedger {self.path}>"

    @property
    def file_mode(self) -> int:
        """The mode of the open file: which users may read it, and so what is saved beside it."""
        return PRIVATE if self._writer is None else self._writer.files.mode

    async def open(self) -> None:
        """Open the file, or create it. Raises LedgerError if it cannot be a ledger."""
        await anyio.to_thread.run_sync(self._start)
        try:
            await self._do(lambda _: None)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Finish pending writes and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None and not writer.is_inherited:
            writer.close()
            await anyio.to_thread.run_sync(writer.finish)

    async def recover_abandoned(self) -> int:
        """Free the entries of dead processes; return how many entries are in doubt for that reason."""
        writer = self._open_writer
        owners = await self._do(_queries.owners)
        dead = await anyio.to_thread.run_sync(writer.files.processes.dead, owners)
        recoveries = (
            self._do(partial(_transitions.recover_from, dead=name), atomic=True, guarded=True) for name in dead
        )
        return sum(await asyncio.gather(*recoveries))

    async def add(
        self, batch: str, new_entries: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each new one, in order: the existing one of its key, or the new one."""
        claimant = self.owner if claim else None
        return await self._do(
            lambda connection: _transitions.add(connection, batch, new_entries, claimant, reuse=reuse), atomic=True
        )

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Claim new entries and return the ids of those that were claimed."""
        atomic = len(entry_ids) > 1
        return await self._do(lambda connection: _transitions.claim(connection, entry_ids, self.owner), atomic=atomic)

    async def unclaim(self, entry_id: int) -> None:
        """Make a claimed entry new again; one without a batch is deleted."""
        await self._do(lambda connection: _transitions.unclaim(connection, entry_id, self.owner))

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Record that the first byte is about to be sent."""
        start = _transitions.SubmissionStart(submission_id, at, cost, budget)
        await self._do(
            lambda connection: _transitions.mark_sending(connection, entry_id, self.owner, start),
            atomic=budget is not None,
            guarded=True,
        )

    async def mark_unsent(self, submission_id: str) -> None:
        """Record that a submission was provably not sent; its entry is claimed again."""
        await self._do(lambda connection: _transitions.mark_unsent(connection, submission_id))

    async def mark_accepted(
        self,
        submission_id: str,
        task_ids: Sequence[str],
        *,
        exclusive: Collection[str] = (),
        provider_batch_id: str | None = None,
        request_id: str | None = None,
    ) -> tuple[str, ...]:
        """Store the task ids of a submission, however late they arrive; return those that others have already."""
        acceptance = _transitions.Acceptance(submission_id, task_ids, exclusive, provider_batch_id, request_id)
        return await self._do(lambda connection: _transitions.mark_accepted(connection, acceptance))

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Record a refusal: the entry has failed, or with `again` is claimed again to be sent later."""
        await self._do(lambda connection: _transitions.mark_refused(connection, submission_id, reason, again=again))

    async def mark_in_doubt(self, submission_id: str, reason: str, *, excerpt: str = "") -> None:
        """Record that it is unknown whether a submission was accepted, with the beginning of the response."""
        await self._do(lambda connection: _transitions.mark_in_doubt(connection, submission_id, reason, excerpt))

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
        """Give an accepted entry its final state, DONE or FAILED."""
        finished_verb(state)
        end = _transitions.FinishedState(state, snapshots, credits, reason, seconds, duration)
        atomic = duration is not None
        await self._do(
            lambda connection: _transitions.mark_finished(connection, entry_id, end), atomic=atomic, delayable=True
        )

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Store the names of the saved files."""
        await self._do(lambda connection: _transitions.set_files(connection, entry_id, files), delayable=True)

    async def take_ownership(self, entry_id: int) -> bool:
        """Become the owner of an accepted entry that has none; return True if this ledger owns it now."""
        return await self._do(lambda connection: _transitions.take_ownership(connection, entry_id, self.owner))

    async def give_up_ownership(self, entry_id: int) -> None:
        """Stop owning an accepted entry, so that another process may take it."""
        await self._do(lambda connection: _transitions.give_up_ownership(connection, entry_id, self.owner))

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Resolve an entry in doubt: it was accepted, with these task ids."""
        await self._do(lambda connection: _transitions.resolve_accepted(connection, entry_id, task_ids))

    async def resolve_unsent(self, entry_id: int) -> None:
        """Resolve an entry in doubt: nothing was charged, so it may be sent again."""
        await self._do(lambda connection: _transitions.resolve_unsent(connection, entry_id), atomic=True)

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had this submission."""
        return await self._do(lambda connection: _deliveries.has_submission(connection, submission_id))

    async def record_delivery(self, submission_id: str, task_id: str, *, finished: bool = True) -> Entry | None:
        """Store a task that a webhook delivery named; return the entry of its submission, None if there is none."""
        delivery = _deliveries.DeliveryRecord(submission_id, task_id, finished, time.time())
        return await self._do(lambda connection: _deliveries.record_delivery(connection, delivery), atomic=True)

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return the stored deliveries with an id above `after`, in order; of one submission, or of all."""
        return await self._do(lambda connection: _deliveries.deliveries(connection, after, submission_id))

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, late tasks included."""
        return await self._do(lambda connection: _deliveries.entries_with_task(connection, task_id))

    async def change_counter(self) -> int:
        """Return a number that changes when another process has written."""
        return await self._do(_queries.change_counter)

    async def entry(self, entry_id: int) -> Entry | None:
        """Return an entry, None if there is none of this id."""
        return await self._do(lambda connection: _queries.entry(connection, entry_id))

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = _LIMIT,
    ) -> list[Entry]:
        """Return at most `limit` entries with an id above `after`, in order; of one batch, in some states, or all."""
        return await self._do(lambda connection: _queries.entries(connection, batch, states, after, limit))

    async def price(self, price_key: str) -> float | None:
        """Return the credits that the latest done entry of this price key was charged; None if they are unknown."""
        return await self._do(lambda connection: _queries.price(connection, price_key))

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the bounds of the latest durations of each kind, the latest last."""
        return await self._do(_queries.durations)

    async def batches(self) -> list[BatchSummary]:
        """Return the figures of each batch, the oldest first."""
        return await self._do(_queries.batches)

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise LedgerError("the ledger is closed; nothing was sent or changed: open it first")
        if self._writer.is_inherited:
            raise LedgerError(
                f"{self.path} was opened before this process was forked; nothing was sent or changed: open it in a"
                " process of its own, started by the method 'spawn' or before the ledger was opened"
            )
        return self._writer

    def _do(
        self, operation: Operation[T], *, atomic: bool = False, delayable: bool = False, guarded: bool = False
    ) -> asyncio.Future[T]:
        return self._open_writer.do(operation, atomic=atomic, delayable=delayable, guarded=guarded)

    def _start(self) -> None:
        files = LedgerFiles(self.path, self.owner, accept_copy=self._accept_copy, read_only=self._read_only)
        self._writer = Writer(files)
        self._writer.start()
