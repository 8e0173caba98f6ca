"""Background work of one owner: asyncio tasks that it starts, waits for, or cancels."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """A set of asyncio tasks that run beside their owner's work.

    asyncio holds tasks weakly; this set keeps each one until it is done. The exception of a task is passed to
    `on_error`, so that asyncio does not report it as never retrieved.

    The tasks run with the context variables of the owner, not with those of whichever request started one: several
    requests may share it, and it may outlive them.
    """

    def __init__(self, on_error: Callable[[BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_error = on_error
        self._context = contextvars.copy_context()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the coroutine in a new task, and return the task."""
        task = self._context.copy().run(asyncio.create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def wait(self) -> None:
        """Wait until no task is left, including tasks that start meanwhile."""
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
