"""Translate BetterWaifu's error responses into exceptions, in both editions and every known form (contract: Errors).

A code of load decides first, then the HTTP status, then the code in the body (v1-images only). The text only refines
the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiowery._core.codec import lenient_number
from aiowery._core.messages import HttpResponse, mentions
from aiowery.betterwaifu._schema import optional_text
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    ContentRejected,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)

_BY_HTTP_STATUS: Final[Mapping[int, type[APIError]]] = {
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
}
_LOAD_CODE: Final = "rate_limit_exceeded"
_BY_CODE: Final[Mapping[str, type[APIError]]] = {"invalid_parameter": InvalidRequest}
_NEXT_STEP: Final[Mapping[type[APIError], str]] = {
    AuthenticationError: "check the key (BETTERWAIFU_API_KEY or api_key=), and that it is this edition's",
    InsufficientCredits: "top up, or wait for the next month of the plan",
    PermissionDenied: "check that the account has an active subscription, which the API needs",
    NotFound: "check the id and the key's account, and that base_url is this edition's",
    ContentRejected: "change the prompt",
    InvalidRequest: "change the parameter it names",
    RateLimited: "wait before the next submission",
    ServerError: "try again later",
}
_MODERATION: Final = re.compile(r"\bflagged\b|\bmoderat", re.IGNORECASE)
_BUSY: Final = re.compile(
    r"rate.?limit|too many (requests|generations)|already (active|running|in progress)|cool.?down", re.IGNORECASE
)
DEFAULT_RETRY_AFTER: Final = 60.0
"""Seconds to wait after a 429 without a Retry-After: the value that both editions document."""


def response_error(response: HttpResponse, body: Any) -> AioweryError:
    """Return the error that this response means; `body` is its JSON, or None."""
    if response.redirect:
        return response.redirect_error(body)
    error = body.get("error") if isinstance(body, Mapping) else None
    details = error if isinstance(error, Mapping) else body if isinstance(body, Mapping) else {}
    code = optional_text(details.get("code"))
    text = (
        optional_text(details.get("message"))
        or optional_text(error)
        or _reason_text(body)
        or response.excerpt
        or "no reason given"
    )
    error_type = _error_type(response.http_status, code, text)
    parameter = optional_text(details.get("parameter"))
    where = ", ".join(filter(None, (f"HTTP {response.http_status}", code, parameter and f"parameter {parameter}")))
    message = f"{text} ({where}); {_NEXT_STEP[error_type]}"
    facts = {
        "http_status": response.http_status,
        "code": code,
        "raw": body,
        "request_id": response.request_id_in(body, details),
    }
    retry_after = _retry_after(response, details)
    if error_type is RateLimited and retry_after is None:
        retry_after = DEFAULT_RETRY_AFTER
    return error_type(message, retry_after=retry_after, **facts)


def _error_type(http_status: int, code: str | None, text: str) -> type[APIError]:
    if code == _LOAD_CODE:
        return RateLimited
    if http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    by_number = _BY_HTTP_STATUS.get(http_status) or _BY_CODE.get(code or "")
    if by_number in {None, PermissionDenied, InvalidRequest} and mentions(text, _MODERATION):
        return ContentRejected
    if by_number is not None:
        return by_number
    return RateLimited if mentions(text, _BUSY) else InvalidRequest


def _retry_after(response: HttpResponse, details: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait: from the header, else from the body; None if neither has any."""
    seconds = response.retry_after()
    if seconds is None:
        seconds = lenient_number(details.get("retry_after"))
    return seconds if seconds is not None and seconds >= 0 else None


def _reason_text(body: Any) -> str | None:
    return (
        optional_text(body.get("message")) or optional_text(body.get("detail"))
        if isinstance(body, Mapping)
        else optional_text(body)
    )
