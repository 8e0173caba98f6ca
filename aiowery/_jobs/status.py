"""Asking about a job: its batch with one status check, or its tasks one by one."""

from __future__ import annotations

from typing import Any

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.events import log
from aiowery._core.messages import Call
from aiowery._core.provider import Provider
from aiowery._http.retry import Sender
from aiowery._jobs.job import Job
from aiowery.errors import AioweryError, AuthenticationError, NotFound, RateLimited, TransportError


class Inquiry:
    """Asks the provider what has become of jobs; for `grace` seconds after acceptance "not found" means "not yet"."""

    def __init__(self, provider: Provider, sender: Sender, grace: float) -> None:
        self._provider = provider
        self._sender = sender
        self._grace = grace

    async def ask(self, job: Job[Any]) -> list[Snapshot]:
        """Ask with one GET where the provider has one for the whole batch, else once for each open task."""
        open_ids = job.open_task_ids
        if len(open_ids) == 1:
            return [await self._ask_task(job, open_ids[0])]
        snapshots: list[Snapshot] = []
        if job.batch_id is not None and (call := self._provider.batch_call(job.batch_id)):
            snapshots = await self._ask_batch(job, call)
        answered = {snapshot.task_id for snapshot in snapshots}
        for task_id in open_ids:
            if task_id not in answered:
                snapshots.append(await self._ask_task(job, task_id))
        return snapshots

    async def _ask_batch(self, job: Job[Any], call: Call) -> list[Snapshot]:
        """Ask about the batch; an answer that disappoints ends that way of asking for this job."""
        try:
            snapshots = await self._sender.once(call, self._provider.decode_batch)
        except (TransportError, RateLimited, AuthenticationError):
            raise  # that would meet the single checks too
        except AioweryError as error:
            log.debug("batch %s: %s; asking task by task", job.batch_id, error)
            job.batch_id = None
            return []
        ours = [snapshot for snapshot in snapshots if snapshot.task_id in job.task_ids]
        if not {snapshot.task_id for snapshot in ours}.issuperset(job.open_task_ids):
            job.batch_id = None
        return ours

    async def _ask_task(self, job: Job[Any], task_id: str) -> Snapshot:
        """Ask about one task; one that the provider has lost must not cost its sisters."""
        try:
            return await self._sender.once(
                self._provider.status_call(task_id), lambda answer: self._provider.decode_status(answer, task_id)
            )
        except NotFound as error:
            if len(job.task_ids) == 1 or not self.lost_for_good(job):
                raise
            return Snapshot(task_id, TaskState.FAILED, reason=str(error), request_id=error.request_id)

    def lost_for_good(self, job: Job[Any]) -> bool:
        """Whether "not found" no longer means "not yet"."""
        return job.request is None or job.age > self._grace
