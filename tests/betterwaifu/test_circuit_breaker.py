"""The circuit breaker where one picture is made at a time: three submissions, then probes, in both editions."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from aiowery import Event, SubmissionsPaused, SubmissionsResumed
from aiowery.betterwaifu import Edition
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.errors import NotSent, SubmissionInDoubt
from aiowery.testing import run_virtual
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture


def gateway_error() -> httpx.Response:
    """Return a gateway's HTML response."""
    return httpx.Response(502, text="<html>bad gateway</html>")


@pytest.mark.parametrize("edition", ["jobs", "v1-images"])
def test_breaker_third_doubt_pauses_until_a_probe_succeeds(edition: Edition) -> None:
    """The third submission in doubt pauses the queue. After a successful probe each of the rest is sent once."""
    provider = FakeBetterWaifu(faults=[gateway_error() for _ in range(4)], cool_down=60.0 if edition == "jobs" else 0.0)
    events: list[Event] = []

    async def main() -> None:
        async with client_of(provider, edition, observer=events.append) as client:
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(client.run(picture(n))) for n in range(12)]
            await asyncio.wait(tasks)
            doubts = [task for task in tasks if isinstance(task.exception(), SubmissionInDoubt)]
            assert len(doubts) == 4
            assert client.statistics().finished == 8
        assert provider.prompts == [picture(n).prompt for n in range(12)]
        pauses = [event for event in events if isinstance(event, (SubmissionsPaused, SubmissionsResumed))]
        assert [getattr(event, "failed_probes", None) for event in pauses] == [0, 1, None]
        between = [
            later - earlier for earlier, later in zip(provider.post_times, provider.post_times[1:], strict=False)
        ]
        assert between[2] >= 30
        assert between[3] >= 60
        reads = [path for path, _ in provider.reads]
        assert reads == (["/account"] * 2 if edition == "jobs" else [])

    run_virtual(main())


def test_breaker_jobs_unreadable_account_sends_no_submission() -> None:
    """An HTML response instead of the account is a failed probe, which costs nothing."""
    posts = 0

    async def hop(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        posts += request.method == "POST"
        return gateway_error()

    async def main() -> None:
        async with client_of(hop, "jobs") as client:
            tasks = [asyncio.create_task(client.run(picture(n))) for n in range(12)]
            await asyncio.sleep(2000)
            assert posts == 3
            assert "/account: HTTP 502" in (client.statistics().queue.pause_reason or "")
            client.stop_submitting()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(outcome, NotSent) for outcome in outcomes) == 9

    run_virtual(main())


def test_breaker_v1_probes_with_a_submission() -> None:
    """v1-images documents no free request, so a submission is the probe."""
    assert BetterWaifuProvider("v1-images").liveness_request() is None
    request = BetterWaifuProvider("jobs").liveness_request()
    assert request is not None
    assert (request.method, request.path) == ("GET", "/account")
