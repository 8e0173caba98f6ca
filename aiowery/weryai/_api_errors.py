"""Translate WeryAI's error responses into exceptions.

A code of load decides first, then the HTTP status, then the code in the body, then the text for codes with two
meanings. Code 1001 is documented as a parameter error and also used for throttling. Code 1002 is documented as a
missing authorization and also used for parameter errors (contract: Error codes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiowery._core.messages import HttpResponse, is_http_status, mentions
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    ContentRejected,
    DailyLimitReached,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)

_BY_HTTP_STATUS: Final[Mapping[int, type[APIError]]] = {
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
}
_TOO_MANY_TASKS: Final = 6010
TASK_CODES: Final = frozenset({1005, 2001, 2003, 6004})
"""The codes that speak of a task's content, or of its generation."""
_LOAD_CODES: Final = frozenset({1007, 6002, _TOO_MANY_TASKS})
"""The codes that mean load, with any HTTP status."""
_DAILY_LIMIT: Final = 6101
_PARAMETER_OR_THROTTLED: Final = 1001
_UNAUTHORIZED_OR_PARAMETER: Final = 1002
_BY_CODE: Final[Mapping[int, type[APIError]]] = {
    1003: NotFound,
    1004: InsufficientCredits,
    1005: ContentRejected,
    1006: InvalidRequest,
    1009: PermissionDenied,
    1010: NotFound,
    1011: InsufficientCredits,
    1014: InvalidRequest,
    1015: DailyLimitReached,
    1017: PermissionDenied,
    1102: ServerError,
    2001: ContentRejected,
    2003: ContentRejected,
    2004: InvalidRequest,
    5000: ServerError,
    6001: ServerError,
    6003: ServerError,
    6004: ServerError,
    _DAILY_LIMIT: DailyLimitReached,
    8001: InvalidRequest,
    8002: InvalidRequest,
}
_NEXT_STEP: Final[Mapping[type[APIError], str]] = {
    AuthenticationError: "check the key (WERYAI_API_KEY or api_key=)",
    PermissionDenied: "check the key, the account's plan and the addresses it allows",
    InsufficientCredits: "top up at https://www.weryai.com/api/pricing",
    NotFound: "check the id and the key's account",
    ContentRejected: "change the prompt or the pictures",
    InvalidRequest: "change the parameter it names",
    DailyLimitReached: "go on tomorrow",
    RateLimited: "wait before the next submission",
    ServerError: "try again later",
}

_THROTTLED: Final = re.compile(r"rate.?limit|too (many requests|frequent|often)|frequen|请求频率|频繁", re.IGNORECASE)
# Anchored at the first "task" of a text line: a match at each one would take quadratic time.
_UNKNOWN_ID: Final = re.compile(
    r"^(?>.*?\b(task|batch)\b).*\bnot exist|\bno tasks? found", re.IGNORECASE | re.MULTILINE
)
_UNAUTHORIZED: Final = re.compile(
    r"auth(?!or\b)|api.?key|(?<!model )\bkey\b|\btoken\b|log.?in|认证|授权", re.IGNORECASE
)
_PARAMETER: Final = re.compile(
    r"\bempty\b|not (support|exist|match|available)|exceed|must be|under \d+ ?MB|\b(url|id) error|invalid param|"
    r"parameter|required|format|only (support|jpg|jpeg|png|webp|image|video|audio)|参数|不能为空|不支持|超过|超出",
    re.IGNORECASE,
)
_MAX_CODE_DIGITS: Final = 20


def response_error(response: HttpResponse, body: Any) -> AioweryError:
    """Return the error that this response means; `body` is its JSON, or None."""
    envelope = body if isinstance(body, Mapping) else {}
    code, text = envelope_code(body), _reason_text(envelope)
    request_id = response.request_id_in(envelope, envelope.get("data"))
    if response.success and code is None:
        return UnexpectedResponse(
            f"HTTP {response.http_status} with an answer outside the contract: {response.excerpt!r}",
            http_status=response.http_status,
            raw=body,
            faults=("$.status: a status is expected",),
            request_id=request_id,
        )
    if response.redirect:
        return response.redirect_error(body, request_id)
    error_type = _error_type(response.http_status, code, text)
    reason = text or response.excerpt or _status_phrase(response.http_status)
    where = f"HTTP {response.http_status}" if code is None else f"code {code}, HTTP {response.http_status}"
    message = f"{reason} ({where}); {_NEXT_STEP[error_type]}"
    facts = {"http_status": response.http_status, "code": code, "raw": body, "request_id": request_id}
    if error_type is RateLimited:
        return RateLimited(message, is_concurrency_limit=code == _TOO_MANY_TASKS, **facts)
    return error_type(message, **facts)


def envelope_code(body: Any) -> int | str | None:
    """Return the code in the provider's envelope, None if the body is not such an envelope.

    An HTTP status as code is a gateway's. Only 200 is WeryAI's own too.
    """
    code = _status_code(body) if isinstance(body, Mapping) else None
    return None if is_http_status(code) and code != HTTPStatus.OK else code


def _error_type(http_status: int, code: int | str | None, text: str) -> type[APIError]:
    if code in _LOAD_CODES or (code == _PARAMETER_OR_THROTTLED and mentions(text, _THROTTLED)):
        return RateLimited
    if http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    if code == _DAILY_LIMIT:  # a 429 that a retry after seconds or minutes does not cure
        return DailyLimitReached
    by_number = _BY_HTTP_STATUS.get(http_status) or (_BY_CODE.get(code) if isinstance(code, int) else None)
    return by_number or _error_type_by_text(http_status, code, text)


def _error_type_by_text(http_status: int, code: int | str | None, text: str) -> type[APIError]:
    """Return the error type by the text, for a status and a code that do not decide."""
    if mentions(text, _THROTTLED):
        return RateLimited
    if mentions(text, _UNKNOWN_ID):
        return NotFound
    if code == _UNAUTHORIZED_OR_PARAMETER:
        names_a_field = mentions(text, _PARAMETER) and not mentions(text, _UNAUTHORIZED)
        return InvalidRequest if names_a_field else AuthenticationError
    if code == _PARAMETER_OR_THROTTLED or http_status >= HTTPStatus.BAD_REQUEST:
        return InvalidRequest
    return ServerError


def _status_code(envelope: Mapping[str, Any]) -> int | str | None:
    status = envelope.get("status")
    if isinstance(status, bool) or not isinstance(status, (int, str)):
        return None
    digits = status.strip() if isinstance(status, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_CODE_DIGITS else status


def _reason_text(envelope: Mapping[str, Any]) -> str:
    """Return the text of an envelope, "" if it has none."""
    for name in ("msg", "message", "desc"):
        value = envelope.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _status_phrase(http_status: int) -> str:
    try:
        return HTTPStatus(http_status).phrase
    except ValueError:
        return "no reason given"
