"""Batches: for each request of a named batch a job, whatever has become of it before, here or elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import anyio
import attrs

from aiowery._client.in_doubt import DoubtResolver, RequestReader
from aiowery._client.options import SubmitOptions
from aiowery._client.restore import JobRestorer
from aiowery._client.stream import Requests, RunItem, StreamItem, enumerate_requests
from aiowery._client.submitter import Submitter
from aiowery._core.events import log
from aiowery._core.failures import in_doubt_error
from aiowery._core.policies import OnDoubt, Resubmit
from aiowery._core.request import DEFAULT, Request, ResultT, Timeout
from aiowery._jobs.job import Job
from aiowery._journal.journal import SubmissionJournal, new_entry
from aiowery._journal.spending import BudgetAccount
from aiowery.errors import (
    AioweryError,
    ConfigurationError,
    InsufficientCredits,
    LedgerError,
    NotSent,
    SubmissionInDoubt,
)
from aiowery.ledger import NO_BATCH, Entry, NewEntry, State, check_budget, wrong_base_url

_LOOK_AGAIN: Final = 0.5
_PAGE: Final = 100
_LEFT: Final = frozenset(State) - {State.DONE, State.FAILED}


@attrs.frozen
class BatchEntry:
    """Where a request is in the ledger: its entry, in which state it was found, what had been saved of it."""

    id: int
    state: State
    files: tuple[str, ...]


class BatchService:
    """The durable side of an open client."""

    def __init__(
        self,
        journal: SubmissionJournal[Job[Any]],
        submitter: Submitter,
        restorer: JobRestorer,
        resolver: DoubtResolver,
    ) -> None:
        self._journal = journal
        self._ledger = journal.ledger
        self._submitter = submitter
        self._restorer = restorer
        self._resolver = resolver

    async def add_requests(
        self, name: str, requests: Requests[ResultT], *, reuse: bool
    ) -> AsyncGenerator[StreamItem[ResultT], None]:
        """Yield the requests with their entries; those of a list are all entered before the first is yielded.

        A request is known again by its body, and equal ones by which of them they are: what was inserted or
        left out since the last time changes nothing for the others.
        """
        if isinstance(requests, Sequence):
            places = await self.enter(name, requests, reuse=reuse)
            try:
                for index, place in enumerate(places):
                    yield StreamItem(index, requests[index], place.id)
            except BaseException:  # left early
                self._journal.claims.release_all()
                raise
            return
        numbers: Counter[str] = Counter()
        async for work in enumerate_requests(requests):
            item = self._numbered_item(work, numbers)
            (entry,) = await self._ledger.add(name, [item], reuse=reuse)
            yield StreamItem(work.index, work.request, entry.id)

    async def enter(self, name: str, requests: Sequence[Request[Any]], *, reuse: bool) -> list[BatchEntry]:
        """Enter requests into a batch, and return where each of them is; what was accepted is polled on at once."""
        places: list[BatchEntry] = []
        for page in self._pages(requests):
            entries = await self._ledger.add(name, page, reuse=reuse)
            places += (BatchEntry(entry.id, entry.state, entry.files) for entry in entries)
        self._journal.claims.expect(place.id for place in places if place.state is State.NEW)
        known = zip(places, requests, strict=True)
        await self._attend({place.id: request for place, request in known if place.state is State.ACCEPTED})
        return places

    async def entry_states(self, name: str, requests: Iterable[Request[Any]]) -> list[State | None]:
        """Return what has become of requests in a batch, and enter nothing; None for those that are new to it.

        LedgerError for a batch that was begun at another host.
        """
        items = [item for page in self._pages(requests) for item in page]
        known: dict[str, State] = {}
        after = 0
        while page := await self._ledger.entries(name, after=after):
            if items and page[0].base_url != items[0].base_url:
                raise wrong_base_url(name, items[0], page[0].base_url)
            known.update((entry.key, entry.state) for entry in page)
            after = page[-1].id
        return [known.get(item.key) for item in items]

    async def price(self, request: Request[Any]) -> float | None:
        """Return the credits that a request is expected to cost; None where nobody knows."""
        return await self._journal.spending.prices.estimate(request)

    async def pending(
        self, name: str, readable: RequestReader, *, ended: bool
    ) -> AsyncGenerator[StreamItem[Any], None]:
        """Yield what of a batch has not come to its end, or all; ConfigurationError for a batch that is not there."""
        wanted = frozenset(State) if ended else _LEFT
        ours = [
            entry
            for entry in await self._ledger.entries(name, [State.ACCEPTED])
            if entry.base_url == self._journal.base_url
        ]
        accepted = {entry.id: _read(entry, readable) for entry in ours}
        await self._attend(accepted)
        after = 0
        known = False
        while page := await self._ledger.entries(name, after=after):
            known = True
            for entry in page:
                if entry.base_url != self._journal.base_url:
                    raise ConfigurationError(
                        f"batch {name!r} was begun at {entry.base_url}, not at {self._journal.base_url}"
                    )
                if entry.state in wanted or entry.id in accepted:  # which may have ended since
                    yield StreamItem(entry.index, _read(entry, readable), entry.id)
            after = page[-1].id
        if not known:
            raise ConfigurationError(f"the ledger knows no batch {name!r}")

    async def job(
        self, entry_id: int, request: Request[ResultT], job_timeout: Timeout = DEFAULT, budget: float | None = None
    ) -> Job[ResultT] | None:
        """Return the entry's job: submitted now if it is new, polled on or restored if not.

        None while another process, or another part of this one, works on it. `budget` is the limit of the batch in
        credits. Raises what `submit` raises, the request's rejection, or SubmissionInDoubt.
        """
        return await self._job(request, SubmitOptions(job_timeout=job_timeout, entry_id=entry_id, budget=budget))

    async def _job(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT] | None:
        entry_id = options.entry_id or 0
        if await self._journal.claims.claim(entry_id):
            return await self._submitter.submit(request, options)
        return await self._known_job(entry_id, request)

    def run(self, job_timeout: Timeout, budget: float | None, on_doubt: OnDoubt) -> RunItem[Any]:
        """Return what takes the works of a stream to their ends, and sends nothing new once the account is empty."""
        return BatchRunner(
            self, job_timeout, budget, BudgetAccount(on_doubt.at_most if isinstance(on_doubt, Resubmit) else 0.0)
        )

    async def job_without_sending(
        self, entry_id: int, request: Request[ResultT], why: AioweryError
    ) -> Job[ResultT] | None:
        """Return the entry's job like `job`, but send nothing: NotSent if it is new."""
        if self._journal.claims.release(entry_id) or (await self._entry(entry_id)).state is State.NEW:
            raise NotSent(f"{request.label}: not sent, for another was refused before it: {why}") from why
        return await self._known_job(entry_id, request)

    async def _known_job(self, entry_id: int, request: Request[ResultT]) -> Job[ResultT] | None:
        entry = await self._entry(entry_id)
        match entry.state:
            case State.DONE | State.FAILED:
                return self._restorer.restore(entry, request)
            case State.IN_DOUBT:
                if job := await self._resolver.try_resolve(entry_id, request):
                    return job
                if (await self._entry(entry_id)).state is not State.IN_DOUBT:
                    return None  # settled elsewhere just now
                named = await self._resolver.hints(entry.submission_id)
                raise in_doubt_error(request, entry.sent_at or 0.0, entry.reason, entry.request_id, named)
            case State.ACCEPTED:
                return await self._resume(entry, request)
            case State.SENDING if self._journal.is_lost(entry):
                await self._journal.mark_lost(entry)
        await self._journal.sweep_abandoned()
        return None

    async def find_equal(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT]:
        """Return the job of an equal request that is done or under way, else submit this one."""
        (entry,) = await self._ledger.add(NO_BATCH, [new_entry(request, self._journal.base_url)], reuse=True)
        return await self._await_other_process(request, attrs.evolve(options, entry_id=entry.id))

    async def release_within(self, entry_id: int, request: Request[Any], purse: BudgetAccount) -> bool:
        """Release an entry that is in doubt if the purse pays for sending it again; a price must be known for that."""
        price = await self.price(request)
        if price is None or check_budget(purse.used, price, purse.budget):
            return False
        purse.hold(price)
        await self._ledger.resolve_unsent(entry_id)
        log.warning("%s: in doubt, and sent again for about %g credits, as on_doubt says", request.label, price)
        return True

    async def resubmit(self, entry_id: int, readable: RequestReader, job_timeout: Timeout) -> Job[Any]:
        """Release an entry that is in doubt and submit its request again."""
        entry = await self._entry(entry_id)
        request = _read(entry, readable)
        await self._ledger.resolve_unsent(entry_id)
        return await self._await_other_process(request, SubmitOptions(job_timeout=job_timeout, entry_id=entry_id))

    async def _attend(self, accepted: Mapping[int, Request[Any]]) -> None:
        """Poll on what was accepted, before anything new is sent: its tasks take places at the provider."""
        for entry_id, request in accepted.items():
            entry = await self._entry(entry_id)
            if entry.state is State.ACCEPTED:
                await self._resume(entry, request)

    async def _resume(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT] | None:
        return self._journal.job_of(entry.id) or await self._restorer.resume(entry, request)

    def _pages(self, requests: Iterable[Request[Any]]) -> Iterator[list[NewEntry]]:
        numbers: Counter[str] = Counter()
        works = (StreamItem(index, request) for index, request in enumerate(requests))
        while page := list(islice(works, _PAGE)):
            yield [self._numbered_item(work, numbers) for work in page]

    def _numbered_item(self, work: StreamItem[Any], numbers: Counter[str]) -> NewEntry:
        """Return what is entered for a request, which is the how-manieth of its body."""
        item = new_entry(work.request, self._journal.base_url, work.index, contents=True)
        numbers[item.request_hash] += 1
        numbered_item: NewEntry = attrs.evolve(item, key=f"{item.request_hash}-{numbers[item.request_hash]}")
        return numbered_item

    async def _await_other_process(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT]:
        """Return the entry's job, as soon as no other process works on it."""
        while (job := await self._job(request, options)) is None:  # noqa: ASYNC110 - other processes set no events
            await anyio.sleep(_LOOK_AGAIN)
        return job

    async def _entry(self, entry_id: int) -> Entry:
        entry = await self._ledger.entry(entry_id)
        if entry is None:
            raise LedgerError(f"the ledger has no entry {entry_id}")
        return entry


