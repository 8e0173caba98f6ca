"""How long jobs take: learned from the looks, kept in the ledger, told to those who want to know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Event, JobFinished, Limits, PollPolicy, WeryAI
from aiowery._journal.serialization import duration_kind, durations_at
from aiowery.errors import JobTimeout
from aiowery.ledger import Ledger
from aiowery.sandbox import Sandbox
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage
from tests.support import World, client_of, envelope, ledger_of

pytestmark = pytest.mark.anyio

SPEED = 20.0
WIDE = Limits(in_flight=1000, submissions=50)
CAT = TextToImage(prompt="a secret cat")
FAST = PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.011)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Start a sandbox whose pictures take a second."""
    with Sandbox(speed=SPEED, durations=(20.0, 22.0), picture_size=64) as running:
        yield running


async def polls_of(sandbox: Sandbox, jobs: int, **more: object) -> float:
    """Return the status checks per job of a client that begins anew."""
    polling = PollPolicy().faster(SPEED)
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=polling, **more) as client:  # type: ignore[arg-type]
        await asyncio.gather(*(client.run(CAT) for _ in range(jobs)))
        return client.statistics().polls.made / jobs


@pytest.mark.slow("three times ten jobs, one after the other")
async def test_a_new_process_begins_learned(sandbox: Sandbox, tmp_path: Path) -> None:
    """On the same ledger the second client looks first shortly before jobs end; without one it begins as the first."""
    path = tmp_path / "jobs.db"
    first, second = [await polls_of(sandbox, 10, ledger=path) for _ in range(2)]
    without = await polls_of(sandbox, 10)
    # A slow machine polls less often: what counts is that a learned start polls clearly less.
    assert second < 3.2
    assert second < 0.8 * min(first, without)


async def test_no_first_look_comes_before_the_learned_moment(tmp_path: Path) -> None:
    """What another client has learned on the same ledger decides already about the first job, if it is of that kind."""
    dog = TextToImage(prompt="a dog", resolution="4k")
    world = World(seconds=0.6)
    polling = PollPolicy(min_interval=0.05, max_interval=0.08, known_max_interval=0.06)
    for _ in range(2):
        async with client_of(world, limits=WIDE, polling=polling, ledger=tmp_path / "jobs.db") as client:
            begun = asyncio.get_running_loop().time()
            await asyncio.gather(*(client.run(request) for request in [CAT] * 8 + [dog]))
    first = [world.looks[f"task_{number}"][0] - begun for number in range(9, 18)]
    assert min(first[:8]) > 0.4
    assert first[8] < 0.4


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_what_is_kept_of_a_job_is_how_long_it_took(kind: str, tmp_path: Path) -> None:
    """Between the last look that saw it running and the one that found its end; those that never ran tell nothing."""
    world = World(seconds=0.4)
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(world, polling=FAST, ledger=ledger) as client:
            await asyncio.gather(client.run(CAT), client.run(CAT))
            world.misfortunes["submit"] = [envelope(None, 1001, "no")]
            await asyncio.gather(client.run(CAT), return_exceptions=True)
        ((told, seen),) = (await ledger.durations()).items()
    assert told.startswith('["https://api.example.com", "/v1/generation/text-to-image", "WERYAI_IMAGE_2_0"')
    assert len(seen) == 2
    assert all(0 < lower < upper < 5 and upper > 0.2 for lower, upper in seen)


@given(hosts=st.lists(st.text(), min_size=2, max_size=2, unique=True), key=st.lists(st.text()).map(tuple))
def test_hosts_do_not_teach_each_other(hosts: list[str], key: tuple[str, ...]) -> None:
    """What a sandbox needs for a picture says nothing of the provider; whatever words a caller uses, they come back."""
    here, there = hosts
    told = {duration_kind(here, key): [(1.0, 2.0)], duration_kind(there, key): [(3.0, 4.0)]}
    assert durations_at(here, told) == {key: [(1.0, 2.0)]}
    assert durations_at(there, told) == {key: [(3.0, 4.0)]}


