"""The turnstile: of thousands of tasks that begin in one turn of the loop, a few go in, the others in later turns.

Who gathers a thousand submissions starts a thousand tasks at once, whose first steps (checking, encoding, standing in
line) would otherwise keep the loop to themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque


class StartPacer:
    """Lets at most so many in per turn of the loop, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    async def wait_turn(self) -> None:
        """Go in, now or in one of the next turns."""
        if self._passed < self._most and not self._waiting:
            self._release_next()
        else:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            await turn

    def _release_next(self) -> None:
        if not self._passed:
            self._loop.call_soon(self._on_iteration)
        self._passed += 1

    def _on_iteration(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # else its caller has left
                turn.set_result(None)
                self._release_next()
