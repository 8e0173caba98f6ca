"""What was paid for, written down before the money moves.

    new -> claimed -> sending -> accepted -> done | failed
               |          |-> failed (refused), or claimed again (refused because of load, provably unsent)
               |          '-> in doubt -> accepted (adopted, or told late) | new (released)
               '-> new (given up, or its process died: nothing was sent)

Three things hold, whatever crashes when. At most once: for each entry at most one POST is begun, unless an earlier one
is proven unsent or refused, or somebody says so. Nothing is lost silently: every charged task is stored with its ids,
or belongs to an entry that is shown as in doubt. Resume: what was not sent can be sent, what was accepted be looked
after, what is done stays. "Exactly once" is nobody's to promise: between the fence (`sending`) and the durable ids lies
the server's answer time, and a crash in there leaves a doubt.

    _memory | _sqlite                      the two that there are
    _protocol                              what a ledger is
    _moves | _reads                        the machine in SQL; questions to it
    _writer                                one thread that writes
    _files | _identity | _owners | _places the files: are they the original, which processes are alive, where they lie
    _rows
    _schema
    _entries                               values
"""

from __future__ import annotations

from aiowery.ledger._memory import MemoryLedger
from aiowery.ledger._protocol import Ledger
from aiowery.ledger._records import (
    NO_BATCH,
    BatchSummary,
    Duration,
    Entry,
    NewEntry,
    State,
    WebhookDelivery,
    check_budget,
    hash_request,
    wrong_base_url,
)
from aiowery.ledger._sqlite import SqliteLedger

__all__ = (
    "NO_BATCH",
    "BatchSummary",
    "Duration",
    "Entry",
    "Ledger",
    "MemoryLedger",
    "NewEntry",
    "SqliteLedger",
    "State",
    "WebhookDelivery",
    "check_budget",
    "hash_request",
    "wrong_base_url",
)
