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
async def test_run_failed_task_raises_provider_reason() -> None:
    """JobFailed contains the provider's reason, the task id and the last snapshot."""
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "upstream refused the prompt"})
    provider = FakeWeryAI(faults={"status": [failed]})
    async with client_of(provider) as client:
        with pytest.raises(JobFailed, match="upstream refused the prompt") as caught:
            await client.run(CAT)
    assert caught.value.task_ids == ("task_0",)
    assert caught.value.snapshots[0].state is TaskState.FAILED


@pytest.mark.virtual_time
async def test_run_success_without_outputs_raises_empty_result() -> None:
    """A success that lists no outputs is an error, not an empty result."""
    empty = envelope({"task_id": "task_0", "task_status": "SUCCESS", "images": []})
    async with client_of(FakeWeryAI(faults={"status": [empty]})) as client:
        with pytest.raises(EmptyResult, match="task_0"):
            await client.run(CAT)


@pytest.mark.virtual_time
async def test_run_half_of_tasks_failed_returns_result_with_failures() -> None:
    """Outputs that were made and paid for are returned, and the failures are listed beside them."""
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
async def test_wait_one_task_lost_returns_other_outputs() -> None:
    """If the provider forgets one of two tasks, the other picture is returned and the loss is listed."""
    provider = FakeWeryAI(seconds=90, faults={"batch": [envelope(None, 1003, "batch not exist")]})
    async with client_of(provider) as client:
        job = await client.submit(TextToImage(prompt="cats", image_number=2))
        await asyncio.sleep(20)
        del provider.finished_at["task_1"]
        result = await job
    assert result.urls == ("https://files.example.com/task_0.png",)
    assert [failure.task_id for failure in result.failures] == ["task_1"]


@pytest.mark.virtual_time
async def test_run_after_default_timeout_raises_and_job_can_be_awaited_again() -> None:
    """JobTimeout is raised after 10 minutes for pictures by default. The job goes on and has its result later."""
    provider = FakeWeryAI(seconds=900)
    async with client_of(provider) as client:
        with pytest.raises(JobTimeout, match="task_0") as caught:
            await client.run(CAT)
        assert now() == pytest.approx(600, abs=1)
        assert client.statistics().queue.in_use == 0
        assert caught.value.job is not None
        assert (await caught.value.job).task_ids == ("task_0",)
        assert now() == pytest.approx(903, abs=3)
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_run_short_timeout_ends_only_that_wait() -> None:
    """A caller's own short timeout leaves the job under way. It is still polled and found in `jobs()`."""
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
async def test_run_timeout_none_waits_without_end() -> None:
    """`timeout=None` waits for as long as the job takes."""
    async with client_of(FakeWeryAI(seconds=7200)) as client:
        await client.run(CAT, timeout=None)
        assert now() > 7200


@pytest.mark.parametrize("timeout", [-1, float("nan"), Decimal(700), "60"])
@pytest.mark.virtual_time
async def test_run_invalid_timeout_raises_and_sends_nothing(timeout: Any) -> None:
    """An invalid timeout costs nothing."""
    provider = FakeWeryAI()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError, match="timeout must be"):
            await client.run(CAT, timeout=timeout)
    assert provider.posts == []


@pytest.mark.virtual_time
async def test_run_largest_timeout_waits_without_end() -> None:
    """The largest float waits without end, instead of failing after the request was paid for."""
    async with client_of(FakeWeryAI(seconds=30)) as client:
        assert (await client.run(CAT, timeout=1.7e308)).task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_wait_several_waiters_all_get_result() -> None:
    """Every waiter gets the result. One that is cancelled or times out does not affect the others."""
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
async def test_updates_yields_each_change_once_until_job_ends() -> None:
    """Progress is waiting, running and done, each once, however often the job was polled."""
    waiting = envelope({"task_id": "task_0", "task_status": "WAITING"})
    provider = FakeWeryAI(seconds=60, faults={"status": [waiting] * 4})
    async with client_of(provider) as client:
        job = await client.submit(CAT)
        states = [snapshot.state async for snapshot in job.updates()]
        assert states == [TaskState.WAITING, TaskState.RUNNING, TaskState.DONE]
        assert [s.state async for s in job.updates()] == [TaskState.DONE]


@pytest.mark.virtual_time
async def test_updates_job_ends_while_reader_is_busy_yields_end() -> None:
    """A reader that takes long for a snapshot (a message to edit, a slow browser) still receives the end."""
    provider = FakeWeryAI(seconds=12.0)
    async with client_of(provider) as client:
        job = await client.submit(CAT)
        states = []
        async for snapshot in job.updates():
            states.append(snapshot.state)
            await asyncio.sleep(30.0)
    assert states == [TaskState.RUNNING, TaskState.DONE]


@pytest.mark.virtual_time
async def test_updates_without_change_raises_job_timeout() -> None:
    """An iteration over updates does not hang if nothing changes any more."""
    async with client_of(FakeWeryAI(seconds=6000)) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            async for _ in job.updates(timeout=60):
                pass
        assert now() == pytest.approx(60, abs=1)
        assert "task_0 running" in repr(job)


@pytest.mark.virtual_time
async def test_updates_reader_busy_at_deadline_raises_job_timeout_afterwards() -> None:
    """A reader never waits for ever for a job that is not polled any more."""
    async with client_of(FakeWeryAI(seconds=1e6)) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            async for _ in job.updates(timeout=600):
                await asyncio.sleep(700)
        with pytest.raises(JobTimeout):
            await job.wait(timeout=0)
        assert now() < 710


@pytest.mark.virtual_time
async def test_job_with_known_task_id_is_polled_immediately() -> None:
    """A task of another client, or from before a restart, can be awaited like any other.

    The first poll is immediate.
    """
    provider = FakeWeryAI(seconds=8, finished_at={"task_old": 0.0})
    async with client_of(provider) as client:
        result = await client.job("task_old", of=TextToImage)
        assert result.url.endswith("task_old.png")
        assert now() < 0.5
        with pytest.raises(JobLost, match="unknown"):
            await client.job("unknown")
        with pytest.raises(ConfigurationError):
            client.job("")


@pytest.mark.virtual_time
async def test_wait_after_close_raises_with_task_id() -> None:
    """Awaiting a job of a closed client raises immediately, with the id that finds it again."""
    async with client_of(FakeWeryAI(seconds=60)) as client:
        job = await client.submit(CAT)
    with pytest.raises(ClientClosed, match=r"client\.job\('task_0'\)"):
        await job
    with pytest.raises(ClientClosed):
        await job.wait(timeout=None)
