"""Rejections that name tasks, over a real socket: the sandbox counts charges and requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiowery import BetterWaifu, PollPolicy, RetryPolicy
from aiowery.betterwaifu import GenerateImage
from aiowery.errors import JobFailed, SubmissionInDoubt
from aiowery.sandbox import FAIL, Fault, Sandbox, faults
from aiowery.weryai import Chat, DeepResearch, ImageBackgroundRemove, Podcast, TextToImage
from tests.support import sandbox_client, sandbox_policies

SPEED = 1000.0
REFUSALS = {
    "429": faults.ErrorResponse(429, 1001, "Request rate limit exceeded", ids=True, retry_after=1),
    "1007": faults.ErrorResponse(200, 1007, "Queue is full", ids=True),
    "6010": faults.ErrorResponse(200, 6010, "No more than 20 tasks at once", ids=True),
    "503": faults.ErrorResponse(503, 6002, "Workflow rate limit exceeded", ids=True),
    "400": faults.ErrorResponse(400, 1001, "Parameter error", ids=True),
    "401": faults.ErrorResponse(401, 1002, "Authentication failed", ids=True),
    "402": faults.ErrorResponse(402, 1004, "Insufficient credits", ids=True),
    "409": faults.ErrorResponse(409, 5000, "Conflict", ids=True),
    "6001": faults.ErrorResponse(200, 6001, "Workflow system error", ids=True),
    "500": faults.ErrorResponse(500, 5000, "System error", ids=True),
}
REQUESTS = {
    "pictures": TextToImage(prompt="two cats", image_number=2),
    "a tool": ImageBackgroundRemove(image_url="https://e.example/1.png"),
    "a podcast": Podcast(query="cats", speakers=["a"]),
    "research": DeepResearch(input="why", mode="DEEP_RESEARCH"),
}
pytestmark = [pytest.mark.anyio, pytest.mark.sandbox(speed=SPEED, picture_size=64)]


@pytest.mark.parametrize("http", [None, "httpx"], ids=["pooled", "httpx"])
async def test_run_each_rejection_with_ids_is_paid_once(sandbox: Sandbox, http: Any) -> None:
    """Ten kinds of rejections, one after the other, lead to ten results, ten POSTs and ten credits."""
    async with sandbox_client(sandbox, http=http) as client:
        for number, kind in enumerate(REFUSALS.values(), 1):
            sandbox.inject(Fault(kind, on="submit", match=f"cat {number}."))
            result = await client.run(TextToImage(prompt=f"cat {number}."))
            assert result.task_ids == (sandbox.weryai.tasks[-1].id,)
        assert client.statistics().accepted == len(REFUSALS)
    assert sandbox.weryai.counters.posts == sandbox.weryai.charged == len(REFUSALS)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_run_rejection_with_ids_of_each_endpoint_finds_tasks(sandbox: Sandbox, request_: Any) -> None:
    """Task ids or a task id, with or without a batch, are found wherever the endpoint puts them in an acceptance."""
    sandbox.inject(Fault(REFUSALS["429"], on="submit"))
    async with sandbox_client(sandbox) as client:
        assert (await client.run(request_)).task_ids == tuple(task.id for task in sandbox.weryai.tasks)
    assert sandbox.weryai.counters.posts == 1


async def test_run_concurrent_and_throttled_after_acceptance_is_paid_once_each(sandbox: Sandbox) -> None:
    """A third of a hundred concurrent submissions are throttled after their acceptance.

    There are a hundred POSTs and pictures.
    """
    sandbox.inject(Fault(REFUSALS["429"], on="submit", share=0.3))
    async with sandbox_client(sandbox) as client:
        results = await asyncio.gather(*(client.run(TextToImage(prompt="a cat")) for _ in range(100)))
        statistics = client.statistics()
    assert (
        len({result.task_ids for result in results}) == sandbox.weryai.counters.posts == sandbox.weryai.charged == 100
    )
    assert 0 < sandbox.weryai.counters.throttled < 100
    assert (statistics.accepted, statistics.in_doubt, statistics.queue.in_use) == (100, 0, 0)


async def test_run_named_task_failed_raises_its_reason(sandbox: Sandbox) -> None:
    """The named task belongs to this request and has failed. The caller gets its reason, and nothing is in doubt."""
    sandbox.inject(Fault(REFUSALS["6001"], on="submit"))
    async with sandbox_client(sandbox) as client:
        with pytest.raises(JobFailed, match="no output"):
            await client.run(TextToImage(prompt=f"a cat {FAIL}"))
    assert sandbox.weryai.counters.posts == 1


async def test_run_named_task_not_found_yet_is_polled_again(sandbox: Sandbox) -> None:
    """If the status lags behind by a moment, the second poll finds the task."""
    sandbox.inject(Fault(REFUSALS["429"], on="submit"), Fault(faults.NotFoundYet(0.02), on="status"))
    async with sandbox_client(sandbox, polling=PollPolicy().faster(50)) as client:
        assert (await client.run(TextToImage(prompt="a cat"))).assets
    assert sandbox.weryai.counters.posts == 1


@pytest.mark.parametrize(
    ("kind", "times"),  # a read of a connection in use before is sent once more by itself
    [(faults.Reset(), 4), (faults.ErrorResponse(404, 1003), 2), (faults.NotJson(), 2)],
    ids=["reset", "404", "OK"],
)
async def test_run_poll_of_named_task_fails_is_in_doubt_with_its_ids(sandbox: Sandbox, kind: Any, times: int) -> None:
    """A poll that fails for any reason leaves the doubt, and `client.job` fetches the tasks that it names."""
    sandbox.inject(Fault(REFUSALS["429"], on="submit"), Fault(kind, on="status", times=times))
    async with sandbox_client(sandbox, retries=RetryPolicy(max_attempts=2).faster(SPEED)) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(TextToImage(prompt="a cat"))
        assert (await client.job(*doubt.value.task_ids, of=TextToImage)).assets
    assert sandbox.weryai.counters.posts == sandbox.weryai.charged == 1


async def test_run_betterwaifu_rejection_with_ids_is_paid_once(sandbox: Sandbox) -> None:
    """The jobs edition finds its job.

    The v1-images edition has no status check, and is in doubt with the picture's id.
    """
    kind = faults.ErrorResponse(429, text="Too many requests", ids=True)
    sandbox.inject(Fault(kind, on="submit"))
    async with BetterWaifu(
        sandbox.key, edition="jobs", base_url=sandbox.jobs_url, **sandbox_policies(sandbox)
    ) as client:
        assert (await client.run(GenerateImage(prompt="1girl", model=814910))).assets
    assert len(sandbox.betterwaifu.generations) == 1
    await asyncio.sleep(0.1)  # the cool-down between two pictures
    async with BetterWaifu(
        sandbox.key, edition="v1-images", base_url=sandbox.url, **sandbox_policies(sandbox)
    ) as client:
        with pytest.raises(SubmissionInDoubt) as doubt:
            await client.run(GenerateImage(prompt="1girl"))
    assert doubt.value.task_ids == (sandbox.betterwaifu.generations[-1].id,)
    assert sandbox.betterwaifu.charged == sandbox.weryai.counters.posts == 2


async def test_run_chat_rejection_without_ids_is_sent_again(sandbox: Sandbox) -> None:
    """A chat starts no task. If its rejection has no ids, it is sent again."""
    sandbox.inject(Fault(faults.RATE_LIMITED_1001, on="call", times=1))
    async with sandbox_client(sandbox) as client:
        assert (await client.run(Chat(messages="hello"))).text
    assert sandbox.weryai.counters.posts == 2
