"""An API key as it is sent, and what takes it out of what a server quotes it in."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import Final, Self

import attrs

from aiowery._base.secret import HoldsSecret, Secret
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.redaction import KeyRedactor
from aiowery._http.transport import RequestHeaders, TransportFault
from aiowery.errors import UnexpectedResponse
from aiowery.transport._excerpt import clean_excerpt

_HEADERS: Final = {
    "user-agent": "aiowery",
    "accept": "application/json",
    "accept-encoding": "identity",
    "cache-control": "no-cache",
}


@attrs.frozen(repr=False)
class SentKey(HoldsSecret):
    """A key with the headers that carry it.

    It is made once for each key, not for each request.
    """

    secret: Secret
    headers: RequestHeaders
    json_headers: RequestHeaders
    redactor: KeyRedactor

    @classmethod
    def from_secret(cls, secret: Secret) -> Self:
        """Return a key as it is sent."""
        headers = RequestHeaders({**_HEADERS, "authorization": f"Bearer {secret.reveal()}"})
        json_headers = headers.including("content-type", "application/json")
        return cls(secret, headers, json_headers, KeyRedactor(secret.reveal()))

    def headers_for(self, request: HttpRequest) -> RequestHeaders:
        """Return the headers of a request, with the content type of its body."""
        if request.body is not None:
            return self.json_headers
        if request.form is not None:
            # Set explicitly, because a caller's client may have a default content type.
            return self.headers.including("content-type", f"multipart/form-data; boundary={secrets.token_hex(16)}")
        return self.headers

    def redact_fault(self, fault: TransportFault) -> None:
        """Remove the key from a fault and its cause."""
        for error in filter(None, (fault, fault.__cause__)):
            error.args = tuple(self.redactor.redact_cut(one) if isinstance(one, str) else one for one in error.args)
            if excerpt := getattr(error, "excerpt", ""):
                vars(error)["excerpt"] = self.redactor.redact_cut(excerpt)

    def redacted(self, response: HttpResponse) -> HttpResponse:
        """Return a response without the key."""
        headers = {name: self.redactor.redact(value) for name, value in response.headers.items()}
        body = response.body
        if self.redactor.occurs_in(body):
            with contextlib.suppress(UnexpectedResponse, RecursionError):  # it is no JSON
                body = json.dumps(self.redactor.redact_json(response.json())).encode()
        return HttpResponse(response.http_status, headers, self.redactor.redact_bytes(body))

    def unreadable(self, message: str, response: HttpResponse) -> UnexpectedResponse:
        """Return the error for a response whose body was not read to its end, or cannot be decoded."""
        error = UnexpectedResponse(
            self.redactor.redact_cut(message), http_status=response.http_status, retry_after=response.retry_after()
        )
        error.excerpt = self.redactor.redact_cut(clean_excerpt(response.body))
        return error
