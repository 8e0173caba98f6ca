"""Turns for many users: one who asks ten times does not keep the others waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Busy(Exception):
    """There is no turn for this user now; the message says why, and what to do."""


class FairTurns:
    """Give turns user by user, and to each user first come, first served.

    While somebody waits at the head of their own line, every other user begins at most once. `at_once` turns may be
    under way, `waiting_each` may wait for each user, and nobody waits longer than `patience` seconds.

        async with turns.turn(user): ...
    """

    def __init__(self, *, at_once: int, waiting_each: int = 3, patience: float = 180.0) -> None:
        self._free = at_once
        self._waiting_each = waiting_each
        self._patience = patience
        self._lines: dict[Hashable, deque[asyncio.Event]] = {}  # in the order in which users are served

    @asynccontextmanager
    async def turn(self, user: Hashable) -> AsyncIterator[None]:
        """Wait for the user's turn, and hold it; Busy if too many of theirs wait, or if patience ends."""
        turn = self._join(user)
        try:
            await self._come(turn)
            yield
        finally:
            self._leave(user, turn)

    def _join(self, user: Hashable) -> asyncio.Event:
        line = self._lines.get(user, deque())
        if len(line) >= self._waiting_each:
            raise Busy(f"No more than {len(line)} of your pictures may wait at once. Ask again when one is done.")
        turn = asyncio.Event()
        line.append(turn)
        self._lines[user] = line
        self._serve()
        return turn

    async def _come(self, turn: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await turn.wait()
        except TimeoutError:
            raise Busy("There is too much to do at the moment. Nothing was charged; ask again later.") from None

    def _leave(self, user: Hashable, turn: asyncio.Event) -> None:
        line = self._lines.get(user, deque())
        if turn in line:
            line.remove(turn)
            if not line:
                del self._lines[user]
        else:
            self._free += 1
            self._serve()

    def _serve(self) -> None:
        while self._free and self._lines:
            user = next(iter(self._lines))
            line = self._lines.pop(user)
            line.popleft().set()
            self._free -= 1
            if line:
                self._lines[user] = line  # behind everybody who waits
