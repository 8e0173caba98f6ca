"""Keep many jobs in flight that never end, and measure what their polls cost and how late they begin.

Each job is polled every 3-5 s, by aiowery's client over either transport or by loops written by hand. A load runs in a
process of its own, if need be on a core of its own.
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
from benchmarks import _workload
from benchmarks._fake_server import FakeServer
from benchmarks._figures import percentile

_FOREVER: Final = 3600.0
_LATE: Final = 0.1
_SUBMISSIONS_PER_GATHER: Final = 500
_POLICY: Final = PollPolicy(first_poll="interval")
_HEADERS: Final = {"authorization": f"Bearer {_workload.KEY}"}


@attrs.frozen
class Polls:
    """Number and cost of a load's polls: `cpu` in seconds per poll, lateness in seconds.

    `on_time` is a share of the polls that were due. `busy` is the process's share of one core. A poll that is due but
    not made yet counts as late.
    """

    made: int
    on_time: float
    cpu: float
    busy: float
    late_p50: float
    late_p99: float


Lateness = list[float]
Overdue = Callable[[], int]
Load = Callable[[str, int, Lateness], AbstractAsyncContextManager[Overdue]]


def measure_polls(load: Load, jobs: int, seconds: float, *, one_core: bool = False) -> Polls:
    """Measure the polls of a load of this many jobs for this many seconds, after a first round of polls.

    With `one_core`, the load runs on one core and the server on the other cores.
    """
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    cores = sorted(os.sched_getaffinity(0))
    if one_core:
        os.sched_setaffinity(0, cores[1:])  # the server inherits it
    with FakeServer() as server:
        if one_core:
            os.sched_setaffinity(0, cores[:1])
        return asyncio.run(_measure_polls(load, server.url, jobs, seconds))


async def _measure_polls(load: Load, url: str, jobs: int, seconds: float) -> Polls:
    lateness: Lateness = []
    async with load(url, jobs, lateness) as overdue:
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
async def client_load(http: Literal["httpx"] | None, url: str, jobs: int, lateness: Lateness) -> AsyncIterator[Overdue]:
    """Keep the jobs in flight in one aiowery client; each poll's lateness is read from the scheduler's timer wheel."""
    limits = Limits(in_flight=jobs, submissions=16)
    async with WeryAI(_workload.KEY, base_url=url, limits=limits, polling=_POLICY, http=http) as client:
        requests = _workload.requests([_FOREVER] * jobs)
        held = []
        for start in range(0, jobs, _SUBMISSIONS_PER_GATHER):
            held += await asyncio.gather(*map(client.submit, requests[start : start + _SUBMISSIONS_PER_GATHER]))
        scheduler: Any = client._runtime._poller._scheduler
        poll, tick, now = scheduler._poll, scheduler._tick, asyncio.get_running_loop().time

        async def timed_poll(job: Any) -> float | None:
            lateness.append(now() - job._poll_bucket * tick)
            pause: float | None = await poll(job)
            return pause

        scheduler._poll = timed_poll
        yield lambda: sum(job._is_due for job in held)


Get = Callable[[str], Awaitable[Any]]
Post = Callable[[dict[str, Any]], Awaitable[Any]]
Library = Callable[[str], AbstractAsyncContextManager[tuple[Post, Get]]]


@asynccontextmanager
async def loop_load(library: Library, url: str, jobs: int, lateness: Lateness) -> AsyncIterator[Overdue]:
    """Run one coroutine per job: POST, then sleep and GET until it is done.

    At most 16 requests run at the same time, as in aiowery's client.
    """
    gate, now = asyncio.Semaphore(16), asyncio.get_running_loop().time
    dues = [inf] * jobs

    async def poll_until_done(number: int, request: TextToImage) -> None:
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
        requests = _workload.requests([_FOREVER] * jobs)
        loops = [group.create_task(poll_until_done(number, request)) for number, request in enumerate(requests)]
        yield lambda: sum(due < now() for due in dues)
        for one in loops:
            one.cancel()


@asynccontextmanager
async def with_aiohttp(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Use aiohttp as its documentation recommends: one session."""
    async with aiohttp.ClientSession(url, headers=_HEADERS) as session:

        async def post(body: dict[str, Any]) -> Any:
            async with session.post("/v1/generation/text-to-image", json=body) as response:
                return await response.json()

        async def get(path: str) -> Any:
            async with session.get(path) as response:
                return await response.json()

        yield post, get


@asynccontextmanager
async def with_httpx(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Use httpx as its documentation recommends: one client."""
    async with httpx.AsyncClient(base_url=url, headers=_HEADERS, timeout=60) as client:

        async def post(body: dict[str, Any]) -> Any:
            return (await client.post("/v1/generation/text-to-image", json=body)).json()

        async def get(path: str) -> Any:
            return (await client.get(path)).json()

        yield post, get
