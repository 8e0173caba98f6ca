"""The poll scheduler: one for all jobs of a client.

Jobs wait in a timer wheel, not in coroutines. When some are due, runners poll them one after the other; each poll first
acquires the `asyncio.Semaphore` that bounds all status checks. There are as many runners as there were ever polls at
the same time, and idle ones wait, so there is no task, lock or timer per job or per poll.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from math import ceil, inf
from typing import Final, Generic, TypeVar

from aiowery._core.statistics import PollStatistics

# Looks that need no waiting could keep the loop to themselves; after this long they let others in.
_SLICE: Final = 0.005
# Deadlines are swept on a wheel this much coarser than the wheel of polls.
_COARSER: Final = 10
_TICKS_AFTER_A_FAULT: Final = 200
# A loop may call a hair before the moment that was asked for; that counts as the moment.
_EARLY: Final = 1e-6


class ScheduledItem:
    """What the scheduler keeps with each job."""

    __slots__ = ("_deadline_slot", "_is_due", "_is_tracked", "_poll_again", "_poll_slot")

    def __init__(self) -> None:
        self._is_tracked: bool = False
        self._is_due: bool = False
        self._poll_again: bool = False
        self._poll_slot: int = -1
        self._deadline_slot: int = -1


W = TypeVar("W", bound=ScheduledItem)


class _Wheel(Generic[W]):
    """Items in slots of time, so that adding and removing cost the same with ten items or a million."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._slots: dict[int, dict[W, None]] = {}
        self._order: list[int] = []

    def add(self, item: W, moment: float) -> int:
        """Put the item into the first slot that begins no earlier than `moment`; return the slot."""
        slot = ceil(moment / self._tick)
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        items[item] = None
        return slot

    def discard(self, item: W, slot: int) -> None:
        items = self._slots.get(slot)
        if items is not None:
            items.pop(item, None)

    def next(self) -> float:
        """Return when the first filled slot begins; infinity when there is none."""
        while self._order and not self._slots[self._order[0]]:
            del self._slots[heapq.heappop(self._order)]
        return self._order[0] * self._tick if self._order else inf

    def due(self, now: float) -> Iterator[W]:
        """Take out, and yield, everything in slots that have begun."""
        while self._order and self._order[0] * self._tick <= now:
            yield from self._slots.pop(heapq.heappop(self._order))


