"""The live progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from aiowery import Job, SubmissionsPaused
from aiowery.cli.output.progress import RESUMED, Counts, QueueTimes, failure_line, pause_line
from aiowery.cli.records import Record
from aiowery.cli.terminal import print_above

_MIN_BAR: Final = 6
_PERCENT: Final = len("100%")


class BarProgress:
    """A display with a bar at the bottom of the terminal, below the lines of text.

    On a narrow terminal the counts have a short form. `with_prompts` is as in `PlainProgress`.
    """

    def __init__(self, console: Console, *, with_prompts: bool = False) -> None:
        self._console = console
        self._with_prompts = with_prompts
        self._counts = Counts(0)
        columns = (BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[text]}"))
        # Nothing else prints while the bar is shown, and redirected streams would not be checked.
        self._bar = Progress(
            *columns, console=console, refresh_per_second=8, expand=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._bar.add_task("", start=False, text="")

    def start(self, total: int, earlier: Collection[int] = ()) -> None:
        """Draw the bar."""
        self._counts = Counts(total, earlier)
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
        if failure := failure_line(record, with_prompt=self._with_prompts):
            self.write(failure)

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Write the reason of the pause and its length above the bar."""
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Write above the bar that submitting has resumed."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line above the bar, without markup."""
        print_above(self._console, text)

    def tick(self, queue: QueueTimes | None) -> None:
        """Refresh the rate and the remaining time."""
        self._counts.queue = queue
        self._show()

    def stop(self) -> None:
        """Stop the bar."""
        self._show()
        self._bar.stop()

    def _show(self) -> None:
        text = counts_text(self._counts, self._console.width - _MIN_BAR - _PERCENT - 2)
        self._bar.update(self._task, total=self._counts.total, completed=self._counts.progress, text=text)


def counts_text(counts: Counts, width: int) -> str:
    """Return the counts with markup for colors: all of them, or the most important ones if they do not fit."""
    alarm = "red" if counts.failed else "dim"
    done, failed = f"[green]{counts.done:,} done[/]", f"[{alarm}]{counts.failed:,} failed[/]"
    left = f"[dim]{counts.time_left()} left[/]"
    long = (
        f"[dim]{counts.queued:,} queued[/] [cyan]{counts.running:,} running[/] {done} {failed} {counts.pace()} {left}"
    )
    middle = f"{counts.finished:,}/{counts.total:,} {failed} {left}"
    short = f"{counts.finished:,}/{counts.total:,} {failed}"
    return next((text for text in (long, middle) if len(Text.from_markup(text)) <= width), short)
