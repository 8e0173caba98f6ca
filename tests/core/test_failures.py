"""The classification of failed submissions: which errors allow a repeat, and which leave a doubt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiowery import errors
from aiowery._core.failures import SubmitFailure, classify_failure, is_retryable, judged_error, retry_after
from aiowery._core.messages import HttpResponse
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider

REQUEST = TextToImage(prompt="hills")


def submission_error(http_status: int, body: Any = None, text: str = "") -> Exception:
    """Return the error of a response to a submission."""
    content = text if body is None else json.dumps(body)
    response = HttpResponse(http_status, {}, content.encode())
    try:
        WeryAIProvider().decode_submission(REQUEST, response)
    except (errors.APIError, errors.UnexpectedResponse) as error:
        return judged_error(response, error, WeryAIProvider().is_own_response)
    pytest.fail("the response was accepted")


def refused(http_status: int, code: int, text: str = "no") -> Exception:
    """Return the error of a refusal with the provider's own body."""
    return submission_error(http_status, {"status": code, "message": text})


OUTCOMES: dict[str, tuple[Exception, SubmitFailure]] = {
    # Before the first byte.
    "not sent": (errors.NotSent("pool"), SubmitFailure.UNSENT),
    # Refusals that name tasks.
    **{
        f"{status} {code} with ids": (
            submission_error(status, {"status": code, "message": "no", "data": {"task_ids": ["t1"]}}),
            SubmitFailure.IN_DOUBT,
        )
        for status in (200, 302, 400, 401, 402, 409, 429, 500, 503)
        for code in (1001, 1004, 1007, 6001, 6010)
    },
    # Successful HTTP statuses without ids.
    "200 success without ids": (submission_error(200, {"status": 0, "data": {"task_ids": []}}), SubmitFailure.IN_DOUBT),
    "200 success without data": (submission_error(200, {"status": 0}), SubmitFailure.IN_DOUBT),
    "200 empty": (submission_error(200), SubmitFailure.IN_DOUBT),
    "200 truncated": (submission_error(200, text='{"status":0,"data":{"task_'), SubmitFailure.IN_DOUBT),
    "200 html": (submission_error(200, text="<html></html>"), SubmitFailure.IN_DOUBT),
    "200 without envelope": (submission_error(200, {"ok": 1}), SubmitFailure.IN_DOUBT),
    "204": (submission_error(204), SubmitFailure.IN_DOUBT),
    # Refusals in the provider's own form: for the sake of the request, or of the account.
    **{
        f"200 code {code}": (refused(200, code), SubmitFailure.REJECTED)
        for code in (1001, 1003, 1005, 2001, 5000, 6003, 6004, 7777)
    },
    **{
        f"200 code {code}": (refused(200, code), SubmitFailure.POSTPONED)
        for code in (1002, 1004, 1009, 1011, 1015, 1017, 6101)
    },
    **{f"{status}": (refused(status, 7777), SubmitFailure.REJECTED) for status in (400, 404, 407, 413, 421, 422, 425)},
    **{f"{status}": (refused(status, 7777), SubmitFailure.POSTPONED) for status in (401, 402, 403)},
    "429 daily limit": (refused(429, 6101), SubmitFailure.POSTPONED),
    # Pages of something in between.
    **{
        f"{status} page": (submission_error(status, text="no"), SubmitFailure.IN_DOUBT)
        for status in (302, 303, 400, 402, 403, 404, 408, 409, 422, 499)
    },
    **{f"{status} page": (submission_error(status, text="no"), SubmitFailure.POSTPONED) for status in (401, 407, 413)},
    **{f"{status} page": (submission_error(status, text="no"), SubmitFailure.UNSENT) for status in (421, 425)},
    # Because of load.
    "429": (refused(429, 7777), SubmitFailure.BUSY),
    "429 bare": (submission_error(429, text="slow down"), SubmitFailure.BUSY),
    "200 throttle code 6002": (refused(200, 6002), SubmitFailure.BUSY),
    "200 throttled 1001": (refused(200, 1001, "rate limit"), SubmitFailure.BUSY),
    "200 throttled in Chinese": (refused(200, 1001, "请求频率"), SubmitFailure.BUSY),
    "200 too many tasks 6010": (refused(200, 6010), SubmitFailure.BUSY),
    "400 too many tasks 6010": (refused(400, 6010), SubmitFailure.BUSY),
    "200 queue full 1007": (refused(200, 1007), SubmitFailure.BUSY),
    "500 with a code of load": (refused(500, 6002), SubmitFailure.BUSY),
    "503 with a code of load": (refused(503, 1007), SubmitFailure.BUSY),
    "403 with a code of load": (refused(403, 6010), SubmitFailure.BUSY),
    "503 throttled 1001": (refused(503, 1001, "rate limit"), SubmitFailure.BUSY),
    # Without proof that nothing was charged.
    **{
        f"{status}": (submission_error(status, text="<html>"), SubmitFailure.IN_DOUBT)
        for status in (500, 502, 503, 504, 520)
    },
    **{f"{status} with a body": (refused(status, 5000), SubmitFailure.IN_DOUBT) for status in (500, 502, 503, 504)},
    "503 daily limit": (refused(503, 6101), SubmitFailure.IN_DOUBT),
    "no answer": (errors.NoAnswer("read time-out"), SubmitFailure.IN_DOUBT),
    "transport": (errors.TransportError("reset"), SubmitFailure.IN_DOUBT),
    "unforeseen": (RuntimeError("a bug"), SubmitFailure.IN_DOUBT),
    "os error": (ConnectionResetError(), SubmitFailure.IN_DOUBT),
}


