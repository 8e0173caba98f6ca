"""Durable batches: return the job of each request of a named batch, whatever its state in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import anyio
import attrs

from aiowery._client.arguments import (
    check_entry_id,
    check_request,
    check_requests,
    checked_credits,
    checked_name,
    submit_options,
)
from aiowery._client.in_doubt import DoubtResolver, RequestReader
from aiowery._client.options import SubmitOptions
from aiowery._client.restore import JobRestorer
from aiowery._client.stream import Requests, RunItem, StreamItem, enumerate_requests
from aiowery._client.submitter import Submitter
from aiowery._core.events import log
from aiowery._core.failures import in_doubt_error
from aiowery._core.labels import Labels
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

_RETRY_INTERVAL: Final = 0.5
_CHUNK: Final = 100
_UNFINISHED: Final = frozenset(State) - {State.DONE, State.FAILED}


@attrs.frozen
class BatchEntry:
    """A request's entry in the ledger: its id, the state in which it was found, and its saved files."""

    id: int
    state: State
    files: tuple[str, ...]


class BatchService:
    """A service that runs the batches of an open client."""

    def __init__(
        self,
        journal: SubmissionJournal[Job[Any]],
        submitter: Submitter,
        restorer: JobRestorer,
        resolver: DoubtResolver,
        labels: Labels,
    ) -> None:
        self._journal = journal
        self._ledger = journal.ledger
        self._submitter = submitter
        self._restorer = restorer
        self._resolver = resolver
        self._labels = labels

    async def add_requests(
        self, name: str, requests: Requests[ResultT], *, reuse: bool
    ) -> AsyncGenerator[StreamItem[ResultT], None]:
        """Yield the requests with their entries. The requests of a list are all added before the first is yielded.

        A request is matched to its ledger entry by a hash of its content; identical requests are numbered in order.
        Inserting or removing requests therefore does not affect the others.
        """
        if isinstance(requests, Sequence):
            entries = await self.enter(name, requests, reuse=reuse)
            try:
                for index, entry in enumerate(entries):
                    yield StreamItem(index, requests[index], entry.id)
            except BaseException:  # the consumer stopped early
                self._journal.claims.release_all()
                raise
            return
        numbers: Counter[str] = Counter()
        async for item in enumerate_requests(requests):
            new = self._numbered_item(item, numbers)
            (added,) = await self._ledger.add(name, [new], reuse=reuse)
            yield StreamItem(item.index, item.request, added.id)

    async def enter(self, name: str, requests: Sequence[Request[Any]], *, reuse: bool) -> list[BatchEntry]:
        """Add requests to a batch and return their entries; accepted ones are polled again immediately."""
        name = checked_name(name, "enter(): name")
        check_requests("enter", requests, (Sequence,))
        found: list[BatchEntry] = []
        for chunk in self._chunks(requests):
            entries = await self._ledger.add(name, chunk, reuse=reuse)
            found += (BatchEntry(entry.id, entry.state, entry.files) for entry in entries)
        self._journal.claims.expect(entry.id for entry in found if entry.state is State.NEW)
        known = zip(found, requests, strict=True)
        await self._resume_accepted({entry.id: request for entry, request in known if entry.state is State.ACCEPTED})
        return found

    async def entry_states(self, name: str, requests: Iterable[Request[Any]]) -> list[State | None]:
        """Return the states of requests in a batch, None for new ones; nothing is added.

        Raises LedgerError for a batch that was started at another host.
        """
        name = checked_name(name, "entry_states(): name")
        check_requests("entry_states", requests, (Iterable,))
        items = [item for chunk in self._chunks(requests) for item in chunk]
        known: dict[str, State] = {}
        after = 0
        while chunk := await self._ledger.entries(name, after=after):
            if items and chunk[0].base_url != items[0].base_url:
                raise wrong_base_url(name, items[0], chunk[0].base_url)
            known.update((entry.key, entry.state) for entry in chunk)
            after = chunk[-1].id
        return [known.get(item.key) for item in items]

    async def price(self, request: Request[Any]) -> float | None:
        """Return the credits that a request is expected to cost; None if that is unknown."""
        check_request("price", request)
        return await self._journal.spending.prices.estimate(request)

    async def pending(
        self, name: str, read_request: RequestReader, *, ended: bool
    ) -> AsyncGenerator[StreamItem[Any], None]:
        """Yield the unfinished requests of a batch, or all requests if `ended` is true.

        Raises ConfigurationError for a batch that the ledger does not have.
        """
        wanted = frozenset(State) if ended else _UNFINISHED
        resumable = [
            entry
            for entry in await self._ledger.entries(name, [State.ACCEPTED])
            if entry.base_url == self._journal.base_url
        ]
        accepted = {entry.id: _read_entry(entry, read_request) for entry in resumable}
        await self._resume_accepted(accepted)
        after = 0
        known = False
        while chunk := await self._ledger.entries(name, after=after):
            known = True
            for entry in chunk:
                if entry.base_url != self._journal.base_url:
                    raise ConfigurationError(
                        f"batch {name!r} was begun at {entry.base_url}, not at {self._journal.base_url}; nothing was"
                        " sent: open a client with that base_url"
                    )
                if entry.state in wanted or entry.id in accepted:  # accepted ones may have finished meanwhile
                    yield StreamItem(entry.index, _read_entry(entry, read_request), entry.id)
            after = chunk[-1].id
        if not known:
            raise ConfigurationError(f"the ledger has no batch {name!r}; nothing was sent: check the name")

    async def job(
        self,
        entry_id: int,
        request: Request[ResultT],
        job_timeout: Timeout = DEFAULT,
        budget: float | None = None,
        name: str = "",
    ) -> Job[ResultT] | None:
        """Return the entry's job: submitted now if it is new, else resumed or restored.

        None while another process, or another part of this one, works on it. `budget` is the limit of the batch in
        credits; `name` is the caller's number or name for it in logs. Raises what `submit` raises, the request's
        rejection, or SubmissionInDoubt.
        """
        check_entry_id("job", entry_id)
        options = submit_options(request, job_timeout, None, name or _named(entry_id))
        budget = checked_credits("budget", budget)
        return await self._job(request, attrs.evolve(options, entry_id=entry_id, budget=budget))

    async def _job(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT] | None:
        entry_id = options.entry_id or 0
        if await self._journal.claims.claim(entry_id):
            return await self._submitter.submit(request, options)
        return await self._known_job(entry_id, request)

    def run(self, job_timeout: Timeout, budget: float | None, on_doubt: OnDoubt) -> RunItem[Any]:
        """Return the runner of a stream's items, which sends nothing new once the account has no credits left."""
        return BatchRunner(
            self, job_timeout, budget, BudgetAccount(on_doubt.at_most if isinstance(on_doubt, Resubmit) else 0.0)
        )

    async def job_without_sending(
        self, entry_id: int, request: Request[ResultT], reason: AioweryError
    ) -> Job[ResultT] | None:
        """Return the entry's job like `job`, but send nothing. Raises NotSent if it is new."""
        if self._journal.claims.release(entry_id) or (await self._entry(entry_id)).state is State.NEW:
            raise NotSent(
                f"{self._label(entry_id, request)}: nothing was sent, because an earlier request was rejected: {reason}"
            ) from reason
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
                    return None  # another process resolved it just now
                named = await self._resolver.hints(entry.submission_id)
                label, sent_at = self._label(entry_id, request), entry.sent_at or 0.0
                raise in_doubt_error(label, request, sent_at, entry.reason, entry.request_id, named, entry.excerpt)
            case State.ACCEPTED:
                return await self._resume(entry, request)
            case State.SENDING if self._journal.is_lost(entry):
                await self._journal.mark_lost(entry)
        await self._journal.sweep_abandoned()
        return None

    async def find_equal(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT]:
        """Return the job of an equal request that is done or under way; if there is none, submit this one."""
        (entry,) = await self._ledger.add(NO_BATCH, [new_entry(request, self._journal.base_url)], reuse=True)
        return await self._await_other_process(request, attrs.evolve(options, entry_id=entry.id))

    async def release_within(self, entry_id: int, request: Request[Any], account: BudgetAccount) -> bool:
        """Release an entry in doubt if its price is known and the account covers sending it again."""
        price = await self.price(request)
        if price is None or check_budget(account.used, price, account.budget):
            return False
        account.hold(price)
        await self._ledger.resolve_unsent(entry_id)
        log.warning(
            "%s: in doubt, and sent again for about %g credits, as on_doubt allows",
            self._label(entry_id, request),
            price,
            extra={"entry_id": entry_id},
        )
        return True

    async def resubmit(self, entry_id: int, read_request: RequestReader, job_timeout: Timeout) -> Job[Any]:
        """Release an entry in doubt and submit its request again.

        Raises ConfigurationError, and leaves the entry in doubt, for a request of another base URL or provider.
        """
        entry = await self._entry(entry_id)
        if entry.base_url != self._journal.base_url:
            raise ConfigurationError(
                f"entry {entry_id} was sent to {entry.base_url}, not to {self._journal.base_url}; nothing was sent:"
                " open a client with that base_url"
            )
        request = _read_entry(entry, read_request)
        self._submitter.validate(request)
        await self._ledger.resolve_unsent(entry_id)
        return await self._await_other_process(
            request, SubmitOptions(job_timeout=job_timeout, entry_id=entry_id, name=_named(entry_id))
        )

    async def _resume_accepted(self, accepted: Mapping[int, Request[Any]]) -> None:
        """Resume polling accepted entries before anything new is sent, because their tasks take slots."""
        for entry_id, request in accepted.items():
            entry = await self._entry(entry_id)
            if entry.state is State.ACCEPTED:
                await self._resume(entry, request)

    async def _resume(self, entry: Entry, request: Request[ResultT]) -> Job[ResultT] | None:
        return self._journal.job_of(entry.id) or await self._restorer.resume(entry, request)

    def _chunks(self, requests: Iterable[Request[Any]]) -> Iterator[list[NewEntry]]:
        numbers: Counter[str] = Counter()
        items = (StreamItem(index, request) for index, request in enumerate(requests))
        while chunk := list(islice(items, _CHUNK)):
            yield [self._numbered_item(item, numbers) for item in chunk]

    def _numbered_item(self, item: StreamItem[Any], numbers: Counter[str]) -> NewEntry:
        """Return the new entry of a request; identical requests are numbered in order."""
        entry = new_entry(item.request, self._journal.base_url, item.index, contents=True)
        numbers[entry.request_hash] += 1
        numbered: NewEntry = attrs.evolve(entry, key=f"{entry.request_hash}-{numbers[entry.request_hash]}")
        return numbered

    async def _await_other_process(self, request: Request[ResultT], options: SubmitOptions) -> Job[ResultT]:
        """Return the entry's job, as soon as no other process works on it."""
        while (job := await self._job(request, options)) is None:  # noqa: ASYNC110 - other processes set no events
            await anyio.sleep(_RETRY_INTERVAL)
        return job

    def _label(self, entry_id: int, request: Request[Any]) -> str:
        return self._labels.of(request, _named(entry_id))

    async def _entry(self, entry_id: int) -> Entry:
        entry = await self._ledger.entry(entry_id)
        if entry is None:
            raise LedgerError(f"the ledger has no entry {entry_id}; nothing was sent: check the number")
        return entry


