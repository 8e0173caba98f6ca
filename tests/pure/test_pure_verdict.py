"""The table of verdicts: what became of a paid POST, by what came back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiowery import errors
from aiowery._core.messages import Answer
from aiowery._http.retry import Verdict, may_read_again, retry_after, verdict
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider

REQUEST = TextToImage(prompt="hills")


def came(http_status: int, body: Any = None, text: str = "") -> Exception:
    """Return the error that an answer to a submission means."""
    content = text if body is None else json.dumps(body)
    with pytest.raises(errors.AioweryError) as caught:
        WeryAIProvider().decode_accepted(REQUEST, Answer(http_status, {}, content.encode()))
    return caught.value


def refused(http_status: int, code: int, text: str = "no") -> Exception:
    """Return the error that a refusal with the provider's own body means."""
    return came(http_status, {"status": code, "message": text})


OUTCOMES: dict[str, tuple[Exception, Verdict]] = {
    # Before the first byte.
    "not sent": (errors.NotSent("pool"), Verdict.UNSENT),
    # Refusals that name tasks.
    **{
        f"{status} {code} with ids": (
            came(status, {"status": code, "message": "no", "data": {"task_ids": ["t1"]}}),
            Verdict.DOUBT,
        )
        for status in (200, 302, 400, 401, 402, 409, 429, 500, 503)
        for code in (1001, 1004, 1007, 6001, 6010)
    },
    # Successful by status, and yet no ids.
    "200 success without ids": (came(200, {"status": 0, "data": {"task_ids": []}}), Verdict.DOUBT),
    "200 success without data": (came(200, {"status": 0}), Verdict.DOUBT),
    "200 empty": (came(200), Verdict.DOUBT),
    "200 truncated": (came(200, text='{"status":0,"data":{"task_'), Verdict.DOUBT),
    "200 html": (came(200, text="<html></html>"), Verdict.DOUBT),
    "200 without envelope": (came(200, {"ok": 1}), Verdict.DOUBT),
    "204": (came(204), Verdict.DOUBT),
    # Business errors under 2xx.
    **{
        f"200 code {code}": (refused(200, code), Verdict.REFUSED)
        for code in (1001, 1002, 1003, 1004, 1005, 1011, 1015, 2001, 5000, 6003, 6004, 6101, 7777)
    },
    # Refusals by HTTP status, with and without the provider's own body.
    **{f"{status}": (refused(status, 7777), Verdict.REFUSED) for status in (400, 401, 402, 403, 404, 422)},
    **{f"{status} bare": (came(status, text="no"), Verdict.REFUSED) for status in (400, 401, 402, 403, 404, 422)},
    "429 daily limit": (refused(429, 6101), Verdict.REFUSED),
    "302": (came(302), Verdict.REFUSED),
    # Because of load.
    "429": (refused(429, 7777), Verdict.BUSY),
    "429 bare": (came(429, text="slow down"), Verdict.BUSY),
    "200 throttle code 6002": (refused(200, 6002), Verdict.BUSY),
    "200 throttled 1001": (refused(200, 1001, "rate limit"), Verdict.BUSY),
    "200 throttled in Chinese": (refused(200, 1001, "请求频率"), Verdict.BUSY),
    "200 too many tasks 6010": (refused(200, 6010), Verdict.BUSY),
    "400 too many tasks 6010": (refused(400, 6010), Verdict.BUSY),
    "200 queue full 1007": (refused(200, 1007), Verdict.BUSY),
    "503 with the provider's own body": (refused(503, 5000), Verdict.BUSY),
    # No telling.
    **{f"{status}": (came(status, text="<html>"), Verdict.DOUBT) for status in (500, 502, 503, 504, 520)},
    **{f"{status} with a body": (refused(status, 5000), Verdict.DOUBT) for status in (500, 502, 504)},
    "500 with a throttle code": (refused(500, 6002), Verdict.DOUBT),
    "303": (came(303), Verdict.DOUBT),
    "no answer": (errors.NoAnswer("read time-out"), Verdict.DOUBT),
    "transport": (errors.TransportError("reset"), Verdict.DOUBT),
    "unforeseen": (RuntimeError("a bug"), Verdict.DOUBT),
    "os error": (ConnectionResetError(), Verdict.DOUBT),
}


@pytest.mark.parametrize(("error", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_became_of_a_paid_post(error: Exception, expected: Verdict) -> None:
    """Repeated only what never left or was refused for load; in doubt whatever may have been charged."""
    assert verdict(error) is expected


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_verdict_on_the_safe_side(name: str) -> None:
    """Only errors that prove that nothing was charged are anything but a doubt."""
    proofs = {"NotSent": Verdict.UNSENT, "QueueTooLong": Verdict.UNSENT, "RateLimited": Verdict.BUSY}
    cls: type[errors.AioweryError] = getattr(errors, name)
    refusal = Verdict.REFUSED if issubclass(cls, errors.APIError) else Verdict.DOUBT
    assert verdict(cls("x")) is proofs.get(name, refusal)


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
    assert may_read_again(error) is again


def test_only_throttling_says_how_long_to_wait() -> None:
    """`retry_after` is read from RateLimited and is None elsewhere."""
    assert retry_after(errors.RateLimited(retry_after=2.5)) == 2.5
    assert retry_after(errors.RateLimited()) is None
    assert retry_after(errors.ServerError(http_status=503)) is None
