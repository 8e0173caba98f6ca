"""Submit requests: from the caller through the queue and one paid POST to an accepted job.

The POST belongs to the open client, not to the caller, which only waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from aiowery._base.secret import Secret
from aiowery._client.in_doubt import DoubtResolver
from aiowery._client.options import SubmitOptions
from aiowery._client.submission import Submission
from aiowery._client.submission_reports import SubmissionReports
from aiowery._client.verified_send import VerifiedSender
from aiowery._client.webhook_registry import WebhookRegistry
from aiowery._core.events import log
from aiowery._core.failures import (
    SubmissionHeld,
    SubmitFailure,
    classify_failure,
    client_closing_error,
    retry_after,
)
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT
from aiowery._core.webhook_config import new_token, submission_id_of
from aiowery._http.provider_api import ProviderApi
from aiowery._http.upload import Uploader
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._journal.journal import SubmissionJournal
from aiowery._journal.record import SubmissionRecord
from aiowery._queue.admission import Admission
from aiowery._queue.submission_queue import Ticket
from aiowery.errors import AioweryError, APIError, QueueTooLong, RateLimited, SubmissionInDoubt


class Submitter:
    """A submitter that takes an open client's requests from the queue to an accepted job."""

    def __init__(
        self,
        api: ProviderApi,
        uploads: Uploader,
        admission: Admission,
        journal: SubmissionJournal[Job[Any]],
        poller: JobPoller,
        webhooks: WebhookRegistry,
        resolver: DoubtResolver,
        reports: SubmissionReports,
    ) -> None:
        self.reports: SubmissionReports = reports
        self._api = api
        self._provider = api.provider
        self._uploads = uploads
        self._admission = admission
        self._journal = journal
        self._poller = poller
        self._webhooks = webhooks
        self._resolver = resolver
        self._sender = VerifiedSender(api, resolver, poller)
        self._posts: dict[asyncio.Task[Any], Request[Any]] = {}
        self._closing = False

    async def submit(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT]:
        """Wait for the queue, POST once, and return the job.

        Cancelling the caller while the POST is under way loses nothing: the POST goes on.
        """
        probe = None
        try:
            await self._admission.start()
            probe, start_within = await self._probe_price(request, options)
            submission = await self._admit(request, options, start_within, probe)
        except BaseException:
            self._abandon_claim(options, probe)
            raise
        post = self._spawn(request, self._post(submission))
        try:
            return await asyncio.shield(post)
        except asyncio.CancelledError:
            submission.ticket.caller_gone = True
            if submission.ticket.waiting:  # rejected because of load and queued again: nothing is under way
                post.cancel()
            raise

    def _abandon_claim(self, options: SubmitOptions, probe: str | None) -> None:
        """Give up the price probe and the claimed entry of a submission that will not be sent."""
        self._journal.spending.probe.release(probe)
        if options.entry_id is not None:
            self._journal.claims.unclaim(options.entry_id)

    async def _probe_price(self, request: Request[Any], options: SubmitOptions) -> tuple[str | None, float | None]:
        """Wait for an unknown price; return the price group if this is the probe, and what is left of the timeout."""
        probe_price = self._journal.spending.probe_price
        if options.start_within is None:
            return await probe_price(request, options.budget), None
        time = asyncio.get_running_loop().time
        start_by = time() + options.start_within
        try:
            return await probe_price(request, options.budget, start_by), start_by - time()
        except TimeoutError:
            raise QueueTooLong(
                "the price of this model is not known yet: the request that determines it is still running. Nothing"
                " was sent. Retry later or raise start_within."
            ) from None

    def validate(self, request: Request[Any]) -> None:
        """Raise ConfigurationError for a request that the provider does not accept."""
        self._provider.validate(request)

    async def _admit(
        self, request: Request[ResultT], options: SubmitOptions, start_within: float | None, probe: str | None
    ) -> Submission[ResultT]:
        """Validate and encode the request, and wait until the queue admits it."""
        self._check_open()
        self.validate(request)
        self._poller.timeout_seconds(request.kind, options.job_timeout)  # an invalid one is rejected here, unsent
        ready = await self._uploads.upload_local_files(request)
        token = Secret(new_token())
        with_webhook = self._with_webhook(ready, token)
        http_request = self._provider.encode(with_webhook or ready)
        self._check_open()  # the client may have closed while files were uploaded
        label = self.reports.labels.of(request, options.name)
        ticket = self._admission.new_ticket(request, start_within)
        await self._admission.acquire(ticket, partial(self.reports.queued, label))
        if self._closing:  # it closed in the event-loop iteration in which the queue admitted the ticket
            self._admission.release(ticket)
            raise client_closing_error()
        submission_id = submission_id_of(token.reveal())
        has_webhook = with_webhook is not None
        return Submission(request, label, options, http_request, ticket, submission_id, has_webhook, probe)

    def _with_webhook(self, request: Request[Any], token: Secret) -> Request[Any] | None:
        """Return the request with the URL of its webhook; None if it gets none."""
        url = self._webhooks.url_for(token)
        return None if url is None else self._provider.with_webhook(request, url)

    def _check_open(self) -> None:
        if self._closing:
            raise client_closing_error()

    def pending_submission(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object, if it is under way."""
        return next((task for task, posted in self._posts.items() if posted is request), None)

    def _is_wanted(self, ticket: Ticket) -> bool:
        """Return True if a caller still waits for the submission, and the client is not closing."""
        return not (self._closing or ticket.caller_gone)

    async def _post(self, submission: Submission[ResultT]) -> Job[ResultT]:
        """Open the record of an admitted request, submit it, and record the outcome."""
        self.reports.counts.submitted += 1
        options = submission.options
        try:
            record = await self._journal.open_record(
                submission.request, options.entry_id, submission.submission_id, options.budget, submission.probe
            )
        except BaseException as error:
            self._refused(submission, error)
            self._abandon_claim(options, submission.probe)
            raise
        try:
            return await self._send_and_track(submission, record)
        finally:
            self._resolver.known_tasks.release(record.entry_id)

    async def _send_and_track(self, submission: Submission[ResultT], record: SubmissionRecord) -> Job[ResultT]:
        """Return the job of a submission, once it is accepted. What else became of it is recorded, and raised."""
        try:
            accepted = await self._send_until_accepted(submission, record)
        except BaseException as error:
            await self._journal.record_failure(record, error)
            self._webhooks.forget(submission.submission_id)
            job = await self._resolve_by_webhook(submission, record, error)
            if job is None:
                raise
            return job
        return self._accepted(submission, record, accepted)

    async def _resolve_by_webhook(
        self, submission: Submission[ResultT], record: SubmissionRecord, error: BaseException
    ) -> Job[ResultT] | None:
        """Return the job of a submission in doubt, if a webhook delivery has named its task already."""
        if not (submission.has_webhook and isinstance(error, SubmissionInDoubt)):
            return None
        self._resolver.remember(record.entry_id, submission.request)
        try:
            return await self._resolver.try_resolve(record.entry_id, submission.request)
        except Exception as fault:  # noqa: BLE001 - a ledger of the caller's own may raise anything
            log.warning("%s: stays in doubt: %s", submission.label, fault, extra=submission.facts())
            return None

    async def _send_until_accepted(self, submission: Submission[ResultT], record: SubmissionRecord) -> Accepted:
        """Send until the provider accepts; while it is too busy, stay at the head of the queue."""
        ticket = submission.ticket
        while True:
            try:
                return await self._sender.send(submission, record, partial(self._is_wanted, ticket))
            except SubmissionHeld as held:
                self._admission.release(ticket)
                await self._requeue(ticket, held)
            except APIError as error:
                if classify_failure(error) is not SubmitFailure.BUSY or not self._is_wanted(ticket):
                    self._refused(submission, error)
                    raise
                self._back_off(submission, error)
                await record.mark_busy(str(error))
                if ticket.queue.busy_seconds >= self._api.client.retries.max_busy_time:
                    self.reports.refused(submission, error)
                    ticket.queue.reject_waiting(error)  # the submissions behind would wait as long, for the same error
                    raise
                await self._requeue(ticket, error)
            except BaseException as error:
                self._refused(submission, error)
                raise

    async def _requeue(self, ticket: Ticket, reason: AioweryError) -> None:
        """Wait at the same position until the queue admits it again. Raises NotSent once no caller waits for it."""
        if not self._is_wanted(ticket):  # an observer may have closed the client
            raise client_closing_error() from reason
        await self._admission.acquire(ticket)
        if not self._is_wanted(ticket):  # the caller may have gone while it waited
            self._admission.release(ticket)
            raise client_closing_error() from reason

    def _accepted(self, submission: Submission[ResultT], record: SubmissionRecord, accepted: Accepted) -> Job[ResultT]:
        """Return the job of an accepted submission, tracked by the poller."""
        request, ticket = submission.request, submission.ticket
        self._admission.keep(ticket, accepted.task_ids)
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(
            accepted,
            self._poller,
            request=request,
            result_type=result_type,
            kind=request.kind,
            ticket=ticket,
            label=submission.label,
        )
        try:
            self.reports.accepted(submission, accepted)
        finally:  # not even an interrupt within an observer loses what was paid for
            job._record = record
            self._journal.attach_job(record, job)
            self._journal.limit_price_wait(record, self._poller.timeout_seconds(request.kind, DEFAULT))
            job._update(accepted.snapshots)
            self._webhooks.register(job, submission.submission_id, awaited=submission.has_webhook)
            self._poller.track(job, timeout=submission.options.job_timeout)
        return job

    def _back_off(self, submission: Submission[Any], error: APIError) -> None:
        ticket = submission.ticket
        is_limit = isinstance(error, RateLimited) and error.is_concurrency_limit
        pause = self._admission.back_off(ticket, retry_after=retry_after(error), is_concurrency_limit=is_limit)
        self.reports.backed_off(submission, error, pause, ticket.queue.statistics().capacity)

    def _refused(self, submission: Submission[Any], error: BaseException) -> None:
        """Release the slots of a submission without a job, log the reason, and reject what would be rejected too."""
        ticket = submission.ticket
        if (seconds := retry_after(error)) is not None:  # before its slots admit the next one
            ticket.queue.pause(seconds)
        if isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            self._admission.release_in_doubt(ticket)
            self.reports.in_doubt(submission, error)
            return
        if isinstance(error, self._provider.account_errors) and error.is_own:  # a page says nothing of the account
            self._admission.reject_waiting(error)
        self._admission.release(ticket)
        self.reports.refused(submission, error)

    def _spawn(self, request: Request[ResultT], work: Coroutine[Any, Any, Job[ResultT]]) -> asyncio.Task[Job[ResultT]]:
        """Run the POST in a task of the client; its exception is not lost if no caller waits any more."""
        task = asyncio.create_task(work)
        self._posts[task] = request
        task.add_done_callback(self._on_post_done)
        return task

    def _on_post_done(self, task: asyncio.Task[Any]) -> None:
        del self._posts[task]
        if not task.cancelled():
            task.exception()  # it has been logged; asyncio need not report it

    def stop(self) -> None:
        """Reject submissions that wait in the queue; submissions that were sent go on."""
        self._closing = True
        self._admission.stop()
        self._journal.spending.probe.stop()

    async def finished(self) -> None:
        """Wait for the POSTs under way."""
        if self._posts:
            await asyncio.wait(self._posts)
