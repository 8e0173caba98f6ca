"""Log records, events, statistics, and the ids of requests at the provider."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import httpx
import pytest

from aiowery import (
    Event,
    JobAccepted,
    JobFinished,
    JobUpdated,
    Limits,
    LowCredits,
    PollFailed,
    QueueBackedOff,
)
from aiowery.errors import AioweryError, InsufficientCredits, JobFailed, SubmissionInDoubt
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of, envelope

TABBY = TextToImage(prompt="a fluffy orange tabby cat sitting on a windowsill in the evening sun")


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[Any]:
    """Return the records of the library's logger at this level."""
    return [record for record in caplog.records if record.name == "aiowery" and record.levelno == level]


@pytest.mark.virtual_time
async def test_log_job_writes_two_info_records(caplog: pytest.LogCaptureFixture) -> None:
    """A job writes two INFO records with task ids, model, seconds, credits and a prompt of at most 50 characters."""
    caplog.set_level(logging.INFO, "aiowery")
    async with client_of(FakeWeryAI()) as client:
        await client.run(TABBY)
    accepted, ended = records(caplog, logging.INFO)
    assert accepted.task_ids == ended.task_ids == ("task_0",)
    assert accepted.model == "WERYAI_IMAGE_2_0"
    assert accepted.prompt == "a fluffy orange tabby cat sitting on a windowsi..."
    assert accepted.prompt in accepted.getMessage()
    assert ended.seconds >= 10
    assert ended.credits == 1


@pytest.mark.virtual_time
async def test_log_polls_are_debug_and_failures_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A poll with a change is DEBUG. A failed poll or a back-off is WARNING."""
    caplog.set_level(logging.DEBUG, "aiowery")
    provider = FakeWeryAI(faults={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
    async with client_of(provider) as client:
        await client.run(TABBY)
    warnings = [record.getMessage() for record in records(caplog, logging.WARNING)]
    assert len(warnings) == 2
    assert "refused because of load" in warnings[0]
    assert "a status check failed" in warnings[1]
    assert len(records(caplog, logging.DEBUG)) >= 1
    assert len(records(caplog, logging.INFO)) == 2


@pytest.mark.virtual_time
async def test_observer_receives_events_in_order() -> None:
    """The observer receives frozen events in order: back-off, accepted, failure, updates, finished."""
    events: list[Event] = []
    provider = FakeWeryAI(faults={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
    async with client_of(provider, observer=events.append) as client:
        await client.run(TABBY)
    kinds = [type(event) for event in events]
    assert kinds[:3] == [QueueBackedOff, JobAccepted, PollFailed]
    assert set(kinds[3:-1]) == {JobUpdated}
    ended = events[-1]
    assert isinstance(ended, JobFinished)
    assert (ended.task_ids, ended.credits, ended.error) == (("task_0",), 1, None)


@pytest.mark.virtual_time
async def test_observer_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the observer is logged once, and the job goes on."""

    def broken(_: Event) -> None:
        raise LookupError("the observer's own bug")

    async with client_of(FakeWeryAI(), observer=broken) as client:
        await client.run(TABBY)
    assert caplog.text.count("the observer raised") == 1


@pytest.mark.parametrize(("balance", "emitted"), [(4.5, [4.5]), (5, []), (100, [])])
@pytest.mark.virtual_time
async def test_balance_below_threshold_emits_low_credits(balance: float, emitted: list[float]) -> None:
    """A balance below the caller's threshold becomes an event."""
    events: list[Event] = []

    async def answer(_: httpx.Request) -> httpx.Response:
        return envelope(balance)

    async with client_of(answer, observer=events.append, low_credits=5) as client:
        assert await client.balance() == balance
    assert [event.balance for event in events if isinstance(event, LowCredits)] == emitted


@pytest.mark.virtual_time
async def test_submit_without_credits_emits_low_credits() -> None:
    """A rejection for want of credits becomes an event, whatever the threshold is."""
    events: list[Event] = []
    provider = FakeWeryAI(faults={"submit": [envelope(None, 1004, "insufficient credits")]})
    async with client_of(provider, observer=events.append) as client:
        with pytest.raises(InsufficientCredits):
            await client.run(TABBY)
    assert [type(event) for event in events] == [LowCredits]


@pytest.mark.parametrize("place", ["header", "body"])
@pytest.mark.virtual_time
async def test_request_id_is_on_result_error_and_log(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """The id of a response, in a header or the body, is on the result, the error and the log record."""
    caplog.set_level(logging.INFO, "aiowery")

    def stamped(data: Any, status: int = 0) -> httpx.Response:
        if place == "header":
            return httpx.Response(
                200, json={"status": status, "desc": "x", "data": data}, headers={"x-request-id": "r-7"}
            )
        return httpx.Response(200, json={"status": status, "desc": "x", "data": data, "request_id": "r-7"})

    good = stamped({"task_ids": ["task_0"]})
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "no"})
    provider = FakeWeryAI(faults={"submit": [good, stamped(None, 1004), stamped({})]}, finished_at={"task_0": 1.0})
    async with client_of(provider) as client:
        assert (await client.run(TABBY)).request_id == "r-7"
        for expected in (InsufficientCredits, SubmissionInDoubt):
            with pytest.raises(expected) as caught:
                await client.run(TABBY)
            assert caught.value.request_id == "r-7"
        provider.faults = {"submit": [good], "status": [failed]}
        with pytest.raises(JobFailed) as lost:
            await client.run(TABBY)
        assert lost.value.request_id == "r-7"
    assert [record.request_id for record in records(caplog, logging.INFO)[:2]] == ["r-7", "r-7"]


@pytest.mark.virtual_time
async def test_statistics_are_consistent_and_frozen() -> None:
    """The figures of queue, polls and submissions are consistent, and do not change afterwards."""
    provider = FakeWeryAI(seconds=20, faults={"submit": [envelope(None, 1004, "no credits"), httpx.Response(502)]})
    async with client_of(provider, limits=Limits(in_flight=2)) as client:
        runs = [asyncio.ensure_future(client.run(TABBY)) for _ in range(6)]
        await asyncio.sleep(10)
        now = client.statistics()
        assert (now.submitted, now.accepted, now.refused, now.in_doubt) == (4, 2, 1, 1)
        assert (now.under_way, now.queue.in_use, now.queue.waiting, now.polls.tracked) == (2, 2, 2, 2)
        await asyncio.gather(*runs, return_exceptions=True)
        then = client.statistics()
        assert (then.finished, then.under_way, then.queue.in_use) == (4, 0, 0)
        assert now.finished == 0


def test_errors_pickle_without_job() -> None:
    """Errors can cross process boundaries: ids, request and message are pickled, the job is not."""

    async def failures() -> list[AioweryError]:
        provider = FakeWeryAI(seconds=100, faults={"submit": [httpx.Response(502), envelope(None, 1004, "no")]})
        async with client_of(provider) as client:
            caught = await asyncio.gather(
                client.run(TABBY), client.run(TABBY), client.run(TABBY, timeout=5), return_exceptions=True
            )
        return [error for error in caught if isinstance(error, AioweryError)]

    errors = run_virtual(failures())
    assert len(errors) == 3
    for error in errors:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes that this test pickled
        assert type(again) is type(error)
        assert str(again) == str(error)
        left, kept = {**error.__dict__, "job": None}, {**again.__dict__, "job": None}
        assert kept == left
