"""The statistics of an open client at one moment, as frozen values."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class QueueStatistics:
    """The state of a queue at one moment."""

    capacity: int
    """The number of tasks that may be under way now. It is below `Limits.in_flight` after the provider
    rejected a submission because of too many concurrent tasks."""
    in_use: int
    """The number of slots that tasks and submissions occupy."""
    waiting: int
    """The number of requests that wait."""
    submitting: int
    """The number of requests that are being sent."""
    paused_for: float
    """The seconds until the next submission may be sent; 0 if there is no pause."""
    refusals: int
    """The number of submissions that were rejected because of load."""
    expected_duration: float | None = None
    """The average seconds of the latest jobs; `Limits.expected_duration` before the first, which may be None."""
    next_end: float | None = None
    """The estimated seconds until the oldest job under way is finished; None if there is none, or no estimate."""
    cool_down: float = 0.0
    """The seconds for which the queue pauses after each task (`Limits.cool_down`)."""
    cool_from: str = "end"
    """The moment from which `cool_down` counts: `"end"` or `"start"` of a task."""
    pause_reason: str | None = None
    """Why the circuit breaker paused submissions; None if it did not."""

    def starts_in(self, ahead: int | None = None) -> float | None:
        """Return the estimated seconds until a request with `ahead` requests before it is sent.

        By default `ahead` is `waiting`, as for a new request. Return None while no duration is known.
        """
        ahead = self.waiting if ahead is None else ahead
        free = self.capacity - self.in_use
        if ahead < free:
            return self.paused_for
        if self.expected_duration is None:
            return None
        first_end = self.paused_for + self.expected_duration if self.next_end is None else self.next_end
        rounds = (ahead - free) // self.capacity
        return max(self.paused_for, first_end + self._rest) + rounds * (self.expected_duration + self._rest)

    def ends_in(self, requests: int = 0) -> float | None:
        """Return the estimated seconds until all jobs of this queue, and some more `requests`, are finished.

        Return None while no duration is known.
        """
        last = self.waiting + requests
        if not last:
            return self.next_end if self.in_use else 0.0
        start = self.starts_in(last - 1)
        return None if start is None or self.expected_duration is None else start + self.expected_duration

    @property
    def _rest(self) -> float:
        """The seconds for which the queue pauses after the end of a task."""
        if self.cool_from == "start":
            return max(0.0, self.cool_down - (self.expected_duration or 0.0))
        return self.cool_down


@attrs.frozen(kw_only=True)
class PollStatistics:
    """The status checks of a client at one moment."""

    made: int
    """The number of polls that were started since the client opened."""
    under_way: int
    """The number of polls without a response yet."""
    tracked: int
    """The number of jobs that are polled."""
    due: int
    """The number of jobs whose next poll is due but not started."""
    paused_for: float
    """The seconds for which the provider asked the client not to poll; 0 if there is no pause."""


@attrs.frozen(kw_only=True)
class WebhookStatistics:
    """The webhook deliveries of a client at one moment."""

    awaited: int
    """The number of jobs for which a delivery is expected."""
    received: int
    """The number of deliveries for submissions of this client."""
    first: int
    """The number of finished jobs whose end a delivery reported before a poll found it."""
    late: int
    """The number of finished jobs whose end a poll found before any delivery."""
    fallback_interval: float
    """The seconds that a poll waits for a delivery at present. `first` and `late` determine it (`PollPolicy`)."""


@attrs.frozen(kw_only=True)
class ClientStatistics:
    """The state of a client at one moment; counts start when it opens."""

    queue: QueueStatistics
    """The queue of requests that start tasks."""
    direct_queue: QueueStatistics
    """The queue of requests that the provider answers with the result instead of a task (`Limits.direct_calls`)."""
    polls: PollStatistics
    """The status checks."""
    submitted: int
    """The number of submissions that were begun."""
    accepted: int
    """The number of submissions with task ids."""
    refused: int
    """The number of submissions that ended without task ids and without doubt."""
    in_doubt: int
    """The number of submissions that may have been charged without a clear answer."""
    finished: int
    """The number of jobs with a result."""
    failed: int
    """The number of jobs with an error."""
    under_way: int
    """The number of jobs that are not finished."""
    credits: float = 0.0
    """The credits that were charged, plus the estimates for submissions that are under way or in doubt."""
    money: float | None = None
    """The price of `credits`; None if the client has no `price_per_credit`."""
    webhooks: WebhookStatistics | None = None
    """The webhook deliveries; None if the client uses no webhooks."""
