"""Estimate durations from finished jobs: when to poll first, and when the queue will have a free slot."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final

Interval = tuple[float, float]
"""The bounds of a duration, in seconds. It is longer than the first number and at most the second. The first is 0 if no
poll found the job running."""

REMEMBERED: Final = 64
"""The number of latest jobs of a kind from which durations are estimated."""
# Kinds contain values from callers, so their number must be bounded.
KINDS: Final = 1000
"""The largest number of kinds whose durations are kept."""
_FASTER_THAN_POLLS: Final = 0.5
_EPSILON: Final = 1e-9
_WEIGHT: Final = 0.3


class DurationEstimator:
    """An estimator of the next job's duration, from the latest finished jobs of the same kind.

    An estimate needs at least `min_samples` jobs. `seen` holds the durations that are known before the first job, for
    example from another process.
    """

    def __init__(
        self, min_samples: int, percentile: float, seen: Mapping[Hashable, list[Interval]] | None = None
    ) -> None:
        self._min_samples = min_samples
        self._share = percentile / 100
        self._seen: dict[Hashable, list[Interval]] = dict(seen or {})
        self._known: dict[Hashable, float] = {}

    def observe(self, key: Hashable, interval: Interval) -> None:
        """Add the bounds of a finished job's duration."""
        seen = [*self._seen.pop(key, ()), interval]
        self._seen[key] = seen[-REMEMBERED:]  # moved to the end: the least recently used kind is forgotten first
        self._known.pop(key, None)
        if len(self._seen) > KINDS:
            self._forget(next(iter(self._seen)))

    def first_poll(self, key: Hashable) -> float | None:
        """Return the low percentile of the durations in seconds; None while there are too few."""
        known = self._known.get(key)
        if known is None:
            seen = self._seen.get(key)
            if seen is not None and len(seen) >= self._min_samples:
                known = self._known[key] = low_quantile(seen, self._share)
        return known

    def _forget(self, key: Hashable) -> None:
        del self._seen[key]
        self._known.pop(key, None)


def low_quantile(seen: Iterable[Interval], share: float) -> float:
    """Return the seconds before which at most this share of such durations ends.

    It is the Kaplan-Meier estimator for left-censored data. A job that one poll found running and the next one finished
    counts in the middle between the two. A job that its first poll found finished may have ended at any time before.
    Its weight goes to the shorter durations. If too few exact durations are left, jobs end faster than they are polled:
    then the result is half the time of the earliest poll.
    """
    durations = sorted(map(_midpoint, seen))
    remaining = 1.0
    for rank in range(len(durations), 0, -1):
        seconds, is_upper_bound = durations[rank - 1]
        if not is_upper_bound:
            remaining *= 1.0 - 1.0 / rank
            if remaining < share - _EPSILON:
                return seconds
    return durations[0][0] * _FASTER_THAN_POLLS


def _midpoint(interval: Interval) -> tuple[float, bool]:
    """Return the seconds that stand for a duration, and True if they are only an upper bound."""
    last_running, found_finished = interval
    return ((last_running + found_finished) / 2, False) if last_running else (found_finished, True)


class WebhookFallback:
    """The adaptive interval of fallback polls, in seconds, for jobs whose webhook delivery is expected.

    It starts at a quarter of `max_seconds`. Each job end that a delivery reports first doubles it, and each that a poll
    finds first halves it. So four missed deliveries in a row bring it from 60 s back to the usual interval.
    """

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_seconds = min(min_seconds, max_seconds)
        self._max_seconds = max_seconds
        self.seconds: float = max(self._min_seconds, max_seconds / 4)
        self.delivered: int = 0
        """The number of job ends that a webhook delivery reported before a poll."""
        self.misses: int = 0
        """The number of job ends that a poll found before a webhook delivery."""
        self.misses_in_row: int = 0
        """The number of these since the last job end that a webhook delivery reported."""

    def record_delivery(self) -> None:
        """Count a job end that a delivery reported first, and double the interval."""
        self.delivered += 1
        self.misses_in_row = 0
        self.seconds = min(2 * self.seconds, self._max_seconds)

    def record_missed(self) -> None:
        """Count a job end that a poll found first, and halve the interval."""
        self.misses += 1
        self.misses_in_row += 1
        self.seconds = max(self.seconds / 2, self._min_seconds)


class MovingAverage:
    """A moving average that favors the latest durations; until the first one, `seconds` is the guess or None."""

    def __init__(self, guess: float | None) -> None:
        self.seconds = guess
        self._guessed = True

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        if self._guessed or self.seconds is None:
            self.seconds, self._guessed = seconds, False
        else:
            self.seconds += _WEIGHT * (seconds - self.seconds)
