"""Submissions of cancelled callers are not sent, neither after a pause nor with a new key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from aiowery import Limits, WeryAI
from aiowery.errors import AuthenticationError, NotSent
from tests.support import CAT, KEY, URL, FakeWeryAI, client_of

End = Callable[[WeryAI, "asyncio.Task[object]"], object]
CANCELLATIONS: dict[str, End] = {
    "cancelled": lambda _, waiting: waiting.cancel(),
    "stopped": lambda client, _: client.stop_submitting(),
}


@pytest.mark.parametrize("kind", CANCELLATIONS)
@pytest.mark.virtual_time
async def test_submit_abandoned_during_retry_pause_sends_nothing(kind: str) -> None:
    """The first attempt provably sent nothing. If the caller leaves during the pause, there is no repeat."""
    provider = FakeWeryAI(faults={"submit": [httpx.PoolTimeout("full")]})
    async with client_of(provider) as client:
        waiting: asyncio.Task[object] = asyncio.create_task(client.run(CAT))
        await asyncio.sleep(0.001)
        assert len(provider.posts) == 1
        CANCELLATIONS[kind](client, waiting)
        ends = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(ends[0], (asyncio.CancelledError, NotSent))
        await asyncio.sleep(60)
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1


@pytest.mark.parametrize("kind", CANCELLATIONS)
@pytest.mark.virtual_time
async def test_submit_abandoned_during_key_refresh_sends_nothing(kind: str) -> None:
    """If the caller leaves while a new key is fetched, nothing is sent with it."""
    posts: list[str] = []

    async def refusing(request: httpx.Request) -> httpx.Response:
        posts.append(request.headers["authorization"])
        return httpx.Response(401, json={"status": 1002, "message": "unauthorized"})

    keys = iter([KEY, KEY + "-new"])

    async def key() -> str:
        await asyncio.sleep(5)
        return next(keys)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refusing)) as http:
        async with WeryAI(key, base_url=URL, http=http) as client:
            waiting: asyncio.Task[object] = asyncio.create_task(client.run(CAT))
            await asyncio.sleep(1)
            CANCELLATIONS[kind](client, waiting)
            ends = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(ends[0], (asyncio.CancelledError, AuthenticationError))
            await asyncio.sleep(60)
    assert posts == [f"Bearer {KEY}"]


@pytest.mark.virtual_time
async def test_run_cancelled_in_queue_sends_nothing() -> None:
    """A caller that is cancelled while its submission waits in the queue pays for nothing."""
    provider = FakeWeryAI(seconds=60)
    async with client_of(provider, limits=Limits(in_flight=1)) as client:
        await client.submit(CAT)
        waiting = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(100)
    assert len(provider.posts) == 1


@pytest.mark.parametrize("iterations", range(12))
@pytest.mark.virtual_time
async def test_run_cancelled_at_any_await_of_post_loses_no_task_id(iterations: int) -> None:
    """At every await of a submission, there is one POST at most, and a task that was started is found in `jobs()`."""
    provider = FakeWeryAI(seconds=5, latency=0.5)
    async with client_of(provider) as client:
        running = asyncio.ensure_future(client.run(CAT))
        for _ in range(iterations):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(20)
        ids = {task_id for job in client.jobs() for task_id in job.task_ids}
        assert ids == set(provider.finished_at)
        assert len(provider.posts) <= 1
        assert client.statistics().queue.in_use == 0


@pytest.mark.virtual_time
async def test_run_random_timeouts_during_slow_post_lose_no_task_id() -> None:
    """With random timeouts of callers around a slow POST, every started task is known afterwards."""
    provider = FakeWeryAI(seconds=5, latency=0.7)
    async with client_of(provider, limits=Limits(in_flight=100, submissions=20)) as client:

        async def caller(number: int) -> None:
            async with asyncio.timeout(number * 0.37 % 29):
                await client.run(CAT)

        outcomes = await asyncio.gather(*(caller(n) for n in range(300)), return_exceptions=True)
        await asyncio.sleep(60)
        done = sum(outcome is None for outcome in outcomes)
        assert len(client.jobs()) + done == len(provider.finished_at)
        assert 0 < done < 300
    assert len(provider.posts) == len(provider.finished_at)


@pytest.mark.virtual_time
async def test_run_cancelled_during_back_off_is_not_sent_again() -> None:
    """A request that was rejected because of load and then cancelled is not sent after the pause."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429, headers={"retry-after": "30"})]})
    async with client_of(provider) as client:
        running = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(10)
        running.cancel()
        await asyncio.sleep(100)
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1


@pytest.mark.virtual_time
async def test_run_cancelled_during_rejected_post_is_not_sent_again() -> None:
    """A caller is cancelled during a POST that is then rejected because of load. The request is not sent again."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429)]}, latency=1.0)
    async with client_of(provider) as client:
        running = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.sleep(600)
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1
