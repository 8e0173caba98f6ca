"""Protocols of a ledger, for authors of a store of their own.

A store passes the conformance suite in `aiowery.testing.ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiowery._core.durations import Interval
from aiowery.ledger._records import BatchSummary, Duration, Entry, NewEntry, WebhookDelivery
from aiowery.ledger._states import State


class EntryStore(Protocol):
    """Part of a ledger that stores entries and moves them by the table `TRANSITIONS`.

    An operation on an entry in another state changes nothing, or raises LedgerError if its transition is strict.
    """

    async def add(
        self, batch: str, new_entries: Sequence[NewEntry], *, claim: bool = False, reuse: bool = False
    ) -> list[Entry]:
        """Return an entry for each new one, in order: the existing one of its key, or the new one.

        With `claim`, new entries are claimed immediately. With `reuse`, an equal request's entry of any batch is
        returned instead: preferably a done one, never one that failed or is in doubt. It is entered into this batch
        with a pointer to that entry, which answers the key from then on, also without `reuse`. Raises LedgerError if
        the batch was begun at another base_url.
        """
        ...

    async def claim(self, entry_ids: Sequence[int]) -> list[int]:
        """Claim new entries and return the ids of those that were claimed.

        The other entries are claimed by another process, or no longer new.
        """
        ...

    async def unclaim(self, entry_id: int) -> None:
        """Make a claimed entry new again: nothing was sent. An entry without a batch is deleted."""
        ...

    async def mark_sending(
        self, entry_id: int, submission_id: str, at: float, *, cost: float = 0.0, budget: float | None = None
    ) -> None:
        """Record that the first byte is about to be sent; `at` is the time in seconds since the epoch.

        The cost counts against the budget from here on. Raises LedgerError if this ledger has not claimed the entry, or
        if other processes would not see the change. Raises BudgetExceeded if the batch would exceed the budget.
        """
        ...

    async def mark_unsent(self, submission_id: str) -> None:
        """Record that a submission was provably not sent; its entry is claimed again."""
        ...

    async def mark_accepted(
        self,
        submission_id: str,
        task_ids: Sequence[str],
        *,
        exclusive: Collection[str] = (),
        provider_batch_id: str | None = None,
        request_id: str | None = None,
    ) -> tuple[str, ...]:
        """Store the task ids of a submission, however late they arrive, and return ().

        If another entry with the same base URL has some of the `exclusive` ones already, or is being sent or in doubt
        and they were delivered for it, nothing is stored, and those are returned. If the submission was resolved as
        unsent, the ids are stored as late task ids.
        """
        ...

    async def mark_refused(self, submission_id: str, reason: str, *, again: bool) -> None:
        """Record a refusal: the entry has failed, or with `again` is claimed again to be sent later."""
        ...

    async def mark_in_doubt(self, submission_id: str, reason: str, *, excerpt: str = "") -> None:
        """Record that it is unknown whether a submission was accepted.

        `excerpt` is the beginning of the response, at most 2,048 bytes: a person may read ids out of it.
        """
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
        """Give an accepted entry its final state, DONE or FAILED.

        If the provider reported no credits, the estimate goes on counting against the budget. The `duration` is stored
        for `durations`, whatever state the entry was in. A store may delay this write for a moment, to write several
        together: if it is lost, the job is merely polled again. Raises LedgerError if the state is not final.
        """
        ...

    async def set_files(self, entry_id: int, files: Sequence[str]) -> None:
        """Store the names of the saved files."""
        ...

    async def take_ownership(self, entry_id: int) -> bool:
        """Become the owner of an accepted entry that has none; return True if this ledger owns it now."""
        ...

    async def give_up_ownership(self, entry_id: int) -> None:
        """Stop owning an accepted entry, so that another process may take it."""
        ...

    async def resolve_accepted(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Resolve an entry in doubt: it was accepted, with these task ids."""
        ...

    async def resolve_unsent(self, entry_id: int) -> None:
        """Resolve an entry in doubt: nothing was charged, so it may be sent again."""
        ...

    async def entry(self, entry_id: int) -> Entry | None:
        """Return an entry, None if there is none of this id."""
        ...

    async def entries(
        self,
        batch: str | None = None,
        states: Iterable[State] | None = None,
        *,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return at most `limit` entries with an id above `after`, in order; of one batch, in some states, or all."""
        ...

    async def change_counter(self) -> int:
        """Return a number that changes when another process has written."""
        ...


class DeliveryStore(Protocol):
    """Part of a ledger that stores webhook deliveries until the entries they belong to have finished."""

    async def has_submission(self, submission_id: str) -> bool:
        """Return True if an entry has or had this submission, also one that has finished or was released."""
        ...

    async def record_delivery(self, submission_id: str, task_id: str, *, finished: bool = True) -> Entry | None:
        """Store a task that a webhook delivery named; return the entry of its submission.

        Returns None if there is no such submission, or if the task is known not to be one of its tasks. A delivery is
        stored while the entry is being sent or in doubt; while it is accepted, if the task has `finished`. A task of a
        released submission is stored as late. At most 64 tasks are stored for one submission; a delivery that is
        repeated after a second gets a new id.
        """
        ...

    async def deliveries(self, *, after: int = 0, submission_id: str | None = None) -> list[WebhookDelivery]:
        """Return the stored deliveries with an id above `after`, in order; of one submission, or of all."""
        ...

    async def entries_with_task(self, task_id: str) -> list[int]:
        """Return the ids of the entries that have this task, late tasks included."""
        ...


class StatisticsStore(Protocol):
    """Part of a ledger that derives prices, durations and figures of batches from finished entries."""

    async def price(self, price_key: str) -> float | None:
        """Return the credits that the latest done entry of this price key was charged; None if they are unknown."""
        ...

    async def durations(self) -> dict[str, list[Interval]]:
        """Return the bounds, in seconds, of the latest 64 durations of each kind, the latest last.

        At most a thousand kinds are kept: those to which a duration was added last.
        """
        ...

    async def batches(self) -> list[BatchSummary]:
        """Return the figures of each batch, the oldest first."""
        ...


class Ledger(EntryStore, DeliveryStore, StatisticsStore, Protocol):
    """A store of entries, webhook deliveries and statistics; see `aiowery.ledger` for its guarantees.

    Every method raises LedgerError if the store cannot do what it promises.
    """

    owner: str
    """Name of this opening; the entries that it claims are its own until its process ends."""
    keeps_finished: bool
    """True if finished entries without a batch are kept."""
    is_shared: bool
    """True if other processes may write to the same ledger."""

    async def open(self) -> None:
        """Open the store."""
        ...

    async def aclose(self) -> None:
        """Finish pending writes and close the store."""
        ...

    async def recover_abandoned(self) -> int:
        """Free the entries of dead processes; return how many entries are in doubt for that reason."""
        ...
