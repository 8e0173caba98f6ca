"""Classify why a request failed: whether it may be repeated, and whether it may have been charged."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from typing import Any

from aiowery._base.text import some_of
from aiowery._core.codec import lenient_number
from aiowery._core.request import Request
from aiowery.errors import (
    AioweryError,
    APIError,
    NotSent,
    RateLimited,
    ServerError,
    SubmissionInDoubt,
    TransportError,
    UnexpectedResponse,
)

_MIN_SERVER_ERROR = 500
# Request Timeout, Too Early: the same request may succeed later.
_PASSING_STATUSES = frozenset({408, 425})


class SubmissionHeld(NotSent):
    """A submission that was stopped before the first byte because submissions are paused. It returns to the queue."""


class SubmitFailure(enum.Enum):
    """The outcome of a paid submission that returned no task ids."""

    UNSENT = "it was provably not sent: it may be repeated"
    BUSY = "it was rejected because of load: it may be repeated later"
    REJECTED = "it was rejected: a repeat would be rejected again"
    IN_DOUBT = "it may have been charged: it must not be repeated"


def classify_failure(error: Exception) -> SubmitFailure:
    """Return the outcome of a paid POST that returned no task ids.

    An error page of a gateway (500, 502, 504, or 503 without the provider's own body) shows nothing about the
    provider behind it, so the submission is in doubt. The same holds for any unforeseen error. It also holds for a
    rejection with task ids, whatever its status, because those tasks may have been charged.
    """
    match error:
        case APIError(task_ids=(_, *_)):
            return SubmitFailure.IN_DOUBT
        case NotSent():
            return SubmitFailure.UNSENT
        case RateLimited() | ServerError(http_status=503, code=int()):
            return SubmitFailure.BUSY
        case ServerError(http_status=status) if status >= _MIN_SERVER_ERROR:
            return SubmitFailure.IN_DOUBT
        case APIError():
            return SubmitFailure.REJECTED
        case _:
            return SubmitFailure.IN_DOUBT


def is_retryable(error: AioweryError) -> bool:
    """Return True if the same read may succeed a little later."""
    if isinstance(error, APIError) and error.http_status in _PASSING_STATUSES:
        return True
    return isinstance(error, (TransportError, UnexpectedResponse, RateLimited, ServerError))


def retry_after(error: BaseException | None) -> float | None:
    """Return the seconds of the pause that a response requests; None if it requests none.

    The response of a submission in doubt is the doubt's cause. A provider's decoder may pass on any value of a body, so
    the value is checked here.
    """
    if isinstance(error, SubmissionInDoubt):
        error = error.__cause__
    seconds = lenient_number(error.retry_after) if isinstance(error, (APIError, UnexpectedResponse)) else None
    return seconds if seconds is not None and seconds >= 0 else None


def in_doubt_error(
    request: Request[Any],
    sent_at: float,
    cause: str,
    request_id: str | None = None,
    task_ids: Sequence[str] = (),
    excerpt: str = "",
) -> SubmissionInDoubt:
    """Return the error for a request that may have been charged.

    `sent_at` is in seconds since the epoch. The provider named `task_ids` without proof that they belong to the
    request. `excerpt` is the beginning of what was received.
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sent_at))
    doubt = SubmissionInDoubt(
        f"{request.label}: sent at {when} UTC without a clear answer ({cause}). It may have been charged, so it is"
        f" not sent again automatically: {_advice(task_ids)}",
        request=request,
        sent_at=sent_at,
        task_ids=tuple(task_ids),
        request_id=request_id,
    )
    doubt.excerpt = excerpt
    return doubt


def _advice(task_ids: Sequence[str]) -> str:
    if not task_ids:
        return "check the provider's call history before you repeat it"
    return (
        f"the provider named {some_of(task_ids)}; client.job(task_id) fetches a task, and `aiowery doubts adopt`"
        " resolves the doubt with the tasks of this request"
    )


def client_closing_error() -> NotSent:
    """Return the error for submissions that are waiting when the client stops submitting."""
    return NotSent("the client has stopped submitting. Nothing was sent: use an open client")
