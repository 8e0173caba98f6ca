"""Progress output of a run."""

from __future__ import annotations

import io
import logging
from typing import Any

import attrs
import pytest
from rich.console import Console

from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.progress import Counts, PlainProgress, failure_line, plain_line, time_left, write_line
from aiowery.cli.output.progress_bar import BarProgress
from aiowery.cli.records import ItemError, ItemStatus, Record, ValidationRefused

_JOB: Any = None


def _record(status: ItemStatus = ItemStatus.DONE, **facts: Any) -> Record:
    return Record(index=1, line=3, prompt="a [red] cat", request={}, notes={}, status=status, **facts)


_FAILED = _record(ItemStatus.FAILED, task_ids=("t",), problem=ItemError(kind="X", message="no [bold]luck[/]"))


def test_counts_add_up_to_the_total() -> None:
    """Every item has exactly one state; an item sent by an earlier run is never under way in this one."""
    counts = Counts(5)
    counts.add_accepted(1)
    assert (counts.queued, counts.running, counts.finished) == (4, 1, 0)
    counts.add_record(_record(task_ids=("t",)))
    counts.add_record(attrs.evolve(_FAILED, index=2))
    counts.add_record(attrs.evolve(_record(ItemStatus.NOT_SUBMITTED), index=3))
    assert (counts.queued, counts.running, counts.done, counts.failed, counts.finished) == (2, 0, 1, 1, 3)
    assert plain_line(counts).startswith("3/5: 2 queued, 0 running, 1 done, 1 failed, ")


def test_time_left_uses_the_rate_so_far() -> None:
    """Half done in ten seconds means ten to go."""
    assert time_left(5, 10, 10.0) == 10.0


def test_failure_line_describes_only_failures() -> None:
    """The prompt is not repeated in a message that starts with it; unsent items get no line."""
    assert failure_line(_FAILED) == "failed: line 3: 'a [red] cat': no [bold]luck[/]"
    assert failure_line(_record(ItemStatus.FAILED, problem=ItemError(kind="X", message="a [red] cat: no"))) == (
        "failed: line 3: a [red] cat: no"
    )
    assert failure_line(_record(failures=("no", "no"))) == "partly failed: line 3: 'a [red] cat': no"
    assert failure_line(_record()) is None
    assert failure_line(_record(ItemStatus.NOT_SUBMITTED, problem=ItemError(kind="X", message="no credits"))) is None
    refused = _record(ItemStatus.NOT_SUBMITTED, problem=ItemError.of(ValidationRefused("no such shape")))
    assert failure_line(refused) == "not submitted: line 3: 'a [red] cat': no such shape"


def test_bar_progress_shows_counts_and_failures_without_markup() -> None:
    """Brackets in prompts and reasons are text, not markup of the terminal."""
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=160, color_system=None))
    progress.start(1632)
    progress.show_accepted(1, _JOB)
    progress.show_record(_FAILED)
    progress.tick(None)
    progress.stop()
    text = screen.getvalue()
    assert "'a [red] cat': no [bold]luck[/]" in text
    for words in ("1,631 queued", "0 running", "0 done", "1 failed", "left"):
        assert words in text


def test_plain_progress_writes_few_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there is a line every few seconds, and one for each failure."""
    now = 100.0
    monkeypatch.setattr("aiowery.cli.output.progress.time.monotonic", lambda: now)
    progress = PlainProgress()
    progress.start(1000)
    for _ in range(110):
        now += 0.1
        progress.show_accepted(1, _JOB)
        progress.show_record(_record(task_ids=("t",)))
        progress.tick(None)
    progress.show_record(_FAILED)
    progress.stop()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("51/1,000: 949 queued, 0 running, 51 done, 0 failed, 10.0/s, 1:35 min left")
    assert lines[2].startswith("failed: ")


def test_write_line_to_a_closed_pipe_does_not_raise() -> None:
    """A broken pipe does not end a run that costs money."""

    class Gone(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    write_line(Gone(), "hello")


@pytest.mark.parametrize(
    ("verbosity", "printed", "hidden"),
    [
        (0, ["ERROR e"], 1),
        (1, ["INFO i", "WARNING w", "ERROR e"], 0),
        (2, ["DEBUG d", "INFO i", "WARNING w", "ERROR e"], 0),
    ],
)
def test_show_logs_writes_records_by_verbosity(verbosity: int, printed: list[str], hidden: int) -> None:
    """Warnings are counted where they are not shown, so that they do not garble the screen."""
    lines: list[str] = []
    log = logging.getLogger("aiowery.test")
    with show_logs(verbosity, lines.append) as logs:
        for write, text in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
            write(text)
    assert lines == printed
    assert logs.hidden == hidden
