"""The errors that aiowery raises, in one tree.

    AioweryError
    ├── ConfigurationError (ValueError)       the caller's mistake, found before any request
    ├── TransportError                        no usable response
    │   ├── NotSent                           provably not sent: safe to repeat
    │   │   └── QueueTooLong                  the queue is full, or the wait too long; .position .starts_in
    │   └── NoAnswer                          may have arrived: not safe to repeat
    ├── UnexpectedResponse                    a response outside the contract; .raw .faults
    ├── APIError                              a rejection; .http_status .code .raw .task_ids .retry_after
    │   ├── InvalidRequest
    │   ├── AuthenticationError
    │   ├── PermissionDenied
    │   ├── InsufficientCredits
    │   ├── NotFound
    │   ├── ContentRejected
    │   ├── ServerError
    │   ├── DailyLimitReached
    │   └── RateLimited                       too many requests, or too many concurrent tasks
    ├── SubmissionInDoubt                     a paid POST without a clear answer, never sent again; .task_ids
    ├── JobError                              about an accepted job; .task_ids .snapshots
    │   ├── JobFailed                         the provider reports a failure
    │   ├── JobTimeout (TimeoutError)         the timeout passed, the task may still run; await .job again
    │   ├── EmptyResult                       "success" without outputs
    │   ├── JobLost                           the provider no longer knows the task
    │   └── ClientClosed                      the client was closed while the job was under way
    ├── BudgetExceeded                        rejected by the client before spending; .cost .used .budget
    ├── DownloadError                         an output could not be fetched or saved; .url .path
    ├── LedgerError                           the ledger cannot be opened, read or written; nothing was sent
    └── WebhookError                          a POST to a webhook is no delivery; .http_status for the response

Each error can be pickled, but without the live `job` of a `JobTimeout`. Its message names the next step, and its
attributes hold the ids that are known. None contains an API key, and no cause holds a request with one. A message is
one printable line of at most 2,000 characters; only that of a `ConfigurationError` may be longer, and have several
lines.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Self

from aiowery._base.snapshot import Snapshot
from aiowery._base.text import MAX_ID, MAX_STATUS, printable, safe_or_none, safe_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = (
    "APIError",
    "AioweryError",
    "AuthenticationError",
    "BudgetExceeded",
    "ClientClosed",
    "ConfigurationError",
    "ContentRejected",
    "DailyLimitReached",
    "DownloadError",
    "EmptyResult",
    "InsufficientCredits",
    "InvalidRequest",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobTimeout",
    "LedgerError",
    "NoAnswer",
    "NotFound",
    "NotSent",
    "PermissionDenied",
    "QueueTooLong",
    "RateLimited",
    "ServerError",
    "SubmissionInDoubt",
    "TransportError",
    "UnexpectedResponse",
    "WebhookError",
)


_MAX_FAULTS: Final = 64
_MAX_FAULT: Final = 300
_LAYOUT: Final = "\n\t"


class AioweryError(Exception):
    """The base class of all errors of this package.

    `request_id` is the id of the response in the provider's call history; None if there is none. `excerpt` is the
    beginning of the response that caused the error, at most 2,048 bytes without control characters; "" without one.
    """

    excerpt: str = ""

    # Every argument after the message has a default: pickling calls `cls(message)` and restores the rest from
    # `__dict__`.
    def __init__(self, message: str = "", *, request_id: str | None = None) -> None:
        super().__init__(self._clean(message))
        self.request_id: str | None = safe_or_none(request_id, MAX_ID)

    def __copy__(self) -> Self:
        """Return a copy to raise elsewhere: with all attributes and the cause, without the traceback."""
        return self.with_message(self.message)

    def with_message(self, message: str) -> Self:
        """Return a copy with another message."""
        clone = type(self)(message)
        clone.__dict__.update(self.__dict__)
        clone.__cause__ = self.__cause__
        return clone

    @property
    def message(self) -> str:
        """The text that `str(error)` returns."""
        return str(self.args[0]) if self.args else ""

    @staticmethod
    def _clean(message: str) -> str:
        return safe_text(message)


class ConfigurationError(AioweryError, ValueError):
    """The caller's mistake, found before any request. The message names the field, the value and what is valid."""

    @staticmethod
    def _clean(message: str) -> str:
        return printable(message, _LAYOUT)  # it lists the caller's own mistakes, which are not cut


class TransportError(AioweryError):
    """The network returned no usable response."""


class NotSent(TransportError):
    """The request was provably not sent (pool, DNS, connect, TLS), or returned unread (HTTP 421, 425): safe to repeat.

    `retry_after` is the pause in seconds that a response requested which returned it unread; None without one.
    """

    retry_after: float | None = None


