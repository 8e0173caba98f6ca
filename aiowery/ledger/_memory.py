"""A ledger in memory: the same machine as in `_moves`, over a dictionary."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from aiowery._core.durations import KINDS, REMEMBERED, Interval
from aiowery.errors import LedgerError
from aiowery.ledger._records import (
    END,
    MOST_DELIVERIES,
    NO_BATCH,
    BatchSummary,
    Duration,
    Entry,
    NewEntry,
    State,
    WebhookDelivery,
    check_budget,
    require_final,
    with_late_tasks,
    wrong_base_url,
)

_SENT = frozenset({State.SENDING, State.IN_DOUBT})
_CURIOUS = _SENT | {State.ACCEPTED}
_PRICES = 1000
_USELESS = frozenset({State.FAILED, State.IN_DOUBT})


class MemoryLedger:
    """Keeps entries for as long as it is open.

    Of those of no batch that have ended it remembers the latest `remember`, for requests like them.
    """

    def __init__(self, *, remember: int = 0) -> None:
        self.owner: str = "memory"
        self.keeps_finished: bool = remember > 0
        self.is_shared: bool = False
        self._remember = remember
        self._entries: dict[int, Entry] | None = None
        self._ids: dict[tuple[str, str], int] = {}
        self._submissions: dict[str, int] = {}
        self._deliveries: dict[str, dict[str, WebhookDelivery]] = {}
        self._last_delivery = 0
        self._alike: dict[str, dict[int, None]] = {}
        self._hosts: dict[str, str] = {}
        self._prices: dict[str, float] = {}
        self._durations: dict[str, deque[Interval]] = {}
        self._unnamed_ends: deque[int] = deque()
        self._used: defaultdict[str, float] = defaultdict(float)
        self._last = 0

    async def open(self) -> None:
        """Begin with nothing."""
        self._entries = {}

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries = None
        for facts in (
            self._ids,
            self._submissions,
            self._deliveries,
            self._alike,
            self._hosts,
            self._prices,
            self._used,
        ):
            facts.clear()
        self._durations.clear()
        self._unnamed_ends.clear()

    async def recover_abandoned(self) -> int:
        """Return 0: nobody else ever has anything here."""
        return 0

    async def add(
        self, batch: str, items: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one."""
        self._check_host(batch, items)
        facts: dict[str, Any] = {"state": State.CLAIMED, "owner": self.owner} if claim else {"state": State.NEW}
        return [(reuse and self._like(batch, item)) or self._entered(batch, item, facts) for item in items]

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Take new entries and return those that are ours now."""
        claimed = (self._move(one, {State.NEW}, state=State.CLAIMED, owner=self.owner) for one in entry_ids)
        return [entry.id for entry in claimed if entry is not None]

    async def unclaim(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent. One of no batch is forgotten."""
        entry = self._move(entry_id, {State.CLAIMED}, state=State.NEW, owner=None)
        if entry is not None and entry.batch == NO_BATCH:
            self._forget(entry)

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
        entry = self._all.get(entry_id)
        if entry is None or entry.state is not State.CLAIMED:
            raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")
        if refusal := check_budget(self._used[entry.batch], cost, budget):
            raise refusal
        facts = {"submission_id": submission_id, "sent_at": at, "cost": cost, "attempts": entry.attempts + 1}
        self._move(entry_id, {State.CLAIMED}, state=State.SENDING, **facts)
        self._submissions[submission_id] = entry_id

    async def mark_unsent(self, submission_id: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        if self._move_of(
            submission_id, {State.SENDING}, state=State.CLAIMED, submission_id=None, sent_at=None, cost=0.0
        ):
            del self._submissions[submission_id]

    async def mark_accepted(
        self,
        submission_id: str,
        task_ids: Sequence[str],
        *,
        provider_batch_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        ids = tuple(task_ids)
        facts = {"task_ids": ids, "provider_batch_id": provider_batch_id, "request_id": request_id, "reason": ""}
        if self._move_of(submission_id, _SENT, state=State.ACCEPTED, **facts):
            return
        self._note_late(self._all.get(self._submissions.get(submission_id, 0)), submission_id, ids)

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        if not again:
            failed = self._move_of(
                submission_id, {State.SENDING}, state=State.FAILED, reason=reason, owner=None, cost=0.0
            )
            self._forget_unnamed(failed)
        elif self._move_of(
            submission_id, {State.SENDING}, state=State.CLAIMED, reason=reason, submission_id=None, cost=0.0
        ):
            del self._submissions[submission_id]

    async def mark_in_doubt(self, submission_id: str, reason: str) -> None:
        """Note that nobody knows what became of an attempt."""
        self._move_of(submission_id, {State.SENDING}, state=State.IN_DOUBT, reason=reason, owner=None)

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
        if duration is not None:
            self._keep_duration(duration)
        facts: dict[str, Any] = {
            "snapshots": tuple(snapshots),
            "credits": credits,
            "reason": reason,
            "seconds": seconds,
        }
        if credits is not None:
            facts["cost"] = credits
        ended = self._move(entry_id, {State.ACCEPTED}, state=require_final(state), owner=None, **facts)
        if ended is not None and ended.state is State.DONE and credits is not None:  # what fails is given back
            self._learn(ended.price_key, credits)
        self._forget_unnamed(ended)

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        self._move(entry_id, set(State), files=tuple(files))

    async def take_ownership(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        return self._move(entry_id, {State.ACCEPTED}, owner=self.owner) is not None

    async def give_up_ownership(self, entry_id: int) -> None:
        """Look after an accepted entry of ours no more."""
        self._move(entry_id, {State.ACCEPTED}, owner=None)

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        self._settle(entry_id, state=State.ACCEPTED, task_ids=tuple(task_ids), reason="")

    async def resolve_unsent(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        self._settle(entry_id, state=State.NEW, submission_id=None, cost=0.0, reason="")

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had an attempt with this mark."""
        return self._submissions.get(submission_id, 0) in self._all

    async def record_delivery(self, submission_id: str, task_id: str, *, ended: bool = True) -> Entry | None:
        """Return the entry whose attempt has this mark, None if there is none, and keep what was told of it."""
        entry = self._all.get(self._submissions.get(submission_id, 0))
        if (
            entry is not None
            and entry.submission_id == submission_id
            and entry.task_ids
            and task_id not in entry.task_ids
        ):
            return None
        self._note_late(entry, submission_id, (task_id,))
        if (
            entry is not None
            and entry.submission_id == submission_id
            and (entry.state in _SENT or (ended and entry.state in _CURIOUS))
        ):
            self._keep(submission_id, task_id, ended=ended)
        return entry

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return what `delivered` has kept, by id, those after `after`; of one mark, or of all."""
        told = self._deliveries.values() if submission_id is None else [self._deliveries.get(submission_id, {})]
        return sorted((one for some in told for one in some.values() if one.id > after), key=lambda one: one.id)

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, be it late."""
        return [entry.id for entry in self._all.values() if task_id in (*entry.task_ids, *entry.late_task_ids)]

    async def change_counter(self) -> int:
        """Return 0: nobody else ever writes here."""
        return 0

    async def entry(self, entry_id: int) -> Entry | None:
        """Return one entry."""
        return self._all.get(entry_id)

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return a page of entries by id, those after `after`; of one batch, in some states, or all."""
        wanted = set(State if states is None else states)
        found = (
            entry
            for entry in self._all.values()
            if entry.id > after and batch in {None, entry.batch} and entry.state in wanted
        )
        return list(islice(found, limit))

    async def price(self, price_key: str) -> float | None:
        """Return what the latest entry of this price key that is done was charged; None where none was."""
        return self._prices.get(price_key)

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the bounds of the latest durations of each kind, the latest last."""
        return {kind: list(seen) for kind, seen in self._durations.items()}

    async def batches(self) -> list[BatchSummary]:
        """Return all batches in numbers, oldest first."""
        names = dict.fromkeys(entry.batch for entry in self._all.values())
        return [self._summary(name) for name in names]

    @property
    def _all(self) -> dict[int, Entry]:
        if self._entries is None:
            raise LedgerError("the ledger is closed; open it again")
        return self._entries

    def _check_host(self, batch: str, items: Sequence[NewEntry]) -> None:
        if batch == NO_BATCH or not items:
            return
        base_url = self._hosts.setdefault(batch, items[0].base_url)
        if base_url != items[0].base_url:
            raise wrong_base_url(batch, items[0], base_url)

    def _like(self, batch: str, item: NewEntry) -> Entry | None:
        """Return an entry of the same request_hash: those that are done before others, the item's own before others."""
        alike = [self._all[entry_id] for entry_id in self._alike.get(item.request_hash, ())]
        usable = (entry for entry in alike if entry.state not in _USELESS and entry.base_url == item.base_url)
        own = (batch, item.key)
        return min(
            usable,
            key=lambda entry: (entry.state is not State.DONE, (entry.batch, entry.key) != own, entry.id),
            default=None,
        )

    def _entered(self, batch: str, item: NewEntry, facts: Mapping[str, Any]) -> Entry:
        known = self._ids.get((batch, item.key)) if batch != NO_BATCH else None  # where every key is its own
        if known is not None:
            return self._all[known]
        self._last += 1
        entry = Entry(
            id=self._last,
            batch=batch,
            key=item.key,
            index=item.index,
            request=item.request,
            base_url=item.base_url,
            request_hash=item.request_hash,
            price_key=item.price_key,
            **facts,
        )
        self._all[entry.id] = entry
        if batch != NO_BATCH:
            self._ids[batch, item.key] = entry.id
        if item.request_hash:
            self._alike.setdefault(item.request_hash, {})[entry.id] = None
        return entry

    def _keep_duration(self, duration: Duration) -> None:
        seen = self._durations.pop(duration.kind, None)
        self._durations[duration.kind] = seen = deque(maxlen=REMEMBERED) if seen is None else seen
        seen.append((duration.lower, duration.upper))
        if len(self._durations) > KINDS:
            del self._durations[next(iter(self._durations))]

    def _learn(self, price_key: str, credits_: float) -> None:
        self._prices.pop(price_key, None)
        self._prices[price_key] = credits_
        if len(self._prices) > _PRICES:  # they are made of callers' words, so their number must have an end
            del self._prices[next(iter(self._prices))]

    def _move(self, entry_id: int, start: Iterable[State], /, **changes: Any) -> Entry | None:
        """Change an entry that is in one of these states; None when it is not."""
        entry = self._all.get(entry_id)
        if entry is None or entry.state not in start:
            return None
        self._all[entry_id] = moved = attrs.evolve(entry, **changes)
        if moved.cost != entry.cost:
            self._used[moved.batch] += moved.cost - entry.cost
        if entry.submission_id is not None and (
            moved.state not in _CURIOUS or moved.submission_id != entry.submission_id
        ):
            self._deliveries.pop(entry.submission_id, None)
        return moved

    def _move_of(self, submission_id: str, start: Iterable[State], /, **changes: Any) -> Entry | None:
        """Change the entry whose latest attempt this is."""
        entry = self._all.get(self._submissions.get(submission_id, 0))
        return None if entry is None or entry.submission_id != submission_id else self._move(entry.id, start, **changes)

    def _keep(self, submission_id: str, task_id: str, *, ended: bool) -> None:
        told = self._deliveries.setdefault(submission_id, {})
        before = told.get(task_id)
        if (before is None and len(told) < MOST_DELIVERIES) or (before is not None and ended and not before.finished):
            self._last_delivery += 1
            told[task_id] = WebhookDelivery(self._last_delivery, submission_id, task_id, ended)

    def _note_late(self, entry: Entry | None, submission_id: str, task_ids: Sequence[str]) -> None:
        """Note what became of an attempt after it was released."""
        if entry is not None and entry.submission_id != submission_id:
            self._all[entry.id] = attrs.evolve(entry, late_task_ids=with_late_tasks(entry, task_ids))

    def _settle(self, entry_id: int, **changes: Any) -> None:
        if self._move(entry_id, {State.IN_DOUBT}, **changes) is None:
            raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")

    def _forget_unnamed(self, entry: Entry | None) -> None:
        if entry is not None and entry.batch == NO_BATCH and entry.state in END:
            self._unnamed_ends.append(entry.id)
            if len(self._unnamed_ends) > self._remember:
                self._forget(self._all[self._unnamed_ends.popleft()])

    def _forget(self, entry: Entry) -> None:
        del self._all[entry.id]
        if entry.request_hash:
            del self._alike[entry.request_hash][entry.id]
            if not self._alike[entry.request_hash]:
                del self._alike[entry.request_hash]
        if entry.submission_id is not None:
            self._submissions.pop(entry.submission_id, None)

    def _summary(self, name: str) -> BatchSummary:
        entries = [entry for entry in self._all.values() if entry.batch == name]
        told = [entry.credits for entry in entries if entry.credits is not None]
        return BatchSummary(
            name=name,
            states=dict(Counter(entry.state for entry in entries)),
            credits=sum(told) if told else None,
            used=self._used[name],
        )
