"""Looking after jobs from acceptance to their end: what an answer means, and when to ask again."""

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

# A tick of the wheel is this part of the shortest interval, 50 ms of 3 s: what is due in it shares its wake-ups.
_TICKS = 60
# Looks that wait for a call come by this part earlier, at random, so that jobs drift apart.
_DRIFT = 0.1
# Thirty years: nobody's patience, and more than a timer can hold.
_WITHOUT_END = 1e9


OnEnd = Callable[[Job[Any], JobEnd], None]
"""Receives each job that has ended, or that nobody waits for any more after its timeout (then it is not `done`)."""


class JobPoller:
    """A poller of all jobs of one open client: it asks for their statuses, decides when, and ends them.

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
        """Look after a job: until its kind's usual deadline at least, longer if the caller is more patient."""
        job._deadline = max(job._until(DEFAULT), job._until(timeout))
        self._registry.add(job)
        if self._closed:
            self._end(job, None, job_errors.closed(job))
        elif job._open_task_ids:
            self._scheduler.track(job, after=self._first_poll(job), deadline=job._deadline)
        else:
            self._settle(job)

    def ensure_polled(self, job: Job[Any]) -> None:
        """See that the job is looked at until its last waiter's deadline, anew if nobody looked any more."""
        if self._closed:
            raise job_errors.closed(job)
        deadline = job._next_deadline(self._loop.time())
        if deadline is None:
            return
        if job._is_tracked:
            self._scheduler.set_deadline(job, deadline)
            if job._webhook is not None:  # looks that wait for a call must not outwait who waits for the result
                self._scheduler.poll_by(job, self._latest_poll(deadline))
        elif not job.done:
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=deadline)

    def on_webhook(self, job: Job[Any], line: WebhookState) -> None:
        """The provider says that a task of this job has ended: look at once, and not again for every further call.

        After a look that could not confirm it, calls bring the next one forward, to where ordinary polling would be.
        """
        if job.done or self._closed:
            return
        line.has_delivered = True
        if not job._is_tracked:  # our patience had ended
            self._registry.add(job)
            self._scheduler.track(job, after=0.0, deadline=self._loop.time() + self._policy.not_found_grace)
        if job._is_due or not (line.woken or line.useless_wakeups):
            self._scheduler.poll_now(job)
        elif not line.woken:
            self._scheduler.poll_by(job, line.polled_at + self._policy.max_interval)
        line.woken = True

    def on_collected(self, job: Job[Any]) -> None:
        """Note that somebody has received the job's end."""
        self._registry.collect(job)

    def timeout_seconds(self, kind: Kind | None, timeout: Timeout) -> float:
        """Return the seconds that this deadline means for such a job; infinity for none."""
        if timeout is DEFAULT:
            return self._policy.timeout_for(kind)
        if timeout is None:
            return inf
        seconds: object = timeout  # whatever the annotations say, a wrong type must not fail after paying
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError(f"deadline is {timeout!r}; give seconds, or None to wait without end")
        return float(seconds) if seconds < _WITHOUT_END else inf

    def retry_round_delay(self, rounds: int) -> float:
        """Return the pause after so many rounds of asking about what is in doubt: each twice the one before it."""
        return self._policy.min_interval * 2.0**rounds

    def statistics(self) -> PollStatistics:
        """Return the scheduler's figures at this moment."""
        return self._scheduler.statistics()

    async def aclose(self, jobs: tuple[Job[Any], ...]) -> None:
        """Stop looking, and tell everybody who still waits for one of these jobs."""
        self._closed = True
        await self._scheduler.aclose()
        for job in jobs:
            self._scheduler.forget(job)
            if not job.done:
                job._settle(None, job_errors.closed(job))

    def _first_poll(self, job: Job[Any]) -> float:
        if job.request is None or (job._webhook is not None and job._webhook.woken):
            return 0.0
        usual = self._policy.first_poll_after(self._learned_delay(job), self._random)
        return max(usual, self._webhook_wait(job))

    def _next_poll(self, job: Job[Any]) -> float:
        usual = self._policy.next_poll_after(self._learned_delay(job), self._random)
        return max(usual, self._webhook_wait(job))

    def _webhook_wait(self, job: Job[Any]) -> float:
        """Return how long a look may wait because the provider is to call: not at all if that is not known.

        A call that looks do not confirm (yet) makes the next ones come soon, each later than the one before.
        """
        line = job._webhook
        if line is None or line.woken or not line.awaited or self.fallback.seconds <= self._policy.max_interval:
            return 0.0
        seconds = (
            self.fallback.seconds
            if not line.useless_wakeups
            else self._policy.max_interval * 2.0 ** min(line.useless_wakeups - 2, 63)
        )
        caught = min(seconds, self.fallback.seconds) * (1.0 - _DRIFT * self._random())
        deadline = job._next_deadline(self._loop.time())
        return caught if deadline is None else min(caught, self._latest_poll(deadline) - self._loop.time())

    def _latest_poll(self, deadline: float) -> float:
        """Return when a look finds in time what ends before a deadline, but for its last few seconds."""
        return max(deadline - self._policy.max_interval, self._loop.time() + self._policy.max_interval)

    def _learned_delay(self, job: Job[Any]) -> float | None:
        if job.request is None or self._policy.first_poll != "learned":
            return None
        return self._durations.first_poll(job.request.timing_key)

    async def _poll(self, job: Job[Any]) -> float | None:
        """Ask about the job; return the seconds until the next look, None when it has ended."""
        called = _take_wakeup(job._webhook)
        try:
            snapshots = await self._fetcher.fetch(job)
        except AioweryError as error:
            return self._on_poll_failed(job, error)
        except Exception as fault:  # noqa: BLE001 - a failing look must never end a job
            log.exception("a status check raised what nobody foresaw; the job goes on")
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
            self._update_webhook_state(job, job._webhook, called=called, confirmed=ended > 0)
        if not job._open_task_ids:
            interval = self._observe_duration(job)
            self._learn_fallback(job)
            self._settle(job, interval)
            return None
        job._last_running = job.age
        return self._next_poll(job)

    def _on_poll_failed(self, job: Job[Any], error: AioweryError) -> float | None:
        """A look failed: never the job's end, unless the provider has lost it."""
        job._failures += 1
        job._poll_again = (
            False  # a call that came meanwhile waits for the next look, as those do that come from here on
        )
        if job._webhook is not None:
            job._webhook.woken = job._webhook.has_delivered
        if isinstance(error, NotFound) and self._fetcher.is_lost(job):
            self._end(job, None, job_errors.lost(job, error))
            return None
        asked = retry_after(error)
        # One failure says nothing; being told to ask less, without a number, does.
        told_off = isinstance(error, RateLimited) and asked is None
        pause = self._policy.after_failures(job._failures + told_off, self._random)
        if asked is not None:
            asked = min(asked, self._policy.max_backoff)
            self._scheduler.pause(asked)
            pause = max(pause, asked)
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
        """Give back the places of tasks that have ended."""
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

    def _update_webhook_state(self, job: Job[Any], line: WebhookState, *, called: bool, confirmed: bool) -> None:
        """Note what a look has made of the calls before it."""
        line.polled_at = self._loop.time()
        if confirmed:
            line.useless_wakeups = 0
        elif called or line.useless_wakeups:
            line.useless_wakeups += 1
        if called and not confirmed:  # another call in the meantime knows no better
            job._poll_again = False

    def _learn_fallback(self, job: Job[Any]) -> None:
        """Learn whether a call or a look was first to tell of the end."""
        if job._webhook is None or not job._webhook.awaited:
            return
        if job._webhook.has_delivered:
            self.fallback.record_delivery()
        else:
            self.fallback.record_missed()

    def _settle(self, job: Job[Any], interval: Interval | None = None) -> None:
        """End a job whose tasks have all ended, with its result or with the error that says why there is none."""
        snapshots = job.snapshots
        if all(snapshot.state is TaskState.FAILED for snapshot in snapshots):
            self._end(job, None, job_errors.failed(job, snapshots), interval)
            return
        result = job._result_type.from_snapshots(snapshots, seconds=job.age, request_id=job.request_id)
        if result.is_empty:
            self._end(job, None, job_errors.empty(job, snapshots), interval)
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


def _take_wakeup(line: WebhookState | None) -> bool:
    """Return whether a call asked for the look that begins now; from here on further ones ask for the next."""
    if line is None:
        return False
    woken, line.woken = line.woken, False
    return woken
