"""A lane's files under other names, copied, removed or replaced: found before the next submission."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiowery import Limits, PollPolicy
from aiowery._queue.state_file import QueueStateFile
from aiowery.errors import AioweryError, ConfigurationError, LedgerError
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name != "posix", reason="open files cannot be moved there")]

POLLING = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
LIMITS = Limits(in_flight=1, submissions=1, cool_down=0.0, expected_duration=0.1)


def lease_of(path: Path) -> QueueStateFile:
    """Return a lease that does not rest."""
    return QueueStateFile(
        path, cool_down=0.0, expected_duration=0.0, max_wait=600.0, lock_retry_interval=0.01, clock=time.time
    )


async def never(task_ids: tuple[str, ...]) -> None:
    """Stand for tasks that nobody left."""
    raise AssertionError(task_ids)


async def turn(lease: QueueStateFile) -> None:
    """Take a turn and give it back."""
    await lease.acquire(never)
    await lease.release(0.0)


async def test_links_lead_to_one_turn(tmp_path: Path) -> None:
    """Whoever comes by a link waits for the same lock, and the link stays one."""
    (tmp_path / "link").symlink_to("lane")
    one, other = lease_of(tmp_path / "lane"), lease_of(tmp_path / "link")
    await one.acquire(never)
    assert not await other._in_thread(other._try_lock)
    await one.release(0.0)
    await turn(other)
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "link.lock").exists()


async def test_a_second_name_is_refused(tmp_path: Path) -> None:
    """A hard link would become a state of its own with the first write."""
    await turn(lease_of(tmp_path / "lane"))
    (tmp_path / "other").hardlink_to(tmp_path / "lane")
    for name in ("lane", "other"):
        with pytest.raises(ConfigurationError, match=r"hard link.*nothing was sent"):
            await turn(lease_of(tmp_path / name))
    (tmp_path / "other").unlink()
    await turn(lease_of(tmp_path / "lane"))


async def test_a_copy_beside_a_living_original_is_refused(tmp_path: Path) -> None:
    """While a process has the turn of the original; a file that was moved is fine."""
    original = lease_of(tmp_path / "lane")
    await original.acquire(never)
    await original.record_tasks(("job_1",))
    shutil.copy(tmp_path / "lane", tmp_path / "copy")
    with pytest.raises(ConfigurationError, match=r"copy of .*lane, which another process uses"):
        await turn(lease_of(tmp_path / "copy"))
    await original.release(0.0)
    (tmp_path / "lane").rename(tmp_path / "moved")
    await turn(lease_of(tmp_path / "moved"))
    state = json.loads((tmp_path / "moved").read_text())
    assert state["path"] == str(tmp_path / "moved")


async def test_the_same_directory_seen_at_another_place_is_fine(tmp_path: Path) -> None:
    """Containers mount it where they like; what another one wrote names a path that is not there."""
    lease = lease_of(tmp_path / "lane")
    await turn(lease)
    state = json.loads((tmp_path / "lane").read_text())
    (tmp_path / "lane").write_text(json.dumps({**state, "path": "/elsewhere/lane"}))
    await turn(lease)


def _replace(directory: Path) -> None:
    (directory / "other.lock").touch()
    state = json.loads((directory / "lane").read_text())
    (directory / "lane").write_text(json.dumps({**state, "path": str(directory / "other")}))


ACTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda d: (d / "lane").unlink(), "removed or renamed"),
    "renamed": (lambda d: (d / "lane").rename(d / "x"), "removed or renamed"),
    "replaced": (_replace, "replaced by that of"),
}


@pytest.mark.parametrize("act", ACTS)
async def test_what_becomes_of_the_state_stops_the_next_submission(act: str, tmp_path: Path) -> None:
    """The client that used it sends nothing more; opened again it begins anew."""
    do, said = ACTS[act]
    provider = FakeBetterWaifu(seconds=0.0, cool_down=0.0, latency=0.0)
    settings: dict[str, Any] = {
        "limits": LIMITS,
        "polling": POLLING,
        "queue_file": tmp_path / "lane",
    }
    async with client_of(provider, **settings) as client:
        await client.run(picture())
        while json.loads((tmp_path / "lane").read_text())["open"]:  # noqa: ASYNC110 - the turn is given back by itself
            await asyncio.sleep(0.001)
        do(tmp_path)
        with pytest.raises(LedgerError, match=f"{said}.*nothing was sent"):
            await client.run(picture())
        assert client.statistics().queue.in_use == 0
    assert len(provider.prompts) == 1
    async with client_of(provider, **settings) as client:
        await client.run(picture())


@pytest.mark.parametrize("act", ["removed", "renamed", "recreated"])
async def test_a_lock_that_is_held_no_more_stops_the_submission(act: str, tmp_path: Path) -> None:
    """It went while we waited for another run's task: others may be sending."""
    dead, lease = lease_of(tmp_path / "lane"), lease_of(tmp_path / "lane")
    await dead.acquire(never)
    await dead.record_tasks(("job_1",))
    dead.abandon()
    lock = tmp_path / "lane.lock"

    def go() -> None:
        lock.rename(tmp_path / "x")
        if act == "removed":
            (tmp_path / "x").unlink()
        elif act == "recreated":
            lock.touch()

    async def ended(task_ids: tuple[str, ...]) -> None:
        assert task_ids == ("job_1",)
        await asyncio.to_thread(go)

    with pytest.raises(AioweryError, match="lock was removed or renamed") as caught:
        await lease.acquire(ended)
    assert isinstance(caught.value, LedgerError)
    await lease.acquire(_ignore)
    await lease.release(0.0)


async def _ignore(task_ids: tuple[str, ...]) -> None:
    assert task_ids
