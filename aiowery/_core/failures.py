"""Classify why a request failed: whether it may be repeated, and whether it may have been charged.

Only a response in the provider's own form (`Provider.is_own_response`) is a rejection. Any other response is a page of
a proxy or gateway in between: `judged_error` turns it into an error by its HTTP status alone.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiowery._base.text import some_of
from aiowery._core.codec import lenient_number
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Request
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    DailyLimitReached,
    InsufficientCredits,
    InvalidRequest,
    NotSent,
    PermissionDenied,
    RateLimited,
    ServerError,
    SubmissionInDoubt,
    TransportError,
    UnexpectedResponse,
)

_MIN_SERVER_ERROR: Final = 500
# Request Timeout, Too Early: the same request may succeed later.
_PASSING_STATUSES: Final = frozenset({408, 425})
# Misdirected Request, Too Early: the request was not processed.
_UNREAD_STATUSES: Final = frozenset({421, 425})
_REDIRECTS: Final = range(300, 400)
_FOREIGN_ERRORS: Final[Mapping[int, type[APIError]]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: APIError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidRequest,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}
"""The errors of pages whose HTTP status shows that the request was not processed."""
_ACCOUNT_ERRORS: Final = (AuthenticationError, DailyLimitReached, InsufficientCredits, PermissionDenied)
"""Rejections because of the account: the user can correct them, and the request stays new."""
_PAUSING_STATUSES: Final = frozenset({401, 403, 407, 503})
_FOREIGN_STEPS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "check the key, base_url and any proxy",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "give the proxy's password in its URL (HTTPS_PROXY)",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "make the request smaller, or raise the limit of the proxy",
    HTTPStatus.TOO_MANY_REQUESTS: "wait before the next request",
}
_FOREIGN_STEP: Final = "if this persists, check base_url and any proxy"


class SubmissionHeld(NotSent):
    """A submission that was stopped before the first byte because submissions are paused. It returns to the queue."""


class ReturnedUnread(NotSent):
    """A request that a proxy or gateway has returned unprocessed, with HTTP 421 or 425."""


class SubmitFailure(enum.Enum):
    """The outcome of a paid submission that returned no task ids."""

    UNSENT = "it was provably not sent: it may be repeated"
    BUSY = "it was rejected because of load: it may be repeated later"
    POSTPONED = "it was rejected, not for its own sake: the caller may repeat it once the cause is gone"
    REJECTED = "it was rejected: a repeat would be rejected again"
    IN_DOUBT = "it may have been charged: it must not be repeated"


def judged_error(
    response: HttpResponse, error: APIError | UnexpectedResponse, is_own: Callable[[HttpResponse], bool]
) -> AioweryError:
    """Return the error that a response means, for which the provider's decoder has raised `error`.

    That is the decoder's, if the provider itself has sent the response. A page says nothing about the provider, the key
    or a task: its HTTP status alone decides. Task ids in it are kept, and leave a doubt, whatever the status.
    """
    is_explained = isinstance(error, UnexpectedResponse) and response.http_status < HTTPStatus.BAD_REQUEST
    is_believed = not isinstance(error, APIError) or error.is_own  # a decoder knows the form of its endpoint
    if is_explained or (is_believed and is_own(response)):
        return error
    what = f"HTTP {response.http_status} with a page that is not the provider's own ({response.excerpt!r})"
    return _foreign_error(what, response.http_status, error)


def judged_unread(error: UnexpectedResponse) -> AioweryError:
    """Return the error that a response means whose body could not be read or decoded: its HTTP status decides."""
    status = error.http_status or HTTPStatus.OK
    if status < HTTPStatus.BAD_REQUEST:
        return error
    judged = _foreign_error(str(error), status, error)
    judged.excerpt = error.excerpt
    return judged


def _foreign_error(what: str, status: int, error: APIError | UnexpectedResponse) -> AioweryError:
    message = f"{what}; {_FOREIGN_STEPS.get(status, _FOREIGN_STEP)}"
    if status in _UNREAD_STATUSES and not error.task_ids:
        unread = ReturnedUnread(message, request_id=error.request_id)
        unread.retry_after = error.retry_after
        return unread
    facts: Mapping[str, Any] = {
        "http_status": status,
        "raw": error.raw,
        "task_ids": error.task_ids,
        "request_id": error.request_id,
        "retry_after": error.retry_after,
    }
    kind = ServerError if status >= _MIN_SERVER_ERROR else _FOREIGN_ERRORS.get(status)
    if kind is None:
        return UnexpectedResponse(message, faults=("$: a response of the provider is expected",), **facts)
    foreign = kind(message, **facts)
    foreign.is_own = False
    return foreign


def classify_failure(error: Exception) -> SubmitFailure:
    """Return the outcome of a paid POST that returned no task ids.

    An HTTP status of 5xx shows nothing about the submission, also in the provider's own form, unless its code is one of
    load. The same holds for any unforeseen error, and for a response with task ids, which may have been charged.
    """
    if isinstance(error, NotSent):
        return SubmitFailure.UNSENT
    if not isinstance(error, APIError) or error.task_ids:
        return SubmitFailure.IN_DOUBT
    match error:
        case RateLimited():
            return SubmitFailure.BUSY
        case ServerError(http_status=status) if status >= _MIN_SERVER_ERROR:
            return SubmitFailure.IN_DOUBT
        case _:
            is_postponed = isinstance(error, _ACCOUNT_ERRORS) or not error.is_own
            return SubmitFailure.POSTPONED if is_postponed else SubmitFailure.REJECTED


def concerns_all(error: BaseException | None) -> bool:
    """Return True for a proxy's response that every other submission would get too, so that none should follow it."""
    match error:
        case UnexpectedResponse(http_status=status) | APIError(http_status=status, is_own=False):
            return status in _PAUSING_STATUSES
        case _:
            return False


def is_retryable(error: AioweryError) -> bool:
    """Return True if the same read may succeed a little later."""
    if isinstance(error, APIError) and error.http_status in _PASSING_STATUSES:
        return True
    if isinstance(error, UnexpectedResponse):
        return error.http_status not in _REDIRECTS
    return isinstance(error, (TransportError, RateLimited, ServerError))


def retry_after(error: BaseException | None) -> float | None:
    """Return the seconds of the pause that a response requests; None if it requests none.

    The response of a submission in doubt is the doubt's cause. A provider's decoder may pass on any value of a body, so
    the value is checked here.
    """
    if isinstance(error, SubmissionInDoubt):
        error = error.__cause__
    seconds = lenient_number(error.retry_after) if isinstance(error, (APIError, NotSent, UnexpectedResponse)) else None
    return seconds if seconds is not None and seconds >= 0 else None


def in_doubt_error(
    label: str,
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
        f"{label}: sent at {when} UTC without a clear answer ({cause}). It may have been charged, so it is"
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
