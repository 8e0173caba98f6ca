"""A ledger in memory: the same machine as in `_moves`, over a dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from aiowery.errors import LedgerError
from aiowery.ledger._entries import END, UNNAMED, BatchSummary, Entry, Item, State, checked_end

_SENT = frozenset({State.SENDING, State.IN_DOUBT})


class MemoryLedger:
    """Keeps entries for as long as it is open; those of no batch are forgotten once they have ended."""

    def __init__(self) -> None:
        self.owner: str = "memory"
        self._entries: dict[int, Entry] | None = None
        self._ids: dict[tuple[str, str], int] = {}
        self._refs: dict[str, int] = {}
        self._last = 0

    async def open(self) -> None:
        """Begin with nothing."""
        self._entries = {}

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries = None
        self._ids.clear()
        self._refs.clear()

    async def take_over(self) -> int:
        """Return 0: nobody else ever has anything here."""
        return 0

    async def enter(self, batch: str, items: Sequence[Item]) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one."""
        return [self._entered(batch, item) for item in items]

    async def claim(self, entry_id: int) -> Entry | None:
        """Take a new entry; None when it is not new any more."""
        return self._move(entry_id, {State.NEW}, state=State.CLAIMED, owner=self.owner)

    async def give_up(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent."""
        self._move(entry_id, {State.CLAIMED}, state=State.NEW, owner=None)

    async def fence(self, entry_id: int, ref: str, at: float) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send."""
        entry = self._all.get(entry_id)
        attempts = 0 if entry is None else entry.attempts + 1
        if not self._move(entry_id, {State.CLAIMED}, state=State.SENDING, ref=ref, sent_at=at, attempts=attempts):
            raise LedgerError(f"entry {entry_id} is no longer ours to send; nothing was sent")
        self._refs[ref] = entry_id

    async def unsent(self, ref: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        if self._move_of(ref, {State.SENDING}, state=State.CLAIMED, ref=None, sent_at=None):
            del self._refs[ref]

    async def accepted(
        self, ref: str, task_ids: Sequence[str], *, batch_id: str | None = None, request_id: str | None = None
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        ids = tuple(task_ids)
        facts = {"task_ids": ids, "batch_id": batch_id, "request_id": request_id, "note": ""}
        if self._move_of(ref, _SENT, state=State.ACCEPTED, **facts):
            return
        entry = self._all.get(self._refs.get(ref, 0))
        if entry is not None and entry.ref != ref:
            late = f"an attempt that was released was accepted after all, as {', '.join(ids)}"
            self._all[entry.id] = attrs.evolve(entry, note="; ".join(filter(None, (entry.note, late))))

    async def refused(self, ref: str, note: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        if not again:
            self._forget_unnamed(self._move_of(ref, {State.SENDING}, state=State.FAILED, note=note, owner=None))
        elif self._move_of(ref, {State.SENDING}, state=State.CLAIMED, note=note, ref=None):
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
    ) -> None:
        """Keep an accepted entry's end, DONE or FAILED; forget one of no batch."""
        facts = {"snapshots": tuple(snapshots), "credits": credits, "note": note, "owner": None}
        ended = self._move(entry_id, {State.ACCEPTED}, state=checked_end(state), **facts)
        self._forget_unnamed(ended)

    async def saved(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        self._move(entry_id, set(State), files=tuple(files))

    async def look_after(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        return self._move(entry_id, {State.ACCEPTED}, owner=self.owner) is not None

    async def adopt(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        self._settle(entry_id, state=State.ACCEPTED, task_ids=tuple(task_ids), note="")

    async def release(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        self._settle(entry_id, state=State.NEW, ref=None, note="")

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

    async def batches(self) -> list[BatchSummary]:
        """Return all batches in numbers, oldest first."""
        names = dict.fromkeys(entry.batch for entry in self._all.values())
        return [self._summary(name) for name in names]

    @property
    def _all(self) -> dict[int, Entry]:
        if self._entries is None:
            raise LedgerError("the ledger is closed; open it again")
        return self._entries

    def _entered(self, batch: str, item: Item) -> Entry:
        known = self._ids.get((batch, item.key))
        if known is not None:
            return self._all[known]
        self._last += 1
        entry = Entry(
            id=self._last,
            batch=batch,
            key=item.key,
            position=item.position,
            request=item.request,
            state=State.NEW,
        )
        self._all[entry.id] = entry
        self._ids[batch, item.key] = entry.id
        return entry

    def _move(self, entry_id: int, start: Iterable[State], /, **changes: Any) -> Entry | None:
        """Change an entry that is in one of these states; None when it is not."""
        entry = self._all.get(entry_id)
        if entry is None or entry.state not in start:
            return None
        self._all[entry_id] = moved = attrs.evolve(entry, **changes)
        return moved

    def _move_of(self, ref: str, start: Iterable[State], /, **changes: Any) -> Entry | None:
        """Change the entry whose latest attempt this is."""
        entry = self._all.get(self._refs.get(ref, 0))
        return None if entry is None or entry.ref != ref else self._move(entry.id, start, **changes)

    def _settle(self, entry_id: int, **changes: Any) -> None:
        if self._move(entry_id, {State.IN_DOUBT}, **changes) is None:
            raise LedgerError(f"entry {entry_id} is not in doubt; aiowery doubts list shows those that are")

    def _forget_unnamed(self, entry: Entry | None) -> None:
        if entry is not None and entry.batch == UNNAMED and entry.state in END:
            del self._all[entry.id], self._ids[entry.batch, entry.key]
            if entry.ref is not None:
                self._refs.pop(entry.ref, None)

    def _summary(self, name: str) -> BatchSummary:
        entries = [entry for entry in self._all.values() if entry.batch == name]
        told = [entry.credits for entry in entries if entry.credits is not None]
        return BatchSummary(
            name=name, states=dict(Counter(entry.state for entry in entries)), credits=sum(told) if told else None
        )
