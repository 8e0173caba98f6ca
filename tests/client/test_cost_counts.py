"""Counts that do not depend on the machine: asyncio tasks, polls, connections, POSTs and rejections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from math import ceil
from typing import Any

import pytest

from aiowery import Limits, PollPolicy, WeryAI
from aiowery.sandbox import Sandbox
from aiowery.weryai import TextToImage

pytestmark = pytest.mark.anyio

JOBS = 20
POLICY = PollPolicy(min_interval=0.06, max_interval=0.1, first_poll="interval")
DURATION = 1.5
WITHOUT_END = 600.0
LIMITS = Limits(in_flight=JOBS)


@pytest.fixture(params=[DURATION])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Start a sandbox whose tasks all take the same time."""
    with Sandbox(durations=(request.param, request.param), picture_size=64) as running:
        yield running


@pytest.fixture(params=[None, "httpx"], ids=["pooled", "httpx"])
def client(request: pytest.FixtureRequest, sandbox: Sandbox) -> WeryAI:
    """Return a client over either transport."""
    return WeryAI(sandbox.key, base_url=sandbox.url, limits=LIMITS, polling=POLICY, http=request.param)


def record_new_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return a list that receives every task that the event loop creates."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coroutine, loop=loop, **more))
        return made[-1]

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("sandbox", [WITHOUT_END], indirect=True)
async def test_poll_starts_no_asyncio_task(client: WeryAI, sandbox: Sandbox) -> None:
    """Hundreds of polls use at most as many tasks as may poll at the same time. Only connecting starts others."""
    async with client:
        await asyncio.gather(*(client.submit(TextToImage(prompt="a cat")) for _ in range(JOBS)))
        connections, polls = sandbox.weryai.counters.connections, client.statistics().polls.made
        tasks = record_new_tasks(asyncio.get_running_loop())
        while client.statistics().polls.made < polls + 16 * LIMITS.polls:  # noqa: ASYNC110 - a poll has no event
            await asyncio.sleep(0.02)
        assert not any(job.done for job in client.jobs())
        names = [task.get_name() for task in tasks]
        await asyncio.sleep(0.05)  # a connection is counted when the server has accepted it
    assert names.count("aiowery polls") <= LIMITS.polls
    assert len(names) - names.count("aiowery polls") <= sandbox.weryai.counters.connections - connections


async def test_many_jobs_send_one_post_each_and_polls_at_interval(client: WeryAI, sandbox: Sandbox) -> None:
    """Each job sends one POST. There is no rejection, no surplus connection and no poll before its interval."""
    async with client:
        await asyncio.gather(*(client.run(TextToImage(prompt="a cat")) for _ in range(JOBS)))
    counters = sandbox.weryai.counters
    assert counters.posts == len(sandbox.weryai.tasks) == JOBS
    assert (counters.throttled, counters.too_many_tasks) == (0, 0)
    assert counters.connections_peak <= LIMITS.submissions + LIMITS.polls
    assert max(counters.polls.values()) <= ceil(DURATION / POLICY.min_interval) + 1
