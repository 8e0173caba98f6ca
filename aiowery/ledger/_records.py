"""Values that a ledger stores: entries, webhook deliveries, durations, and the figures of a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from aiowery._base.text import composed
from aiowery.errors import BudgetExceeded, LedgerError
from aiowery.ledger._states import State

NO_BATCH: Final = ""
"""Batch of the requests that belong to no batch."""

MAX_DELIVERIES: Final = 64
"""Number of tasks that are stored for one submission id; a forger who has the id could otherwise fill the disk."""


@attrs.frozen(kw_only=True)
class NewEntry:
    """A request that is to be added to a batch."""

    key: str
    """Key that identifies the request within its batch."""
    index: int
    """Position of the request within its batch, from 0."""
    request: Mapping[str, Any]
    """Request as a JSON object."""
    base_url: str = ""
    """URL of the provider's API to which the request is sent."""
    request_hash: str = ""
    """Hash that equal requests share, as `hash_request` returns it; empty to never stand in for an equal request."""
    price_key: str = ""
    """Key that requests of equal price share."""


@attrs.frozen(kw_only=True)
class Entry:
    """A request in the ledger, its state, and the results of its latest submission."""

    id: int
    """Number of the entry; later entries have higher ones."""
    batch: str
    """Name of the batch, `NO_BATCH` for none."""
    key: str
    """Key that identifies the request within its batch."""
    index: int
    """Position of the request within its batch, from 0."""
    request: Mapping[str, Any]
    """Request as a JSON object."""
    state: State
    """State of the entry."""
    attempts: int = 0
    """Number of submissions that were begun."""
    submission_id: str | None = None
    """Id of the latest submission; None if there is none, or it was provably not sent."""
    owner: str | None = None
    """Opening of the ledger that takes care of the entry; None for no process."""
    sent_at: float | None = None
    """Time at which the latest submission began, in seconds since the epoch."""
    task_ids: tuple[str, ...] = ()
    """Ids of the provider's tasks."""
    provider_batch_id: str | None = None
    """Id of the provider's group of tasks."""
    request_id: str | None = None
    """Id that the provider gave to the HTTP request."""
    reason: str = ""
    """Reason for the state, if there is one to report."""
    excerpt: str = ""
    """Beginning of the response that left the entry in doubt, at most 2,048 bytes; "" without one."""
    snapshots: tuple[Mapping[str, Any], ...] = ()
    """Last status of each task, as JSON objects."""
    credits: float | None = None
    """Credits that the provider reported as charged; None if it did not report them."""
    files: tuple[str, ...] = ()
    """Names of the files that were saved."""
    seconds: float | None = None
    """Seconds from acceptance to the final state."""
    late_task_ids: tuple[str, ...] = ()
    """Tasks of submissions that were resolved as unsent and turned out to have been accepted: charged in addition."""
    cost: float = 0.0
    """Credits that count against the budget: an estimate until the charge is known, then the charge."""
    base_url: str = ""
    """URL of the provider's API to which the request is sent."""
    request_hash: str = ""
    """Hash that equal requests share."""
    price_key: str = ""
    """Key that requests of equal price share."""
    reused_from: str | None = None
    """Batch to which an entry belongs whose answer was taken for this batch, `NO_BATCH` for none; None for an entry of
    its own."""


@attrs.frozen
class WebhookDelivery:
    """A task that the provider named for a submission, in a webhook delivery or in a refusal: a hint, not a proof."""

    id: int
    """Number of the delivery; later deliveries have higher ones."""
    submission_id: str
    """Id of the submission."""
    task_id: str
    """Id of the task."""
    finished: bool
    """True if the task was reported as finished."""


@attrs.frozen
class Duration:
    """Bounds of the time that a job took, as far as its polls show it."""

    kind: str
    """Kind of job; durations of one kind are comparable."""
    lower: float
    """Seconds that the job took longer than."""
    upper: float
    """Seconds that the job took at most."""


@attrs.frozen(kw_only=True)
class BatchSummary:
    """Figures of a batch."""

    name: str
    """Name of the batch, `NO_BATCH` for the entries of none."""
    states: Mapping[State, int]
    """Number of entries in each state that occurs."""
    credits: float | None = None
    """Sum of the reported credits; None if none were reported."""
    used: float = 0.0
    """Credits that count against a budget: charges, and the estimates of entries that are under way or in doubt."""

    @property
    def total(self) -> int:
        """Number of entries."""
        return sum(self.states.values())


def hash_request(request: Mapping[str, Any]) -> str:
    """Return the hash of a request as JSON; the order of its names and the composition of its letters do not matter."""
    serialized = json.dumps(_with_composed_texts(request), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(serialized.encode(), digest_size=16).hexdigest()


def _with_composed_texts(value: Any) -> Any:
    """Return a JSON value whose texts are in Unicode's form NFC: systems differ in how they write one letter."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, Mapping):
        return {name: _with_composed_texts(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_composed_texts(member) for member in value]
    return value


def wrong_base_url(batch: str, new_entry: NewEntry, base_url: str) -> LedgerError:
    """Return the error for a batch that was begun at another URL, whose results are not those of this one."""
    return LedgerError(
        f"batch {batch!r} was begun at {base_url}, not at {new_entry.base_url}; nothing was sent: give the batch"
        " another name, or another ledger"
    )


def with_late_tasks(entry: Entry, task_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the late task ids of an entry together with these."""
    return tuple(dict.fromkeys((*entry.late_task_ids, *task_ids)))[:MAX_DELIVERIES]


def check_budget(used: float, cost: float, budget: float | None) -> BudgetExceeded | None:
    """Return the error if a submission would exceed the budget, None if it may be sent.

    If its cost is unknown (0), it may be sent while any credits are left.
    """
    if budget is None or (used + cost <= budget and used < budget):
        return None
    amount = f"about {cost:g} credits" if cost else "an unknown number of credits"
    return BudgetExceeded(
        f"{used:g} of {budget:g} credits are used or held, and this takes {amount}; nothing was sent: raise the budget",
        cost=cost,
        used=used,
        budget=budget,
    )
