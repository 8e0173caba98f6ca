"""Turns: who among several processes may submit now, for lanes that are kept in a file. Without one, nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any

import anyio

from aiowery._core.events import log
from aiowery._http.retry import client_closing_error
from aiowery._queue.state_file import QueueStateFile
from aiowery._queue.submission_queue import SubmissionQueue, Ticket
from aiowery.errors import QueueTooLong


class CrossProcessTurn:
    """Brings a lane and its lease together; `ended` waits for tasks that a process left under way."""

    def __init__(
        self, lane: SubmissionQueue, lease: QueueStateFile | None, ended: Callable[[tuple[str, ...]], Awaitable[None]]
    ) -> None:
        self._lane = lane
        self._state_file = lease
        self._ended = ended
        self._taking: set[anyio.CancelScope] = set()
        self._writing: set[asyncio.Task[None]] = set()

    async def acquire(self, ticket: Ticket) -> None:
        """Wait for the turn of an admitted ticket; when that fails, the ticket has left its lane."""
        if self._state_file is None or ticket.queue is not self._lane:
            return
        left = None if ticket.start_by == inf else ticket.start_by - asyncio.get_running_loop().time()
        scope = anyio.CancelScope()
        self._taking.add(scope)
        try:
            with scope, anyio.fail_after(left):
                await self._state_file.acquire(self._ended)
        except TimeoutError:
            ticket.queue.abandon(ticket)
            raise QueueTooLong("another process kept the lane too long; nothing was sent: try later") from None
        except BaseException:
            ticket.queue.abandon(ticket)
            raise
        finally:
            self._taking.discard(scope)
        if scope.cancelled_caught:
            ticket.queue.abandon(ticket)
            raise client_closing_error()

    def record_tasks(self, ticket: Ticket, task_ids: tuple[str, ...]) -> None:
        """Note what the turn has started."""
        if self._state_file is not None and ticket.queue is self._lane:
            self._write(self._state_file.record_tasks(task_ids))

    def release(self, ticket: Ticket) -> None:
        """Let others have their turn, after the rest that our own lane takes."""
        if self._state_file is not None and ticket.queue is self._lane:
            self._write(self._state_file.release(self._lane.statistics().paused_for))

    def stop(self) -> None:
        """Turn away who waits for a turn."""
        for scope in self._taking:
            scope.cancel()

    async def aclose(self) -> None:
        """Finish writing; a turn whose tasks are still under way is left to whoever comes next."""
        if self._writing:
            await asyncio.wait(self._writing)
        if self._state_file is not None:
            self._state_file.abandon()

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        """Write beside the work, which must not stop for it."""
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.warning("the lane's state could not be kept: %s", fault)
