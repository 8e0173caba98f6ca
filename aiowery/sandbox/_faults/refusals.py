"""Refusals: by HTTP status, by the code of the envelope, or as HTML of an edge server."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._faults.connection import RequestFaultBehavior
from aiowery.sandbox._response import PlannedResponse, Refused

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import FaultTarget

_HTML = "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center><hr></body></html>"


@attrs.frozen
class ErrorResponse(RequestFaultBehavior):
    """The request is refused with HTTP status `http` and message `text` in the provider's format.

    WeryAI's envelope has the code `code`. `html` sends an edge server's HTML page instead of that format. `body` sends
    another body: a text as it is, any other value as JSON. `retry_after` (seconds) adds that header, with decimals if
    it has any, or as an HTTP date with `retry_date`. With `processed`, the request is processed and charged, and only
    its response is replaced. With `ids`, it is processed too, and the refusal of a submission contains the task ids
    that the acceptance would contain.
    """

    http: int = 200
    code: int = 5000
    text: str = "System error"
    html: bool = attrs.field(default=False, kw_only=True)
    body: Any = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    retry_date: bool = attrs.field(default=False, kw_only=True)
    processed: bool = attrs.field(default=False, kw_only=True)
    ids: bool = attrs.field(default=False, kw_only=True)

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - signature of `Kind`
        """Refuse the request before it is processed."""
        return None if self.processed or self.ids else self._response()

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the response to the processed request."""
        return self._response(response.body if self.ids and response.accepts else None)

    def _response(self, acceptance_body: dict[str, Any] | None = None) -> PlannedResponse:
        if self.html:
            title = f"{self.http} {HTTPStatus(self.http).phrase}"
            headers = (("content-type", "text/html"), *self._retry_after())
            return PlannedResponse(_HTML.format(title=title).encode(), http=self.http, headers=headers)
        if isinstance(self.body, str):
            headers = (("content-type", "text/plain; charset=utf-8"), *self._retry_after())
            return PlannedResponse(self.body.encode(), http=self.http, headers=headers)
        plain = Refused(
            self.code, self.text, http=self.http, retry_after=self.retry_after, acceptance_body=acceptance_body
        )
        body = plain if self.body is None else self.body
        return PlannedResponse(body, http=self.http, headers=self._retry_after())

    def _retry_after(self) -> tuple[tuple[str, str], ...]:
        if self.retry_after is None:
            return ()
        if self.retry_date:
            return (("retry-after", formatdate(time.time() + self.retry_after, usegmt=True)),)
        return (("retry-after", f"{self.retry_after:g}"),)


RATE_LIMITED = ErrorResponse(429, 1001, "Request rate limit exceeded", retry_after=1)
"""HTTP 429 with Retry-After: 1."""
RATE_LIMITED_1001 = ErrorResponse(200, 1001, "Request rate limit exceeded")
"""Code 1001 in its second meaning: the message is about the request rate."""
WORKFLOW_RATE_LIMITED = ErrorResponse(200, 6002, "Workflow rate limit exceeded")
"""Code 6002."""
QUEUE_FULL = ErrorResponse(200, 1007, "Queue is full, please try again later")
"""Code 1007."""
TOO_MANY_TASKS = ErrorResponse(200, 6010, "No more than 20 tasks can be processed at once")
"""Code 6010, whatever the real number of tasks is."""
UNAUTHORIZED = ErrorResponse(401, 1002, "Authentication failed")
"""HTTP 401 with code 1002."""
FORBIDDEN = ErrorResponse(403, 1009, "Permission denied")
"""HTTP 403 with code 1009."""
NOT_FOUND = ErrorResponse(404, 1003, "Not found")
"""HTTP 404 with code 1003."""
SERVER_ERROR = ErrorResponse(500, 5000, "System error")
"""HTTP 500 with code 5000."""
BAD_GATEWAY = ErrorResponse(502, html=True)
"""HTTP 502 with an HTML page."""
UNAVAILABLE = ErrorResponse(503, html=True, retry_after=1)
"""HTTP 503 with an HTML page and Retry-After: 1."""
GATEWAY_TIMEOUT = ErrorResponse(504, html=True)
"""HTTP 504 with an HTML page."""
