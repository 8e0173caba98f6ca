"""A client from its opening to its close: keys, event loops, and what becomes of jobs and submissions."""

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
async def test_closing_finishes_the_post_under_way_and_tells_the_waiters(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving `async with` early: the POST ends, its id is logged, who waits gets ClientClosed, the line NotSent."""
    world = FakeWeryAI(seconds=60, latency=1.0)
    async with client_of(world, limits=Limits(in_flight=1)) as client:
        first = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.5)
        second = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    assert isinstance(first.exception(), ClientClosed)
    assert isinstance(second.exception(), NotSent)
    assert len(world.posts) == 1
    assert len(asyncio.all_tasks()) == 1
    assert "closed with 1 jobs under way" in caplog.text
    assert "task_0" in caplog.text


@pytest.mark.virtual_time
async def test_closing_does_not_wait_out_a_resting_lane() -> None:
    """A refused request that waits for its repeat is turned away when the client closes."""
    world = FakeWeryAI(faults={"submit": [httpx.Response(429, headers={"retry-after": "100"})] * 9})
    async with client_of(world) as client:
        running = asyncio.ensure_future(client.run(CAT))
        await asyncio.sleep(1)
    assert now() < 2
    with pytest.raises(NotSent):
        await running


def test_a_client_can_be_entered_again_in_another_loop() -> None:
    """Everything that belongs to a loop is made on entering."""
    world = FakeWeryAI()
    http: list[Any] = []
    client = WeryAI("sk-made-up", base_url="https://api.example.com", http=None)

    async def main() -> None:
        http.append(httpx.AsyncClient(transport=httpx.MockTransport(world)))
        client._config = attrs.evolve(client._config, http=http[-1])
        async with client:
            await client.run(CAT)
            with pytest.raises(ConfigurationError, match="open already"):
                await client.open()
        async with client:
            await client.run(CAT)

    run_virtual(main())
    run_virtual(main())
    assert len(world.posts) == 4


@pytest.mark.virtual_time
async def test_a_closed_client_says_how_to_open_it() -> None:
    """The error for a forgotten `async with` shows the line that is missing."""
    with pytest.raises(ConfigurationError, match=r"async with WeryAI\(\) as client"):
        await WeryAI("sk-made-up").run(CAT)


def test_a_missing_key_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the error names the variable and the argument; with the variable it works."""
    with pytest.raises(ConfigurationError, match="WERYAI_API_KEY, or pass api_key"):
        WeryAI()
    monkeypatch.setenv("WERYAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("WERYAI_BASE_URL", "http://127.0.0.1:9/")
    assert "127.0.0.1:9" in repr(WeryAI())
    assert "sk-from" not in repr(WeryAI())


@pytest.mark.virtual_time
async def test_stopping_to_submit_turns_away_the_line_and_keeps_what_was_sent() -> None:
    """For an orderly end: those who wait get NotSent, later ones too, and the jobs under way are awaited."""
    world = FakeWeryAI(seconds=20)
    async with client_of(world, limits=Limits(in_flight=1)) as client:
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
    assert len(world.posts) == 1
