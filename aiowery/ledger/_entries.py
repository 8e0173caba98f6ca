"""What a ledger holds: entries, each on its way through the states."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from aiowery.errors import LedgerError


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
UNNAMED: Final = ""
"""The batch of requests that belong to none."""


def checked_end(state: State) -> State:
    """Return a state that is an end; LedgerError for any other."""
    if state not in END:
        raise LedgerError(f"{state.value!r} is no end; DONE or FAILED is needed")
    return state


@attrs.frozen(kw_only=True)
class Item:
    """What is to be entered: a request as JSON, its place in its batch, and the key under which it is one."""

    key: str
    position: int
    request: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Entry:
    """One request and what became of it.

    `ref` marks the latest attempt to send it, of which there were `attempts`; `sent_at` is when that began (the time
    of the day, in seconds). `owner` is the process that looks after it. `snapshots` are its tasks' last answers as
    JSON, `files` what was saved of them. `note` says why it is where it is.
    """

    id: int
    batch: str
    key: str
    position: int
    request: Mapping[str, Any]
    state: State
    attempts: int = 0
    ref: str | None = None
    owner: str | None = None
    sent_at: float | None = None
    task_ids: tuple[str, ...] = ()
    batch_id: str | None = None
    request_id: str | None = None
    note: str = ""
    snapshots: tuple[Mapping[str, Any], ...] = ()
    credits: float | None = None
    files: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class BatchSummary:
    """A batch in numbers: how many of its entries are in each state, and the credits that were told."""

    name: str
    states: Mapping[State, int]
    credits: float | None = None

    @property
    def total(self) -> int:
        """How many entries it has."""
        return sum(self.states.values())


def item_key(batch: str, position: int, request: Mapping[str, Any]) -> str:
    """Return a key that is the same whenever the same request stands at the same place of the same batch."""
    told = json.dumps([batch, position, request], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
