"""The poll scheduler: one for all jobs of a client.

Jobs wait in a timer wheel, not in coroutines. When some are due, runners poll them one after the other. Each poll first
acquires the `asyncio.Semaphore` that limits all status checks. A runner is started if a poll is due and none is idle,
up to the limit of concurrent polls. Idle runners wait, so there is no task, lock or timer per job or per poll.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from math import ceil, inf
from typing import Final, Generic, TypeVar

from aiowery._core.statistics import PollStatistics

# Polls that never wait could block the event loop; after this many seconds they yield to it.
_MAX_UNINTERRUPTED: Final = 0.005
# Deadlines need less precision than polls: a tick of their wheel is this many ticks of the wheel of polls.
_DEADLINE_TICKS: Final = 12
_TICKS_AFTER_EXCEPTION: Final = 240
# An event loop may call a timer slightly early; that counts as on time.
_TIMER_TOLERANCE: Final = 1e-6


class ScheduledItem:
    """The scheduler's fields of an item, which a job inherits."""

    __slots__ = (
        "_deadline_bucket",
        "_is_due",
        "_is_expiring",
        "_is_tracked",
        "_last_poll_at",
        "_poll_again",
        "_poll_bucket",
    )

    def __init__(self) -> None:
        self._is_tracked: bool = False
        self._is_due: bool = False
        self._is_expiring: bool = False
        self._last_poll_at: float = -inf
        self._poll_again: bool = False
        self._poll_bucket: int = -1
        self._deadline_bucket: int = -1


W = TypeVar("W", bound=ScheduledItem)


class _Wheel(Generic[W]):
    """A timer wheel: items in time buckets, so that adding and removing cost the same for any number of items."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._buckets: dict[int, dict[W, None]] = {}
        self._bucket_heap: list[int] = []

    def add(self, item: W, moment: float) -> int:
        """Put the item into the first bucket that begins no earlier than `moment`; return the bucket's number."""
        bucket = ceil(moment / self._tick)
        items = self._buckets.get(bucket)
        if items is None:
            items = self._buckets[bucket] = {}
            heapq.heappush(self._bucket_heap, bucket)
        items[item] = None
        return bucket

    def discard(self, item: W, bucket: int) -> None:
        items = self._buckets.get(bucket)
        if items is not None:
            items.pop(item, None)

    def next(self) -> float:
        """Return the loop time at which the first filled bucket begins; infinity if there is none."""
        while self._bucket_heap and not self._buckets[self._bucket_heap[0]]:
            del self._buckets[heapq.heappop(self._bucket_heap)]
        return self._bucket_heap[0] * self._tick if self._bucket_heap else inf

    def due(self, now: float) -> Iterator[W]:
        """Remove and yield the items of all buckets that have begun."""
        while self._bucket_heap and self._bucket_heap[0] * self._tick <= now:
            yield from self._buckets.pop(heapq.heappop(self._bucket_heap))


