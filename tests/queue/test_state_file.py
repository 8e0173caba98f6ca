"""A queue state file: several processes, and runs that follow each other, share one queue."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from aiowery import BetterWaifu, Limits, PollPolicy, RetryPolicy
from aiowery.betterwaifu import GenerateImage
from aiowery.errors import ConfigurationError, JobError, NotSent, QueueTooLong
from aiowery.sandbox import Sandbox
from tests.support import Clock, expect_no_tasks, state_file_of
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture

pytestmark = pytest.mark.anyio

SPEED = 150.0
LIMITS = Limits(in_flight=1, submissions=1, cool_down=60.5, expected_duration=30.0, max_queue=100).faster(SPEED)
POLLING = PollPolicy().faster(SPEED)


def read_state(path: Path) -> dict[str, Any]:
    """Return the state in the file."""
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def contents(directory: Path) -> dict[str, bytes]:
    """Return the contents of all files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def is_blocked(work: Coroutine[Any, Any, None]) -> bool:
    """Return True if the work does not end within a tenth of a second."""
    with anyio.move_on_after(0.1) as scope:
        await work
    return scope.cancelled_caught


async def test_acquire_held_by_other_waits_for_release(tmp_path: Path) -> None:
    """A second process waits until the first has released the file."""
    clock = Clock()
    first, second = state_file_of(tmp_path / "queue", clock), state_file_of(tmp_path / "queue", clock)
    await first.acquire(expect_no_tasks)
    assert await is_blocked(second.acquire(expect_no_tasks))
    await first.release(0.0)
    async with asyncio.timeout(5):
        await second.acquire(expect_no_tasks)
    await second.release(0.0)


async def test_acquire_after_release_waits_for_rest_of_cool_down(tmp_path: Path) -> None:
    """The next process waits for what is left of the cool-down, and no longer."""
    clock = Clock()
    first, second = state_file_of(tmp_path / "queue", clock), state_file_of(tmp_path / "queue", clock)
    await first.acquire(expect_no_tasks)
    await first.release(60.0)
    clock.now += 59.0
    assert await is_blocked(second.acquire(expect_no_tasks))
    clock.now += 1.0
    async with asyncio.timeout(5):
        await second.acquire(expect_no_tasks)
    await second.release(0.0)


async def test_acquire_after_clock_was_set_back_waits_for_bounded_time(tmp_path: Path) -> None:
    """A time in the far future delays a process for one picture and its cool-down, not longer."""
    clock = Clock()
    state_file = state_file_of(tmp_path / "queue", clock, cool_down=0.2, expected_duration=0.1)
    await state_file.acquire(expect_no_tasks)
    await state_file.release(0.2)
    clock.now -= 1_000_000
    async with asyncio.timeout(5):
        await state_file.acquire(expect_no_tasks)
    state_file.abandon()


async def test_acquire_after_dead_process_waits_for_its_tasks(tmp_path: Path) -> None:
    """The file contains the tasks that were left under way.

    The next process waits for their end, then for the cool-down.
    """
    clock = Clock()
    dead, heir = state_file_of(tmp_path / "queue", clock), state_file_of(tmp_path / "queue", clock)
    await dead.acquire(expect_no_tasks)
    await dead.record_tasks(("job_7",))
    dead.abandon()
    waited: list[tuple[str, ...]] = []

    async def ended(task_ids: tuple[str, ...]) -> None:
        waited.append(task_ids)

    assert await is_blocked(heir.acquire(ended))
    assert waited == [("job_7",)]
    assert read_state(tmp_path / "queue")["task_ids"] == ["job_7"]


async def test_acquire_after_max_wait_ignores_old_tasks(tmp_path: Path) -> None:
    """After `max_wait` seconds, tasks that were left under way are ignored."""
    clock = Clock()
    dead, heir = state_file_of(tmp_path / "queue", clock), state_file_of(tmp_path / "queue", clock)
    await dead.acquire(expect_no_tasks)
    await dead.record_tasks(("job_7",))
    dead.abandon()
    clock.now += 601
    async with asyncio.timeout(5):
        await heir.acquire(expect_no_tasks)
    heir.abandon()


