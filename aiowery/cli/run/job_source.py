"""The desk: where an item becomes a job. A batch's items have entries in the ledger, single ones have none."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, Final, Protocol

import attrs

from aiowery import DEFAULT, Job
from aiowery._client.batches import Place
from aiowery._client.client import Client
from aiowery.cli.input.prompt_files import Item
from aiowery.cli.records import Fate
from aiowery.cli.run.preflight import refuse_objected
from aiowery.cli.run.saver import Kept
from aiowery.ledger import SqliteLedger, State

_ENDED: Final = frozenset({State.DONE, State.FAILED})
_UNSENT: Final = frozenset({State.NEW, State.CLAIMED})
_NUMBER: Final = re.compile(r"-\d+$")


class Desk(Protocol):
    """Makes jobs of items."""

    async def open(self, items: Sequence[Item]) -> None:
        """Prepare for these items."""
        ...

    async def job(self, item: Item) -> Job[Any] | None:
        """Return the item's job, submitted if need be; None while another process works on it."""
        ...

    def left_alone(self, item: Item) -> Fate:
        """Return what an item counts as with which this run does nothing."""
        ...

    def stem(self, item: Item, wish: str) -> str:
        """Return a name for the item's files that is nobody else's: the wish, if it can be."""
        ...

    def saved_before(self, item: Item) -> tuple[str, ...]:
        """Return the names of what an earlier run has saved."""
        ...

    async def saved(self, item: Item, kept: Kept) -> None:
        """Keep the names of what was saved."""
        ...


class SingleDesk:
    """Submits items one by one, each for itself; with `check` the registry is asked first."""

    def __init__(self, client: Client, *, check: bool) -> None:
        self._client = client
        self._check = check

    async def open(self, items: Sequence[Item]) -> None:
        """Do nothing."""

    async def job(self, item: Item) -> Job[Any] | None:
        """Submit the item."""
        assert item.request is not None  # noqa: S101 - a faulty line never comes here
        if self._check:
            await refuse_objected(self._client, item.request)
        return await self._client.submit(item.request)

    def left_alone(self, item: Item) -> Fate:  # noqa: ARG002 - there is no before
        """Return that nothing was sent."""
        return Fate.NOT_SUBMITTED

    def stem(self, item: Item, wish: str) -> str:  # noqa: ARG002 - there are no others
        """Return the wish."""
        return wish

    def saved_before(self, item: Item) -> tuple[str, ...]:  # noqa: ARG002 - there is no before
        """Return nothing."""
        return ()

    async def saved(self, item: Item, kept: Kept) -> None:
        """Keep nothing."""


@attrs.frozen(kw_only=True)
class Terms:
    """Under which name a batch runs, and what it may spend."""

    name: str
    budget: float | None = None
    reuse: bool = False


class BatchDesk:
    """Walks items through the batch of the ledger: what was sent before is not sent again."""

    def __init__(self, client: Client, terms: Terms, *, check: bool) -> None:
        self._client = client
        self._batches = client.batches
        self._terms = terms
        self._check = check
        self._places: dict[int, Place] = {}
        self._taken: defaultdict[str, set[int]] = defaultdict(set)

    async def open(self, items: Sequence[Item]) -> None:
        """Enter all items, so that the ledger knows what remains, whatever happens."""
        indices = [item.index for item in items if item.request is not None]
        requests = [item.request for item in items if item.request is not None]
        places = await self._batches.enter(self._terms.name, requests, reuse=self._terms.reuse)
        self._places = dict(zip(indices, places, strict=True))
        for place in places:
            self._take(place.id, place.files)
        after = 0  # entries that are not among these items may have files here, too
        while page := await self._client.ledger.entries(self._terms.name, after=after):
            for entry in page:
                self._take(entry.id, entry.files)
            after = page[-1].id

    def _take(self, entry_id: int, files: Iterable[str]) -> None:
        for name in files:
            stem = PurePath(name).stem.removesuffix("-cover")
            for taken in (stem, _NUMBER.sub("", stem)):
                self._taken[taken].add(entry_id)

    async def job(self, item: Item) -> Job[Any] | None:
        """Return the item's job; the registry is asked only about what has not been sent."""
        assert item.request is not None  # noqa: S101 - a faulty line never comes here
        place = self._places[item.index]
        if self._check and place.state is State.NEW:
            await refuse_objected(self._client, item.request)
        return await self._batches.job(place.id, item.request, DEFAULT, self._terms.budget)

    def left_alone(self, item: Item) -> Fate:
        """Return what an earlier run has made of it; of what had been sent, nothing is known to have cost nothing."""
        place = self._places.get(item.index)
        if place is None or place.state in _UNSENT:
            return Fate.NOT_SUBMITTED
        return Fate.IN_DOUBT if place.state is State.IN_DOUBT else Fate.INTERRUPTED

    def stem(self, item: Item, wish: str) -> str:
        """Return the wish, unless another entry has files of that name: lines may have moved between two runs."""
        entry_id = self._places[item.index].id
        return f"{wish}-n{entry_id}" if self._taken.get(wish, set()) - {entry_id} else wish

    def saved_before(self, item: Item) -> tuple[str, ...]:
        """Return the names of what an earlier run has saved."""
        return self._places[item.index].files

    async def saved(self, item: Item, kept: Kept) -> None:
        """Keep the names in the ledger, where the next run looks for them."""
        await self._client.ledger.saved(self._places[item.index].id, [*kept.files, *kept.covers.values()])

    @property
    def ended_before(self) -> int:
        """How many items had come to their end before this run."""
        return sum(place.state in _ENDED for place in self._places.values())


def is_known(path: Path, batch: str) -> bool:
    """Whether a ledger knows a batch; one that is not there knows none, and is not made."""
    return path.exists() and asyncio.run(_known(SqliteLedger(path), batch))


async def _known(ledger: SqliteLedger, batch: str) -> bool:
    await ledger.open()
    try:
        return bool(await ledger.entries(batch, limit=1))
    finally:
        await ledger.aclose()
