"""What the client tells: log records, events, and ids for the provider's call history."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import httpx
import pytest
from support import World, client_of, envelope

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

CAT = TextToImage(prompt="a fluffy orange tabby cat sitting on a windowsill in the evening sun")


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[Any]:
    """Return the records of our logger at this level."""
    return [record for record in caplog.records if record.name == "aiowery" and record.levelno == level]


def test_one_info_line_when_accepted_and_one_when_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Two lines a job, with task ids, model, seconds, credits and a prompt of at most 50 characters."""
    caplog.set_level(logging.INFO, "aiowery")

    async def main() -> None:
        async with client_of(World()) as client:
            await client.run(CAT)

    run_virtual(main())
    accepted, ended = records(caplog, logging.INFO)
    assert accepted.task_ids == ended.task_ids == ("task_0",)
    assert accepted.model == "WERYAI_IMAGE_2_0"
    assert accepted.prompt == "a fluffy orange tabby cat sitting on a windowsi..."
    assert accepted.prompt in accepted.getMessage()
    assert ended.seconds >= 10
    assert ended.credits == 1


def test_polls_are_debug_and_trouble_is_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is flooded: a look that shows something is DEBUG, a failed one or a back-off WARNING."""
    caplog.set_level(logging.DEBUG, "aiowery")

    async def main() -> None:
        world = World(misfortunes={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
        async with client_of(world) as client:
            await client.run(CAT)

    run_virtual(main())
    warnings = [record.getMessage() for record in records(caplog, logging.WARNING)]
    assert len(warnings) == 2
    assert "refused because of load" in warnings[0]
    assert "a status check failed" in warnings[1]
    assert len(records(caplog, logging.DEBUG)) >= 1
    assert len(records(caplog, logging.INFO)) == 2


def test_the_observer_hears_the_life_of_a_job() -> None:
    """Accepted, updated, trouble, ended: small frozen events, in order."""
    events: list[Event] = []

    async def main() -> None:
        world = World(misfortunes={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
        async with client_of(world, observer=events.append) as client:
            await client.run(CAT)

    run_virtual(main())
    kinds = [type(event) for event in events]
    assert kinds[:3] == [QueueBackedOff, JobAccepted, PollFailed]
    assert set(kinds[3:-1]) == {JobUpdated}
    ended = events[-1]
    assert isinstance(ended, JobFinished)
    assert (ended.task_ids, ended.credits, ended.error) == (("task_0",), 1, None)


def test_an_observer_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Its bug is logged once, and the job goes on."""

    def broken(_: Event) -> None:
        raise LookupError("the observer's own bug")

    async def main() -> None:
        async with client_of(World(), observer=broken) as client:
            await client.run(CAT)

    run_virtual(main())
    assert caplog.text.count("the observer raised") == 1


@pytest.mark.parametrize(("balance", "told"), [(4.5, [4.5]), (5, []), (100, [])])
def test_low_credits_are_told(balance: float, told: list[float]) -> None:
    """A balance below the caller's threshold becomes an event."""
    events: list[Event] = []

    async def answer(_: httpx.Request) -> httpx.Response:
        return envelope(balance)

    async def main() -> None:
        async with client_of(answer, observer=events.append, low_credits=5) as client:
            assert await client.balance() == balance

    run_virtual(main())
    assert [event.balance for event in events if isinstance(event, LowCredits)] == told


def test_a_refusal_for_want_of_credits_is_told() -> None:
    """Out of credits is low on credits, whatever the threshold."""
    events: list[Event] = []

    async def main() -> None:
        world = World(misfortunes={"submit": [envelope(None, 1004, "insufficient credits")]})
        async with client_of(world, observer=events.append) as client:
            with pytest.raises(InsufficientCredits):
                await client.run(CAT)

    run_virtual(main())
    assert [type(event) for event in events] == [LowCredits]


@pytest.mark.parametrize("place", ["header", "body"])
def test_request_ids_are_kept_for_the_call_history(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever id an answer carries is found on the result, the error and the log line."""
    caplog.set_level(logging.INFO, "aiowery")

    def stamped(data: Any, status: int = 0) -> httpx.Response:
        if place == "header":
            return httpx.Response(
                200, json={"status": status, "desc": "x", "data": data}, headers={"x-request-id": "r-7"}
            )
        return httpx.Response(200, json={"status": status, "desc": "x", "data": data, "request_id": "r-7"})

    async def main() -> None:
        good = stamped({"task_ids": ["task_0"]})
        failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "no"})
        world = World(misfortunes={"submit": [good, stamped(None, 1004), stamped({})]}, finished_at={"task_0": 1.0})
        async with client_of(world) as client:
            assert (await client.run(CAT)).request_id == "r-7"
            for expected in (InsufficientCredits, SubmissionInDoubt):
                with pytest.raises(expected) as caught:
                    await client.run(CAT)
                assert caught.value.request_id == "r-7"
            world.misfortunes = {"submit": [good], "status": [failed]}
            with pytest.raises(JobFailed) as lost:
                await client.run(CAT)
            assert lost.value.request_id == "r-7"

    run_virtual(main())
    assert [record.request_id for record in records(caplog, logging.INFO)[:2]] == ["r-7", "r-7"]


def test_statistics_are_a_frozen_picture_of_the_moment() -> None:
    """Lane, polls and what became of the submissions, consistent with each other."""

    async def main() -> None:
        world = World(seconds=20, misfortunes={"submit": [envelope(None, 1004, "no credits"), httpx.Response(502)]})
        async with client_of(world, limits=Limits(in_flight=2)) as client:
            runs = [asyncio.ensure_future(client.run(CAT)) for _ in range(6)]
            await asyncio.sleep(10)
            now = client.statistics()
            assert (now.submitted, now.accepted, now.refused, now.in_doubt) == (4, 2, 1, 1)
            assert (now.under_way, now.queue.in_use, now.queue.waiting, now.polls.tracked) == (2, 2, 2, 2)
            await asyncio.gather(*runs, return_exceptions=True)
            then = client.statistics()
            assert (then.finished, then.under_way, then.queue.in_use) == (4, 0, 0)
            assert now.finished == 0

    run_virtual(main())


def test_errors_that_met_a_caller_pickle_with_what_they_know() -> None:
    """Errors cross process boundaries: ids, request and message survive, the live job stays behind."""

    async def failures() -> list[AioweryError]:
        world = World(seconds=100, misfortunes={"submit": [httpx.Response(502), envelope(None, 1004, "no")]})
        async with client_of(world) as client:
            caught = await asyncio.gather(
                client.run(CAT), client.run(CAT), client.run(CAT, timeout=5), return_exceptions=True
            )
        return [error for error in caught if isinstance(error, AioweryError)]

    errors = run_virtual(failures())
    assert len(errors) == 3
    for error in errors:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert type(again) is type(error)
        assert str(again) == str(error)
        left, kept = {**error.__dict__, "job": None}, {**again.__dict__, "job": None}
        assert kept == left
