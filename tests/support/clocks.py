"""Clocks of tests: the event loop's, and one that a test sets."""

from __future__ import annotations

import asyncio


def now() -> float:
    """Return the time of the running event loop in seconds."""
    return asyncio.get_running_loop().time()


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now
