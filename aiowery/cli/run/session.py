"""Items through an open client, from the options to the records; what `batch`, `generate` and `run` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Console

from aiowery import Event, QueueBackedOff, SubmissionsPaused, SubmissionsResumed
from aiowery._base.text import clean_name
from aiowery._client.client import Client
from aiowery.cli.connect import open_client
from aiowery.cli.exit_codes import DONE, IN_DOUBT, SOME_FAILED
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.requests import prompt_of
from aiowery.cli.options import ConnectionOptions
from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.progress import PlainProgress, Progress
from aiowery.cli.output.progress_bar import BarProgress
from aiowery.cli.records import Record
from aiowery.cli.run.job_source import JobSource
from aiowery.cli.run.manifest import ManifestWriter
from aiowery.cli.run.runner import Brought, ItemRunner, Stem, StopReason
from aiowery.cli.run.signals import on_signals

_LONGEST_STEM: Final = 60
_BUSY_EVERY: Final = 10.0


@attrs.frozen(kw_only=True)
class RunParts:
    """Where a run tells, notes and saves (nowhere, if `out` is None)."""

    progress: Progress
    journal: ManifestWriter
    out: Path | None
    stem: Stem
    job_source: Callable[[Client], JobSource]
    brought: Brought = lambda _: None


async def run_items(
    items: Sequence[InputItem],
    parts: RunParts,
    running: ConnectionOptions,
    in_flight: int | None = None,
    **settings: Any,
) -> tuple[tuple[Record, ...], StopReason | None]:
    """Open the client with these settings, run the items, let signals through."""
    places = sum(item.request.task_count for item in items if item.request is not None)
    progress = parts.progress
    with show_logs(running.verbose, progress.write) as logs:
        observer = _Observer(progress)
        async with open_client(
            running.where, in_flight=in_flight, places=places, observer=observer, **settings
        ) as client:
            run = ItemRunner(
                client,
                parts.out,
                stem=parts.stem,
                journal=parts.journal,
                progress=progress,
                desk=parts.job_source(client),
                brought=parts.brought,
            )
            observer.run = run
            with on_signals(run.interrupt, run.leave):
                records = await run.finish(items)
        if logs.unsaid:
            progress.write(f"{logs.unsaid:,} warnings of the library were not shown; --verbose shows them.")
    return records, run.stopped


class _Observer:
    """Tells why nothing moves: each pause, and now and then that the provider is too busy."""

    def __init__(self, progress: Progress) -> None:
        self.run: ItemRunner | None = None
        self._progress = progress
        self._told_at = float("-inf")

    def __call__(self, event: Event) -> None:
        match event:
            case QueueBackedOff():
                self._busy(event)
            case SubmissionsPaused():
                self._progress.paused(event)
                if self.run is not None:
                    self.run.paused(event)
            case SubmissionsResumed():
                self._progress.resumed()

    def _busy(self, event: QueueBackedOff) -> None:
        now = time.monotonic()
        if now >= self._told_at + _BUSY_EVERY:
            self._told_at = now
            self._progress.write(f"The provider is busy; submitting goes on in {event.pause:.1f} s ({event.error})")


def progress_for_people() -> PlainProgress | BarProgress:
    """Return a bar where there is a terminal, lines elsewhere."""
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else PlainProgress()


def clean_stem(item: InputItem) -> str:
    """Return a file name without ending for what an item asks for."""
    return clean_name(prompt_of(item.request).lower(), _LONGEST_STEM) if item.request is not None else ""


def exit_code(stop: StopReason | None, *, whole: bool, doubts: bool = False) -> int:
    """Return what a run's end means for the shell."""
    if doubts:
        return IN_DOUBT
    if stop is not None:
        return stop.exit_code
    return DONE if whole else SOME_FAILED
