"""Lanes: admission for one credential.

A submission takes a ticket, waits in line until the lane has room for its tasks and nobody has told us to slow
down, and keeps its places until its tasks have ended; then the lane cools down, where the provider wants that.
No task, lock or timer per ticket: one heap in order of arrival, one timer for the moment at which a waiting lane
may go on.
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

# A loop may call a hair before the moment that was asked for; that counts as the moment.
_EARLY: Final = 1e-6


class Ticket:
    """A submission's place in line and, once admitted, the places it holds in its lane.

    `start_by` is the moment after which it no longer wants to be sent.
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

    def __init__(self, lane: SubmissionQueue, number: int, places: int, start_by: float) -> None:
        self.queue: SubmissionQueue = lane
        self.number: int = number
        self.slots: int = places
        self.start_by: float = start_by
        self.admitted: asyncio.Future[None] = lane.new_admission()
        self.sent_at: float = 0.0
        self.accepted_at: float = 0.0
        self.on_released: Callable[[], None] | None = None
        self.caller_gone: bool = False
        """Whether the caller has left: a refusal is then the end."""

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number

    @property
    def waiting(self) -> bool:
        """Whether it stands in line: neither admitted nor withdrawn nor turned away."""
        return not self.admitted.done()

    def release(self, slots: int) -> None:
        """Release the slots of tasks that have ended; after the last one `on_released` is called."""
        self.queue.release(self, slots)
        if not self.slots and self.on_released is not None:
            self.on_released()

    def finished(self) -> None:
        """Teach the lane how long such work takes, from sending to the end."""
        self.queue.record_duration(self)


