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
    UNNAMED,
    BatchSummary,
    Delivery,
    Duration,
    Entry,
    Item,
    State,
    checked_end,
    over_budget,
    with_late,
    wrong_host,
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
        self.remembers: bool = remember > 0
        self.shared: bool = False
        self._remember = remember
        self._entries: dict[int, Entry] | None = None
        self._ids: dict[tuple[str, str], int] = {}
        self._refs: dict[str, int] = {}
        self._deliveries: dict[str, dict[str, Delivery]] = {}
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
        for facts in (self._ids, self._refs, self._deliveries, self._alike, self._hosts, self._prices, self._used):
            facts.clear()
        self._durations.clear()
        self._unnamed_ends.clear()

    async def take_over(self) -> int:
        """Return 0: nobody else ever has anything here."""
        return 0

    async def enter(
        self, batch: str, items: Sequence[Item], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one."""
        self._check_host(batch, items)
        facts: dict[str, Any] = {"state": State.CLAIMED, "owner": self.owner} if claim else {"state": State.NEW}
        return [(reuse and self._like(batch, item)) or self._entered(batch, item, facts) for item in items]

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Take new entries and return those that are ours now."""
        claimed = (self._move(one, {State.NEW}, state=State.CLAIMED, owner=self.owner) for one in entry_ids)
        return [entry.id for entry in claimed if entry is not None]

    async def give_up(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent. One of no batch is forgotten."""
        entry = self._move(entry_id, {State.CLAIMED}, state=State.NEW, owner=None)
        if entry is not None and entry.batch == UNNAMED:
            self._forget(entry)

    async def fence(
        self, entry_id: int, ref: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
        entry = self._all.get(entry_id)
        if entry is None or entry.state is not State.CLAIMED:
            raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")
        if refusal := over_budget(self._used[entry.batch], cost, budget):
            raise refusal
        facts = {"ref": ref, "sent_at": at, "cost": cost, "attempts": entry.attempts + 1}
        self._move(entry_id, {State.CLAIMED}, state=State.SENDING, **facts)
        self._refs[ref] = entry_id

    async def unsent(self, ref: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        if self._move_of(ref, {State.SENDING}, state=State.CLAIMED, ref=None, sent_at=None, cost=0.0):
            del self._refs[ref]

    async def accepted(
        self, ref: str, task_ids: Sequence[str], *, batch_id: str | None = None, request_id: str | None = None
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        ids = tuple(task_ids)
        facts = {"task_ids": ids, "batch_id": batch_id, "request_id": request_id, "note": ""}
        if self._move_of(ref, _SENT, state=State.ACCEPTED, **facts):
            return
        self._note_late(self._all.get(self._refs.get(ref, 0)), ref, ids)

    async def refused(self, ref: str, note: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        if not again:
            failed = self._move_of(ref, {State.SENDING}, state=State.FAILED, note=note, owner=None, cost=0.0)
            self._forget_unnamed(failed)
        elif self._move_of(ref, {State.SENDING}, state=State.CLAIMED, note=note, ref=None, cost=0.0):
            del self._refs[ref]

    async def doubt(self, ref: str, note: str) -> None:
        """Note that nobody knows what became of an attempt."""
        self._move_of(ref, {State.SENDING}, state=State.IN_DOUBT, note=note, owner=None)

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
        if duration is not None:
            self._keep_duration(duration)
        facts: dict[str, Any] = {"snapshots": tuple(snapshots), "credits": credits, "note": note, "seconds": seconds}
        if credits is not None:
            facts["cost"] = credits
        ended = self._move(entry_id, {State.ACCEPTED}, state=checked_end(state), owner=None, **facts)
        if ended is not None and ended.state is State.DONE and credits is not None:  # what fails is given back
            self._learn(ended.price_key, credits)
        self._forget_unnamed(ended)

    async def saved(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        self._move(entry_id, set(State), files=tuple(files))

    async def look_after(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        return self._move(entry_id, {State.ACCEPTED}, owner=self.owner) is not None

    async def leave(self, entry_id: int) -> None:
        """Look after an accepted entry of ours no more."""
        self._move(entry_id, {State.ACCEPTED}, owner=None)

    async def adopt(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        self._settle(entry_id, state=State.ACCEPTED, task_ids=tuple(task_ids), note="")

    async def release(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        self._settle(entry_id, state=State.NEW, ref=None, cost=0.0, note="")

    async def knows(self, ref: str) -> bool:
        """Return True if an entry has or had an attempt with this mark."""
        return self._refs.get(ref, 0) in self._all

    async def delivered(self, ref: str, task_id: str, *, ended: bool = True) -> Entry | None:
        """Return the entry whose attempt has this mark, None if there is none, and keep what was told of it."""
        entry = self._all.get(self._refs.get(ref, 0))
        if entry is not None and entry.ref == ref and entry.task_ids and task_id not in entry.task_ids:
            return None
        self._note_late(entry, ref, (task_id,))
        if entry is not None and entry.ref == ref and (entry.state in _SENT or (ended and entry.state in _CURIOUS)):
            self._keep(ref, task_id, ended=ended)
        return entry

    async def deliveries(self, *, after: int = 0, ref: str | None = None) -> list[Delivery]:
        """Return what `delivered` has kept, by id, those after `after`; of one mark, or of all."""
        told = self._deliveries.values() if ref is None else [self._deliveries.get(ref, {})]
        return sorted((one for some in told for one in some.values() if one.id > after), key=lambda one: one.id)

    async def holders(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, be it late."""
        return [entry.id for entry in self._all.values() if task_id in (*entry.task_ids, *entry.late_ids)]

    async def version(self) -> int:
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

    def _check_host(self, batch: str, items: Sequence[Item]) -> None:
        if batch == UNNAMED or not items:
            return
        host = self._hosts.setdefault(batch, items[0].host)
        if host != items[0].host:
            raise wrong_host(batch, items[0], host)

    def _like(self, batch: str, item: Item) -> Entry | None:
        """Return an entry of the same body: those that are done before others, the item's own before others."""
        alike = [self._all[entry_id] for entry_id in self._alike.get(item.body, ())]
        usable = (entry for entry in alike if entry.state not in _USELESS and entry.host == item.host)
        own = (batch, item.key)
        return min(
            usable,
            key=lambda entry: (entry.state is not State.DONE, (entry.batch, entry.key) != own, entry.id),
            default=None,
        )

    def _entered(self, batch: str, item: Item, facts: Mapping[str, Any]) -> Entry:
        known = self._ids.get((batch, item.key)) if batch != UNNAMED else None  # where every key is its own
        if known is not None:
            return self._all[known]
        self._last += 1
        entry = Entry(
            id=self._last,
            batch=batch,
            key=item.key,
            position=item.position,
            request=item.request,
            host=item.host,
            body=item.body,
            price_key=item.price_key,
            **facts,
        )
        self._all[entry.id] = entry
        if batch != UNNAMED:
            self._ids[batch, item.key] = entry.id
        if item.body:
            self._alike.setdefault(item.body, {})[entry.id] = None
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
        if entry.ref is not None and (moved.state not in _CURIOUS or moved.ref != entry.ref):
            self._deliveries.pop(entry.ref, None)
        return moved

    def _move_of(self, ref: str, start: Iterable[State], /, **changes: Any) -> Entry | None:
        """Change the entry whose latest attempt this is."""
        entry = self._all.get(self._refs.get(ref, 0))
        return None if entry is None or entry.ref != ref else self._move(entry.id, start, **changes)

    def _keep(self, ref: str, task_id: str, *, ended: bool) -> None:
        told = self._deliveries.setdefault(ref, {})
        before = told.get(task_id)
        if (before is None and len(told) < MOST_DELIVERIES) or (before is not None and ended and not before.ended):
            self._last_delivery += 1
            told[task_id] = Delivery(self._last_delivery, ref, task_id, ended)

    def _note_late(self, entry: Entry | None, ref: str, task_ids: Sequence[str]) -> None:
        """Note what became of an attempt after it was released."""
        if entry is not None and entry.ref != ref:
            self._all[entry.id] = attrs.evolve(entry, late_ids=with_late(entry, task_ids))

    def _settle(self, entry_id: int, **changes: Any) -> None:
        if self._move(entry_id, {State.IN_DOUBT}, **changes) is None:
            raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")

    def _forget_unnamed(self, entry: Entry | None) -> None:
        if entry is not None and entry.batch == UNNAMED and entry.state in END:
            self._unnamed_ends.append(entry.id)
            if len(self._unnamed_ends) > self._remember:
                self._forget(self._all[self._unnamed_ends.popleft()])

    def _forget(self, entry: Entry) -> None:
        del self._all[entry.id]
        if entry.body:
            del self._alike[entry.body][entry.id]
            if not self._alike[entry.body]:
                del self._alike[entry.body]
        if entry.ref is not None:
            self._refs.pop(entry.ref, None)

    def _summary(self, name: str) -> BatchSummary:
        entries = [entry for entry in self._all.values() if entry.batch == name]
        told = [entry.credits for entry in entries if entry.credits is not None]
        return BatchSummary(
            name=name,
            states=dict(Counter(entry.state for entry in entries)),
            credits=sum(told) if told else None,
            used=self._used[name],
        )
