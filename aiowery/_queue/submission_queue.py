"""The submission queue of one API key: a concurrency limit, first in, first out, with pauses and back-off.

A submission takes a ticket and waits until the queue has slots for its tasks and is not paused. It keeps its slots
until its tasks have ended. Then the queue cools down if the provider wants that. There is no task, lock or timer per
ticket: one heap in order of arrival, and one timer for the time at which the queue can go on.
"""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from aiowery._base.shared import SharedRegistry
from aiowery._core.durations import MovingAverage
from aiowery._core.events import log
from aiowery._core.policies import Limits, Random, RetryPolicy
from aiowery._core.statistics import QueueStatistics
from aiowery._queue.circuit_breaker import CircuitBreaker
from aiowery.errors import AioweryError, QueueTooLong

# An event loop may call a timer slightly early; that counts as on time.
_EARLY: Final = 1e-6


class Ticket:
    """A submission's place in the queue and, once admitted, the slots it holds.

    `start_by` is the loop time after which it must not be sent any more.
    """

    __slots__ = (
        "accepted_at",
        "admitted",
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
        self.admitted: asyncio.Future[None] = queue.new_admission()
        self.sent_at: float = 0.0
        self.accepted_at: float = 0.0
        self.on_released: Callable[[], None] | None = None
        self.caller_gone: bool = False
        """True once the caller was cancelled: after a rejection it is not sent again."""

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number

    @property
    def waiting(self) -> bool:
        """True while it waits: neither admitted nor withdrawn nor rejected."""
        return not self.admitted.done()

    def release(self, slots: int) -> None:
        """Release the slots of tasks that have ended; after the last one `on_released` is called."""
        self.queue.release(self, slots)
        if not self.slots and self.on_released is not None:
            self.on_released()

    def finished(self) -> None:
        """Record how long the job took, from sending to its end."""
        self.queue.record_duration(self)


class SubmissionQueue:
    """A queue that decides which submission may be sent now. All methods belong to one event loop; times are its own.

    The `breaker` decides last, when there are free slots; without one, the queue gets one of its own.
    """

    def __init__(
        self, limits: Limits, retries: RetryPolicy, random: Random, breaker: CircuitBreaker | None = None
    ) -> None:
        self.limits: Limits = limits
        self.breaker: CircuitBreaker = breaker or CircuitBreaker(limits.max_doubts, retries)
        self._retries = retries
        self._random = random
        self._capacity = limits.in_flight
        self._in_use = 0
        self._submitting = 0
        self._waiting: list[Ticket] = []
        # The tickets that hold slots, the oldest first.
        self._holding: dict[Ticket, None] = {}
        self._average_duration = MovingAverage(limits.expected_duration)
        self._cool_from = limits.cool_from
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        # One finished future for all admitted tickets, since jobs keep their tickets.
        self._admitted = self.new_admission()
        self._admitted.set_result(None)
        self._timer: asyncio.TimerHandle | None = None
        self._open_at = 0.0
        self._rejected_at = 0.0
        self._rejected_since = 0.0
        self._capacity_changed_at = 0.0
        self._rejections = 0
        self._rejected_in_a_row = 0

    def __repr__(self) -> str:
        return f"<SubmissionQueue {self.statistics()}>"

    def new_ticket(self, slots: int, start_within: float | None = None) -> Ticket:
        """Return a ticket for so many tasks; a request with more tasks than slots waits until it is alone."""
        start_by = inf if start_within is None else self._loop.time() + start_within
        return Ticket(self, next(self._numbers), slots, start_by)

    def new_admission(self) -> asyncio.Future[None]:
        """Return the future that a ticket waits for."""
        return self._loop.create_future()

    async def acquire(self, ticket: Ticket) -> None:
        """Wait, in the order of the tickets' numbers, until the submission may be sent.

        Cancelling leaves the queue. Raises the error that `reject_waiting` was given meanwhile, and QueueTooLong if the
        queue is full or the ticket would be admitted too late.
        """
        if not self._submitting and self._head() is None and self._loop.time() > self._open_at:
            self._rejected_in_a_row = (
                0  # no submission has met the provider since the pause ended: that back-off is over
            )
        if ticket.admitted.done():  # it was rejected, and waits again with its old number
            ticket.admitted = self.new_admission()
        heapq.heappush(self._waiting, ticket)
        self.admit()
        if ticket.waiting and (self.limits.max_queue is not None or ticket.start_by < inf):
            self._reject_hopeless(ticket)
        try:
            # No timeout context for tickets without `start_by`: a thousand of them may wait in a gather.
            await (ticket.admitted if ticket.start_by == inf else self._wait_until_start_by(ticket))
        except asyncio.CancelledError:
            if not ticket.admitted.cancelled() and ticket.admitted.exception() is None:
                self.abandon(ticket)  # admitted in the same loop iteration: release the slots
            self.admit()
            raise
        ticket.admitted = self._admitted

    def reserve(self, ticket: Ticket) -> None:
        """Hold the slots of tasks that are under way already, without waiting."""
        ticket.admitted = self._admitted
        ticket.sent_at = ticket.accepted_at = self._loop.time()
        self._in_use += ticket.slots
        self._holding[ticket] = None

    def keep_slots(self, ticket: Ticket, tasks: int) -> None:
        """Keep the slots of an accepted submission, which started so many tasks; that may differ from its slots."""
        self._submitting -= 1
        self._in_use += tasks - ticket.slots
        ticket.slots = tasks
        ticket.accepted_at = self._loop.time()
        self._rejected_in_a_row = 0
        self.admit()

    def abandon(self, ticket: Ticket) -> None:
        """Release the slots of a submission that started no tasks."""
        self._submitting -= 1
        self._in_use -= ticket.slots
        self._holding.pop(ticket, None)
        self.breaker.record_unknown(ticket)
        self.admit()

    def abandon_in_doubt(self, ticket: Ticket) -> None:
        """Release the slots of a submission in doubt; a queue that cools down does so as after a task."""
        if self.limits.cool_down:
            self._pause_until(self._loop.time() + (self._average_duration.seconds or 0.0) + self.limits.cool_down)
        self.abandon(ticket)

    def release(self, ticket: Ticket, slots: int) -> None:
        """Release the slots of tasks that have ended, and cool down."""
        began = ticket.accepted_at if self._cool_from == "start" else self._loop.time()
        self._pause_until(began + self.limits.cool_down)
        self._in_use -= slots
        ticket.slots -= slots
        if not ticket.slots:
            self._holding.pop(ticket, None)
        if self.limits.cool_down:
            # A timer keeps the queue alive, so that the next client that opens obeys the pause.
            self._loop.call_at(self._open_at, self.admit)
        self.admit()

    def record_duration(self, ticket: Ticket) -> None:
        """Observe the duration of a job that has just ended."""
        self._average_duration.observe(self._loop.time() - ticket.sent_at)

    def back_off(self, ticket: Ticket, *, retry_after: float | None, is_concurrency_limit: bool) -> float:
        """Pause the queue after a rejection because of load; return the seconds.

        Rejections of submissions that had left before the pause began belong to the same event and do not lengthen it.
        "Too many tasks" reduces the capacity by one, because another program uses the same key.
        """
        now = self._loop.time()
        self._rejections += 1
        if not self._rejected_in_a_row:
            self._rejected_since = now
        if ticket.sent_at >= self._rejected_at:
            self._rejected_in_a_row += 1
            self._rejected_at = now
            if is_concurrency_limit:
                self._capacity = max(1, min(self._capacity, self._in_use) - 1)
                self._capacity_changed_at = now
        pause = self._retries.queue_backoff(self._rejected_in_a_row, retry_after, self._random)
        self._pause_until(now + pause)
        self._cool_from = "end"  # the interpretation that is never too early
        self.abandon(ticket)
        return self._open_at - now

    @property
    def busy_seconds(self) -> float:
        """Seconds since the first of the rejections after which nothing was accepted; 0 if there is none."""
        return self._loop.time() - self._rejected_since if self._rejected_in_a_row else 0.0

    def reject_waiting(self, error: AioweryError, tickets: Iterable[Ticket] | None = None) -> None:
        """End the wait of these tickets (default: all) with a copy of this error, unsent."""
        for ticket in tuple(self._waiting if tickets is None else tickets):
            if ticket.waiting:
                ticket.admitted.set_exception(copy.copy(error))
        self.admit()

    def statistics(self) -> QueueStatistics:
        """Return the queue's figures at this moment."""
        now = self._loop.time()
        average = self._average_duration.seconds
        oldest = next(iter(self._holding), None)
        return QueueStatistics(
            capacity=self._capacity,
            in_use=self._in_use,
            waiting=sum(ticket.waiting for ticket in self._waiting),
            submitting=self._submitting,
            paused_for=max(0.0, self._open_at - now, self.breaker.paused_for),
            refusals=self._rejections,
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
                await ticket.admitted
        except TimeoutError:
            if not ticket.admitted.cancelled():
                return ticket.admitted.result()  # it was admitted in the same loop iteration
            self.admit()
            raise self._too_long_error(ticket, "the queue did not admit it in time") from None

    def _reject_hopeless(self, ticket: Ticket) -> None:
        """Withdraw the ticket and raise QueueTooLong if waiting makes no sense."""
        ahead = self._count_ahead(ticket)
        starts_in = self.statistics().starts_in(ahead)
        if self.limits.max_queue is not None and ahead >= self.limits.max_queue:
            fault = f"{ahead} are waiting already, which is the limit (Limits.max_queue)"
        elif starts_in is not None and self._loop.time() + starts_in > ticket.start_by:
            fault = f"it would be admitted in about {starts_in:.0f} s, which is too late"
        else:
            return
        ticket.admitted.cancel()
        raise self._too_long_error(ticket, fault)

    def _too_long_error(self, ticket: Ticket, fault: str) -> QueueTooLong:
        ahead = self._count_ahead(ticket)
        now = self.statistics()
        paused = "" if now.pause_reason is None else f" (submissions are paused: {now.pause_reason})"
        return QueueTooLong(
            f"{fault}{paused}; nothing was sent: try later, or raise start_within",
            position=ahead,
            starts_in=now.starts_in(ahead),
        )

    def _count_ahead(self, ticket: Ticket) -> int:
        return sum(other < ticket for other in self._waiting if other.waiting)

    def _pause_until(self, moment: float) -> None:
        self._open_at = max(self._open_at, moment)

    def admit(self) -> None:
        """Admit tickets from the head while there are free slots; set the timer for the next possible time."""
        now = self._loop.time() + _EARLY
        self._recover_capacity(now)
        # After a rejection one submission goes ahead as a probe.
        concurrent = 1 if self._rejected_in_a_row else self.limits.submissions
        while (ticket := self._head()) and now >= self._open_at and self._submitting < concurrent:
            if not (self._has_room(ticket) and self.breaker.try_admit(ticket)):
                break
            heapq.heappop(self._waiting)
            self._in_use += ticket.slots
            self._holding[ticket] = None
            self._submitting += 1
            ticket.sent_at = now
            ticket.admitted.set_result(None)
            if self.limits.submit_interval:
                self._open_at = now + self.limits.submit_interval
        if ticket is not None:
            self._wake_at(now)

    def _head(self) -> Ticket | None:
        """Return the first waiting ticket, after dropping those that left."""
        while self._waiting and not self._waiting[0].waiting:
            heapq.heappop(self._waiting)
        return self._waiting[0] if self._waiting else None

    def _has_room(self, ticket: Ticket) -> bool:
        return self._in_use == 0 or self._in_use + ticket.slots <= self._capacity

    def _recover_capacity(self, now: float) -> None:
        while (
            self._capacity < self.limits.in_flight and now >= self._capacity_changed_at + self.limits.recovery_interval
        ):
            self._capacity += 1
            self._capacity_changed_at += self.limits.recovery_interval

    def _wake_at(self, now: float) -> None:
        """Set the one timer: for the end of a pause, or for the next slot that the capacity regains."""
        moment = self._open_at
        if now >= moment:
            if self._capacity >= self.limits.in_flight:
                return  # only the end of a task or a submission can change anything, and both call `admit`
            moment = self._capacity_changed_at + self.limits.recovery_interval
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.admit()


_queues: SharedRegistry[SubmissionQueue] = SharedRegistry()


def shared_queue(base_url: str, key: str, kind: str, make: Callable[[], SubmissionQueue]) -> SubmissionQueue:
    """Return the queue of this address, key and kind in the running loop: the provider counts per key, not per client.

    A queue lives as long as a client holds it.
    """
    wanted = make()
    queue = _queues.get(lambda: wanted, base_url, key, kind)
    if queue.limits != wanted.limits:
        log.warning("another open client with this key set the queue's limits: %s, not %s", queue.limits, wanted.limits)
    return queue
