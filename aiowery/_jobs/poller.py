"""Poll jobs from acceptance to their end: what a status means, and when to poll next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Any

from aiowery._base.snapshot import Kind, Snapshot, TaskState
from aiowery._core.durations import DurationEstimator, Interval, WebhookFallback
from aiowery._core.events import EventEmitter, JobFinished, JobUpdated, PollFailed, log
from aiowery._core.failures import retry_after
from aiowery._core.job_end import JobEnd
from aiowery._core.policies import PollPolicy, Random
from aiowery._core.request import DEFAULT, Timeout
from aiowery._core.statistics import PollStatistics
from aiowery._core.webhook_config import WebhookState
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs import job_errors
from aiowery._jobs.job import Job
from aiowery._jobs.registry import JobRegistry
from aiowery._jobs.scheduler import PollScheduler
from aiowery._jobs.status import StatusFetcher
from aiowery.errors import (
    AioweryError,
    ConfigurationError,
    JobError,
    NotFound,
    RateLimited,
    UnexpectedResponse,
)

# A tick of the wheel is this part of the minimum interval, 50 ms of 3 s: polls that are due in it share its wake-ups.
_TICKS = 60
# Polls that wait for a webhook delivery come earlier by up to this part, at random, so that jobs drift apart.
_DRIFT = 0.1
# Thirty years: without end, and more than a timer can hold.
_WITHOUT_END = 1e9


OnEnd = Callable[[Job[Any], JobEnd], None]
"""Receives each job that has ended, or whose last timeout has passed (then it is not `done`)."""


class JobPoller:
    """A poller of all jobs of one open client: it reads their statuses, decides when, and ends them.

    `on_end` lists the functions that receive each end, in order; a function that raises does not keep the next ones
    from being called.
    """

    def __init__(
        self,
        api: ProviderApi,
        policy: PollPolicy,
        registry: JobRegistry,
        durations: DurationEstimator,
        *,
        gate: asyncio.Semaphore,
        polls: int,
        events: EventEmitter,
        random: Random,
    ) -> None:
        self.on_end: list[OnEnd] = []
        self.fallback: WebhookFallback = WebhookFallback(policy.max_interval, policy.webhook_fallback)
        self._provider = api.provider
        self._fetcher = StatusFetcher(api, policy.not_found_grace)
        self._policy = policy
        self._registry = registry
        self._durations = durations
        self._events = events
        self._random = random
        self._unknown_statuses: set[str] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._scheduler: PollScheduler[Job[Any]] = PollScheduler(
            self._poll, self._expire, gate=gate, polls=polls, tick=policy.min_interval / _TICKS
        )

    def track(self, job: Job[Any], *, timeout: Timeout) -> None:
        """Poll a job until its kind's default timeout at least, longer if the given one is longer."""
        job._deadline = max(job._until(DEFAULT), job._until(timeout))
        self._registry.add(job)
        if self._closed:
            self._end(job, None, job_errors.closed_error(job))
        elif job._open_task_ids:
            self._scheduler.track(job, after=self._first_poll(job), deadline=job._deadline)
        else:
            self._settle(job)

    def ensure_polled(self, job: Job[Any]) -> None:
        """Make sure the job is polled until its latest waiter times out; resume polling if it had stopped."""
        if self._closed:
            raise job_errors.closed_error(job)
        deadline = job._next_deadline(self._loop.time())
        if deadline is None:
            return
        if job._is_tracked:
            self._scheduler.set_deadline(job, deadline)
            if job._webhook is not None:  # a poll that waits for a delivery must come before the waiter times out
                self._scheduler.poll_by(job, self._latest_poll(deadline))
        elif not job.done:
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=deadline)

    def on_webhook(self, job: Job[Any], webhook: WebhookState) -> None:
        """Poll at once, because a delivery reports that a task of this job has ended.

        Further deliveries cause no further polls. After a poll that did not confirm a delivery, the next delivery
        brings the next poll forward to the time of ordinary polling.
        """
        if job.done or self._closed:
            return
        webhook.has_delivered = True
        if not job._is_tracked:  # its last timeout had passed
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=self._loop.time() + self._policy.not_found_grace)
        if job._is_due or not (webhook.poll_requested or webhook.useless_wakeups):
            self._scheduler.poll_now(job)
        elif not webhook.poll_requested:
            self._scheduler.poll_by(job, webhook.polled_at + self._policy.max_interval)
        webhook.poll_requested = True

    def on_collected(self, job: Job[Any]) -> None:
        """Forget an ended job, because its result was received."""
        self._registry.collect(job)

    def timeout_seconds(self, kind: Kind | None, timeout: Timeout) -> float:
        """Return the seconds of a timeout for a job of this kind; infinity for None. Raises ConfigurationError."""
        if timeout is DEFAULT:
            return self._policy.timeout_for(kind)
        if timeout is None:
            return inf
        seconds: object = timeout  # whatever the annotations say, a wrong type must not fail after paying
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError(
                f"timeout must be a number of seconds >= 0, or None to wait without end, got {timeout!r}"
            )
        return float(seconds) if seconds < _WITHOUT_END else inf

    def retry_round_delay(self, rounds: int) -> float:
        """Return the pause after so many rounds of checking a doubt, in seconds: it doubles with each round."""
        return self._policy.min_interval * 2.0**rounds

    def statistics(self) -> PollStatistics:
        """Return the scheduler's figures at this moment."""
        return self._scheduler.statistics()

    async def aclose(self, jobs: tuple[Job[Any], ...]) -> None:
        """Stop polling, and end the wait for these jobs with ClientClosed."""
        self._closed = True
        await self._scheduler.aclose()
        for job in jobs:
            self._scheduler.forget(job)
            if not job.done:
                job._settle(None, job_errors.closed_error(job))

    def _first_poll(self, job: Job[Any]) -> float:
        if job.request is None or (job._webhook is not None and job._webhook.poll_requested):
            return 0.0
        delay = self._policy.first_poll_after(self._learned_delay(job), self._random)
        return max(delay, self._webhook_wait(job))

    def _next_poll(self, job: Job[Any]) -> float:
        delay = self._policy.next_poll_after(self._learned_delay(job), self._random)
        return max(delay, self._webhook_wait(job))

    def _webhook_wait(self, job: Job[Any]) -> float:
        """Return the seconds that a poll may wait because a delivery is expected; 0 if none is.

        After a delivery that polls have not confirmed yet, polls come soon, each later than the one before.
        """
        webhook, fallback = job._webhook, self.fallback.seconds
        if webhook is None or webhook.poll_requested or not webhook.awaited or fallback <= self._policy.max_interval:
            return 0.0
        seconds = fallback
        if webhook.useless_wakeups:
            seconds = min(fallback, self._policy.max_interval * 2.0 ** min(webhook.useless_wakeups - 2, 63))
        wait = seconds * (1.0 - _DRIFT * self._random())
        deadline = job._next_deadline(self._loop.time())
        return wait if deadline is None else min(wait, self._latest_poll(deadline) - self._loop.time())

    def _latest_poll(self, deadline: float) -> float:
        """Return the loop time of a poll that finds an end before the deadline, except one in its last few seconds."""
        return max(deadline - self._policy.max_interval, self._loop.time() + self._policy.max_interval)

    def _learned_delay(self, job: Job[Any]) -> float | None:
        if job.request is None or self._policy.first_poll != "learned":
            return None
        return self._durations.first_poll(job.request.timing_key)

    async def _poll(self, job: Job[Any]) -> float | None:
        """Fetch the job's statuses; return the seconds until the next poll, None when the job has ended."""
        delivered = _take_wakeup(job._webhook)
        try:
            snapshots = await self._fetcher.fetch(job)
        except AioweryError as error:
            return self._on_poll_failed(job, error)
        except Exception as fault:  # noqa: BLE001 - a failing poll must never end a job
            log.exception("a status check raised an unforeseen error; the job goes on")
            return self._on_poll_failed(job, UnexpectedResponse(f"{type(fault).__name__}: {fault}"))
        snapshots = [job._result_type.interpret(snapshot) for snapshot in snapshots]
        job._failures = 0
        before = len(job._open_task_ids)
        if log.isEnabledFor(logging.DEBUG):
            for snapshot in snapshots:
                log.debug("task %s: %s", snapshot.task_id, snapshot.raw_status, extra={"task_ids": job.task_ids})
        for snapshot in job._take(snapshots):
            self._report_change(job, snapshot)
        ended = before - len(job._open_task_ids)
        self._release_slots(job, ended)
        if job._webhook is not None:
            self._update_webhook_state(job, job._webhook, delivered=delivered, confirmed=ended > 0)
        if not job._open_task_ids:
            interval = self._observe_duration(job)
            self._learn_fallback(job)
            self._settle(job, interval)
            return None
        job._last_running = job.age
        return self._next_poll(job)

    def _on_poll_failed(self, job: Job[Any], error: AioweryError) -> float | None:
        """Return the seconds until the next poll; end the job if the provider has lost it, never for another error."""
        job._failures += 1
        # A delivery that came meanwhile waits for the next poll, like those that come from now on.
        job._poll_again = False
        if job._webhook is not None:
            job._webhook.poll_requested = job._webhook.has_delivered
        if isinstance(error, NotFound) and self._fetcher.is_lost(job):
            self._end(job, None, job_errors.lost_error(job, error))
            return None
        requested = retry_after(error)
        # A single failure does not slow polling down; a 429 without Retry-After does.
        is_slow_down = isinstance(error, RateLimited) and requested is None
        pause = self._policy.after_failures(job._failures + is_slow_down, self._random)
        if requested is not None:
            requested = min(requested, self._policy.max_backoff)
            self._scheduler.pause(requested)
            pause = max(pause, requested)
        log.log(
            logging.DEBUG if isinstance(error, NotFound) else logging.WARNING,
            "%s: a status check failed (%s); the job goes on, next check in %.1f s",
            job.label,
            error,
            pause,
            extra={"task_ids": job.task_ids, "failures": job._failures, "request_id": error.request_id},
        )
        self._events.emit(PollFailed(task_ids=job.task_ids, pause=pause, error=error))
        return pause

    def _report_change(self, job: Job[Any], snapshot: Snapshot) -> None:
        self._events.emit(JobUpdated(task_ids=job.task_ids, snapshot=snapshot))
        if snapshot.state.terminal or self._provider.is_known_status(snapshot.raw_status):
            return
        if snapshot.raw_status not in self._unknown_statuses:
            self._unknown_statuses.add(snapshot.raw_status)
            log.warning(
                "task %s: status %r is unknown; it counts as still running", snapshot.task_id, snapshot.raw_status
            )

    def _release_slots(self, job: Job[Any], tasks: int) -> None:
        """Release the slots of tasks that have ended."""
        slots = min(tasks, job._slots)
        if slots and job._ticket is not None:
            job._ticket.release(slots)

    def _observe_duration(self, job: Job[Any]) -> Interval | None:
        """Return the bounds of the job's duration, and let the estimator observe them; None if it was re-attached."""
        if job._webhook is not None and job._webhook.has_delivered:
            job._last_running = job.age  # a delivery comes at the very end, an end without one lies between two polls
        if job.request is None:
            return None
        interval = job._last_running, job.age
        self._durations.observe(job.timing_key, interval)
        return interval

    def _update_webhook_state(self, job: Job[Any], webhook: WebhookState, *, delivered: bool, confirmed: bool) -> None:
        """Record whether a poll confirmed the deliveries before it."""
        webhook.polled_at = self._loop.time()
        if confirmed:
            webhook.useless_wakeups = 0
        elif delivered or webhook.useless_wakeups:
            webhook.useless_wakeups += 1
        if delivered and not confirmed:  # another delivery in the meantime shows nothing else
            job._poll_again = False

    def _learn_fallback(self, job: Job[Any]) -> None:
        """Record whether a delivery or a poll was the first to show the end."""
        if job._webhook is None or not job._webhook.awaited:
            return
        if job._webhook.has_delivered:
            self.fallback.record_delivery()
        else:
            self.fallback.record_missed()

    def _settle(self, job: Job[Any], interval: Interval | None = None) -> None:
        """End a job whose tasks have all ended, with its result, or with the reason why there is none as an error."""
        snapshots = job.snapshots
        if all(snapshot.state is TaskState.FAILED for snapshot in snapshots):
            self._end(job, None, job_errors.failed_error(job, snapshots), interval)
            return
        result = job._result_type.from_snapshots(snapshots, seconds=job.age, request_id=job.request_id)
        if result.is_empty:
            self._end(job, None, job_errors.empty_error(job, snapshots), interval)
        else:
            self._end(job, result, None, interval)

    def _end(self, job: Job[Any], result: Any, error: JobError | None, interval: Interval | None = None) -> None:
        self._scheduler.forget(job)
        self._release_slots(job, job._slots)
        if error is None and job._ticket is not None and job.request is not None:
            job._ticket.finished()
        job._settle(result, error)
        end = _end_of(job, error, interval)
        _log_end(job, end)
        self._events.emit(
            JobFinished(
                task_ids=job.task_ids,
                label=job.label,
                seconds=end.seconds,
                last_running=job._last_running,
                timing_key=end.timing_key,
                credits=end.credits,
                error=error,
            )
        )
        self._report_end(job, end)

    def _expire(self, job: Job[Any]) -> float | None:
        """Time out the waiters of a job; return the next deadline. After the last one the job gives up its slots."""
        deadline = job._expire(self._loop.time())
        if deadline is None:
            error = job._timeout_error()
            extra = {"task_ids": job.task_ids, "last_running": job._last_running, "timing_key": job.timing_key}
            log.warning("%s", error, extra=extra)
            self._release_slots(job, job._slots)
            self._report_end(job, _end_of(job, error, None))
        return deadline

    def _report_end(self, job: Job[Any], end: JobEnd) -> None:
        for on_end in self.on_end:
            try:
                on_end(job, end)
            except Exception:  # noqa: BLE001 - the next function must receive the end too
                log.exception("%s: the end of the job could not be processed completely", job.label)


def _end_of(job: Job[Any], error: JobError | None, interval: Interval | None) -> JobEnd:
    return JobEnd(
        snapshots=job.snapshots,
        seconds=job.age,
        timing_key=job.timing_key,
        credits=job.credits,
        error=error,
        interval=interval,
    )


def _log_end(job: Job[Any], end: JobEnd) -> None:
    extra = {
        "task_ids": job.task_ids,
        "seconds": end.seconds,
        "last_running": job._last_running,
        "timing_key": end.timing_key,
        "credits": end.credits,
        "request_id": job.request_id,
    }
    if end.error is None:
        log.info("done: %s in %.1f s (%s)", job.label, end.seconds, ", ".join(job.task_ids), extra=extra)
    else:
        log.info("failed: %s after %.1f s: %s", job.label, end.seconds, end.error, extra=extra)


def _take_wakeup(webhook: WebhookState | None) -> bool:
    """Return True if a delivery requested the poll that begins now; further ones request the next poll."""
    if webhook is None:
        return False
    woken, webhook.poll_requested = webhook.poll_requested, False
    return woken