class PollScheduler(Generic[W]):
    """A scheduler that runs `poll` for each tracked item when it is due, bounded by the semaphore `gate`.

    `poll(item)` returns the seconds until the next poll, or None when the item has ended. `expire(item)` is
    called at the item's deadline and returns the next one (a loop time), or None when watching is over. `tick`
    is the grain of time in seconds.
    """

    def __init__(
        self,
        poll: Callable[[W], Awaitable[float | None]],
        expire: Callable[[W], float | None],
        *,
        gate: asyncio.Semaphore,
        polls: int,
        tick: float,
    ) -> None:
        self._poll = poll
        self._expire = expire
        self._gate = gate
        self._polls = polls
        self._tick = tick
        self._poll_wheel: _Wheel[W] = _Wheel(tick)
        self._deadlines: _Wheel[W] = _Wheel(tick * _COARSER)
        self._due: deque[W] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._resting: list[asyncio.Future[None]] = []
        self._up = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until = 0.0
        self._made = 0
        self._under_way = 0
        self._tracked = 0

    def track(self, item: W, *, after: float, deadline: float) -> None:
        """Start to poll the item: first `after` so many seconds, until `deadline` (a loop time or infinity)."""
        item._is_tracked = True
        self._tracked += 1
        if not item._is_due:
            self._reschedule(item, self._loop.time() + after)
        self.set_deadline(item, deadline)

    def forget(self, item: W) -> None:
        """Stop polling the item."""
        if item._is_tracked:
            item._is_tracked = False
            self._tracked -= 1
            self._poll_wheel.discard(item, item._poll_slot)
            self._deadlines.discard(item, item._deadline_slot)

    def set_deadline(self, item: W, deadline: float) -> None:
        """Move the moment at which the item expires."""
        self._deadlines.discard(item, item._deadline_slot)
        if deadline < inf:
            item._deadline_slot = self._deadlines.add(item, deadline)
            self._arm()

    def poll_now(self, item: W) -> None:
        """Poll a tracked item at once; if a poll is under way, which may have come too early, once more after it."""
        if item._is_due:
            item._poll_again = True
        elif item._is_tracked:
            self._poll_wheel.discard(item, item._poll_slot)
            item._is_due = True
            self._due.append(item)
            if self._held():
                self._arm()
            else:
                self._fan_out()

    def poll_by(self, item: W, moment: float) -> None:
        """Poll a tracked item at that loop time, if its next poll would be later."""
        if item._is_tracked and not item._is_due and item._poll_slot * self._tick > moment:
            self._poll_wheel.discard(item, item._poll_slot)
            self._reschedule(item, moment)

    def pause(self, seconds: float) -> None:
        """Pause all polls for so many seconds, because the provider asked for fewer requests."""
        self._held_until = max(self._held_until, self._loop.time() + seconds)
        self._arm()

    def statistics(self) -> PollStatistics:
        """Return the scheduler's figures at this moment."""
        return PollStatistics(
            made=self._made,
            under_way=self._under_way,
            tracked=self._tracked,
            due=len(self._due),
            paused_for=max(0.0, self._held_until - self._loop.time()),
        )

    async def aclose(self) -> None:
        """Stop all polls, those under way too."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        runners = tuple(self._runners)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        self._resting.clear()

    def _held(self) -> bool:
        return self._held_until > self._loop.time() + _EARLY

    def _reschedule(self, item: W, moment: float) -> None:
        item._poll_slot = self._poll_wheel.add(item, moment)
        if self._timer is None or item._poll_slot * self._tick < self._timer.when():
            self._arm()

    def _arm(self) -> None:
        """Set the one timer to the first moment at which there is something to do."""
        moment = min(max(self._poll_wheel.next(), self._held_until), self._deadlines.next())
        if self._due and self._held():
            moment = min(moment, self._held_until)
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = None if moment == inf else self._loop.call_at(moment, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time() + _EARLY
        for item in self._deadlines.due(now):
            self._sweep(item)
        if not self._held():
            for item in self._poll_wheel.due(now):
                item._is_due = True
                self._due.append(item)
            self._fan_out()
        self._arm()

    def _sweep(self, item: W) -> None:
        deadline = self._expire(item)
        if deadline is None:
            self.forget(item)
        elif deadline < inf:
            item._deadline_slot = self._deadlines.add(item, deadline)

    def _fan_out(self) -> None:
        """See that a runner is up for each due item, as far as there are places."""
        for _ in range(min(len(self._due), self._polls - self._up)):
            self._up += 1
            if not self._woken():
                runner = self._loop.create_task(self._run(), name="aiowery polls")
                self._runners.add(runner)
                runner.add_done_callback(self._runners.discard)

    def _woken(self) -> bool:
        """Wake an idle runner; return False if there is none. A cancelled runner is skipped."""
        while self._resting:
            rest = self._resting.pop()
            if not rest.done():
                rest.set_result(None)
                return True
        return False

    async def _run(self) -> None:
        """Poll due items, one after the other, and wait while there are none."""
        while True:
            try:
                await self._poll_all()
            finally:
                self._up -= 1
            if self._closed:  # and the cancellation was swallowed on its way
                return
            rest = self._loop.create_future()
            self._resting.append(rest)
            await rest

    async def _poll_all(self) -> None:
        time = self._loop.time
        slice_ends = time() + _SLICE
        while self._due:
            now = time()
            if self._held_until > now + _EARLY:
                return
            if now > slice_ends:
                await asyncio.sleep(0)
                slice_ends = time() + _SLICE
            async with self._gate:
                if self._due:
                    await self._poll_one(self._due.popleft())

    async def _poll_one(self, item: W) -> None:
        pause = None
        item._poll_again = False
        if item._is_tracked:
            self._made += 1
            self._under_way += 1
            try:
                pause = await self._poll(item)
            except Exception as fault:  # noqa: BLE001 - one broken poll must not end all later ones
                self._loop.call_exception_handler({"message": "a poll of a job raised", "exception": fault})
                pause = self._tick * _TICKS_AFTER_A_FAULT
            finally:
                self._under_way -= 1
        item._is_due = False
        if pause is None:
            self.forget(item)
        elif item._is_tracked:
            self._reschedule(item, self._loop.time() + (0.0 if item._poll_again else pause))
