"""Entries of a ledger in memory, with the indexes by which they are found."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from aiowery.ledger._memory_parts import DeliveryLog
from aiowery.ledger._records import NO_BATCH, BatchSummary, Entry, NewEntry, with_late_tasks, wrong_base_url
from aiowery.ledger._states import AWAITS_DELIVERIES, FINAL, NOT_REUSABLE, TRANSITIONS, State, Verb, misplaced


class EntryTable:
    """Entries by id; an entry without a batch is deleted once `remember` later ones have reached a final state."""

    def __init__(self, ids: Iterator[int], deliveries: DeliveryLog, remember: int) -> None:
        self.by_id: dict[int, Entry] = {}
        self.spend: defaultdict[str, float] = defaultdict(float)
        self._ids = ids
        self._deliveries = deliveries
        self._remember = remember
        self._by_key: dict[tuple[str, str], int] = {}
        self._by_submission: dict[str, int] = {}
        self._by_request: dict[str, dict[int, None]] = {}
        self._by_task: dict[str, tuple[int, ...]] = {}
        self._base_urls: dict[str, str] = {}
        self._reused: dict[tuple[str, str], tuple[int, int]] = {}
        self._final_without_batch: deque[int] = deque()

    def check_base_url(self, batch: str, new_entries: Sequence[NewEntry]) -> None:
        """Raise LedgerError if the batch was begun at another base_url."""
        if batch == NO_BATCH or not new_entries:
            return
        base_url = self._base_urls.setdefault(batch, new_entries[0].base_url)
        if base_url != new_entries[0].base_url:
            raise wrong_base_url(batch, new_entries[0], base_url)

    def find_equal(self, batch: str, new_entry: NewEntry) -> Entry | None:
        """Return an entry of the same request_hash; done entries come first, then the entry of the same key."""
        equal = [self.by_id[entry_id] for entry_id in self._by_request.get(new_entry.request_hash, ())]
        usable = (entry for entry in equal if entry.state not in NOT_REUSABLE and entry.base_url == new_entry.base_url)
        own = (batch, new_entry.key)
        return min(
            usable,
            key=lambda entry: (entry.state is not State.DONE, (entry.batch, entry.key) != own, entry.id),
            default=None,
        )

    def reuse(self, batch: str, new_entry: NewEntry, found: Entry) -> Entry:
        """Return an entry that answers a request, and enter it into the batch of the request, if it is not its own."""
        if batch != NO_BATCH and (found.batch, found.key) != (batch, new_entry.key):
            self._reused[batch, new_entry.key] = new_entry.index, found.id
        return found

    def find_reused(self, batch: str, key: str) -> Entry | None:
        """Return the entry of another batch or key that answers a request of this batch, as an entry of this batch."""
        index, entry_id = self._reused.get((batch, key), (0, 0))
        found = self.by_id.get(entry_id)
        if found is None or found.state in NOT_REUSABLE:
            return None
        return attrs.evolve(found, batch=batch, key=key, index=index, reused_from=found.batch)

    def entries_of(self, batch: str) -> list[Entry]:
        """Return the entries of a batch by their ids, those that answer its requests from elsewhere included."""
        keys = [key for of, key in self._reused if of == batch]
        reused = list(filter(None, (self.find_reused(batch, key) for key in keys)))
        shadowed = {entry.key for entry in reused}
        own = (one for one in self.by_id.values() if one.batch == batch and one.key not in shadowed)
        return sorted((*own, *reused), key=lambda entry: entry.id)

    def find_or_add(self, batch: str, new_entry: NewEntry, claimant: str | None) -> Entry:
        """Return the entry of a key, or a new one; outside batches every key is new."""
        known = self._by_key.get((batch, new_entry.key)) if batch != NO_BATCH else None
        if known is not None:
            return self.by_id[known]
        entry = Entry(
            id=next(self._ids),
            batch=batch,
            key=new_entry.key,
            index=new_entry.index,
            request=new_entry.request,
            state=State.NEW if claimant is None else State.CLAIMED,
            owner=claimant,
            base_url=new_entry.base_url,
            request_hash=new_entry.request_hash,
            price_key=new_entry.price_key,
        )
        self.by_id[entry.id] = entry
        if batch != NO_BATCH:
            self._by_key[batch, new_entry.key] = entry.id
        if new_entry.request_hash:
            self._by_request.setdefault(new_entry.request_hash, {})[entry.id] = None
        return entry

    def by_submission(self, submission_id: str) -> Entry | None:
        """Return the entry that has, or had before it was released, this submission."""
        return self.by_id.get(self._by_submission.get(submission_id, 0))

    def ids_with_task(self, task_id: str) -> tuple[int, ...]:
        """Return the ids of the entries that have this task, late tasks included."""
        return self._by_task.get(task_id, ())

    def move(self, verb: Verb, entry_id: int, /, **changes: Any) -> Entry | None:
        """Move an entry by the table of transitions, with further changes; return None if it is in another state.

        Raises LedgerError instead if the operation is strict.
        """
        transition = TRANSITIONS[verb]
        entry = self.by_id.get(entry_id)
        if entry is None or entry.state not in transition.start:
            if transition.is_strict:
                raise misplaced(verb, entry_id)
            return None
        moved = attrs.evolve(entry, **{"state": transition.end, **transition.resets, **changes})
        self.by_id[entry_id] = moved
        self._index_tasks(moved, changes.get("task_ids", ()))
        if moved.cost != entry.cost:
            self.spend[moved.batch] += moved.cost - entry.cost
        if entry.submission_id is not None and (
            moved.state not in AWAITS_DELIVERIES or moved.submission_id != entry.submission_id
        ):
            self._deliveries.discard(entry.submission_id)
        if moved.submission_id is not None:
            self._by_submission[moved.submission_id] = entry_id
        self._delete_oldest(moved)
        return moved

    def move_submission(self, verb: Verb, submission_id: str, /, **changes: Any) -> Entry | None:
        """Move the entry whose latest submission this is; return None if there is none, or it is in another state."""
        entry = self.by_submission(submission_id)
        if entry is None or entry.submission_id != submission_id:
            return None
        return self.move(verb, entry.id, **changes)

    def drop_submission(self, submission_id: str) -> None:
        """Forget a submission that was not sent."""
        self._by_submission.pop(submission_id, None)

    def add_late_tasks(self, entry: Entry, task_ids: Sequence[str]) -> None:
        """Store task ids of a submission that was accepted although it had been released."""
        changed = self.by_id[entry.id] = attrs.evolve(entry, late_task_ids=with_late_tasks(entry, task_ids))
        self._index_tasks(changed, changed.late_task_ids)

    def delete(self, entry: Entry) -> None:
        """Delete an entry without a batch."""
        del self.by_id[entry.id]
        if entry.request_hash:
            del self._by_request[entry.request_hash][entry.id]
            if not self._by_request[entry.request_hash]:
                del self._by_request[entry.request_hash]
        if entry.submission_id is not None:
            self.drop_submission(entry.submission_id)
        for task_id in (*entry.task_ids, *entry.late_task_ids):
            others = tuple(one for one in self.ids_with_task(task_id) if one != entry.id)
            if others:
                self._by_task[task_id] = others
            else:
                self._by_task.pop(task_id, None)

    def summaries(self) -> list[BatchSummary]:
        """Return the figures of each batch, the oldest first."""
        oldest = {entry.batch: entry.id for entry in reversed(self.by_id.values())}
        for (batch, _), (_, entry_id) in self._reused.items():
            oldest[batch] = min(oldest.get(batch, entry_id), entry_id)
        return [self._summary(batch) for batch in sorted(oldest, key=lambda batch: oldest[batch])]

    def _summary(self, batch: str) -> BatchSummary:
        entries = self.entries_of(batch)
        own = (entry for entry in entries if entry.reused_from is None)
        reported = [entry.credits for entry in own if entry.credits is not None]
        return BatchSummary(
            name=batch,
            states=dict(Counter(entry.state for entry in entries)),
            credits=sum(reported) if reported else None,
            used=self.spend[batch],
        )

    def _index_tasks(self, entry: Entry, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._by_task[task_id] = tuple(dict.fromkeys((*self.ids_with_task(task_id), entry.id)))

    def _delete_oldest(self, moved: Entry) -> None:
        if moved.batch == NO_BATCH and moved.state in FINAL:
            self._final_without_batch.append(moved.id)
            if len(self._final_without_batch) > self._remember:
                self.delete(self.by_id[self._final_without_batch.popleft()])
