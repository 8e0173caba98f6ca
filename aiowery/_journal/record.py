"""One submission's page: each of its steps, written before or after it is made."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiowery._core.events import log
from aiowery._core.request import Accepted
from aiowery._http.retry import SubmitFailure, classify_failure
from aiowery._jobs.job import Job
from aiowery._journal.serialization import dump_error, dump_snapshot
from aiowery._journal.spending import BudgetAccount
from aiowery.errors import (
    APIError,
    AuthenticationError,
    DailyLimitReached,
    EmptyResult,
    InsufficientCredits,
    JobLost,
    LedgerError,
    PermissionDenied,
    SubmissionInDoubt,
)
from aiowery.ledger import Duration, Ledger, State

_CURABLE: Final = (AuthenticationError, DailyLimitReached, InsufficientCredits, PermissionDenied)
"""Refusals that speak of the account, which its owner can put right."""


class SubmissionRecord:
    """An entry that is ours, and the mark `ref` of our attempts; a `lasting` one may be asked about another time.

    One mark does for all attempts, since none begins before the one before it is known to have brought nothing.

    What was paid for and cannot be written down is told in the log, and goes on; what is yet to be sent and cannot be
    written down is not sent.
    """

    __slots__ = (
        "_begun",
        "_budget",
        "_cost",
        "_held",
        "_lasting",
        "_ledger",
        "_passed",
        "_purse",
        "_ref",
        "_unkept",
        "entry_id",
        "price_group",
        "unwritten",
    )

    def __init__(
        self,
        ledger: Ledger,
        entry_id: int,
        purse: BudgetAccount,
        ref: str,
        *,
        cost: float,
        budget: float | None,
        lasting: bool,
        sort: str | None = None,
    ) -> None:
        self.entry_id: int = entry_id
        self.price_group: str | None = sort
        self.unwritten: bool = False
        self._lasting = lasting
        self._ledger = ledger
        self._purse = purse
        self._cost = cost
        self._budget = budget
        self._held = 0.0
        self._ref = ref
        self._begun = False
        self._passed = False
        self._unkept: Accepted | None = None

    async def mark_sending(self) -> None:
        """Write that the next thing to happen is the first byte. Raises LedgerError or BudgetExceeded, unsent."""
        if self._begun:  # an answer that lets us try again, such as to a key that has been renewed
            await self.mark_busy("refused, and sent again")
        self._purse.hold(self._cost)
        self._held = self._cost
        self._begun, self._passed = True, False
        await self._ledger.mark_sending(self.entry_id, self._ref, time.time(), cost=self._cost, budget=self._budget)
        self._passed = True

    async def mark_unsent(self) -> None:
        """Write that what was about to leave provably did not."""
        if self._begun:
            self._set_charge(0.0)
            await self._ledger.mark_unsent(self._ref)
            self._begun = False

    async def mark_busy(self, why: str) -> None:
        """Write that the latest attempt was refused, and that there will be another."""
        if self._begun:
            self._set_charge(0.0)
            await self._ledger.mark_refused(self._ref, why, again=True)
            self._begun = False

    async def mark_accepted(self, accepted: Accepted) -> None:
        """Write down what was paid for."""
        if not self._begun:
            return
        try:
            await self._store_accepted(accepted)
        except LedgerError as error:
            self.unwritten, self._unkept = True, accepted
            log.error("paid for, and not in the ledger: %s (%s)", ", ".join(accepted.task_ids), error)

    async def _store_accepted(self, accepted: Accepted) -> None:
        await self._ledger.mark_accepted(
            self._ref, accepted.task_ids, provider_batch_id=accepted.provider_batch_id, request_id=accepted.request_id
        )

    async def mark_failed(self, error: BaseException) -> None:
        """Write why there is no job: it was never sent, it was refused, or nobody knows.

        A refusal that is not this request's fault leaves it new, to be sent another time.
        """
        if not self._begun:
            await self._ledger.unclaim(self.entry_id)
        elif not self._passed:
            await self.mark_unsent()
            await self._ledger.unclaim(self.entry_id)
        elif isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            await self._ledger.mark_in_doubt(self._ref, _cause(error))
        elif (
            isinstance(error, APIError)
            and classify_failure(error) is SubmitFailure.REJECTED
            and not isinstance(error, _CURABLE)
        ):
            self._set_charge(0.0)
            await self._ledger.mark_refused(self._ref, dump_error(error), again=False)
        else:
            await self.mark_busy(dump_error(error))
            await self._ledger.unclaim(self.entry_id)

    async def mark_finished(self, job: Job[Any], duration: Duration | None) -> None:
        """Write down a job's end, with what its duration teaches.

        What lasts and may yet be found when asked again has not ended.
        """
        error = job.error
        if self._unkept is not None:  # the disk may have room again
            await self._store_accepted(self._unkept)
            self.unwritten, self._unkept = False, None
        if isinstance(error, (JobLost, EmptyResult)) and self._lasting:
            await self._ledger.give_up_ownership(self.entry_id)
            return
        credits_ = job.credits
        if credits_ is not None and self._begun:
            self._set_charge(credits_)
        await self._ledger.mark_finished(
            self.entry_id,
            State.DONE if error is None else State.FAILED,
            snapshots=[dump_snapshot(snapshot) for snapshot in job.snapshots],
            credits=credits_,
            reason="" if error is None else dump_error(error),
            seconds=job.age,
            duration=duration,
        )

    def _set_charge(self, credits_: float) -> None:
        """Count so many credits from here on."""
        self._purse.used += credits_ - self._held
        self._held = credits_


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause) or "interrupted while it was being sent"
