"""Learning from the jobs that have ended: when a first look is worth its request, when a lane will be free."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import ceil
from typing import Final

_REMEMBERED: Final = 64
# Kinds are made of callers' words, so their number must have an end.
_KINDS: Final = 1000
_PERCENTILE: Final = 0.05
_DECAY: Final = 0.9
_WEIGHT: Final = 0.3


class Durations:
    """The durations of the latest finished jobs of each kind, and what they say of the next one."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._seen: dict[Hashable, deque[float]] = {}
        self._known: dict[Hashable, float] = {}

    def observe(self, key: Hashable, last_running: float, found_done: float) -> None:
        """Note a job that was still running at one look and done at the next (seconds from acceptance).

        A job found done at its very first look (`last_running` is 0) only proves that it took no longer. It
        counts as a tenth shorter, so that an estimate that has become too late comes down again.
        """
        seen = self._seen.setdefault(key, deque(maxlen=_REMEMBERED))
        seen.append((last_running + found_done) / 2 if last_running else found_done * _DECAY)
        if len(seen) >= self._enough:
            self._known[key] = sorted(seen)[ceil(len(seen) * _PERCENTILE) - 1]
        if len(self._seen) > _KINDS:
            self._forget(next(iter(self._seen)))

    def first_look(self, key: Hashable) -> float | None:
        """Return the 5th percentile of the durations seen, or None while too few were."""
        return self._known.get(key)

    def _forget(self, key: Hashable) -> None:
        del self._seen[key]
        self._known.pop(key, None)


class SafetyNet:
    """How many seconds a look may wait for the provider's call, learned from which of the two comes first.

    It begins at a quarter of the `longest`, until a first call has come. Each end that a call told of doubles it; each
    that a look found by itself halves it, so that four of these in a row bring an unhindered net from 60 s back to
    where ordinary looks are.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = min(shortest, longest)
        self._longest = longest
        self.seconds: float = max(self._shortest, longest / 4)
        self.calls: int = 0
        self.misses: int = 0

    def called(self) -> None:
        """Note an end of which a call told."""
        self.calls += 1
        self.seconds = min(2 * self.seconds, self._longest)

    def missed(self) -> None:
        """Note an end that a look found, without a call."""
        self.misses += 1
        self.seconds = max(self.seconds / 2, self._shortest)


class Usual:
    """A running mean that leans towards what was seen last; `seconds` is a guess, or None, until then."""

    def __init__(self, guess: float | None) -> None:
        self.seconds = guess
        self._guessed = True

    def observe(self, seconds: float) -> None:
        """Note a duration."""
        if self._guessed or self.seconds is None:
            self.seconds, self._guessed = seconds, False
        else:
            self.seconds += _WEIGHT * (seconds - self.seconds)
