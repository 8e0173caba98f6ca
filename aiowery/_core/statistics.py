"""What a client can say of itself at one moment, as frozen values."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class QueueStatistics:
    """A lane at one moment. `capacity` and `in_use` count tasks, `waiting` and `submitting` requests.

    `paused_for` is in seconds; `paused_because` says why submissions have paused by themselves, None if they have not.
    `refusals` counts the submissions that were refused because of load. `usual` is how
    many seconds a job has lately taken (a guess before the first, None without one), `next_end` how many are left
    of the oldest one under way, `cool_down` how long the lane rests after each.
    """

    capacity: int
    in_use: int
    waiting: int
    submitting: int
    paused_for: float
    refusals: int
    expected_duration: float | None = None
    next_end: float | None = None
    cool_down: float = 0.0
    cool_from: str = "end"
    pause_reason: str | None = None

    def starts_in(self, ahead: int | None = None) -> float | None:
        """Return the seconds until a request with so many `ahead` would be sent; of one that came now, by default.

        An estimate from how long jobs have taken; None while nothing is known.
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
        """Return the seconds until everything in this lane has ended, with so many more requests: an estimate."""
        last = self.waiting + requests
        if not last:
            return self.next_end if self.in_use else 0.0
        start = self.starts_in(last - 1)
        return None if start is None or self.expected_duration is None else start + self.expected_duration

    @property
    def _rest(self) -> float:
        """How long the lane rests after a task, seen from its end."""
        if self.cool_from == "start":
            return max(0.0, self.cool_down - (self.expected_duration or 0.0))
        return self.cool_down


@attrs.frozen(kw_only=True)
class PollStatistics:
    """Status checks at one moment: looks `made` and `under_way`, jobs `watched`, jobs due but not yet looked at.

    `held_for` is how many seconds the provider has asked us to rest.
    """

    made: int
    under_way: int
    tracked: int
    due: int
    paused_for: float


@attrs.frozen(kw_only=True)
class WebhookStatistics:
    """What the provider has told by itself until this moment.

    `awaited` are jobs about which it may call, `received` the calls for submissions of ours. Of the jobs that ended,
    `first` are those of which a call told, `late` those whose end a look found before any call. `safety_net` is how
    many seconds a look waits for a call at present: learned from these two.
    """

    awaited: int
    received: int
    first: int
    late: int
    fallback_interval: float


@attrs.frozen(kw_only=True)
class ClientStatistics:
    """A client at one moment: its lane, its status checks, and what became of its submissions since it opened.

    `answers` is the lane of what answers at once instead of starting a task.

    `submitted` counts submissions begun, `accepted` those with task ids, `refused` those without, `in_doubt`
    those that may have been charged without our knowing; `finished` and `failed` count jobs that ended,
    `under_way` those that have not.

    `credits` is what was charged, and the estimates of what is under way or in doubt, `money` what those have cost
    where the client knows `price_per_credit`. `webhooks` is None where the provider is not asked to call back.
    """

    queue: QueueStatistics
    direct_queue: QueueStatistics
    polls: PollStatistics
    submitted: int
    accepted: int
    refused: int
    in_doubt: int
    finished: int
    failed: int
    under_way: int
    credits: float = 0.0
    money: float | None = None
    webhooks: WebhookStatistics | None = None