async def test_acquire_after_process_died_during_post_waits(tmp_path: Path) -> None:
    """The outcome of the POST is unknown, so nothing is sent for the duration of a picture and the cool-down."""
    clock = Clock()
    dead, heir = state_file_of(tmp_path / "queue", clock), state_file_of(tmp_path / "queue", clock)
    await dead.acquire(expect_no_tasks)
    dead.abandon()
    assert await is_blocked(heir.acquire(expect_no_tasks))
    clock.now += 90.0
    async with asyncio.timeout(5):
        await heir.acquire(expect_no_tasks)
    heir.abandon()


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b'{"since": "x"}', b'{"since": NaN}', b"\xff", b"[" * 9999]
)
async def test_acquire_invalid_file_counts_as_task_that_just_ended(tmp_path: Path, content: bytes) -> None:
    """Whatever the file contains, the queue cools down first and then goes on."""
    (tmp_path / "queue").write_bytes(content)
    clock = Clock()
    state_file = state_file_of(tmp_path / "queue", clock, cool_down=0.5)
    assert await is_blocked(state_file.acquire(expect_no_tasks))
    async with asyncio.timeout(5):
        await state_file.acquire(expect_no_tasks)
    await state_file.release(0.0)
    assert read_state(tmp_path / "queue")["open"] is False


async def test_run_missing_directory_raises_and_frees_slot(tmp_path: Path) -> None:
    """A missing directory is the caller's error. Nothing is sent and no slot is lost."""
    provider = FakeBetterWaifu()
    path = tmp_path / "missing" / "queue"
    async with client_of(provider, limits=LIMITS, queue_file=path) as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="queue_file="):
                await client.run(picture())
    assert provider.prompts == []


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and links")
@pytest.mark.parametrize("kind", ["pipe", "directory", "pipe behind a link", "link in place of the lock"])
async def test_run_with_something_else_at_the_path_raises(kind: str, tmp_path: Path) -> None:
    """A pipe would be waited for without end, and a link could lead to any file; nothing is sent."""
    provider = FakeBetterWaifu()
    path = tmp_path / "queue"
    match kind:
        case "directory":
            path.mkdir()
        case "link in place of the lock":
            (tmp_path / "queue.lock").symlink_to(tmp_path / "elsewhere")
        case _:
            os.mkfifo(tmp_path / "pipe" if "link" in kind else path)
            if "link" in kind:
                path.symlink_to(tmp_path / "pipe")
    async with client_of(provider, limits=LIMITS, queue_file=path) as client:
        with pytest.raises(ConfigurationError, match="queue_file="):
            await asyncio.wait_for(client.run(picture()), 5)
    assert provider.prompts == []
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs links")
async def test_state_is_written_through_no_link(tmp_path: Path) -> None:
    """A link at the name of the new file, which another user may have put there, is removed, not followed."""
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "queue.new").symlink_to(tmp_path / "mine")
    state_file = state_file_of(tmp_path / "queue", Clock())
    await state_file.acquire(expect_no_tasks)
    state_file.abandon()
    assert (tmp_path / "mine").read_text() == "kept"
    assert read_state(tmp_path / "queue")["open"] is True


async def test_close_while_other_process_holds_file_raises_not_sent(tmp_path: Path) -> None:
    """A wait for the file is a wait in the queue. Closing the client or exceeding `start_within` sends nothing."""
    provider = FakeBetterWaifu()
    other = state_file_of(tmp_path / "queue", Clock())
    await other.acquire(expect_no_tasks)
    async with client_of(provider, limits=LIMITS, queue_file=tmp_path / "queue") as client:
        with pytest.raises(QueueTooLong):
            await client.run(picture(), start_within=0.1)
        waiting = asyncio.create_task(client.run(picture()))
        await asyncio.sleep(0.1)
    with pytest.raises(NotSent):
        await waiting
    other.abandon()
    assert provider.prompts == []


async def test_run_cancelled_while_other_process_holds_file_is_not_sent(tmp_path: Path) -> None:
    """A submission is rejected because of load, queued again and cancelled.

    When the file is free, nothing is posted.
    """
    busy = httpx.Response(429, json={"error": "busy"}, headers={"retry-after": "0.2"})
    provider = FakeBetterWaifu(faults=[busy], latency=0.0)
    other = state_file_of(tmp_path / "queue", time.time)
    settings: dict[str, Any] = {
        "limits": LIMITS,
        "retries": RetryPolicy(initial_backoff=0.01),
        "queue_file": tmp_path / "queue",
    }
    async with client_of(provider, **settings) as client:
        waiting = asyncio.create_task(client.run(picture()))
        while not client.statistics().queue.refusals:  # noqa: ASYNC110 - the provider sets no events
            await asyncio.sleep(0.01)
        await other.acquire(expect_no_tasks)
        await asyncio.sleep(0.7)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await other.release(0.0)
        await asyncio.sleep(0.7)
        assert client.statistics().queue.in_use == 0
    assert len(provider.prompts) == 1


