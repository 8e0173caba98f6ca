"""What the generic client needs to know of a provider: a pure translator between values and wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from aiowery._base.snapshot import Snapshot
from aiowery._core.media import UploadFile
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.request import Accepted, Request
from aiowery._core.webhook_config import TaskDelivery
from aiowery.errors import APIError


class Provider(Protocol):
    """Encodes requests and decodes answers, without I/O, clock or state.

    Decoders are total: whatever the answer holds, they return a value or raise `APIError` (the provider refused)
    or `UnexpectedResponse` (the answer is outside the contract), never anything else.
    """

    @property
    def name(self) -> str:
        """The provider's name in log lines."""
        ...

    @property
    def account_errors(self) -> tuple[type[APIError], ...]:
        """Refusals that would meet every other request of the same credential too."""
        ...

    def validate(self, request: object) -> None:
        """Raise ConfigurationError for what is no request of this provider's."""
        ...

    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return the POST that submits this request."""
        ...

    def with_webhook(self, request: Request[Any], address: str) -> Request[Any] | None:
        """Return the request with the address at which its end is to be told.

        None where its endpoint knows none, where it answers at once, and where the caller has given an address already.
        """
        ...

    def decode_submission(self, request: Request[Any], answer: HttpResponse) -> Accepted:
        """Read the answer to the submission of this request.

        An endpoint that answers at once gives its outputs here, as snapshots of ended tasks.
        """
        ...

    def status_request(self, task_id: str) -> HttpRequest:
        """Return the GET that asks for one task."""
        ...

    def decode_status(self, answer: HttpResponse, task_id: str) -> Snapshot:
        """Read the answer to `status_call(task_id)`."""
        ...

    def contradicts_request(self, request: Request[Any], snapshot: Snapshot, sent_at: float) -> bool:
        """Return True if the answer about a task shows that another request began it.

        `sent_at` is when this request was sent, in seconds since the epoch. What is not understood contradicts nothing.
        """
        ...

    def is_known_status(self, word: str) -> bool:
        """Whether this status word is one that we have seen documented or in use."""
        ...

    def liveness_request(self) -> HttpRequest | None:
        """Return the cheapest GET that costs nothing; None where the provider has none."""
        ...

    def is_own_response(self, answer: HttpResponse) -> bool:
        """Return True if the provider itself gave this answer, a refusal included; False for any hop's in between."""
        ...

    def batch_request(self, batch_id: str) -> HttpRequest | None:
        """Return the GET that asks for all tasks of a batch; None where the provider has none."""
        ...

    def decode_batch(self, answer: HttpResponse) -> Sequence[Snapshot]:
        """Read the answer to `batch_call(...)`."""
        ...

    def upload_request(self, file: UploadFile) -> HttpRequest | None:
        """Return the POST that uploads a file; None where the provider takes no files."""
        ...

    def decode_upload(self, answer: HttpResponse) -> str:
        """Read the url under which an uploaded file lies."""
        ...

    def decode_delivery(self, body: bytes) -> TaskDelivery:
        """Return the content of a webhook delivery. Raises UnexpectedResponse for a body that is none."""
        ...
