"""What the provider tells by itself: whose call it is, and what follows from it.

A call is a hint, never the truth: it makes a look come at once, or a doubt be asked about.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from aiowery._core.events import log
from aiowery._core.request import Request
from aiowery._core.statistics import WebhookStatistics
from aiowery._core.webhook_config import Webhooks, WebhookState
from aiowery._http.retry import some_of
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._journal.journal import SubmissionJournal
from aiowery.errors import AioweryError, ConfigurationError, LedgerError
from aiowery.ledger import Entry, State, WebhookDelivery

_REMEMBERED: Final = 10_000
_DOUBTS: Final = 1000
_DENIALS: Final = 5
_ROUNDS: Final = 5
_WATCHED: Final = 0.05
_IDLE: Final = 1.0

RequestReader = Callable[[Mapping[str, Any]], Request[Any]]
"""Makes the request that a JSON object describes; ConfigurationError for what describes none."""


class Owner(Protocol):
    """What settles a doubt needs of the open client."""

    async def may_belong_to(self, request: Request[Any], task_id: str, sent_at: float) -> bool:
        """Return True if the provider knows this task, and its answer does not show that another request began it."""
        ...

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs that are in memory."""
        ...

    async def resume(self, entry: Entry, request: Request[Any]) -> Job[Any] | None:
        """Return the job of an accepted entry, polled on; None when another process looks after it."""
        ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something beside the caller, until the client closes."""
        ...


class DoubtResolver:
    """Settles doubts by the tasks that the provider named for them, in a webhook delivery or in a refusal.

    They are hints: each is asked about, and adopted if the provider knows it and it belongs to no other submission.
    """

    def __init__(self, books: SubmissionJournal, owner: Owner, readable: RequestReader) -> None:
        self._books = books
        self._ledger = books.ledger
        self._owner = owner
        self._readable = readable
        self._requests: OrderedDict[int, Request[Any]] = OrderedDict()
        self._confirmed: dict[int, set[str]] = {}
        self._denied: Counter[tuple[int, str]] = Counter()
        self._one_at_a_time = asyncio.Lock()

    def remember(self, entry_id: int, request: Request[Any]) -> None:
        """Note what was asked, for the memory's ledger keeps nothing of a request of no batch."""
        self._requests[entry_id] = request
        if len(self._requests) > _DOUBTS:
            self._requests.popitem(last=False)

    async def record_named(self, ref: str, request: Request[Any], task_ids: Sequence[str]) -> tuple[str, ...]:
        """Keep the tasks that a refusal names as hints of its attempt, and return them, less those that are known.

        Known are the tasks of other entries and of jobs in memory, and the one that the request itself names. An id
        that cannot be looked up or kept is returned: what may have been charged must not be sent again.
        """
        known = {task_id for job in self._owner.jobs() for task_id in job.task_ids} | {_named_by(request)}
        new = tuple(task_id for task_id in task_ids if task_id not in known)
        try:
            new = tuple([task_id for task_id in new if not await self._ledger.entries_with_task(task_id)])
            for task_id in new:
                await self._ledger.record_delivery(ref, task_id, ended=False)
        except Exception as fault:  # noqa: BLE001 - a ledger of the caller's own may raise anything
            log.error("%s: refused, and not in the ledger: %s (%s)", request.label, ", ".join(new), fault)
        return new

    async def prove(self, entry_id: int, request: Request[Any]) -> tuple[str, ...]:
        """Return the tasks of an attempt that is being sent, if what was named for it proves them; () if not.

        Raises what the status checks and the ledger raise.
        """
        entry = await self._ledger.entry(entry_id)
        try:
            return () if entry is None else await self._prove(entry, await self.hints(entry.submission_id), request)
        finally:
            self._confirmed.pop(entry_id, None)

    async def hints(self, ref: str | None) -> tuple[str, ...]:
        """Return the tasks that were named for an attempt, which proves nothing."""
        return () if ref is None else tuple(one.task_id for one in await self._ledger.deliveries(submission_id=ref))

    async def try_resolve(self, entry_id: int, request: Request[Any] | None = None) -> Job[Any] | None:
        """Return the job of an entry that was in doubt until now; None while nothing proves what became of it."""
        async with self._one_at_a_time:
            entry = await self._ledger.entry(entry_id)
            if entry is None or entry.state is not State.IN_DOUBT or entry.submission_id is None:
                return self._books.job_of(entry_id)
            request = request or self._request_of(entry)
            if request is None or entry.base_url != self._books.base_url:
                return None
            named = await self.hints(entry.submission_id)
            try:
                proven = await self._prove(entry, named, request)
            except LedgerError:
                raise
            except AioweryError as fault:  # a status check that failed proves nothing
                proven, why = (), str(fault)
            else:
                why = f"no proof of {request.task_count} tasks"
            if proven:
                return await self._adopt(entry_id, proven, request)
            if named:
                log.warning("%s: stays in doubt; the provider named %s (%s)", request.label, some_of(named), why)
            return None

    async def _prove(self, entry: Entry, named: Sequence[str], request: Request[Any]) -> tuple[str, ...]:
        """Return the tasks that are an entry's by all signs, if they are as many as its request has; () if not.

        A part of what was charged must not hide the rest.
        """
        if request.direct_timeout is not None:  # it starts no task that could be asked about
            return ()
        free = await self._unclaimed(entry, await self._confirmed_by_provider(entry, named, request), request)
        return tuple(free) if len(free) == request.task_count else ()

    def _request_of(self, entry: Entry) -> Request[Any] | None:
        with contextlib.suppress(ConfigurationError):
            return self._requests.get(entry.id) or self._readable(entry.request)
        return None

    async def _confirmed_by_provider(self, entry: Entry, named: Sequence[str], request: Request[Any]) -> list[str]:
        """Return those of the tasks that the provider knows, and whose answers do not contradict the request.

        Each is asked about until the provider does, a few times at most: who forges calls must not make us ask on.
        """
        confirmed = self._confirmed.setdefault(entry.id, set())
        for task_id in named:
            if task_id in confirmed or self._denied[entry.id, task_id] >= _DENIALS:
                continue
            if await self._owner.may_belong_to(request, task_id, entry.sent_at or 0.0):
                confirmed.add(task_id)
            else:
                self._denied[entry.id, task_id] += 1
        return [task_id for task_id in named if task_id in confirmed]

    async def _unclaimed(self, entry: Entry, known: Sequence[str], request: Request[Any]) -> list[str]:
        """Return those of the tasks that no other entry has and that were named for no other attempt.

        One that is adopted twice would hide a charge. Hints are written before they are read, so of two attempts that
        settle at once, in two processes even, one at least sees the other's.
        """
        elsewhere = (
            {one.task_id for one in await self._ledger.deliveries() if one.submission_id != entry.submission_id}
            if known
            else set()
        )
        free = []
        for task_id in known:
            taken = task_id in elsewhere or set(await self._ledger.entries_with_task(task_id)) - {entry.id}
            if not taken or task_id == _named_by(request):
                free.append(task_id)
        return free

    async def _adopt(self, entry_id: int, task_ids: Sequence[str], request: Request[Any]) -> Job[Any] | None:
        try:
            await self._ledger.resolve_accepted(entry_id, task_ids)
        except LedgerError:
            settled = await self._ledger.entry(entry_id)
            if settled is None or settled.state is State.IN_DOUBT:
                raise
            return None  # somebody else who heard of it was quicker
        log.warning("%s: in doubt no more, the provider named %s", request.label, ", ".join(task_ids))
        self._requests.pop(entry_id, None)
        self._confirmed.pop(entry_id, None)
        adopted = await self._ledger.entry(entry_id)
        return None if adopted is None else await self._owner.resume(adopted, request)


