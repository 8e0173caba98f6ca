"""The end of a job: its result or error, its slots, its waiters, and the functions that receive the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiowery._base.snapshot import TaskState
from aiowery._core.durations import Interval
from aiowery._core.events import EventEmitter, JobFinished, log
from aiowery._core.job_end import JobEnd
from aiowery._jobs import job_errors
from aiowery._jobs.job import Job
from aiowery.errors import JobError

OnEnd = Callable[[Job[Any], JobEnd], None]
"""A function that receives each job that has finished, or whose last timeout has passed (then it is not `done`)."""


class JobFinisher:
    """A finisher of jobs: it releases slots, wakes waiters and reports each end.

    `on_end` lists the functions that receive each end, in order. If one of them raises, the next ones are called all
    the same.
    """

    def __init__(self, events: EventEmitter) -> None:
        self.on_end: list[OnEnd] = []
        self._events = events

    def end(self, job: Job[Any], result: Any, error: JobError | None, interval: Interval | None) -> None:
        """End a job: release its slots, wake its waiters, and report the end."""
        self.release_slots(job, job._slots)
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

    def release_slots(self, job: Job[Any], tasks: int) -> None:
        """Release the slots of tasks that have ended."""
        slots = min(tasks, job._slots)
        if slots and job._ticket is not None:
            job._ticket.release(slots)

    def expire(self, job: Job[Any]) -> float | None:
        """Time out the waiters of a job; return the next deadline, None after the last one (slots released)."""
        deadline = job._expire(asyncio.get_running_loop().time())
        if deadline is None:
            error = job._timeout_error()
            extra = job._facts(last_running=job._last_running, timing_key=job.timing_key)
            log.warning("%s", error, extra=extra)
            self.release_slots(job, job._slots)
            self._report_end(job, _job_end(job, error, None))
        return deadline

    def _report_end(self, job: Job[Any], end: JobEnd) -> None:
        """Pass an end to all functions of `on_end`."""
        for on_end in self.on_end:
            try:
                on_end(job, end)
            except Exception:  # noqa: BLE001 - the next function must receive the end too
                log.exception("%s: the end of the job could not be processed completely", job.label, extra=job._facts())


def outcome_of(job: Job[Any]) -> tuple[Any, JobError | None]:
    """Return the result of a job whose tasks have all ended, or the error if there is none."""
    snapshots = job.snapshots
    if all(one.state is TaskState.FAILED and not one.assets for one in snapshots):  # a failure's outputs are paid for
        return None, job_errors.failed_error(job, snapshots)
    result = job._result_type.from_snapshots(snapshots, seconds=job.age, request_id=job.request_id)
    return (None, job_errors.empty_error(job, snapshots)) if result.is_empty else (result, None)


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
    extra = job._facts(
        seconds=end.seconds, last_running=job._last_running, timing_key=end.timing_key, credits=end.credits
    )
    if end.error is None:
        log.info("done: %s in %.1f s (%s)", job.label, end.seconds, ", ".join(job.task_ids), extra=extra)
    else:  # the error's message begins with the label
        log.info("failed after %.1f s: %s", end.seconds, end.error, extra=extra)
