"""Errors of jobs without a result; each message contains what to do."""

from __future__ import annotations

from typing import Any

from aiowery._base.snapshot import Snapshot
from aiowery._jobs.job import Job
from aiowery.errors import APIError, ClientClosed, EmptyResult, JobFailed, JobLost


def failed_error(job: Job[Any], snapshots: tuple[Snapshot, ...]) -> JobFailed:
    """Return the error of a job whose tasks have all failed."""
    reasons = dict.fromkeys(snapshot.reason or "no reason given" for snapshot in snapshots)
    return JobFailed(
        f"{job.label}: {'; '.join(reasons)} (task ids {', '.join(job.task_ids)}); change the request before"
        " you submit it again",
        task_ids=job.task_ids,
        snapshots=snapshots,
        request_id=job.request_id,
    )


def empty_error(job: Job[Any], snapshots: tuple[Snapshot, ...]) -> EmptyResult:
    """Return the error of a job that was reported as successful, without outputs."""
    found = "; ".join(dict.fromkeys(snapshot.reason for snapshot in snapshots if snapshot.reason))
    is_direct = job.request is not None and job.request.direct_timeout is not None
    next_step = "change the request" if is_direct else "poll it again with client.job(task_id)"
    return EmptyResult(
        f"{job.label}: reported as finished without any output{f' ({found})' if found else ''}"
        f" (task ids {', '.join(job.task_ids)}); {next_step}, or report it to the provider",
        task_ids=job.task_ids,
        snapshots=snapshots,
        request_id=job.request_id,
    )


def lost_error(job: Job[Any], cause: APIError) -> JobLost:
    """Return the error of a job whose task does not exist at the provider."""
    error = JobLost(
        f"{job.label}: the provider found no task {', '.join(job.task_ids)} ({cause});"
        " check the id and that the key belongs to the account that submitted it",
        task_ids=job.task_ids,
        snapshots=job.snapshots,
        request_id=cause.request_id,
    )
    error.__cause__ = cause
    return error


def closed_error(job: Job[Any]) -> ClientClosed:
    """Return the error of a job whose client was closed."""
    return ClientClosed(
        f"{job.label}: the client was closed; the task goes on: open a client and use"
        f" client.job({', '.join(map(repr, job.task_ids))})",
        task_ids=job.task_ids,
        snapshots=job.snapshots,
        request_id=job.request_id,
    )
