"""The live progress bar on a terminal."""

from __future__ import annotations

import time
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from aiowery import Job, SubmissionsPaused
from aiowery.cli.output.progress import RESUMED, Counts, QueueTimes, failure_line, pause_line
from aiowery.cli.records import Record

_COUNTS: Final = (
    "[dim]{task.fields[queued]} queued[/]",
    "[cyan]{task.fields[running]} running[/]",
    "[green]{task.fields[done]} done[/]",
    "[{task.fields[alarm]}]{task.fields[failed]} failed[/]",
    "{task.fields[pace]}",
    "[dim]{task.fields[left]} left[/]",
)


class BarProgress:
    """A display with a bar at the bottom of the terminal, below the lines of text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts = Counts(0)
        columns = (BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%"), *map(TextColumn, _COUNTS))
        self._bar = Progress(*columns, console=console, refresh_per_second=8, expand=True)
        self._task = self._bar.add_task("", start=False, **self._fields())

    def start(self, total: int) -> None:
        """Draw the bar."""
        self._counts = Counts(total, started_at=time.monotonic())
        self._show()
        self._bar.start_task(self._task)
        self._bar.start()

    def show_accepted(self, index: int, _job: Job[Any], /) -> None:
        """Count."""
        self._counts.add_accepted(index)
        self._show()

    def show_record(self, record: Record) -> None:
        """Count, and write a line above the bar for a failure."""
        self._counts.add_record(record)
        self._show()
        if failure := failure_line(record):
            self.write(failure)

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Write the reason of the pause and its length above the bar."""
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Write above the bar that submitting has resumed."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line above the bar, without markup."""
        self._console.print(text, markup=False, highlight=False, emoji=False)

    def tick(self, queue: QueueTimes | None) -> None:
        """Refresh the rate and the remaining time."""
        self._counts.queue = queue
        self._show()

    def stop(self) -> None:
        """Stop the bar."""
        self._show()
        self._bar.stop()

    def _show(self) -> None:
        self._bar.update(self._task, total=self._counts.total, completed=self._counts.finished, **self._fields())

    def _fields(self) -> dict[str, Any]:
        counts = self._counts
        return {
            "queued": f"{counts.queued:,}",
            "running": f"{counts.running:,}",
            "done": f"{counts.done:,}",
            "failed": f"{counts.failed:,}",
            "alarm": "red" if counts.failed else "dim",
            "pace": counts.pace(),
            "left": counts.time_left(),
        }
