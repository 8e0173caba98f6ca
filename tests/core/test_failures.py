"""The table of verdicts: what became of a paid POST, by what came back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiowery import errors
from aiowery._core.failures import SubmitFailure, classify_failure, is_retryable, retry_after
from aiowery._core.messages import HttpResponse
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider

REQUEST = TextToImage(prompt="hills")


def came(http_status: int, body: Any = None, text: str = "") -> Exception:
    """Return the error that an answer to a submission means."""
    content = text if body is None else json.dumps(body)
    with pytest.raises(errors.AioweryError) as caught:
        WeryAIProvider().decode_submission(REQUEST, HttpResponse(http_status, {}, content.encode()))
    return caught.value


def refused(http_status: int, code: int, text: str = "no") -> Exception:
    """Return the error that a refusal with the provider's own body means."""
    return came(http_status, {"status": code, "message": text})


OUTCOMES: dict[str, tuple[Exception, SubmitFailure]] = {
    # Before the first byte.
    "not sent": (errors.NotSent("pool"), SubmitFailure.UNSENT),
    # Refusals that name tasks.
    **{
        f"{status} {code} with ids": (
            came(status, {"status": code, "message": "no", "data": {"task_ids": ["t1"]}}),
            SubmitFailure.IN_DOUBT,
        )
        for status in (200, 302, 400, 401, 402, 409, 429, 500, 503)
        for code in (1001, 1004, 1007, 6001, 6010)
    },
    # Successful by status, and yet no ids.
    "200 success without ids": (came(200, {"status": 0, "data": {"task_ids": []}}), SubmitFailure.IN_DOUBT),
    "200 success without data": (came(200, {"status": 0}), SubmitFailure.IN_DOUBT),
    "200 empty": (came(200), SubmitFailure.IN_DOUBT),
    "200 truncated": (came(200, text='{"status":0,"data":{"task_'), SubmitFailure.IN_DOUBT),
    "200 html": (came(200, text="<html></html>"), SubmitFailure.IN_DOUBT),
    "200 without envelope": (came(200, {"ok": 1}), SubmitFailure.IN_DOUBT),
    "204": (came(204), SubmitFailure.IN_DOUBT),
    # Business errors under 2xx.
    **{
        f"200 code {code}": (refused(200, code), SubmitFailure.REJECTED)
        for code in (1001, 1002, 1003, 1004, 1005, 1011, 1015, 2001, 5000, 6003, 6004, 6101, 7777)
    },
    # Refusals by HTTP status, with and without the provider's own body.
    **{f"{status}": (refused(status, 7777), SubmitFailure.REJECTED) for status in (400, 401, 402, 403, 404, 422)},
    **{
        f"{status} bare": (came(status, text="no"), SubmitFailure.REJECTED) for status in (400, 401, 402, 403, 404, 422)
    },
    "429 daily limit": (refused(429, 6101), SubmitFailure.REJECTED),
    "302": (came(302), SubmitFailure.REJECTED),
    # Because of load.
    "429": (refused(429, 7777), SubmitFailure.BUSY),
    "429 bare": (came(429, text="slow down"), SubmitFailure.BUSY),
    "200 throttle code 6002": (refused(200, 6002), SubmitFailure.BUSY),
    "200 throttled 1001": (refused(200, 1001, "rate limit"), SubmitFailure.BUSY),
    "200 throttled in Chinese": (refused(200, 1001, "请求频率"), SubmitFailure.BUSY),
    "200 too many tasks 6010": (refused(200, 6010), SubmitFailure.BUSY),
    "400 too many tasks 6010": (refused(400, 6010), SubmitFailure.BUSY),
    "200 queue full 1007": (refused(200, 1007), SubmitFailure.BUSY),
    "503 with the provider's own body": (refused(503, 5000), SubmitFailure.BUSY),
    # No telling.
    **{f"{status}": (came(status, text="<html>"), SubmitFailure.IN_DOUBT) for status in (500, 502, 503, 504, 520)},
    **{f"{status} with a body": (refused(status, 5000), SubmitFailure.IN_DOUBT) for status in (500, 502, 504)},
    "500 with a throttle code": (refused(500, 6002), SubmitFailure.IN_DOUBT),
    "303": (came(303), SubmitFailure.IN_DOUBT),
    "no answer": (errors.NoAnswer("read time-out"), SubmitFailure.IN_DOUBT),
    "transport": (errors.TransportError("reset"), SubmitFailure.IN_DOUBT),
    "unforeseen": (RuntimeError("a bug"), SubmitFailure.IN_DOUBT),
    "os error": (ConnectionResetError(), SubmitFailure.IN_DOUBT),
}


@pytest.mark.parametrize(("error", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_became_of_a_paid_post(error: Exception, expected: SubmitFailure) -> None:
    """Repeated only what never left or was refused for load; in doubt whatever may have been charged."""
    assert classify_failure(error) is expected


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_verdict_on_the_safe_side(name: str) -> None:
    """Only errors that prove that nothing was charged are anything but a doubt."""
    proofs = {"NotSent": SubmitFailure.UNSENT, "QueueTooLong": SubmitFailure.UNSENT, "RateLimited": SubmitFailure.BUSY}
    cls: type[errors.AioweryError] = getattr(errors, name)
    refusal = SubmitFailure.REJECTED if issubclass(cls, errors.APIError) else SubmitFailure.IN_DOUBT
    assert classify_failure(cls("x")) is proofs.get(name, refusal)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.NotSent(), True),
        (errors.NoAnswer(), True),
        (errors.UnexpectedResponse(), True),
        (errors.RateLimited(), True),
        (errors.ServerError(http_status=500), True),
        (errors.NotFound(), False),
        (errors.AuthenticationError(), False),
        (errors.InvalidRequest(), False),
        (errors.DailyLimitReached(), False),
        (errors.ConfigurationError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_read_is_repeated_only_where_that_can_help(error: errors.AioweryError, again: bool) -> None:
    """Reads cost nothing, but a wrong key or an unknown id stays one."""
    assert is_retryable(error) is again


def test_only_throttling_says_how_long_to_wait() -> None:
    """`retry_after` is read from RateLimited and is None elsewhere."""
    assert retry_after(errors.RateLimited(retry_after=2.5)) == 2.5
    assert retry_after(errors.RateLimited()) is None
    assert retry_after(errors.ServerError(http_status=503)) is None
