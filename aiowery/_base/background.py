"""Background work of one owner: tasks that it starts, waits for, or cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """A set of tasks that run beside their owner's work.

    asyncio holds tasks weakly; this set keeps each one until it is done. The exception of a task is passed to
    `on_error`, so that asyncio does not report it as never retrieved.
    """

    def __init__(self, on_error: Callable[[BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_error = on_error

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the work in a task of its own, and return the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def wait(self) -> None:
        """Wait until no task is left, those that start meanwhile included."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def request_cancel(self) -> None:
        """Cancel all tasks without waiting for their ends."""
        for task in self._tasks:
            task.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their ends."""
        self.request_cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._on_error is not None:
            self._on_error(error)
