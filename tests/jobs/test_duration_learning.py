"""Durations of jobs: learned from polls, stored in the ledger, reported in events and logs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Event, JobFinished, PollPolicy, WeryAI
from aiowery._journal.serialization import duration_kind, durations_at
from aiowery.errors import JobTimeout
from aiowery.ledger import Ledger
from aiowery.sandbox import Sandbox
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage
from tests.support import CAT, LEDGER_KINDS, WIDE, FakeWeryAI, client_of, envelope, ledger_of

pytestmark = pytest.mark.anyio

SPEED = 20.0
FAST = PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.011)


async def polls_per_job(sandbox: Sandbox, jobs: int, **more: object) -> float:
    """Return the status checks per job of a new client."""
    polling = PollPolicy().faster(SPEED)
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=polling, **more) as client:  # type: ignore[arg-type]
        await asyncio.gather(*(client.run(CAT) for _ in range(jobs)))
        return client.statistics().polls.made / jobs


@pytest.mark.sandbox(speed=SPEED, durations=(20.0, 22.0), picture_size=64)
@pytest.mark.slow("three times ten jobs, one after the other")
async def test_first_poll_new_client_same_ledger_uses_stored_durations(sandbox: Sandbox, tmp_path: Path) -> None:
    """On the same ledger a second client polls first shortly before jobs end. Without a ledger it does not."""
    path = tmp_path / "jobs.db"
    first, second = [await polls_per_job(sandbox, 10, ledger=path) for _ in range(2)]
    without = await polls_per_job(sandbox, 10)
    assert min(first, without) > 4.5
    assert second < 3.2


async def test_first_poll_stored_durations_delay_first_job_of_same_kind(tmp_path: Path) -> None:
    """Durations that another client stored delay the first poll of the same kind of job, and of no other kind."""
    dog = TextToImage(prompt="a dog", resolution="4k")
    provider = FakeWeryAI(seconds=0.6)
    polling = PollPolicy(min_interval=0.05, max_interval=0.08, known_max_interval=0.06)
    for _ in range(2):
        async with client_of(provider, limits=WIDE, polling=polling, ledger=tmp_path / "jobs.db") as client:
            begun = asyncio.get_running_loop().time()
            await asyncio.gather(*(client.run(request) for request in [CAT] * 8 + [dog]))
    first = [provider.polls[f"task_{number}"][0] - begun for number in range(9, 18)]
    assert min(first[:8]) > 0.4
    assert first[8] < 0.4


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_ledger_finished_jobs_stores_duration_bounds(kind: str, tmp_path: Path) -> None:
    """The bounds are the last poll of a running job and the poll that found its end. Rejected jobs add none."""
    provider = FakeWeryAI(seconds=0.4)
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(provider, polling=FAST, ledger=ledger) as client:
            await asyncio.gather(client.run(CAT), client.run(CAT))
            provider.faults["submit"] = [envelope(None, 1001, "no")]
            await asyncio.gather(client.run(CAT), return_exceptions=True)
        ((stored, seen),) = (await ledger.durations()).items()
    assert stored.startswith('["https://api.example.com", "/v1/generation/text-to-image", "WERYAI_IMAGE_2_0"')
    assert len(seen) == 2
    assert all(0 < lower < upper < 5 and upper > 0.2 for lower, upper in seen)


@given(base_urls=st.lists(st.text(), min_size=2, max_size=2, unique=True), key=st.lists(st.text()).map(tuple))
def test_durations_at_other_base_url_returns_no_durations(base_urls: list[str], key: tuple[str, ...]) -> None:
    """Durations at a sandbox do not affect those at the provider, whatever texts the key contains."""
    here, there = base_urls
    stored = {duration_kind(here, key): [(1.0, 2.0)], duration_kind(there, key): [(3.0, 4.0)]}
    assert durations_at(here, stored) == {key: [(1.0, 2.0)]}
    assert durations_at(there, stored) == {key: [(3.0, 4.0)]}


async def test_ledger_durations_contain_no_prompt_and_no_key(tmp_path: Path) -> None:
    """The table contains base URLs, models, settings and numbers."""
    async with client_of(FakeWeryAI(seconds=0.05), polling=FAST, ledger=tmp_path / "jobs.db") as client:
        await client.run(TextToImage(prompt="a secret cat", negative_prompt="https://example.com/me.png"))
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        ((kind, seen),) = connection.execute("SELECT kind, seen FROM duration").fetchall()
    assert not any(word in kind for word in ("secret", "me.png", "sk-"))
    assert seen == "{:9.3f} {:9.3f}\n".format(*map(float, seen.split()))


async def test_ledger_lost_or_timed_out_job_stores_no_duration(tmp_path: Path) -> None:
    """A job whose end was not observed does not affect the polls of other jobs."""

    async def run_one(ledger: Ledger, provider: FakeWeryAI, policy: PollPolicy) -> None:
        async with client_of(provider, polling=policy, ledger=ledger) as client:
            await asyncio.gather(client.run(CAT), return_exceptions=True)

    lost = FakeWeryAI(seconds=0.05, faults={"status": [envelope(None, 1003, "task not exist")] * 9})
    async with ledger_of("file", tmp_path) as ledger:
        await run_one(
            ledger, lost, PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.01, not_found_grace=0.0)
        )
        await run_one(
            ledger,
            FakeWeryAI(seconds=9),
            PollPolicy(min_interval=0.01, max_interval=0.02, known_max_interval=0.01, image_timeout=0.1),
        )
        assert await ledger.durations() == {}


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_resume_job_counts_seconds_from_submission(kind: str, tmp_path: Path) -> None:
    """The seconds of a resumed job count from its submission, and no duration is stored for it."""
    provider = FakeWeryAI(seconds=0.8)
    async with ledger_of(kind, tmp_path) as ledger:
        async with client_of(provider, polling=FAST, ledger=ledger) as client:
            stream = client.stream([CAT], batch="cats")
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.3)
            waiting.cancel()
        await asyncio.sleep(0.2)
        async with client_of(provider, polling=FAST, ledger=ledger) as client:
            (outcome,) = [outcome async for outcome in client.resume("cats")]
        assert await ledger.durations() == {}
    assert len(provider.posts) == 1
    assert 0.75 < (outcome.unwrap().seconds or 0) < 2


@pytest.mark.virtual_time
async def test_resume_job_past_timeout_gets_full_timeout_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A resumed job is polled for its full timeout even before a caller awaits it, because it was paid for."""
    monkeypatch.setattr(time, "time", asyncio.get_running_loop().time)
    provider = FakeWeryAI(seconds=1300)
    policy = PollPolicy(image_timeout=600)
    async with ledger_of("memory", Path()) as ledger:
        for _ in range(2):
            async with client_of(provider, polling=policy, ledger=ledger) as client:
                outcomes = [outcome async for outcome in client.stream([CAT], batch="cats")]
            assert isinstance(outcomes[0].error, JobTimeout)
        caplog.clear()
        async with client_of(provider, polling=policy, ledger=ledger) as client:
            await client.batches.enter("cats", [CAT], reuse=False)
            await asyncio.sleep(200)
            (job,) = client.jobs()
    assert job.done
    assert 1300 <= (job.result().seconds or 0) < 1310
    assert caplog.records == []


def test_job_finished_event_and_log_contain_duration_bounds(caplog: pytest.LogCaptureFixture) -> None:
    """The event and the log contain the kind, the last time it was found running, and the time of its end."""

    async def main() -> list[Event]:
        events: list[Event] = []
        async with client_of(FakeWeryAI(seconds=10), observer=events.append) as client:
            await client.run(CAT)
        return events

    caplog.set_level(logging.INFO, "aiowery")
    (ended,) = [event for event in run_virtual(main()) if isinstance(event, JobFinished)]
    assert 5 <= ended.last_running < 10 <= ended.seconds < 15
    assert ended.timing_key == CAT.timing_key
    record = next(record for record in caplog.records if record.message.startswith("done"))
    assert (vars(record)["last_running"], vars(record)["timing_key"]) == (ended.last_running, CAT.timing_key)
