"""Fetch the statuses of a job: its provider batch in one request, or its tasks one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._base.text import some_of
from aiowery._core.events import log
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs.job import Job
from aiowery._jobs.job_errors import lost_error
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    NotFound,
    RateLimited,
    TransportError,
    UnexpectedResponse,
)

_TIMES_NOT_FOUND: Final = 3
_TIMES_REFUSED: Final = 2


class StatusFetcher:
    """A fetcher of job statuses.

    A task is lost once the provider itself has reported it as not found three times in a row, over `grace` seconds. It
    has failed once two status checks in a row were rejected for the sake of its content or generation.
    """

    def __init__(self, api: ProviderApi, grace: float) -> None:
        self._api = api
        self._grace = grace

    async def fetch(self, job: Job[Any]) -> list[Snapshot]:
        """Return the job's statuses: by one request for its provider batch if it has one, else by one per open task."""
        open_ids = job._open_task_ids
        if len(open_ids) == 1:
            return [await self._fetch_task(job, open_ids[0])]
        snapshots: list[Snapshot] = []
        if job.provider_batch_id is not None:
            snapshots = await self._fetch_batch(job, job.provider_batch_id)
        received_ids = {snapshot.task_id for snapshot in snapshots}
        for task_id in open_ids:
            if task_id not in received_ids:
                snapshots.append(await self._fetch_task(job, task_id))
        return snapshots

    async def _fetch_batch(self, job: Job[Any], provider_batch_id: str) -> list[Snapshot]:
        """Return the statuses of the provider batch; after an unusable response, poll its tasks from now on.

        A response with a task of another job is unusable: it may be about another batch.
        """
        try:
            snapshots = await self._api.batch(provider_batch_id)
            _check_tasks(job, snapshots or ())
        except (TransportError, RateLimited, AuthenticationError):
            raise  # status checks of the tasks would fail in the same way
        except AioweryError as error:
            log.debug("provider batch %s: %s; polling each task", job.provider_batch_id, error, extra=job._facts())
            job.provider_batch_id = None
            return []
        if snapshots is None:
            return []
        if not {snapshot.task_id for snapshot in snapshots}.issuperset(job._open_task_ids):
            job.provider_batch_id = None
        return list(snapshots)

    async def _fetch_task(self, job: Job[Any], task_id: str) -> Snapshot:
        """Return the status of one task. Raises JobLost for the only task of a job; another lost task has failed."""
        try:
            return await self._api.status(task_id)
        except NotFound as error:
            times, seconds = job._count_rejection(task_id, NotFound)
            if times < _TIMES_NOT_FOUND or seconds < self._grace:
                raise
            if len(job.task_ids) == 1:
                raise lost_error(job, error) from error
            return _failed(task_id, error)
        except APIError as error:
            if not self._api.provider.ends_task(error):
                raise
            times, _ = job._count_rejection(task_id, APIError)
            if times < _TIMES_REFUSED:
                raise
            return _failed(task_id, error)


def _failed(task_id: str, error: APIError) -> Snapshot:
    return Snapshot(task_id, TaskState.FAILED, reason=str(error), request_id=error.request_id)


def _check_tasks(job: Job[Any], snapshots: Sequence[Snapshot]) -> None:
    """Raise UnexpectedResponse if the response to a batch status check names a task of another job."""
    others = [snapshot.task_id for snapshot in snapshots if snapshot.task_id not in job.task_ids]
    if others:
        raise UnexpectedResponse(f"the status of batch {job.provider_batch_id} names other tasks: {some_of(others)}")
