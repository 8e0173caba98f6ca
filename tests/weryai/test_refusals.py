"""The errors of WeryAI's refusals: the HTTP status decides first, then the code, then the text."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery._core.messages import HttpResponse
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
from aiowery.weryai._decode import decode_accepted

CODES: dict[int, type[APIError]] = {
    1001: InvalidRequest,
    1002: AuthenticationError,
    1003: NotFound,
    1004: InsufficientCredits,
    1005: ContentRejected,
    1006: InvalidRequest,
    1007: RateLimited,
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
    6002: RateLimited,
    6003: ServerError,
    6004: ServerError,
    6010: RateLimited,
    6101: DailyLimitReached,
    8001: InvalidRequest,
    8002: InvalidRequest,
    7777: ServerError,  # any other
}

HTTP_STATUSES: dict[int, type[APIError]] = {
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
    500: ServerError,
    501: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
    520: ServerError,
    599: ServerError,
}

PARAMETER_TEXTS = [
    "model cannot be empty",
    "model is not exist",
    "model is not supported",
    "model key is not exist",
    "prompt cannot be empty",
    "image cannot be empty",
    "images cannot be empty",
    "image url cannot be empty",
    "image url error",
    "video url error",
    "audio url error",
    "only jpg/jpeg/png/webp",
    "only webp and png are accepted",
    "aspect ratio cannot be empty",
    "aspect ratio not supported",
    "resolution is not supported",
    "duration empty",
    "duration is not supported",
    "image number is not supported",
    "video number cannot be empty",
    "images exceeds the limit",
    "model does not support multiple images",
    "target language cannot be empty",
    "language empty",
    "query cannot be empty",
    "speakers cannot be empty",
    "mode cannot be empty",
    "music type cannot be empty",
    "template config id cannot be empty",
    "config ids cannot be empty",
    "config ids cannot exceed 50",
    "template is not available for api",
    "prompt and bg_color both empty",
    "upscale factor not supported",
    "task id empty",
    "task id error",
    "batch id empty",
    "caller id not exist",
    "file empty",
    "only image, video and audio",
    "content does not match extension",
    "image under 10MB",
    "video or audio under 50MB",
    "max_tokens must be at least 1",
    "author name exceeds the limit",
    "PARAMETER_ERROR",
    "参数错误",
    "提示词不能为空",
]

THROTTLED_TEXTS = [
    "REQUEST_RATE_LIMIT_EXCEEDED",
    "Rate limit exceeded",
    "rate-limited, slow down",
    "Too many requests",
    "You submit too often",
    "requests are too frequent",
    "request frequency too high",
    "请求频率超限",
    "操作过于频繁",
]

UNAUTHORIZED_TEXTS = [
    "unauthorized",
    "Authentication failed",
    "Authorization header cannot be empty",
    "invalid API key",
    "api_key is required",
    "the key has been deleted",
    "token format error",
    "please log in: login required",
    "认证失败",
    "未授权",
    "nothing that was ever seen before",
    "",
]

UNKNOWN_ID_TEXTS = ["task not exist", "Task does not exist", "batch not exist", "no tasks found", "no task found"]


def refused(http_status: int = 200, headers: dict[str, str] | None = None, **envelope: object) -> AioweryError:
    """Decode a refused submission and return its error."""
    with pytest.raises(AioweryError) as caught:
        decode_accepted(HttpResponse(http_status, headers or {}, json.dumps(envelope).encode()))
    return caught.value


@pytest.mark.parametrize(("code", "cls"), CODES.items(), ids=str)
def test_response_error_http_200_is_decided_by_code(code: int, cls: type[APIError]) -> None:
    """Every documented code has its class, and the error has the code."""
    error = refused(status=code, message="no further words")
    assert type(error) is cls
    assert (error.http_status, error.code) == (200, code)


@pytest.mark.parametrize(("code", "cls"), CODES.items(), ids=str)
def test_response_error_http_400_is_decided_by_code(code: int, cls: type[APIError]) -> None:
    """400 only means "refused", so a known code decides. An unknown code is an invalid request."""
    assert type(refused(400, status=code, message="no further words")) is (InvalidRequest if code == 7777 else cls)


@pytest.mark.parametrize("code", [*CODES, None, "weird"], ids=str)
@pytest.mark.parametrize(("http_status", "cls"), HTTP_STATUSES.items(), ids=str)
def test_response_error_specific_http_status_comes_before_code(
    http_status: int, cls: type[APIError], code: int | str | None
) -> None:
    """401, 402, 403, 404, 429 and 5xx decide before any code but those of load.

    A code of the daily limit, which no waiting resolves, decides below 5xx.
    """
    error = refused(http_status, status=code, message="prompt cannot be empty")
    is_daily_limit = code == 6101 and http_status < 500
    assert type(error) is (RateLimited if code in {1007, 6002, 6010} else DailyLimitReached if is_daily_limit else cls)


@pytest.mark.parametrize("http_status", [200, 400, 401, 403, 404, 500, 503])
def test_response_error_throttled_1001_is_busy_with_any_http_status(http_status: int) -> None:
    """Code 1001 whose text speaks of rate is load; the text of another code does not change a specific HTTP status."""
    assert type(refused(http_status, status=1001, message="Request rate limit exceeded")) is RateLimited
    if http_status > 400:
        assert type(refused(http_status, status=5000, message="rate limit")) is HTTP_STATUSES[http_status]


@pytest.mark.parametrize("http_status", [405, 409, 413, 415, 422, 451])
def test_response_error_other_4xx_is_invalid_request(http_status: int) -> None:
    """A 4xx without a meaning of its own is an invalid request."""
    assert type(refused(http_status, message="no")) is InvalidRequest


@pytest.mark.parametrize("text", PARAMETER_TEXTS)
@pytest.mark.parametrize("code", [1001, 1002])
def test_response_error_text_naming_a_field_is_invalid_request(code: int, text: str) -> None:
    """Codes 1001 and 1002 with a known parameter text are an invalid parameter, never a wrong key."""
    assert type(refused(status=code, message=text)) is InvalidRequest


@pytest.mark.parametrize("text", THROTTLED_TEXTS)
@pytest.mark.parametrize("code", [1001, 1002, 7777, "busy"])
def test_response_error_text_about_rate_is_rate_limited(code: int | str, text: str) -> None:
    """A code without a fixed meaning is throttling if its text is about a rate, in Chinese too."""
    assert type(refused(status=code, message=text)) is RateLimited


@pytest.mark.parametrize("text", UNAUTHORIZED_TEXTS)
def test_response_error_1002_with_other_text_is_authentication(text: str) -> None:
    """Code 1002 with a text about a key, or an unknown text, keeps its documented meaning."""
    assert type(refused(status=1002, message=text)) is AuthenticationError


@pytest.mark.parametrize("text", ["Authentication failed", "whatever", ""])
def test_response_error_1001_with_other_text_is_invalid_request(text: str) -> None:
    """Code 1001 keeps its documented meaning unless its text is about a rate."""
    assert type(refused(status=1001, message=text)) is InvalidRequest


@pytest.mark.parametrize("text", UNKNOWN_ID_TEXTS)
@pytest.mark.parametrize("code", [1001, 1002, 1003, 1010, 7777])
def test_response_error_text_about_unknown_id_is_not_found(code: int, text: str) -> None:
    """An unknown task or batch is NotFound, with any code."""
    assert type(refused(status=code, message=text)) is NotFound


@pytest.mark.parametrize("code", sorted({*CODES} - {1001, 1002, 7777}))
def test_response_error_text_does_not_override_fixed_code(code: int) -> None:
    """The text decides only for codes with two meanings and for unknown codes."""
    assert type(refused(status=code, message="rate limit, task not exist")) is CODES[code]


@pytest.mark.parametrize(("code", "is_limit"), [(6010, True), (6002, False), (1007, False)])
def test_response_error_only_6010_is_a_concurrency_limit(code: int, is_limit: bool) -> None:
    """The queue shrinks for too many tasks, not for too many requests."""
    error = refused(status=code, message="wait")
    assert isinstance(error, RateLimited)
    assert error.is_concurrency_limit is is_limit


@pytest.mark.parametrize("http_status", [300, 301, 302, 303, 304, 307, 308])
def test_response_error_redirect_is_unexpected(http_status: int) -> None:
    """A redirect may come from anything in between: it is in doubt, not refused. The message has its target."""
    error = refused(http_status, {"location": "https://other.example"}, status=0)
    assert type(error) is UnexpectedResponse
    assert "https://other.example" in str(error)


@pytest.mark.parametrize("code", sorted(CODES))
def test_response_error_message_ends_with_next_step(code: int) -> None:
    """A message has the provider's text, its source, and the next step."""
    report, _, step = str(refused(status=code, message="these words")).partition("; ")
    assert report == f"these words (code {code}, HTTP 200)"
    assert len(step) > 10


