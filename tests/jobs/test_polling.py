"""Polls of jobs under way: their times, the effect of a failed one, and what is learned from finished jobs."""

from __future__ import annotations

import asyncio
from bisect import bisect
from itertools import pairwise

import httpx
import pytest

from aiowery import Asset, Event, Limits, PollFailed, PollPolicy, Snapshot, TaskState
from aiowery._core.request import Accepted
from aiowery.errors import (
    JobLost,
)
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider
from tests.support import CAT, WIDE, FakeWeryAI, client_of, envelope, now


@pytest.mark.virtual_time
async def test_poll_running_job_repeats_every_three_to_five_seconds() -> None:
    """The provider's recommended interval holds for each job, at random within it; a poll is at most a tick late."""
    provider = FakeWeryAI(seconds=600)
    async with client_of(provider, polling=PollPolicy(image_timeout=3600)) as client:
        await client.run(CAT)
    polls = provider.polls["task_0"]
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert min(gaps) >= 3.0
    assert max(gaps) <= 5.05
    assert max(gaps) - min(gaps) > 1
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_first_poll_after_eight_jobs_waits_for_usual_duration() -> None:
    """The learned first poll saves polls, and no end is found late."""
    provider = FakeWeryAI(seconds=12)
    async with client_of(provider, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(8)))
        before = sum(map(len, provider.polls.values()))
        results = await asyncio.gather(*(client.run(CAT) for _ in range(50)))
        polls = (sum(map(len, provider.polls.values())) - before) / 50
    delays = [(result.seconds or 0) - 12 for result in results]
    assert polls <= 2.2
    assert sum(delays) / 50 < 1.9
    assert max(delays) < 3.3


@pytest.mark.virtual_time
async def test_first_poll_of_jobs_submitted_together_is_spread() -> None:
    """A learned first poll comes at random within an interval, so jobs of equal duration are not polled in a rush."""
    provider = FakeWeryAI(seconds=12)
    async with client_of(provider, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(8)))
        await asyncio.gather(*(client.run(CAT) for _ in range(300)))
    polls = sorted(moment for number in range(8, 308) for moment in provider.polls[f"task_{number}"])
    assert max(bisect(polls, moment + 1) - index for index, moment in enumerate(polls)) < 300 / 3 * 1.4
    gaps = [later - earlier for several in provider.polls.values() for earlier, later in pairwise(several)]
    assert min(gaps) >= 3.0


@pytest.mark.virtual_time
async def test_first_poll_of_faster_model_comes_earlier_again() -> None:
    """The learned first poll comes earlier when jobs turn out to be done long before it."""
    provider = FakeWeryAI(seconds=60)
    async with client_of(provider, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(64)))
        provider.seconds = 10
        for _ in range(20):
            results = await asyncio.gather(*(client.run(CAT) for _ in range(10)))
        assert max(result.seconds or 0 for result in results) < 20


@pytest.mark.virtual_time
async def test_first_poll_interval_policy_ignores_learned_durations() -> None:
    """`PollPolicy(first_poll="interval")` polls after 3 to 5 seconds, whatever durations were observed."""
    provider = FakeWeryAI(seconds=30)
    async with client_of(provider, limits=WIDE, polling=PollPolicy(first_poll="interval")) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(20)))
        begun = now()
        await client.run(CAT)
    assert provider.polls["task_20"][0] - begun <= 5.1


@pytest.mark.virtual_time
async def test_poll_job_with_several_tasks_uses_batch_endpoint() -> None:
    """One GET shows all tasks of a job with a batch id, and its result lists all pictures in order."""
    provider = FakeWeryAI(seconds=20)
    async with client_of(provider) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=4))
    assert [asset.task_id for asset in result.assets] == [f"task_{n}" for n in range(4)]
    assert result.credits == 4
    assert provider.polls == {}
    assert 4 <= provider.batch_polls <= 8


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(envelope(None, 1003, "batch not exist"), id="unknown"),
        pytest.param(httpx.Response(404, text="nope"), id="http 404"),
        pytest.param(httpx.Response(200, text="<html>"), id="page"),
        pytest.param(httpx.Response(403), id="http 403"),
        pytest.param(httpx.Response(500), id="http 500"),
        pytest.param(envelope(None, 1001, "batch queries are not supported"), id="refused"),
        pytest.param(envelope([{"task_id": "task_0", "task_status": "PROCESSING"}]), id="tasks missing"),
        pytest.param(envelope([]), id="empty"),
    ],
)
@pytest.mark.virtual_time
async def test_poll_unusable_batch_response_polls_single_tasks(answer: httpx.Response) -> None:
    """Whatever the batch endpoint does not report is polled task by task, and the job is not affected."""
    provider = FakeWeryAI(seconds=10, faults={"batch": [answer]})
    async with client_of(provider) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=2))
    assert len(result.assets) == 2
    assert provider.polls


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(httpx.Response(500, text="<html>oops</html>"), id="500"),
        pytest.param(httpx.Response(502), id="502"),
        pytest.param(httpx.Response(429, headers={"retry-after": "7"}), id="429"),
        pytest.param(httpx.Response(401, json={"status": 1002, "desc": "Authentication failed"}), id="401"),
        pytest.param(httpx.Response(403), id="403"),
        pytest.param(envelope(None, 1001, "request rate limit"), id="throttled"),
        pytest.param(envelope(None, 5000, "server"), id="server code"),
        pytest.param(httpx.Response(200, text='{"status": 0, "da'), id="truncated"),
        pytest.param(httpx.Response(200), id="empty"),
        pytest.param(envelope({"task_id": "another", "task_status": "SUCCESS"}), id="another task"),
        pytest.param(envelope(["odd"]), id="odd data"),
        pytest.param(envelope(None, 1003, "task not exist"), id="not found yet"),
        pytest.param(httpx.ReadTimeout("slow"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("reset"), id="reset"),
        pytest.param(httpx.ConnectError("refused"), id="refused"),
    ],
)
@pytest.mark.virtual_time
async def test_poll_fails_repeatedly_never_fails_job(fault: httpx.Response | Exception) -> None:
    """After three faults in a row of the status endpoint the picture still arrives, paid for once."""
    provider = FakeWeryAI(seconds=20, faults={"status": [fault] * 3})
    async with client_of(provider) as client:
        result = await client.run(CAT)
    assert result.url == "https://files.example.com/task_0.png"
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_poll_rate_limited_pauses_all_polls() -> None:
    """A rate limit applies to the whole account, so all polls pause as long as the provider requests."""
    provider = FakeWeryAI(seconds=60, faults={"status": [httpx.Response(429, headers={"retry-after": "20"})]})
    async with client_of(provider, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(10)))
    times = sorted(moment for several in provider.polls.values() for moment in several)
    assert times[1] - times[0] >= 19.9


