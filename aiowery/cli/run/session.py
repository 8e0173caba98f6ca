"""The part that `batch`, `generate` and `run` share: the open client, the run of the items, signals and logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

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
from aiowery.cli.run.runner import ItemRunner, OnResult, Stem
from aiowery.cli.run.signals import on_signals
from aiowery.cli.run.stop_reason import StopReason
from aiowery.cli.terminal import bar_console

_MAX_STEM: Final = 60
_BUSY_INTERVAL: Final = 10.0


@attrs.frozen(kw_only=True)
class RunParts:
    """Parts of a run: its progress display, its manifest, its job source and its directory (None saves nothing)."""

    progress: Progress
    manifest: ManifestWriter
    out: Path | None
    stem: Stem
    job_source: Callable[[Client], JobSource]
    on_result: OnResult = lambda _: None


async def run_items(
    items: Sequence[InputItem],
    parts: RunParts,
    connection: ConnectionOptions,
    in_flight: int | None = None,
    **settings: Any,
) -> tuple[tuple[Record, ...], StopReason | None]:
    """Run the items through a client with these settings. Return the records, and the reason if the run stopped."""
    task_count = sum(item.request.task_count for item in items if item.request is not None)
    progress = parts.progress
    observer = _Observer(progress)
    with show_logs(connection.verbose, progress.write) as logs:
        async with open_client(
            connection.target, in_flight=in_flight, task_count=task_count, observer=observer, **settings
        ) as client:
            runner = observer.runner = _make_runner(client, parts)
            with on_signals(runner.interrupt, runner.leave):
                records = await runner.finish(items)
        if logs.hidden:
            progress.write(f"{logs.hidden:,} warnings of the library were not shown; --verbose shows them.")
    return records, runner.stopped


def _make_runner(client: Client, parts: RunParts) -> ItemRunner:
    return ItemRunner(
        client,
        parts.out,
        stem=parts.stem,
        manifest=parts.manifest,
        progress=parts.progress,
        job_source=parts.job_source(client),
        on_result=parts.on_result,
    )


class _Observer:
    """An event observer that reports each pause, and at intervals that the provider is busy."""

    def __init__(self, progress: Progress) -> None:
        self.runner: ItemRunner | None = None
        self._progress = progress
        self._busy_shown_at = float("-inf")

    def __call__(self, event: Event) -> None:
        match event:
            case QueueBackedOff():
                self._show_busy(event)
            case SubmissionsPaused():
                self._progress.show_pause(event)
                if self.runner is not None:
                    self.runner.on_paused(event)
            case SubmissionsResumed():
                self._progress.show_resumed()

    def _show_busy(self, event: QueueBackedOff) -> None:
        now = time.monotonic()
        if now >= self._busy_shown_at + _BUSY_INTERVAL:
            self._busy_shown_at = now
            self._progress.write(f"The provider is busy; submitting resumes in {event.pause:.1f} s ({event.error})")


def make_progress(*, with_prompts: bool) -> PlainProgress | BarProgress:
    """Return a progress bar if standard error is a terminal, else plain lines."""
    console = bar_console()
    return (
        BarProgress(console, with_prompts=with_prompts)
        if console.is_terminal
        else PlainProgress(with_prompts=with_prompts)
    )


def clean_stem(item: InputItem) -> str:
    """Return a file name stem made from the item's prompt."""
    return clean_name(prompt_of(item.request).lower(), _MAX_STEM) if item.request is not None else ""


def exit_code(stop: StopReason | None, *, is_complete: bool, has_doubts: bool = False) -> int:
    """Return the exit code of a finished run."""
    if has_doubts:
        return IN_DOUBT
    if stop is not None:
        return stop.exit_code
    return DONE if is_complete else SOME_FAILED
