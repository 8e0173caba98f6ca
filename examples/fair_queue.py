"""A fair queue for many users: a user with ten requests does not delay the other users."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Busy(Exception):
    """An error for a request that gets no slot. Its message is for the user: the reason, and what to do."""


class FairQueue:
    """A queue that serves users in rotation, and the requests of each user in the order of arrival.

    While a user's first waiting request waits, every other user starts at most one request. At most `slots`
    requests run at the same time. Each user can have `max_waiting` waiting requests, for `timeout` seconds each.

        async with queue.slot(user_id):
            result = await client.run(request)
    """

    def __init__(self, *, slots: int, max_waiting: int = 3, timeout: float = 180.0) -> None:
        self._free_slots = slots
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._waiting: dict[Hashable, deque[asyncio.Event]] = {}  # the order of the users is the order of service

    @asynccontextmanager
    async def slot(self, user: Hashable) -> AsyncIterator[None]:
        """Wait for a free slot and occupy it.

        Raises Busy if the user has too many waiting requests, or if no slot is free within the timeout.
        """
        admitted = self._enqueue(user)
        try:
            await self._wait(admitted)
            yield
        finally:
            self._leave(user, admitted)

    def _enqueue(self, user: Hashable) -> asyncio.Event:
        """Add a request of this user. The event is set when the request gets its slot."""
        requests = self._waiting.get(user, deque())
        if len(requests) >= self._max_waiting:
            raise Busy(f"At most {self._max_waiting} of your pictures can wait. Please try again when one is finished.")
        admitted = asyncio.Event()
        requests.append(admitted)
        self._waiting[user] = requests
        self._admit()
        return admitted

    async def _wait(self, admitted: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await admitted.wait()
        except TimeoutError:
            raise Busy("The service is busy. Nothing was charged. Please try again later.") from None

    def _leave(self, user: Hashable, admitted: asyncio.Event) -> None:
        """Remove a request that still waits, or free the slot of one that has been admitted."""
        requests = self._waiting.get(user, deque())
        if admitted in requests:
            requests.remove(admitted)
            if not requests:
                del self._waiting[user]
        else:
            self._free_slots += 1
            self._admit()

    def _admit(self) -> None:
        """Give each free slot to the next user."""
        while self._free_slots and self._waiting:
            user = next(iter(self._waiting))
            requests = self._waiting.pop(user)
            requests.popleft().set()
            self._free_slots -= 1
            if requests:
                self._waiting[user] = requests  # the user moves behind all other waiting users
