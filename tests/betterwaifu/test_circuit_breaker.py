"""The brake where one picture is made at a time: three submissions, then probes, in both editions."""

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
from tests.support.fake_betterwaifu import FakeBetterWaifu as Atelier
from tests.support.fake_betterwaifu import client_of, picture


def page() -> httpx.Response:
    """Return a gateway's page."""
    return httpx.Response(502, text="<html>bad gateway</html>")


@pytest.mark.parametrize("edition", ["jobs", "v1-images"])
def test_breaker_third_doubt_pauses_until_a_probe_succeeds(edition: Edition) -> None:
    """The third submission in doubt pauses the queue; after a successful probe each of the rest is sent once."""
    atelier = Atelier(faults=[page() for _ in range(4)], cool_down=60.0 if edition == "jobs" else 0.0)
    told: list[Event] = []

    async def main() -> None:
        async with client_of(atelier, edition, observer=told.append) as client:
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(client.run(picture(n))) for n in range(12)]
            await asyncio.wait(tasks)
            doubts = [task for task in tasks if isinstance(task.exception(), SubmissionInDoubt)]
            assert len(doubts) == 4
            assert client.statistics().finished == 8
        assert atelier.prompts == [picture(n).prompt for n in range(12)]
        pauses = [event for event in told if isinstance(event, (SubmissionsPaused, SubmissionsResumed))]
        assert [getattr(event, "failed_probes", None) for event in pauses] == [0, 1, None]
        between = [later - earlier for earlier, later in zip(atelier.post_times, atelier.post_times[1:], strict=False)]
        assert between[2] >= 30
        assert between[3] >= 60
        reads = [path for path, _ in atelier.reads]
        assert reads == (["/account"] * 2 if edition == "jobs" else [])

    run_virtual(main())


def test_breaker_jobs_unreadable_account_sends_no_submission() -> None:
    """An HTML page instead of the account is a failed probe, which costs nothing."""
    posts = 0

    async def hop(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        posts += request.method == "POST"
        return page()

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
    call = BetterWaifuProvider("jobs").liveness_request()
    assert call is not None
    assert (call.method, call.path) == ("GET", "/account")
