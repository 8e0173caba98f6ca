"""Poll jobs from acceptance to their end: interpret each status, and decide when to poll next."""

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

# Ticks of the timer wheel per minimum interval (50 ms at 3 s): polls that are due in one tick share a timer.
_TICKS_PER_INTERVAL = 60
# Polls that wait for a webhook delivery come earlier by a random part up to this, so that jobs are not polled together.
_WEBHOOK_JITTER = 0.1
# Thirty years in seconds: longer timeouts count as infinite, because a timer cannot represent them.
_MAX_TIMEOUT = 1e9


OnEnd = Callable[[Job[Any], JobEnd], None]
"""A function that receives each job that has finished, or whose last timeout has passed (then it is not `done`)."""


class JobPoller:
    """A poller of all jobs of one open client: it fetches their statuses, schedules their polls, and ends them.

    `on_end` lists the functions that receive each end, in order. If one of them raises, the next ones are called all
    the same.
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
            self._poll, self._expire, gate=gate, polls=polls, tick=policy.min_interval / _TICKS_PER_INTERVAL
        )

    def track(self, job: Job[Any], *, timeout: Timeout) -> None:
        """Start to poll a job until its deadline: the default timeout of its kind, or `timeout` if that is longer."""
        job._deadline = max(job._deadline_for(DEFAULT), job._deadline_for(timeout))
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
            if job._webhook is not None:  # the poll may be scheduled for after the deadline of a new waiter
                self._scheduler.poll_by(job, self._latest_poll(deadline))
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
        if timeout is DEFAULT:
            return self._policy.timeout_for(kind)
        if timeout is None:
            return inf
        seconds: object = timeout  # an untyped caller may pass anything, and that must fail before the request is paid
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError(
                f"timeout must be a number of seconds >= 0, or None to wait without end, got {timeout!r}"
            )
        return float(seconds) if seconds < _MAX_TIMEOUT else inf

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

    def _first_poll(self, job: Job[Any]) -> float:
        """Return the seconds until the first poll; 0 for a re-attached job, and after an early delivery."""
        if job.request is None or (job._webhook is not None and job._webhook.poll_requested):
            return 0.0
        delay = self._policy.first_poll_after(self._learned_delay(job), self._random)
        return max(delay, self._webhook_wait(job))

    def _next_poll(self, job: Job[Any]) -> float:
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
        return wait if deadline is None else min(wait, self._latest_poll(deadline) - self._loop.time())

    def _latest_poll(self, deadline: float) -> float:
        """Return the latest loop time of a poll before a deadline, which is `max_interval` before it.

        It is never sooner than `max_interval` from now. So an end in the last seconds before the deadline may be
        missed.
        """
        return max(deadline - self._policy.max_interval, self._loop.time() + self._policy.max_interval)

    def _learned_delay(self, job: Job[Any]) -> float | None:
        """Return the seconds in which few jobs of this kind finish; None if unknown or not wanted."""
        if job.request is None or self._policy.first_poll != "learned":
            return None
        return self._durations.first_poll(job.request.timing_key)

    async def _poll(self, job: Job[Any]) -> float | None:
        """Fetch the job's statuses; return the seconds until the next poll, or None if the job has finished."""
        delivered = _take_poll_request(job._webhook)
        try:
            snapshots = await self._fetcher.fetch(job)
        except AioweryError as error:
            return self._on_poll_failed(job, error)
        except Exception as unforeseen:  # noqa: BLE001 - a failing poll must never end a job
            log.exception("a status check raised an unforeseen error; the job goes on")
            return self._on_poll_failed(job, UnexpectedResponse(f"{type(unforeseen).__name__}: {unforeseen}"))
        snapshots = [job._result_type.interpret(snapshot) for snapshot in snapshots]
        job._failures = 0
        open_before = len(job._open_task_ids)
        if log.isEnabledFor(logging.DEBUG):
            for snapshot in snapshots:
                log.debug("task %s: %s", snapshot.task_id, snapshot.raw_status, extra={"task_ids": job.task_ids})
        for snapshot in job._update(snapshots):
            self._report_change(job, snapshot)
        ended = open_before - len(job._open_task_ids)
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
        """Return the seconds until the next poll. Only if the provider has lost the job, end it and return None."""
        job._failures += 1
        # The pause applies to deliveries too: one that arrived during this poll requests the next one.
        job._poll_again = False
        if job._webhook is not None:
            job._webhook.poll_requested = job._webhook.has_delivered
        if isinstance(error, NotFound) and self._fetcher.is_lost(job):
            self._end(job, None, job_errors.lost_error(job, error))
            return None
        requested = retry_after(error)
        # A single failure does not slow polling down, but a 429 without Retry-After must.
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
        """Emit a changed status, and log an unknown raw status once."""
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
        """Record the bounds of the job's duration and return them; None if it was re-attached."""
        if job._webhook is not None and job._webhook.has_delivered:
            job._last_running = job.age  # a delivery arrives at the end itself
        if job.request is None:
            return None
        interval = job._last_running, job.age
        self._durations.observe(job.timing_key, interval)
        return interval

    def _update_webhook_state(self, job: Job[Any], webhook: WebhookState, *, delivered: bool, confirmed: bool) -> None:
        """Count the polls in a row since a delivery that no poll has confirmed.

        `delivered`: a delivery requested this poll. `confirmed`: the poll found a task that has ended. A poll that
        confirms a delivery resets the count. After one that does not, a delivery that arrived during the poll causes no
        further poll immediately, because it probably reports the same.
        """
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

    def _settle(self, job: Job[Any], interval: Interval | None = None) -> None:
        """End a job whose tasks have all ended, with its result, or with an error if there is none."""
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
        """End a job: stop polling, release its slots, wake its waiters, and report the end."""
        self._scheduler.forget(job)
        self._release_slots(job, job._slots)
        if error is None and job._ticket is not None and job.request is not None:
            job._ticket.record_finished()
        job._settle(result, error)
        end = _job_end(job, error, interval)
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
        """Time out the waiters of a job; return the next deadline. after the last one, release its slots."""
        deadline = job._expire(self._loop.time())
        if deadline is None:
            error = job._timeout_error()
            extra = {"task_ids": job.task_ids, "last_running": job._last_running, "timing_key": job.timing_key}
            log.warning("%s", error, extra=extra)
            self._release_slots(job, job._slots)
            self._report_end(job, _job_end(job, error, None))
        return deadline

    def _report_end(self, job: Job[Any], end: JobEnd) -> None:
        """Pass an end to all functions of `on_end`."""
        for on_end in self.on_end:
            try:
                on_end(job, end)
            except Exception:  # noqa: BLE001 - the next function must receive the end too
                log.exception("%s: the end of the job could not be processed completely", job.label)


def _job_end(job: Job[Any], error: JobError | None, interval: Interval | None) -> JobEnd:
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


def _take_poll_request(webhook: WebhookState | None) -> bool:
    """Return True if a delivery requested the poll that begins now; later deliveries request the next one."""
    if webhook is None:
        return False
    requested, webhook.poll_requested = webhook.poll_requested, False
    return requested
