"""Forged calls: a flood of them against a client that waits for its jobs."""

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
from benchmarks import _work
from benchmarks._process import apart
from benchmarks._receiving import serving
from benchmarks._server import FakeServer, ServerFacts, TaskFacts, deliver

Forgery = Literal["unknown addresses", "wrong tasks", "too early"]
Call = tuple[str, str]
"""Which path is called, and which task is said to have ended."""

_CONNECTIONS: Final = 20
_WITHOUT_END: Final = 3600.0
_HONEST_CALLS: Final = 3
_PATIENCE: Final = 90.0
_EXPECTED: Final[Mapping[Forgery, HTTPStatus]] = {
    "unknown addresses": HTTPStatus.NOT_FOUND,
    "wrong tasks": HTTPStatus.NOT_FOUND,
    "too early": HTTPStatus.OK,
}


@attrs.frozen
class Flooded:
    """What a flood did: status GETs and the client's CPU seconds while it lasted, and what came of the jobs.

    `settled`: seconds from the true end of all jobs, after the flood, to the last result.
    """

    gets: int
    cpu: float
    rate: float
    finished: int
    settled: float


def flooded(forgery: Forgery, jobs: int, deliveries: int) -> Flooded:
    """Let jobs run, forge deliveries from another process, then end the jobs and see who notices."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    return asyncio.run(_flooded(forgery, jobs, deliveries))


async def _flooded(forgery: Forgery, jobs: int, deliveries: int) -> Flooded:
    receiver = Receiver()
    with FakeServer() as server:
        async with (
            serving(receiver) as url,
            _client(server.url, jobs, Webhooks(public_url=url, receiver=receiver)) as client,
        ):
            for request in _work.requests([0.1] * _HONEST_CALLS):
                await client.run(request)
            running = [await client.submit(request) for request in _work.requests([_WITHOUT_END] * jobs)]
            calls = [_forged(forgery, *real) for real in _real(server.facts().tasks)]
            gets, cpu = _gets(server.facts()), time.process_time()
            rate = await asyncio.to_thread(apart, _flood, url, calls, deliveries, _EXPECTED[forgery])
            gets, cpu = _gets(server.facts()) - gets, time.process_time() - cpu
            finished, settled = await _settled(server, running)
        facts = server.stop()
    assert len(facts.tasks) == facts.called == jobs + _HONEST_CALLS
    return Flooded(gets, cpu, rate, finished, settled)


def _client(url: str, jobs: int, webhooks: Webhooks) -> WeryAI:
    return WeryAI(_work.KEY, base_url=url, limits=Limits(in_flight=jobs), webhooks=webhooks)


async def _settled(server: FakeServer, running: list[Job[ImageResult]]) -> tuple[int, float]:
    """End all tasks; return how many jobs had a result, and the seconds to the last one."""
    server.end_tasks()
    ended = time.monotonic()
    async with asyncio.timeout(_PATIENCE):
        results = await asyncio.gather(*running)
    return len(results), time.monotonic() - ended


def _gets(facts: ServerFacts) -> int:
    return sum(task.polls for task in facts.tasks.values())


def _real(tasks: Mapping[str, TaskFacts]) -> Iterator[Call]:
    """Yield the calls that the provider is going to make for what is running."""
    now = time.monotonic()
    for task_id, task in tasks.items():
        if task.finished > now:
            yield urlsplit(task.address).path, task_id


def _forged(forgery: Forgery, path: str, task_id: str) -> Call:
    match forgery:
        case "unknown addresses":
            return f"/{secrets.token_hex(16)}", task_id
        case "wrong tasks":
            return path, f"{task_id}_of_another"
        case "too early":
            return path, task_id


def _flood(url: str, calls: Iterable[Call], deliveries: int, expected: HTTPStatus) -> float:
    """Make the calls in turn, as fast as they are answered; return the deliveries per second."""
    return asyncio.run(_poured(url, calls, deliveries, expected))


async def _poured(url: str, calls: Iterable[Call], deliveries: int, expected: HTTPStatus) -> float:
    waiting = islice(cycle(calls), deliveries)
    began = time.monotonic()
    answers = await asyncio.gather(*(_pour(url, waiting) for _ in range(_CONNECTIONS)))
    took = time.monotonic() - began
    assert sum(answers, Counter()) == {expected: deliveries}
    return deliveries / took


async def _pour(url: str, waiting: Iterator[Call]) -> Counter[int]:
    """Make call after call over one connection; return how often each status was answered."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    answers = Counter([await deliver(reader, writer, path, task_id) for path, task_id in waiting])
    writer.close()
    return answers
