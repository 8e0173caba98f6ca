"""Learning from the jobs that have ended: when a first look is worth its request, when a lane will be free."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final

Interval = tuple[float, float]
"""A duration as far as it was seen, in seconds: longer than the first (0 if no look saw it running), no longer than the
second."""

REMEMBERED: Final = 64
"""How many jobs of a kind teach."""
# Kinds are made of callers' words, so their number must have an end.
KINDS: Final = 1000
"""Of how many kinds something is known."""
_SHORTER: Final = 0.5
_ALMOST: Final = 1e-9
_WEIGHT: Final = 0.3


class DurationEstimator:
    """The durations of the latest finished jobs of each kind, and what they say of the next one.

    `seen` is what is known of some kinds before the first job, as another process has seen it.
    """

    def __init__(self, enough: int, percentile: float, seen: Mapping[Hashable, list[Interval]] | None = None) -> None:
        self._enough = enough
        self._share = percentile / 100
        self._seen: dict[Hashable, list[Interval]] = dict(seen or {})
        self._known: dict[Hashable, float] = {}

    def observe(self, key: Hashable, interval: Interval) -> None:
        """Note how long a job took, as far as it was seen."""
        seen = [*self._seen.pop(key, ()), interval]
        self._seen[key] = seen[-REMEMBERED:]  # behind all others: the kind that was not seen for longest goes first
        self._known.pop(key, None)
        if len(self._seen) > KINDS:
            self._forget(next(iter(self._seen)))

    def first_poll(self, key: Hashable) -> float | None:
        """Return the low percentile of the durations seen, or None while too few were."""
        known = self._known.get(key)
        if known is None:
            seen = self._seen.get(key)
            if seen is not None and len(seen) >= self._enough:
                known = self._known[key] = low_quantile(seen, self._share)
        return known

    def _forget(self, key: Hashable) -> None:
        del self._seen[key]
        self._known.pop(key, None)


def low_quantile(seen: Iterable[Interval], share: float) -> float:
    """Return a moment before which no more than this share of such durations ends.

    It is Kaplan and Meier's estimate, read from its other end. A job that one look saw running and the next one done
    counts in the middle between them. One that its first look found done, and that may have ended any time before, is
    shared out among those that took less. Where that leaves too many of which nothing more is known, jobs have become
    faster than we look: then the answer is half of the earliest look.
    """
    moments = sorted(map(_wait_time, seen))
    left = 1.0
    for rank in range(len(moments), 0, -1):
        moment, late = moments[rank - 1]
        if not late:
            left *= 1.0 - 1.0 / rank
            if left < share - _ALMOST:
                return moment
    return moments[0][0] * _SHORTER


def _wait_time(interval: Interval) -> tuple[float, bool]:
    """Return where a duration counts, and whether the first look came too late to tell by how much it was less."""
    last_running, found_done = interval
    return ((last_running + found_done) / 2, False) if last_running else (found_done, True)


class WebhookFallback:
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

    def record_delivery(self) -> None:
        """Note an end of which a call told."""
        self.calls += 1
        self.seconds = min(2 * self.seconds, self._longest)

    def record_missed(self) -> None:
        """Note an end that a look found, without a call."""
        self.misses += 1
        self.seconds = max(self.seconds / 2, self._shortest)


class MovingAverage:
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
