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
async def test_at_most_twenty_tasks_are_in_flight() -> None:
    """A gather of 100 never makes the provider refuse the 21st task."""
    world = FakeWeryAI(seconds=10, max_tasks=20)
    async with client_of(world) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(100)))
        assert client.statistics().queue.refusals == 0
    assert len(world.posts) == 100
    assert world.most_under_way == 20


@pytest.mark.virtual_time
async def test_places_taken_by_somebody_else_are_lived_with() -> None:
    """Another process uses 12 of the 20 places: refusals are waited out, every request is made once."""
    world = FakeWeryAI(seconds=10, max_tasks=8)
    async with client_of(world) as client:
        results = await asyncio.gather(*(client.run(CAT) for _ in range(60)))
        refusals = client.statistics().queue.refusals
    assert len({result.task_ids for result in results}) == 60
    assert len(world.finished_at) == 60
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
            httpx.Response(503, json={"status": 5000, "message": "busy", "data": None}), id="503 in its own words"
        ),
        pytest.param(httpx.PoolTimeout("no connection"), id="never left"),
    ],
)
@pytest.mark.virtual_time
async def test_what_a_repeat_can_cure_is_repeated(refusal: httpx.Response | Exception) -> None:
    """Load refusals and requests that never left are sent again, and exactly one task comes of it."""
    world = FakeWeryAI(faults={"submit": [refusal, refusal]})
    async with client_of(world) as client:
        await client.run(CAT)
    assert len(world.posts) == 3
    assert len(world.finished_at) == 1


@pytest.mark.parametrize(
    "misfortune",
    [
        pytest.param(httpx.ReadTimeout("slow"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("closed"), id="closed"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.ConnectError("says a transport that reports no events"), id="connect error by name only"),
        pytest.param(httpx.Response(503, json={"status": "error", "message": "upstream"}), id="503 in other words"),
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
async def test_a_post_without_a_clear_answer_is_never_repeated(misfortune: httpx.Response | Exception) -> None:
    """It may have been charged: SubmissionInDoubt names the request and the moment, and one POST is all there is."""
    world = FakeWeryAI(faults={"submit": [misfortune]})
    async with client_of(world) as client:
        with pytest.raises(SubmissionInDoubt, match=r"a cat.*not sent again") as caught:
            await client.run(CAT)
        assert caught.value.request == CAT
        assert caught.value.sent_at is not None
        assert client.statistics().in_doubt == 1
        assert client.statistics().queue.in_use == 0
    assert len(world.posts) == 1


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
async def test_a_refusal_is_raised_at_once(refusal: httpx.Response, expected: type[APIError]) -> None:
    """What a repeat cannot cure is not repeated, costs nothing, and frees its place."""
    world = FakeWeryAI(faults={"submit": [refusal]})
    async with client_of(world) as client:
        with pytest.raises(expected):
            await client.run(CAT)
        assert client.statistics().refused == 1
        assert client.statistics().queue.in_use == 0
    assert len(world.posts) == 1


@pytest.mark.virtual_time
async def test_refusals_for_ever_end_in_rate_limited() -> None:
    """Nothing waits for ever: after its patience the refused request fails, and nothing was charged."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(429)] * 10_000})
    async with client_of(world, retries=RetryPolicy(max_busy_time=300)) as client:
        with pytest.raises(RateLimited):
            await client.run(CAT)
    assert 300 <= now() <= 360
    assert len(world.posts) < 60


@pytest.mark.virtual_time
async def test_when_patience_with_refusals_ends_it_ends_for_all_in_line() -> None:
    """A hundred requests do not each wait ten minutes, one after the other, for the same refusal."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(429)] * 10_000})
    async with client_of(world, retries=RetryPolicy(max_busy_time=300)) as client:
        errors = await asyncio.gather(*(client.run(CAT) for _ in range(100)), return_exceptions=True)
        assert client.statistics().queue.in_use == 0
    assert all(isinstance(error, RateLimited) for error in errors)
    assert now() <= 360


@pytest.mark.virtual_time
async def test_a_wrong_key_spares_those_in_line_their_post() -> None:
    """The first refused key ends the wait of everybody behind it."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(401)] * 1000}, latency=0.1)
    async with client_of(world) as client:
        errors = await asyncio.gather(*(client.run(CAT) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(error, AuthenticationError) for error in errors)
    assert len(world.posts) <= 20


@pytest.mark.virtual_time
async def test_retry_after_nothing_is_no_invitation_to_storm() -> None:
    """A Retry-After of 0 keeps the least pause between two refused submissions."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(429, headers={"retry-after": "0"})] * 10_000})
    async with client_of(world) as client:
        with pytest.raises(RateLimited):
            await client.run(CAT)
    assert len(world.posts) <= 301


@pytest.mark.virtual_time
async def test_an_old_refusal_does_not_shorten_todays_patience() -> None:
    """A refusal an hour ago, and one now, are not an hour of refusals."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(429)]}, latency=1.0)
    async with client_of(world) as client:
        gone = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.5)
        gone.cancel()
        await asyncio.sleep(3600)
        world.faults = {"submit": [httpx.Response(429)]}
        assert (await client.run(CAT)).task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_a_renewed_key_serves_everybody_who_was_refused_with_the_old_one() -> None:
    """Four submissions with the old key, refused one after the other: all four go out with the new one."""
    keys = ["sk-old-key"]
    world = FakeWeryAI()
    number = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal number
        number += 1
        await asyncio.sleep(0.1 * number)
        if request.headers["authorization"] == "Bearer sk-old-key":
            return httpx.Response(401)
        return await world(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        async with WeryAI(lambda: keys[0], base_url="https://api.example.com", http=http) as client:
            keys[0] = "sk-new-key"
            await asyncio.gather(*(client.submit(CAT) for _ in range(4)))
    assert len(world.posts) == 4


def test_a_log_handler_that_raises_does_not_lose_what_was_paid_for() -> None:
    """The job is kept and looked at, whatever the handlers of the log do."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO and "accepted" in record.getMessage():
                raise LookupError("a handler's own bug")

    async def main() -> None:
        async with client_of(FakeWeryAI(seconds=10)) as client:
            with pytest.raises(LookupError):
                await client.run(CAT)
            await asyncio.sleep(30)
            (job,) = client.jobs()
            assert (await job).task_ids == ("task_0",)
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
