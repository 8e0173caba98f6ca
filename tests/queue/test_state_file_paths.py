"""Queue state files under other names, copied, removed or replaced: found before the next submission."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiowery import Limits, PollPolicy
from aiowery._queue.state_file import QueueStateFile
from aiowery.errors import AioweryError, ConfigurationError, LedgerError
from tests.support import expect_no_tasks, state_file_of
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name != "posix", reason="open files cannot be moved there")]

POLLING = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
LIMITS = Limits(in_flight=1, submissions=1, cool_down=0.0, expected_duration=0.1)


IDLE = {"cool_down": 0.0, "expected_duration": 0.0}


async def acquire_and_release(state_file: QueueStateFile) -> None:
    """Acquire the state file and release it."""
    await state_file.acquire(expect_no_tasks)
    await state_file.release(0.0)


async def test_acquire_through_symlink_uses_same_lock(tmp_path: Path) -> None:
    """A process that uses a symbolic link waits for the same lock, and the link remains a link."""
    (tmp_path / "link").symlink_to("queue")
    one, other = state_file_of(tmp_path / "queue", **IDLE), state_file_of(tmp_path / "link", **IDLE)
    await one.acquire(expect_no_tasks)
    assert not await other._in_thread(other._try_lock)
    await one.release(0.0)
    await acquire_and_release(other)
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "link.lock").exists()


async def test_acquire_file_with_hard_link_is_refused(tmp_path: Path) -> None:
    """A hard link would become a separate state with the first write."""
    await acquire_and_release(state_file_of(tmp_path / "queue", **IDLE))
    (tmp_path / "other").hardlink_to(tmp_path / "queue")
    for name in ("queue", "other"):
        with pytest.raises(ConfigurationError, match=r"hard link.*nothing was sent"):
            await acquire_and_release(state_file_of(tmp_path / name, **IDLE))
    (tmp_path / "other").unlink()
    await acquire_and_release(state_file_of(tmp_path / "queue", **IDLE))


async def test_acquire_copy_of_file_in_use_is_refused(tmp_path: Path) -> None:
    """A copy is refused while a process holds the original. A file that was moved is accepted."""
    original = state_file_of(tmp_path / "queue", **IDLE)
    await original.acquire(expect_no_tasks)
    await original.record_tasks(("job_1",))
    shutil.copy(tmp_path / "queue", tmp_path / "copy")
    with pytest.raises(ConfigurationError, match=r"copy of .*queue, which another process uses"):
        await acquire_and_release(state_file_of(tmp_path / "copy", **IDLE))
    await original.release(0.0)
    (tmp_path / "queue").rename(tmp_path / "moved")
    await acquire_and_release(state_file_of(tmp_path / "moved", **IDLE))
    state = json.loads((tmp_path / "moved").read_text())
    assert state["path"] == str(tmp_path / "moved")


async def test_acquire_in_directory_with_other_mount_path_works(tmp_path: Path) -> None:
    """Containers mount the directory at different paths. A recorded path that does not exist is accepted."""
    state_file = state_file_of(tmp_path / "queue", **IDLE)
    await acquire_and_release(state_file)
    state = json.loads((tmp_path / "queue").read_text())
    (tmp_path / "queue").write_text(json.dumps({**state, "path": "/elsewhere/queue"}))
    await acquire_and_release(state_file)


def _replace(directory: Path) -> None:
    (directory / "other.lock").touch()
    state = json.loads((directory / "queue").read_text())
    (directory / "queue").write_text(json.dumps({**state, "path": str(directory / "other")}))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda d: (d / "queue").unlink(), "removed or renamed"),
    "renamed": (lambda d: (d / "queue").rename(d / "x"), "removed or renamed"),
    "replaced": (_replace, "replaced by that of"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_run_after_state_file_was_changed_sends_nothing(change: str, tmp_path: Path) -> None:
    """A client that used the file sends nothing more. After it is opened again, it begins a new state."""
    apply, message = CHANGES[change]
    provider = FakeBetterWaifu(seconds=0.0, cool_down=0.0, latency=0.0)
    settings: dict[str, Any] = {
        "limits": LIMITS,
        "polling": POLLING,
        "queue_file": tmp_path / "queue",
    }
    async with client_of(provider, **settings) as client:
        await client.run(picture())
        while json.loads((tmp_path / "queue").read_text())["open"]:  # noqa: ASYNC110 - the release sets no event
            await asyncio.sleep(0.001)
        apply(tmp_path)
        with pytest.raises(LedgerError, match=f"{message}.*nothing was sent"):
            await client.run(picture())
        assert client.statistics().queue.in_use == 0
    assert len(provider.prompts) == 1
    async with client_of(provider, **settings) as client:
        await client.run(picture())


@pytest.mark.parametrize("change", ["removed", "renamed", "recreated"])
async def test_acquire_lock_file_changed_during_wait_raises(change: str, tmp_path: Path) -> None:
    """If the lock changes during the wait for another run's task, an error is raised. Other processes may send."""
    dead, state_file = state_file_of(tmp_path / "queue", **IDLE), state_file_of(tmp_path / "queue", **IDLE)
    await dead.acquire(expect_no_tasks)
    await dead.record_tasks(("job_1",))
    dead.abandon()
    lock = tmp_path / "queue.lock"

    def change_lock() -> None:
        lock.rename(tmp_path / "x")
        if change == "removed":
            (tmp_path / "x").unlink()
        elif change == "recreated":
            lock.touch()

    async def ended(task_ids: tuple[str, ...]) -> None:
        assert task_ids == ("job_1",)
        await asyncio.to_thread(change_lock)

    with pytest.raises(AioweryError, match="lock was removed or renamed") as caught:
        await state_file.acquire(ended)
    assert isinstance(caught.value, LedgerError)
    await state_file.acquire(_ignore)
    await state_file.release(0.0)


async def _ignore(task_ids: tuple[str, ...]) -> None:
    assert task_ids
