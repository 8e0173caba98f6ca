"""Submissions: the way of a request from its caller, through the lane and onto the wire, to an accepted job.

The POST belongs to the open client, not to the caller, who only waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Generic

import attrs

from aiowery._client.webhook_listener import DoubtResolver, WebhookListener
from aiowery._core.events import EventEmitter, JobAccepted, LowCredits, QueueBackedOff, log
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.policies import RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT, Timeout
from aiowery._core.webhook_config import new_token, submission_id_of
from aiowery._http.retry import (
    RetryingClient,
    SubmitFailure,
    classify_failure,
    client_closing_error,
    retry_after,
    some_of,
)
from aiowery._http.upload import Uploader
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._journal.journal import SubmissionJournal
from aiowery._journal.record import SubmissionRecord
from aiowery._queue.circuit_breaker import SubmissionHeld
from aiowery._queue.cross_process import CrossProcessTurn
from aiowery._queue.pacer import StartPacer
from aiowery._queue.submission_queue import SubmissionQueue, Ticket
from aiowery.errors import AioweryError, APIError, InsufficientCredits, QueueTooLong, RateLimited, SubmissionInDoubt


@attrs.frozen
class _Admitted:
    """A request that the lane has let in, encoded.

    `ref` marks it in the ledger; `called_back`: whether it tells the provider where to call.
    """

    call: HttpRequest
    ticket: Ticket
    ref: str
    called_back: bool


@attrs.frozen
class Submission(Generic[ResultT]):
    """An admitted request on its way out.

    `entry_id` is its number in the ledger, if it has one already; `sort`: of which it is the first that is bought, if
    it is.
    """

    request: Request[ResultT]
    job_timeout: Timeout
    admitted: _Admitted
    entry_id: int | None
    budget: float | None
    sort: str | None


# Their first steps take some 2 ms.
_IN_A_TURN: Final = 50
_LOOKS: Final = 2


@attrs.define
class SubmissionCounts:
    """What became of the submissions."""

    submitted: int = 0
    accepted: int = 0
    refused: int = 0
    in_doubt: int = 0


class Submitter:
    """The submissions of an open client: `tasks` and `answers` are the lanes of what starts tasks, and of the rest."""

    def __init__(
        self,
        provider: Provider,
        sender: RetryingClient,
        books: SubmissionJournal,
        watch: JobPoller,
        *,
        tasks: SubmissionQueue,
        answers: SubmissionQueue,
        turns: CrossProcessTurn,
        uploads: Uploader,
        callbacks: WebhookListener,
        doubts: DoubtResolver,
        retries: RetryPolicy,
        events: EventEmitter,
    ) -> None:
        self.counts: SubmissionCounts = SubmissionCounts()
        self._provider = provider
        self._sender = sender
        self._books = books
        self._watch = watch
        self._tasks = tasks
        self._answers = answers
        self._turns = turns
        self._uploads = uploads
        self._callbacks = callbacks
        self._doubts = doubts
        self._retries = retries
        self._events = events
        self._turnstile = StartPacer(_IN_A_TURN)
        self._posts: dict[asyncio.Task[Any], Request[Any]] = {}
        self._tickets: set[Ticket] = set()
        self._closing = False

    async def submit(
        self,
        request: Request[ResultT],
        job_timeout: Timeout,
        start_within: float | None = None,
        *,
        entry_id: int | None = None,
        budget: float | None = None,
    ) -> Job[ResultT]:
        """Wait for the lane, POST once, and return the job. `entry_id` is that of its claimed entry, if it has one.

        The POST belongs to the session: cancelling the caller while it is under way loses nothing.
        """
        sort = None
        try:
            await self._turnstile.wait_turn()
            sort, start_within = await self._probe_price(request, budget, start_within)
            admitted = await self._admit(request, job_timeout, start_within)
        except BaseException:
            self._books.price_probe.release(sort)
            if entry_id is not None:
                self._books.unclaim(entry_id)
            raise
        ticket = admitted.ticket
        post = self._spawn(request, self._post(Submission(request, job_timeout, admitted, entry_id, budget, sort)))
        try:
            return await asyncio.shield(post)
        except asyncio.CancelledError:
            ticket.caller_gone = True
            if ticket.waiting:  # refused because of load and back in line: nothing is under way
                post.cancel()
            raise

    async def _probe_price(
        self, request: Request[Any], budget: float | None, start_within: float | None
    ) -> tuple[str | None, float | None]:
        """Wait for the turn to buy; return its sort, if it has one, and how much of the patience is left."""
        if start_within is None:
            return await self._books.probe_price(request, budget), None
        time = asyncio.get_running_loop().time
        start_by = time() + start_within
        try:
            return await self._books.probe_price(request, budget, start_by), start_by - time()
        except TimeoutError:
            raise QueueTooLong(
                "the first of its sort has yet to tell what it costs; nothing was sent: try later, or be more patient"
            ) from None

    async def _admit(self, request: Request[Any], job_timeout: Timeout, start_within: float | None) -> _Admitted:
        """Check and encode the request, and wait until the lane lets it in."""
        if self._closing:
            raise client_closing_error()
        self._provider.validate(request)
        self._watch.timeout_seconds(request.kind, job_timeout)  # a deadline that makes no sense is refused here, unsent
        ready = await self._uploads.upload_local_files(request)
        token = new_token()
        called = self._with_address(ready, token)
        call = self._provider.encode(called or ready)
        if self._closing:  # closed while files were on their way
            raise client_closing_error()
        lane = self._tasks if request.direct_timeout is None else self._answers
        ticket = lane.new_ticket(request.task_count, start_within)
        await self._admission(ticket)
        if self._closing:  # closed in the turn of the loop in which the lane let us in
            self._release(ticket)
            raise client_closing_error()
        return _Admitted(call, ticket, submission_id_of(token), called is not None)

    def _with_address(self, request: Request[Any], token: str) -> Request[Any] | None:
        """Return the request with the address at which the provider is to call; None if it is not to."""
        address = self._callbacks.url_for(token)
        return None if address is None else self._provider.with_webhook(request, address)

    def pending_submission(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object, if it is under way."""
        return next((task for task, posted in self._posts.items() if posted is request), None)

    async def _admission(self, ticket: Ticket) -> None:
        self._tickets.add(ticket)
        try:
            await ticket.queue.acquire(ticket)
        finally:
            self._tickets.discard(ticket)
        await self._turns.acquire(ticket)

    def _is_wanted(self, ticket: Ticket) -> bool:
        """Whether somebody still waits for what has not been sent yet."""
        return not (self._closing or ticket.caller_gone)

    def _release(self, ticket: Ticket) -> None:
        """Give back the places of a submission that brought nothing, and the turn."""
        ticket.queue.abandon(ticket)
        self._turns.release(ticket)

    async def _post(self, order: Submission[ResultT]) -> Job[ResultT]:
        """Open a page for an admitted request, submit it, and write down what came of it."""
        self.counts.submitted += 1
        try:
            page = await self._books.open_record(
                order.request, order.entry_id, order.admitted.ref, order.budget, order.sort
            )
        except BaseException as error:
            self._refused(order.admitted.ticket, order.request, error)
            self._books.price_probe.release(order.sort)
            if order.entry_id is not None:
                self._books.unclaim(order.entry_id)
            raise
        try:
            accepted = await self._send_until_accepted(order, page)
        except BaseException as error:
            await self._books.record_failure(page, error)
            self._callbacks.forget(order.admitted.ref)
            job = await self._resolve_by_webhook(order, page, error)
            if job is None:
                raise
            return job
        await page.mark_accepted(accepted)
        return self._accepted(order, page, accepted)

    async def _resolve_by_webhook(
        self, order: Submission[ResultT], page: SubmissionRecord, error: BaseException
    ) -> Job[ResultT] | None:
        """Return the job of a submission that is in doubt, if the provider has called about it already."""
        if not (order.admitted.called_back and isinstance(error, SubmissionInDoubt)):
            return None
        self._doubts.remember(page.entry_id, order.request)
        try:
            return await self._doubts.try_resolve(page.entry_id, order.request)
        except AioweryError as fault:
            log.warning("%s: stays in doubt: %s", order.request.label, fault)
            return None

    async def _send_until_accepted(self, order: Submission[ResultT], page: SubmissionRecord) -> Accepted:
        """Submit until the provider takes it; while that is too busy, stay at the head of the line."""
        request, ticket = order.request, order.admitted.ticket
        while True:
            try:
                return await self._send_and_verify(order, page)
            except SubmissionHeld as held:
                self._release(ticket)
                await self._requeue(ticket, held)
            except APIError as error:
                if classify_failure(error) is not SubmitFailure.BUSY or not self._is_wanted(ticket):
                    self._refused(ticket, request, error)
                    raise
                self._back_off(ticket, request, error)
                await page.mark_busy(str(error))
                if ticket.queue.busy_seconds >= self._retries.max_busy_time:
                    self.counts.refused += 1
                    ticket.queue.reject_waiting(error)  # those behind would wait as long, for the same
                    raise
                await self._requeue(ticket, error)
            except BaseException as error:
                self._refused(ticket, request, error)
                raise

    async def _send_and_verify(self, order: Submission[Any], page: SubmissionRecord) -> Accepted:
        """Submit, or accept the tasks that a refusal names if they prove to be this submission's.

        The brake counts whether there was a clear answer.
        """
        request, ticket = order.request, order.admitted.ticket
        answers: list[HttpResponse] = []
        try:
            accepted = await self._send(order, page, answers)
        except SubmissionInDoubt as doubt:
            task_ids = await self._prove_tasks(page, request, doubt.task_ids)
            if not task_ids:
                ticket.queue.breaker.record_in_doubt(ticket, str(doubt.__cause__ or doubt))
                raise
            log.warning(
                "%s: refused (%s), but the provider began %s",
                request.label,
                doubt.__cause__,
                some_of(task_ids),
                extra={"task_ids": task_ids, "request_id": doubt.request_id},
            )
            accepted = Accepted(task_ids=task_ids, request_id=doubt.request_id)
        except APIError as error:
            if answers:
                self._count_refusal(ticket, answers[-1], error)
            raise
        ticket.queue.breaker.record_clear(ticket)
        return accepted

    async def _send(self, order: Submission[Any], page: SubmissionRecord, answers: list[HttpResponse]) -> Accepted:
        """Submit once; what comes back is added to `answers`."""
        request, ticket = order.request, order.admitted.ticket

        def decode(answer: HttpResponse) -> Accepted:
            answers.append(answer)
            return self._provider.decode_submission(request, answer)

        return await self._sender.send_paid(
            request,
            order.admitted.call,
            decode,
            page=page,
            wanted=lambda: self._is_wanted(ticket),
            may_leave=partial(ticket.queue.breaker.allows, ticket),
            named=partial(self._doubts.record_named, order.admitted.ref, request),
        )

    async def _prove_tasks(
        self, page: SubmissionRecord, request: Request[Any], named: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the tasks that prove to be started by a refused submission; () if they do not.

        They are asked about twice, because a status may lag behind its task.
        """
        if not named or request.direct_timeout is not None:  # it starts no task that could be asked about
            return ()
        try:
            for task_id in named:
                self._provider.status_request(task_id)  # raises where there is nothing to ask for
            for number in range(_LOOKS):
                if number:
                    await asyncio.sleep(self._watch.retry_round_delay(number - 1))
                if task_ids := await self._doubts.prove(page.entry_id, request):
                    return task_ids
        except Exception as fault:  # noqa: BLE001 - nothing may turn a doubt into something that is sent again
            log.warning("%s: %s cannot be asked about: %s", request.label, some_of(named), fault)
        return ()

    def _count_refusal(self, ticket: Ticket, answer: HttpResponse, error: APIError) -> None:
        """Count a refusal for the brake: as clear if the provider gave it, as a doubt if another hop did."""
        if self._provider.is_own_response(answer):
            ticket.queue.breaker.record_clear(ticket)
        elif (
            classify_failure(error) is not SubmitFailure.BUSY
        ):  # a refusal for load charges nothing, whichever hop gave it
            ticket.queue.breaker.record_in_doubt(ticket, str(error))

    async def _requeue(self, ticket: Ticket, why: AioweryError) -> None:
        """Stand in line at the old place until the lane lets it in; NotSent once it is not wanted any more."""
        if not self._is_wanted(ticket):  # an observer may have just said so
            raise client_closing_error() from why
        await self._admission(ticket)
        if not self._is_wanted(ticket):  # it stood in line, or waited for another process
            self._release(ticket)
            raise client_closing_error() from why

    def _accepted(self, order: Submission[ResultT], page: SubmissionRecord, accepted: Accepted) -> Job[ResultT]:
        request, ticket = order.request, order.admitted.ticket
        self.counts.accepted += 1
        ticket.queue.keep_slots(ticket, len(accepted.task_ids))
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(
            accepted, self._watch, request=request, result_type=result_type, kind=request.kind, ticket=ticket
        )
        try:
            self._report_accepted(request, accepted)
        finally:  # whatever a log handler or an observer raises must not lose what was paid for
            self._turns.record_tasks(ticket, accepted.task_ids)
            self._books.attach_job(page, job)
            self._books.limit_price_wait(page, self._watch.timeout_seconds(request.kind, DEFAULT))
            job.take(accepted.snapshots)
            self._callbacks.register(job, order.admitted.ref, awaited=order.admitted.called_back)
            self._watch.track(job, timeout=order.job_timeout)
        return job

    def _report_accepted(self, request: Request[Any], accepted: Accepted) -> None:
        log.info(
            "accepted: %s by %s (%s)",
            request.label,
            request.model_name or request.endpoint,
            ", ".join(accepted.task_ids),
            extra={
                "task_ids": accepted.task_ids,
                "provider_batch_id": accepted.provider_batch_id,
                "model": request.model_name,
                "prompt": request.label,
                "request_id": accepted.request_id,
            },
        )
        self._events.emit(JobAccepted(task_ids=accepted.task_ids, label=request.label, request_id=accepted.request_id))

    def _back_off(self, ticket: Ticket, request: Request[Any], error: APIError) -> None:
        too_many_tasks = isinstance(error, RateLimited) and error.tasks_at_once
        pause = ticket.queue.back_off(ticket, retry_after=retry_after(error), tasks_at_once=too_many_tasks)
        self._turns.release(ticket)
        capacity = ticket.queue.statistics().capacity
        log.warning(
            "%s: refused because of load (%s); the lane rests %.1f s, room for %d tasks",
            request.label,
            error,
            pause,
            capacity,
            extra={"code": error.code, "request_id": error.request_id},
        )
        self._events.emit(QueueBackedOff(pause=pause, capacity=capacity, error=error))

    def _refused(self, ticket: Ticket, request: Request[Any], error: BaseException) -> None:
        """The submission brought no job: free its places, tell why, and spare others the same refusal."""
        if isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            ticket.queue.abandon_in_doubt(ticket)
            self._turns.release(ticket)
            self.counts.in_doubt += 1
            log.warning("in doubt: %s: %s", request.label, str(error) or "interrupted while it was being sent")
            return
        if isinstance(error, self._provider.account_errors):  # before its place lets the next one in
            for lane in (self._tasks, self._answers):
                lane.reject_waiting(error)
        self._release(ticket)
        self.counts.refused += 1
        log.info("refused: %s: %s", request.label, error)
        if isinstance(error, InsufficientCredits):
            self._events.emit(LowCredits(error=error))

    def _spawn(self, request: Request[ResultT], work: Coroutine[Any, Any, Job[ResultT]]) -> asyncio.Task[Job[ResultT]]:
        """Run the work in a task of the session, whose failure is not lost when nobody waits any more."""
        task = asyncio.create_task(work)
        self._posts[task] = request
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[Any]) -> None:
        del self._posts[task]
        if not task.cancelled():
            task.exception()  # it has been logged; asyncio need not complain

    def stop(self) -> None:
        """Turn away who waits in line; what has been sent goes on."""
        self._closing = True
        for lane in (self._tasks, self._answers):
            lane.reject_waiting(client_closing_error(), [ticket for ticket in self._tickets if ticket.queue is lane])
        self._turns.stop()
        self._books.price_probe.stop()

    async def finished(self) -> None:
        """Wait for the POSTs under way."""
        if self._posts:
            await asyncio.wait(self._posts)
