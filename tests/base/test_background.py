"""Background tasks: kept until they are done, waited for, cancelled, and their exceptions reported."""

from __future__ import annotations

import asyncio

import pytest

from aiowery._base.background import BackgroundTasks

pytestmark = pytest.mark.anyio


async def test_wait_includes_tasks_that_start_meanwhile() -> None:
    """A task may start another one, and `wait` returns after the last has ended."""
    tasks, done = BackgroundTasks(), []

    async def work(depth: int) -> None:
        await asyncio.sleep(0)
        if depth:
            tasks.spawn(work(depth - 1))
        done.append(depth)

    tasks.spawn(work(3))
    await tasks.wait()
    assert done == [3, 2, 1, 0]
    assert len(tasks) == 0


async def test_spawn_task_raises_passes_exception_on_once() -> None:
    """An exception goes to `on_error`, and asyncio has nothing left to report."""
    errors: list[BaseException] = []
    tasks = BackgroundTasks(errors.append)

    async def fail() -> None:
        raise ValueError("broken")

    tasks.spawn(fail())
    await tasks.wait()
    await asyncio.sleep(0)
    assert [str(error) for error in errors] == ["broken"]


async def test_cancel_waits_until_tasks_have_ended() -> None:
    """After `cancel` no task runs any more, not even its clean-up."""
    tasks, ended = BackgroundTasks(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    for _ in range(3):
        tasks.spawn(work())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == [1, 1, 1]
