"""What a ledger is, for those who want to keep one elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiowery._core.durations import Interval
from aiowery.ledger._records import BatchSummary, Duration, Entry, NewEntry, State, WebhookDelivery


class Ledger(Protocol):
    """Keeps entries on their way; see `aiowery.ledger` for the states. Every verb raises LedgerError when it cannot.

    `owner` names this opening: what it has claimed is its own until its process ends. `remembers` tells whether
    entries of no batch stay once they have ended, `shared` whether other processes may write to it.
    """

    owner: str
    keeps_finished: bool
    is_shared: bool

    async def open(self) -> None:
        """Make ready."""
        ...

    async def aclose(self) -> None:
        """Keep what has been told, and end."""
        ...

    async def recover_abandoned(self) -> int:
        """Free what dead processes left under way; return how many entries are in doubt for that reason."""
        ...

    async def add(
        self, batch: str, items: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each item, in order: the one that is there under its key, or a new one.

        With `claim`, those that are new are claimed at once. With `reuse`, an item gets any entry of an equal request
        that is done, or else one that is not yet (unless it failed or is in doubt), of whatever batch. LedgerError for
        a batch that was begun at another base_url.
        """
        ...

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Take new entries and return those that are ours now; the others were taken, or are not new any more."""
        ...

    async def unclaim(self, entry_id: int) -> None:
        """Let go of a claimed entry: nothing was sent. One of no batch is forgotten."""
        ...

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Note that the next thing to happen is the first byte; LedgerError when this entry is not ours to send.

        LedgerError as well where other processes would not see it. Its cost counts from here on. BudgetExceeded when
        its batch would use more than the budget.
        """
        ...

    async def mark_unsent(self, submission_id: str) -> None:
        """Note that what was about to leave provably did not: the entry is claimed again."""
        ...

    async def mark_accepted(
        self,
        submission_id: str,
        task_ids: Sequence[str],
        *,
        provider_batch_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep the ids of an attempt, however late they come."""
        ...

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Note a refusal: the entry has failed, or is claimed again to be sent later."""
        ...

    async def mark_in_doubt(self, submission_id: str, reason: str) -> None:
        """Note that nobody knows what became of an attempt."""
        ...

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
        """Keep an accepted entry's end, DONE or FAILED. Where no credits were told, its estimate goes on counting.

        With it goes the `duration`, for `durations`, whatever state the entry was in.
        It may take a moment more than others, to be written together with them: without it one would merely ask again.
        """
        ...

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Keep the names of what was saved."""
        ...

    async def take_ownership(self, entry_id: int) -> bool:
        """Take an accepted entry that nobody looks after; return whether it is ours now."""
        ...

    async def give_up_ownership(self, entry_id: int) -> None:
        """Look after an accepted entry of ours no more, so that another process may."""
        ...

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        ...

    async def resolve_unsent(self, entry_id: int) -> None:
        """Settle a doubt: nothing was charged, so it may be sent again."""
        ...

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had an attempt with this mark, also one that has ended or was released."""
        ...

    async def record_delivery(self, submission_id: str, task_id: str, *, ended: bool = True) -> Entry | None:
        """Return the entry whose attempt has this mark, and keep what was told of it.

        None where there is no such attempt, and for what is known not to be its task. Kept are the tasks of an attempt
        that is being sent or in doubt, and of an accepted one if they have `ended`, until the entry has ended itself;
        those of one that was released are late. At most 64 a mark; what is told again after a second is news again.
        """
        ...

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return what `delivered` has kept, by id, those after `after`; of one mark, or of all."""
        ...

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, be it late."""
        ...

    async def change_counter(self) -> int:
        """Return a number that is another one once another process has written."""
        ...

    async def entry(self, entry_id: int) -> Entry | None:
        """Return one entry."""
        ...

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return a page of entries by id, those after `after`; of one batch, in some states, or all."""
        ...

    async def price(self, price_key: str) -> float | None:
        """Return what the latest entry of this price key that is done was charged; None where none was."""
        ...

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the lower and upper bounds of the latest 64 durations of each kind, the latest last.

        Of at most a thousand kinds: those of which one was kept last.
        """
        ...

    async def batches(self) -> list[BatchSummary]:
        """Return all batches in numbers, oldest first."""
        ...
