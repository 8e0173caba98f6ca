"""The ledger commands, each from its options to an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter, validators

from aiowery.cli.ledger import doubts as doubt_commands
from aiowery.cli.ledger import reader as ledger_reader
from aiowery.cli.ledger import views
from aiowery.cli.ledger.reader import LEDGER, open_reader
from aiowery.cli.options import ProviderOptions
from aiowery.ledger import State

_MAX_ID: Final = 2**63 - 1
_MAX_LIMIT: Final = 10_000

Ledger = Annotated[
    Path,
    Parameter(name="--ledger", help="The ledger, or the directory that holds it, such as a batch's output directory."),
]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print entries as JSON, one object per line.")]
EntryId = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_MAX_ID), help="The entry's id.")]
Batch = Annotated[str | None, Parameter(help="Only this batch; '' means entries without a batch.")]

ledger_commands: Final = App(
    name="ledger", help="Show a ledger: the requests that were sent, their outcomes and costs."
)
doubts: Final = App(
    name="doubts", help="Resolve requests that were sent without a clear answer: they may have been charged."
)


@ledger_commands.command(name="list")
def list_entries(
    *,
    batch: Batch = None,
    state: Annotated[
        list[State] | None, Parameter(negative="", help="Only entries in this state; may be repeated.")
    ] = None,
    limit: Annotated[
        int, Parameter(help="Maximum number of entries to show.", validator=validators.Number(gte=1, lte=_MAX_LIMIT))
    ] = 100,
    after: Annotated[
        int, Parameter(help="Start after the entry with this id.", validator=validators.Number(gte=0, lte=_MAX_ID))
    ] = 0,
    json: Json = False,
    ledger: Ledger = LEDGER,
) -> int:
    """Show the entries of a ledger, a page at a time, after a summary of its batches."""
    choice = views.EntryFilter(batch=batch, states=tuple(state or ()), limit=limit, after=after)
    with open_reader(ledger, allow_copy=True) as reader:
        return views.list_entries(reader, choice, json_lines=json)


@ledger_commands.command(name="show")
def show_entry(entry_id: EntryId, /, *, json: Json = False, ledger: Ledger = LEDGER) -> int:
    """Show all details of one entry, and the possible next steps."""
    with open_reader(ledger, allow_copy=True) as reader:
        return views.show_entry(reader, entry_id, json_lines=json)


@ledger_commands.command(name="export")
def export_entries(
    *,
    format_: Annotated[
        views.Format,
        Parameter(name="--format", help="One complete JSON object per line, or a table for a spreadsheet."),
    ] = "jsonl",
    batch: Batch = None,
    out: Annotated[Path | None, Parameter(help="Write this file instead of standard output.")] = None,
    ledger: Ledger = LEDGER,
) -> int:
    """Export all entries for other programs."""
    with open_reader(ledger, allow_copy=True) as reader:
        return views.export(reader, format_, batch, out)


@ledger_commands.command(name="accept-copy")
def accept_copy(*, ledger: Ledger = LEDGER) -> int:
    """Use a copy of a ledger or a restored backup from now on, once the original is no longer used.

    Requests that were sent since the copy was made are not in it: the next run of their batch pays for them again.
    """
    return ledger_reader.accept_copy(ledger)


@doubts.command(name="list")
def list_doubts(*, json: Json = False, ledger: Ledger = LEDGER) -> int:
    """Show the entries in doubt and the next steps. The exit code is 3 if there are any, else 0."""
    with open_reader(ledger, allow_copy=True) as reader:
        return doubt_commands.list_doubts(reader, json_lines=json)


@doubts.command(name="adopt")
def adopt_doubt(
    entry_id: EntryId,
    /,
    *task_ids: Annotated[str, Parameter(help="The ids of its tasks, from the provider's call history.")],
    ledger: Ledger = LEDGER,
) -> int:
    """Resolve a doubt: the provider accepted the request, and these are its tasks."""
    with open_reader(ledger) as reader:
        return doubt_commands.adopt(reader, entry_id, task_ids)


@doubts.command(name="release")
def release_doubts(*entry_ids: EntryId, ledger: Ledger = LEDGER) -> int:
    """Resolve doubts: the provider did not accept the requests, so they may be sent again."""
    with open_reader(ledger) as reader:
        return doubt_commands.release(reader, entry_ids)


@doubts.command(name="resubmit")
def resubmit_doubt(
    entry_id: EntryId,
    /,
    *,
    ledger: Ledger = LEDGER,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Resolve a doubt by sending the request again now, at the risk of paying twice. Wait and print its outputs."""
    return doubt_commands.resubmit(ledger, entry_id, connection)
