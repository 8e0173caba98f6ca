"""The submission queue of one API key: a concurrency limit, first in, first out, with pauses and back-off.

A submission takes a ticket and waits until the queue has slots for its tasks and is not paused. It keeps its slots
until its tasks have ended. Then the queue cools down if the provider requires that. There is no task, lock or timer per
ticket: one heap in order of arrival, and one timer for the next time at which a ticket can be admitted.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import heapq
import itertools
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from aiowery._base.secret import Secret
from aiowery._base.shared import SharedRegistry
from aiowery._core.durations import MovingAverage
from aiowery._core.events import log
from aiowery._core.policies import Limits, Random, RetryPolicy
from aiowery._core.statistics import QueueStatistics
from aiowery._queue.circuit_breaker import CircuitBreaker
from aiowery.errors import AioweryError, QueueTooLong

OnWaiting = Callable[[int], None]
"""Receives the number of tickets that wait before one that is not admitted immediately."""

# An event loop may call a timer slightly early; that counts as on time.
_TIMER_TOLERANCE: Final = 1e-6


class Ticket:
    """A submission's entry in the queue and, once admitted, the slots that it occupies.

    `start_by` is the loop time after which it must not be sent any more. `admission` finishes when it is admitted or
    rejected. `on_released` is called when its last slot is released.
    """

    __slots__ = (
        "accepted_at",
        "admission",
        "caller_gone",
        "number",
        "on_released",
        "queue",
        "sent_at",
        "slots",
        "start_by",
    )

    def __init__(self, queue: SubmissionQueue, number: int, slots: int, start_by: float) -> None:
        self.queue: SubmissionQueue = queue
        self.number: int = number
        self.slots: int = slots
        self.start_by: float = start_by
        self.admission: asyncio.Future[None] = queue.new_admission()
        self.sent_at: float = 0.0
        self.accepted_at: float = 0.0
        self.on_released: Callable[[], None] | None = None
        self.caller_gone: bool = False
        """True once the caller was cancelled: after a rejection it is not sent again."""

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number

    @property
    def waiting(self) -> bool:
        """True while it waits: it is not admitted, withdrawn or rejected."""
        return not self.admission.done()

    def release(self, slots: int) -> None:
        """Release the slots of tasks that have ended; after the last one, run `on_released`."""
        self.queue.release(self, slots)
        if not self.slots and self.on_released is not None:
            self.on_released()

    def record_finished(self) -> None:
        """Record how long the job took, from sending to its end."""
        self.queue.record_duration(self)


class SubmissionQueue:
    """A queue that decides which submission may be sent now. All methods belong to one event loop; times are its own.

    The `breaker` is checked last, when there are free slots. Without one, the queue creates its own.
    """

    def __init__(
        self, limits: Limits, retries: RetryPolicy, random: Random, breaker: CircuitBreaker | None = None
    ) -> None:
        self.limits: Limits = limits
        self.breaker: CircuitBreaker = breaker or CircuitBreaker(limits.max_doubts, retries)
        self._retries = retries
        self._random = random
        self._capacity = limits.in_flight
        self._slots_in_use = 0
        self._submissions_being_sent = 0
        self._waiting: list[Ticket] = []
        # Admitted tickets with slots, the oldest first.
        self._slot_holders: dict[Ticket, None] = {}
        self._average_duration = MovingAverage(limits.expected_duration)
        self._cool_from = limits.cool_from
        self._ticket_numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # timers must keep no submission's context
        # Shared by all admitted tickets: jobs keep their tickets, and a future for each would take memory.
        self._finished_admission = self.new_admission()
        self._finished_admission.set_result(None)
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = 0.0
        self._last_rejection_at = 0.0
        self._first_rejection_at = 0.0
        self._capacity_changed_at = 0.0
        self._rejection_count = 0
        self._rejections_in_a_row = 0

    def __repr__(self) -> str:
        return f"<SubmissionQueue {self.statistics()}>"

    def new_ticket(self, slots: int, start_within: float | None = None) -> Ticket:
        """Return a ticket for a request of so many tasks; if the queue has fewer slots, it runs alone."""
        start_by = inf if start_within is None else self._loop.time() + start_within
        return Ticket(self, next(self._ticket_numbers), slots, start_by)

    def new_admission(self) -> asyncio.Future[None]:
        """Return the future that a ticket waits for."""
        return self._loop.create_future()

    async def acquire(self, ticket: Ticket, on_waiting: OnWaiting | None = None) -> None:
        """Wait, in the order of the tickets' numbers, until the submission may be sent.

        `on_waiting` is called if it cannot be sent immediately.

        Cancelling withdraws the ticket. Raises the error that `reject_waiting` received meanwhile. Raises QueueTooLong
        if the queue is full or the ticket would be admitted too late.
        """
        if (
            not self._submissions_being_sent
            and self._first_waiting() is None
            and self._loop.time() > self._paused_until
        ):
            # The pause is over, and no submission waits or is under way: the earlier back-off no longer applies.
            self._rejections_in_a_row = 0
        if ticket.admission.done():  # the provider rejected it; it waits again with its old number
            ticket.admission = self.new_admission()
        heapq.heappush(self._waiting, ticket)
        self.admit()
        if ticket.waiting and (self.limits.max_queue is not None or ticket.start_by < inf):
            self._reject_if_too_late(ticket)
        if ticket.waiting and on_waiting is not None:
            on_waiting(len(self._waiting) - 1)
        try:
            # A timeout context costs time and memory, and thousands of tickets without `start_by` may wait.
            await (ticket.admission if ticket.start_by == inf else self._wait_until_start_by(ticket))
        except asyncio.CancelledError:
            if not ticket.admission.cancelled() and ticket.admission.exception() is None:
                self.abandon(ticket)  # admitted in the same event-loop iteration
            self.admit()
            raise
        ticket.admission = self._finished_admission

    def reserve(self, ticket: Ticket) -> None:
        """Occupy the slots of tasks that are under way already, without waiting."""
        ticket.admission = self._finished_admission
        ticket.sent_at = ticket.accepted_at = self._loop.time()
        self._slots_in_use += ticket.slots
        self._slot_holders[ticket] = None

    def keep_slots(self, ticket: Ticket, tasks: int) -> None:
        """Keep one slot for each task of an accepted submission; the number of tasks may differ from its slots."""
        self._submissions_being_sent -= 1
        self._slots_in_use += tasks - ticket.slots
        ticket.slots = tasks
        ticket.accepted_at = self._loop.time()
        self._rejections_in_a_row = 0
        self.admit()

    def abandon(self, ticket: Ticket) -> None:
        """Release the slots of a submission that started no tasks."""
        self._submissions_being_sent -= 1
        self._slots_in_use -= ticket.slots
        self._slot_holders.pop(ticket, None)
        self.breaker.record_unknown(ticket)
        self.admit()

    def abandon_in_doubt(self, ticket: Ticket) -> None:
        """Release the slots of a submission in doubt; if the queue cools down, it does so as after a task."""
        if self.limits.cool_down:
            self._pause_until(self._loop.time() + (self._average_duration.seconds or 0.0) + self.limits.cool_down)
        self.abandon(ticket)

    def release(self, ticket: Ticket, slots: int) -> None:
        """Release the slots of tasks that have ended, and cool down."""
        cool_down_start = ticket.accepted_at if self._cool_from == "start" else self._loop.time()
        self._pause_until(cool_down_start + self.limits.cool_down)
        self._slots_in_use -= slots
        ticket.slots -= slots
        if not ticket.slots:
            self._slot_holders.pop(ticket, None)
        if self.limits.cool_down:
            # The timer keeps the queue alive, so that the next client that opens respects the pause.
            self._loop.call_at(self._paused_until, self.admit, context=self._context)
        self.admit()

    def record_duration(self, ticket: Ticket) -> None:
        """Record the duration of a job that has just ended."""
        self._average_duration.observe(self._loop.time() - ticket.sent_at)

    def back_off(self, ticket: Ticket, *, retry_after: float | None, is_concurrency_limit: bool) -> float:
        """Pause the queue after a rejection because of load; return the seconds.

        Rejections of submissions that were sent before the pause began belong to the same event and do not lengthen it.
        A concurrency limit reduces the capacity by one, because another program uses the same key.
        """
        now = self._loop.time()
        self._rejection_count += 1
        if not self._rejections_in_a_row:
            self._first_rejection_at = now
        if ticket.sent_at >= self._last_rejection_at:
            self._rejections_in_a_row += 1
            self._last_rejection_at = now
            if is_concurrency_limit:
                self._capacity = max(1, min(self._capacity, self._slots_in_use) - 1)
                self._capacity_changed_at = now
        pause = self._retries.queue_backoff(self._rejections_in_a_row, retry_after, self._random)
        self._pause_until(now + pause)
        self._cool_from = "end"  # counted from a task's end, it is never too short
        self.abandon(ticket)
        return self._paused_until - now

    def pause(self, seconds: float) -> None:
        """Admit nothing for the seconds of a Retry-After header, as far as they are obeyed."""
        self._pause_until(self._loop.time() + min(seconds, self._retries.max_retry_after))

    @property
    def busy_seconds(self) -> float:
        """Seconds since the first rejection after the last acceptance; 0 if there is none."""
        return self._loop.time() - self._first_rejection_at if self._rejections_in_a_row else 0.0

    def reject_waiting(self, error: AioweryError, tickets: Iterable[Ticket] | None = None) -> None:
        """Reject these waiting tickets (default: all) with a copy of this error; nothing is sent for them."""
        for ticket in tuple(self._waiting if tickets is None else tickets):
            if ticket.waiting:
                ticket.admission.set_exception(copy.copy(error))
        self.admit()

    def statistics(self) -> QueueStatistics:
        """Return the queue's figures at this moment."""
        now = self._loop.time()
        average = self._average_duration.seconds
        oldest = next(iter(self._slot_holders), None)
        return QueueStatistics(
            capacity=self._capacity,
            in_use=self._slots_in_use,
            waiting=sum(ticket.waiting for ticket in self._waiting),
            submitting=self._submissions_being_sent,
            paused_for=max(0.0, self._paused_until - now, self.breaker.paused_for),
            refusals=self._rejection_count,
            expected_duration=average,
            next_end=None if oldest is None or average is None else max(0.0, oldest.sent_at + average - now),
            cool_down=self.limits.cool_down,
            cool_from=self._cool_from,
            pause_reason=self.breaker.reason,
        )

    async def _wait_until_start_by(self, ticket: Ticket) -> None:
        """Wait for the admission until the ticket's `start_by`."""
        try:
            async with asyncio.timeout_at(ticket.start_by):
                await ticket.admission
        except TimeoutError:
            if not ticket.admission.cancelled():
                return ticket.admission.result()  # it was admitted in the same event-loop iteration
            self.admit()
            raise self._too_long_error(ticket, "the queue did not admit the submission in time") from None

    def _reject_if_too_late(self, ticket: Ticket) -> None:
        """Withdraw the ticket and raise QueueTooLong if the queue is full or the ticket would be admitted too late."""
        ahead = self._count_ahead(ticket)
        starts_in = self.statistics().starts_in(ahead)
        if self.limits.max_queue is not None and ahead >= self.limits.max_queue:
            reason = f"{ahead} submissions wait already, which is the limit (Limits.max_queue)"
        elif starts_in is not None and self._loop.time() + starts_in > ticket.start_by:
            reason = f"the submission would be admitted in about {starts_in:.0f} s, which is too late"
        else:
            return
        ticket.admission.cancel()
        raise self._too_long_error(ticket, reason)

    def _too_long_error(self, ticket: Ticket, reason: str) -> QueueTooLong:
        ahead = self._count_ahead(ticket)
        now = self.statistics()
        paused = "" if now.pause_reason is None else f" (submissions are paused: {now.pause_reason})"
        return QueueTooLong(
            f"{reason}{paused}; nothing was sent: try later, or raise start_within",
            position=ahead,
            starts_in=now.starts_in(ahead),
        )

    def _count_ahead(self, ticket: Ticket) -> int:
        return sum(other < ticket for other in self._waiting if other.waiting)

    def _pause_until(self, moment: float) -> None:
        self._paused_until = max(self._paused_until, moment)

    def admit(self) -> None:
        """Admit tickets from the head while there are free slots; set the timer for the next possible time."""
        now = self._loop.time() + _TIMER_TOLERANCE
        self._recover_capacity(now)
        # After a rejection, only one submission at a time tests whether the provider accepts again.
        max_concurrent = 1 if self._rejections_in_a_row else self.limits.submissions
        while (
            (ticket := self._first_waiting())
            and now >= self._paused_until
            and self._submissions_being_sent < max_concurrent
        ):
            if not (self._has_free_slots(ticket) and self.breaker.try_admit(ticket)):
                break
            heapq.heappop(self._waiting)
            self._slots_in_use += ticket.slots
            self._slot_holders[ticket] = None
            self._submissions_being_sent += 1
            ticket.sent_at = now
            ticket.admission.set_result(None)
            if self.limits.submit_interval:
                self._paused_until = now + self.limits.submit_interval
        if ticket is not None:
            self._set_timer(now)

    def _first_waiting(self) -> Ticket | None:
        """Return the first waiting ticket; remove withdrawn and rejected ones before it."""
        while self._waiting and not self._waiting[0].waiting:
            heapq.heappop(self._waiting)
        return self._waiting[0] if self._waiting else None

    def _has_free_slots(self, ticket: Ticket) -> bool:
        return self._slots_in_use == 0 or self._slots_in_use + ticket.slots <= self._capacity

    def _recover_capacity(self, now: float) -> None:
        while (
            self._capacity < self.limits.in_flight and now >= self._capacity_changed_at + self.limits.recovery_interval
        ):
            self._capacity += 1
            self._capacity_changed_at += self.limits.recovery_interval

    def _set_timer(self, now: float) -> None:
        """Set the timer to the end of the pause or, if there is none, to the next recovery of capacity."""
        moment = self._paused_until
        if now >= moment:
            if self._capacity >= self.limits.in_flight:
                return  # only the end of a task or submission can free slots, and it calls `admit`
            moment = self._capacity_changed_at + self.limits.recovery_interval
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._on_timer, context=self._context)

    def _on_timer(self) -> None:
        self._timer = None
        self.admit()


_queues: SharedRegistry[SubmissionQueue] = SharedRegistry()


def shared_queue(base_url: str, key: str | Secret, kind: str, make: Callable[[], SubmissionQueue]) -> SubmissionQueue:
    """Return the queue of this address, key and kind in the running event loop.

    It is shared because the provider counts per key, not per client. It exists as long as a client refers to it.
    """
    new_queue = make()
    queue = _queues.get(lambda: new_queue, base_url, key, kind)
    if queue.limits != new_queue.limits:
        log.warning(
            "another open client with this key set the queue's limits: %s, not %s", queue.limits, new_queue.limits
        )
    return queue
