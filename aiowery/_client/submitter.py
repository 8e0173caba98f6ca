"""Submissions: the way of a request from its caller, through the lane and onto the wire, to an accepted job.

The POST belongs to the open client, not to the caller, who only waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Generic

import attrs

from aiowery._client.webhook_listener import Callbacks, Doubts
from aiowery._core.events import Events, JobAccepted, LaneBackedOff, LowCredits, log
from aiowery._core.messages import Answer, Call
from aiowery._core.policies import RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Deadline, Request, ResultT
from aiowery._core.webhook_config import new_token, ref_of
from aiowery._http.retry import Sender, Verdict, retry_after, some_of, unsent, verdict
from aiowery._http.upload import Uploader
from aiowery._jobs.job import Job
from aiowery._jobs.poller import Watch
from aiowery._journal.journal import Books
from aiowery._journal.record import Page
from aiowery._queue.circuit_breaker import Held
from aiowery._queue.cross_process import Turns
from aiowery._queue.pacer import Turnstile
from aiowery._queue.submission_queue import Lane, Ticket
from aiowery.errors import AioweryError, APIError, InsufficientCredits, QueueTooLong, RateLimited, SubmissionInDoubt


@attrs.frozen
class _Admitted:
    """A request that the lane has let in, encoded.

    `ref` marks it in the ledger; `called_back`: whether it tells the provider where to call.
    """

    call: Call
    ticket: Ticket
    ref: str
    called_back: bool


@attrs.frozen
class _Order(Generic[ResultT]):
    """An admitted request on its way out.

    `entry_id` is its number in the ledger, if it has one already; `sort`: of which it is the first that is bought, if
    it is.
    """

    request: Request[ResultT]
    deadline: Deadline
    admitted: _Admitted
    entry_id: int | None
    budget: float | None
    sort: str | None


# Their first steps take some 2 ms.
_IN_A_TURN: Final = 50
_LOOKS: Final = 2


@attrs.define
class Counts:
    """What became of the submissions."""

    submitted: int = 0
    accepted: int = 0
    refused: int = 0
    in_doubt: int = 0


class Submissions:
    """The submissions of an open client: `tasks` and `answers` are the lanes of what starts tasks, and of the rest."""

    def __init__(
        self,
        provider: Provider,
        sender: Sender,
        books: Books,
        watch: Watch,
        *,
        tasks: Lane,
        answers: Lane,
        turns: Turns,
        uploads: Uploader,
        callbacks: Callbacks,
        doubts: Doubts,
        retries: RetryPolicy,
        events: Events,
    ) -> None:
        self.counts: Counts = Counts()
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
        self._turnstile = Turnstile(_IN_A_TURN)
        self._posts: dict[asyncio.Task[Any], Request[Any]] = {}
        self._tickets: set[Ticket] = set()
        self._closing = False

    async def submit(
        self,
        request: Request[ResultT],
        deadline: Deadline,
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
            await self._turnstile.enter()
            sort, start_within = await self._turn_to_buy(request, budget, start_within)
            admitted = await self._admitted(request, deadline, start_within)
        except BaseException:
            self._books.first_buyers.bought(sort)
            if entry_id is not None:
                self._books.give_up(entry_id)
            raise
        ticket = admitted.ticket
        post = self._own(request, self._post(_Order(request, deadline, admitted, entry_id, budget, sort)))
        try:
            return await asyncio.shield(post)
        except asyncio.CancelledError:
            ticket.orphaned = True
            if ticket.waiting:  # refused because of load and back in line: nothing is under way
                post.cancel()
            raise

    async def _turn_to_buy(
        self, request: Request[Any], budget: float | None, start_within: float | None
    ) -> tuple[str | None, float | None]:
        """Wait for the turn to buy; return its sort, if it has one, and how much of the patience is left."""
        if start_within is None:
            return await self._books.turn_to_buy(request, budget), None
        time = asyncio.get_running_loop().time
        start_by = time() + start_within
        try:
            return await self._books.turn_to_buy(request, budget, start_by), start_by - time()
        except TimeoutError:
            raise QueueTooLong(
                "the first of its sort has yet to tell what it costs; nothing was sent: try later, or be more patient"
            ) from None

    async def _admitted(self, request: Request[Any], deadline: Deadline, start_within: float | None) -> _Admitted:
        """Check and encode the request, and wait until the lane lets it in."""
        if self._closing:
            raise unsent()
        self._provider.check(request)
        self._watch.patience(request.kind, deadline)  # a deadline that makes no sense is refused here, unsent
        ready = await self._uploads.settled(request)
        token = new_token()
        called = self._with_address(ready, token)
        call = self._provider.encode(called or ready)
        if self._closing:  # closed while files were on their way
            raise unsent()
        lane = self._tasks if request.answer_within is None else self._answers
        ticket = lane.ticket(request.places, start_within)
        await self._admission(ticket)
        if self._closing:  # closed in the turn of the loop in which the lane let us in
            self._unused(ticket)
            raise unsent()
        return _Admitted(call, ticket, ref_of(token), called is not None)

    def _with_address(self, request: Request[Any], token: str) -> Request[Any] | None:
        """Return the request with the address at which the provider is to call; None if it is not to."""
        address = self._callbacks.address(token)
        return None if address is None else self._provider.called_back(request, address)

    def post_of(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object, if it is under way."""
        return next((task for task, posted in self._posts.items() if posted is request), None)

    async def _admission(self, ticket: Ticket) -> None:
        self._tickets.add(ticket)
        try:
            await ticket.lane.enter(ticket)
        finally:
            self._tickets.discard(ticket)
        await self._turns.take(ticket)

    def _wanted(self, ticket: Ticket) -> bool:
        """Whether somebody still waits for what has not been sent yet."""
        return not (self._closing or ticket.orphaned)

    def _unused(self, ticket: Ticket) -> None:
        """Give back the places of a submission that brought nothing, and the turn."""
        ticket.lane.refuse(ticket)
        self._turns.end(ticket)

    async def _post(self, order: _Order[ResultT]) -> Job[ResultT]:
        """Open a page for an admitted request, submit it, and write down what came of it."""
        self.counts.submitted += 1
        try:
            page = await self._books.page(order.request, order.entry_id, order.admitted.ref, order.budget, order.sort)
        except BaseException as error:
            self._refused(order.admitted.ticket, order.request, error)
            self._books.first_buyers.bought(order.sort)
            if order.entry_id is not None:
                self._books.give_up(order.entry_id)
            raise
        try:
            accepted = await self._taken(order, page)
        except BaseException as error:
            await self._books.failed(page, error)
            self._callbacks.drop(order.admitted.ref)
            job = await self._told_of(order, page, error)
            if job is None:
                raise
            return job
        await page.accepted(accepted)
        return self._accepted(order, page, accepted)

    async def _told_of(self, order: _Order[ResultT], page: Page, error: BaseException) -> Job[ResultT] | None:
        """Return the job of a submission that is in doubt, if the provider has called about it already."""
        if not (order.admitted.called_back and isinstance(error, SubmissionInDoubt)):
            return None
        self._doubts.remember(page.entry_id, order.request)
        try:
            return await self._doubts.settled(page.entry_id, order.request)
        except AioweryError as fault:
            log.warning("%s: stays in doubt: %s", order.request.label, fault)
            return None

    async def _taken(self, order: _Order[ResultT], page: Page) -> Accepted:
        """Submit until the provider takes it; while that is too busy, stay at the head of the line."""
        request, ticket = order.request, order.admitted.ticket
        while True:
            try:
                return await self._answered(order, page)
            except Held as held:
                self._unused(ticket)
                await self._line_up_again(ticket, held)
            except APIError as error:
                if verdict(error) is not Verdict.BUSY or not self._wanted(ticket):
                    self._refused(ticket, request, error)
                    raise
                self._back_off(ticket, request, error)
                await page.refused_for_now(str(error))
                if ticket.lane.refused_for >= self._retries.patience:
                    self.counts.refused += 1
                    ticket.lane.turn_away(error)  # those behind would wait as long, for the same
                    raise
                await self._line_up_again(ticket, error)
            except BaseException as error:
                self._refused(ticket, request, error)
                raise

    async def _answered(self, order: _Order[Any], page: Page) -> Accepted:
        """Submit, or accept the tasks that a refusal names if they prove to be this submission's.

        The brake counts whether there was a clear answer.
        """
        request, ticket = order.request, order.admitted.ticket
        answers: list[Answer] = []
        try:
            accepted = await self._sent(order, page, answers)
        except SubmissionInDoubt as doubt:
            task_ids = await self._found(page, request, doubt.task_ids)
            if not task_ids:
                ticket.lane.brake.doubt(ticket, str(doubt.__cause__ or doubt))
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
        ticket.lane.brake.clear(ticket)
        return accepted

    async def _sent(self, order: _Order[Any], page: Page, answers: list[Answer]) -> Accepted:
        """Submit once; what comes back is added to `answers`."""
        request, ticket = order.request, order.admitted.ticket

        def decode(answer: Answer) -> Accepted:
            answers.append(answer)
            return self._provider.decode_accepted(request, answer)

        return await self._sender.submit(
            request,
            order.admitted.call,
            decode,
            page=page,
            wanted=lambda: self._wanted(ticket),
            may_leave=partial(ticket.lane.brake.may_leave, ticket),
            named=partial(self._doubts.named, order.admitted.ref, request),
        )

    async def _found(self, page: Page, request: Request[Any], named: tuple[str, ...]) -> tuple[str, ...]:
        """Return the tasks that prove to be started by a refused submission; () if they do not.

        They are asked about twice, because a status may lag behind its task.
        """
        if not named or request.answer_within is not None:  # it starts no task that could be asked about
            return ()
        try:
            for task_id in named:
                self._provider.status_call(task_id)  # raises where there is nothing to ask for
            for number in range(_LOOKS):
                if number:
                    await asyncio.sleep(self._watch.round_after(number - 1))
                if task_ids := await self._doubts.proven(page.entry_id, request):
                    return task_ids
        except Exception as fault:  # noqa: BLE001 - nothing may turn a doubt into something that is sent again
            log.warning("%s: %s cannot be asked about: %s", request.label, some_of(named), fault)
        return ()

    def _count_refusal(self, ticket: Ticket, answer: Answer, error: APIError) -> None:
        """Count a refusal for the brake: as clear if the provider gave it, as a doubt if another hop did."""
        if self._provider.is_own_answer(answer):
            ticket.lane.brake.clear(ticket)
        elif verdict(error) is not Verdict.BUSY:  # a refusal for load charges nothing, whichever hop gave it
            ticket.lane.brake.doubt(ticket, str(error))

    async def _line_up_again(self, ticket: Ticket, why: AioweryError) -> None:
        """Stand in line at the old place until the lane lets it in; NotSent once it is not wanted any more."""
        if not self._wanted(ticket):  # an observer may have just said so
            raise unsent() from why
        await self._admission(ticket)
        if not self._wanted(ticket):  # it stood in line, or waited for another process
            self._unused(ticket)
            raise unsent() from why

    def _accepted(self, order: _Order[ResultT], page: Page, accepted: Accepted) -> Job[ResultT]:
        request, ticket = order.request, order.admitted.ticket
        self.counts.accepted += 1
        ticket.lane.accept(ticket, len(accepted.task_ids))
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(
            accepted, self._watch, request=request, result_type=result_type, kind=request.kind, ticket=ticket
        )
        try:
            self._tell_accepted(request, accepted)
        finally:  # whatever a log handler or an observer raises must not lose what was paid for
            self._turns.accepted(ticket, accepted.task_ids)
            self._books.keep(page, job)
            self._books.expect_price(page, self._watch.patience(request.kind, DEFAULT))
            job.take(accepted.snapshots)
            self._callbacks.begin(job, order.admitted.ref, awaited=order.admitted.called_back)
            self._watch.begin(job, deadline=order.deadline)
        return job

    def _tell_accepted(self, request: Request[Any], accepted: Accepted) -> None:
        log.info(
            "accepted: %s by %s (%s)",
            request.label,
            request.model_key or request.endpoint,
            ", ".join(accepted.task_ids),
            extra={
                "task_ids": accepted.task_ids,
                "batch_id": accepted.batch_id,
                "model": request.model_key,
                "prompt": request.label,
                "request_id": accepted.request_id,
            },
        )
        self._events.tell(JobAccepted(task_ids=accepted.task_ids, label=request.label, request_id=accepted.request_id))

    def _back_off(self, ticket: Ticket, request: Request[Any], error: APIError) -> None:
        too_many_tasks = isinstance(error, RateLimited) and error.tasks_at_once
        pause = ticket.lane.back_off(ticket, retry_after=retry_after(error), tasks_at_once=too_many_tasks)
        self._turns.end(ticket)
        capacity = ticket.lane.statistics().capacity
        log.warning(
            "%s: refused because of load (%s); the lane rests %.1f s, room for %d tasks",
            request.label,
            error,
            pause,
            capacity,
            extra={"code": error.code, "request_id": error.request_id},
        )
        self._events.tell(LaneBackedOff(pause=pause, capacity=capacity, error=error))

    def _refused(self, ticket: Ticket, request: Request[Any], error: BaseException) -> None:
        """The submission brought no job: free its places, tell why, and spare others the same refusal."""
        if isinstance(error, (SubmissionInDoubt, asyncio.CancelledError)):
            ticket.lane.doubt(ticket)
            self._turns.end(ticket)
            self.counts.in_doubt += 1
            log.warning("in doubt: %s: %s", request.label, str(error) or "interrupted while it was being sent")
            return
        if isinstance(error, self._provider.everybodys_errors):  # before its place lets the next one in
            for lane in (self._tasks, self._answers):
                lane.turn_away(error)
        self._unused(ticket)
        self.counts.refused += 1
        log.info("refused: %s: %s", request.label, error)
        if isinstance(error, InsufficientCredits):
            self._events.tell(LowCredits(error=error))

    def _own(self, request: Request[ResultT], work: Coroutine[Any, Any, Job[ResultT]]) -> asyncio.Task[Job[ResultT]]:
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
            lane.turn_away(unsent(), [ticket for ticket in self._tickets if ticket.lane is lane])
        self._turns.stop()
        self._books.first_buyers.stop()

    async def finished(self) -> None:
        """Wait for the POSTs under way."""
        if self._posts:
            await asyncio.wait(self._posts)
