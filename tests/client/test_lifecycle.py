"""A client from opening to closing: keys, event loops, and the jobs and submissions under way at its end."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import httpx
import pytest

from aiowery import Limits, WeryAI
from aiowery.errors import (
    ClientClosed,
    ConfigurationError,
    NotSent,
)
from aiowery.testing import run_virtual
from tests.support import CAT, FakeWeryAI, client_of, now


@pytest.mark.virtual_time
async def test_close_during_post_finishes_it_and_ends_all_waits(caplog: pytest.LogCaptureFixture) -> None:
    """The POST under way ends and its task id is logged. Its caller gets ClientClosed, a queued submission NotSent."""
    provider = FakeWeryAI(seconds=60, latency=1.0)
    async with client_of(provider, limits=Limits(in_flight=1)) as client:
        first = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.5)
        second = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    assert isinstance(first.exception(), ClientClosed)
    assert isinstance(second.exception(), NotSent)
    assert len(provider.posts) == 1
    assert len(asyncio.all_tasks()) == 1
    assert "closed with 1 jobs under way" in caplog.text
    assert "task_0" in caplog.text


@pytest.mark.virtual_time
async def test_close_during_back_off_raises_not_sent_immediately() -> None:
    """A rejected request that waits for its repeat raises NotSent when the client closes."""
    provider = FakeWeryAI(faults={"submit": [httpx.Response(429, headers={"retry-after": "100"})] * 9})
    async with client_of(provider) as client:
        running = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(1)
    assert now() < 2
    with pytest.raises(NotSent):
        await running


def test_client_opened_again_in_other_event_loop_works() -> None:
    """Everything that belongs to an event loop is created when the client opens."""
    provider = FakeWeryAI()
    http: list[Any] = []
    client = WeryAI("sk-made-up", base_url="https://api.example.com", http=None)

    async def main() -> None:
        http.append(httpx.AsyncClient(transport=httpx.MockTransport(provider)))
        client._config = attrs.evolve(client._config, http=http[-1])
        async with client:
            await client.run(CAT)
            with pytest.raises(ConfigurationError, match="open already"):
                await client.open()
        async with client:
            await client.run(CAT)

    run_virtual(main())
    run_virtual(main())
    assert len(provider.posts) == 4


@pytest.mark.virtual_time
async def test_run_on_closed_client_error_shows_async_with() -> None:
    """The error for a forgotten `async with` shows the missing statement."""
    with pytest.raises(ConfigurationError, match=r"async with WeryAI\(\) as client"):
        await WeryAI("sk-made-up").run(CAT)


def test_client_without_key_error_names_variable_and_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the error names the variable and the argument. With the variable the client is created."""
    with pytest.raises(ConfigurationError, match="WERYAI_API_KEY, or pass api_key"):
        WeryAI()
    monkeypatch.setenv("WERYAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("WERYAI_BASE_URL", "http://127.0.0.1:9/")
    assert "127.0.0.1:9" in repr(WeryAI())
    assert "sk-from" not in repr(WeryAI())


@pytest.mark.virtual_time
async def test_stop_submitting_rejects_queue_and_keeps_jobs() -> None:
    """Queued and later submissions raise NotSent, and the jobs under way are awaited."""
    provider = FakeWeryAI(seconds=20)
    async with client_of(provider, limits=Limits(in_flight=1)) as client:
        first = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(1)
        client.stop_submitting()
        with pytest.raises(NotSent):
            await second
        with pytest.raises(NotSent):
            await client.submit(CAT)
        assert (await first).task_ids == ("task_0",)
    assert len(provider.posts) == 1
