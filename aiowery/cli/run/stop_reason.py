"""Reasons to stop submitting, and the exit codes that follow."""

from __future__ import annotations

from typing import Final

import attrs

from aiowery.cli.exit_codes import INTERRUPTED, SOME_FAILED, WRONG_USE
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    BudgetExceeded,
    DailyLimitReached,
    InsufficientCredits,
    LedgerError,
    NotSent,
    RateLimited,
)


@attrs.frozen(kw_only=True)
class StopReason:
    """A reason to submit nothing more, with the exit code of the run."""

    reason: str
    exit_code: int


BY_SIGNAL: Final = StopReason(reason="interrupted", exit_code=INTERRUPTED)
_FATAL: Final = {
    AuthenticationError: ("the provider refused the key", WRONG_USE),
    InsufficientCredits: ("no credits left", SOME_FAILED),
    DailyLimitReached: ("the daily limit is reached", SOME_FAILED),
    BudgetExceeded: ("the budget is used up", SOME_FAILED),
    LedgerError: ("the ledger cannot be written", SOME_FAILED),
}
"""Refusals that every later item would get too. The refused items have cost nothing."""

UNSENT_ERRORS: Final[tuple[type[AioweryError], ...]] = (NotSent, RateLimited, *_FATAL)


def is_foreign(error: BaseException | None) -> bool:
    """Return True for a refusal that the provider itself has not sent; its item has cost nothing."""
    return isinstance(error, APIError) and not error.is_own


def stop_reason_of(error: AioweryError) -> StopReason | None:
    """Return the reason to stop if all later items would get the same error, else None.

    The page of a proxy does not show that: submissions pause after it by themselves.
    """
    if is_foreign(error):
        return None
    for kind, (reason, exit_code) in _FATAL.items():
        if isinstance(error, kind):
            return StopReason(reason=f"{reason}: {error}", exit_code=exit_code)
    return None
