"""Fetch the statuses of a job: its provider batch in one request, or its tasks one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._base.text import some_of
from aiowery._core.events import log
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs.job import Job
from aiowery.errors import AioweryError, AuthenticationError, NotFound, RateLimited, TransportError, UnexpectedResponse


class StatusFetcher:
    """A fetcher of job statuses. For `grace` seconds after acceptance, "not found" means "not found yet"."""

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
            log.debug("provider batch %s: %s; polling each task", job.provider_batch_id, error)
            job.provider_batch_id = None
            return []
        if snapshots is None:
            return []
        if not {snapshot.task_id for snapshot in snapshots}.issuperset(job._open_task_ids):
            job.provider_batch_id = None
        return list(snapshots)

    async def _fetch_task(self, job: Job[Any], task_id: str) -> Snapshot:
        """Return the status of one task; a lost task counts as failed if its job has other tasks."""
        try:
            return await self._api.status(task_id)
        except NotFound as error:
            if len(job.task_ids) == 1 or not self.is_lost(job):
                raise
            return Snapshot(task_id, TaskState.FAILED, reason=str(error), request_id=error.request_id)

    def is_lost(self, job: Job[Any]) -> bool:
        """Return True if "not found" means that the task is lost, because the grace period is over."""
        return job.request is None or job.age > self._grace


def _check_tasks(job: Job[Any], snapshots: Sequence[Snapshot]) -> None:
    """Raise UnexpectedResponse if the response to a batch status check names a task of another job."""
    others = [snapshot.task_id for snapshot in snapshots if snapshot.task_id not in job.task_ids]
    if others:
        raise UnexpectedResponse(f"the status of batch {job.provider_batch_id} names other tasks: {some_of(others)}")
