"""Lanes: admission for one credential.

A submission takes a ticket, waits in line until the lane has room for its tasks and nobody has told us to slow
down, and keeps its places until its tasks have ended. No task, lock or timer per ticket: one heap in order of
arrival, one timer for the moment at which a waiting lane may go on.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import heapq
import itertools
import secrets
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from aiowery._events import log
from aiowery._policies import Limits, Random, RetryPolicy
from aiowery._statistics import LaneStatistics
from aiowery.errors import AioweryError

# A loop may call a hair before the moment that was asked for; that counts as the moment.
_EARLY: Final = 1e-6
_SALT: Final = secrets.token_bytes(16)


class Ticket:
    """A submission's place in line and, once admitted, the places it holds."""

    __slots__ = ("admitted", "number", "orphaned", "places", "sent_at")

    def __init__(self, number: int, places: int, admitted: asyncio.Future[None]) -> None:
        self.number = number
        self.places = places
        self.admitted = admitted
        self.sent_at = 0.0
        self.orphaned = False
        """Whether the caller has left: a refusal is then the end."""

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number

    @property
    def waiting(self) -> bool:
        """Whether it stands in line: neither admitted nor withdrawn nor turned away."""
        return not self.admitted.done()


class Lane:
    """Who may submit now. All methods belong to one event loop; times are that loop's."""

    def __init__(self, limits: Limits, retries: RetryPolicy, random: Random) -> None:
        self.limits = limits
        self._retries = retries
        self._random = random
        self._capacity = limits.in_flight
        self._in_use = 0
        self._submitting = 0
        self._waiting: list[Ticket] = []
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._open_at = 0.0
        self._refused_at = 0.0
        self._refused_since = 0.0
        self._changed_at = 0.0
        self._refusals = 0
        self._refused_in_a_row = 0

    def __repr__(self) -> str:
        return f"<Lane {self.statistics()}>"

    def ticket(self, places: int) -> Ticket:
        """Return a ticket for so many tasks; a request larger than the lane will wait until it is alone."""
        return Ticket(next(self._numbers), places, self._loop.create_future())

    async def enter(self, ticket: Ticket) -> None:
        """Wait in line, by order of the tickets' numbers, until the submission may go out.

        Cancelling leaves the line. Raises what `turn_away` was given, if that happens meanwhile.
        """
        if not self._submitting and self._head() is None and self._loop.time() > self._open_at:
            self._refused_in_a_row = 0  # nobody has asked since the pause ended: that storm is over
        if ticket.admitted.done():  # it was refused, and comes again with its old number
            ticket.admitted = self._loop.create_future()
        heapq.heappush(self._waiting, ticket)
        self._admit()
        try:
            await ticket.admitted
        except asyncio.CancelledError:
            if not ticket.admitted.cancelled() and ticket.admitted.exception() is None:
                self.refuse(ticket)  # admitted in the same instant: give the places back
            self._admit()
            raise

    def accept(self, ticket: Ticket, tasks: int) -> None:
        """Note that the submission was accepted and started so many tasks, which may differ from its places."""
        self._submitting -= 1
        self._in_use += tasks - ticket.places
        ticket.places = tasks
        self._refused_in_a_row = 0
        self._admit()

    def refuse(self, ticket: Ticket) -> None:
        """Note that the submission ended without tasks; its places are free again."""
        self._submitting -= 1
        self.release(ticket.places)

    def release(self, places: int = 1) -> None:
        """Give back the places of tasks that have ended."""
        self._in_use -= places
        self._admit()

    def back_off(self, ticket: Ticket, *, retry_after: float | None, tasks_at_once: bool) -> float:
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
            if tasks_at_once:
                self._capacity = max(1, min(self._capacity, self._in_use) - 1)
                self._changed_at = now
        pause = self._retries.lane_pause(self._refused_in_a_row, retry_after, self._random)
        self._open_at = max(self._open_at, now + pause)
        self.refuse(ticket)
        return self._open_at - now

    @property
    def refused_for(self) -> float:
        """Seconds since the first of the refusals after which nothing has been accepted; 0 if there is none."""
        return self._loop.time() - self._refused_since if self._refused_in_a_row else 0.0

    def turn_away(self, error: AioweryError, tickets: Iterable[Ticket] | None = None) -> None:
        """End the wait of these (default: all) in line with a copy of this error, unsent."""
        for ticket in tuple(self._waiting if tickets is None else tickets):
            if ticket.waiting:
                ticket.admitted.set_exception(copy.copy(error))
        self._admit()

    def statistics(self) -> LaneStatistics:
        """Return the lane's figures at this moment."""
        return LaneStatistics(
            capacity=self._capacity,
            in_use=self._in_use,
            waiting=sum(ticket.waiting for ticket in self._waiting),
            submitting=self._submitting,
            paused_for=max(0.0, self._open_at - self._loop.time()),
            refusals=self._refusals,
        )

    def _admit(self) -> None:
        """Let in, from the head, everybody for whom there is room now; set the timer for the next moment."""
        now = self._loop.time() + _EARLY
        self._regrow(now)
        # After a refusal one submission goes ahead as a probe.
        submits = 1 if self._refused_in_a_row else self.limits.submits
        while (ticket := self._head()) and now >= self._open_at and self._submitting < submits:
            if not self._has_room(ticket):
                break
            heapq.heappop(self._waiting)
            self._in_use += ticket.places
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
        return self._in_use == 0 or self._in_use + ticket.places <= self._capacity

    def _regrow(self, now: float) -> None:
        while self._capacity < self.limits.in_flight and now >= self._changed_at + self.limits.regrow:
            self._capacity += 1
            self._changed_at += self.limits.regrow

    def _wake_at(self, now: float) -> None:
        """Set the one timer: for the end of a pause, or for the lane's next place."""
        moment = self._open_at
        if now >= moment:
            if self._capacity >= self.limits.in_flight:
                return  # only an ending task or submission can change anything, and both call _admit
            moment = self._changed_at + self.limits.regrow
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._admit()


_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, Lane]] = WeakKeyDictionary()


def shared_lane(host: str, key: str, make: Callable[[], Lane]) -> Lane:
    """Return the lane of this host and key in the running loop: the provider counts per key, not per client.

    A lane lives as long as a client holds it. Keys are remembered as hashes that mean nothing elsewhere.
    """
    name = hashlib.blake2b(f"{host}\n{key}".encode(), key=_SALT).hexdigest()
    lanes = _lanes.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    lane = lanes.get(name)
    if lane is None:
        lane = lanes[name] = make()
        return lane
    if lane.limits != (wanted := make().limits):
        log.warning("another open client with this key set the lane's limits: %s, not %s", lane.limits, wanted)
    return lane
