"""Sources of jobs: the items of a batch have entries in the ledger, single requests have none."""

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
from aiowery.cli.file_names import without_covers
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.records import ItemStatus
from aiowery.cli.run.preflight import refuse_invalid
from aiowery.cli.run.saver import SavedFiles
from aiowery.ledger import SqliteLedger, State

_FINISHED: Final = frozenset({State.DONE, State.FAILED})
_UNSENT: Final = frozenset({State.NEW, State.CLAIMED})
_NUMBER: Final = re.compile(r"-\d+$")


class JobSource(Protocol):
    """A source of jobs for items."""

    async def open(self, items: Sequence[InputItem]) -> None:
        """Prepare for these items."""
        ...

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Return the item's job, submitted if necessary, or None while another process works on it."""
        ...

    def unprocessed_status(self, item: InputItem) -> ItemStatus:
        """Return the status of an item that this run does not process."""
        ...

    def done_before(self) -> frozenset[int]:
        """Return the indices of the items that an earlier run has done."""
        ...

    def stem(self, item: InputItem, preferred: str) -> str:
        """Return a file name stem that is used by this entry only: the preferred one if it is free."""
        ...

    def earlier_files(self, item: InputItem) -> tuple[str, ...]:
        """Return the names of the files that an earlier run has saved."""
        ...

    async def record_files(self, item: InputItem, saved: SavedFiles) -> None:
        """Store the names of the saved files."""
        ...


class SingleJobSource:
    """A source that submits each item by itself. With `check` it reads the model registry first."""

    def __init__(self, client: Client, *, check: bool) -> None:
        self._client = client
        self._check = check

    async def open(self, items: Sequence[InputItem]) -> None:
        """Do nothing."""

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Submit the item."""
        assert item.request is not None  # noqa: S101 - faulty lines are recorded before
        if self._check:
            await refuse_invalid(self._client, item.request)
        return await self._client.submit(item.request)

    def unprocessed_status(self, item: InputItem) -> ItemStatus:  # noqa: ARG002 - no earlier run exists
        """Return `NOT_SUBMITTED`."""
        return ItemStatus.NOT_SUBMITTED

    def done_before(self) -> frozenset[int]:
        """Return no indices."""
        return frozenset()

    def stem(self, item: InputItem, preferred: str) -> str:  # noqa: ARG002 - no other entries exist
        """Return the preferred stem."""
        return preferred

    def earlier_files(self, item: InputItem) -> tuple[str, ...]:  # noqa: ARG002 - no earlier run exists
        """Return no names."""
        return ()

    async def record_files(self, item: InputItem, saved: SavedFiles) -> None:
        """Store nothing."""


@attrs.frozen(kw_only=True)
class BatchTerms:
    """Name of a batch in the ledger, its budget in credits, and whether equal finished requests are reused."""

    name: str
    budget: float | None = None
    reuse: bool = False


class BatchJobSource:
    """A source that runs items as a batch in the ledger. Requests that were sent before are not sent again."""

    def __init__(self, client: Client, terms: BatchTerms, *, check: bool) -> None:
        self._client = client
        self._batches = client.batches
        self._terms = terms
        self._check = check
        self._entries: dict[int, BatchEntry] = {}
        self._stem_owners: defaultdict[str, set[int]] = defaultdict(set)

    async def open(self, items: Sequence[InputItem]) -> None:
        """Add all items to the ledger, so that it lists the remaining ones whenever the run ends."""
        indices = [item.index for item in items if item.request is not None]
        requests = [item.request for item in items if item.request is not None]
        entries = await self._batches.enter(self._terms.name, requests, reuse=self._terms.reuse)
        self._entries = dict(zip(indices, entries, strict=True))
        for entry in entries:
            self._reserve_stems(entry.id, entry.files)
        after = 0  # entries of lines that are no longer in the input may have files here too
        while stored := await self._client.ledger.entries(self._terms.name, after=after):
            for entry_ in stored:
                self._reserve_stems(entry_.id, entry_.files)
            after = stored[-1].id

    def _reserve_stems(self, entry_id: int, files: Iterable[str]) -> None:
        for name in without_covers(files):
            stem = PurePath(name).stem
            for reserved in (stem, _NUMBER.sub("", stem)):
                self._stem_owners[reserved].add(entry_id)

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Return the item's job. Only unsent requests are checked against the model registry."""
        assert item.request is not None  # noqa: S101 - faulty lines are recorded before
        entry = self._entries[item.index]
        if self._check and entry.state is State.NEW:
            await refuse_invalid(self._client, item.request)
        return await self._batches.job(entry.id, item.request, DEFAULT, self._terms.budget)

    def unprocessed_status(self, item: InputItem) -> ItemStatus:
        """Return the status left by an earlier run. Only an unsent item counts as having cost nothing."""
        entry = self._entries.get(item.index)
        if entry is None or entry.state in _UNSENT:
            return ItemStatus.NOT_SUBMITTED
        return ItemStatus.IN_DOUBT if entry.state is State.IN_DOUBT else ItemStatus.INTERRUPTED

    def done_before(self) -> frozenset[int]:
        """Return the indices of the items that an earlier run has done."""
        return frozenset(index for index, entry in self._entries.items() if entry.state is State.DONE)

    def stem(self, item: InputItem, preferred: str) -> str:
        """Return the preferred stem, or a longer one if another entry has files of that name.

        That happens when lines have moved between two runs.
        """
        entry_id = self._entries[item.index].id
        is_taken = self._stem_owners.get(preferred, set()) - {entry_id}
        return f"{preferred}-n{entry_id}" if is_taken else preferred

    def earlier_files(self, item: InputItem) -> tuple[str, ...]:
        """Return the names of the files that an earlier run has saved."""
        return self._entries[item.index].files

    async def record_files(self, item: InputItem, saved: SavedFiles) -> None:
        """Store the names in the ledger, where the next run reads them."""
        await self._client.ledger.set_files(self._entries[item.index].id, [*saved.files, *saved.covers.values()])

    @property
    def finished_before(self) -> int:
        """Number of items that were finished before this run."""
        return sum(entry.state in _FINISHED for entry in self._entries.values())


def has_batch(path: Path, batch: str) -> bool:
    """Return True if the ledger holds the batch. A missing ledger holds none, and is not created."""
    return path.exists() and asyncio.run(_has_entries(SqliteLedger(path), batch))


async def _has_entries(ledger: SqliteLedger, batch: str) -> bool:
    await ledger.open()
    try:
        return bool(await ledger.entries(batch, limit=1))
    finally:
        await ledger.aclose()
