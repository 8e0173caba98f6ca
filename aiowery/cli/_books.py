"""What a ledger tells people: entries, batches and doubts; and how doubts are settled."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import itertools
import json
import re
import shlex
import sys
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TextIO, TypeVar

import attrs

from aiowery import Result
from aiowery._fields import fits_in_a_path
from aiowery.cli._logs import logs_told
from aiowery.cli._options import Serving
from aiowery.cli._progress import write_line
from aiowery.cli._records import duration
from aiowery.cli._requests import REQUESTS, from_object, prompt_of
from aiowery.cli._services import service_of
from aiowery.cli._setup import opened
from aiowery.cli._tables import print_table
from aiowery.errors import AioweryError, ConfigurationError, LedgerError
from aiowery.ledger import BatchSummary, Entry, SqliteLedger, State

T = TypeVar("T")
Format = Literal["jsonl", "csv"]

LEDGER: Final = Path(".aiowery.db")
DOUBTS: Final = 3
"""The exit code that says that something is in doubt."""
_DONE: Final = 0
_PAGE: Final = 1000
_MOST: Final = 50
_LONGEST: Final = 2000
_NAMED: Final = 5
_MAGIC: Final = b"SQLite format 3\x00"

# What a terminal obeys or turns around instead of showing it; JSON writes those below the blank by itself.
_ODD: Final = r"\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ODD_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_ODD}]")
_ODD_IN_JSON: Final = re.compile(rf"[{_ODD}]")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\n")
_COLUMNS: Final = (
    "id",
    "batch",
    "position",
    "state",
    "type",
    "model",
    "prompt",
    "credits",
    "task_ids",
    "late_ids",
    "files",
    "urls",
    "sent_at",
    "note",
)

_MEANING: Final[Mapping[State, str]] = {
    State.NEW: "it was not sent",
    State.CLAIMED: "a running process is about to send it",
    State.SENDING: "a running process is sending it",
    State.ACCEPTED: "the provider has taken it; how it ended is not known yet",
    State.DONE: "it ended well",
    State.FAILED: "it ended badly",
    State.IN_DOUBT: "it was sent, and nobody knows whether the provider took it and charged for it",
}


@attrs.frozen
class Book:
    """An open ledger, for code that waits for each of its answers."""

    path: Path
    _ledger: SqliteLedger
    _runner: asyncio.Runner

    def do(self, move: Coroutine[Any, Any, T]) -> T:
        """Wait for a move of the ledger."""
        return self._runner.run(move)

    def page(self, batch: str | None, states: Iterable[State] | None, after: int, limit: int) -> list[Entry]:
        """Return the next entries after one."""
        return self.do(self._ledger.entries(batch, states, after=after, limit=limit))

    def each(self, batch: str | None = None, states: Sequence[State] | None = None) -> Iterator[Entry]:
        """Yield entries, of which a page at a time is in memory."""
        after = 0
        while page := self.page(batch, states, after, _PAGE):
            yield from page
            after = page[-1].id

    def batches(self) -> list[BatchSummary]:
        """Return all batches in numbers."""
        return self.do(self._ledger.batches())

    def entry(self, entry_id: int) -> Entry:
        """Return an entry; ConfigurationError when it is not there."""
        entry = self.do(self._ledger.entry(entry_id))
        if entry is None:
            raise ConfigurationError(f"entry {entry_id} is not there; {self.command('jobs', 'list')} shows them")
        return entry

    def doubt(self, entry_id: int) -> Entry:
        """Return an entry in doubt; LedgerError when it is in none."""
        entry = self.entry(entry_id)
        if entry.state is not State.IN_DOUBT:
            shows = self.command("doubts", "list")
            raise LedgerError(f"entry {entry_id} is {entry.state}, not in doubt; {shows} shows those that are")
        return entry

    def adopt(self, entry_id: int, task_ids: Sequence[str]) -> None:
        """Settle a doubt: these are its tasks."""
        self.do(self._ledger.adopt(entry_id, task_ids))

    def release(self, entry_id: int) -> None:
        """Settle a doubt: it may be sent again."""
        self.do(self._ledger.release(entry_id))

    def check_batch(self, name: str | None) -> None:
        """Raise ConfigurationError for a batch that is not there, with those that are."""
        names = [batch.name for batch in self.batches()]
        if name is not None and name not in names:
            others = ", ".join(map(repr, names[-_NAMED:])) or "none"
            raise ConfigurationError(f"no batch is called {name!r}; the latest are: {others}")

    def command(self, *words: str) -> str:
        """Return a command about this ledger, as it is to be typed."""
        where = () if self.path == LEDGER else ("--ledger", str(self.path))
        return _without_odd(shlex.join(("aiowery", *words, *where)))


@contextlib.contextmanager
def reading(ledger: Path) -> Iterator[Book]:
    """Open the ledger that is meant: a file, or the one in a directory. Nothing is made where there is none.

    What processes that have ended left under way is inherited first: an entry that one of them was sending is in doubt.
    """
    path = _found(ledger)
    store = SqliteLedger(path)
    with asyncio.Runner() as runner:
        runner.run(store.open())
        try:
            runner.run(store.take_over())
            yield Book(path, store, runner)
        finally:
            runner.run(store.aclose())


def _found(ledger: Path) -> Path:
    path = ledger / LEDGER if ledger.is_dir() else ledger
    try:
        with path.open("rb") as file:
            begins = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no ledger {path}; a batch keeps its own as {LEDGER} in its output directory:"
            f" name that, such as --ledger out/{LEDGER}"
        ) from None
    except OSError as fault:
        raise ConfigurationError(f"cannot read {path}: {fault.strerror or fault}") from fault
    if begins != _MAGIC:
        raise ConfigurationError(f"{path} is no ledger; name one with --ledger, such as --ledger out/{LEDGER}")
    return path


@attrs.frozen(kw_only=True)
class Choice:
    """Which entries are to be listed: so many after one, of a batch or all, in some states or any."""

    batch: str | None = None
    states: tuple[State, ...] = ()
    limit: int = 100
    after: int = 0

    def words(self) -> tuple[str, ...]:
        """Return the options that mean the same, but for the place to begin at."""
        batch = () if self.batch is None else ("--batch", self.batch)
        states = itertools.chain.from_iterable(("--state", state.replace(" ", "-")) for state in self.states)
        return (*batch, *states, *(("--limit", str(self.limit)) if self.limit != Choice().limit else ()))


def list_entries(book: Book, choice: Choice, *, json_lines: bool) -> int:
    """Print a page of entries, and how to get the next one."""
    book.check_batch(choice.batch)
    found = book.page(choice.batch, choice.states or None, choice.after, choice.limit + 1)
    entries = found[: choice.limit]
    if json_lines:
        for entry in entries:
            print(_as_json(_facts(entry, leave_out=("snapshots",))))
    else:
        _print_page(book, choice, entries)
    if len(found) > len(entries):
        more = book.command("jobs", "list", *choice.words(), "--after", str(entries[-1].id))
        write_line(sys.stderr if json_lines else sys.stdout, f"There is more: {more}")
    return _DONE


def _print_page(book: Book, choice: Choice, entries: Sequence[Entry]) -> None:
    if choice == Choice(limit=choice.limit):
        _print_batches(book.batches())
    if entries:
        _print_entries(entries)
    else:
        print("No entries.")


def _print_batches(batches: Sequence[BatchSummary]) -> None:
    states = [state for state in State if any(batch.states.get(state) for batch in batches)]
    rows = [
        (
            _batch_name(batch.name),
            f"{batch.total:,}",
            *(f"{batch.states[state]:,}" if state in batch.states else "" for state in states),
            _number(batch.credits),
        )
        for batch in batches
    ]
    if rows:
        _print_table(("batch", "total", *states, "credits"), rows)


def _print_entries(entries: Sequence[Entry]) -> None:
    """Print entries; a column that says nothing of any of them is left out."""
    columns: dict[str, list[str]] = {
        "id": [str(entry.id) for entry in entries],
        "batch": [entry.batch for entry in entries],
        "state": [entry.state for entry in entries],
        "credits": [_number(entry.credits) for entry in entries],
        "sent": [_local(entry.sent_at) for entry in entries],
        "task ids": [_first_of(entry.task_ids) for entry in entries],
        "charged besides": [_first_of(entry.late_ids) for entry in entries],
        "prompt": [_short(wish_of(entry.request)) for entry in entries],
        "note": [entry.note for entry in entries],
    }
    told = {name: cells for name, cells in columns.items() if any(cells)}
    _print_table(tuple(told), list(zip(*told.values(), strict=True)))


def show_entry(book: Book, entry_id: int, *, json_lines: bool) -> int:
    """Print everything about one entry, and what can be done about it."""
    entry = book.entry(entry_id)
    if json_lines:
        print(_as_json(_facts(entry)))
        return _DONE
    facts = {
        "entry": str(entry.id),
        "batch": f"{entry.batch}, place {entry.position + 1}" if entry.batch else "none",
        "state": f"{entry.state}: {_MEANING[entry.state]}",
        "note": entry.note,
        "sent": "" if entry.sent_at is None else f"{_local(entry.sent_at)} here, {_utc(entry.sent_at)}",
        "attempts": str(entry.attempts),
        "task ids": ", ".join(entry.task_ids),
        "charged besides": _besides(entry),
        "batch id": entry.batch_id,
        "request id": entry.request_id,
        "credits": _credits_in_words(entry),
        "took": None if entry.seconds is None else duration(entry.seconds),
        "files": ", ".join(entry.files),
    }
    for name, value in facts.items():
        if value:
            print(f"{name}: {_cell(value)}")
    for url in urls_of(entry):
        print(f"url: {_cell(url)}")
    print(f"request: {_as_json(_cut(entry.request), indent=2)}")
    for text in _texts_of(entry):
        print(_without_odd(text))
    for line in _next_steps(book, entry):
        print(line)
    return _DONE


def _besides(entry: Entry) -> str:
    """Return what was released and turned out to have been accepted, in words."""
    return f"{', '.join(entry.late_ids)}, of an attempt that had been released" if entry.late_ids else ""


def _credits_in_words(entry: Entry) -> str:
    if entry.credits is None and entry.cost:
        return f"about {_number(entry.cost)}, an estimate"
    return _number(entry.credits)


def _next_steps(book: Book, entry: Entry) -> Iterator[str]:
    """Yield what can be done about an entry."""
    if entry.state is State.IN_DOUBT:
        yield from _ways_out(book, str(entry.id))
    elif entry.state is State.ACCEPTED:
        again = "Run its batch again to fetch what it brings, or ask: " if entry.batch else "Ask about it: "
        yield again + _status_command(entry)
    elif entry.state is State.NEW:
        yield "The next run of its batch sends it." if entry.batch else "Nothing sends it by itself; ask for it anew."


def _status_command(entry: Entry) -> str:
    """Return the command that asks the right service about an entry's first task."""
    type_name = str(entry.request.get("type"))
    service = service_of(None, None, None, type_name).name if type_name in REQUESTS else "weryai"
    provider = () if service == "weryai" else ("--provider", service)
    return _without_odd(shlex.join(("aiowery", "status", *entry.task_ids[:1], *provider)))


