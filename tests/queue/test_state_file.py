"""A lane kept in a file: several processes and runs that follow each other share one turn."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from aiowery import BetterWaifu, Limits, PollPolicy, RetryPolicy
from aiowery._queue.state_file import QueueStateFile
from aiowery.betterwaifu import GenerateImage
from aiowery.errors import ConfigurationError, JobError, NotSent, QueueTooLong
from aiowery.sandbox import Sandbox
from tests.support import Clock
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture

pytestmark = pytest.mark.anyio

SPEED = 150.0
LIMITS = Limits(in_flight=1, submissions=1, cool_down=60.5, expected_duration=30.0, max_queue=100).faster(SPEED)
POLLING = PollPolicy().faster(SPEED)


def lease_of(path: Path, clock: Callable[[], float], **settings: float) -> QueueStateFile:
    """Return a lease whose rests are longer than any test waits, unless its clock goes on."""
    return QueueStateFile(
        path,
        **{"cool_down": 60.0, "expected_duration": 30.0, "max_wait": 600.0, "lock_retry_interval": 0.01, **settings},
        clock=clock,
    )


async def never(task_ids: tuple[str, ...]) -> None:
    """Stand for tasks that nobody left."""
    raise AssertionError(task_ids)


def state_of(path: Path) -> dict[str, Any]:
    """Read the file."""
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def contents(directory: Path) -> dict[str, bytes]:
    """Read all files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def refuses(work: Coroutine[Any, Any, None]) -> bool:
    """Tell whether a turn does not come for a while."""
    with anyio.move_on_after(0.1) as scope:
        await work
    return scope.cancelled_caught


async def test_one_turn_at_a_time(tmp_path: Path) -> None:
    """A second holder waits until the first has given its turn back."""
    clock = Clock()
    first, second = lease_of(tmp_path / "lane", clock), lease_of(tmp_path / "lane", clock)
    await first.acquire(never)
    assert await refuses(second.acquire(never))
    await first.release(0.0)
    async with asyncio.timeout(5):
        await second.acquire(never)
    await second.release(0.0)


async def test_the_rest_outlives_the_process(tmp_path: Path) -> None:
    """What is left of the rest is waited for by whoever comes next, and no more."""
    clock = Clock()
    first, second = lease_of(tmp_path / "lane", clock), lease_of(tmp_path / "lane", clock)
    await first.acquire(never)
    await first.release(60.0)
    clock.now += 59.0
    assert await refuses(second.acquire(never))
    clock.now += 1.0
    async with asyncio.timeout(5):
        await second.acquire(never)
    await second.release(0.0)


async def test_a_clock_that_was_set_back_stops_nobody(tmp_path: Path) -> None:
    """A moment in a far future is waited for as long as a picture and its rest take, not longer."""
    clock = Clock()
    lease = lease_of(tmp_path / "lane", clock, cool_down=0.2, expected_duration=0.1)
    await lease.acquire(never)
    await lease.release(0.2)
    clock.now -= 1_000_000
    async with asyncio.timeout(5):
        await lease.acquire(never)
    lease.abandon()


async def test_who_comes_after_a_dead_process_waits_for_its_tasks(tmp_path: Path) -> None:
    """The file names what was left under way; it is seen to its end, and then the provider rests."""
    clock = Clock()
    dead, heir = lease_of(tmp_path / "lane", clock), lease_of(tmp_path / "lane", clock)
    await dead.acquire(never)
    await dead.record_tasks(("job_7",))
    dead.abandon()
    waited: list[tuple[str, ...]] = []

    async def ended(task_ids: tuple[str, ...]) -> None:
        waited.append(task_ids)

    assert await refuses(heir.acquire(ended))
    assert waited == [("job_7",)]
    assert state_of(tmp_path / "lane")["task_ids"] == ["job_7"]


async def test_an_old_task_holds_nobody(tmp_path: Path) -> None:
    """After the longest that anybody waits for a task, what was left under way is history."""
    clock = Clock()
    dead, heir = lease_of(tmp_path / "lane", clock), lease_of(tmp_path / "lane", clock)
    await dead.acquire(never)
    await dead.record_tasks(("job_7",))
    dead.abandon()
    clock.now += 601
    async with asyncio.timeout(5):
        await heir.acquire(never)
    heir.abandon()


