"""Every error that aiowery raises, in one tree.

    AioweryError
    ├── ConfigurationError (ValueError)       the caller's mistake, found before any request
    ├── TransportError                        no usable answer
    │   ├── NotSent                           provably never left: safe to repeat
    │   │   └── QueueTooLong                  its turn would come too late; .position .starts_in
    │   └── NoAnswer                          may have arrived: not safe to repeat
    ├── UnexpectedResponse                    an answer outside the contract; .raw and the paths at fault
    ├── APIError                              a refusal; .http_status .code .raw .task_ids
    │   ├── InvalidRequest
    │   ├── AuthenticationError
    │   ├── PermissionDenied
    │   ├── InsufficientCredits
    │   ├── NotFound
    │   ├── ContentRejected
    │   ├── ServerError
    │   ├── DailyLimitReached
    │   └── RateLimited                       .retry_after (also "too many tasks at once")
    ├── SubmissionInDoubt                     a paid POST without a clear answer, never re-sent by itself; .task_ids
    ├── JobError                              about a task that exists; .task_ids .snapshots
    │   ├── JobFailed                         the provider says so, with its reason
    │   ├── JobTimeout (TimeoutError)         our patience ended, the task may not have: .job re-awaits it
    │   ├── EmptyResult                       "success" without outputs
    │   ├── JobLost                           the provider no longer knows it
    │   └── ClientClosed                      the client was closed while the job was under way
    ├── BudgetExceeded                        refused here, before spending; .cost .used .budget
    ├── DownloadError                         an output that could not be fetched or saved; .url .path
    ├── LedgerError                           the record of what was paid for cannot be kept; nothing was sent
    └── WebhookError                          what was POSTed to a webhook is no delivery; .http_status to answer with

Each one pickles (the live `job` of a `JobTimeout` stays behind), says the next step in its message and carries
the ids it knows of. None ever holds an API key.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Self

from aiowery._base.snapshot import Snapshot

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


class AioweryError(Exception):
    """Root of all errors of this package.

    `request_id` is whatever id the provider's answer carried for its own call history, or None.
    """

    # Every argument after the message has a default: Exception's own pickling calls `cls(message)` and
    # restores the rest from `__dict__`.
    def __init__(self, message: str = "", *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id

    def __copy__(self) -> Self:
        """Return a twin to raise elsewhere: with all facts and the cause, without the traceback."""
        twin = type(self)(*self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self.__cause__
        return twin

    @property
    def message(self) -> str:
        """The sentence that `str(error)` shows."""
        return str(self.args[0]) if self.args else ""


class ConfigurationError(AioweryError, ValueError):
    """The caller's mistake, found before any request: names the field, the value and the way out."""


class TransportError(AioweryError):
    """No usable answer came from the network."""


class NotSent(TransportError):
    """The request provably never left this machine (pool, DNS, connect, TLS): safe to repeat."""


class QueueTooLong(NotSent):
    """The line for this credential is full, or the request's turn would come after `start_within`.

    `position` is how many stand ahead (0: next), `starts_in` the estimated seconds until it would be sent.
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
    """The request may have arrived, and no answer came: a paid one must not be repeated blindly."""


class UnexpectedResponse(AioweryError):
    """An answer outside the contract.

    `raw` is the decoded body (or its beginning as text), `faults` names each place at fault, such as
    `"$.data.task_ids[0]: a string is expected, got null"`. `task_ids` is as in `APIError`.
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
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.http_status = http_status
        self.raw = raw
        self.faults = faults
        self.task_ids = task_ids


class APIError(AioweryError):
    """The provider refused.

    `http_status` is the HTTP status, `code` the provider's own code from the body (None when the body was not
    the provider's), `raw` the decoded body. `task_ids` are ids that the refusal of a submission holds where an
    acceptance holds them, and that belong to no other known task: such a submission becomes a `SubmissionInDoubt`.
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
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.http_status = http_status
        self.code = code
        self.raw = raw
        self.task_ids = task_ids


class InvalidRequest(APIError):
    """A parameter is wrong; the message holds the provider's words for which."""


class AuthenticationError(APIError):
    """The key is missing, wrong or revoked."""


class PermissionDenied(APIError):
    """The key is known but may not do this (plan, model, IP address)."""


class InsufficientCredits(APIError):
    """The account cannot pay for this request."""


class NotFound(APIError):
    """The provider does not know this task, batch or path."""


class ContentRejected(APIError):
    """Moderation refused the prompt or a picture."""


class ServerError(APIError):
    """The provider's own failure."""


class DailyLimitReached(APIError):
    """The account's daily limit is used up; a repeat helps only tomorrow."""


class RateLimited(APIError):
    """Too many requests, or too many tasks at once. `retry_after` is in seconds where the provider said it.

    `is_concurrency_limit` is true when the refusal speaks of tasks in flight rather than of requests per time.
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
        super().__init__(message, http_status=http_status, code=code, raw=raw, task_ids=task_ids, request_id=request_id)
        self.retry_after = retry_after
        self.is_concurrency_limit = is_concurrency_limit


class SubmissionInDoubt(AioweryError):
    """A paid POST without a clear answer: it may have been charged, so it is never sent again by itself.

    `request` is what was asked, `sent_at` the wall-clock time (seconds since the epoch) at which it went out,
    `__cause__` what came instead of an answer. `task_ids` are tasks that the provider has named for this request
    without proof, at most 64: `client.job(task_id)` fetches one, `aiowery doubts adopt` settles the doubt with them.
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
    """About a job that the provider accepted: `task_ids` are known, `snapshots` is what was last seen."""

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
    """The provider says that every task of the job failed; the message holds its reason."""


class JobTimeout(JobError, TimeoutError):
    """Our patience ended, the task may not have: `await error.job` waits again.

    `client.job(*error.task_ids)` gives the same job, later or elsewhere too.
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
    """The provider reports success but lists no output."""


class JobLost(JobError):
    """The provider no longer knows the task (or never did)."""


class ClientClosed(JobError):
    """The client was closed while the job was under way; the task goes on at the provider."""


class BudgetExceeded(AioweryError):
    """Sending this would spend more credits than the budget allows; nothing was sent.

    `cost` is the request's estimate (0 where nobody knows it), `used` what has been spent or is held for what is under
    way or in doubt, of `budget`.
    """

    def __init__(self, message: str = "", *, cost: float = 0.0, used: float = 0.0, budget: float = 0.0) -> None:
        super().__init__(message)
        self.cost = cost
        self.used = used
        self.budget = budget


class DownloadError(AioweryError):
    """An output could not be fetched or saved; `url` still holds it, `path` is where it should have gone."""

    def __init__(self, message: str = "", *, url: str = "", path: Path | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.path = path


class LedgerError(AioweryError):
    """The record of what is paid for cannot be opened, read or written; without it nothing is sent."""


class WebhookError(AioweryError):
    """What was POSTed to a webhook is no delivery; `http_status` is what to answer."""

    def __init__(self, message: str = "", *, http_status: int = 400) -> None:
        super().__init__(message)
        self.http_status = http_status
