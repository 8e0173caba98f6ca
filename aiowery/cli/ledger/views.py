"""Views of a ledger: lists, details and exports of its entries."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import attrs

from aiowery._base.new_files import create
from aiowery.cli.exit_codes import DONE
from aiowery.cli.file_names import file_mode
from aiowery.cli.ledger.entry_text import (
    batch_name,
    details_of,
    first_of,
    next_steps,
    status_command,
    stored_prompt_of,
    urls_of,
)
from aiowery.cli.ledger.reader import LedgerReader
from aiowery.cli.output.plain_text import cell, local, number, short, utc
from aiowery.cli.output.tables import print_columns, print_table
from aiowery.cli.records import duration
from aiowery.cli.terminal import (
    StandardOutput,
    as_json,
    print_json,
    print_notice,
    print_text,
    printable,
)
from aiowery.errors import ConfigurationError
from aiowery.ledger import BatchSummary, Entry, State

Format = Literal["jsonl", "csv"]
_MAX_TEXT: Final = 2000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\n")
_COLUMNS: Final = (
    "id",
    "batch",
    "index",
    "state",
    "type",
    "model",
    "prompt",
    "credits",
    "task_ids",
    "late_task_ids",
    "files",
    "urls",
    "sent_at",
    "reason",
)


_DESCRIPTIONS: Final[Mapping[State, str]] = {
    State.NEW: "it was not sent",
    State.CLAIMED: "a running process is about to send it",
    State.SENDING: "a running process is sending it",
    State.ACCEPTED: "the provider has accepted it; its outcome is not known yet",
    State.DONE: "it succeeded",
    State.FAILED: "it failed",
    State.IN_DOUBT: "it was sent, and may have been accepted and charged",
}


@attrs.frozen(kw_only=True)
class EntryFilter:
    """A filter of entries: by batch and state, with a start id and a limit."""

    batch: str | None = None
    states: tuple[State, ...] = ()
    limit: int = 100
    after: int = 0

    def to_options(self) -> tuple[str, ...]:
        """Return command-line options for this filter, without the start id."""
        batch = () if self.batch is None else ("--batch", self.batch)
        states = itertools.chain.from_iterable(("--state", state.replace(" ", "-")) for state in self.states)
        return (*batch, *states, *(("--limit", str(self.limit)) if self.limit != EntryFilter().limit else ()))


def list_entries(reader: LedgerReader, choice: EntryFilter, *, json_lines: bool) -> int:
    """Print a page of entries, and the command that shows the next page."""
    reader.check_batch(choice.batch)
    found = reader.entries_after(choice.batch, choice.states or None, choice.after, choice.limit + 1)
    entries = found[: choice.limit]
    if json_lines:
        print_json(details_of(entry, leave_out=("snapshots", "excerpt")) for entry in entries)
    else:
        _print_page(reader, choice, entries)
    if len(found) > len(entries):
        more = reader.command("ledger", "list", *choice.to_options(), "--after", str(entries[-1].id))
        (print_notice if json_lines else print_text)(f"For more entries: {more}")
    return DONE


def _print_page(reader: LedgerReader, choice: EntryFilter, entries: Sequence[Entry]) -> None:
    if choice == EntryFilter(limit=choice.limit):
        _print_batches(reader.batches())
    if entries:
        _print_entries(entries)
    else:
        print_text("No entries.")


def _print_batches(batches: Sequence[BatchSummary]) -> None:
    states = [state for state in State if any(batch.states.get(state) for batch in batches)]
    rows = [
        (
            batch_name(batch.name),
            f"{batch.total:,}",
            *(f"{batch.states[state]:,}" if state in batch.states else "" for state in states),
            number(batch.credits),
        )
        for batch in batches
    ]
    if rows:
        print_table(("batch", "total", *states, "credits"), rows)


def _print_entries(entries: Sequence[Entry]) -> None:
    columns: dict[str, list[str]] = {
        "id": [str(entry.id) for entry in entries],
        "batch": [entry.batch for entry in entries],
        "state": [entry.state for entry in entries],
        "credits": [number(entry.credits) for entry in entries],
        "sent": [local(entry.sent_at) for entry in entries],
        "task ids": [first_of(entry.task_ids) for entry in entries],
        "also charged": [first_of(entry.late_task_ids) for entry in entries],
        "prompt": [short(stored_prompt_of(entry.request)) for entry in entries],
        "reason": [entry.reason for entry in entries],
    }
    print_columns(columns)


def show_entry(reader: LedgerReader, entry_id: int, *, json_lines: bool) -> int:
    """Print all details of one entry, and the possible next steps."""
    entry = reader.entry(entry_id)
    if json_lines:
        print_json([details_of(entry)])
        return DONE
    facts = {
        "entry": str(entry.id),
        "batch": f"{entry.batch}, number {entry.index + 1}" if entry.batch else "none",
        "state": f"{entry.state}: {_DESCRIPTIONS[entry.state]}",
        "reason": entry.reason,
        "sent": "" if entry.sent_at is None else f"{local(entry.sent_at)} here, {utc(entry.sent_at)}",
        "attempts": str(entry.attempts),
        "task ids": ", ".join(entry.task_ids),
        "also charged": _late_tasks(entry),
        "named by the provider": "" if entry.task_ids else ", ".join(reader.named_tasks(entry)),
        "batch id": entry.provider_batch_id,
        "request id": entry.request_id,
        "credits": _credits_text(entry),
        "took": None if entry.seconds is None else duration(entry.seconds),
        "files": ", ".join(entry.files),
    }
    print_text(*(f"{name}: {cell(value)}" for name, value in facts.items() if value))
    print_text(*(f"URL: {cell(url)}" for url in urls_of(entry)), f"request: {_request_text(entry)}")
    if entry.excerpt:
        print_text("the beginning of the response:", entry.excerpt)
    for text in (*_texts_of(entry), *_next_steps(reader, entry)):
        print_text(text)
    return DONE


def _request_text(entry: Entry) -> str:
    return as_json(_with_short_texts(entry.request), indent=2)


def _late_tasks(entry: Entry) -> str:
    """Return as text the tasks that were accepted although their entry had been released."""
    return f"{', '.join(entry.late_task_ids)}, of an attempt that had been released" if entry.late_task_ids else ""


def _credits_text(entry: Entry) -> str:
    if entry.credits is None and entry.cost:
        return f"about {number(entry.cost)}, an estimate"
    return number(entry.credits)


def _next_steps(reader: LedgerReader, entry: Entry) -> Iterator[str]:
    """Yield lines about the next steps for an entry."""
    if entry.state is State.IN_DOUBT:
        yield from next_steps(reader, str(entry.id))
    elif entry.state is State.ACCEPTED:
        again = "Run its batch again to fetch its outputs, or see its state: " if entry.batch else "To see its state: "
        yield again + status_command(entry)
    elif entry.state is State.NEW:
        yield (
            "The next run of its batch sends it."
            if entry.batch
            else "Nothing sends it by itself; submit a new request."
        )


def export(reader: LedgerReader, format_: Format, batch: str | None, out: Path | None) -> int:
    """Write all entries to a file, or to standard output."""
    reader.check_batch(batch)
    with _target(reader, out) as stream:
        if format_ == "jsonl":
            for entry in reader.iter_entries(batch):
                stream.write(f"{as_json(details_of(entry))}\n")
        else:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(_COLUMNS)
            table.writerows(map(_csv_row, reader.iter_entries(batch)))
    return DONE


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


@contextlib.contextmanager
def _target(reader: LedgerReader, out: Path | None) -> Iterator[_Writable]:
    if out is None:
        yield StandardOutput()
        return
    try:
        if out.exists() and out.samefile(reader.path):
            raise ConfigurationError(f"--out {out} is the ledger itself; nothing was written; name another file")
        with contextlib.suppress(FileExistsError):  # a file that exists keeps its mode
            create(out, file_mode(reader.path)).close()
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as fault:
        raise ConfigurationError(f"cannot write {out}: {fault.strerror or fault}") from fault


def _csv_row(entry: Entry) -> list[str]:
    request = entry.request
    return [
        str(entry.id),
        _csv_text(entry.batch),
        str(entry.index),
        entry.state,
        _csv_text(request.get("type")),
        _csv_text(request.get("model")),
        _csv_text(stored_prompt_of(request)),
        number(entry.credits),
        _csv_text("; ".join(entry.task_ids)),
        _csv_text("; ".join(entry.late_task_ids)),
        _csv_text("; ".join(entry.files)),
        _csv_text("; ".join(urls_of(entry))),
        utc(entry.sent_at),
        _csv_text(entry.reason),
    ]


def _csv_text(value: object) -> str:
    """Return a text that a spreadsheet does not evaluate as a formula."""
    text = "" if value is None else printable(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _texts_of(entry: Entry) -> Iterator[str]:
    for snapshot in entry.snapshots:
        if snapshot.get("text"):
            yield str(snapshot["text"])


def _with_short_texts(value: Any) -> Any:
    """Return a JSON value for display, with long texts cut."""
    if isinstance(value, Mapping):
        return {name: _with_short_texts(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_short_texts(member) for member in value]
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"{value[:_MAX_TEXT]}... ({len(value):,} characters; --json shows them all)"
    return value
