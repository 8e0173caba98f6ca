"""Entries in doubt, and their resolution."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import attrs

from aiowery import Result
from aiowery._core.fields import fits_in_a_path
from aiowery.cli.connect import open_client
from aiowery.cli.exit_codes import DONE, IN_DOUBT
from aiowery.cli.ledger.entry_text import batch_name, details_of, next_steps, status_command, stored_prompt_of
from aiowery.cli.ledger.reader import LedgerReader, open_reader
from aiowery.cli.options import ProviderOptions
from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.plain_text import local, short, utc
from aiowery.cli.output.tables import print_columns
from aiowery.cli.providers import service_at
from aiowery.cli.terminal import print_json, print_notice, print_result, print_text
from aiowery.errors import ConfigurationError
from aiowery.ledger import State


def list_doubts(reader: LedgerReader, *, json_lines: bool) -> int:
    """Print the entries in doubt and the next steps. Return 3 if there are any, else 0."""
    doubts = reader.iter_entries(states=[State.IN_DOUBT])
    if json_lines:
        values = (
            {**details_of(entry, leave_out=("snapshots",)), "named": reader.named_tasks(entry)} for entry in doubts
        )
        return IN_DOUBT if print_json(values) else DONE
    found = list(doubts)
    named = [", ".join(reader.named_tasks(entry)) for entry in found]
    if not found:
        print_text("Nothing is in doubt.")
        return DONE
    print_columns(
        {
            "id": [str(entry.id) for entry in found],
            "batch": [batch_name(entry.batch) for entry in found],
            "sent (UTC)": [utc(entry.sent_at) for entry in found],
            "sent (here)": [local(entry.sent_at) for entry in found],
            "named by the provider": named,
            "prompt": [short(stored_prompt_of(entry.request)) for entry in found],
            "reason": [entry.reason for entry in found],
        }
    )
    if any(named):
        print_text("Tasks that the provider has named are polled and fetched by the next run of their batch.")
    print_text(*next_steps(reader, "ID"))
    return IN_DOUBT


def adopt(reader: LedgerReader, entry_id: int, task_ids: Sequence[str]) -> int:
    """Resolve an entry in doubt as accepted with these tasks."""
    ids = tuple(dict.fromkeys(task_ids))
    if not ids:
        raise ConfigurationError("no task id is given; name the task ids that the provider's call history shows")
    for task_id in ids:
        if not fits_in_a_path(task_id):
            raise ConfigurationError(f"{task_id!r} is not a task id; write it as the provider shows it")
    entry = reader.entry_in_doubt(entry_id)
    reader.adopt(entry_id, ids)
    fetches = (
        f"the next run of batch {entry.batch!r} fetches it"
        if entry.batch
        else f"to see its state: {status_command(attrs.evolve(entry, task_ids=ids))}"
    )
    print_text(f"Entry {entry_id} is {', '.join(ids)}; {fetches}.")
    return DONE


def release(reader: LedgerReader, entry_ids: Sequence[int]) -> int:
    """Resolve entries as unsent, so that they may be sent again. Unless all are in doubt, change none."""
    if not entry_ids:
        raise ConfigurationError(
            f"no entry is given; name the entries to release ({reader.command('doubts', 'list')} shows them)"
        )
    entries = [reader.entry_in_doubt(entry_id) for entry_id in dict.fromkeys(entry_ids)]
    for entry in entries:
        reader.release(entry.id)
        what = (
            f"the next run of batch {entry.batch!r} sends it"
            if entry.batch
            else "it belongs to no batch: nothing sends it"
        )
        print_text(f"Entry {entry.id} is no longer in doubt; {what}.")
    return DONE


def resubmit(ledger: Path, entry_id: int, connection: ProviderOptions) -> int:
    """Send an entry in doubt again, wait for it, and print its outputs."""
    if connection.sandbox:
        raise ConfigurationError(
            "--sandbox cannot resolve a doubt about the real provider; nothing was sent: leave it out"
        )
    with open_reader(ledger) as reader:
        entry = reader.entry_in_doubt(entry_id)
    type_name = str(entry.request.get("type"))
    service = service_at(entry.base_url, type_name)
    if service is None:
        raise ConfigurationError(
            f"entry {entry_id} has the request type {type_name!r}, which this version lacks; nothing was sent:"
            " update aiowery, or install the provider of that type"
        )
    if connection.provider is None and connection.edition is None:
        connection = attrs.evolve(connection, provider=service.name, edition=service.edition)
    connection = connection.for_type(type_name)
    with show_logs(connection.verbose, print_notice):
        result = asyncio.run(_resubmit_and_wait(connection, reader.path, entry_id))
    print_result("\n".join([asset.url for asset in result.assets] or [result.text or ""]))
    return DONE


async def _resubmit_and_wait(connection: ProviderOptions, ledger: Path, entry_id: int) -> Result:
    async with open_client(connection.target, ledger=ledger) as client:
        job = await client.resubmit(entry_id)
        print_notice(f"Entry {entry_id} was sent again: {', '.join(job.task_ids)}")
        result: Result = await job
        return result
