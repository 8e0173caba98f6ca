"""Mutual exclusion between processes that share one account, for queues whose state is kept in a file.

Active only with `queue_file`; without it every method does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

import anyio

from aiowery._base.background import BackgroundTasks
from aiowery._core.events import log
from aiowery._core.failures import client_closing_error
from aiowery._queue.state_file import QueueStateFile
from aiowery._queue.submission_queue import SubmissionQueue, Ticket
from aiowery.errors import QueueTooLong


class CrossProcessTurn:
    """The turn in which this process may submit.

    `wait_for_tasks` waits for the end of tasks that another process left under way.
    """

    def __init__(
        self,
        queue: SubmissionQueue,
        state_file: QueueStateFile | None,
        wait_for_tasks: Callable[[tuple[str, ...]], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._state_file = state_file
        self._wait_for_tasks = wait_for_tasks
        self._wait_scopes: set[anyio.CancelScope] = set()
        # Written in the background, because jobs must go on even if the file cannot be written.
        self._writes = BackgroundTasks(lambda error: log.warning("the queue's state could not be stored: %s", error))

    def applies_to(self, ticket: Ticket) -> bool:
        """Return True if the ticket's queue is shared with other processes."""
        return self._state_file is not None and ticket.queue is self._queue

    async def acquire(self, ticket: Ticket) -> None:
        """Wait for the turn of an admitted ticket; if that fails, the ticket has left its queue.

        Raises QueueTooLong after the ticket's queue timeout, and NotSent if the client stops.
        """
        if self._state_file is None or not self.applies_to(ticket):
            return
        remaining = None if ticket.start_by == inf else ticket.start_by - asyncio.get_running_loop().time()
        scope = anyio.CancelScope()
        self._wait_scopes.add(scope)
        try:
            with scope, anyio.fail_after(remaining):
                await self._state_file.acquire(self._wait_for_tasks)
        except TimeoutError:
            ticket.queue.abandon(ticket)
            raise QueueTooLong(
                "another process did not release the queue in time; nothing was sent: try later, or raise start_within"
            ) from None
        except BaseException:
            ticket.queue.abandon(ticket)
            raise
        finally:
            self._wait_scopes.discard(scope)
        if scope.cancelled_caught:
            ticket.queue.abandon(ticket)
            raise client_closing_error()

    def record_tasks(self, ticket: Ticket, task_ids: tuple[str, ...]) -> None:
        """Store the tasks that were started in this turn."""
        if self._state_file is not None and self.applies_to(ticket):
            self._writes.spawn(self._state_file.record_tasks(task_ids))

    def release(self, ticket: Ticket) -> None:
        """Release the turn to other processes; they wait until the present pause of this queue is over."""
        if self._state_file is not None and self.applies_to(ticket):
            self._writes.spawn(self._state_file.release(self._queue.statistics().paused_for))

    def stop(self) -> None:
        """Stop waiting for the turn."""
        for scope in self._wait_scopes:
            scope.cancel()

    async def aclose(self) -> None:
        """Finish writing; if tasks are still under way, the next process waits for them."""
        await self._writes.wait()
        self.abandon()

    def abandon(self) -> None:
        """Release the turn as it is: if tasks are still under way, the next process waits for them."""
        if self._state_file is not None:
            self._state_file.abandon()
