"""A crowd of submissions must not keep the event loop to itself."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aiowery._queue.pacer import StartPacer
from aiowery.weryai import TextToImage
from tests.support import World, client_of

pytestmark = pytest.mark.anyio


async def entered(turnstile: StartPacer, order: list[int], number: int) -> None:
    """Go through and say so."""
    await turnstile.wait_turn()
    order.append(number)


async def test_so_many_per_turn_in_the_order_of_coming() -> None:
    """No turn of the loop lets in more than the bound, nobody overtakes, and who has left takes no place."""
    turnstile, order = StartPacer(10), list[int]()
    tasks = [asyncio.create_task(entered(turnstile, order, number)) for number in range(100)]
    counts = [0]
    while len(order) < 95:
        if len(order) == 10:
            for leaver in tasks[20:25]:
                leaver.cancel()
        await asyncio.sleep(0)
        counts.append(len(order))
    assert order == [*range(20), *range(25, 100)]
    assert max(after - before for before, after in pairwise(counts)) <= 10


async def test_a_few_go_in_at_once() -> None:
    """Who comes alone, or among few, waits for nothing: turn after turn."""
    turnstile = StartPacer(3)
    for _ in range(3):
        for _ in range(3):
            entering = turnstile.wait_turn()
            with pytest.raises(StopIteration):
                entering.send(None)
        await asyncio.sleep(0)


async def test_a_thousand_submissions_leave_the_loop_to_others() -> None:
    """Between two turns of somebody else's task, no more than fifty requests are read, checked and encoded."""
    async with client_of(World()) as client:
        submissions = [asyncio.create_task(client.submit(TextToImage(prompt="a cat"))) for _ in range(1000)]
        lengths = []
        while client.statistics().queue.waiting < 900:
            await asyncio.sleep(0)
            lengths.append(client.statistics().queue.waiting)
        assert max(after - before for before, after in pairwise(lengths)) <= 50
        for submission in submissions:
            submission.cancel()
        await asyncio.gather(*submissions, return_exceptions=True)
