"""What a ledger holds: entries, each on its way through the states."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from aiowery.errors import BudgetExceeded, LedgerError


class State(enum.StrEnum):
    """Where an entry is."""

    NEW = "new"
    CLAIMED = "claimed"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in doubt"


END: Final = frozenset({State.DONE, State.FAILED})
NO_BATCH: Final = ""
"""The batch of requests that belong to none."""


def require_final(state: State) -> State:
    """Return a state that is an end; LedgerError for any other."""
    if state not in END:
        raise LedgerError(f"{state.value!r} is no end; DONE or FAILED is needed")
    return state


@attrs.frozen(kw_only=True)
class NewEntry:
    """What is to be entered: a request as JSON, its place in its batch, and the key under which it is one.

    `base_url` is the address that it goes to; `request_hash` is the same for all equal requests, `price_key` for all
    that cost the same.
    """

    key: str
    index: int
    request: Mapping[str, Any]
    base_url: str = ""
    request_hash: str = ""
    price_key: str = ""


@attrs.frozen(kw_only=True)
class Entry:
    """One request and what became of it.

    `submission_id` marks the latest attempt to send it, of which there were `attempts`; `sent_at` is when that began
    (the time of the day, in seconds). `owner` is the process that looks after it. `snapshots` are its tasks' last
    answers as JSON, `files` what was saved of them. `reason` says why it is where it is. `seconds` is how long it took.
    `cost` is what it weighs on the budget of its batch: an estimate while it is under way or in doubt, then what was
    charged. `late_task_ids` are tasks of attempts that were released and turned out to have been accepted: charged
    besides. `base_url` is the address of whom it was meant for; `request_hash` and `price_key` are as in `Item`.
    """

    id: int
    batch: str
    key: str
    index: int
    request: Mapping[str, Any]
    state: State
    attempts: int = 0
    submission_id: str | None = None
    owner: str | None = None
    sent_at: float | None = None
    task_ids: tuple[str, ...] = ()
    provider_batch_id: str | None = None
    request_id: str | None = None
    reason: str = ""
    snapshots: tuple[Mapping[str, Any], ...] = ()
    credits: float | None = None
    files: tuple[str, ...] = ()
    seconds: float | None = None
    late_task_ids: tuple[str, ...] = ()
    cost: float = 0.0
    base_url: str = ""
    request_hash: str = ""
    price_key: str = ""


@attrs.frozen
class WebhookDelivery:
    """A task that the provider has named under the mark `submission_id` of an attempt, and whether as `ended`.

    It did so in a webhook delivery, or in a refusal of that attempt. A hint, not a proof.
    """

    id: int
    submission_id: str
    task_id: str
    finished: bool


@attrs.frozen
class Duration:
    """How long a job of a kind took, as far as it was seen: longer than `lower` seconds, no longer than `upper`."""

    kind: str
    lower: float
    upper: float


MOST_DELIVERIES: Final = 64
"""How many tasks may be told of under one mark; who knows the mark could otherwise fill the disk."""


@attrs.frozen(kw_only=True)
class BatchSummary:
    """A batch in numbers: its entries in each state, the credits that were told, and those its budget counts as used.

    The latter are what was charged, and the estimates of what is under way or in doubt.
    """

    name: str
    states: Mapping[State, int]
    credits: float | None = None
    used: float = 0.0

    @property
    def total(self) -> int:
        """How many entries it has."""
        return sum(self.states.values())


def hash_request(request: Mapping[str, Any]) -> str:
    """Return what equal requests have in common: a hash of the request as JSON, whatever the order of its names."""
    told = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def wrong_base_url(batch: str, item: NewEntry, base_url: str) -> LedgerError:
    """Return what says that a batch was begun at another address, whose results are not those of this one."""
    return LedgerError(
        f"batch {batch!r} was begun at {base_url}, not at {item.base_url}; nothing was sent: give the batch another"
        " name, or another ledger"
    )


def with_late_tasks(entry: Entry, task_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the late ids of an entry, with these too."""
    return tuple(dict.fromkeys((*entry.late_task_ids, *task_ids)))[:MOST_DELIVERIES]


def check_budget(used: float, cost: float, budget: float | None) -> BudgetExceeded | None:
    """Return why something must not be bought, if so; one of unknown cost may be while anything is left."""
    if budget is None or (used + cost <= budget and used < budget):
        return None
    what = f"about {cost:g} credits" if cost else "an unknown number of credits"
    return BudgetExceeded(
        f"{used:g} of {budget:g} credits are used or held, and this takes {what}; nothing was sent: raise the budget",
        cost=cost,
        used=used,
        budget=budget,
    )