@attrs.define
class BatchRunner:
    """Runs the works of one stream."""

    batches: BatchService
    job_timeout: Timeout
    budget: float | None
    for_doubts: BudgetAccount
    refusal: InsufficientCredits | None = None

    async def __call__(self, work: StreamItem[ResultT]) -> Job[ResultT] | None:
        entry_id = work.entry_id or 0
        try:
            job = await self._job(entry_id, work.request)
        except SubmissionInDoubt as doubt:  # whose tasks are named, if they are, so that it can be settled
            if doubt.task_ids or not await self.batches.release_within(entry_id, work.request, self.for_doubts):
                raise
            return None  # it is new, and its turn comes
        if job is not None:
            await job.wait_finished(timeout=self.job_timeout)
        return job

    async def _job(self, entry_id: int, request: Request[ResultT]) -> Job[ResultT] | None:
        if self.refusal is not None:
            return await self.batches.job_without_sending(entry_id, request, self.refusal)
        try:
            return await self.batches.job(entry_id, request, self.job_timeout, self.budget)
        except InsufficientCredits as refusal:
            self.refusal = refusal
            raise


def _read(entry: Entry, readable: RequestReader) -> Request[Any]:
    try:
        return readable(entry.request)
    except ConfigurationError as fault:
        raise ConfigurationError(f"entry {entry.id} of batch {entry.batch!r} cannot be made here: {fault}") from fault
