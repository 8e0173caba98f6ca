"""Admission: one ticket per submission, which waits for its queue and for the cross-process turn."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from aiowery._core.failures import client_closing_error
from aiowery._core.request import Request
from aiowery._queue.cross_process import CrossProcessTurn
from aiowery._queue.pacer import StartPacer
from aiowery._queue.submission_queue import OnWaiting, SubmissionQueue, Ticket
from aiowery.errors import AioweryError

# The first steps of 50 submissions take about 2 ms.
_STARTS_PER_ITERATION: Final = 50


class Admission:
    """The admission of an open client: two queues, the start pacer, and the turn that processes share.

    `tasks` is the queue of submissions that start tasks, `direct` that of direct calls. A direct call may take minutes,
    so it does not occupy a slot in the queue of tasks.
    """

    def __init__(self, tasks: SubmissionQueue, direct: SubmissionQueue, turn: CrossProcessTurn) -> None:
        self.tasks: SubmissionQueue = tasks
        self.direct: SubmissionQueue = direct
        self._turn = turn
        self._pacer = StartPacer(_STARTS_PER_ITERATION)
        self._waiting: set[Ticket] = set()

    async def start(self) -> None:
        """Wait until this submission may start: at most 50 do in one event-loop iteration."""
        await self._pacer.wait_to_start()

    def new_ticket(self, request: Request[Any], start_within: float | None) -> Ticket:
        """Return a ticket in the request's queue."""
        queue = self.tasks if request.direct_timeout is None else self.direct
        return queue.new_ticket(request.task_count, start_within)

    async def acquire(self, ticket: Ticket, on_waiting: OnWaiting | None = None) -> None:
        """Wait until the submission may be sent; a ticket that was acquired before keeps its place at the head.

        `on_waiting` is called if it cannot be sent immediately.

        Raises the queue's errors, and QueueTooLong if another process does not release the turn in time.
        """
        self._waiting.add(ticket)
        try:
            await ticket.queue.acquire(ticket, on_waiting)
        finally:
            self._waiting.discard(ticket)
        await self._turn.acquire(ticket)

    def keep(self, ticket: Ticket, task_ids: tuple[str, ...]) -> None:
        """Keep the slots of an accepted submission until its tasks have ended."""
        ticket.queue.keep_slots(ticket, len(task_ids))
        if self._turn.applies_to(ticket):
            ticket.on_released = partial(self._turn.release, ticket)
            self._turn.record_tasks(ticket, task_ids)

    def release(self, ticket: Ticket) -> None:
        """Release the slots and the turn of a submission that started no tasks."""
        ticket.queue.abandon(ticket)
        self._turn.release(ticket)

    def release_in_doubt(self, ticket: Ticket) -> None:
        """Release the slots and the turn of a submission in doubt."""
        ticket.queue.abandon_in_doubt(ticket)
        self._turn.release(ticket)

    def back_off(self, ticket: Ticket, *, retry_after: float | None, is_concurrency_limit: bool) -> float:
        """Pause the queue after a rejection because of load; return the seconds."""
        pause = ticket.queue.back_off(ticket, retry_after=retry_after, is_concurrency_limit=is_concurrency_limit)
        self._turn.release(ticket)
        return pause

    def reject_waiting(self, error: AioweryError) -> None:
        """Reject all waiting submissions with an error that each of them would meet."""
        for queue in (self.tasks, self.direct):
            queue.reject_waiting(error)

    def admit_waiting(self) -> None:
        """Admit the waiting submissions that may be sent now."""
        self.tasks.admit()
        self.direct.admit()

    def stop(self) -> None:
        """Reject the waiting submissions of this client; those already sent go on."""
        for queue in (self.tasks, self.direct):
            queue.reject_waiting(client_closing_error(), [ticket for ticket in self._waiting if ticket.queue is queue])
        self._turn.stop()

    async def aclose(self) -> None:
        """Finish the writes to the queue state file."""
        await self._turn.aclose()

    def abandon(self) -> None:
        """Give up the turn without finishing anything, because the event loop is closed."""
        self._turn.abandon()
