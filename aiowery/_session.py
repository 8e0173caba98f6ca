"""An open client: everything that belongs to one event loop, from the pool to the last job.

`Session` lives from `async with` to its end; the client in front of it is only configuration and can be opened
again, in another loop too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Generic

import attrs

from aiowery._books import Books, Page, kept_error, kept_snapshots
from aiowery._callbacks import Callbacks, Doubts, Readable
from aiowery._credential import Credential
from aiowery._door import Door
from aiowery._download import Downloader
from aiowery._events import Events, JobAccepted, LaneBackedOff, LowCredits, log
from aiowery._job import Job
from aiowery._lanes import Lane, Ticket, shared_lane
from aiowery._lease import Lease
from aiowery._policies import Limits, PollPolicy, Random, RetryPolicy
from aiowery._provider import Provider
from aiowery._send import Decode, Sender, T, Verdict, retry_after, unsent, verdict
from aiowery._statistics import ClientStatistics
from aiowery._tasks import Kind, TaskState
from aiowery._turns import Turns
from aiowery._upload import Uploader
from aiowery._values import DEFAULT, Accepted, Deadline, Request, Result, ResultT
from aiowery._watch import Watch
from aiowery._webhooks import Webhooks, new_token, ref_of
from aiowery._wire import Call
from aiowery.errors import (
    AioweryError,
    APIError,
    ConfigurationError,
    InsufficientCredits,
    JobError,
    NotFound,
    RateLimited,
    SubmissionInDoubt,
)
from aiowery.ledger import Entry, State

_UNCOLLECTED: Final = 1000


@attrs.frozen
class _Order(Generic[ResultT]):
    """An admitted request on its way out.

    `ref` marks it in the ledger, where `entry_id` is its number if it has one already; `called_back`: whether it
    tells the provider where to call.
    """

    request: Request[ResultT]
    call: Call
    ticket: Ticket
    deadline: Deadline
    ref: str
    called_back: bool
    entry_id: int | None
    budget: float | None


@attrs.define
class _Counts:
    submitted: int = 0
    accepted: int = 0
    refused: int = 0
    in_doubt: int = 0
    finished: int = 0
    failed: int = 0


class Session:
    """The parts of an open client, wired together."""

    def __init__(
        self,
        provider: Provider,
        door: Door,
        credential: Credential,
        key: str,
        *,
        limits: Limits,
        polling: PollPolicy,
        retries: RetryPolicy,
        events: Events,
        random: Random,
        books: Books,
        readable: Readable,
        lease: Lease | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.provider = provider
        self.books = books
        self._door = door
        self._retries = retries
        self._events = events
        self._reads = asyncio.Semaphore(limits.polls)
        self._sender = Sender(door, credential, retries, random)
        self._tasks = shared_lane(door.base_url, key, "tasks", lambda: Lane(limits, retries, random))
        # What answers at once may take minutes, during which tasks go on being submitted.
        self._answers = shared_lane(door.base_url, key, "answers", lambda: Lane(limits.of_answers(), retries, random))
        self.downloads: Downloader = Downloader(door, asyncio.Semaphore(limits.downloads), retries, random)
        self.uploads: Uploader = Uploader(provider, self._sender, asyncio.Semaphore(limits.uploads))
        self._watch = Watch(
            provider,
            self._sender,
            polling,
            gate=self._reads,
            polls=limits.polls,
            events=events,
            random=random,
            owner=self,
        )
        self.doubts: Doubts = Doubts(books, self, readable)
        self.callbacks: Callbacks = Callbacks(webhooks, self._watch, books, self.doubts, self)
        self._posts: dict[asyncio.Task[Any], Request[Any]] = {}
        self._errands: set[asyncio.Task[Any]] = set()
        self._tickets: set[Ticket] = set()
        self._jobs: set[Job[Any]] = set()
        self._uncollected: OrderedDict[Job[Any], None] = OrderedDict()
        self._counts = _Counts()
        self._closing = False
        self._turns = Turns(self._tasks, lease, self._ended_elsewhere)
        self.callbacks.open()

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
        try:
            order = await self._admitted(request, deadline, start_within, entry_id, budget)
        except BaseException:
            if entry_id is not None:
                self.books.give_up(entry_id)
            raise
        ticket = order.ticket
        post = self._own(request, self._post(order))
        try:
            return await asyncio.shield(post)
        except asyncio.CancelledError:
            ticket.orphaned = True
            if ticket.waiting:  # refused because of load and back in line: nothing is under way
                post.cancel()
            raise

    async def _admitted(
        self,
        request: Request[ResultT],
        deadline: Deadline,
        start_within: float | None,
        entry_id: int | None,
        budget: float | None,
    ) -> _Order[ResultT]:
        """Check and encode the request, and wait until the lane lets it in."""
        if self._closing:
            raise unsent()
        self.provider.check(request)
        self._watch.patience(request.kind, deadline)  # a deadline that makes no sense is refused here, unsent
        ready = await self.uploads.settled(request)
        token = new_token()
        called = self._with_address(ready, token)
        call = self.provider.encode(called or ready)
        if self._closing:  # closed while files were on their way
            raise unsent()
        lane = self._tasks if request.answer_within is None else self._answers
        ticket = lane.ticket(request.places, start_within)
        await self._admission(ticket)
        if self._closing:  # closed in the turn of the loop in which the lane let us in
            self._unused(ticket)
            raise unsent()
        return _Order(request, call, ticket, deadline, ref_of(token), called is not None, entry_id, budget)

    def _with_address(self, request: Request[Any], token: str) -> Request[Any] | None:
        """Return the request with the address at which the provider is to call; None if it is not to."""
        address = self.callbacks.address(token)
        return None if address is None else self.provider.called_back(request, address)

    def restored(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT]:
        """Return the job of an entry that is done or failed; raises why the provider refused it, if it did."""
        accepted = Accepted(task_ids=entry.task_ids, batch_id=entry.batch_id, request_id=entry.request_id)
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(accepted, self._watch, request=request, result_type=result_type, kind=request.kind)
        job.take(kept_snapshots(entry))
        if entry.state is State.DONE:
            job.settle(result_type.of(job.snapshots, seconds=entry.seconds, request_id=entry.request_id), None)
            return job
        error = kept_error(entry)
        if not isinstance(error, JobError):
            raise error
        job.settle(None, error)
        return job

    async def resumed(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT] | None:
        """Return the job of an accepted entry, polled on; None when another process looks after it."""
        if not await self.books.ledger.look_after(entry.id):
            return None
        accepted = Accepted(task_ids=entry.task_ids, batch_id=entry.batch_id, request_id=entry.request_id)
        result_type: Any = request.result_type
        # Its tasks take places at the provider, which would refuse what we sent beyond them.
        ticket = self._tasks.ticket(len(entry.task_ids)) if request.answer_within is None else None
        job: Job[ResultT] = self.reattach(accepted, result_type, request.kind, ticket)
        self.books.look_after(entry.id, job)
        if entry.ref is not None and job.line is None:
            self.callbacks.begin(job, entry.ref, awaited=False)
        return job

    def reattach(
        self, accepted: Accepted, result_type: type[ResultT], kind: Kind | None, ticket: Ticket | None = None
    ) -> Job[ResultT]:
        """Return a job for tasks that were submitted earlier: the one we have, if we have it.

        A `ticket` gets the places that they take, until they have ended. Raises ConfigurationError for an id that
        nothing can be asked about.
        """
        # A podcast's two steps share one task, so the ids alone do not tell jobs apart.
        same = (job for job in self.jobs() if job.task_ids == accepted.task_ids)
        known = next((job for job in same if result_type in {Result, job.result_type}), None)
        if known is not None:
            return known
        for task_id in accepted.task_ids:
            self.provider.status_call(task_id)
        if ticket is not None:
            ticket.lane.hold(ticket)
        job = Job(accepted, self._watch, request=None, result_type=result_type, kind=kind, ticket=ticket)
        self._watch.begin(job, deadline=DEFAULT)
        return job

    async def read(self, call: Call, decode: Decode[T]) -> T:
        """Make a call that costs nothing, each attempt behind the gate of all reads."""
        return await self._sender.read(call, decode, self._reads)

    async def knows_task(self, task_id: str) -> bool:
        """Whether the provider knows this task of our account."""
        try:
            call = self.provider.status_call(task_id)
            await self.read(call, lambda answer: self.provider.decode_status(answer, task_id))
        except (ConfigurationError, NotFound):
            return False
        return True

    def post_of(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object, if it is under way."""
        return next((task for task, posted in self._posts.items() if posted is request), None)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside the caller that several may wait for; cancelled when the client closes."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs under way, and those that ended without anybody receiving it."""
        return (*self._jobs, *self._uncollected)

    def tell_low_credits(self, balance: float | None, error: AioweryError | None = None) -> None:
        """Tell the observer that credits run low."""
        self._events.tell(LowCredits(balance=balance, error=error))

    def statistics(self) -> ClientStatistics:
        """Return the figures at this moment."""
        return ClientStatistics(
            lane=self._tasks.statistics(),
            answers=self._answers.statistics(),
            polls=self._watch.statistics(),
            under_way=len(self._jobs),
            credits=self.books.credits,
            money=self.books.money,
            webhooks=self.callbacks.statistics(),
            **attrs.asdict(self._counts),
        )

    def stop_submitting(self) -> None:
        """Turn away who waits in line; what has been sent goes on."""
        self._closing = True
        for lane in (self._tasks, self._answers):
            lane.turn_away(unsent(), [ticket for ticket in self._tickets if ticket.lane is lane])
        self._turns.stop()

    async def aclose(self) -> None:
        """Turn away who waits in line, finish the POSTs under way, report what is left, close the pool."""
        self.stop_submitting()
        try:
            if self._posts:
                await asyncio.wait(self._posts)
        finally:
            self.callbacks.close()
            for errand in self._errands:
                errand.cancel()
            await asyncio.gather(*self._errands, return_exceptions=True)
            await self.uploads.aclose()
            await self._close_the_rest()

    async def _close_the_rest(self) -> None:
        left = tuple(job for job in self.jobs() if not job.done)
        if left:
            ids = ", ".join(task_id for job in left for task_id in job.task_ids)
            log.warning("closed with %d jobs under way; client.job(task_id) finds them again: %s", len(left), ids)
        await self._watch.aclose(left)
        for job in left:
            if job.ticket is not None and job.places:
                job.ticket.release(job.places)
        await self.books.aclose()
        await self._turns.aclose()
        await self._door.aclose()

    # What the watch tells its owner.

    def freed(self, job: Job[Any], places: int) -> None:
        """Tasks of a job have ended: others may take their places."""
        if job.ticket is not None:
            job.ticket.release(places)
            if not job.places and job.request is not None:
                self._turns.end(job.ticket)

    def watched(self, job: Job[Any]) -> None:
        """A job is looked after."""
        self._uncollected.pop(job, None)
        self._jobs.add(job)

    def ended(self, job: Job[Any]) -> None:
        """A job has ended, or our patience with it."""
        if job.done and job.state is TaskState.DONE:
            self._counts.finished += 1
            if job.ticket is not None and job.request is not None:
                job.ticket.done()
        elif job.done:
            self._counts.failed += 1
        if job.done:
            self.books.ended(job)
            self.callbacks.end(job)
        self._jobs.discard(job)
        self._uncollected[job] = None
        if len(self._uncollected) > _UNCOLLECTED:
            forgotten, _ = self._uncollected.popitem(last=False)
            self.books.forget(forgotten)
            self.callbacks.end(forgotten)

    def collected(self, job: Job[Any]) -> None:
        """Somebody has received a job's end."""
        self._uncollected.pop(job, None)

    async def _admission(self, ticket: Ticket) -> None:
        self._tickets.add(ticket)
        try:
            await ticket.lane.enter(ticket)
        finally:
            self._tickets.discard(ticket)
        await self._turns.take(ticket)

    async def _ended_elsewhere(self, task_ids: tuple[str, ...]) -> None:
        """Wait for the end of tasks that another process submitted, as far as they can be asked about."""
        with contextlib.suppress(ConfigurationError, JobError):
            await self.reattach(Accepted(task_ids=task_ids), Result, None).ended(deadline=None)

    def _wanted(self, ticket: Ticket) -> bool:
        """Whether somebody still waits for what has not been sent yet."""
        return not (self._closing or ticket.orphaned)

    def _unused(self, ticket: Ticket) -> None:
        """Give back the places of a submission that brought nothing, and the turn."""
        ticket.lane.refuse(ticket)
        self._turns.end(ticket)

    async def _post(self, order: _Order[ResultT]) -> Job[ResultT]:
        """Open a page for an admitted request, submit it, and write down what came of it."""
        self._counts.submitted += 1
        try:
            page = await self.books.page(order.request, order.entry_id, order.ref, order.budget)
        except BaseException as error:
            self._refused(order.ticket, order.request, error)
            if order.entry_id is not None:
                self.books.give_up(order.entry_id)
            raise
        try:
            accepted = await self._taken(order, page)
        except BaseException as error:
            await self.books.failed(page, error)
            self.callbacks.drop(order.ref)
            job = await self._told_of(order, page, error)
            if job is None:
                raise
            return job
        await page.accepted(accepted)
        return self._accepted(order, page, accepted)

    async def _told_of(self, order: _Order[ResultT], page: Page, error: BaseException) -> Job[ResultT] | None:
        """Return the job of a submission that is in doubt, if the provider has called about it already."""
        if not (order.called_back and isinstance(error, SubmissionInDoubt)):
            return None
        self.doubts.remember(page.entry_id, order.request)
        try:
            return await self.doubts.settled(page.entry_id, order.request)
        except AioweryError as fault:
            log.warning("%s: stays in doubt: %s", order.request.label, fault)
            return None

    async def _taken(self, order: _Order[ResultT], page: Page) -> Accepted:
        """Submit until the provider takes it; while that is too busy, stay at the head of the line."""
        request, ticket = order.request, order.ticket
        while True:
            try:
                return await self._sender.submit(
                    request,
                    order.call,
                    partial(self.provider.decode_accepted, request),
                    page=page,
                    wanted=lambda: self._wanted(ticket),
                )
            except APIError as error:
                if verdict(error) is not Verdict.BUSY or not self._wanted(ticket):
                    self._refused(ticket, request, error)
                    raise
                self._back_off(ticket, request, error)
                await page.refused_for_now(str(error))
                if self._closing:  # an observer has just said so
                    raise unsent() from error
                if ticket.lane.refused_for >= self._retries.patience:
                    self._counts.refused += 1
                    ticket.lane.turn_away(error)  # those behind would wait as long, for the same
                    raise
                await self._admission(ticket)
                if not self._wanted(ticket):  # any more: it stood in line, or waited for another process
                    self._unused(ticket)
                    raise unsent() from error
            except BaseException as error:
                self._refused(ticket, request, error)
                raise

    def _accepted(self, order: _Order[ResultT], page: Page, accepted: Accepted) -> Job[ResultT]:
        request, ticket = order.request, order.ticket
        self._counts.accepted += 1
        ticket.lane.accept(ticket, len(accepted.task_ids))
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(
            accepted, self._watch, request=request, result_type=result_type, kind=request.kind, ticket=ticket
        )
        try:
            self._tell_accepted(request, accepted)
        finally:  # whatever a log handler or an observer raises must not lose what was paid for
            self._turns.accepted(ticket, accepted.task_ids)
            self.books.keep(page, job)
            job.take(accepted.snapshots)
            self.callbacks.begin(job, order.ref, awaited=order.called_back)
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
            self._counts.in_doubt += 1
            log.warning("in doubt: %s: %s", request.label, str(error) or "interrupted while it was being sent")
            return
        if isinstance(error, self.provider.everybodys_errors):  # before its place lets the next one in
            for lane in (self._tasks, self._answers):
                lane.turn_away(error)
        self._unused(ticket)
        self._counts.refused += 1
        log.info("refused: %s: %s", request.label, error)
        if isinstance(error, InsufficientCredits):
            self.tell_low_credits(None, error)

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
