"""A limit for messages that strangers cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_INTERVAL: Final = 60.0


class OnceAMinute:
    """A limit of one message a minute, so that forged deliveries cannot fill a log. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due_at = float("-inf")

    def is_due(self) -> bool:
        """Return True if a message may be written now; the next one may be written a minute later."""
        now = self._clock()
        if now < self._due_at:
            return False
        self._due_at = now + _INTERVAL
        return True
