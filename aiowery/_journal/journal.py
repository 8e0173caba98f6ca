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
from aiowery._core.request_types import as_object
from aiowery._jobs.job import Job
from aiowery._journal.record import Page
from aiowery._journal.serialization import duration_kind, durations_at
from aiowery._journal.spending import FirstBuyers, Prices, PriceTable, Purse, price_key
from aiowery.errors import LedgerError, SubmissionInDoubt
from aiowery.ledger import UNNAMED, Duration, Entry, Item, Ledger, State, body_of

_PATIENCE: Final = 2.0
_AHEAD: Final = 15
_DOUBTS: Final = 1000
_NOBODY_ASKS: Final[Mapping[str, Any]] = {}


class Books:
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
        credit_price: float | None,
    ) -> None:
        self.ledger: Ledger = ledger
        self.host: str = host
        self.prices: Prices = Prices(prices, ledger, host)
        self.first_buyers: FirstBuyers = FirstBuyers(self.prices)
        self.durations: dict[Hashable, list[Interval]] = {}
        self._owned = owned
        self._purse = Purse(budget)
        self._credit_price = credit_price
        self._pages: dict[Job[Any], Page] = {}
        self._ours: dict[int, Job[Any] | None] = {}
        self._expected: dict[int, None] = {}
        self._ahead: set[int] = set()
        self._unwritten: set[int] = set()
        self._doubted: dict[int, Page] = {}
        self._lasted: dict[Job[Any], Interval] = {}
        self._claiming = asyncio.Lock()
        self._writing: set[asyncio.Task[None]] = set()
        self._looked_at = float("-inf")

    @property
    def credits(self) -> float:
        """What was charged, and the estimates of what is under way or in doubt."""
        return self._purse.used

    @property
    def money(self) -> float | None:
        """What those credits have cost, where that is known."""
        return None if self._credit_price is None else self._purse.used * self._credit_price

    async def open(self) -> None:
        """Open the ledger, inherit what dead processes left, and read how long jobs have taken."""
        if self._owned:
            await self.ledger.open()
        await self.look_around()
        self.durations = durations_at(self.host, await self.ledger.durations())

    async def aclose(self) -> None:
        """Finish writing, and close the ledger."""
        self.let_go()
        while self._writing:
            await asyncio.wait(self._writing)
        if self._owned:
            await self.ledger.aclose()

    async def look_around(self) -> None:
        """Inherit what processes have left that died meanwhile; asks no more often than every two seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_at + _PATIENCE:
            return
        self._looked_at = now
        if doubts := await self.ledger.take_over():
            log.warning("%d submissions of a process that has ended are in doubt", doubts)

    async def turn_to_buy(self, request: Request[Any], budget: float | None, until: float | None = None) -> str | None:
        """Wait where a budget counts and the first of a sort has yet to tell the price; return the sort for that one.

        That turn ends with its page, or with `first_buyers.bought`. Raises TimeoutError at `until` (a loop time).
        """
        return await self.first_buyers.turn(request, until) if self._counts(budget) else None

    async def page(
        self, request: Request[Any], entry_id: int | None, ref: str, budget: float | None, sort: str | None
    ) -> Page:
        """Return the page of a claimed entry, or of a new one for a request of no batch; `ref` marks its attempts.

        `sort`: of which it is the first that is bought, if it is.
        """
        cost = await self.prices.of(request) if self._counts(budget) else None
        lasting = entry_id is not None
        if entry_id is None:
            (entry,) = await self.ledger.enter(UNNAMED, [self._plain_item(request)], claim=True)
            entry_id = entry.id
        self._ours[entry_id] = None
        return Page(
            self.ledger, entry_id, self._purse, ref, cost=cost or 0.0, budget=budget, lasting=lasting, sort=sort
        )

    def _plain_item(self, request: Request[Any]) -> Item:
        """Return what is entered for a request that nobody will look for again, unless the ledger remembers it."""
        if self.ledger.remembers:
            return item_of(request, self.host)
        key = price_key(request, self.host) if self._purse.budget is not None else ""
        return Item(key="", position=0, request=_NOBODY_ASKS, host=self.host, price_key=key)

    def keep(self, page: Page, job: Job[Any]) -> None:
        """Remember whose job it is, to write down its end."""
        self._pages[job] = page
        self._ours[page.entry_id] = job

    def expect_price(self, page: Page, within: float) -> None:
        """Let others of its sort wait no longer than so many seconds, however patient its own caller is."""
        if page.sort is not None:
            asyncio.get_running_loop().call_later(within, lambda: self._bought(page, untold=True))

    def look_after(self, entry_id: int, job: Job[Any]) -> None:
        """Keep the job of an entry that was accepted earlier, or that was in doubt until now."""
        page = self._doubted.pop(entry_id, None)
        if page is None:
            page = Page(self.ledger, entry_id, self._purse, "", cost=0.0, budget=None, lasting=True)
        self.keep(page, job)

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

    def expect(self, entry_ids: Iterable[int]) -> None:
        """Note which new entries are going to be claimed one after the other."""
        self._expected = dict.fromkeys(entry_ids)

    def let_go(self) -> None:
        """Leave to others what was claimed ahead."""
        self._expected = {}
        for entry_id in tuple(self._ahead):
            self.drop(entry_id)

    def drop(self, entry_id: int) -> bool:
        """Let go of an entry that was claimed ahead; return whether it was."""
        if entry_id not in self._ahead:
            return False
        self._ahead.remove(entry_id)
        self._write(self.ledger.give_up(entry_id))
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

    async def lost_track(self, entry: Entry) -> None:
        """Put in doubt what we were sending, and of which we could not write down what became of it."""
        await self.ledger.doubt(entry.ref or "", "what became of it could not be written down")
        self._unwritten.discard(entry.id)

    def has_lost_track(self, entry: Entry) -> bool:
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

    async def failed(self, page: Page, error: BaseException) -> None:
        """Write why there is no job, even if whoever waits is cancelled."""
        await asyncio.shield(self._write(self._failed(page, error)))

    def give_up(self, entry_id: int) -> None:
        """Let go of a claimed entry that was not sent."""
        self._write(self._given_up(entry_id))

    def learned(self, job: Job[Any], interval: Interval) -> None:
        """Note how long a job took, to write it down with its end."""
        if job in self._pages:
            self._lasted[job] = interval

    def ended(self, job: Job[Any]) -> None:
        """Write down a job's end, beside the work, which does not stop for it."""
        page = self._pages.pop(job, None)
        if page is not None:
            lasted = self._lasted.pop(job, None)
            duration = None if lasted is None else Duration(duration_kind(self.host, job.duration_key), *lasted)
            self._write(self._ended(page, job, duration))

    def give_back(self, job: Job[Any]) -> None:
        """Our patience with a job has ended: another process may look after it, if it lasts."""
        page = self._pages.get(job)
        if page is not None:
            self._bought(page, untold=True)
            self._write(self.ledger.leave(page.entry_id))

    def forget(self, job: Job[Any]) -> None:
        """Remember no more whose job it is; a ledger that forgets what has ended forgets it too."""
        page = self._pages.pop(job, None)
        if page is not None:
            self._leave(page)
            if not self.ledger.remembers:
                self._write(self.ledger.ended(page.entry_id, State.FAILED))

    async def _unclaimed(self, claiming: asyncio.Future[list[int]]) -> None:
        for entry_id in await claiming:
            await self.ledger.give_up(entry_id)

    async def _given_up(self, entry_id: int) -> None:
        try:
            await self.ledger.give_up(entry_id)
        finally:
            self._ours.pop(entry_id, None)

    async def _failed(self, page: Page, error: BaseException) -> None:
        try:
            await page.failed(error)
        except LedgerError:
            page.unwritten = True
            raise
        finally:
            self._leave(page)
            self._bought(page)
            if isinstance(error, SubmissionInDoubt):
                self._remember_doubted(page)

    def _bought(self, page: Page, *, untold: bool = False) -> None:
        """End the turn to buy of this page, if it has it still."""
        sort, page.sort = page.sort, None
        self.first_buyers.bought(sort, untold=untold)

    def _remember_doubted(self, page: Page) -> None:
        """Keep what is held for a doubt: should it be settled, what was charged takes its place."""
        self._doubted[page.entry_id] = page
        if len(self._doubted) > _DOUBTS:
            del self._doubted[next(iter(self._doubted))]

    async def _ended(self, page: Page, job: Job[Any], duration: Duration | None) -> None:
        try:
            await page.ended(job, duration)
        finally:
            self._leave(page)
            # One that failed tells nothing of what others will cost: the next of its sort goes alone, too.
            self._bought(page, untold=job.error is None and job.credits is None)

    def _leave(self, page: Page) -> None:
        """Look after an entry no more; remember it if the ledger does not know what became of it."""
        self._ours.pop(page.entry_id, None)
        if page.unwritten:
            self._unwritten.add(page.entry_id)

    def _counts(self, budget: float | None) -> bool:
        return budget is not None or self._purse.budget is not None

    def _write(self, move: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_written(move))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task


def item_of(request: Request[Any], host: str, position: int = 0, *, contents: bool = False) -> Item:
    """Return what is entered for a request, under a key of its own; with the `contents` of files, to be made again."""
    told = as_object(request, contents=False)
    return Item(
        key=secrets.token_hex(16),
        position=position,
        request=as_object(request) if contents else told,
        host=host,
        body=body_of(told),
        price_key=price_key(request, host),
    )


async def _written(move: Coroutine[Any, Any, None]) -> None:
    try:
        await move
    except LedgerError as error:
        log.error("not in the ledger: %s", error)
