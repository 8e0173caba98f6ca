"""What the speed rests on, as counts that no machine changes: tasks, polls, connections, POSTs and refusals."""

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


@pytest.fixture(params=[None, "fast"], ids=["usual", "fast"])
def client(request: pytest.FixtureRequest, sandbox: Sandbox) -> WeryAI:
    """Make a client over either door."""
    return WeryAI(sandbox.key, base_url=sandbox.url, limits=LIMITS, polling=POLICY, http=request.param)


def tasks_from_now_on(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return a list into which the loop puts every task that it makes."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coroutine, loop=loop, **more))
        return made[-1]

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("sandbox", [WITHOUT_END], indirect=True)
async def test_a_poll_makes_no_task(client: WeryAI, sandbox: Sandbox) -> None:
    """Hundreds of polls need as many runners as there may be polls at once; only connecting takes other tasks."""
    async with client:
        await asyncio.gather(*(client.submit(TextToImage(prompt="a cat")) for _ in range(JOBS)))
        connections, polls = sandbox.weryai.counters.connections, client.statistics().polls.made
        tasks = tasks_from_now_on(asyncio.get_running_loop())
        while client.statistics().polls.made < polls + 16 * LIMITS.polls:  # noqa: ASYNC110 - a poll has no event
            await asyncio.sleep(0.02)
        assert not any(job.done for job in client.jobs())
        names = [task.get_name() for task in tasks]
    assert names.count("aiowery polls") <= LIMITS.polls
    assert len(names) - names.count("aiowery polls") <= sandbox.weryai.counters.connections - connections


async def test_what_a_crowd_of_jobs_costs_the_server(client: WeryAI, sandbox: Sandbox) -> None:
    """One POST per job, no refusal, no more connections than the gates let through, and polls at their interval."""
    async with client:
        await asyncio.gather(*(client.run(TextToImage(prompt="a cat")) for _ in range(JOBS)))
    counters = sandbox.weryai.counters
    assert counters.posts == len(sandbox.weryai.tasks) == JOBS
    assert (counters.throttled, counters.too_many_tasks) == (0, 0)
    assert counters.connections_peak <= LIMITS.submissions + LIMITS.polls
    assert max(counters.polls.values()) <= ceil(DURATION / POLICY.min_interval) + 1
