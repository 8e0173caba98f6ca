"""Poll jobs from acceptance to their end: interpret each status, and decide when to poll next."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Any

from aiowery._base.loop_binding import LoopBinding
from aiowery._base.snapshot import Kind, Snapshot
from aiowery._core.durations import DurationEstimator, Interval, WebhookFallback
from aiowery._core.events import EventEmitter, JobUpdated, PollFailed, log
from aiowery._core.failures import retry_after
from aiowery._core.policies import PollPolicy, Random
from aiowery._core.request import DEFAULT, Timeout, check_timeout
from aiowery._core.statistics import PollStatistics
from aiowery._core.webhook_config import WebhookState
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs import job_errors
from aiowery._jobs.finisher import JobFinisher, OnEnd, outcome_of
from aiowery._jobs.job import Job
from aiowery._jobs.poll_times import PollTimes, take_poll_request
from aiowery._jobs.registry import JobRegistry
from aiowery._jobs.scheduler import PollScheduler
from aiowery._jobs.status import StatusFetcher
from aiowery.errors import (
    AioweryError,
    ConfigurationError,
    JobError,
    JobLost,
    NotFound,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)

# Ticks of the timer wheel per minimum interval (83 ms at 3 s): polls that are due in one tick share a timer.
_TICKS_PER_INTERVAL = 36
# Thirty years in seconds: longer timeouts count as infinite, because a timer cannot represent them.
_MAX_TIMEOUT = 1e9


class JobPoller:
    """A poller of all jobs of one open client: it fetches their statuses, schedules their polls, and ends them.

    `on_end` lists the functions that receive each end (see `JobFinisher`). `fallback` is the interval of polls for jobs
    that expect a webhook delivery.
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
        self._times = PollTimes(policy, durations, random)
        self._finisher = JobFinisher(events)
        self.on_end: list[OnEnd] = self._finisher.on_end
        self.fallback: WebhookFallback = self._times.fallback
        self._provider = api.provider
        self._fetcher = StatusFetcher(api, policy.not_found_grace)
        self._policy = policy
        self._registry = registry
        self._events = events
        self._random = random
        self._unknown_statuses: set[str] = set()
        self._closed = False
        self._binding = LoopBinding()
        self._loop = asyncio.get_running_loop()
        self._scheduler: PollScheduler[Job[Any]] = PollScheduler(
            self._poll,
            self._finisher.expire,
            gate=gate,
            polls=polls,
            tick=policy.min_interval / _TICKS_PER_INTERVAL,
            last_poll=policy.min_interval,
            wants_last_poll=lambda job: job._has_waited(policy.max_interval),
        )

    def track(self, job: Job[Any], *, timeout: Timeout) -> None:
        """Start to poll a job until its deadline: the default timeout of its kind, or `timeout` if that is longer."""
        job._deadline = max(job._deadline_for(DEFAULT), job._deadline_for(timeout))
        self._registry.add(job)
        if self._closed:
            self._end(job, None, job_errors.closed_error(job))
        elif job._open_task_ids:
            self._scheduler.track(job, after=self._times.first(job), deadline=job._deadline)
        else:
            self._end(job, *outcome_of(job))

    def ensure_polled(self, job: Job[Any]) -> None:
        """Make sure the job is polled until its latest waiter times out; resume polling if it had stopped.

        Raises ConfigurationError in another event loop than the client's, and ClientClosed.
        """
        if fault := self._binding.fault("the job's client"):
            raise ConfigurationError(fault)
        if self._closed:
            raise job_errors.closed_error(job)
        deadline = job._next_deadline(self._loop.time())
        if deadline is None:
            return
        if job._is_tracked:
            self._scheduler.set_deadline(job, deadline)
            if job._webhook is not None:  # the poll may be scheduled for after the deadline of a new waiter
                self._scheduler.poll_by(job, self._times.latest(deadline))
        elif not job.done:
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=deadline)

    def on_webhook(self, job: Job[Any], webhook: WebhookState) -> None:
        """Poll a job because a webhook delivery reports that one of its tasks has ended.

        The first delivery causes a poll immediately. A delivery that arrives during a poll causes another one after it.
        Further deliveries before that poll cause no more. If the latest poll did not confirm a delivery, a new delivery
        only brings the next poll forward to the time of polling without webhooks.
        """
        if job.done or self._closed:
            return
        webhook.has_delivered = True
        if not job._is_tracked:  # its last timeout has passed, so polling had stopped
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=self._loop.time() + self._policy.not_found_grace)
        if job._is_due or not (webhook.poll_requested or webhook.useless_wakeups):
            self._scheduler.poll_now(job)
        elif not webhook.poll_requested:
            self._scheduler.poll_by(job, webhook.polled_at + self._policy.max_interval)
        webhook.poll_requested = True

    def on_collected(self, job: Job[Any]) -> None:
        """Forget a finished job, because its result was received."""
        self._registry.collect(job)

    def timeout_seconds(self, kind: Kind | None, timeout: Timeout) -> float:
        """Return the seconds of a timeout for a job of this kind; infinity for None. Raises ConfigurationError."""
        check_timeout(timeout)  # an untyped caller may pass anything, and that must fail before the request is paid
        if timeout is DEFAULT:
            return self._policy.timeout_for(kind)
        return inf if timeout is None or timeout >= _MAX_TIMEOUT else float(timeout)

    def retry_round_delay(self, rounds: int) -> float:
        """Return the pause in seconds after so many rounds of checking a doubt; it doubles with each round."""
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

    async def _poll(self, job: Job[Any]) -> float | None:
        """Fetch the job's statuses; return the seconds until the next poll, or None if the job has finished."""
        delivered = take_poll_request(job._webhook)
        try:
            snapshots = await self._fetcher.fetch(job)
        except JobLost as lost:
            self._end(job, None, lost.with_traceback(None))  # whose frames would stay in memory
            return None
        except AioweryError as error:
            return self._on_poll_failed(job, error)
        except Exception as unforeseen:  # noqa: BLE001 - a failing poll must never end a job
            log.exception("a status check raised an unforeseen error; the job goes on", extra=job._facts())
            return self._on_poll_failed(job, UnexpectedResponse(f"{type(unforeseen).__name__}: {unforeseen}"))
        snapshots = [job._result_type.interpret(snapshot) for snapshot in snapshots]
        job._record_poll()
        open_before = len(job._open_task_ids)
        if log.isEnabledFor(logging.DEBUG):
            for snapshot in snapshots:
                log.debug("task %s: %s", snapshot.task_id, snapshot.raw_status, extra=job._facts())
        for snapshot in job._update(snapshots):
            self._report_change(job, snapshot)
        ended = open_before - len(job._open_task_ids)
        self._finisher.release_slots(job, ended)
        self._times.record_poll(job, delivered=delivered, confirmed=ended > 0)
        if not job._open_task_ids:
            self._end(job, *outcome_of(job), self._times.observe_end(job))
            return None
        job._last_running = job.age
        return self._times.next(job)

    def _on_poll_failed(self, job: Job[Any], error: AioweryError) -> float:
        """Return the seconds until the next poll."""
        job._record_failed_poll(error)
        # The pause applies to deliveries too: one that arrived during this poll requests the next one.
        job._poll_again = False
        if job._webhook is not None:
            job._webhook.poll_requested = job._webhook.has_delivered
        requested = retry_after(error)
        # A single failure does not slow polling down, but a 429 without Retry-After must.
        is_slow_down = isinstance(error, RateLimited) and requested is None
        pause = self._policy.after_failures(job._failures + is_slow_down, self._random)
        if requested is not None:
            requested = min(requested, self._policy.max_backoff)
            pause = max(pause, requested)
            if isinstance(error, (RateLimited, ServerError)):  # it concerns the other jobs too
                self._scheduler.pause(requested)
        log.log(
            logging.DEBUG if isinstance(error, NotFound) else logging.WARNING,
            "%s: a status check failed (%s); the job goes on, next check in %.1f s",
            job.label,
            error,
            pause,
            extra=job._facts(failures=job._failures, request_id=error.request_id),
        )
        self._events.emit(PollFailed(task_ids=job.task_ids, pause=pause, error=error))
        return pause

    def _report_change(self, job: Job[Any], snapshot: Snapshot) -> None:
        """Emit a changed status, and log an unknown raw status once."""
        self._events.emit(JobUpdated(task_ids=job.task_ids, snapshot=snapshot))
        if snapshot.state.terminal or self._provider.is_known_status(snapshot.raw_status):
            return
        if snapshot.raw_status not in self._unknown_statuses:
            self._unknown_statuses.add(snapshot.raw_status)
            log.warning(
                "task %s: status %r is unknown; it counts as still running",
                snapshot.task_id,
                snapshot.raw_status,
                extra=job._facts(),
            )

    def _end(self, job: Job[Any], result: Any, error: JobError | None, interval: Interval | None = None) -> None:
        """Stop polling a job, and end it."""
        self._scheduler.forget(job)
        self._finisher.end(job, result, error, interval)