def _ways_out(book: Book, entry_id: str) -> Iterator[str]:
    """Yield what can be done about doubts."""
    yield "It may have been charged. Look into the provider's call history at the time it was sent; then, if it is"
    ways = {
        "there": book.command("doubts", "adopt", entry_id, "TASK_ID"),
        "not there": f"{book.command('doubts', 'release', entry_id)} (the next run of its batch sends it)",
        "not there, and wanted at once": book.command("doubts", "resubmit", entry_id),
    }
    width = max(map(len, ways))
    for case, way in ways.items():
        yield f"  {case + ':':{width + 1}} {way}"


def export(book: Book, how: Format, batch: str | None, out: Path | None) -> int:
    """Write all entries to a file, or to standard output."""
    book.check_batch(batch)
    with _target(book, out) as stream:
        if how == "jsonl":
            stream.writelines(_as_json(_facts(entry)) + "\n" for entry in book.each(batch))
        else:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(_COLUMNS)
            table.writerows(map(_csv_row, book.each(batch)))
    return _DONE


@contextlib.contextmanager
def _target(book: Book, out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        if out.exists() and out.samefile(book.path):
            raise ConfigurationError(f"--out {out} is the ledger itself; name another file")
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as fault:
        raise ConfigurationError(f"cannot write {out}: {fault.strerror or fault}") from fault


def _csv_row(entry: Entry) -> list[str]:
    request = entry.request
    return [
        str(entry.id),
        _csv_text(entry.batch),
        str(entry.position),
        entry.state,
        _csv_text(request.get("type")),
        _csv_text(request.get("model")),
        _csv_text(wish_of(request)),
        _number(entry.credits),
        _csv_text("; ".join(entry.task_ids)),
        _csv_text("; ".join(entry.late_ids)),
        _csv_text("; ".join(entry.files)),
        _csv_text("; ".join(urls_of(entry))),
        _utc(entry.sent_at),
        _csv_text(entry.note),
    ]


def _csv_text(value: object) -> str:
    """Return a text that a spreadsheet shows and does not compute."""
    text = "" if value is None else _without_odd(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def list_doubts(book: Book, *, json_lines: bool) -> int:
    """Print what is in doubt and what to do about it; the exit code tells whether anything is."""
    doubts = book.each(states=[State.IN_DOUBT])
    if json_lines:
        lines = (_as_json(_facts(entry, leave_out=("snapshots",))) for entry in doubts)
        return DOUBTS if [print(line) for line in lines] else _DONE
    rows = [
        (
            str(entry.id),
            _batch_name(entry.batch),
            _utc(entry.sent_at),
            _local(entry.sent_at),
            _short(wish_of(entry.request)),
            entry.note,
        )
        for entry in doubts
    ]
    if not rows:
        print("Nothing is in doubt.")
        return _DONE
    _print_table(("id", "batch", "sent (UTC)", "sent (here)", "prompt", "note"), rows)
    for line in _ways_out(book, "ID"):
        print(line)
    return DOUBTS


def adopt(book: Book, entry_id: int, task_ids: Sequence[str]) -> int:
    """Give an entry in doubt the tasks that somebody has found."""
    ids = tuple(dict.fromkeys(task_ids))
    if not ids:
        raise ConfigurationError("name the task ids that the provider's call history shows")
    for task_id in ids:
        if not fits_in_a_path(task_id):
            raise ConfigurationError(f"{task_id!r} is no task id; give it as the provider shows it")
    entry = book.doubt(entry_id)
    book.adopt(entry_id, ids)
    fetches = (
        f"the next run of batch {entry.batch!r} fetches it"
        if entry.batch
        else f"ask about it: {_status_command(attrs.evolve(entry, task_ids=ids))}"
    )
    print(f"Entry {entry_id} is {', '.join(ids)}; {fetches}.")
    return _DONE


def release(book: Book, entry_ids: Sequence[int]) -> int:
    """Let entries be sent again; none of them unless all are in doubt."""
    if not entry_ids:
        raise ConfigurationError(f"name the entries to release; {book.command('doubts', 'list')} shows them")
    entries = [book.doubt(entry_id) for entry_id in dict.fromkeys(entry_ids)]
    for entry in entries:
        book.release(entry.id)
        what = (
            f"the next run of batch {entry.batch!r} sends it" if entry.batch else "it is of no batch: nothing sends it"
        )
        print(f"Entry {entry.id} is no longer in doubt; {what}.")
    return _DONE


def resubmit(ledger: Path, entry_id: int, running: Serving) -> int:
    """Send an entry in doubt again, wait for it, and print what it brings."""
    if running.sandbox:
        raise ConfigurationError("--sandbox would settle a doubt about the real service; leave it out")
    with reading(ledger) as book:
        entry = book.doubt(entry_id)
    type_name = str(entry.request.get("type"))
    if type_name not in REQUESTS:
        raise ConfigurationError(f"entry {entry_id} asks for {type_name!r}, which this version does not know")
    serving = running.for_type(type_name)
    with logs_told(serving.verbose, lambda text: write_line(sys.stderr, text)):
        result = asyncio.run(_resubmitted(serving, book.path, entry_id))
    for line in [asset.url for asset in result.assets] or [result.text or ""]:
        print(line)
    return _DONE


async def _resubmitted(running: Serving, ledger: Path, entry_id: int) -> Result:
    async with opened(running.where, ledger=ledger) as client:
        job = await client.resubmit(entry_id)
        write_line(sys.stderr, f"Entry {entry_id} was sent again: {', '.join(job.task_ids)}")
        result: Result = await job
        return result


def wish_of(request: Mapping[str, Any]) -> str:
    """Return what a request in a ledger asks for, in words."""
    try:
        return prompt_of(from_object(request, {}))
    except AioweryError:  # of another version, or of another program's making
        return str(request.get("prompt") or request.get("type") or "")


def urls_of(entry: Entry) -> tuple[str, ...]:
    """Return where the outputs of an entry lie."""
    assets = (asset for snapshot in entry.snapshots for asset in snapshot.get("assets") or ())
    return tuple(dict.fromkeys(str(asset["url"]) for asset in assets))


def _texts_of(entry: Entry) -> Iterator[str]:
    for snapshot in entry.snapshots:
        if snapshot.get("text"):
            yield str(snapshot["text"])


def _facts(entry: Entry, *, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    return attrs.asdict(entry, filter=lambda field, _: field.name not in leave_out)


def _as_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that is as harmless on a terminal as it is whole."""
    told = json.dumps(value, ensure_ascii=False, indent=indent)
    return _ODD_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", told)


def _cut(value: Any) -> Any:
    """Return a value of JSON for people, without texts that nobody can read to their end."""
    if isinstance(value, Mapping):
        return {name: _cut(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_cut(member) for member in value]
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}... ({len(value):,} characters; --json shows them all)"
    return value


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print_table(columns, (tuple(map(_cell, row)) for row in rows))


def _cell(text: str) -> str:
    """Return a text as one line that a terminal only shows."""
    return _without_odd(" ".join(text.split()))


def _without_odd(text: str) -> str:
    return _ODD_IN_TEXT.sub("\ufffd", "\n".join(text.splitlines()) if "\r" in text else text)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MOST else words[: _MOST - 3] + "..."


def _first_of(task_ids: Sequence[str]) -> str:
    return f"{task_ids[0]} +{len(task_ids) - 1}" if len(task_ids) > 1 else "".join(task_ids)


def _batch_name(name: str) -> str:
    return name or "(none)"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


def _utc(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _local(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