class PollScheduler(Generic[W]):
    """A scheduler that runs `poll` for each tracked item when it is due, limited by the semaphore `gate`.

    `poll(item)` returns the seconds until the next poll, or None if the item has ended. At a deadline the item is
    polled once more, if `wants_last_poll(item)` is true and that did not happen within the latest `last_poll` seconds.
    Then `expire(item)` is called: after at most `last_poll` seconds, or immediately during a pause. It returns the next
    deadline (a loop time), or None if polling is over. `polls` is the number of polls that the semaphore allows at the
    same time. `tick` is the precision of the schedule in seconds.
    """

    def __init__(
        self,
        poll: Callable[[W], Awaitable[float | None]],
        expire: Callable[[W], float | None],
        *,
        gate: asyncio.Semaphore,
        polls: int,
        tick: float,
        last_poll: float = 3.0,
        wants_last_poll: Callable[[W], bool] = lambda _: True,
    ) -> None:
        self._poll = poll
        self._expire = expire
        self._last_poll = last_poll
        self._wants_last_poll = wants_last_poll
        self._gate = gate
        self._max_polls = polls
        self._tick = tick
        self._poll_wheel: _Wheel[W] = _Wheel(tick)
        self._deadline_wheel: _Wheel[W] = _Wheel(tick * _DEADLINE_TICKS)
        self._due: deque[W] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._idle_runners: list[asyncio.Future[None]] = []
        self._busy_runners = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        # Polls serve many requests, so they run in the context of the opening, not in that of one of them.
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = 0.0
        self._polls_made = 0
        self._polls_running = 0
        self._tracked_count = 0

    def track(self, item: W, *, after: float, deadline: float) -> None:
        """Start to poll the item, first after `after` seconds, until `deadline` (a loop time or infinity)."""
        item._is_tracked = True
        self._tracked_count += 1
        if not item._is_due:
            self._reschedule(item, self._loop.time() + after)
        self.set_deadline(item, deadline)

    def forget(self, item: W) -> None:
        """Stop polling the item."""
        if item._is_tracked:
            item._is_tracked = item._is_expiring = False
            self._tracked_count -= 1
            self._poll_wheel.discard(item, item._poll_bucket)
            self._deadline_wheel.discard(item, item._deadline_bucket)

    def set_deadline(self, item: W, deadline: float) -> None:
        """Set the loop time at which the item expires; during its last poll, `expire` returns it anyway."""
        if item._is_expiring:
            return
        self._deadline_wheel.discard(item, item._deadline_bucket)
        if deadline < inf:
            item._deadline_bucket = self._deadline_wheel.add(item, deadline)
            self._set_timer()

    def poll_now(self, item: W) -> None:
        """Poll a tracked item immediately; if a poll is under way, once more after it, because it may be too early."""
        if item._is_due:
            item._poll_again = True
        elif item._is_tracked:
            self._poll_wheel.discard(item, item._poll_bucket)
            item._is_due = True
            self._due.append(item)
            if self._is_paused():
                self._set_timer()
            else:
                self._start_runners()

    def poll_by(self, item: W, moment: float) -> None:
        """Bring the next poll of a tracked item forward to that loop time, if it would be later."""
        if item._is_tracked and not item._is_due and item._poll_bucket * self._tick > moment:
            self._poll_wheel.discard(item, item._poll_bucket)
            self._reschedule(item, moment)

    def pause(self, seconds: float) -> None:
        """Pause all polls for so many seconds, because the provider limits their rate."""
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)
        self._set_timer()

    def statistics(self) -> PollStatistics:
        """Return the scheduler's figures at this moment."""
        return PollStatistics(
            made=self._polls_made,
            under_way=self._polls_running,
            tracked=self._tracked_count,
            due=len(self._due),
            paused_for=max(0.0, self._paused_until - self._loop.time()),
        )

    async def aclose(self) -> None:
        """Stop all polls, including those under way."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        runners = tuple(self._runners)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        self._idle_runners.clear()

    def _is_paused(self) -> bool:
        return self._paused_until > self._loop.time() + _TIMER_TOLERANCE

    def _reschedule(self, item: W, moment: float) -> None:
        item._poll_bucket = self._poll_wheel.add(item, moment)
        if self._timer is None or item._poll_bucket * self._tick < self._timer.when():
            self._set_timer()

    def _set_timer(self) -> None:
        """Set the timer to the next deadline or poll, whichever is first; polls wait for the end of a pause."""
        moment = min(max(self._poll_wheel.next(), self._paused_until), self._deadline_wheel.next())
        if self._due and self._is_paused():
            moment = min(moment, self._paused_until)
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = None if moment == inf else self._loop.call_at(moment, self._on_timer, context=self._context)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time() + _TIMER_TOLERANCE
        for item in tuple(self._deadline_wheel.due(now)):
            self._on_deadline(item)
        if not self._is_paused():
            for item in self._poll_wheel.due(now):
                item._is_due = True
                self._due.append(item)
            self._start_runners()
        self._set_timer()

    def _on_deadline(self, item: W) -> None:
        """Poll an item a last time: it may have ended since its latest poll, or while the event loop was blocked."""
        now = self._loop.time()
        is_recent = now < item._last_poll_at + self._last_poll
        if item._is_expiring or is_recent or self._is_paused() or not self._wants_last_poll(item):
            self._expire_item(item)
            return
        item._is_expiring, item._last_poll_at = True, now
        item._deadline_bucket = self._deadline_wheel.add(item, now + self._last_poll)
        self.poll_now(item)

    def _expire_item(self, item: W) -> None:
        item._is_expiring = False
        self._deadline_wheel.discard(item, item._deadline_bucket)
        deadline = self._expire(item)
        if deadline is None:
            self.forget(item)
        elif deadline < inf:
            item._deadline_bucket = self._deadline_wheel.add(item, deadline)

    def _start_runners(self) -> None:
        """Start or wake a runner for each due item, up to the limit of concurrent polls."""
        for _ in range(min(len(self._due), self._max_polls - self._busy_runners)):
            self._busy_runners += 1
            if not self._wake_runner():
                runner = self._context.copy().run(partial(self._loop.create_task, self._run(), name="aiowery polls"))
                self._runners.add(runner)
                runner.add_done_callback(self._runners.discard)

    def _wake_runner(self) -> bool:
        """Wake an idle runner; return False if there is none. Cancelled runners are skipped."""
        while self._idle_runners:
            wakeup = self._idle_runners.pop()
            if not wakeup.done():
                wakeup.set_result(None)
                return True
        return False

    async def _run(self) -> None:
        """Poll due items, one after the other, and wait while there are none."""
        while True:
            try:
                await self._poll_all()
            finally:
                self._busy_runners -= 1
            if self._closed:  # a poll may have suppressed the cancellation
                return
            wakeup = self._loop.create_future()
            self._idle_runners.append(wakeup)
            await wakeup

    async def _poll_all(self) -> None:
        time = self._loop.time
        yield_at = time() + _MAX_UNINTERRUPTED
        while self._due:
            now = time()
            if self._paused_until > now + _TIMER_TOLERANCE:
                return
            if now > yield_at:
                await asyncio.sleep(0)
                yield_at = time() + _MAX_UNINTERRUPTED
            async with self._gate:
                if self._due:
                    await self._poll_one(self._due.popleft())

    async def _poll_one(self, item: W) -> None:
        pause = None
        item._poll_again = False
        if item._is_tracked:
            self._polls_made += 1
            self._polls_running += 1
            try:
                pause = await self._poll(item)
            except Exception as error:  # noqa: BLE001 - one failing poll must not end all later ones
                self._loop.call_exception_handler({"message": "a poll of a job raised", "exception": error})
                pause = self._tick * _TICKS_AFTER_EXCEPTION
            finally:
                self._polls_running -= 1
        item._is_due = False
        if pause is None:
            self.forget(item)
        elif item._is_expiring and not item._poll_again:
            self._expire_item(item)
        if item._is_tracked and pause is not None:
            self._reschedule(item, self._loop.time() + (0.0 if item._poll_again else pause))
