"""Restore jobs whose tasks were submitted earlier: from task ids, or from ledger entries."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from aiowery._base.snapshot import Kind
from aiowery._client.webhook_registry import WebhookRegistry
from aiowery._core.labels import Labels
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT
from aiowery._core.result import Result
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._jobs.registry import JobRegistry
from aiowery._journal.journal import SubmissionJournal
from aiowery._journal.serialization import load_error, load_snapshots
from aiowery._queue.submission_queue import SubmissionQueue, Ticket
from aiowery.errors import ConfigurationError, JobError
from aiowery.ledger import Entry, State


class JobRestorer:
    """A factory of jobs for tasks that were submitted earlier."""

    def __init__(
        self,
        provider: Provider,
        poller: JobPoller,
        registry: JobRegistry,
        journal: SubmissionJournal[Job[Any]],
        queue: SubmissionQueue,
        webhooks: WebhookRegistry,
        labels: Labels,
    ) -> None:
        self._provider = provider
        self._poller = poller
        self._registry = registry
        self._journal = journal
        self._queue = queue
        self._webhooks = webhooks
        self._labels = labels

    def restore(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT]:
        """Return the job of an entry that is done or failed. Raises the provider's rejection if there was one."""
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(
            _accepted(entry),
            self._poller,
            request=request,
            result_type=result_type,
            kind=request.kind,
            label=self._labels.of(request, f"entry {entry.id}"),
        )
        job._update(load_snapshots(entry))
        if entry.state is State.DONE:
            result = result_type.from_snapshots(job.snapshots, seconds=entry.seconds, request_id=entry.request_id)
            job._settle(result, None)
            return job
        error = load_error(entry)
        if not isinstance(error, JobError):
            raise error
        job._settle(None, error)
        return job

    async def resume(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT] | None:
        """Return the job of an accepted entry and resume polling it; None if another process polls it."""
        if not await self._journal.ledger.take_ownership(entry.id):
            return None
        result_type: Any = request.result_type
        # Its tasks take slots at the provider, which would reject submissions beyond them.
        ticket = self._queue.new_ticket(len(entry.task_ids)) if request.direct_timeout is None else None
        job: Job[ResultT] = self.attach(_accepted(entry), result_type, request.kind, ticket, sent_at=entry.sent_at)
        job._record = self._journal.watch_entry(entry.id, job)
        if entry.submission_id is not None and job._webhook is None:
            self._webhooks.register(job, entry.submission_id, awaited=False)
        return job

    def attach(
        self,
        accepted: Accepted,
        result_type: type[ResultT],
        kind: Kind | None,
        ticket: Ticket | None = None,
        *,
        sent_at: float | None = None,
    ) -> Job[ResultT]:
        """Return a job for tasks that were submitted earlier: the one in memory, if there is one.

        A `ticket` receives the slots that the tasks take until they have ended. `sent_at` is when they were submitted,
        in seconds since the epoch; the job's seconds count from then. Raises ConfigurationError for a task id that has
        no status.
        """
        # A podcast's two steps share one task, so the ids alone do not distinguish jobs.
        same = (job for job in self._registry.jobs_of(accepted.task_ids[0]) if job.task_ids == accepted.task_ids)
        known = next((job for job in same if result_type in {Result, job._result_type}), None)
        if known is not None:
            return known
        for task_id in accepted.task_ids:
            self._provider.status_request(task_id)
        if ticket is not None:
            ticket.queue.reserve(ticket)
        job = Job(accepted, self._poller, request=None, result_type=result_type, kind=kind, ticket=ticket)
        if sent_at is not None:  # a clock that was set back makes no job younger than it is
            job._accepted_at -= max(0.0, time.time() - sent_at)
        self._poller.track(job, timeout=DEFAULT)
        return job

    async def wait_for_tasks(self, task_ids: tuple[str, ...]) -> None:
        """Wait for the end of tasks that another process submitted, as far as their status can be read."""
        with contextlib.suppress(ConfigurationError, JobError):
            await self.attach(Accepted(task_ids=task_ids), Result, None).wait_finished(timeout=None)


def _accepted(entry: Entry) -> Accepted:
    return Accepted(task_ids=entry.task_ids, provider_batch_id=entry.provider_batch_id, request_id=entry.request_id)
