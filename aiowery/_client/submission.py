"""A submission under way: a request that the queue has admitted."""

from __future__ import annotations

from typing import Any, Generic

import attrs

from aiowery._client.options import SubmitOptions
from aiowery._core.messages import HttpRequest
from aiowery._core.request import Request, ResultT
from aiowery._queue.submission_queue import Ticket


@attrs.frozen
class Submission(Generic[ResultT]):
    """An admitted request that is being submitted.

    `label` names it in logs, events and errors. `submission_id` identifies it in the ledger. `has_webhook` is true if
    the provider was requested to report its end. `probe` is the price group that it probes, if it does.
    """

    request: Request[ResultT]
    label: str
    options: SubmitOptions
    http_request: HttpRequest
    ticket: Ticket
    submission_id: str
    has_webhook: bool
    probe: str | None

    def facts(self, **more: Any) -> dict[str, Any]:
        """Return what each log record about it has as `extra`, and these facts."""
        return {"label": self.label, "type": self.request.type_name, "model": self.request.model_name, **more}