async def test_a_post_that_a_process_died_in_is_rested_after(tmp_path: Path) -> None:
    """Nobody knows what became of it: as long as a picture takes, and the rest, nothing is sent."""
    clock = Clock()
    dead, heir = lease_of(tmp_path / "lane", clock), lease_of(tmp_path / "lane", clock)
    await dead.acquire(never)
    dead.abandon()
    assert await refuses(heir.acquire(never))
    clock.now += 90.0
    async with asyncio.timeout(5):
        await heir.acquire(never)
    heir.abandon()


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b'{"since": "x"}', b'{"since": NaN}', b"\xff", b"[" * 9999]
)
async def test_a_file_of_nonsense_counts_as_a_task_that_just_ended(tmp_path: Path, content: bytes) -> None:
    """Whatever stands there, the lane rests first and then goes on."""
    (tmp_path / "lane").write_bytes(content)
    clock = Clock()
    lease = lease_of(tmp_path / "lane", clock, cool_down=0.5)
    assert await refuses(lease.acquire(never))
    async with asyncio.timeout(5):
        await lease.acquire(never)
    await lease.release(0.0)
    assert state_of(tmp_path / "lane")["open"] is False


async def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """A directory that is not there is the caller's mistake; nothing is sent and no place is lost."""
    provider = FakeBetterWaifu()
    path = tmp_path / "missing" / "lane"
    async with client_of(provider, limits=LIMITS, queue_file=path) as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="queue_file="):
                await client.run(picture())
    assert provider.prompts == []


async def test_closing_turns_away_who_waits_for_another_process(tmp_path: Path) -> None:
    """Waiting for a file is waiting in line: who closes the client, or loses patience, sends nothing."""
    provider = FakeBetterWaifu()
    other = lease_of(tmp_path / "lane", Clock())
    await other.acquire(never)
    async with client_of(provider, limits=LIMITS, queue_file=tmp_path / "lane") as client:
        with pytest.raises(QueueTooLong):
            await client.run(picture(), start_within=0.1)
        waiting = asyncio.create_task(client.run(picture()))
        await asyncio.sleep(0.1)
    with pytest.raises(NotSent):
        await waiting
    other.abandon()
    assert provider.prompts == []


async def test_who_left_while_another_process_had_the_turn_is_not_sent(tmp_path: Path) -> None:
    """Refused for load, back in line, and then the caller leaves: when the turn comes, nothing is posted."""
    busy = httpx.Response(429, json={"error": "busy"}, headers={"retry-after": "0.2"})
    provider = FakeBetterWaifu(faults=[busy], latency=0.0)
    other = lease_of(tmp_path / "lane", time.time)
    settings: dict[str, Any] = {
        "limits": LIMITS,
        "retries": RetryPolicy(initial_backoff=0.01),
        "queue_file": tmp_path / "lane",
    }
    async with client_of(provider, **settings) as client:
        waiting = asyncio.create_task(client.run(picture()))
        while not client.statistics().queue.refusals:  # noqa: ASYNC110 - the double tells nobody
            await asyncio.sleep(0.01)
        await other.acquire(never)
        await asyncio.sleep(0.7)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await other.release(0.0)
        await asyncio.sleep(0.7)
        assert client.statistics().queue.in_use == 0
    assert len(provider.prompts) == 1


async def test_cancelled_at_any_moment_the_turn_is_free_again(tmp_path: Path) -> None:
    """Whoever leaves while a thread is taking the lock does not keep it: the next one gets its turn."""
    clock = Clock()
    for steps in range(40):
        lease = lease_of(tmp_path / "lane", clock)
        taking = asyncio.create_task(lease.acquire(never))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.0005)
        taking.cancel()
        ends = await asyncio.gather(taking, return_exceptions=True)
        if ends[0] is None:
            await lease.release(0.0)
        clock.now += 100
        other = lease_of(tmp_path / "lane", clock)
        async with asyncio.timeout(5):
            await other.acquire(never)
        await other.release(0.0)
        async with asyncio.timeout(5):
            await lease.acquire(never)
        await lease.release(0.0)


