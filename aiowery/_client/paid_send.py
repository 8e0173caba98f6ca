"""Send a paid request once: every repeat of a paid POST is decided in this file.

A repeat follows only a failure that provably sent nothing, or a rejected key. Two states are recorded around it:
`mark_sending` before the first byte, `mark_unsent` if nothing was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import anyio

from aiowery._client.submission import Submission
from aiowery._core.events import log
from aiowery._core.failures import SubmissionHeld, SubmitFailure, classify_failure, in_doubt_error, retry_after
from aiowery._core.request import Accepted
from aiowery._http.retry import Decode, IsWanted, RetryingClient
from aiowery.errors import (
    AioweryError,
    APIError,
    BudgetExceeded,
    ConfigurationError,
    LedgerError,
    UnexpectedResponse,
)


class SendRecorder(Protocol):
    """A record of a submission that stores whether its first byte was sent."""

    async def mark_sending(self) -> None:
        """Record that the first byte is next. An error raised here stops the submission."""
        ...

    async def mark_unsent(self) -> None:
        """Record that nothing was sent."""
        ...


class SubmittedTasks(Protocol):
    """The tasks that the responses to a submission name."""

    async def record_accepted(self, accepted: Accepted) -> None:
        """Record an acceptance. Raises UnexpectedResponse for one that cannot be this submission's."""
        ...

    async def record_named(self, task_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Record tasks that a response without acceptance names, and return those that are not known."""
        ...


async def send_paid(
    client: RetryingClient,
    submission: Submission[Any],
    decode: Decode[Accepted],
    *,
    recorder: SendRecorder,
    is_wanted: IsWanted,
    may_leave: Callable[[], bool],
    tasks: SubmittedTasks,
) -> Accepted:
    """POST a paid request once; again only after it provably never left, and while it is wanted.

    The tasks that a rejection names are recorded before it is classified; known ones do not count. Raises the
    provider's rejection, NotSent after the last attempt, SubmissionInDoubt, or what `recorder` raises. Raises
    SubmissionHeld, unsent, if `may_leave` returns False when the first byte is next.
    """
    before_send = partial(_before_first_byte, recorder, may_leave)
    failures = 0
    while True:
        sent_at = time.time()
        try:
            accepted = await client.send_once(
                submission.http_request, decode, is_wanted=is_wanted, before_send=before_send
            )
            await tasks.record_accepted(accepted)
        except (ConfigurationError, LedgerError, BudgetExceeded):
            raise
        except SubmissionHeld:
            await recorder.mark_unsent()
            raise
        except Exception as error:
            failure = _classify(error, submission, sent_at, await _named_tasks(error, tasks))
            if failure is SubmitFailure.UNSENT:
                await recorder.mark_unsent()
            failures += 1
            if failure is not SubmitFailure.UNSENT or failures >= client.retries.max_attempts or not is_wanted():
                raise
            pause = client.retries.backoff(failures, retry_after(error), client.random)
            log.warning("%s: %s; again in %.1f s", submission.label, error, pause, extra=submission.facts())
            await anyio.sleep(pause)
            if not is_wanted():
                raise
        else:
            return accepted


async def _before_first_byte(recorder: SendRecorder, may_leave: Callable[[], bool]) -> None:
    _check_may_leave(may_leave)
    await recorder.mark_sending()
    _check_may_leave(may_leave)  # that may have changed while the state was written


def _classify(
    error: Exception, submission: Submission[Any], sent_at: float, task_ids: tuple[str, ...]
) -> SubmitFailure:
    """Return the kind of a failure. Raises SubmissionInDoubt if the request may have been charged."""
    failure = classify_failure(error)
    if failure is SubmitFailure.IN_DOUBT:
        request_id, excerpt = (error.request_id, error.excerpt) if isinstance(error, AioweryError) else (None, "")
        raise in_doubt_error(
            submission.label, submission.request, sent_at, str(error), request_id, task_ids, excerpt
        ) from error
    return failure


def _check_may_leave(may_leave: Callable[[], bool]) -> None:
    if not may_leave():
        raise SubmissionHeld("submissions are paused; nothing was sent")


async def _named_tasks(error: Exception, tasks: SubmittedTasks) -> tuple[str, ...]:
    """Return the tasks that a response without acceptance names, less those that are known."""
    if not isinstance(error, (APIError, UnexpectedResponse)) or not error.task_ids:
        return ()
    error.task_ids = await tasks.record_named(error.task_ids)
    return error.task_ids
