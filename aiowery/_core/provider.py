"""The provider contract: a pure translator between requests and HTTP messages."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiowery._base.snapshot import AssetKind, Snapshot
from aiowery._core.media import UploadFile
from aiowery._core.messages import HttpRequest, HttpResponse, mentions
from aiowery._core.request import Accepted, Request
from aiowery._core.webhook_config import TaskDelivery
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ContentRejected,
    DailyLimitReached,
    InsufficientCredits,
    PermissionDenied,
)

_TASK_FAILED: Final = re.compile(
    r"\bgenerat(ion|e|ing) (has |was )?fail|\bfail(ed|ure)? (to|in|of|during) (the )?generat|生成失败"
    r"|\bmoderat(ion|ed|or)|\bflagged\b|\bnsfw\b|\bcontent (policy|policies|safety|violat|filter|check|review)"
    r"|审核|违规|敏感",
    re.IGNORECASE,
)


class Provider(ABC):
    """A translator for one provider's API, without I/O, clock or state.

    Five members are abstract: `name`, `encode`, `decode_submission`, `status_request`, `decode_status`. The others have
    defaults for a provider that lacks the capability.

    Decoders are total: whatever the response holds, they return a value or raise `APIError` (the provider rejected the
    request) or `UnexpectedResponse` (the response does not follow the API), never another exception.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The provider's name in messages and logs."""

    @property
    def account_errors(self) -> tuple[type[APIError], ...]:
        """The rejections that every other request with the same key would meet too.

        After one of them all waiting submissions of the client are rejected with it, unsent.
        """
        return (AuthenticationError, PermissionDenied, InsufficientCredits, DailyLimitReached)

    def validate(self, request: object) -> None:  # noqa: B027 - not every provider has rules of its own
        """Raise ConfigurationError for an object that is no valid request of this provider. By default all are valid.

        It is called before anything is sent or paid for.
        """

    @abstractmethod
    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return the POST that submits the request."""

    def with_webhook(self, request: Request[Any], url: str) -> Request[Any] | None:  # noqa: ARG002 - for subclasses
        """Return the request with the URL to which its end is to be reported.

        None (the default) for a request without webhooks, with a direct result, or with a URL of the caller's.
        """
        return None

    @abstractmethod
    def decode_submission(self, request: Request[Any], response: HttpResponse) -> Accepted:
        """Return the task ids in the response to a submission.

        An endpoint that answers with the result itself returns its outputs here, as snapshots of finished tasks.
        """

    @abstractmethod
    def status_request(self, task_id: str) -> HttpRequest:
        """Return the GET for the status of one task. Raises ConfigurationError for an id that has no status."""

    @abstractmethod
    def decode_status(self, response: HttpResponse, task_id: str) -> Snapshot:
        """Return the status in the response to `status_request(task_id)`."""

    def contradicts_request(self, request: Request[Any], snapshot: Snapshot, sent_at: float) -> bool:  # noqa: ARG002 - for subclasses
        """Return True if a task's status shows that another request began it. By default nothing contradicts.

        `sent_at` is when this request was sent, in seconds since the epoch.
        """
        return False

    def is_known_status(self, raw_status: str) -> bool:  # noqa: ARG002 - for subclasses
        """Return True if the provider's status text is documented or was seen in use; an unknown one is logged once."""
        return True

    def ends_task(self, error: APIError) -> bool:
        """Return True for the rejection of a status check that means that the task itself has failed.

        By default, one for the sake of its content, or whose text speaks of that or of a failed generation. The task
        ends with the second one in a row.
        """
        return error.is_own and (isinstance(error, ContentRejected) or mentions(error.message, _TASK_FAILED))

    def liveness_request(self) -> HttpRequest | None:
        """Return the cheapest GET that costs nothing; None (the default) if there is none.

        It shows, while submissions are paused, whether the provider responds again.
        """
        return None

    def is_own_response(self, response: HttpResponse) -> bool:
        """Return True if the provider itself sent the response, not a proxy. By default: its body is a JSON object.

        Every error of a decoder goes by it: a rejection of the provider's own is believed. A page in between leaves a
        paid submission in doubt, says nothing about a task or the key, and turns no other request away. A redirect is
        never the provider's own.
        """
        return not response.redirect and isinstance(response.json_or_none(), dict)

    def batch_request(self, provider_batch_id: str) -> HttpRequest | None:  # noqa: ARG002 - for subclasses
        """Return the GET for the statuses of all tasks of a submission; None (the default) if there is none."""
        return None

    def decode_batch(self, response: HttpResponse) -> Sequence[Snapshot]:
        """Return the statuses in the response to `batch_request(...)`."""
        raise response.unexpected(f"{self.name} has no batch status", "$", None)

    def upload_request(self, file: UploadFile) -> HttpRequest | None:  # noqa: ARG002 - for subclasses
        """Return the POST that uploads a file; None (the default) if the provider accepts URLs only."""
        return None

    @property
    def upload_limits(self) -> Mapping[AssetKind, int]:
        """The sizes in bytes below which an uploaded file of each kind must be.

        A kind that is missing (by default all) is limited only by the 256 MB that the library holds in memory.
        """
        return {}

    def decode_upload(self, response: HttpResponse) -> str:
        """Return the URL in the response to `upload_request(...)`."""
        raise response.unexpected(f"{self.name} accepts no uploads", "$", None)

    def decode_delivery(self, body: bytes) -> TaskDelivery:
        """Return the task that a webhook delivery reports. Raises UnexpectedResponse for a body that is no delivery."""
        raise HttpResponse(200, {}, body).unexpected(f"{self.name} sends no webhook deliveries", "$", None)
