"""An open client: everything that belongs to one event loop, from the pool to the last job.

`Session` lives from `async with` to its end; the client in front of it is only configuration and can be opened
again, in another loop too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

import attrs

from aiowery._base.snapshot import Kind, TaskState
from aiowery._client.submitter import Submitter
from aiowery._client.webhook_listener import DoubtResolver, RequestReader, WebhookListener
from aiowery._core.durations import DurationEstimator, Interval
from aiowery._core.events import EventEmitter, LowCredits, log
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.policies import Limits, PollPolicy, Random, RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Request, Result, ResultT
from aiowery._core.statistics import ClientStatistics
from aiowery._core.webhook_config import Webhooks
from aiowery._http.api_key import ApiKeySource
from aiowery._http.download import Downloader
from aiowery._http.http_client import HttpClient
from aiowery._http.retry import Decode, RetryingClient, T
from aiowery._http.upload import Uploader
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._journal.journal import SubmissionJournal
from aiowery._journal.serialization import load_error, load_snapshots
from aiowery._queue.circuit_breaker import BreakerMember, CircuitBreaker, shared_breaker
from aiowery._queue.cross_process import CrossProcessTurn
from aiowery._queue.state_file import QueueStateFile
from aiowery._queue.submission_queue import SubmissionQueue, Ticket, shared_queue
from aiowery.errors import (
    AioweryError,
    ConfigurationError,
    JobError,
    NotFound,
)
from aiowery.ledger import Entry, State

_UNCOLLECTED: Final = 1000


class ClientRuntime:
    """The parts of an open client, wired together."""

    def __init__(
        self,
        provider: Provider,
        door: HttpClient,
        credential: ApiKeySource,
        key: str,
        *,
        limits: Limits,
        polling: PollPolicy,
        retries: RetryPolicy,
        events: EventEmitter,
        random: Random,
        books: SubmissionJournal,
        readable: RequestReader,
        lease: QueueStateFile | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.provider = provider
        self.books = books
        self._door = door
        self._events = events
        self._reads = asyncio.Semaphore(limits.polls)
        self._sender = sender = RetryingClient(door, credential, retries, random)
        self.brake: CircuitBreaker = shared_breaker(
            door.base_url, key, lambda: CircuitBreaker(limits.max_doubts, retries)
        )
        self._tasks = shared_queue(
            door.base_url, key, "tasks", lambda: SubmissionQueue(limits, retries, random, self.brake)
        )
        # What answers at once may take minutes, during which tasks go on being submitted.
        self._answers = shared_queue(
            door.base_url,
            key,
            "answers",
            lambda: SubmissionQueue(limits.for_direct_calls(), retries, random, self.brake),
        )
        self.downloads: Downloader = Downloader(door, asyncio.Semaphore(limits.downloads), retries, random)
        self.uploads: Uploader = Uploader(provider, sender, asyncio.Semaphore(limits.uploads))
        self._watch = JobPoller(
            provider,
            sender,
            polling,
            gate=self._reads,
            polls=limits.polls,
            events=events,
            random=random,
            owner=self,
            durations=DurationEstimator(polling.min_samples, polling.percentile, books.durations),
        )
        self.doubts: DoubtResolver = DoubtResolver(books, self, readable)
        self.callbacks: WebhookListener = WebhookListener(webhooks, self._watch, books, self.doubts, self)
        self._turns = CrossProcessTurn(self._tasks, lease, self._ended_elsewhere)
        self.submissions: Submitter = Submitter(
            provider,
            sender,
            books,
            self._watch,
            tasks=self._tasks,
            answers=self._answers,
            turns=self._turns,
            uploads=self.uploads,
            callbacks=self.callbacks,
            doubts=self.doubts,
            retries=retries,
            events=events,
        )
        self._errands: set[asyncio.Task[Any]] = set()
        self._jobs: set[Job[Any]] = set()
        self._uncollected: OrderedDict[Job[Any], None] = OrderedDict()
        self._finished = 0
        self._failed = 0
        self._member = BreakerMember(
            check=lambda: self.spawn(self._probe_liveness()),
            admit=self._admit,
            emit=events.emit,
        )
        self.brake.add_member(self._member)
        self.callbacks.open()

    def restore(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT]:
        """Return the job of an entry that is done or failed; raises why the provider refused it, if it did."""
        accepted = Accepted(
            task_ids=entry.task_ids, provider_batch_id=entry.provider_batch_id, request_id=entry.request_id
        )
        result_type: Any = request.result_type
        job: Job[ResultT] = Job(accepted, self._watch, request=request, result_type=result_type, kind=request.kind)
        job.take(load_snapshots(entry))
        if entry.state is State.DONE:
            job.settle(
                result_type.from_snapshots(job.snapshots, seconds=entry.seconds, request_id=entry.request_id), None
            )
            return job
        error = load_error(entry)
        if not isinstance(error, JobError):
            raise error
        job.settle(None, error)
        return job

    async def resume(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT] | None:
        """Return the job of an accepted entry, polled on; None when another process looks after it."""
        if not await self.books.ledger.take_ownership(entry.id):
            return None
        accepted = Accepted(
            task_ids=entry.task_ids, provider_batch_id=entry.provider_batch_id, request_id=entry.request_id
        )
        result_type: Any = request.result_type
        # Its tasks take places at the provider, which would refuse what we sent beyond them.
        ticket = self._tasks.new_ticket(len(entry.task_ids)) if request.direct_timeout is None else None
        job: Job[ResultT] = self.reattach(accepted, result_type, request.kind, ticket, sent_at=entry.sent_at)
        self.books.watch_entry(entry.id, job)
        if entry.submission_id is not None and job.line is None:
            self.callbacks.register(job, entry.submission_id, awaited=False)
        return job

    def reattach(
        self,
        accepted: Accepted,
        result_type: type[ResultT],
        kind: Kind | None,
        ticket: Ticket | None = None,
        *,
        sent_at: float | None = None,
    ) -> Job[ResultT]:
        """Return a job for tasks that were submitted earlier: the one we have, if we have it.

        A `ticket` gets the places that they take, until they have ended. `sent_at`: when they were submitted (the time
        of the day); its seconds count from then, where that is known. Raises ConfigurationError for an id that
        nothing can be asked about.
        """
        # A podcast's two steps share one task, so the ids alone do not tell jobs apart.
        same = (job for job in self.jobs() if job.task_ids == accepted.task_ids)
        known = next((job for job in same if result_type in {Result, job.result_type}), None)
        if known is not None:
            return known
        for task_id in accepted.task_ids:
            self.provider.status_request(task_id)
        if ticket is not None:
            ticket.queue.reserve(ticket)
        job = Job(accepted, self._watch, request=None, result_type=result_type, kind=kind, ticket=ticket)
        if sent_at is not None:  # a clock that was set back makes no job younger than it is
            job.accepted_at -= max(0.0, time.time() - sent_at)
        self._watch.track(job, timeout=DEFAULT)
        return job

    async def read(self, call: HttpRequest, decode: Decode[T]) -> T:
        """Make a call that costs nothing, each attempt behind the gate of all reads."""
        return await self._sender.send_idempotent(call, decode, self._reads)

    async def may_belong_to(self, request: Request[Any], task_id: str, sent_at: float) -> bool:
        """Return True if the provider knows this task, and its answer does not show that another request began it."""
        try:
            call = self.provider.status_request(task_id)
            snapshot = await self.read(call, lambda answer: self.provider.decode_status(answer, task_id))
        except (ConfigurationError, NotFound):
            return False
        return not self.provider.contradicts_request(request, snapshot, sent_at)

    def _admit(self) -> None:
        """Let in what waits in the lanes and may go."""
        self._tasks.admit()
        self._answers.admit()

    async def _probe_liveness(self) -> str | None:
        """Make the provider's cheapest free read; return why no answer of its own came, None if one did."""
        call = self.provider.liveness_request()
        if call is None:
            return None

        def fault_in(answer: HttpResponse) -> str | None:
            if self.provider.is_own_response(answer):
                return None
            return f"{call.path}: HTTP {answer.http_status} that is not the provider's own ({answer.excerpt!r})"

        try:
            async with self._reads:
                return await self._sender.send_once(call, fault_in)
        except AioweryError as error:
            return f"{call.path}: {error}"

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside the caller that several may wait for; cancelled when the client closes."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs under way, and those that ended without anybody receiving it."""
        return (*self._jobs, *self._uncollected)

    def emit_low_credits(self, balance: float) -> None:
        """Tell the observer that credits run low."""
        self._events.emit(LowCredits(balance=balance))

    def statistics(self) -> ClientStatistics:
        """Return the figures at this moment."""
        return ClientStatistics(
            queue=self._tasks.statistics(),
            direct_queue=self._answers.statistics(),
            polls=self._watch.statistics(),
            under_way=len(self._jobs),
            credits=self.books.credits,
            money=self.books.money,
            webhooks=self.callbacks.statistics(),
            finished=self._finished,
            failed=self._failed,
            **attrs.asdict(self.submissions.counts),
        )

    async def aclose(self) -> None:
        """Turn away who waits in line, finish the POSTs under way, report what is left, close the pool."""
        self.submissions.stop()
        try:
            await self.submissions.finished()
        finally:
            self.brake.remove_member(self._member)
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
                self._turns.release(job.ticket)

    def watched(self, job: Job[Any]) -> None:
        """A job is looked after."""
        self._uncollected.pop(job, None)
        self._jobs.add(job)

    def learned(self, job: Job[Any], interval: Interval) -> None:
        """A look has found a job's end."""
        self.books.record_duration(job, interval)

    def ended(self, job: Job[Any]) -> None:
        """A job has ended, or our patience with it."""
        if job.done and job.state is TaskState.DONE:
            self._finished += 1
            if job.ticket is not None and job.request is not None:
                job.ticket.finished()
        elif job.done:
            self._failed += 1
        if job.done:
            self.books.record_end(job)
            self.callbacks.unregister(job)
        else:
            self.books.disown(job)
        self._jobs.discard(job)
        self._uncollected[job] = None
        if len(self._uncollected) > _UNCOLLECTED:
            forgotten, _ = self._uncollected.popitem(last=False)
            self.books.forget(forgotten)
            self.callbacks.unregister(forgotten)

    def collected(self, job: Job[Any]) -> None:
        """Somebody has received a job's end."""
        self._uncollected.pop(job, None)

    async def _ended_elsewhere(self, task_ids: tuple[str, ...]) -> None:
        """Wait for the end of tasks that another process submitted, as far as they can be asked about."""
        with contextlib.suppress(ConfigurationError, JobError):
            await self.reattach(Accepted(task_ids=task_ids), Result, None).wait_finished(timeout=None)
