"""Many submissions that start together must not block the event loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aiowery._queue.pacer import StartPacer
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of

pytestmark = pytest.mark.anyio


async def start(pacer: StartPacer, order: list[int], number: int) -> None:
    """Wait to start, and append the number to the order."""
    await pacer.wait_to_start()
    order.append(number)


async def test_wait_to_start_many_waiting_starts_limited_number_in_order() -> None:
    """An event-loop iteration starts at most the limit, in order of arrival, and cancelled waiters do not count."""
    pacer, order = StartPacer(10), list[int]()
    tasks = [asyncio.create_task(start(pacer, order, number)) for number in range(100)]
    counts = [0]
    while len(order) < 95:
        if len(order) == 10:
            for cancelled in tasks[20:25]:
                cancelled.cancel()
        await asyncio.sleep(0)
        counts.append(len(order))
    assert order == [*range(20), *range(25, 100)]
    assert max(after - before for before, after in pairwise(counts)) <= 10


async def test_wait_to_start_below_limit_returns_immediately() -> None:
    """Up to the limit, each event-loop iteration starts submissions without waiting."""
    pacer = StartPacer(3)
    for _ in range(3):
        for _ in range(3):
            starting = pacer.wait_to_start()
            with pytest.raises(StopIteration):
                starting.send(None)
        await asyncio.sleep(0)


async def test_submit_thousand_requests_lets_other_tasks_run() -> None:
    """At most fifty requests are validated and encoded between two steps of another task."""
    async with client_of(FakeWeryAI()) as client:
        submissions = [asyncio.create_task(client.submit(TextToImage(prompt="a cat"))) for _ in range(1000)]
        lengths = []
        while client.statistics().queue.waiting < 900:
            await asyncio.sleep(0)
            lengths.append(client.statistics().queue.waiting)
        assert max(after - before for before, after in pairwise(lengths)) <= 50
        for submission in submissions:
            submission.cancel()
        await asyncio.gather(*submissions, return_exceptions=True)
