"""Why a job has no result, in words that say what to do."""

from __future__ import annotations

from typing import Any

from aiowery._base.snapshot import Snapshot
from aiowery._jobs.job import Job
from aiowery.errors import APIError, ClientClosed, EmptyResult, JobFailed, JobLost


def failed(job: Job[Any], snapshots: tuple[Snapshot, ...]) -> JobFailed:
    """Return why a job of failed tasks has no result."""
    reasons = dict.fromkeys(snapshot.reason or "no reason given" for snapshot in snapshots)
    return JobFailed(
        f"{job.label}: {'; '.join(reasons)} (task ids {', '.join(job.task_ids)}); change the request before"
        " you submit it again",
        task_ids=job.task_ids,
        snapshots=snapshots,
        request_id=job.request_id,
    )


def empty(job: Job[Any], snapshots: tuple[Snapshot, ...]) -> EmptyResult:
    """Return why a job that is said to have ended well has no result."""
    answered_at_once = job.request is not None and job.request.direct_timeout is not None
    way_out = "change the request" if answered_at_once else "ask again with client.job(task_id)"
    return EmptyResult(
        f"{job.label}: reported as finished without any output (task ids {', '.join(job.task_ids)}); {way_out}, or"
        " report it to the provider",
        task_ids=job.task_ids,
        snapshots=snapshots,
        request_id=job.request_id,
    )


def lost(job: Job[Any], cause: APIError) -> JobLost:
    """Return why a job is not looked at any more: the provider does not know it."""
    error = JobLost(
        f"{job.label}: the provider does not know task {', '.join(job.task_ids)} ({cause});"
        " check the id and that the key belongs to the account that submitted it",
        task_ids=job.task_ids,
        snapshots=job.snapshots,
        request_id=cause.request_id,
    )
    error.__cause__ = cause
    return error


def closed(job: Job[Any]) -> ClientClosed:
    """Return why a job is not waited for any more: its client was closed."""
    return ClientClosed(
        f"{job.label}: the client was closed; the task goes on: open a client and use"
        f" client.job({', '.join(map(repr, job.task_ids))})",
        task_ids=job.task_ids,
        snapshots=job.snapshots,
        request_id=job.request_id,
    )
