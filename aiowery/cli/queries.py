"""Requests to a provider that create no job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiowery import Client, Result
from aiowery._base.snapshot import Snapshot
from aiowery.cli.connect import open_client
from aiowery.cli.input.prompt_files import STDIN, read_input
from aiowery.cli.input.texts import clean_text
from aiowery.cli.options import ConnectionOptions
from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.plain_text import cell, number
from aiowery.cli.providers import accepts
from aiowery.cli.terminal import print_notice, print_result, print_text
from aiowery.errors import ConfigurationError

T = TypeVar("T")


def query(connection: ConnectionOptions, fetch: Callable[[Any], Awaitable[T]], **settings: Any) -> T:
    """Open the client with these settings, run `fetch` with it, and return the result."""
    connection.target.check()
    with show_logs(connection.verbose, print_notice):
        return asyncio.run(_query(connection, fetch, settings))


async def _query(connection: ConnectionOptions, fetch: Callable[[Any], Awaitable[T]], settings: Mapping[str, Any]) -> T:
    async with open_client(connection.target, **settings) as client:
        return await fetch(client)


async def upload_all(client: Client, files: Iterable[Path], *, legacy: bool) -> None:
    """Upload files in order, and print the URL of each when it is uploaded."""
    if legacy and not accepts(client.upload, "legacy"):
        raise ConfigurationError(
            f"--legacy: {client.provider.name} has one upload endpoint; nothing was sent: leave the option out"
        )
    settings = {"legacy": True} if legacy else {}
    for file in files:
        print_text(await client.upload(file, **settings))


async def fetch_speakers(client: Client, language: str | None) -> Sequence[Any]:
    """Return the speakers for podcasts. Raises ConfigurationError if the provider has none."""
    fetch = getattr(client, "speakers", None)
    if fetch is None:
        raise ConfigurationError(f"{client.provider.name} has no speakers; nothing was sent: choose another --provider")
    speakers: Sequence[Any] = await fetch(language)
    return speakers


def conversation(message: str, system: str | None) -> list[dict[str, str]]:
    """Return the messages of a chat. If the message is `-`, it is read from standard input."""
    content = clean_text(read_input() if message == STDIN else message, "the message")
    messages = [{"role": "user", "content": content}]
    return messages if system is None else [{"role": "system", "content": clean_text(system, "--system")}, *messages]


def print_answer(answer: Result) -> None:
    """Print the answer of a chat model, and a notice if it was cut off."""
    print_result(answer.text or "")
    if getattr(answer, "finish_reason", None) == "length":
        print_notice("The answer was cut off at the token limit; --max-tokens raises it.")


def print_snapshot(snapshot: Snapshot) -> None:
    """Print the snapshot of one task."""
    facts: dict[str, Any] = {
        "step": snapshot.substatus,
        "position in the queue": snapshot.queue_position,
        "reason": snapshot.reason,
        "credits": number(snapshot.credits),
    }
    print_text(
        f"{cell(snapshot.task_id)}: {snapshot.state.value} ({snapshot.raw_status or 'no status'})",
        *(f"{name}: {value}" for name, value in facts.items() if value),
        *(asset.url for asset in snapshot.assets),
        *filter(None, [snapshot.text]),
    )
