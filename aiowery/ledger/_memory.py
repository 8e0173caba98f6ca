"""Ledger in memory: the table of transitions, applied to a dictionary of entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

import attrs

from aiowery._core.durations import Interval
from aiowery.errors import LedgerError
from aiowery.ledger._memory_parts import DeliveryLog, LatestDurations, LatestPrices
from aiowery.ledger._memory_table import EntryTable
from aiowery.ledger._records import (
    NO_BATCH,
    BatchSummary,
    Duration,
    Entry,
    NewEntry,
    WebhookDelivery,
    check_budget,
)
from aiowery.ledger._states import AWAITS_DELIVERIES, TRANSITIONS, UNRESOLVED, State, Verb, finished_verb, misplaced


class MemoryLedger:
    """A ledger that keeps entries for as long as it is open.

    Of the finished entries without a batch it keeps the latest `remember`, to answer equal requests.
    """

    def __init__(self, *, remember: int = 0) -> None:
        self.owner: str = "memory"
        self.keeps_finished: bool = remember > 0
        self.is_shared: bool = False
        self._remember = remember
        self._ids = count(1)
        self._deliveries = DeliveryLog()
        self._durations = LatestDurations()
        self._prices = LatestPrices()
        self._table: EntryTable | None = None

    async def open(self) -> None:
        """Start with no entries."""
        self._table = EntryTable(self._ids, self._deliveries, self._remember)

    async def aclose(self) -> None:
        """Delete everything."""
        self._table = None
        self._deliveries.clear()
        self._durations = LatestDurations()
        self._prices = LatestPrices()

    async def recover_abandoned(self) -> int:
        """Return 0: no other process has entries here."""
        return 0

    async def add(
        self, batch: str, new_entries: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each new one, in order: the existing one of its key, or the new one."""
        table = self._open_table
        table.check_base_url(batch, new_entries)
        claimant = self.owner if claim else None
        return [self._find_or_add(batch, new_entry, claimant, reuse=reuse) for new_entry in new_entries]

    def _find_or_add(self, batch: str, new_entry: NewEntry, claimant: str | None, *, reuse: bool) -> Entry:
        table = self._open_table
        if reuse and (equal := table.find_equal(batch, new_entry)):
            return table.reuse(batch, new_entry, equal)
        known = None if reuse else table.find_reused(batch, new_entry.key)
        return known or table.find_or_add(batch, new_entry, claimant)

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Claim new entries and return the ids of those that were claimed."""
        table = self._open_table
        return [one for one in entry_ids if table.move(Verb.CLAIM, one, owner=self.owner) is not None]

    async def unclaim(self, entry_id: int) -> None:
        """Make a claimed entry new again; one without a batch is deleted."""
        entry = self._open_table.move(Verb.UNCLAIM, entry_id)
        if entry is not None and entry.batch == NO_BATCH:
            self._open_table.delete(entry)

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Record that the first byte is about to be sent."""
        table = self._open_table
        entry = table.by_id.get(entry_id)
        if entry is None or entry.state not in TRANSITIONS[Verb.MARK_SENDING].start:
            raise misplaced(Verb.MARK_SENDING, entry_id)
        if refusal := check_budget(table.spend[entry.batch], cost, budget):
            raise refusal
        attempts = entry.attempts + 1
        table.move(Verb.MARK_SENDING, entry_id, submission_id=submission_id, sent_at=at, cost=cost, attempts=attempts)

    async def mark_unsent(self, submission_id: str) -> None:
        """Record that a submission was provably not sent; its entry is claimed again."""
        if self._open_table.move_submission(Verb.MARK_UNSENT, submission_id):
            self._open_table.drop_submission(submission_id)

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
        if taken := self._taken(submission_id, exclusive):
            return taken
        ids = {"task_ids": tuple(task_ids), "provider_batch_id": provider_batch_id, "request_id": request_id}
        if self._open_table.move_submission(Verb.MARK_ACCEPTED, submission_id, **ids):
            return ()
        entry = self._open_table.by_submission(submission_id)
        if entry is not None and entry.submission_id != submission_id:
            self._open_table.add_late_tasks(entry, task_ids)
        return ()

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Record a refusal: the entry has failed, or with `again` is claimed again to be sent later."""
        verb = Verb.MARK_BUSY if again else Verb.MARK_REFUSED
        if self._open_table.move_submission(verb, submission_id, reason=reason) and again:
            self._open_table.drop_submission(submission_id)

    async def mark_in_doubt(self, submission_id: str, reason: str, *, excerpt: str = "") -> None:
        """Record that it is unknown whether a submission was accepted, with the beginning of the response."""
        self._open_table.move_submission(Verb.MARK_IN_DOUBT, submission_id, reason=reason, excerpt=excerpt)

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
        verb = finished_verb(state)
        if duration is not None:
            self._durations.add(duration)
        changes: dict[str, Any] = {
            "snapshots": tuple(snapshots),
            "credits": credits,
            "reason": reason,
            "seconds": seconds,
        }
        if credits is not None:
            changes["cost"] = credits
        finished = self._open_table.move(verb, entry_id, **changes)
        if finished is not None and state is State.DONE and credits is not None:  # a failed task is refunded
            self._prices.set(finished.price_key, credits)

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Store the names of the saved files."""
        entries = self._open_table.by_id
        if entry_id in entries:
            entries[entry_id] = attrs.evolve(entries[entry_id], files=tuple(files))

    async def take_ownership(self, entry_id: int) -> bool:
        """Become the owner of an accepted entry; return True if this ledger owns it now."""
        return self._open_table.move(Verb.TAKE_OWNERSHIP, entry_id, owner=self.owner) is not None

    async def give_up_ownership(self, entry_id: int) -> None:
        """Stop owning an accepted entry."""
        self._open_table.move(Verb.GIVE_UP_OWNERSHIP, entry_id)

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Resolve an entry in doubt: it was accepted, with these task ids."""
        self._open_table.move(Verb.RESOLVE_ACCEPTED, entry_id, task_ids=tuple(task_ids))

    async def resolve_unsent(self, entry_id: int) -> None:
        """Resolve an entry in doubt: nothing was charged, so it may be sent again."""
        self._open_table.move(Verb.RESOLVE_UNSENT, entry_id)

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had this submission."""
        return self._open_table.by_submission(submission_id) is not None

    async def record_delivery(self, submission_id: str, task_id: str, *, finished: bool = True) -> Entry | None:
        """Store a task that a webhook delivery named; return the entry of its submission, None if there is none."""
        entry = self._open_table.by_submission(submission_id)
        if entry is None:
            return None
        if entry.submission_id != submission_id:
            self._open_table.add_late_tasks(entry, (task_id,))
            return entry
        if entry.task_ids and task_id not in entry.task_ids:
            return None
        if entry.state in UNRESOLVED or (finished and entry.state in AWAITS_DELIVERIES):
            self._deliveries.store(submission_id, task_id, finished=finished)
        return entry

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return the stored deliveries with an id above `after`, in order; of one submission, or of all."""
        return self._deliveries.after(after, submission_id)

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, late tasks included."""
        return list(self._open_table.ids_with_task(task_id))

    async def change_counter(self) -> int:
        """Return 0: no other process writes here."""
        return 0

    async def entry(self, entry_id: int) -> Entry | None:
        """Return an entry, None if there is none of this id."""
        return self._open_table.by_id.get(entry_id)

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return at most `limit` entries with an id above `after`, in order; of one batch, in some states, or all."""
        wanted = set(State if states is None else states)
        entries = self._open_table.by_id.values() if batch is None else self._open_table.entries_of(batch)
        found = (entry for entry in entries if entry.id > after and entry.state in wanted)
        return list(islice(found, limit))

    async def price(self, price_key: str) -> float | None:
        """Return the credits that the latest done entry of this price key was charged; None if they are unknown."""
        return self._prices.get(price_key)

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the bounds of the latest durations of each kind, the latest last."""
        return self._durations.by_kind()

    async def batches(self) -> list[BatchSummary]:
        """Return the figures of each batch, the oldest first."""
        return self._open_table.summaries()

    @property
    def _open_table(self) -> EntryTable:
        if self._table is None:
            raise LedgerError("the ledger is closed; nothing was sent or changed: open it first")
        return self._table

    def _taken(self, submission_id: str, exclusive: Iterable[str]) -> tuple[str, ...]:
        """Return those of these tasks that another entry with the same base URL has, or that were named for a doubt."""
        own = self._open_table.by_submission(submission_id)
        if own is None:
            return ()
        others = ((task_id, other) for task_id in exclusive for other in self._entries_naming(task_id))
        return tuple(
            dict.fromkeys(task_id for task_id, other in others if other.id != own.id and other.base_url == own.base_url)
        )

    def _entries_naming(self, task_id: str) -> Iterator[Entry]:
        """Yield the entries that have a task, and the unresolved ones for which it was named."""
        table = self._open_table
        yield from (table.by_id[one] for one in table.ids_with_task(task_id))
        for submission_id in self._deliveries.submissions_with(task_id):
            named = table.by_submission(submission_id)
            if named is not None and named.state in UNRESOLVED:
                yield named