@pytest.mark.parametrize(
    ("fault", "longest"),
    [
        pytest.param(httpx.Response(500), 5.0, id="500"),
        pytest.param(httpx.Response(429, headers={"retry-after": "1"}), 5.0, id="429, one second"),
        pytest.param(httpx.Response(429), 11.0, id="429, no duration"),
    ],
)
@pytest.mark.virtual_time
async def test_poll_failed_once_pauses_no_longer_than_required(fault: httpx.Response, longest: float) -> None:
    """The next poll comes after the usual interval. It comes later only after a rate limit without a duration."""
    provider = FakeWeryAI(seconds=60, faults={"status": [fault] * 40})
    pauses: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, PollFailed):
            pauses.append(event.pause)

    async with client_of(provider, limits=Limits(in_flight=40, polls=40), observer=observe) as client:
        jobs = [await client.submit(CAT) for _ in range(40)]
        await asyncio.sleep(5.5)  # one poll of each
        assert not any(job.done for job in jobs)
    pauses = pauses[:40]
    assert 3.0 <= min(pauses) <= max(pauses) <= longest
    assert (max(pauses) > 5.0) is (longest > 5.0)


@pytest.mark.virtual_time
async def test_poll_unknown_raw_status_counts_as_running(caplog: pytest.LogCaptureFixture) -> None:
    """An undocumented raw status is kept, logged once as a warning, and not taken for an end."""
    strange = envelope({"task_id": "task_0", "task_status": "Polishing"})
    provider = FakeWeryAI(seconds=30, faults={"status": [strange, strange, strange]})
    async with client_of(provider) as client:
        job = await client.submit(CAT)
        statuses = [snapshot.raw_status async for snapshot in job.updates()]
    assert statuses == ["Polishing", "PROCESSING", "SUCCESS"]
    assert caplog.text.count("'Polishing' is unknown") == 1


@pytest.mark.virtual_time
async def test_poll_task_not_found_after_grace_is_lost() -> None:
    """A 404 right after acceptance means "not yet". Half a minute later it means lost."""
    provider = FakeWeryAI(seconds=600)
    async with client_of(provider) as client:
        job = await client.submit(CAT)
        provider.finished_at.clear()
        with pytest.raises(JobLost, match="task_0") as caught:
            await job
        assert 30 <= now() <= 60
        assert caught.value.task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_poll_unexpected_error_does_not_end_job(caplog: pytest.LogCaptureFixture) -> None:
    """A bug below a status check is logged with its traceback, and the next poll follows."""
    provider = FakeWeryAI(seconds=20, faults={"status": [LookupError("a bug below")]})
    async with client_of(provider) as client:
        assert (await client.run(CAT)).task_ids == ("task_0",)
    assert "an unforeseen error" in caplog.text
    assert "a bug below" in caplog.text


@pytest.mark.virtual_time
async def test_submit_response_with_finished_tasks_is_not_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that are done in the response to the submission need no poll."""
    provider = FakeWeryAI()
    async with client_of(provider) as client:
        done = Snapshot("t", TaskState.DONE, "success", (Asset("https://f.example/t.png"),))
        accepted = Accepted(task_ids=("t",), snapshots=(done,))
        monkeypatch.setattr(WeryAIProvider, "decode_submission", lambda *_: accepted)
        job = await client.submit(CAT)
        assert (await job).urls == ("https://f.example/t.png",)
        assert client.statistics().queue.in_use == 0
    assert provider.polls == {}


@pytest.mark.virtual_time
async def test_poll_while_reads_are_throttled_is_not_delayed() -> None:
    """A read that pauses before its next attempt releases the gate for others."""
    provider = FakeWeryAI(seconds=10)

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/balance"):
            return httpx.Response(429, headers={"retry-after": "100"})
        return await provider(request)

    async with client_of(answer, limits=Limits(polls=2)) as client:
        reads = [asyncio.ensure_future(client.balance()) for _ in range(2)]
        await asyncio.sleep(1)
        await client.run(CAT)
        assert now() < 20
        await asyncio.gather(*reads, return_exceptions=True)
