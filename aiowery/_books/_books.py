"""The books of an open client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any, Final

from aiowery._books._page import Page
from aiowery._books._purse import Prices, PriceTable, Purse, price_key
from aiowery._catalogue import as_object
from aiowery._events import log
from aiowery._job import Job
from aiowery._values import Request
from aiowery.errors import LedgerError
from aiowery.ledger import UNNAMED, Entry, Item, Ledger, body_of

_PATIENCE: Final = 2.0


class Books:
    """Opens a page for each submission and keeps what becomes of it; closes once everything is written.

    A ledger that is the caller's own is neither opened nor closed here.
    """

    def __init__(
        self, ledger: Ledger, host: str, *, owned: bool, prices: PriceTable | None, budget: float | None
    ) -> None:
        self.ledger: Ledger = ledger
        self.host: str = host
        self.prices: Prices = Prices(prices, ledger, host)
        self._owned = owned
        self._purse = Purse(budget)
        self._pages: dict[Job[Any], Page] = {}
        self._ours: dict[int, Job[Any] | None] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._looked_at = float("-inf")

    async def open(self) -> None:
        """Open the ledger and inherit what dead processes left."""
        if self._owned:
            await self.ledger.open()
        await self.look_around()

    async def aclose(self) -> None:
        """Finish writing, and close the ledger."""
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

    async def page(self, request: Request[Any], entry: Entry | None, budget: float | None) -> Page:
        """Return the page of a claimed entry, or a new one for a request of no batch."""
        if entry is None:
            (entry,) = await self.ledger.enter(UNNAMED, [item_of(request, self.host)], claim=True)
        cost = await self.prices.of(request) if self._counts(budget) else None
        self._ours[entry.id] = None
        return Page(self.ledger, entry, self._purse, cost=cost or 0.0, budget=budget)

    def keep(self, page: Page, job: Job[Any]) -> None:
        """Remember whose job it is, to write down its end."""
        self._pages[job] = page
        self._ours[page.entry.id] = job

    def look_after(self, entry: Entry, job: Job[Any]) -> None:
        """Keep the job of an entry that was accepted earlier."""
        self.keep(Page(self.ledger, entry, self._purse, cost=0.0, budget=None), job)

    async def claim(self, entry_id: int) -> Entry | None:
        """Take a new entry; None when it is not new any more."""
        claiming = asyncio.ensure_future(self.ledger.claim(entry_id))
        try:
            entry = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # nobody would ever let go of it
            self._write(self._unclaimed(claiming))
            raise
        if entry is not None:
            self._ours[entry_id] = None
        return entry

    async def lost_track(self, entry: Entry) -> None:
        """Put in doubt what we were sending, and of which we could not write down what became of it."""
        await self.ledger.doubt(entry.ref or "", "what became of it could not be written down")

    def is_ours(self, entry_id: int) -> bool:
        """Whether this client has the entry under way."""
        return entry_id in self._ours

    def job_of(self, entry_id: int) -> Job[Any] | None:
        """Return the job of an entry, if this client looks after it."""
        return self._ours.get(entry_id)

    async def failed(self, page: Page, error: BaseException) -> None:
        """Write why there is no job, even if whoever waits is cancelled."""
        await asyncio.shield(self._write(self._failed(page, error)))

    def give_up(self, entry: Entry) -> None:
        """Let go of a claimed entry that was not sent."""
        self._write(self._given_up(entry))

    def ended(self, job: Job[Any]) -> None:
        """Write down a job's end, beside the work, which does not stop for it."""
        page = self._pages.pop(job, None)
        if page is not None:
            self._write(self._ended(page, job))

    async def _unclaimed(self, claiming: asyncio.Future[Entry | None]) -> None:
        entry = await claiming
        if entry is not None:
            await self.ledger.give_up(entry.id)

    async def _given_up(self, entry: Entry) -> None:
        try:
            await self.ledger.give_up(entry.id)
        finally:
            self._ours.pop(entry.id, None)

    async def _failed(self, page: Page, error: BaseException) -> None:
        try:
            await page.failed(error)
        finally:
            self._ours.pop(page.entry.id, None)

    async def _ended(self, page: Page, job: Job[Any]) -> None:
        try:
            await page.ended(job)
        finally:
            self._ours.pop(page.entry.id, None)

    def _counts(self, budget: float | None) -> bool:
        return budget is not None or self._purse.budget is not None

    def _write(self, move: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_written(move))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task


def item_of(request: Request[Any], host: str, position: int = 0) -> Item:
    """Return what is entered for a request, under a key of its own."""
    told = as_object(request)
    return Item(
        key=secrets.token_hex(16),
        position=position,
        request=told,
        host=host,
        body=body_of(told),
        price_key=price_key(request, host),
    )


async def _written(move: Coroutine[Any, Any, None]) -> None:
    try:
        await move
    except LedgerError as error:
        log.error("not in the ledger: %s", error)
