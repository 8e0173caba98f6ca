"""Report what becomes of submissions: counts, log records, and events."""

from __future__ import annotations

from typing import Any

import attrs

from aiowery._client.submission import Submission
from aiowery._core.events import (
    EventEmitter,
    JobAccepted,
    LowCredits,
    QueueBackedOff,
    RequestInDoubt,
    RequestQueued,
    RequestRefused,
    log,
)
from aiowery._core.labels import Labels
from aiowery._core.request import Accepted
from aiowery.errors import AioweryError, APIError, InsufficientCredits, SubmissionInDoubt


@attrs.define
class SubmissionCounts:
    """Counts of how the submissions of a client ended."""

    submitted: int = 0
    accepted: int = 0
    refused: int = 0
    in_doubt: int = 0


class SubmissionReports:
    """A reporter of a client's submissions, with the maker of their labels."""

    def __init__(self, events: EventEmitter, labels: Labels) -> None:
        self.labels: Labels = labels
        self.counts: SubmissionCounts = SubmissionCounts()
        self._events = events

    def queued(self, label: str, ahead: int) -> None:
        """Report a request that has to wait, behind so many others."""
        log.debug("queued: %s, behind %d others", label, ahead, extra={"label": label, "ahead": ahead})
        self._events.emit(RequestQueued(label=label, ahead=ahead))

    def backed_off(self, submission: Submission[Any], error: APIError, pause: float, capacity: int) -> None:
        """Report a rejection because of load, after which the queue pauses."""
        log.warning(
            "%s: refused because of load (%s); the queue pauses %.1f s, capacity %d tasks",
            submission.label,
            error,
            pause,
            capacity,
            extra=submission.facts(code=error.code, request_id=error.request_id),
        )
        self._events.emit(QueueBackedOff(pause=pause, capacity=capacity, error=error))

    def accepted(self, submission: Submission[Any], accepted: Accepted) -> None:
        """Count and report an acceptance. The prompt is logged at DEBUG only."""
        self.counts.accepted += 1
        task_ids = ", ".join(accepted.task_ids)
        facts = submission.facts(
            task_ids=accepted.task_ids,
            provider_batch_id=accepted.provider_batch_id,
            request_id=accepted.request_id,
        )
        log.info("accepted: %s (%s)", submission.label, task_ids, extra=facts)
        log.debug("prompt of %s: %s", task_ids, submission.request.label, extra=facts)
        self._events.emit(
            JobAccepted(task_ids=accepted.task_ids, label=submission.label, request_id=accepted.request_id)
        )

    def refused(self, submission: Submission[Any], error: BaseException) -> None:
        """Count and report a submission that has no job, and is not in doubt."""
        self.counts.refused += 1
        known = error if isinstance(error, AioweryError) else None
        request_id = None if known is None else known.request_id
        log.info("refused: %s: %s", submission.label, error, extra=submission.facts(request_id=request_id))
        if known is not None:
            self._events.emit(RequestRefused(label=submission.label, error=known))
        if isinstance(error, InsufficientCredits):
            self._events.emit(LowCredits(error=error))

    def in_doubt(self, submission: Submission[Any], error: BaseException) -> None:
        """Count and report a submission in doubt. The message of a doubt begins with the label."""
        self.counts.in_doubt += 1
        doubt = error if isinstance(error, SubmissionInDoubt) else None
        task_ids, request_id = ((), None) if doubt is None else (doubt.task_ids, doubt.request_id)
        log.warning(
            "in doubt: %s",
            doubt or f"{submission.label}: interrupted while it was being sent",
            extra=submission.facts(task_ids=task_ids, request_id=request_id),
        )
        self._events.emit(RequestInDoubt(label=submission.label, task_ids=task_ids, request_id=request_id, error=doubt))
