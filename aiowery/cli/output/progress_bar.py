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
    """A bar at the foot of the screen; whatever is said appears above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Counts(0)
        columns = (BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%"), *map(TextColumn, _COUNTS))
        self._bar = Progress(*columns, console=console, refresh_per_second=8, expand=True)
        self._task = self._bar.add_task("", start=False, **self._fields())

    def start(self, total: int) -> None:
        """Draw the bar."""
        self._tally = Counts(total, started_at=time.monotonic())
        self._show()
        self._bar.start_task(self._task)
        self._bar.start()

    def accepted(self, index: int, _job: Job[Any], /) -> None:
        """Count."""
        self._tally.accepted(index)
        self._show()

    def ended(self, record: Record) -> None:
        """Count, and tell a failure above the bar."""
        self._tally.end(record)
        self._show()
        if failure := failure_line(record):
            self.write(failure)

    def paused(self, event: SubmissionsPaused, /) -> None:
        """Say above the bar why nothing is submitted, and when that may end."""
        self.write(pause_line(event))

    def resumed(self) -> None:
        """Say above the bar that submitting goes on."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line above the bar, brackets and all."""
        self._console.print(text, markup=False, highlight=False, emoji=False)

    def tick(self, line: QueueTimes | None) -> None:
        """Bring rate and time left up to date."""
        self._tally.queue = line
        self._show()

    def stop(self) -> None:
        """Leave the bar as it stands."""
        self._show()
        self._bar.stop()

    def _show(self) -> None:
        self._bar.update(self._task, total=self._tally.total, completed=self._tally.ended, **self._fields())

    def _fields(self) -> dict[str, Any]:
        tally = self._tally
        return {
            "queued": f"{tally.queued:,}",
            "running": f"{tally.running:,}",
            "done": f"{tally.done:,}",
            "failed": f"{tally.failed:,}",
            "alarm": "red" if tally.failed else "dim",
            "pace": tally.pace(),
            "left": tally.time_left(),
        }
