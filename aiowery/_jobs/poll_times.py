"""The times of a job's polls: learned durations, the wait for webhook deliveries, and what each poll teaches."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiowery._core.durations import DurationEstimator, Interval, WebhookFallback
from aiowery._core.policies import PollPolicy, Random
from aiowery._core.webhook_config import WebhookState
from aiowery._jobs.job import Job

# Polls that wait for a webhook delivery come earlier by a random part up to this, so that jobs are not polled together.
_WEBHOOK_JITTER: Final = 0.1


class PollTimes:
    """A calculator of when to poll each job, which learns durations and whether webhook deliveries arrive.

    All results are in seconds; `latest` returns a time of the event loop.
    """

    def __init__(self, policy: PollPolicy, durations: DurationEstimator, random: Random) -> None:
        self.fallback: WebhookFallback = WebhookFallback(policy.max_interval, policy.webhook_fallback)
        self._policy = policy
        self._durations = durations
        self._random = random
        self._loop = asyncio.get_running_loop()

    def first(self, job: Job[Any]) -> float:
        """Return the seconds until the first poll; 0 for a re-attached job, and after an early delivery."""
        if job.request is None or (job._webhook is not None and job._webhook.poll_requested):
            return 0.0
        delay = self._policy.first_poll_after(self._learned_delay(job), self._random)
        return max(delay, self._webhook_wait(job))

    def next(self, job: Job[Any]) -> float:
        """Return the seconds until the next poll after a successful one."""
        delay = self._policy.next_poll_after(self._learned_delay(job), self._random)
        return max(delay, self._webhook_wait(job))

    def _webhook_wait(self, job: Job[Any]) -> float:
        """Return the seconds that a poll may wait because a webhook delivery is expected; 0 means poll as usual.

        - The result is 0 without a webhook, if a delivery has requested a poll, or if the learned fallback interval is
          no longer than ordinary polling.
        - Otherwise the poll may wait for the fallback interval, less up to 10 % at random.
        - After a delivery that no poll has confirmed, the wait begins short and doubles with each such poll, up to the
          fallback interval: the end that the delivery reported may become visible soon.
        - The wait ends before the next deadline, if that is not too near, so that a missed delivery does not cause a
          timeout.
        """
        webhook, fallback = job._webhook, self.fallback.seconds
        if webhook is None or webhook.poll_requested or not webhook.awaited or fallback <= self._policy.max_interval:
            return 0.0
        interval = fallback
        if webhook.useless_wakeups:
            interval = min(fallback, self._policy.max_interval * 2.0 ** min(webhook.useless_wakeups - 2, 63))
        wait = interval * (1.0 - _WEBHOOK_JITTER * self._random())
        deadline = job._next_deadline(self._loop.time())
        return wait if deadline is None else min(wait, self.latest(deadline) - self._loop.time())

    def latest(self, deadline: float) -> float:
        """Return the latest loop time of a poll before a deadline, which is `max_interval` before it.

        It is never sooner than `max_interval` from now. An end after it is found by the poll at the deadline.
        """
        return max(deadline - self._policy.max_interval, self._loop.time() + self._policy.max_interval)

    def _learned_delay(self, job: Job[Any]) -> float | None:
        """Return the seconds in which few jobs of this kind finish; None if unknown or not wanted."""
        if job.request is None or self._policy.first_poll != "learned":
            return None
        return self._durations.first_poll(job.timing_key)

    def observe_end(self, job: Job[Any]) -> Interval | None:
        """Learn from the end of a job; return the bounds of its duration, None if it was re-attached."""
        self._learn_fallback(job)
        if job._webhook is not None and job._webhook.has_delivered:
            job._last_running = job.age  # a delivery arrives at the end itself
        if job.request is None:
            return None
        interval = job._last_running, job.age
        self._durations.observe(job.timing_key, interval)
        return interval

    def record_poll(self, job: Job[Any], *, delivered: bool, confirmed: bool) -> None:
        """Count the polls in a row since a delivery that no poll has confirmed.

        `delivered`: a delivery requested this poll. `confirmed`: the poll found a task that has ended. A poll that
        confirms a delivery resets the count. After one that does not, a delivery that arrived during the poll causes no
        further poll immediately, because it probably reports the same.
        """
        webhook = job._webhook
        if webhook is None:
            return
        webhook.polled_at = self._loop.time()
        if confirmed:
            webhook.useless_wakeups = 0
        elif delivered or webhook.useless_wakeups:
            webhook.useless_wakeups += 1
        if delivered and not confirmed:
            job._poll_again = False

    def _learn_fallback(self, job: Job[Any]) -> None:
        """Adapt the fallback interval: longer if a delivery reported the end, shorter if only a poll found it."""
        if job._webhook is None or not job._webhook.awaited:
            return
        if job._webhook.has_delivered:
            self.fallback.record_delivery()
        else:
            self.fallback.record_missed()


def take_poll_request(webhook: WebhookState | None) -> bool:
    """Return True if a delivery requested the poll that begins now; later deliveries request the next one."""
    if webhook is None:
        return False
    requested, webhook.poll_requested = webhook.poll_requested, False
    return requested