@pytest.mark.parametrize(("error", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_classify_failure_of_a_paid_post(error: Exception, expected: SubmitFailure) -> None:
    """A paid POST is repeated only if it was not sent or refused for load. A possible charge is in doubt."""
    assert classify_failure(error) is expected


@pytest.mark.parametrize("name", errors.__all__)
def test_classify_failure_without_proof_is_in_doubt(name: str) -> None:
    """Each error is in doubt unless it proves that nothing was charged."""
    account = ("AuthenticationError", "DailyLimitReached", "InsufficientCredits", "PermissionDenied")
    proofs = {
        "NotSent": SubmitFailure.UNSENT,
        "QueueTooLong": SubmitFailure.UNSENT,
        "RateLimited": SubmitFailure.BUSY,
        **dict.fromkeys(account, SubmitFailure.POSTPONED),
    }
    cls: type[errors.AioweryError] = getattr(errors, name)
    refusal = SubmitFailure.REJECTED if issubclass(cls, errors.APIError) else SubmitFailure.IN_DOUBT
    assert classify_failure(cls("x")) is proofs.get(name, refusal)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.NotSent(), True),
        (errors.NoAnswer(), True),
        (errors.UnexpectedResponse(), True),
        (errors.UnexpectedResponse(http_status=404), True),
        (errors.UnexpectedResponse(http_status=302), False),
        (errors.RateLimited(), True),
        (errors.ServerError(http_status=500), True),
        (errors.InvalidRequest(http_status=408), True),
        (errors.InvalidRequest(http_status=425), True),
        (errors.InvalidRequest(http_status=400), False),
        (errors.NotFound(), False),
        (errors.AuthenticationError(), False),
        (errors.InvalidRequest(), False),
        (errors.DailyLimitReached(), False),
        (errors.ConfigurationError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_is_retryable_only_for_passing_errors(error: errors.AioweryError, again: bool) -> None:
    """Reads cost nothing, but a repeat does not change a wrong key or an unknown id."""
    assert is_retryable(error) is again


@pytest.mark.parametrize("cls", [errors.RateLimited, errors.ServerError, errors.NotFound, errors.UnexpectedResponse])
def test_retry_after_of_each_response_is_returned(cls: type[errors.APIError | errors.UnexpectedResponse]) -> None:
    """Whatever a response means, the pause that it requests is returned, also as the cause of a doubt."""
    doubt = errors.SubmissionInDoubt()
    doubt.__cause__ = cls(retry_after=2.5)
    assert retry_after(doubt.__cause__) == retry_after(doubt) == 2.5
    assert retry_after(cls()) is None


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "soon", True, [], 10**400])
def test_retry_after_of_odd_value_is_none(value: Any) -> None:
    """A provider's decoder may pass on any value of a body; no timer gets it."""
    assert retry_after(errors.RateLimited(retry_after=value)) is None


def test_retry_after_without_response_is_none() -> None:
    """An error without a response requests no pause."""
    assert retry_after(errors.NoAnswer()) is retry_after(errors.SubmissionInDoubt()) is retry_after(None) is None