class SubmissionQueue:
    """Who may submit now. All methods belong to one event loop; times are that loop's.

    The `brake` is asked last, when there is room; without one, the lane gets one of its own.
    """

    def __init__(
        self, limits: Limits, retries: RetryPolicy, random: Random, brake: CircuitBreaker | None = None
    ) -> None:
        self.limits: Limits = limits
        self.breaker: CircuitBreaker = brake or CircuitBreaker(limits.max_doubts, retries)
        self._retries = retries
        self._random = random
        self._capacity = limits.in_flight
        self._in_use = 0
        self._submitting = 0
        self._waiting: list[Ticket] = []
        # Those that hold places, the longest first.
        self._holding: dict[Ticket, None] = {}
        self._usual = MovingAverage(limits.expected_duration)
        self._cool_from = limits.cool_from
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        # What those have waited for whose turn has come: one for all, since jobs keep their tickets.
        self._admitted = self.new_admission()
        self._admitted.set_result(None)
        self._timer: asyncio.TimerHandle | None = None
        self._open_at = 0.0
        self._refused_at = 0.0
        self._refused_since = 0.0
        self._changed_at = 0.0
        self._refusals = 0
        self._refused_in_a_row = 0

    def __repr__(self) -> str:
        return f"<Lane {self.statistics()}>"

    def new_ticket(self, places: int, start_within: float | None = None) -> Ticket:
        """Return a ticket for so many tasks; a request larger than the lane will wait until it is alone."""
        start_by = inf if start_within is None else self._loop.time() + start_within
        return Ticket(self, next(self._numbers), places, start_by)

    def new_admission(self) -> asyncio.Future[None]:
        """Return what a ticket waits for."""
        return self._loop.create_future()

    async def acquire(self, ticket: Ticket) -> None:
        """Wait in line, by order of the tickets' numbers, until the submission may go out.

        Cancelling leaves the line. Raises what `turn_away` was given, if that happens meanwhile, and QueueTooLong
        when the line is full, or as soon as it is plain that the ticket's turn would come too late.
        """
        if not self._submitting and self._head() is None and self._loop.time() > self._open_at:
            self._refused_in_a_row = 0  # nobody has asked since the pause ended: that storm is over
        if ticket.admitted.done():  # it was refused, and comes again with its old number
            ticket.admitted = self.new_admission()
        heapq.heappush(self._waiting, ticket)
        self.admit()
        if ticket.waiting and (self.limits.max_queue is not None or ticket.start_by < inf):
            self._reject_hopeless(ticket)
        try:
            # No context for those without a moment: a thousand of them may wait in a gather.
            await (ticket.admitted if ticket.start_by == inf else self._in_time(ticket))
        except asyncio.CancelledError:
            if not ticket.admitted.cancelled() and ticket.admitted.exception() is None:
                self.abandon(ticket)  # admitted in the same instant: give the places back
            self.admit()
            raise
        ticket.admitted = self._admitted

    def reserve(self, ticket: Ticket) -> None:
        """Take the places of tasks that are under way already, without waiting."""
        ticket.admitted = self._admitted
        ticket.sent_at = ticket.accepted_at = self._loop.time()
        self._in_use += ticket.slots
        self._holding[ticket] = None

    def keep_slots(self, ticket: Ticket, tasks: int) -> None:
        """Note that the submission was accepted and started so many tasks, which may differ from its places."""
        self._submitting -= 1
        self._in_use += tasks - ticket.slots
        ticket.slots = tasks
        ticket.accepted_at = self._loop.time()
        self._refused_in_a_row = 0
        self.admit()

    def abandon(self, ticket: Ticket) -> None:
        """Note that the submission ended without tasks; its places are free again."""
        self._submitting -= 1
        self._in_use -= ticket.slots
        self._holding.pop(ticket, None)
        self.breaker.record_unknown(ticket)
        self.admit()

    def abandon_in_doubt(self, ticket: Ticket) -> None:
        """Note that nobody knows what became of the submission: a lane that cools down does so as after a task."""
        if self.limits.cool_down:
            self._rest_until(self._loop.time() + (self._usual.seconds or 0.0) + self.limits.cool_down)
        self.abandon(ticket)

    def release(self, ticket: Ticket, places: int) -> None:
        """Give back the places of tasks that have ended, and cool down."""
        began = ticket.accepted_at if self._cool_from == "start" else self._loop.time()
        self._rest_until(began + self.limits.cool_down)
        self._in_use -= places
        ticket.slots -= places
        if not ticket.slots:
            self._holding.pop(ticket, None)
        if self.limits.cool_down:
            # A timer holds the lane, so that a client that is opened next knows of the rest.
            self._loop.call_at(self._open_at, self.admit)
        self.admit()

    def record_duration(self, ticket: Ticket) -> None:
        """Learn from a job that has just ended how long one takes."""
        self._usual.observe(self._loop.time() - ticket.sent_at)

    def back_off(self, ticket: Ticket, *, retry_after: float | None, is_concurrency_limit: bool) -> float:
        """Note a refusal because of load and pause the lane; return the seconds.

        Refusals of submissions that had left before the pause began belong to the same event and do not
        lengthen it. "Too many tasks" shrinks the lane by one: somebody else uses the same key.
        """
        now = self._loop.time()
        self._refusals += 1
        if not self._refused_in_a_row:
            self._refused_since = now
        if ticket.sent_at >= self._refused_at:
            self._refused_in_a_row += 1
            self._refused_at = now
            if is_concurrency_limit:
                self._capacity = max(1, min(self._capacity, self._in_use) - 1)
                self._changed_at = now
        pause = self._retries.queue_backoff(self._refused_in_a_row, retry_after, self._random)
        self._rest_until(now + pause)
        self._cool_from = "end"  # the reading that is never too early
        self.abandon(ticket)
        return self._open_at - now

    @property
    def busy_seconds(self) -> float:
        """Seconds since the first of the refusals after which nothing has been accepted; 0 if there is none."""
        return self._loop.time() - self._refused_since if self._refused_in_a_row else 0.0

    def reject_waiting(self, error: AioweryError, tickets: Iterable[Ticket] | None = None) -> None:
        """End the wait of these (default: all) in line with a copy of this error, unsent."""
        for ticket in tuple(self._waiting if tickets is None else tickets):
            if ticket.waiting:
                ticket.admitted.set_exception(copy.copy(error))
        self.admit()

    def statistics(self) -> QueueStatistics:
        """Return the lane's figures at this moment."""
        now = self._loop.time()
        usual = self._usual.seconds
        oldest = next(iter(self._holding), None)
        return QueueStatistics(
            capacity=self._capacity,
            in_use=self._in_use,
            waiting=sum(ticket.waiting for ticket in self._waiting),
            submitting=self._submitting,
            paused_for=max(0.0, self._open_at - now, self.breaker.paused_for),
            refusals=self._refusals,
            expected_duration=usual,
            next_end=None if oldest is None or usual is None else max(0.0, oldest.sent_at + usual - now),
            cool_down=self.limits.cool_down,
            cool_from=self._cool_from,
            pause_reason=self.breaker.reason,
        )

    async def _in_time(self, ticket: Ticket) -> None:
        """Wait for the admission until the ticket's moment."""
        try:
            async with asyncio.timeout_at(ticket.start_by):
                await ticket.admitted
        except TimeoutError:
            if not ticket.admitted.cancelled():
                return ticket.admitted.result()  # it came in the same instant
            self.admit()
            raise self._too_long(ticket, "its turn did not come in time") from None

    def _reject_hopeless(self, ticket: Ticket) -> None:
        """Take the ticket out of the line, and say so, where waiting makes no sense."""
        ahead = self._ahead_of(ticket)
        starts_in = self.statistics().starts_in(ahead)
        if self.limits.max_queue is not None and ahead >= self.limits.max_queue:
            fault = f"{ahead} are waiting already, which is the limit (Limits.queue)"
        elif starts_in is not None and self._loop.time() + starts_in > ticket.start_by:
            fault = f"its turn would come in about {starts_in:.0f} s, which is too late"
        else:
            return
        ticket.admitted.cancel()
        raise self._too_long(ticket, fault)

    def _too_long(self, ticket: Ticket, fault: str) -> QueueTooLong:
        ahead = self._ahead_of(ticket)
        now = self.statistics()
        paused = "" if now.pause_reason is None else f" (submissions are paused: {now.pause_reason})"
        return QueueTooLong(
            f"{fault}{paused}; nothing was sent: try later, or be more patient",
            position=ahead,
            starts_in=now.starts_in(ahead),
        )

    def _ahead_of(self, ticket: Ticket) -> int:
        return sum(other < ticket for other in self._waiting if other.waiting)

    def _rest_until(self, moment: float) -> None:
        self._open_at = max(self._open_at, moment)

    def admit(self) -> None:
        """Let in, from the head, everybody for whom there is room now; set the timer for the next moment."""
        now = self._loop.time() + _EARLY
        self._recover_capacity(now)
        # After a refusal one submission goes ahead as a probe.
        submits = 1 if self._refused_in_a_row else self.limits.submissions
        while (ticket := self._head()) and now >= self._open_at and self._submitting < submits:
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
        """Return the first in line, after dropping those who left it."""
        while self._waiting and not self._waiting[0].waiting:
            heapq.heappop(self._waiting)
        return self._waiting[0] if self._waiting else None

    def _has_room(self, ticket: Ticket) -> bool:
        return self._in_use == 0 or self._in_use + ticket.slots <= self._capacity

    def _recover_capacity(self, now: float) -> None:
        while self._capacity < self.limits.in_flight and now >= self._changed_at + self.limits.recovery_interval:
            self._capacity += 1
            self._changed_at += self.limits.recovery_interval

    def _wake_at(self, now: float) -> None:
        """Set the one timer: for the end of a pause, or for the lane's next place."""
        moment = self._open_at
        if now >= moment:
            if self._capacity >= self.limits.in_flight:
                return  # only an ending task or submission can change anything, and both call _admit
            moment = self._changed_at + self.limits.recovery_interval
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.admit()


_lanes: SharedRegistry[SubmissionQueue] = SharedRegistry()


def shared_queue(host: str, key: str, sort: str, make: Callable[[], SubmissionQueue]) -> SubmissionQueue:
    """Return the lane of this host, key and sort in the running loop: the provider counts per key, not per client.

    A lane lives as long as a client holds it.
    """
    wanted = make()
    lane = _lanes.get(lambda: wanted, host, key, sort)
    if lane.limits != wanted.limits:
        log.warning("another open client with this key set the lane's limits: %s, not %s", lane.limits, wanted.limits)
    return lane