async def test_the_file_tells_nothing_secret(tmp_path: Path) -> None:
    """Neither key nor prompt is written, and nobody else may read it."""
    async with Sandbox(speed=SPEED, keys=None) as sandbox:
        client = BetterWaifu(
            "bw_secret-secret",
            edition="v1-images",
            base_url=sandbox.url,
            limits=LIMITS,
            queue_file=tmp_path / "lane",
        )
        async with client:
            await client.run(picture())
    if os.name == "posix":
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}  # noqa: ASYNC240 - two files
    written = contents(tmp_path)
    assert written.keys() == {"lane", "lane.lock"}
    assert not any(word in content for content in written.values() for word in (b"secret", b"1girl"))


PROGRAM = """
import asyncio, sys
from aiowery import BetterWaifu, Limits, PollPolicy
from aiowery.betterwaifu import GenerateImage

url, path, count, speed, mark = sys.argv[1:]

async def main():
    limits = Limits(in_flight=1, submissions=1, cool_down=60.5, expected_duration=30.0).faster(float(speed))
    polling = PollPolicy().faster(float(speed))
    settings = {"limits": limits, "polling": polling, "queue_file": path}
    async with BetterWaifu("bw_key-of-both", edition="jobs", base_url=url, **settings) as client:
        requests = [GenerateImage(prompt=f"{mark} {n}", model=814910) for n in range(int(count))]
        async with client.stream(requests) as outcomes:
            async for outcome in outcomes:
                print(outcome.unwrap().url, flush=True)

asyncio.run(main())
"""


def started(sandbox: Sandbox, path: Path, count: int, mark: str) -> subprocess.Popen[str]:
    """Start a process that makes so many pictures."""
    arguments = [sandbox.jobs_url, os.fspath(path), str(count), str(SPEED), mark]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow("three processes start, and take turns")
def test_three_processes_take_turns(tmp_path: Path) -> None:
    """Six pictures from three processes with one file: no two at once, none within the rest, none refused."""
    with Sandbox(speed=SPEED, keys=None) as sandbox:
        processes = [started(sandbox, tmp_path / "lane", 2, str(number)) for number in range(3)]
        ends = [process.communicate(timeout=50) for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(len(out.split()) for out, _ in ends) == 6
    assert sandbox.betterwaifu.refused == 0
    assert len(sandbox.betterwaifu.generations) == 6


@pytest.mark.slow("two processes start, of which one is killed in the middle of its work")
def test_a_killed_process_leaves_its_turn_to_the_next(tmp_path: Path) -> None:
    """Killed while its picture is being made: the next run waits for that one, rests, and is not refused."""
    with Sandbox(speed=SPEED, keys=None) as sandbox:
        first = started(sandbox, tmp_path / "lane", 1, "first [[slow]]")
        while not (tmp_path / "lane").exists() or not state_of(tmp_path / "lane")["task_ids"]:
            assert first.poll() is None
        first.kill()
        first.communicate(timeout=10)
        second = started(sandbox, tmp_path / "lane", 1, "second")
        out, _ = second.communicate(timeout=50)
        assert second.returncode == 0
    assert out.startswith("http")
    assert sandbox.betterwaifu.refused == 0
    assert len(sandbox.betterwaifu.generations) == 2


async def test_a_job_left_by_a_closed_client_is_waited_for(tmp_path: Path) -> None:
    """An orderly close with a picture under way leaves its id in the file, not its turn to chance."""
    async with Sandbox(speed=SPEED, keys=None) as sandbox:

        def client() -> BetterWaifu:
            return BetterWaifu(
                "bw_key-of-both",
                edition="jobs",
                base_url=sandbox.jobs_url,
                limits=LIMITS,
                polling=POLLING,
                queue_file=tmp_path / "lane",
            )

        async with client() as first:
            job = await first.submit(GenerateImage(prompt="1girl", model=814910))
        with pytest.raises(JobError):
            await job
        async with client() as second:
            await second.run(GenerateImage(prompt="1boy", model=814910))
    assert sandbox.betterwaifu.refused == 0
