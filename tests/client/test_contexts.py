"""Background work runs in the context of the opening, never in that of a stranger's request, and keeps none alive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiowery import Event, JobAccepted, JobFinished, JobUpdated, Limits, PollFailed, WeryAI
from aiowery._core.events import log
from aiowery.sandbox import Sandbox
from aiowery.weryai import TextToImage
from tests.support import CAT, PNG, FakeWeryAI, client_of, sandbox_client

OPENING = "the opening"
requester: ContextVar[Any] = ContextVar("requester", default="none")


class Requester:
    """What an application stores in a context variable, such as a user."""


class Notes(logging.Handler):
    """A handler that notes the context of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the record's message and its context."""
        self.seen.append((record.getMessage(), requester.get()))


@pytest.fixture
def notes() -> Iterator[Notes]:
    """Note the contexts of all log records."""
    handler, level = Notes(), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.mark.virtual_time
async def test_events_and_logs_never_have_a_stranger_s_context(notes: Notes) -> None:
    """Three requests with a context each: what is reported of a job has its own, or that of the opening."""
    seen: list[tuple[Event, Any]] = []
    checks: list[Any] = []
    provider = FakeWeryAI(faults={"status": [httpx.Response(500)]})

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            checks.append(requester.get())
        return await provider(request)

    async def one(name: str, client: WeryAI) -> tuple[str, ...]:
        requester.set(name)
        return (await client.run(CAT)).task_ids

    requester.set(OPENING)
    async with client_of(answer, observer=lambda event: seen.append((event, requester.get()))) as client:
        tasks = [asyncio.create_task(one(name, client)) for name in ("1", "2", "3")]
        owners = dict(zip(await asyncio.gather(*tasks), ("1", "2", "3"), strict=True))
    assert set(checks) == {OPENING}
    background = [
        (event, context) for event, context in seen if isinstance(event, (JobUpdated, JobFinished, PollFailed))
    ]
    assert background
    assert {context for _, context in background} == {OPENING}
    accepted = {event.task_ids: context for event, context in seen if isinstance(event, JobAccepted)}
    assert accepted == owners
    for message, context in notes.seen:
        named = {owner for ids, owner in owners.items() if ids[0] in message}
        assert context in {OPENING, *named}, message


@pytest.mark.virtual_time
async def test_upload_and_registry_that_requests_share_run_in_the_opening_s_context() -> None:
    """One upload, and one reading of the registry, serve several requests, and belong to none of them."""
    contexts: dict[str, Any] = {}

    async def answer(request: httpx.Request) -> httpx.Response:
        contexts[request.url.path.rpartition("/")[2]] = requester.get()
        data = [] if request.method == "GET" else {"object_url_list": ["https://files.example.com/1.png"]}
        return httpx.Response(200, json={"status": 0, "data": data})

    requester.set(OPENING)
    async with client_of(answer) as client:
        requester.set("1")
        await client.upload(PNG)
        await client.check(TextToImage(prompt="a cat"))
    assert len(contexts) == 2
    assert set(contexts.values()) == {OPENING}


@pytest.mark.virtual_time
async def test_pause_of_one_client_is_emitted_to_another_in_its_own_context() -> None:
    """Clients share a circuit breaker: the doubts of one emit an event to the other's observer."""
    seen: list[Any] = []
    provider = FakeWeryAI(faults={"submit": [httpx.Response(502)] * 3})
    limits = Limits(max_doubts=1)
    requester.set(OPENING)
    async with client_of(provider, limits=limits, observer=lambda _: seen.append(requester.get())):
        requester.set("another opening")
        async with client_of(provider, limits=limits) as other:
            requester.set("1")
            with contextlib.suppress(Exception):
                await other.submit(CAT)
    assert seen == [OPENING]


@pytest.mark.anyio
@pytest.mark.sandbox(speed=100.0, picture_size=64, durations=(2.0, 5.0))
async def test_client_keeps_no_context_of_a_finished_request_alive(sandbox: Sandbox, tmp_path: Path) -> None:
    """Kept connections, timers, finished uploads and ledger writes hold nothing of the request that caused them."""
    kept: list[weakref.ref[Requester]] = []

    async def one(client: WeryAI, number: int) -> None:
        person = Requester()
        kept.append(weakref.ref(person))
        requester.set(person)
        await client.upload(PNG + bytes([number]))
        result = await client.run(CAT)
        await client.download(result, tmp_path)

    async with sandbox_client(sandbox, ledger=tmp_path / "jobs.db") as client:
        for number in range(3):
            await asyncio.create_task(one(client, number))
        await asyncio.sleep(0.1)
        assert sandbox.weryai.counters.posts >= 3
        assert await _all_gone(kept)


async def _all_gone(kept: list[weakref.ref[Requester]]) -> bool:
    """Return True once all are collected. A cancelled timer of asyncio holds its context until it would have run."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(20):
        for handle in loop._scheduled:
            if handle.cancelled():
                handle._context = None
        gc.collect()
        if not any(one() for one in kept):
            return True
        await asyncio.sleep(0.05)
    return False
