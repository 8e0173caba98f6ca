"""What a process, and its event loop, have open: a test compares it before and after."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any, Final

import attrs

_DESCRIPTORS: Final = Path("/dev/fd")
_SETTLE_SECONDS: Final = 1.0
"""The seconds that ends on their way get to arrive."""

_KEPT: Final = "CircuitBreaker._keep_alive"
"""The timer that remembers submissions in doubt for ten minutes beyond their client."""


@attrs.frozen
class OpenThings:
    """The number of open sockets, and the tasks and timers of the running event loop."""

    sockets: int
    tasks: frozenset[asyncio.Task[Any]]
    timers: frozenset[asyncio.TimerHandle]

    @classmethod
    def now(cls) -> OpenThings:
        """Return what is open now. The timers are known of asyncio's event loop alone."""
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
        timers = frozenset(timer for timer in scheduled if not (timer.cancelled() or _KEPT in repr(timer)))
        tasks = frozenset(task for task in asyncio.all_tasks() if not _is_of_runner(task))
        return cls(open_sockets(), tasks, timers)

    async def describe_more(self) -> str:
        """Return what is open and was not then, after it had time to end; "" for nothing."""
        more = self._compare()
        ends_at = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while more and asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(0.005)
            more = self._compare()
        return more

    def _compare(self) -> str:
        found = self.now()
        sockets = found.sockets - self.sockets
        left = [f"{sockets} sockets"] if sockets > 0 else []
        return ", ".join((*left, *map(repr, found.tasks - self.tasks), *map(repr, found.timers - self.timers)))


def _is_of_runner(task: asyncio.Task[Any]) -> bool:
    """Return True for the task in which anyio runs tests and fixtures."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


def open_sockets() -> int:
    """Return the number of sockets that this process has open; 0 where the system does not list them."""
    return sum(map(_is_socket, _DESCRIPTORS.iterdir())) if _DESCRIPTORS.is_dir() else 0


def _is_socket(descriptor: Path) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(int(descriptor.name)).st_mode)
    except OSError:  # that of the listing itself
        return False
