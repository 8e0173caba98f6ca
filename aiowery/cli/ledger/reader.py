"""A blocking reader of a ledger, for the ledger commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from aiowery._base.new_files import open_regular
from aiowery.cli import file_names
from aiowery.cli.terminal import print_notice, print_text, printable
from aiowery.errors import ConfigurationError, LedgerError
from aiowery.ledger import BatchSummary, Entry, SqliteLedger, State
from aiowery.ledger._path_checks import validate_path

T = TypeVar("T")
LEDGER: Final = Path(file_names.LEDGER)
_PAGE: Final = 1000
_MAX_NAMES: Final = 5
_MAGIC: Final = b"SQLite format 3\x00"


@attrs.frozen
class LedgerReader:
    """A reader of an open ledger that blocks until each operation is done."""

    path: Path
    _ledger: SqliteLedger
    _runner: asyncio.Runner

    def wait_for(self, operation: Coroutine[Any, Any, T]) -> T:
        """Run a ledger operation and return its result."""
        return self._runner.run(operation)

    def entries_after(self, batch: str | None, states: Iterable[State] | None, after: int, limit: int) -> list[Entry]:
        """Return the next entries after the id `after`."""
        return self.wait_for(self._ledger.entries(batch, states, after=after, limit=limit))

    def iter_entries(self, batch: str | None = None, states: Sequence[State] | None = None) -> Iterator[Entry]:
        """Yield entries, with one page of entries in memory at a time."""
        after = 0
        while entries := self.entries_after(batch, states, after, _PAGE):
            yield from entries
            after = entries[-1].id

    def batches(self) -> list[BatchSummary]:
        """Return the totals of all batches."""
        return self.wait_for(self._ledger.batches())

    def entry(self, entry_id: int) -> Entry:
        """Return an entry. Raises ConfigurationError if there is none."""
        entry = self.wait_for(self._ledger.entry(entry_id))
        if entry is None:
            raise ConfigurationError(
                f"there is no entry {entry_id}; {self.command('ledger', 'list')} shows the entries"
            )
        return entry

    def entry_in_doubt(self, entry_id: int) -> Entry:
        """Return an entry in doubt. Raises LedgerError if it is not in doubt."""
        entry = self.entry(entry_id)
        if entry.state is not State.IN_DOUBT:
            shows = self.command("doubts", "list")
            raise LedgerError(f"entry {entry_id} is {entry.state}, not in doubt; {shows} shows those that are")
        return entry

    def named_tasks(self, entry: Entry) -> list[str]:
        """Return the task ids that a webhook delivery or an error response named for a doubt, without proof."""
        submission_id = entry.submission_id
        deliveries = (
            [] if submission_id is None else self.wait_for(self._ledger.deliveries(submission_id=submission_id))
        )
        return [delivery.task_id for delivery in deliveries]

    def adopt(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Resolve a doubt: these are its tasks."""
        self.wait_for(self._ledger.resolve_accepted(entry_id, task_ids))

    def release(self, entry_id: int) -> None:
        """Resolve a doubt: the request may be sent again."""
        self.wait_for(self._ledger.resolve_unsent(entry_id))

    def check_batch(self, name: str | None) -> None:
        """Raise ConfigurationError, with the names of the latest batches, for an unknown batch."""
        names = [batch.name for batch in self.batches()]
        if name is not None and name not in names:
            known = ", ".join(map(repr, names[-_MAX_NAMES:])) or "none"
            raise ConfigurationError(f"there is no batch {name!r}; name one that exists (the latest are: {known})")

    def command(self, *arguments: str) -> str:
        """Return a shell command for this ledger."""
        where = () if self.path == LEDGER else ("--ledger", str(self.path))
        return printable(shlex.join(("aiowery", *arguments, *where)))


@contextlib.contextmanager
def open_reader(ledger: Path, *, allow_copy: bool = False) -> Iterator[LedgerReader]:
    """Open a ledger: a file, or the one in a directory. A missing ledger is not created.

    Entries of ended processes are recovered first: an entry that such a process was sending is then in doubt. With
    `allow_copy`, a copy or a backup is opened read-only, and the reason is printed.
    """
    path = _find_ledger(ledger)
    with asyncio.Runner() as runner:
        store = runner.run(_open_ledger(path, allow_copy=allow_copy))
        try:
            yield LedgerReader(path, store, runner)
        finally:
            runner.run(store.aclose())


async def _open_ledger(path: Path, *, allow_copy: bool) -> SqliteLedger:
    store = SqliteLedger(path)
    try:
        await store.open()
    except LedgerError as refusal:
        if not allow_copy:
            raise
        store = SqliteLedger(path, read_only=True)
        await store.open()
        print_notice(f"Opened read-only: {refusal}")
    else:
        await store.recover_abandoned()
    return store


def accept_copy(ledger: Path) -> int:
    """Accept a copy or a restored backup as the ledger, and print what that may cost."""

    async def accepted() -> list[BatchSummary]:
        store = SqliteLedger(path, accept_copy=True)
        await store.open()
        try:
            return await store.batches()
        finally:
            await store.aclose()

    path = _find_ledger(ledger)
    new = sum(batch.states.get(State.NEW, 0) for batch in asyncio.run(accepted()))
    print_text(
        f"{path} is the ledger from now on. {new:,} of its entries are new: the next run of their batch sends them,",
        "including those that were sent since the copy was made.",
    )
    return 0


def _find_ledger(ledger: Path) -> Path:
    path = ledger / LEDGER if validate_path(ledger).is_dir() else ledger
    try:
        with open_regular(Path(os.path.realpath(path))) as file:  # opening a pipe would wait for ever
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no ledger {path}; a batch stores its ledger as {LEDGER} in its output directory:"
            f" name that, such as --ledger out/{LEDGER}"
        ) from None
    except OSError as fault:
        raise ConfigurationError(f"cannot read {path}: {fault.strerror or fault}") from fault
    if head != _MAGIC:
        raise ConfigurationError(f"{path} is not a ledger; name one with --ledger, such as --ledger out/{LEDGER}")
    return path