PHRASES = st.sampled_from(
    ["task", "batch", "tasks", "not exist", "not existing", "nonexistent", "no tasks found", "\n"]
)


@given(phrases=st.lists(PHRASES, max_size=6))
@settings(deadline=None, max_examples=200)
def test_response_error_unknown_id_must_be_named_in_one_text_line(phrases: list[str]) -> None:
    """One line of the text must hold a task or batch and "not exist", or report that there are no tasks."""
    lines = " ".join(phrases).split("\n")
    named = any(re.search(r"\b(task|batch)\b.*\bnot exist", line) for line in lines)
    expected = NotFound if named or "no tasks found" in phrases else ServerError
    assert type(refused(status=7777, message=" ".join(phrases))) is expected


@pytest.mark.parametrize(("characters", "cls"), [(290, RateLimited), (291, ServerError)])
def test_response_error_text_decides_by_first_300_characters(characters: int, cls: type[APIError]) -> None:
    """The first 300 characters decide the type of the error, which has the whole message."""
    error = refused(status=7777, message="x" * characters + "rate limit")
    assert type(error) is cls
    assert "rate limit" in str(error)


@pytest.mark.parametrize("part", ["task ", "under 1", "no task ", "too ", "\n"])
@pytest.mark.parametrize("code", [1001, 1002, 7777])
def test_response_error_long_text_is_fast(code: int, part: str) -> None:
    """A text of 256 kB is decoded in less than 50 ms of CPU."""
    body = json.dumps({"status": code, "message": f"x{part * (256 * 1024 // len(part))}x"}).encode()
    began = time.thread_time()
    with pytest.raises(APIError):
        decode_accepted(HttpResponse(200, {}, body))
    assert time.thread_time() - began < 0.05
