"""The ledger record of one submission, which writes each of its steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Collection

from aiowery._base.text import safe_text
from aiowery._core.events import log
from aiowery._core.failures import SubmitFailure, classify_failure
from aiowery._core.job_end import JobEnd
from aiowery._core.redaction import redact
from aiowery._core.request import Accepted
from aiowery._journal.serialization import dump_error, dump_snapshot
from aiowery._journal.spending import Hold
from aiowery.errors import BudgetExceeded, EmptyResult, JobLost, LedgerError, SubmissionInDoubt
from aiowery.ledger import Duration, Ledger, State


class SubmissionRecord:
    """The ledger record of one submission, updated at each of its steps.

    All attempts share one submission id, because an attempt begins only if the one before provably had no effect. If
    `in_batch`, the entry belongs to a batch and may be resumed later. A submission is not sent if `mark_sending` cannot
    be written. If an acceptance cannot be written, an error is logged and the job goes on. `is_unwritten` is True while
    the ledger lacks the outcome.
    """

    __slots__ = (
        "_hold",
        "_in_batch",
        "_is_attempt_open",
        "_is_sending_stored",
        "_ledger",
        "_submission_id",
        "_unwritten_acceptance",
        "entry_id",
        "is_unwritten",
        "price_group",
    )

    def __init__(
        self,
        ledger: Ledger,
        entry_id: int,
        submission_id: str,
        hold: Hold,
        *,
        in_batch: bool,
        price_group: str | None = None,
    ) -> None:
        self.entry_id: int = entry_id
        self.price_group: str | None = price_group
        self.is_unwritten: bool = False
        self._ledger = ledger
        self._submission_id = submission_id
        self._hold = hold
        self._in_batch = in_batch
        self._is_attempt_open = False
        self._is_sending_stored = False
        self._unwritten_acceptance: Accepted | None = None

    async def mark_sending(self) -> None:
        """Write that the first byte is about to be sent. Raises LedgerError or BudgetExceeded; then nothing is sent."""
        if self._is_attempt_open:  # an earlier attempt was rejected, for example because the API key had been replaced
            await self.mark_busy("rejected, and sent again")
        self._hold.reserve()
        self._is_attempt_open, self._is_sending_stored = True, False
        sending = self._ledger.mark_sending(
            self.entry_id, self._submission_id, time.time(), cost=self._hold.cost, budget=self._hold.budget
        )
        await _written(sending, "nothing was sent")
        self._is_sending_stored = True

    async def mark_unsent(self) -> None:
        """Write that the submission was provably not sent."""
        if self._is_attempt_open:
            self._hold.set_charge(0.0)
            await _written(self._ledger.mark_unsent(self._submission_id), "the request was not sent")
            self._is_attempt_open = False

    async def mark_busy(self, reason: str) -> None:
        """Write that the latest attempt was rejected for this reason, and that another follows."""
        if self._is_attempt_open:
            self._hold.set_charge(0.0)
            refused = self._ledger.mark_refused(self._submission_id, reason, again=True)
            await _written(refused, "the request was rejected, and nothing was charged")
            self._is_attempt_open = False

    async def mark_accepted(self, accepted: Accepted, exclusive: Collection[str] = ()) -> tuple[str, ...]:
        """Write the tasks of an accepted submission; if that fails, log their ids and retry at the end of the job.

        If another entry has some of the `exclusive` ones, nothing is written, and those are returned.
        """
        if not self._is_attempt_open:
            return ()
        try:
            return await self._store_accepted(accepted, exclusive)
        except BaseException as error:  # a ledger of the caller's own may raise anything, and the tasks are paid
            self.is_unwritten, self._unwritten_acceptance = True, accepted
            log.error(
                "accepted, and possibly charged, but not written to the ledger: tasks %s (%s)",
                ", ".join(accepted.task_ids),
                str(error) or type(error).__name__,
                extra={"entry_id": self.entry_id, "task_ids": accepted.task_ids},
            )
            if not isinstance(error, Exception):
                raise
            return ()

    async def _store_accepted(self, accepted: Accepted, exclusive: Collection[str] = ()) -> tuple[str, ...]:
        return await self._ledger.mark_accepted(
            self._submission_id,
            accepted.task_ids,
            exclusive=exclusive,
            provider_batch_id=accepted.provider_batch_id,
            request_id=accepted.request_id,
        )

    async def mark_failed(self, error: BaseException) -> None:
        """Write the reason why there is no job: the submission was not sent, was rejected, or is in doubt.

        If the rejection is not caused by the request itself, the entry stays new, to be sent another time.
        """
        if not self._is_attempt_open:
            await self._ledger.unclaim(self.entry_id)
        elif not self._is_sending_stored:
            await self.mark_unsent()
            await self._ledger.unclaim(self.entry_id)
        elif isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            excerpt = redact(error.excerpt) if isinstance(error, SubmissionInDoubt) else ""
            await self._ledger.mark_in_doubt(self._submission_id, _cause(error), excerpt=excerpt)
        elif isinstance(error, Exception) and classify_failure(error) is SubmitFailure.REJECTED:
            self._hold.set_charge(0.0)
            await self._ledger.mark_refused(self._submission_id, dump_error(error), again=False)
        else:
            await self.mark_busy(dump_error(error))
            await self._ledger.unclaim(self.entry_id)

    async def mark_finished(self, end: JobEnd, duration: Duration | None) -> None:
        """Write a job's end and its duration.

        If the job is lost or empty, the entry of a batch stays accepted: a later run may still find its tasks.
        """
        error = end.error
        if self._unwritten_acceptance is not None:  # the disk may have free space again
            await self._store_accepted(self._unwritten_acceptance)
            self.is_unwritten, self._unwritten_acceptance = False, None
        if isinstance(error, (JobLost, EmptyResult)) and self._in_batch:
            await self._ledger.give_up_ownership(self.entry_id)
            return
        credits_ = end.credits
        if credits_ is not None and self._is_attempt_open:
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


async def _written(write: Awaitable[None], fact: str) -> None:
    """Wait for a write. A ledger of the caller's own may raise anything: that becomes a LedgerError with this fact."""
    try:
        await write
    except (BudgetExceeded, LedgerError):
        raise
    except Exception as fault:
        raise LedgerError(f"the ledger raised {type(fault).__name__}: {fault}; {fact}: correct the ledger") from fault


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return safe_text(redact(str(cause))) or "interrupted while it was being sent"