class QueueTooLong(NotSent):
    """The queue of this API key is full, or the request would not be sent before `start_within` passes.

    `position` is the number of requests ahead (0: next). `starts_in` is the estimated number of seconds until the
    request would be sent; None if there is no estimate.
    """

    def __init__(
        self,
        message: str = "",
        *,
        position: int = 0,
        starts_in: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.position = position
        self.starts_in = starts_in


class NoAnswer(TransportError):
    """The request may have arrived, but there was no response: do not repeat a paid one without a check."""


class UnexpectedResponse(AioweryError):
    """A response outside the contract of the API.

    `raw` is the decoded body, or its beginning as text. `faults` lists at most 64 wrong values with their paths, such
    as `"$.data.task_ids[0]: a string is expected, got null"`. `task_ids` and `retry_after` are as in `APIError`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        http_status: int | None = None,
        raw: Any = None,
        faults: tuple[str, ...] = (),
        task_ids: tuple[str, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.http_status = http_status
        self.raw = raw
        self.faults: tuple[str, ...] = tuple(safe_text(fault, _MAX_FAULT) for fault in faults[:_MAX_FAULTS])
        self.task_ids = task_ids
        self.retry_after = retry_after


class APIError(AioweryError):
    """The provider rejected a request.

    `http_status` is the HTTP status, and `raw` the decoded body. `code` is the provider's own code from the body; None
    if the body is not the provider's. `retry_after` is the pause in seconds that the response requests, in its
    Retry-After header or its body; None if it requests none. `is_own` is False if the response is not in the provider's
    own form: a proxy or gateway in between has sent it.

    `task_ids` are ids that the rejection of a submission contains where an acceptance has them. Ids of other known
    tasks are left out. If any are left, the submission becomes a `SubmissionInDoubt`.
    """

    is_own: bool = True

    def __init__(
        self,
        message: str = "",
        *,
        http_status: int = 0,
        code: int | str | None = None,
        raw: Any = None,
        task_ids: tuple[str, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.http_status = http_status
        self.code: int | str | None = safe_text(code, MAX_STATUS) if isinstance(code, str) else code
        self.raw = raw
        self.task_ids = task_ids
        self.retry_after = retry_after


class InvalidRequest(APIError):
    """A parameter is wrong; the message contains the provider's explanation."""


class AuthenticationError(APIError):
    """The API key is missing, wrong or revoked."""


class PermissionDenied(APIError):
    """The API key is valid but has no permission for this (plan, model, IP address)."""


class InsufficientCredits(APIError):
    """The account cannot pay for this request."""


class NotFound(APIError):
    """The provider does not know this task, batch or path."""


class ContentRejected(APIError):
    """The provider's moderation rejected the prompt or an image."""


class ServerError(APIError):
    """The provider failed to process the request."""


class DailyLimitReached(APIError):
    """The account's daily limit is used up; retry on the next day."""


class RateLimited(APIError):
    """There were too many requests, or too many concurrent tasks.

    `is_concurrency_limit` is True if the rejection concerns the number of tasks under way instead of the requests per
    time.
    """

    def __init__(
        self,
        message: str = "",
        *,
        http_status: int = 0,
        code: int | str | None = None,
        raw: Any = None,
        task_ids: tuple[str, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        is_concurrency_limit: bool = False,
    ) -> None:
        super().__init__(
            message,
            http_status=http_status,
            code=code,
            raw=raw,
            task_ids=task_ids,
            request_id=request_id,
            retry_after=retry_after,
        )
        self.is_concurrency_limit = is_concurrency_limit


class SubmissionInDoubt(AioweryError):
    """A paid POST without a clear answer: it may have been charged, so it is never sent again automatically.

    `request` is the request, and `sent_at` the time at which it was sent, in seconds since the epoch. `__cause__` is
    the failure that occurred instead of a clear answer.

    `task_ids` are at most 64 tasks that the provider named for this request without proof. `client.job(task_id)`
    fetches one, and `aiowery doubts adopt` resolves the doubt with them. `excerpt` is the beginning of what was
    received, which may hold further ids.
    """

    def __init__(
        self,
        message: str = "",
        *,
        request: object = None,
        sent_at: float | None = None,
        task_ids: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.request = request
        self.sent_at = sent_at
        self.task_ids = task_ids


class JobError(AioweryError):
    """An error of a job that the provider accepted.

    `task_ids` are the ids of its tasks, and `snapshots` their last known status.
    """

    def __init__(
        self,
        message: str = "",
        *,
        task_ids: tuple[str, ...] = (),
        snapshots: tuple[Snapshot, ...] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.task_ids = task_ids
        self.snapshots = snapshots


class JobFailed(JobError):
    """The provider reports that every task of the job failed; the message contains its reason."""


class JobTimeout(JobError, TimeoutError):
    """The timeout passed, but the task may still run: `await error.job` waits again.

    `client.job(*error.task_ids)` returns the same job, also later or in another process. `job` is None after
    unpickling.
    """

    def __init__(
        self,
        message: str = "",
        *,
        task_ids: tuple[str, ...] = (),
        snapshots: tuple[Snapshot, ...] = (),
        request_id: str | None = None,
        job: Awaitable[Any] | None = None,
    ) -> None:
        super().__init__(message, task_ids=task_ids, snapshots=snapshots, request_id=request_id)
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {**self.__dict__, "job": None}


class EmptyResult(JobError):
    """The provider reports success but returned no output."""


class JobLost(JobError):
    """The provider does not know the task, or no longer knows it."""


class ClientClosed(JobError):
    """The client was closed while the job was under way; the task continues at the provider."""


class BudgetExceeded(AioweryError):
    """The request would exceed the budget; nothing was sent.

    All values are in credits. `cost` is the estimated price of the request; 0 if it is not known. `used` is the part of
    `budget` that was spent, or is held for submissions under way or in doubt.
    """

    def __init__(self, message: str = "", *, cost: float = 0.0, used: float = 0.0, budget: float = 0.0) -> None:
        super().__init__(message)
        self.cost = cost
        self.used = used
        self.budget = budget


class DownloadError(AioweryError):
    """An output could not be fetched or saved.

    `url` is its URL, where it can still be fetched. `path` is the file that was to be written, or None.
    """

    def __init__(self, message: str = "", *, url: str = "", path: Path | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.path = path


class LedgerError(AioweryError):
    """The ledger cannot be opened, read or written. Nothing is sent without it."""


class WebhookError(AioweryError):
    """A POST to a webhook is no delivery; `http_status` is the status for the response."""

    def __init__(self, message: str = "", *, http_status: int = 400) -> None:
        super().__init__(message)
        self.http_status = http_status