@attrs.define
class BatchRunner:
    """A runner of one stream's items.

    It stops sending after a rejection for want of credits. `doubt_account` pays for entries in doubt that are sent
    again.
    """

    batches: BatchService
    job_timeout: Timeout
    budget: float | None
    doubt_account: BudgetAccount
    rejection: InsufficientCredits | None = None

    async def __call__(self, item: StreamItem[ResultT]) -> Job[ResultT] | None:
        entry_id = item.entry_id or 0
        try:
            job = await self._job(entry_id, item)
        except SubmissionInDoubt as doubt:  # if its tasks are named, it can still be resolved
            if doubt.task_ids or not await self.batches.release_within(entry_id, item.request, self.doubt_account):
                raise
            return None  # the entry is new again, and the stream retries it
        if job is not None:
            await job.wait_finished(timeout=self.job_timeout)
        return job

    async def _job(self, entry_id: int, item: StreamItem[ResultT]) -> Job[ResultT] | None:
        if self.rejection is not None:
            return await self.batches.job_without_sending(entry_id, item.request, self.rejection)
        try:
            name = f"{item.name}, {_named(entry_id)}"
            return await self.batches.job(entry_id, item.request, self.job_timeout, self.budget, name)
        except InsufficientCredits as rejection:
            self.rejection = rejection
            raise


def _named(entry_id: int) -> str:
    return f"entry {entry_id}"


def _read_entry(entry: Entry, read_request: RequestReader) -> Request[Any]:
    try:
        return read_request(entry.request)
    except ConfigurationError as fault:
        raise ConfigurationError(
            f"entry {entry.id} of batch {entry.batch!r} cannot be read by this client: {fault}"
        ) from fault
