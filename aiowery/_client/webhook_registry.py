"""Registry of the jobs that wait for webhook deliveries, by submission id."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import Any, Final

from aiowery._base.secret import Secret
from aiowery._core.job_end import JobEnd
from aiowery._core.webhook_config import Webhooks, WebhookState
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller

_MAX_REMEMBERED: Final = 10_000


class WebhookRegistry:
    """A registry of the jobs that wait for webhook deliveries; without `webhooks` it registers none."""

    def __init__(self, webhooks: Webhooks | None, poller: JobPoller) -> None:
        self._webhooks = webhooks
        self._poller = poller
        self._jobs: dict[str, Job[Any]] = {}
        # Deliveries about submissions whose response has not arrived yet.
        self._early: dict[str, str] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._registered = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, submission_id: str) -> bool:
        return submission_id in self._jobs or submission_id in self._finished

    def url_for(self, token: Secret) -> str | None:
        """Return the webhook URL of one submission; None if the client has no webhooks."""
        return None if self._webhooks is None else self._webhooks.address(token.reveal())

    def register(self, job: Job[Any], submission_id: str, *, awaited: bool) -> None:
        """Wait for a job's deliveries; `awaited` is true if the provider was requested to send them."""
        delivered = self._early.pop(submission_id, None) in job.task_ids
        if self._webhooks is None or not job._open_task_ids:
            return
        job._webhook = WebhookState(submission_id, awaited, has_delivered=delivered, poll_requested=delivered)
        self._jobs[submission_id] = job
        self._registered.set()

    def unregister(self, job: Job[Any], _end: JobEnd | None = None) -> None:
        """Stop waiting for a job's deliveries; later ones are accepted and change nothing."""
        if job._webhook is None or self._jobs.pop(job._webhook.submission_id, None) is None:
            return
        self._finished[job._webhook.submission_id] = None
        if len(self._finished) > _MAX_REMEMBERED:
            self._finished.popitem(last=False)

    def forget(self, submission_id: str) -> None:
        """Forget a submission without a job."""
        self._early.pop(submission_id, None)

    def keep_early(self, submission_id: str, task_id: str) -> None:
        """Keep a delivery about a submission whose response has not arrived yet."""
        self._early[submission_id] = task_id

    def notify(self, submission_id: str, task_id: str, *, finished: bool) -> bool | None:
        """Let the poller check a job's status; return whether the task is the job's, None if there is no such job."""
        if submission_id in self._finished:
            return True
        job = self._jobs.get(submission_id)
        if job is None or job._webhook is None:
            return None
        if finished and task_id in job._open_task_ids:
            self._poller.on_webhook(job, job._webhook)
        return task_id in job.task_ids

    async def wait_for_job(self, seconds: float) -> None:
        """Return when the next job is registered, or after so many seconds."""
        self._registered.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._registered.wait()
