"""The ledger record of one submission: each step is written before or after it is made."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiowery._core.events import log
from aiowery._core.failures import SubmitFailure, classify_failure
from aiowery._core.job_end import JobEnd
from aiowery._core.request import Accepted
from aiowery._journal.serialization import dump_error, dump_snapshot
from aiowery._journal.spending import Hold
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
"""Rejections that concern the account, which its owner can correct."""


class SubmissionRecord:
    """The ledger record of one submission, updated at each of its steps.

    One submission id serves all attempts, since none begins before the one before it provably brought nothing. A
    `lasting` entry belongs to a batch and may be resumed later. What is yet to be sent and cannot be written is not
    sent; what was paid for and cannot be written is logged, and goes on.
    """

    __slots__ = (
        "_begun",
        "_hold",
        "_lasting",
        "_ledger",
        "_passed",
        "_submission_id",
        "_unkept",
        "entry_id",
        "price_group",
        "unwritten",
    )

    def __init__(
        self,
        ledger: Ledger,
        entry_id: int,
        submission_id: str,
        hold: Hold,
        *,
        lasting: bool,
        price_group: str | None = None,
    ) -> None:
        self.entry_id: int = entry_id
        self.price_group: str | None = price_group
        self.unwritten: bool = False
        self._ledger = ledger
        self._submission_id = submission_id
        self._hold = hold
        self._lasting = lasting
        self._begun = False
        self._passed = False
        self._unkept: Accepted | None = None

    async def mark_sending(self) -> None:
        """Write that the first byte is sent next. Raises LedgerError or BudgetExceeded, unsent."""
        if self._begun:  # an answer that lets us try again, such as to a key that has been renewed
            await self.mark_busy("refused, and sent again")
        self._hold.reserve()
        self._begun, self._passed = True, False
        await self._ledger.mark_sending(
            self.entry_id, self._submission_id, time.time(), cost=self._hold.cost, budget=self._hold.budget
        )
        self._passed = True

    async def mark_unsent(self) -> None:
        """Write that nothing was sent."""
        if self._begun:
            self._hold.set_charge(0.0)
            await self._ledger.mark_unsent(self._submission_id)
            self._begun = False

    async def mark_busy(self, reason: str) -> None:
        """Write that the latest attempt was rejected because of load, and that another follows."""
        if self._begun:
            self._hold.set_charge(0.0)
            await self._ledger.mark_refused(self._submission_id, reason, again=True)
            self._begun = False

    async def mark_accepted(self, accepted: Accepted) -> None:
        """Write the task ids of an accepted submission; a failed write is logged and repeated at the end."""
        if not self._begun:
            return
        try:
            await self._store_accepted(accepted)
        except LedgerError as error:
            self.unwritten, self._unkept = True, accepted
            log.error("paid for, and not in the ledger: %s (%s)", ", ".join(accepted.task_ids), error)

    async def _store_accepted(self, accepted: Accepted) -> None:
        await self._ledger.mark_accepted(
            self._submission_id,
            accepted.task_ids,
            provider_batch_id=accepted.provider_batch_id,
            request_id=accepted.request_id,
        )

    async def mark_failed(self, error: BaseException) -> None:
        """Write why there is no job: the request was never sent, it was rejected, or it is in doubt.

        A rejection that concerns the account leaves the entry new, to be sent another time.
        """
        if not self._begun:
            await self._ledger.unclaim(self.entry_id)
        elif not self._passed:
            await self.mark_unsent()
            await self._ledger.unclaim(self.entry_id)
        elif isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            await self._ledger.mark_in_doubt(self._submission_id, _cause(error))
        elif (
            isinstance(error, APIError)
            and classify_failure(error) is SubmitFailure.REJECTED
            and not isinstance(error, _CURABLE)
        ):
            self._hold.set_charge(0.0)
            await self._ledger.mark_refused(self._submission_id, dump_error(error), again=False)
        else:
            await self.mark_busy(dump_error(error))
            await self._ledger.unclaim(self.entry_id)

    async def mark_finished(self, end: JobEnd, duration: Duration | None) -> None:
        """Write a job's end, and how long it took.

        A lasting entry whose tasks may still be found later has not finished.
        """
        error = end.error
        if self._unkept is not None:  # the disk may have room again
            await self._store_accepted(self._unkept)
            self.unwritten, self._unkept = False, None
        if isinstance(error, (JobLost, EmptyResult)) and self._lasting:
            await self._ledger.give_up_ownership(self.entry_id)
            return
        credits_ = end.credits
        if credits_ is not None and self._begun:
            self._hold.set_charge(credits_)
        await self._ledger.mark_finished(
            self.entry_id,
            State.DONE if error is None else State.FAILED,
            snapshots=[dump_snapshot(snapshot) for snapshot in end.snapshots],
            credits=credits_,
            reason="" if error is None else dump_error(error),
            seconds=end.seconds,
            duration=duration,
        )


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause) or "interrupted while it was being sent"
