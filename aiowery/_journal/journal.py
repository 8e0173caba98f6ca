"""The books of an open client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Hashable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from aiowery._core.durations import Interval
from aiowery._core.events import log
from aiowery._core.request import Request
from aiowery._core.request_types import to_dict
from aiowery._jobs.job import Job
from aiowery._journal.record import SubmissionRecord
from aiowery._journal.serialization import duration_kind, durations_at
from aiowery._journal.spending import BudgetAccount, PriceEstimator, PriceProbe, PriceTable, price_key
from aiowery.errors import LedgerError, SubmissionInDoubt
from aiowery.ledger import NO_BATCH, Duration, Entry, Ledger, NewEntry, State, hash_request

_PATIENCE: Final = 2.0
_AHEAD: Final = 15
_DOUBTS: Final = 1000
_NO_REQUEST: Final[Mapping[str, Any]] = {}


class SubmissionJournal:
    """Opens a page for each submission and keeps what becomes of it; closes once everything is written.

    A ledger that is the caller's own is neither opened nor closed here.
    """

    def __init__(
        self,
        ledger: Ledger,
        host: str,
        *,
        owned: bool,
        prices: PriceTable | None,
        budget: float | None,
        price_per_credit: float | None,
    ) -> None:
        self.ledger: Ledger = ledger
        self.base_url: str = host
        self.prices: PriceEstimator = PriceEstimator(prices, ledger, host)
        self.price_probe: PriceProbe = PriceProbe(self.prices)
        self.durations: dict[Hashable, list[Interval]] = {}
        self._owned = owned
        self._budget = BudgetAccount(budget)
        self._price_per_credit = price_per_credit
        self._pages: dict[Job[Any], SubmissionRecord] = {}
        self._ours: dict[int, Job[Any] | None] = {}
        self._expected: dict[int, None] = {}
        self._ahead: set[int] = set()
        self._unwritten: set[int] = set()
        self._doubted: dict[int, SubmissionRecord] = {}
        self._lasted: dict[Job[Any], Interval] = {}
        self._claiming = asyncio.Lock()
        self._writing: set[asyncio.Task[None]] = set()
        self._looked_at = float("-inf")

    @property
    def credits(self) -> float:
        """What was charged, and the estimates of what is under way or in doubt."""
        return self._budget.used

    @property
    def money(self) -> float | None:
        """What those credits have cost, where that is known."""
        return None if self._price_per_credit is None else self._budget.used * self._price_per_credit

    async def open(self) -> None:
        """Open the ledger, inherit what dead processes left, and read how long jobs have taken."""
        if self._owned:
            await self.ledger.open()
        await self.sweep_abandoned()
        self.durations = durations_at(self.base_url, await self.ledger.durations())

    async def aclose(self) -> None:
        """Finish writing, and close the ledger."""
        self.release_claims()
        while self._writing:
            await asyncio.wait(self._writing)
        if self._owned:
            await self.ledger.aclose()

    async def sweep_abandoned(self) -> None:
        """Inherit what processes have left that died meanwhile; asks no more often than every two seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_at + _PATIENCE:
            return
        self._looked_at = now
        if doubts := await self.ledger.recover_abandoned():
            log.warning("%d submissions of a process that has ended are in doubt", doubts)

    async def probe_price(self, request: Request[Any], budget: float | None, until: float | None = None) -> str | None:
        """Wait where a budget counts and the first of a sort has yet to tell the price; return the sort for that one.

        That turn ends with its page, or with `first_buyers.bought`. Raises TimeoutError at `until` (a loop time).
        """
        return await self.price_probe.acquire(request, until) if self._has_budget(budget) else None

    async def open_record(
        self, request: Request[Any], entry_id: int | None, ref: str, budget: float | None, sort: str | None
    ) -> SubmissionRecord:
        """Return the page of a claimed entry, or of a new one for a request of no batch; `ref` marks its attempts.

        `sort`: of which it is the first that is bought, if it is.
        """
        cost = await self.prices.estimate(request) if self._has_budget(budget) else None
        lasting = entry_id is not None
        if entry_id is None:
            (entry,) = await self.ledger.add(NO_BATCH, [self._plain_entry(request)], claim=True)
            entry_id = entry.id
        self._ours[entry_id] = None
        return SubmissionRecord(
            self.ledger, entry_id, self._budget, ref, cost=cost or 0.0, budget=budget, lasting=lasting, sort=sort
        )

    def _plain_entry(self, request: Request[Any]) -> NewEntry:
        """Return what is entered for a request that nobody will look for again, unless the ledger remembers it."""
        if self.ledger.keeps_finished:
            return new_entry(request, self.base_url)
        key = price_key(request, self.base_url) if self._budget.budget is not None else ""
        return NewEntry(key="", index=0, request=_NO_REQUEST, base_url=self.base_url, price_key=key)

    def attach_job(self, page: SubmissionRecord, job: Job[Any]) -> None:
        """Remember whose job it is, to write down its end."""
        self._pages[job] = page
        self._ours[page.entry_id] = job

    def limit_price_wait(self, page: SubmissionRecord, within: float) -> None:
        """Let others of its sort wait no longer than so many seconds, however patient its own caller is."""
        if page.price_group is not None:
            asyncio.get_running_loop().call_later(within, lambda: self._end_probe(page, untold=True))

    def watch_entry(self, entry_id: int, job: Job[Any]) -> None:
        """Keep the job of an entry that was accepted earlier, or that was in doubt until now."""
        page = self._doubted.pop(entry_id, None)
        if page is None:
            page = SubmissionRecord(self.ledger, entry_id, self._budget, "", cost=0.0, budget=None, lasting=True)
        self.attach_job(page, job)

    async def claim(self, entry_id: int) -> bool:
        """Take a new entry, and some of those that are expected next; False when it is not new any more."""
        async with self._claiming:
            if entry_id not in self._ahead:
                await self._claim_from(entry_id)
        if entry_id not in self._ahead:
            return False
        self._ahead.remove(entry_id)
        self._ours[entry_id] = None
        return True

    def prefetch_claims(self, entry_ids: Iterable[int]) -> None:
        """Note which new entries are going to be claimed one after the other."""
        self._expected = dict.fromkeys(entry_ids)

    def release_claims(self) -> None:
        """Leave to others what was claimed ahead."""
        self._expected = {}
        for entry_id in tuple(self._ahead):
            self.release_claim(entry_id)

    def release_claim(self, entry_id: int) -> bool:
        """Let go of an entry that was claimed ahead; return whether it was."""
        if entry_id not in self._ahead:
            return False
        self._ahead.remove(entry_id)
        self._write(self.ledger.unclaim(entry_id))
        return True

    async def _claim_from(self, entry_id: int) -> None:
        claiming = asyncio.ensure_future(self.ledger.claim(self._next_from(entry_id)))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # nobody would ever let go of them
            self._write(self._unclaimed(claiming))
            raise
        self._ahead.update(claimed)

    def _next_from(self, entry_id: int) -> list[int]:
        """Return an entry and some of those that are expected."""
        self._expected.pop(entry_id, None)
        ahead = list(islice(self._expected, _AHEAD))
        for other in ahead:
            del self._expected[other]
        return [entry_id, *ahead]

    async def mark_lost(self, entry: Entry) -> None:
        """Put in doubt what we were sending, and of which we could not write down what became of it."""
        await self.ledger.mark_in_doubt(entry.submission_id or "", "what became of it could not be written down")
        self._unwritten.discard(entry.id)

    def is_lost(self, entry: Entry) -> bool:
        """Whether nobody is sending an entry any more of which the ledger says that it is being sent from here.

        Another client may share a ledger of the caller's, so there we must know that it was us.
        """
        if entry.owner != self.ledger.owner or entry.id in self._ours:
            return False
        return self._owned or entry.id in self._unwritten

    def is_ours(self, entry_id: int) -> bool:
        """Whether this client is sending an entry, or looks after its job."""
        return entry_id in self._ours

    def job_of(self, entry_id: int) -> Job[Any] | None:
        """Return the job of an entry, if this client looks after it."""
        return self._ours.get(entry_id)

    async def record_failure(self, page: SubmissionRecord, error: BaseException) -> None:
        """Write why there is no job, even if whoever waits is cancelled."""
        await asyncio.shield(self._write(self._failed(page, error)))

    def unclaim(self, entry_id: int) -> None:
        """Let go of a claimed entry that was not sent."""
        self._write(self._given_up(entry_id))

    def record_duration(self, job: Job[Any], interval: Interval) -> None:
        """Note how long a job took, to write it down with its end."""
        if job in self._pages:
            self._lasted[job] = interval

    def record_end(self, job: Job[Any]) -> None:
        """Write down a job's end, beside the work, which does not stop for it."""
        page = self._pages.pop(job, None)
        if page is not None:
            lasted = self._lasted.pop(job, None)
            duration = None if lasted is None else Duration(duration_kind(self.base_url, job.timing_key), *lasted)
            self._write(self._ended(page, job, duration))

    def disown(self, job: Job[Any]) -> None:
        """Our patience with a job has ended: another process may look after it, if it lasts."""
        page = self._pages.get(job)
        if page is not None:
            self._end_probe(page, untold=True)
            self._write(self.ledger.give_up_ownership(page.entry_id))

    def forget(self, job: Job[Any]) -> None:
        """Remember no more whose job it is; a ledger that forgets what has ended forgets it too."""
        page = self._pages.pop(job, None)
        if page is not None:
            self._leave(page)
            if not self.ledger.keeps_finished:
                self._write(self.ledger.mark_finished(page.entry_id, State.FAILED))

    async def _unclaimed(self, claiming: asyncio.Future[list[int]]) -> None:
        for entry_id in await claiming:
            await self.ledger.unclaim(entry_id)

    async def _given_up(self, entry_id: int) -> None:
        try:
            await self.ledger.unclaim(entry_id)
        finally:
            self._ours.pop(entry_id, None)

    async def _failed(self, page: SubmissionRecord, error: BaseException) -> None:
        try:
            await page.mark_failed(error)
        except LedgerError:
            page.unwritten = True
            raise
        finally:
            self._leave(page)
            self._end_probe(page)
            if isinstance(error, SubmissionInDoubt):
                self._remember_doubted(page)

    def _end_probe(self, page: SubmissionRecord, *, untold: bool = False) -> None:
        """End the turn to buy of this page, if it has it still."""
        sort, page.price_group = page.price_group, None
        self.price_probe.release(sort, untold=untold)

    def _remember_doubted(self, page: SubmissionRecord) -> None:
        """Keep what is held for a doubt: should it be settled, what was charged takes its place."""
        self._doubted[page.entry_id] = page
        if len(self._doubted) > _DOUBTS:
            del self._doubted[next(iter(self._doubted))]

    async def _ended(self, page: SubmissionRecord, job: Job[Any], duration: Duration | None) -> None:
        try:
            await page.mark_finished(job, duration)
        finally:
            self._leave(page)
            # One that failed tells nothing of what others will cost: the next of its sort goes alone, too.
            self._end_probe(page, untold=job.error is None and job.credits is None)

    def _leave(self, page: SubmissionRecord) -> None:
        """Look after an entry no more; remember it if the ledger does not know what became of it."""
        self._ours.pop(page.entry_id, None)
        if page.unwritten:
            self._unwritten.add(page.entry_id)

    def _has_budget(self, budget: float | None) -> bool:
        return budget is not None or self._budget.budget is not None

    def _write(self, move: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_logged(move))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task


def new_entry(request: Request[Any], host: str, position: int = 0, *, contents: bool = False) -> NewEntry:
    """Return what is entered for a request, under a key of its own; with the `contents` of files, to be made again."""
    told = to_dict(request, contents=False)
    return NewEntry(
        key=secrets.token_hex(16),
        index=position,
        request=to_dict(request) if contents else told,
        base_url=host,
        request_hash=hash_request(told),
        price_key=price_key(request, host),
    )


async def _logged(move: Coroutine[Any, Any, None]) -> None:
    try:
        await move
    except LedgerError as error:
        log.error("not in the ledger: %s", error)
