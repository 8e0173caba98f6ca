"""Many jobs in flight that never end, polled every 3-5 s: by the client, over either door, and by hand-written loops.

A crowd runs in a process of its own, if need be on one core of its own, and tells what a poll costs and how late it
begins.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Any, Final, Literal

import aiohttp
import attrs
import httpx

from aiowery import Limits, PollPolicy, WeryAI
from aiowery.weryai import TextToImage
from benchmarks import _work
from benchmarks._figures import percentile
from benchmarks._server import FakeServer

_FOREVER: Final = 3600.0
_LATE: Final = 0.1
_AT_ONCE: Final = 500
_POLICY: Final = PollPolicy(first_poll="interval")
_HEADERS: Final = {"authorization": f"Bearer {_work.KEY}"}


@attrs.frozen
class Polls:
    """What a crowd's polls cost, in seconds of CPU, and how late they began, in seconds.

    `on_time` is a share of the polls that were due, `busy` of one core; what was not made yet counts as late.
    """

    made: int
    on_time: float
    cpu: float
    busy: float
    late_p50: float
    late_p99: float


Lateness = list[float]
Overdue = Callable[[], int]
Crowd = Callable[[str, int, Lateness], AbstractAsyncContextManager[Overdue]]


def polls(crowd: Crowd, jobs: int, seconds: float, *, alone: bool = False) -> Polls:
    """Let a crowd of so many jobs be polled for so long, after a first round; `alone` on a core of its own."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    cores = sorted(os.sched_getaffinity(0))
    if alone:
        os.sched_setaffinity(0, cores[1:])  # the server inherits it
    with FakeServer() as server:
        if alone:
            os.sched_setaffinity(0, cores[:1])
        return asyncio.run(_polls(crowd, server.url, jobs, seconds))


async def _polls(crowd: Crowd, url: str, jobs: int, seconds: float) -> Polls:
    lateness: Lateness = []
    async with crowd(url, jobs, lateness) as overdue:
        await asyncio.sleep(_POLICY.max_interval + 1)
        lateness.clear()
        cpu, wall = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        seen, missing = list(lateness), overdue()
    return Polls(
        made=len(seen),
        on_time=sum(late <= _LATE for late in seen) / (len(seen) + missing),
        cpu=cpu / len(seen),
        busy=cpu / wall,
        late_p50=percentile(seen, 0.5),
        late_p99=percentile(seen, 0.99),
    )


@asynccontextmanager
async def of_ours(http: Literal["fast"] | None, url: str, jobs: int, lateness: Lateness) -> AsyncIterator[Overdue]:
    """One client; how late a look begins is asked of the scheduler's own wheel."""
    limits = Limits(in_flight=jobs, submissions=16)
    async with WeryAI(_work.KEY, base_url=url, limits=limits, polling=_POLICY, http=http) as client:
        requests = _work.requests([_FOREVER] * jobs)
        held = []
        for start in range(0, jobs, _AT_ONCE):
            held += await asyncio.gather(*map(client.submit, requests[start : start + _AT_ONCE]))
        scheduler: Any = client._runtime._poller._scheduler
        look, tick, now = scheduler._look, scheduler._tick, asyncio.get_running_loop().time

        async def timed(job: Any) -> float | None:
            lateness.append(now() - job._poll_bucket * tick)
            pause: float | None = await look(job)
            return pause

        scheduler._look = timed
        yield lambda: sum(job._is_due for job in held)


Get = Callable[[str], Awaitable[Any]]
Post = Callable[[dict[str, Any]], Awaitable[Any]]
Library = Callable[[str], AbstractAsyncContextManager[tuple[Post, Get]]]


@asynccontextmanager
async def by_hand(library: Library, url: str, jobs: int, lateness: Lateness) -> AsyncIterator[Overdue]:
    """One coroutine per job: POST, then sleep and GET until it is done; at most 16 requests at once, as ours."""
    gate, now = asyncio.Semaphore(16), asyncio.get_running_loop().time
    dues = [inf] * jobs

    async def loop(number: int, request: TextToImage) -> None:
        async with gate:
            accepted = await post({"prompt": request.prompt, "model": request.model, **request.extra})
        task_id, status = accepted["data"]["task_ids"][0], ""
        while status != "SUCCESS":
            pause = random.uniform(_POLICY.min_interval, _POLICY.max_interval)  # noqa: S311 - not a secret
            dues[number] = now() + pause
            await asyncio.sleep(pause)
            async with gate:
                lateness.append(now() - dues[number])
                dues[number] = inf
                status = (await get(f"/v1/generation/{task_id}/status"))["data"]["task_status"]

    async with library(url) as (post, get), asyncio.TaskGroup() as group:
        requests = _work.requests([_FOREVER] * jobs)
        loops = [group.create_task(loop(number, request)) for number, request in enumerate(requests)]
        yield lambda: sum(due < now() for due in dues)
        for one in loops:
            one.cancel()


@asynccontextmanager
async def over_aiohttp(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Use aiohttp as its documentation says: one session."""
    async with aiohttp.ClientSession(url, headers=_HEADERS) as session:

        async def post(body: dict[str, Any]) -> Any:
            async with session.post("/v1/generation/text-to-image", json=body) as answer:
                return await answer.json()

        async def get(path: str) -> Any:
            async with session.get(path) as answer:
                return await answer.json()

        yield post, get


@asynccontextmanager
async def over_httpx(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Use httpx as its documentation says: one client."""
    async with httpx.AsyncClient(base_url=url, headers=_HEADERS, timeout=60) as client:

        async def post(body: dict[str, Any]) -> Any:
            return (await client.post("/v1/generation/text-to-image", json=body)).json()

        async def get(path: str) -> Any:
            return (await client.get(path)).json()

        yield post, get
