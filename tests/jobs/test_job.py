"""The handle of a job: its result or error, waiting with a timeout, and updates."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from aiowery import TaskState
from aiowery.errors import (
    ClientClosed,
    ConfigurationError,
    EmptyResult,
    JobFailed,
    JobLost,
    JobTimeout,
)
from aiowery.weryai import TextToImage
from tests.support import CAT, FakeWeryAI, client_of, envelope, now


@pytest.mark.virtual_time
async def test_a_failed_task_carries_the_providers_reason() -> None:
    """JobFailed says why, with the task's id and what was last seen."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "upstream refused the prompt"})
    world = FakeWeryAI(faults={"status": [failed]})
    async with client_of(world) as client:
        with pytest.raises(JobFailed, match="upstream refused the prompt") as caught:
            await client.run(CAT)
    assert caught.value.task_ids == ("task_0",)
    assert caught.value.snapshots[0].state is TaskState.FAILED


@pytest.mark.virtual_time
async def test_success_without_outputs_is_an_error_of_its_own() -> None:
    """A success that lists nothing is not a result with nothing in it."""
    empty = envelope({"task_id": "task_0", "task_status": "SUCCESS", "images": []})
    async with client_of(FakeWeryAI(faults={"status": [empty]})) as client:
        with pytest.raises(EmptyResult, match="task_0"):
            await client.run(CAT)


@pytest.mark.virtual_time
async def test_a_job_half_of_whose_tasks_failed_has_a_result() -> None:
    """What was paid for and made is delivered; the failures are named beside it."""
    mixed = envelope(
        [
            {"task_id": "task_0", "task_status": "SUCCESS", "images": ["https://f.example/0.png"]},
            {"task_id": "task_1", "task_status": "FAILED", "msg": "blocked"},
        ]
    )
    async with client_of(FakeWeryAI(faults={"batch": [mixed]})) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=2))
    assert result.urls == ("https://f.example/0.png",)
    assert [failure.reason for failure in result.failures] == ["blocked"]


@pytest.mark.virtual_time
async def test_a_lost_task_does_not_cost_its_sisters() -> None:
    """Two pictures, one of which the provider forgets: the other is delivered, the loss is named."""
    world = FakeWeryAI(seconds=90, faults={"batch": [envelope(None, 1003, "batch not exist")]})
    async with client_of(world) as client:
        job = await client.submit(TextToImage(prompt="cats", image_number=2))
        await asyncio.sleep(20)
        del world.finished_at["task_1"]
        result = await job
    assert result.urls == ("https://files.example.com/task_0.png",)
    assert [failure.task_id for failure in result.failures] == ["task_1"]


@pytest.mark.virtual_time
async def test_patience_ends_in_a_timeout_whose_job_can_be_awaited_again() -> None:
    """JobTimeout after 10 minutes for pictures by default; the job goes on and yields its result later."""
    world = FakeWeryAI(seconds=900)
    async with client_of(world) as client:
        with pytest.raises(JobTimeout, match="task_0") as caught:
            await client.run(CAT)
        assert now() == pytest.approx(600, abs=1)
        assert client.statistics().queue.in_use == 0
        assert caught.value.job is not None
        assert (await caught.value.job).task_ids == ("task_0",)
        assert now() == pytest.approx(903, abs=3)
    assert len(world.posts) == 1


@pytest.mark.virtual_time
async def test_a_short_deadline_ends_only_that_wait() -> None:
    """A handler's own short deadline leaves the job under way: it is watched on and found in `jobs()`."""
    async with client_of(FakeWeryAI(seconds=60)) as client:
        with pytest.raises(JobTimeout):
            await client.run(CAT, timeout=10)
        assert now() == pytest.approx(10, abs=0.5)
        (job,) = client.jobs()
        assert client.job("task_0") is job
        assert client.statistics().queue.in_use == 1
        await asyncio.sleep(60)
        assert job.done
        assert client.statistics().queue.in_use == 0
        assert client.jobs() == (job,)
        await job
        assert client.jobs() == ()


@pytest.mark.virtual_time
async def test_no_deadline_waits_without_end() -> None:
    """`deadline=None` is the explicit wish to wait for as long as it takes."""
    async with client_of(FakeWeryAI(seconds=7200)) as client:
        await client.run(CAT, timeout=None)
        assert now() > 7200


