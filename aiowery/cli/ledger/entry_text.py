"""Texts about an entry that several commands print."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from aiowery.cli.input.requests import from_stored, prompt_of
from aiowery.cli.ledger.reader import LedgerReader
from aiowery.cli.providers import service_at
from aiowery.cli.terminal import printable
from aiowery.errors import AioweryError
from aiowery.ledger import Entry


def stored_prompt_of(request: Mapping[str, Any]) -> str:
    """Return the prompt of a request in a ledger, or its type."""
    try:
        return prompt_of(from_stored(request))
    except AioweryError:  # a request of another version or program
        return str(request.get("prompt") or request.get("type") or "")


def urls_of(entry: Entry) -> tuple[str, ...]:
    """Return the URLs of an entry's outputs."""
    assets = (asset for snapshot in entry.snapshots for asset in snapshot.get("assets") or ())
    return tuple(dict.fromkeys(str(asset["url"]) for asset in assets))


def first_of(task_ids: Sequence[str]) -> str:
    """Return the first id and the number of further ids as text."""
    return f"{task_ids[0]} +{len(task_ids) - 1}" if len(task_ids) > 1 else "".join(task_ids)


def batch_name(name: str) -> str:
    """Return the name of a batch for display."""
    return name or "(none)"


def details_of(entry: Entry, *, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return an entry as a JSON object."""
    return attrs.asdict(entry, filter=lambda field, _: field.name not in leave_out)


def status_command(entry: Entry) -> str:
    """Return the command that shows the state of an entry's first task, or what is missing for it."""
    service = service_at(entry.base_url, str(entry.request.get("type")))
    if service is None:
        return printable(f"the provider at {entry.base_url} is not installed")
    return printable(shlex.join(("aiowery", "status", *entry.task_ids[:1], *service.options)))


def next_steps(reader: LedgerReader, entry_id: str) -> Iterator[str]:
    """Yield lines about the commands that resolve a doubt."""
    yield "It may have been charged. Search the provider's call history at the time it was sent; then, if it is"
    commands = {
        "there": reader.command("doubts", "adopt", entry_id, "TASK_ID"),
        "not there": f"{reader.command('doubts', 'release', entry_id)} (the next run of its batch sends it)",
        "not there, and needed now": reader.command("doubts", "resubmit", entry_id),
    }
    width = max(map(len, commands))
    for case, command in commands.items():
        yield f"  {case + ':':{width + 1}} {command}"
