"""State machine of an entry: its states, and the one table of transitions that every store implements.

    NEW -> CLAIMED -> SENDING -> ACCEPTED -> DONE | FAILED
              |          |-> FAILED (refused), or CLAIMED again (busy, provably unsent)
              |          '-> IN_DOUBT -> ACCEPTED (resolved, or ids that came late) | NEW (resolved as unsent)
              '-> NEW (unclaimed, or its process died: nothing was sent)

A transition that meets an entry in any other state has come too late and changes nothing; a strict one raises.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from aiowery.errors import LedgerError


class State(enum.StrEnum):
    """State of an entry."""

    NEW = "new"
    CLAIMED = "claimed"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in doubt"


class Verb(enum.StrEnum):
    """Operation that moves an entry; `mark_refused` and `mark_finished` stand for two each, by their argument."""

    CLAIM = "claim"
    UNCLAIM = "unclaim"
    MARK_SENDING = "mark_sending"
    MARK_UNSENT = "mark_unsent"
    MARK_ACCEPTED = "mark_accepted"
    MARK_REFUSED = "mark_refused"
    MARK_BUSY = "mark_refused again"
    MARK_IN_DOUBT = "mark_in_doubt"
    MARK_DONE = "mark_finished done"
    MARK_FAILED = "mark_finished failed"
    TAKE_OWNERSHIP = "take_ownership"
    GIVE_UP_OWNERSHIP = "give_up_ownership"
    RESOLVE_ACCEPTED = "resolve_accepted"
    RESOLVE_UNSENT = "resolve_unsent"


@attrs.frozen
class Transition:
    """Transition of an entry from one of several states to another state."""

    start: frozenset[State]
    """States in which the operation applies."""
    end: State
    """State that the entry gets."""
    resets: Mapping[str, str | float | None]
    """Fields of the entry that return to their default, with that default."""
    is_strict: bool
    """True if the operation raises LedgerError in any other state; otherwise it then changes nothing."""


_DEFAULTS: Final[Mapping[str, str | float | None]] = {
    "cost": 0.0,
    "excerpt": "",
    "owner": None,
    "reason": "",
    "sent_at": None,
    "submission_id": None,
}


def _transition(*start: State, to: State, resets: str = "", strict: bool = False) -> Transition:
    defaults = {name: _DEFAULTS[name] for name in resets.split()}
    return Transition(frozenset(start), to, MappingProxyType(defaults), strict)


TRANSITIONS: Final[Mapping[Verb, Transition]] = MappingProxyType(
    {
        Verb.CLAIM: _transition(State.NEW, to=State.CLAIMED),
        Verb.UNCLAIM: _transition(State.CLAIMED, to=State.NEW, resets="owner"),
        Verb.MARK_SENDING: _transition(State.CLAIMED, to=State.SENDING, strict=True),
        Verb.MARK_UNSENT: _transition(State.SENDING, to=State.CLAIMED, resets="submission_id sent_at cost"),
        Verb.MARK_ACCEPTED: _transition(State.SENDING, State.IN_DOUBT, to=State.ACCEPTED, resets="reason excerpt"),
        Verb.MARK_REFUSED: _transition(State.SENDING, to=State.FAILED, resets="owner cost"),
        Verb.MARK_BUSY: _transition(State.SENDING, to=State.CLAIMED, resets="submission_id cost"),
        Verb.MARK_IN_DOUBT: _transition(State.SENDING, to=State.IN_DOUBT, resets="owner"),
        Verb.MARK_DONE: _transition(State.ACCEPTED, to=State.DONE, resets="owner"),
        Verb.MARK_FAILED: _transition(State.ACCEPTED, to=State.FAILED, resets="owner"),
        Verb.TAKE_OWNERSHIP: _transition(State.ACCEPTED, to=State.ACCEPTED),
        Verb.GIVE_UP_OWNERSHIP: _transition(State.ACCEPTED, to=State.ACCEPTED, resets="owner"),
        Verb.RESOLVE_ACCEPTED: _transition(State.IN_DOUBT, to=State.ACCEPTED, resets="reason excerpt", strict=True),
        Verb.RESOLVE_UNSENT: _transition(
            State.IN_DOUBT, to=State.NEW, resets="submission_id cost reason excerpt", strict=True
        ),
    }
)
"""Start states, resulting state and cleared fields of every operation."""

UNRESOLVED: Final = frozenset({State.SENDING, State.IN_DOUBT})
"""States in which the provider may have accepted a submission whose task ids are not stored yet."""
AWAITS_DELIVERIES: Final = UNRESOLVED | {State.ACCEPTED}
"""States in which webhook deliveries are kept."""
NOT_REUSABLE: Final = frozenset({State.FAILED, State.IN_DOUBT})
"""States in which an entry does not stand in for an equal request."""

_FINISHED: Final[Mapping[State, Verb]] = {State.DONE: Verb.MARK_DONE, State.FAILED: Verb.MARK_FAILED}
FINAL: Final = frozenset(_FINISHED)
"""Final states."""


def finished_verb(state: State) -> Verb:
    """Return the operation that gives an accepted entry a final state.

    Raises LedgerError for a state that is not final.
    """
    verb = _FINISHED.get(state)
    if verb is None:
        raise LedgerError(
            f"a finished entry's state must be DONE or FAILED, got {state.value!r}; nothing was changed: use"
            " State.DONE or State.FAILED"
        )
    return verb


def misplaced(verb: Verb, entry_id: int) -> LedgerError:
    """Return the error of a strict operation on an entry in another state."""
    if verb is Verb.MARK_SENDING:
        return LedgerError(
            f"entry {entry_id} must be claimed by this process before it is sent, and is not; nothing was sent:"
            " claim it first"
        )
    return LedgerError(
        f"entry {entry_id} is not in doubt; nothing was changed: aiowery doubts list shows the entries that are"
    )
