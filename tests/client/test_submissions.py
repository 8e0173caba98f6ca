"""Submissions: the capacity of an account, which rejections are retried, and what is in doubt."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from aiowery import RetryPolicy, WeryAI
from aiowery.errors import (
    APIError,
    AuthenticationError,
    InsufficientCredits,
    RateLimited,
    SubmissionInDoubt,
)
from aiowery.testing import run_virtual
from tests.support import CAT, FakeWeryAI, client_of, envelope, now


@pytest.mark.virtual_time
async def test_run_hundred_requests_keeps_twenty_tasks_in_flight() -> None:
    """A gather of 100 never makes the provider reject the 21st task."""
    provider = FakeWeryAI(seconds=10, max_tasks=20)
    async with client_of(provider) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(100)))
        assert client.statistics().queue.refusals == 0
    assert len(provider.posts) == 100
    assert provider.peak_tasks == 20


@pytest.mark.virtual_time
async def test_run_slots_taken_by_other_process_retries_rejections() -> None:
    """Another process uses 12 of the 20 slots. Rejections are retried later, and every request starts one task."""
    provider = FakeWeryAI(seconds=10, max_tasks=8)
    async with client_of(provider) as client:
        results = await asyncio.gather(*(client.run(CAT) for _ in range(60)))
        refusals = client.statistics().queue.refusals
    assert len({result.task_ids for result in results}) == 60
    assert len(provider.finished_at) == 60
    assert 1 <= refusals <= 30


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(httpx.Response(429, headers={"retry-after": "2.5"}), id="429"),
        pytest.param(envelope(None, 6010, "more than 20 tasks at once"), id="6010"),
        pytest.param(envelope(None, 6002, "workflow rate limit"), id="6002"),
        pytest.param(envelope(None, 1007, "queue full"), id="1007"),
        pytest.param(envelope(None, 1001, "Request rate limit exceeded"), id="1001"),
        pytest.param(
            httpx.Response(503, json={"status": 1007, "message": "busy", "data": None}), id="503 with a code of load"
        ),
        pytest.param(httpx.PoolTimeout("no connection"), id="never left"),
    ],
)
@pytest.mark.virtual_time
async def test_run_load_rejection_or_unsent_request_is_sent_again(refusal: httpx.Response | Exception) -> None:
    """Load rejections and requests that were provably not sent are sent again, and exactly one task is started."""
    provider = FakeWeryAI(faults={"submit": [refusal, refusal]})
    async with client_of(provider) as client:
        await client.run(CAT)
    assert len(provider.posts) == 3
    assert len(provider.finished_at) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(httpx.ReadTimeout("slow"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("closed"), id="closed"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.ConnectError("from a transport that reports no events"), id="connect error by name only"),
        pytest.param(httpx.Response(503, json={"status": "error", "message": "upstream"}), id="503 in another form"),
        pytest.param(httpx.Response(500, text="oops"), id="500"),
        pytest.param(httpx.Response(502, text="<html>"), id="502"),
        pytest.param(httpx.Response(503, text="<html>"), id="503 of a gateway"),
        pytest.param(httpx.Response(504), id="504"),
        pytest.param(httpx.Response(200, text="<html>"), id="unreadable"),
        pytest.param(httpx.Response(200), id="empty"),
        pytest.param(envelope({"batch_id": 5}), id="no ids"),
        pytest.param(RuntimeError("a bug somewhere below"), id="unforeseen"),
    ],
)
@pytest.mark.virtual_time
async def test_run_post_without_clear_answer_is_never_repeated(fault: httpx.Response | Exception) -> None:
    """The request may have been charged. SubmissionInDoubt contains the request and the time, and there is one POST."""
    provider = FakeWeryAI(faults={"submit": [fault]})
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt, match=r"^text-to-image WERYAI_IMAGE_2_0: .*not sent again") as caught:
            await client.run(CAT)
        assert caught.value.request == CAT
        assert caught.value.sent_at is not None
        assert client.statistics().in_doubt == 1
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (envelope(None, 1004, "insufficient credits"), InsufficientCredits),
        (envelope(None, 1001, "prompt cannot be empty"), APIError),
        (httpx.Response(401), AuthenticationError),
    ],
    ids=["credits", "parameter", "key"],
)
@pytest.mark.virtual_time
async def test_run_permanent_rejection_is_raised_immediately(refusal: httpx.Response, expected: type[APIError]) -> None:
    """A rejection that a retry cannot change is not repeated, costs nothing, and frees its slot."""
    provider = FakeWeryAI(faults={"submit": [refusal]})
    async with client_of(provider) as client:
        with pytest.raises(expected):
            await client.run(CAT)
        assert client.statistics().refused == 1
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_run_endless_rejections_raise_rate_limited() -> None:
    """After `max_busy_time` the rejected request fails instead of waiting for ever, and nothing was charged."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429)] * 10_000})
    async with client_of(provider, retries=RetryPolicy(max_busy_time=300)) as client:
        with pytest.raises(RateLimited):
            await client.run(CAT)
    assert 300 <= now() <= 360
    assert len(provider.posts) < 60


