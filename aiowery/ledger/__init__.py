"""Durable record of paid requests, written before the money moves.

    new -> claimed -> sending -> accepted -> done | failed
               |          |-> failed (refused), or claimed again (refused because of load, provably unsent)
               |          '-> in doubt -> accepted (resolved, or ids that came late) | new (resolved as unsent)
               '-> new (unclaimed, or its process died: nothing was sent)

Three guarantees hold, at whatever moment a process crashes:

- At most once: for each entry at most one POST is begun, unless an earlier one was provably unsent, refused, or
  resolved as unsent by the user.
- Nothing is lost silently: every charged task is stored with its ids, or belongs to an entry that is shown as in doubt.
- Resume: unsent entries can be sent, accepted entries can be polled, and finished entries stay finished.

"Exactly once" is impossible: between `mark_sending` and the stored ids lies the server's response time, and a crash in
that interval leaves an entry in doubt.

Exported:

- `Ledger`: protocol of a store. It consists of `EntryStore`, `DeliveryStore` and `StatisticsStore`.
- `SqliteLedger`, `MemoryLedger`: the two stores. `aiowery.testing.ledger` has the conformance suite for further ones.
- `TRANSITIONS`, `Transition`, `Verb`, `State`: the state machine that every store implements.
- `NewEntry`, `Entry`, `WebhookDelivery`, `Duration`, `BatchSummary`: the values that a store receives and returns.
- `NO_BATCH`: the batch name of requests that belong to no batch.
- `hash_request`: the hash that equal requests share.
- `check_budget`, `wrong_base_url`: the errors of `mark_sending` and `add`, for authors of stores.
"""

from __future__ import annotations

from aiowery._base.public_names import publish
from aiowery.ledger._memory import MemoryLedger
from aiowery.ledger._protocol import DeliveryStore, EntryStore, Ledger, StatisticsStore
from aiowery.ledger._records import (
    NO_BATCH,
    BatchSummary,
    Duration,
    Entry,
    NewEntry,
    WebhookDelivery,
    check_budget,
    hash_request,
    wrong_base_url,
)
from aiowery.ledger._sqlite import SqliteLedger
from aiowery.ledger._states import TRANSITIONS, State, Transition, Verb

__all__ = (
    "NO_BATCH",
    "TRANSITIONS",
    "BatchSummary",
    "DeliveryStore",
    "Duration",
    "Entry",
    "EntryStore",
    "Ledger",
    "MemoryLedger",
    "NewEntry",
    "SqliteLedger",
    "State",
    "StatisticsStore",
    "Transition",
    "Verb",
    "WebhookDelivery",
    "check_budget",
    "hash_request",
    "wrong_base_url",
)

publish(__name__)
