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
from aiowery._client.batches import BatchEntry
from aiowery._client.client import Client
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.records import ItemStatus
from aiowery.cli.run.preflight import refuse_invalid
from aiowery.cli.run.saver import SavedFiles
from aiowery.ledger import SqliteLedger, State

_ENDED: Final = frozenset({State.DONE, State.FAILED})
_UNSENT: Final = frozenset({State.NEW, State.CLAIMED})
_NUMBER: Final = re.compile(r"-\d+$")


class JobSource(Protocol):
    """Makes jobs of items."""

    async def open(self, items: Sequence[InputItem]) -> None:
        """Prepare for these items."""
        ...

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Return the item's job, submitted if need be; None while another process works on it."""
        ...

    def is_owned_elsewhere(self, item: InputItem) -> ItemStatus:
        """Return what an item counts as with which this run does nothing."""
        ...

    def stem(self, item: InputItem, wish: str) -> str:
        """Return a name for the item's files that is nobody else's: the wish, if it can be."""
        ...

    def saved_before(self, item: InputItem) -> tuple[str, ...]:
        """Return the names of what an earlier run has saved."""
        ...

    async def saved(self, item: InputItem, kept: SavedFiles) -> None:
        """Keep the names of what was saved."""
        ...


class SingleJobSource:
    """Submits items one by one, each for itself; with `check` the registry is asked first."""

    def __init__(self, client: Client, *, check: bool) -> None:
        self._client = client
        self._check = check

    async def open(self, items: Sequence[InputItem]) -> None:
        """Do nothing."""

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Submit the item."""
        assert item.request is not None  # noqa: S101 - a faulty line never comes here
        if self._check:
            await refuse_invalid(self._client, item.request)
        return await self._client.submit(item.request)

    def is_owned_elsewhere(self, item: InputItem) -> ItemStatus:  # noqa: ARG002 - there is no before
        """Return that nothing was sent."""
        return ItemStatus.NOT_SUBMITTED

    def stem(self, item: InputItem, wish: str) -> str:  # noqa: ARG002 - there are no others
        """Return the wish."""
        return wish

    def saved_before(self, item: InputItem) -> tuple[str, ...]:  # noqa: ARG002 - there is no before
        """Return nothing."""
        return ()

    async def saved(self, item: InputItem, kept: SavedFiles) -> None:
        """Keep nothing."""


@attrs.frozen(kw_only=True)
class BatchTerms:
    """Under which name a batch runs, and what it may spend."""

    name: str
    budget: float | None = None
    reuse: bool = False


class BatchJobSource:
    """Walks items through the batch of the ledger: what was sent before is not sent again."""

    def __init__(self, client: Client, terms: BatchTerms, *, check: bool) -> None:
        self._client = client
        self._batches = client.batches
        self._terms = terms
        self._check = check
        self._places: dict[int, BatchEntry] = {}
        self._taken: defaultdict[str, set[int]] = defaultdict(set)

    async def open(self, items: Sequence[InputItem]) -> None:
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

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Return the item's job; the registry is asked only about what has not been sent."""
        assert item.request is not None  # noqa: S101 - a faulty line never comes here
        place = self._places[item.index]
        if self._check and place.state is State.NEW:
            await refuse_invalid(self._client, item.request)
        return await self._batches.job(place.id, item.request, DEFAULT, self._terms.budget)

    def is_owned_elsewhere(self, item: InputItem) -> ItemStatus:
        """Return what an earlier run has made of it; of what had been sent, nothing is known to have cost nothing."""
        place = self._places.get(item.index)
        if place is None or place.state in _UNSENT:
            return ItemStatus.NOT_SUBMITTED
        return ItemStatus.IN_DOUBT if place.state is State.IN_DOUBT else ItemStatus.INTERRUPTED

    def stem(self, item: InputItem, wish: str) -> str:
        """Return the wish, unless another entry has files of that name: lines may have moved between two runs."""
        entry_id = self._places[item.index].id
        return f"{wish}-n{entry_id}" if self._taken.get(wish, set()) - {entry_id} else wish

    def saved_before(self, item: InputItem) -> tuple[str, ...]:
        """Return the names of what an earlier run has saved."""
        return self._places[item.index].files

    async def saved(self, item: InputItem, kept: SavedFiles) -> None:
        """Keep the names in the ledger, where the next run looks for them."""
        await self._client.ledger.set_files(self._places[item.index].id, [*kept.files, *kept.covers.values()])

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