@pytest.mark.virtual_time
async def test_run_endless_rejections_end_whole_queue_together() -> None:
    """A hundred requests do not each wait ten minutes, one after the other, for the same rejection."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429)] * 10_000})
    async with client_of(provider, retries=RetryPolicy(max_busy_time=300)) as client:
        errors = await asyncio.gather(*(client.run(CAT) for _ in range(100)), return_exceptions=True)
        assert client.statistics().queue.in_use == 0
    assert all(isinstance(error, RateLimited) for error in errors)
    assert now() <= 360


@pytest.mark.virtual_time
async def test_run_rejected_key_ends_whole_queue() -> None:
    """The first rejection of the key ends the wait of all submissions behind it."""
    refusal = httpx.Response(401, json={"status": 1002, "message": "authentication failed"})
    provider = FakeWeryAI(faults={"submit": [refusal] * 1000}, latency=0.1)
    async with client_of(provider) as client:
        errors = await asyncio.gather(*(client.run(CAT) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(error, AuthenticationError) for error in errors)
    assert len(provider.posts) <= 20


@pytest.mark.virtual_time
async def test_run_retry_after_zero_keeps_minimum_pause() -> None:
    """A Retry-After of 0 keeps the minimum pause between two rejected submissions."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429, headers={"retry-after": "0"})] * 10_000})
    async with client_of(provider) as client:
        with pytest.raises(RateLimited):
            await client.run(CAT)
    assert len(provider.posts) <= 301


@pytest.mark.virtual_time
async def test_run_old_rejection_does_not_count_as_busy_time() -> None:
    """A rejection an hour ago and one now are not an hour of rejections."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429)]}, latency=1.0)
    async with client_of(provider) as client:
        gone = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.5)
        gone.cancel()
        await asyncio.sleep(3600)
        provider.faults = {"submit": [httpx.Response(429)]}
        assert (await client.run(CAT)).task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_submit_key_renewed_repeats_all_submissions_with_old_key() -> None:
    """Four submissions are rejected with the old key, one after the other. All four are sent with the new one."""
    keys = ["sk-old-key"]
    provider = FakeWeryAI()
    number = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal number
        number += 1
        await asyncio.sleep(0.1 * number)
        if request.headers["authorization"] == "Bearer sk-old-key":
            return httpx.Response(401)
        return await provider(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        async with WeryAI(lambda: keys[0], base_url="https://api.example.com", http=http) as client:
            keys[0] = "sk-new-key"
            await asyncio.gather(*(client.submit(CAT) for _ in range(4)))
    assert len(provider.posts) == 4


def test_run_log_handler_raises_keeps_paid_job() -> None:
    """The job is kept and polled, whatever the log handlers raise."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO and "accepted" in record.getMessage():
                raise LookupError("a handler's own bug")

    async def main() -> None:
        async with client_of(FakeWeryAI(seconds=10)) as client:
            assert (await client.run(CAT)).task_ids == ("task_0",)
            assert client.statistics().queue.in_use == 0

    logger, broken = logging.getLogger("aiowery"), Broken()
    logger.addHandler(broken)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        run_virtual(main())
    finally:
        logger.removeHandler(broken)
        logger.setLevel(level)
