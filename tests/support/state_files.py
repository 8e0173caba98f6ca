"""Queue state files of tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from aiowery._queue.state_file import QueueStateFile


def state_file_of(path: Path, clock: Callable[[], float] = time.time, /, **settings: float) -> QueueStateFile:
    """Return a state file whose cool-down is longer than any test waits, unless its clock is set."""
    defaults = {"cool_down": 60.0, "expected_duration": 30.0, "max_wait": 600.0, "lock_retry_interval": 0.01}
    return QueueStateFile(path, **{**defaults, **settings}, clock=clock)


async def expect_no_tasks(task_ids: tuple[str, ...]) -> None:
    """Fail, because no tasks were left under way."""
    raise AssertionError(task_ids)
