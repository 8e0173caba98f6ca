"""Limit how many submissions start in one event-loop iteration.

`asyncio.gather` over 1,000 submissions would otherwise run 1,000 first steps (validation, encoding, queueing) back to
back and block the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque


class StartPacer:
    """A pacer that starts at most `max_starts` submissions per event-loop iteration, in order of arrival."""

    def __init__(self, max_starts: int) -> None:
        self._max_starts = max_starts
        self._started = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    async def wait_to_start(self) -> None:
        """Wait until this submission may start: now, or in one of the next event-loop iterations."""
        if self._started < self._max_starts and not self._waiting:
            self._start_one()
        else:
            start = self._loop.create_future()
            self._waiting.append(start)
            await start

    def _start_one(self) -> None:
        if not self._started:
            self._loop.call_soon(self._on_iteration)
        self._started += 1

    def _on_iteration(self) -> None:
        self._started = 0
        while self._waiting and self._started < self._max_starts:
            start = self._waiting.popleft()
            if not start.done():  # otherwise its caller was cancelled
                start.set_result(None)
                self._start_one()
