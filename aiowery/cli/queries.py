"""Questions to the service that make no job."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiowery import BetterWaifu, WeryAI
from aiowery._base.snapshot import Snapshot
from aiowery.cli.connect import open_client
from aiowery.cli.input.prompt_files import STDIN, decoded
from aiowery.cli.options import ConnectionOptions
from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.progress import write_line
from aiowery.weryai import ChatResult, Message

T = TypeVar("T")


def query(running: ConnectionOptions, ask: Callable[[Any], Awaitable[T]], **settings: Any) -> T:
    """Open the client of the service that is meant, with these settings, ask it, and return the answer."""
    running.where.check()
    with show_logs(running.verbose, lambda text: write_line(sys.stderr, text)):
        return asyncio.run(_query(running, ask, settings))


async def _query(running: ConnectionOptions, ask: Callable[[Any], Awaitable[T]], settings: Mapping[str, Any]) -> T:
    async with open_client(running.where, **settings) as client:
        return await ask(client)


async def fetch_balance(client: WeryAI | BetterWaifu) -> float | None:
    """Return the credits that are left, None when the service does not say."""
    return (await client.account()).credits if isinstance(client, BetterWaifu) else await client.balance()


async def upload_all(client: WeryAI, files: Iterable[Path], *, legacy: bool) -> None:
    """Upload files one after the other and print each one's url at once."""
    for file in files:
        print(await client.upload(file, legacy=legacy), flush=True)


def conversation(message: str, system: str | None) -> list[Message]:
    """Return the turns to be answered; `-` reads the message from standard input."""
    said = decoded(sys.stdin.buffer.read(), "standard input") if message == STDIN else message
    turns = [Message("user", said)]
    return turns if system is None else [Message("system", system), *turns]


def print_answer(answer: ChatResult) -> None:
    """Print what a chat model said, and tell if it was cut off."""
    print(answer.text)
    if answer.finish_reason == "length":
        write_line(sys.stderr, "The answer is cut off at the most tokens allowed; --max-tokens allows more.")


def print_snapshot(snapshot: Snapshot) -> None:
    """Print what was said of one task."""
    print(f"{snapshot.task_id}: {snapshot.state.value} ({snapshot.raw_status or 'no word'})")
    facts: dict[str, Any] = {
        "step": snapshot.substatus,
        "position in the queue": snapshot.queue_position,
        "reason": snapshot.reason,
    }
    if snapshot.credits is not None:
        facts["credits"] = f"{snapshot.credits:g}"
    for name, value in facts.items():
        if value:
            print(f"{name}: {value}")
    for asset in snapshot.assets:
        print(asset.url)
    if snapshot.text:
        print(snapshot.text)
