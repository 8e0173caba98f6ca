"""The commands about ledgers: thin, each from its options to an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter, validators

from aiowery.cli.ledger import doubts as settling
from aiowery.cli.ledger import reader as ledger_reader
from aiowery.cli.ledger import views
from aiowery.cli.ledger.reader import LEDGER, open_reader
from aiowery.cli.options import ProviderOptions
from aiowery.ledger import State

_LARGEST: Final = 2**63 - 1
_MOST: Final = 10_000

Ledger = Annotated[
    Path,
    Parameter(
        name="--ledger", help="The ledger, or the directory that it lies in, such as a batch's output directory."
    ),
]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print a JSON object per entry, a line each.")]
EntryId = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_LARGEST), help="The entry's id.")]
Batch = Annotated[str | None, Parameter(help="Only this batch; '' means what belongs to none.")]

ledger_commands: Final = App(name="ledger", help="Look into a ledger: what was sent, what became of it, what it cost.")
doubts: Final = App(
    name="doubts", help="Settle what was sent without a clear answer: it may have been charged, or not."
)


@ledger_commands.command(name="list")
def list_entries(
    *,
    batch: Batch = None,
    state: Annotated[list[State] | None, Parameter(negative="", help="Only in this state; may be repeated.")] = None,
    limit: Annotated[int, Parameter(help="Show so many.", validator=validators.Number(gte=1, lte=_MOST))] = 100,
    after: Annotated[
        int, Parameter(help="Begin after the entry of this id.", validator=validators.Number(gte=0, lte=_LARGEST))
    ] = 0,
    json: Json = False,
    ledger: Ledger = LEDGER,
) -> int:
    """Show the entries of a ledger, a page at a time; first its batches in numbers."""
    choice = views.EntryFilter(batch=batch, states=tuple(state or ()), limit=limit, after=after)
    with open_reader(ledger, allow_copy=True) as reader:
        return views.list_entries(reader, choice, json_lines=json)


@ledger_commands.command(name="show")
def show_entry(entry_id: EntryId, /, *, json: Json = False, ledger: Ledger = LEDGER) -> int:
    """Show everything about one entry, and what can be done about it."""
    with open_reader(ledger, allow_copy=True) as reader:
        return views.show_entry(reader, entry_id, json_lines=json)


@ledger_commands.command(name="export")
def export_entries(
    *,
    format_: Annotated[
        views.Format, Parameter(name="--format", help="A JSON object a line, whole; or a table for a spreadsheet.")
    ] = "jsonl",
    batch: Batch = None,
    out: Annotated[Path | None, Parameter(help="Write this file instead of standard output.")] = None,
    ledger: Ledger = LEDGER,
) -> int:
    """Write all entries down for other programs."""
    with open_reader(ledger, allow_copy=True) as reader:
        return views.export(reader, format_, batch, out)


@ledger_commands.command(name="accept-copy")
def accept_copy(*, ledger: Ledger = LEDGER) -> int:
    """Go on with a copy of a ledger or a restored backup, once the original is no longer used.

    What was sent since the copy was made is not in it: the next run of its batch pays for that again.
    """
    return ledger_reader.accept_copy(ledger)


@doubts.command(name="list")
def list_doubts(*, json: Json = False, ledger: Ledger = LEDGER) -> int:
    """Show what is in doubt and what to do about it; the exit code is 3 if anything is, else 0."""
    with open_reader(ledger, allow_copy=True) as reader:
        return settling.list_doubts(reader, json_lines=json)


@doubts.command(name="adopt")
def adopt_doubt(
    entry_id: EntryId,
    /,
    *task_ids: Annotated[str, Parameter(help="The ids of its tasks, by the provider's call history.")],
    ledger: Ledger = LEDGER,
) -> int:
    """Settle a doubt: the provider took it, and these are its tasks."""
    with open_reader(ledger) as reader:
        return settling.adopt(reader, entry_id, task_ids)


@doubts.command(name="release")
def release_doubts(*entry_ids: EntryId, ledger: Ledger = LEDGER) -> int:
    """Settle doubts: the provider did not take them, so that they may be sent again."""
    with open_reader(ledger) as reader:
        return settling.release(reader, entry_ids)


@doubts.command(name="resubmit")
def resubmit_doubt(
    entry_id: EntryId,
    /,
    *,
    ledger: Ledger = LEDGER,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Settle a doubt by sending it again at once, at the risk of paying twice; wait for it and print it."""
    return settling.resubmit(ledger, entry_id, connection)
