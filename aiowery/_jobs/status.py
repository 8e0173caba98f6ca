"""Asking about a job: its batch with one status check, or its tasks one by one."""

from __future__ import annotations

from typing import Any

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.events import log
from aiowery._core.messages import HttpRequest
from aiowery._core.provider import Provider
from aiowery._http.retry import RetryingClient
from aiowery._jobs.job import Job
from aiowery.errors import AioweryError, AuthenticationError, NotFound, RateLimited, TransportError


class StatusFetcher:
    """Asks the provider what has become of jobs; for `grace` seconds after acceptance "not found" means "not yet"."""

    def __init__(self, provider: Provider, sender: RetryingClient, grace: float) -> None:
        self._provider = provider
        self._sender = sender
        self._grace = grace

    async def fetch(self, job: Job[Any]) -> list[Snapshot]:
        """Ask with one GET where the provider has one for the whole batch, else once for each open task."""
        open_ids = job.open_task_ids
        if len(open_ids) == 1:
            return [await self._fetch_task(job, open_ids[0])]
        snapshots: list[Snapshot] = []
        if job.provider_batch_id is not None and (call := self._provider.batch_request(job.provider_batch_id)):
            snapshots = await self._fetch_batch(job, call)
        answered = {snapshot.task_id for snapshot in snapshots}
        for task_id in open_ids:
            if task_id not in answered:
                snapshots.append(await self._fetch_task(job, task_id))
        return snapshots

    async def _fetch_batch(self, job: Job[Any], call: HttpRequest) -> list[Snapshot]:
        """Ask about the batch; an answer that disappoints ends that way of asking for this job."""
        try:
            snapshots = await self._sender.send_once(call, self._provider.decode_batch)
        except (TransportError, RateLimited, AuthenticationError):
            raise  # that would meet the single checks too
        except AioweryError as error:
            log.debug("batch %s: %s; asking task by task", job.provider_batch_id, error)
            job.provider_batch_id = None
            return []
        ours = [snapshot for snapshot in snapshots if snapshot.task_id in job.task_ids]
        if not {snapshot.task_id for snapshot in ours}.issuperset(job.open_task_ids):
            job.provider_batch_id = None
        return ours

    async def _fetch_task(self, job: Job[Any], task_id: str) -> Snapshot:
        """Ask about one task; one that the provider has lost must not cost its sisters."""
        try:
            return await self._sender.send_once(
                self._provider.status_request(task_id), lambda answer: self._provider.decode_status(answer, task_id)
            )
        except NotFound as error:
            if len(job.task_ids) == 1 or not self.is_lost(job):
                raise
            return Snapshot(task_id, TaskState.FAILED, reason=str(error), request_id=error.request_id)

    def is_lost(self, job: Job[Any]) -> bool:
        """Whether "not found" no longer means "not yet"."""
        return job.request is None or job.age > self._grace