async def test_acquire_cancelled_at_any_time_releases_lock(tmp_path: Path) -> None:
    """A caller that is cancelled while a thread takes the lock does not keep it. The next process gets it."""
    clock = Clock()
    for steps in range(40):
        state_file = state_file_of(tmp_path / "queue", clock)
        taking = asyncio.create_task(state_file.acquire(expect_no_tasks))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.0005)
        taking.cancel()
        ends = await asyncio.gather(taking, return_exceptions=True)
        if ends[0] is None:
            await state_file.release(0.0)
        clock.now += 100
        other = state_file_of(tmp_path / "queue", clock)
        async with asyncio.timeout(5):
            await other.acquire(expect_no_tasks)
        await other.release(0.0)
        async with asyncio.timeout(5):
            await state_file.acquire(expect_no_tasks)
        await state_file.release(0.0)


async def test_state_file_contains_no_secret(tmp_path: Path) -> None:
    """Neither key nor prompt is written, and other users may not read the files."""
    async with Sandbox(speed=SPEED, keys=None) as sandbox:
        client = BetterWaifu(
            "bw_secret-secret",
            edition="v1-images",
            base_url=sandbox.url,
            limits=LIMITS,
            queue_file=tmp_path / "queue",
        )
        async with client:
            await client.run(picture())
    if os.name == "posix":
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}  # noqa: ASYNC240 - two files
    written = contents(tmp_path)
    assert written.keys() == {"queue", "queue.lock"}
    assert not any(text in content for content in written.values() for text in (b"secret", b"1girl"))


PROGRAM = """
import asyncio, sys
from aiowery import BetterWaifu, Limits, PollPolicy
from aiowery.betterwaifu import GenerateImage

url, path, count, speed, prefix = sys.argv[1:]

async def main():
    limits = Limits(in_flight=1, submissions=1, cool_down=60.5, expected_duration=30.0).faster(float(speed))
    polling = PollPolicy().faster(float(speed))
    settings = {"limits": limits, "polling": polling, "queue_file": path}
    async with BetterWaifu("bw_key-of-both", edition="jobs", base_url=url, **settings) as client:
        requests = [GenerateImage(prompt=f"{prefix} {n}", model=814910) for n in range(int(count))]
        async with client.stream(requests) as outcomes:
            async for outcome in outcomes:
                print(outcome.unwrap().url, flush=True)

asyncio.run(main())
"""


def start_process(sandbox: Sandbox, path: Path, count: int, prefix: str) -> subprocess.Popen[str]:
    """Start a process that makes `count` pictures."""
    arguments = [sandbox.jobs_url, os.fspath(path), str(count), str(SPEED), prefix]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow("three processes start and share a queue")
def test_run_in_three_processes_sends_one_at_a_time(tmp_path: Path) -> None:
    """Six pictures of three processes with one file never overlap or violate the cool-down, and none is rejected."""
    with Sandbox(speed=SPEED, keys=None) as sandbox:
        processes = [start_process(sandbox, tmp_path / "queue", 2, str(number)) for number in range(3)]
        ends = [process.communicate(timeout=50) for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(len(out.split()) for out, _ in ends) == 6
    assert sandbox.betterwaifu.refused == 0
    assert len(sandbox.betterwaifu.generations) == 6


@pytest.mark.slow("two processes start, of which one is killed in the middle of its work")
def test_run_after_killed_process_waits_for_its_task(tmp_path: Path) -> None:
    """If a process is killed while its picture is made, the next run waits for it and the cool-down.

    None is rejected.
    """
    with Sandbox(speed=SPEED, keys=None) as sandbox:
        first = start_process(sandbox, tmp_path / "queue", 1, "first [[slow]]")
        while not (tmp_path / "queue").exists() or not read_state(tmp_path / "queue")["task_ids"]:
            assert first.poll() is None
        first.kill()
        first.communicate(timeout=10)
        second = start_process(sandbox, tmp_path / "queue", 1, "second")
        out, _ = second.communicate(timeout=50)
        assert second.returncode == 0
    assert out.startswith("http")
    assert sandbox.betterwaifu.refused == 0
    assert len(sandbox.betterwaifu.generations) == 2


async def test_run_after_closed_client_waits_for_its_job(tmp_path: Path) -> None:
    """An orderly close with a picture under way leaves its task id in the file, and the next client waits for it."""
    async with Sandbox(speed=SPEED, keys=None) as sandbox:

        def client() -> BetterWaifu:
            return BetterWaifu(
                "bw_key-of-both",
                edition="jobs",
                base_url=sandbox.jobs_url,
                limits=LIMITS,
                polling=POLLING,
                queue_file=tmp_path / "queue",
            )

        async with client() as first:
            job = await first.submit(GenerateImage(prompt="1girl", model=814910))
        with pytest.raises(JobError):
            await job
        async with client() as second:
            await second.run(GenerateImage(prompt="1boy", model=814910))
    assert sandbox.betterwaifu.refused == 0