async def test_no_prompt_and_no_key_is_kept_with_durations(tmp_path: Path) -> None:
    """The table holds hosts, models and settings, in words, and numbers."""
    async with client_of(World(seconds=0.05), polling=FAST, ledger=tmp_path / "jobs.db") as client:
        await client.run(TextToImage(prompt="a secret cat", negative_prompt="https://example.com/me.png"))
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        ((kind, seen),) = connection.execute("SELECT kind, seen FROM duration").fetchall()
    assert not any(word in kind for word in ("secret", "me.png", "sk-"))
    assert seen == "{:9.3f} {:9.3f}\n".format(*map(float, seen.split()))


async def test_what_was_lost_or_given_up_teaches_nothing(tmp_path: Path) -> None:
    """A job that nobody has seen to end says nothing of when others do."""

    async def ended(ledger: Ledger, world: World, policy: PollPolicy) -> None:
        async with client_of(world, polling=policy, ledger=ledger) as client:
            await asyncio.gather(client.run(CAT), return_exceptions=True)

    lost = World(seconds=0.05, misfortunes={"status": [envelope(None, 1003, "task not exist")] * 9})
    async with ledger_of("file", tmp_path) as ledger:
        await ended(
            ledger, lost, PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.01, not_found_grace=0.0)
        )
        await ended(
            ledger,
            World(seconds=9),
            PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.01, image_timeout=0.1),
        )
        assert await ledger.durations() == {}


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_the_seconds_of_a_resumed_job_count_from_its_sending(kind: str, tmp_path: Path) -> None:
    """Not from the moment at which somebody looked after it again; it teaches nothing, as nobody looked meanwhile."""
    world = World(seconds=0.8)
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(world, polling=FAST, ledger=ledger) as client:
            stream = client.stream([CAT], batch="cats")
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.3)
            waiting.cancel()
        await asyncio.sleep(0.2)
        async with client_of(world, polling=FAST, ledger=ledger) as client:
            (outcome,) = [outcome async for outcome in client.resume("cats")]
        assert await ledger.durations() == {}
    assert len(world.posts) == 1
    assert 0.75 < (outcome.unwrap().seconds or 0) < 2


def test_a_resumed_job_that_is_past_its_deadline_gets_it_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent long ago: patience begins anew, before anybody awaits it, or what was paid for would be given up at once."""

    async def main() -> None:
        monkeypatch.setattr(time, "time", asyncio.get_running_loop().time)
        world = World(seconds=1300)
        policy = PollPolicy(image_timeout=600)
        async with ledger_of("memory", Path()) as ledger:
            for _ in range(2):
                async with client_of(world, polling=policy, ledger=ledger) as client:
                    outcomes = [outcome async for outcome in client.stream([CAT], batch="cats")]
                assert isinstance(outcomes[0].error, JobTimeout)
            caplog.clear()
            async with client_of(world, polling=policy, ledger=ledger) as client:
                await client.batches.enter("cats", [CAT], reuse=False)
                await asyncio.sleep(200)
                (job,) = client.jobs()
        assert job.done
        assert 1300 <= (job.result().seconds or 0) < 1310
        assert caplog.records == []

    run_virtual(main())


def test_an_event_and_the_log_tell_between_which_bounds_a_duration_lies(caplog: pytest.LogCaptureFixture) -> None:
    """Users can gather their own figures: kind, when last seen running, when found done."""

    async def main() -> list[Event]:
        events: list[Event] = []
        async with client_of(World(seconds=10), observer=events.append) as client:
            await client.run(CAT)
        return events

    caplog.set_level(logging.INFO, "aiowery")
    (ended,) = [event for event in run_virtual(main()) if isinstance(event, JobFinished)]
    assert 5 <= ended.last_running < 10 <= ended.seconds < 15
    assert ended.timing_key == CAT.timing_key
    record = next(record for record in caplog.records if record.message.startswith("done"))
    assert (vars(record)["last_running"], vars(record)["timing_key"]) == (ended.last_running, CAT.timing_key)