@pytest.mark.parametrize("deadline", [-1, float("nan"), Decimal(700), "60"])
@pytest.mark.virtual_time
async def test_a_deadline_that_makes_no_sense_is_refused_before_anything_is_sent(deadline: Any) -> None:
    """A bad deadline costs nothing."""
    world = FakeWeryAI()
    async with client_of(world) as client:
        with pytest.raises(ConfigurationError, match="timeout must be"):
            await client.run(CAT, timeout=deadline)
    assert world.posts == []


@pytest.mark.virtual_time
async def test_a_deadline_beyond_all_patience_is_none() -> None:
    """The largest number there is waits without end, instead of failing after the request was paid for."""
    async with client_of(FakeWeryAI(seconds=30)) as client:
        assert (await client.run(CAT, timeout=1.7e308)).task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_many_may_wait_on_one_job() -> None:
    """Every waiter gets the result; one that is cancelled or runs out of time takes nothing from the others."""
    async with client_of(FakeWeryAI(seconds=20)) as client:
        job = await client.submit(CAT)
        waiters = [asyncio.ensure_future(job.wait()) for _ in range(5)]
        impatient = asyncio.ensure_future(job.wait(timeout=2))
        await asyncio.sleep(1)
        waiters[0].cancel()
        results = await asyncio.gather(*waiters[1:], job)
        assert len(set(map(id, results))) == 1
        assert isinstance(impatient.exception(), JobTimeout)


@pytest.mark.virtual_time
async def test_updates_yields_changes_only_and_ends_with_the_job() -> None:
    """For progress: waiting, running, done, each once, however often it was looked at."""
    waiting = envelope({"task_id": "task_0", "task_status": "WAITING"})
    world = FakeWeryAI(seconds=60, faults={"status": [waiting] * 4})
    async with client_of(world) as client:
        job = await client.submit(CAT)
        states = [snapshot.state async for snapshot in job.updates()]
        assert states == [TaskState.WAITING, TaskState.RUNNING, TaskState.DONE]
        assert [s.state async for s in job.updates()] == [TaskState.DONE]


@pytest.mark.virtual_time
async def test_updates_end_though_the_job_ended_while_the_caller_was_busy() -> None:
    """Whoever takes his time with a snapshot (a message to edit, a slow browser) still hears of the end."""
    world = FakeWeryAI(seconds=12.0)
    async with client_of(world) as client:
        job = await client.submit(CAT)
        states = []
        async for snapshot in job.updates():
            states.append(snapshot.state)
            await asyncio.sleep(30.0)
    assert states == [TaskState.RUNNING, TaskState.DONE]


@pytest.mark.virtual_time
async def test_updates_end_in_a_timeout_when_patience_ends() -> None:
    """An iteration over updates does not hang when nothing changes any more."""
    async with client_of(FakeWeryAI(seconds=6000)) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            async for _ in job.updates(timeout=60):
                pass
        assert now() == pytest.approx(60, abs=1)
        assert "task_0 running" in repr(job)


@pytest.mark.virtual_time
async def test_a_watcher_who_is_busy_at_the_deadline_is_told_afterwards() -> None:
    """Nobody comes back to a job that nobody looks at any more and waits for ever."""
    async with client_of(FakeWeryAI(seconds=1e6)) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            async for _ in job.updates(timeout=600):
                await asyncio.sleep(700)
        with pytest.raises(JobTimeout):
            await job.wait(timeout=0)
        assert now() < 710


@pytest.mark.virtual_time
async def test_a_job_is_found_again_by_its_task_id() -> None:
    """Somebody else's task, or one from before a restart, is awaited like one's own; the first look is at once."""
    world = FakeWeryAI(seconds=8, finished_at={"task_old": 0.0})
    async with client_of(world) as client:
        result = await client.job("task_old", of=TextToImage)
        assert result.url.endswith("task_old.png")
        assert now() < 0.5
        with pytest.raises(JobLost, match="unheard"):
            await client.job("unheard")
        with pytest.raises(ConfigurationError):
            client.job("")


@pytest.mark.virtual_time
async def test_a_job_of_a_closed_client_says_so() -> None:
    """Awaiting a job after its client has closed ends at once, with the id that finds it again."""
    async with client_of(FakeWeryAI(seconds=60)) as client:
        job = await client.submit(CAT)
    with pytest.raises(ClientClosed, match=r"client\.job\('task_0'\)"):
        await job
    with pytest.raises(ClientClosed):
        await job.wait(timeout=None)