def _named_by(request: Request[Any]) -> str | None:
    """Return the task that a request itself names, such as a podcast's second step that of its first."""
    task_id: str | None = getattr(request, "task_id", None)
    return task_id


class WebhookListener:
    """The lines on which the provider may call an open client."""

    def __init__(
        self, webhooks: Webhooks | None, watch: JobPoller, books: SubmissionJournal, doubts: DoubtResolver, owner: Owner
    ) -> None:
        self._webhooks = webhooks
        self._watch = watch
        self._books = books
        self._ledger = books.ledger
        self._doubts = doubts
        self._owner = owner
        self._jobs: dict[str, Job[Any]] = {}
        self._early: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._begun = asyncio.Event()
        self._settling: set[int] = set()
        self._closed = False
        self._received = 0
        self._last = 0

    def open(self) -> None:
        """Listen, if the provider is to call."""
        if self._webhooks is None:
            return
        if self._webhooks.receiver is not None:
            self._webhooks.receiver.attach(self)
        if self._ledger.is_shared:
            self._owner.spawn(self._poll_deliveries())

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        if self._webhooks is not None and self._webhooks.receiver is not None:
            self._webhooks.receiver.detach(self)

    def url_for(self, token: str) -> str | None:
        """Return where the provider is to call about one submission; None where it is not to."""
        return None if self._webhooks is None else self._webhooks.address(token)

    def register(self, job: Job[Any], ref: str, *, awaited: bool) -> None:
        """Listen for a job; `awaited` when the provider was told to call about it."""
        called = self._early.pop(ref, None) in job.task_ids
        if self._webhooks is None or not job.open_task_ids:
            return
        job.line = WebhookState(ref, awaited, has_delivered=called, woken=called)
        self._jobs[ref] = job
        self._begun.set()

    def unregister(self, job: Job[Any]) -> None:
        """Listen no more for a job; what is told of it again is received, and changes nothing."""
        if job.line is None or self._jobs.pop(job.line.submission_id, None) is None:
            return
        self._ended[job.line.submission_id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def forget(self, ref: str) -> None:
        """Forget a submission that brought no job."""
        self._early.pop(ref, None)

    async def knows(self, ref: str) -> bool:
        """Return True if this mark is one of a submission that is known here, whatever has become of it."""
        return ref in self._jobs or ref in self._ended or await self._ledger.has_submission(ref)

    async def on_delivery(self, ref: str, task_id: str, *, ended: bool) -> bool:
        """Record that a task was told of under a mark, and whether as ended; False when that is not known here."""
        known = self._notify_job(ref, task_id, ended=ended)
        if known is None:
            entry = await self._ledger.record_delivery(ref, task_id, ended=ended)
            known = entry is not None and entry.base_url == self._books.base_url
            if entry is not None and known:
                self._follow_up(entry, WebhookDelivery(0, ref, task_id, ended))
        self._received += known
        return known

    def statistics(self) -> WebhookStatistics | None:
        """Return the figures at this moment; None where the provider is not to call."""
        if self._webhooks is None:
            return None
        net = self._watch.fallback
        return WebhookStatistics(
            awaited=len(self._jobs),
            received=self._received,
            first=net.calls,
            late=net.misses,
            fallback_interval=net.seconds,
        )

    def _notify_job(self, ref: str, task_id: str, *, ended: bool) -> bool | None:
        """Tell a job of ours; None when the mark is not one of a job here."""
        if ref in self._ended:
            return True
        job = self._jobs.get(ref)
        if job is None or job.line is None:
            return None
        if ended and task_id in job.open_task_ids:
            self._watch.on_webhook(job, job.line)
        return task_id in job.task_ids

    def _follow_up(self, entry: Entry, one: WebhookDelivery) -> None:
        if entry.state is State.IN_DOUBT:
            if entry.id not in self._settling and not self._closed:  # a call may be on its way while we close
                self._settling.add(entry.id)
                self._owner.spawn(self._resolve_in_rounds(entry.id))
        elif entry.state is State.SENDING and self._books.is_ours(entry.id):
            if one.finished:
                self._early[one.submission_id] = one.task_id
        else:
            self._notify_job(one.submission_id, one.task_id, ended=one.finished)  # accepted while we asked

    async def _resolve_in_rounds(self, entry_id: int) -> None:
        """Settle a doubt if it can be, in a few rounds, ever further apart, which serve all calls that come meanwhile.

        A status may also lag behind its call.
        """
        try:
            for number in range(_ROUNDS):
                if await self._try_resolve(entry_id):
                    break
                await asyncio.sleep(self._watch.retry_round_delay(number))
        finally:
            self._settling.discard(entry_id)

    async def _try_resolve(self, entry_id: int) -> bool:
        try:
            return await self._doubts.try_resolve(entry_id) is not None
        except AioweryError as error:  # nothing is lost: it is still in doubt, and still told of
            log.warning("entry %d stays in doubt: %s", entry_id, error)
            return False

    async def _poll_deliveries(self) -> None:
        """Hear what other processes have received for us, soon after they wrote it down."""
        seen: int | None = None
        while True:
            try:
                if (version := await self._ledger.change_counter()) != seen:
                    await self._read_new_deliveries()
                    seen = version
            except LedgerError as error:
                log.warning("what other processes receive cannot be read (%s); polling goes on", error)
                await asyncio.sleep(_IDLE)
            await asyncio.sleep(_WATCHED)
            if not self._jobs:
                await self._idle()

    async def _idle(self) -> None:
        """Rest, as long as there is no job: then only a doubt may be called about."""
        self._begun.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE):
                await self._begun.wait()

    async def _read_new_deliveries(self) -> None:
        for one in await self._ledger.deliveries(after=self._last):
            await self._handle_delivery(one)
            self._last = one.id

    async def _handle_delivery(self, one: WebhookDelivery) -> None:
        told = self._notify_job(one.submission_id, one.task_id, ended=one.finished)
        if told is not None:
            self._received += told
            return
        entry = await self._ledger.record_delivery(one.submission_id, one.task_id, ended=one.finished)
        if entry is not None and entry.base_url == self._books.base_url:
            self._received += self._books.is_ours(entry.id)  # and not those of others on the same file
            self._follow_up(entry, one)
