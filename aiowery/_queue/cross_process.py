"""Turns: who among several processes may submit now, for lanes that are kept in a file. Without one, nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any

import anyio

from aiowery._core.events import log
from aiowery._http.retry import unsent
from aiowery._queue.state_file import Lease
from aiowery._queue.submission_queue import Lane, Ticket
from aiowery.errors import QueueTooLong


class Turns:
    """Brings a lane and its lease together; `ended` waits for tasks that a process left under way."""

    def __init__(self, lane: Lane, lease: Lease | None, ended: Callable[[tuple[str, ...]], Awaitable[None]]) -> None:
        self._lane = lane
        self._lease = lease
        self._ended = ended
        self._taking: set[anyio.CancelScope] = set()
        self._writing: set[asyncio.Task[None]] = set()

    async def take(self, ticket: Ticket) -> None:
        """Wait for the turn of an admitted ticket; when that fails, the ticket has left its lane."""
        if self._lease is None or ticket.lane is not self._lane:
            return
        left = None if ticket.start_by == inf else ticket.start_by - asyncio.get_running_loop().time()
        scope = anyio.CancelScope()
        self._taking.add(scope)
        try:
            with scope, anyio.fail_after(left):
                await self._lease.take(self._ended)
        except TimeoutError:
            ticket.lane.refuse(ticket)
            raise QueueTooLong("another process kept the lane too long; nothing was sent: try later") from None
        except BaseException:
            ticket.lane.refuse(ticket)
            raise
        finally:
            self._taking.discard(scope)
        if scope.cancelled_caught:
            ticket.lane.refuse(ticket)
            raise unsent()

    def accepted(self, ticket: Ticket, task_ids: tuple[str, ...]) -> None:
        """Note what the turn has started."""
        if self._lease is not None and ticket.lane is self._lane:
            self._write(self._lease.accepted(task_ids))

    def end(self, ticket: Ticket) -> None:
        """Let others have their turn, after the rest that our own lane takes."""
        if self._lease is not None and ticket.lane is self._lane:
            self._write(self._lease.give_back(self._lane.statistics().paused_for))

    def stop(self) -> None:
        """Turn away who waits for a turn."""
        for scope in self._taking:
            scope.cancel()

    async def aclose(self) -> None:
        """Finish writing; a turn whose tasks are still under way is left to whoever comes next."""
        if self._writing:
            await asyncio.wait(self._writing)
        if self._lease is not None:
            self._lease.abandon()

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        """Write beside the work, which must not stop for it."""
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.warning("the lane's state could not be kept: %s", fault)
