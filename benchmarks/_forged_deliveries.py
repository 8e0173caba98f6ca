"""Flood a client that waits for its jobs with forged webhook deliveries, and measure what they cost."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import cycle, islice
from typing import Final, Literal
from urllib.parse import urlsplit

import attrs

from aiowery import ImageResult, Job, Limits, WeryAI
from aiowery.webhook import Receiver, Webhooks
from benchmarks import _workload
from benchmarks._fake_server import FakeServer, ServerFacts, TaskFacts, deliver
from benchmarks._fresh_process import in_fresh_process
from benchmarks._receiver_server import serve_receiver

Forgery = Literal["unknown addresses", "wrong tasks", "too early"]
Delivery = tuple[str, str]
"""The path of a delivery, and the id of the task that it reports as ended."""

_CONNECTIONS: Final = 20
_FOREVER: Final = 3600.0
_GENUINE_DELIVERIES: Final = 3
_TIMEOUT: Final = 90.0
_EXPECTED: Final[Mapping[Forgery, HTTPStatus]] = {
    "unknown addresses": HTTPStatus.NOT_FOUND,
    "wrong tasks": HTTPStatus.NOT_FOUND,
    "too early": HTTPStatus.OK,
}


@attrs.frozen
class FloodResult:
    """The effect of a flood: status GETs and the client's CPU seconds while it lasted, and finished jobs after it.

    `settled` is the time in seconds from the true end of all jobs, after the flood, to the last result.
    """

    gets: int
    cpu: float
    rate: float
    finished: int
    settled: float


def flood(forgery: Forgery, jobs: int, deliveries: int) -> FloodResult:
    """Start jobs, send forged deliveries from another process, then end the jobs and count the results."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    return asyncio.run(_measure_flood(forgery, jobs, deliveries))


async def _measure_flood(forgery: Forgery, jobs: int, deliveries: int) -> FloodResult:
    receiver = Receiver()
    with FakeServer() as server:
        async with (
            serve_receiver(receiver) as url,
            _client(server.url, jobs, Webhooks(public_url=url, receiver=receiver)) as client,
        ):
            for request in _workload.requests([0.1] * _GENUINE_DELIVERIES):
                await client.run(request)
            running = [await client.submit(request) for request in _workload.requests([_FOREVER] * jobs)]
            forged = [_forge(forgery, *genuine) for genuine in _genuine_deliveries(server.facts().tasks)]
            gets, cpu = _gets(server.facts()), time.process_time()
            rate = await asyncio.to_thread(in_fresh_process, _send_forged, url, forged, deliveries, _EXPECTED[forgery])
            gets, cpu = _gets(server.facts()) - gets, time.process_time() - cpu
            finished, settled = await _end_jobs(server, running)
        facts = server.stop()
    assert len(facts.tasks) == facts.delivered == jobs + _GENUINE_DELIVERIES
    return FloodResult(gets, cpu, rate, finished, settled)


def _client(url: str, jobs: int, webhooks: Webhooks) -> WeryAI:
    return WeryAI(_workload.KEY, base_url=url, limits=Limits(in_flight=jobs), webhooks=webhooks)


async def _end_jobs(server: FakeServer, running: list[Job[ImageResult]]) -> tuple[int, float]:
    """End all tasks; return the number of jobs with a result, and the seconds until the last one."""
    server.end_tasks()
    ended = time.monotonic()
    async with asyncio.timeout(_TIMEOUT):
        results = await asyncio.gather(*running)
    return len(results), time.monotonic() - ended


def _gets(facts: ServerFacts) -> int:
    return sum(task.polls for task in facts.tasks.values())


def _genuine_deliveries(tasks: Mapping[str, TaskFacts]) -> Iterator[Delivery]:
    """Yield the deliveries that the provider will send for the running tasks."""
    now = time.monotonic()
    for task_id, task in tasks.items():
        if task.finished > now:
            yield urlsplit(task.webhook_url).path, task_id


def _forge(forgery: Forgery, path: str, task_id: str) -> Delivery:
    match forgery:
        case "unknown addresses":
            return f"/{secrets.token_hex(16)}", task_id
        case "wrong tasks":
            return path, f"{task_id}_of_another"
        case "too early":
            return path, task_id


def _send_forged(url: str, forged: Iterable[Delivery], deliveries: int, expected: HTTPStatus) -> float:
    """Send the forged deliveries round-robin, as fast as they are answered; return the deliveries per second."""
    return asyncio.run(_send_all(url, forged, deliveries, expected))


async def _send_all(url: str, forged: Iterable[Delivery], deliveries: int, expected: HTTPStatus) -> float:
    remaining = islice(cycle(forged), deliveries)
    began = time.monotonic()
    statuses = await asyncio.gather(*(_send_over_connection(url, remaining) for _ in range(_CONNECTIONS)))
    took = time.monotonic() - began
    assert sum(statuses, Counter()) == {expected: deliveries}
    return deliveries / took


async def _send_over_connection(url: str, remaining: Iterator[Delivery]) -> Counter[int]:
    """Send one delivery after the other over one connection; return how often each status was received."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    statuses = Counter([await deliver(reader, writer, path, task_id) for path, task_id in remaining])
    writer.close()
    return statuses
