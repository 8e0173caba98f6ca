"""Progress of a run: the counts, the plain lines and the bar."""

from __future__ import annotations

import io
from typing import Any

import attrs
import pytest
from rich.console import Console

from aiowery.cli.output.progress import (
    Counts,
    PlainProgress,
    QueueTimes,
    failure_line,
    plain_line,
    time_left,
    write_line,
)
from aiowery.cli.output.progress_bar import BarProgress
from aiowery.cli.records import ItemError, ItemStatus, Record, ValidationRefused
from tests.cli.conftest import make_record

_JOB: Any = None


def _record(status: ItemStatus = ItemStatus.DONE, **fields: Any) -> Record:
    return make_record(1, "a [red] cat", line=3, request={}, status=status, **fields)


_FAILED = _record(ItemStatus.FAILED, task_ids=("t",), problem=ItemError(kind="X", message="no [bold]luck[/]"))


def test_counts_of_all_states_add_up_to_the_total() -> None:
    """Every item has exactly one state. A finished item that this run did not accept is not counted as running."""
    counts = Counts(5)
    counts.add_accepted(1)
    assert (counts.queued, counts.running, counts.finished) == (4, 1, 0)
    counts.add_record(_record(task_ids=("t",)))
    counts.add_record(attrs.evolve(_FAILED, index=2))
    counts.add_record(attrs.evolve(_record(ItemStatus.NOT_SUBMITTED), index=3))
    assert (counts.queued, counts.running, counts.done, counts.failed, counts.finished) == (2, 0, 1, 1, 3)
    assert plain_line(counts).startswith("3/5: 2 queued, 0 running, 1 done, 1 failed, ")


def test_time_left_of_a_half_done_run_is_the_time_so_far() -> None:
    """If half of the items took ten seconds, the estimate for the rest is ten seconds."""
    assert time_left(5, 10, 10.0) == 10.0


def test_failure_line_of_each_status_describes_only_failures() -> None:
    """A message that starts with the prompt does not repeat it, and items that were not submitted get no line."""
    assert failure_line(_FAILED) == "failed: line 3: 'a [red] cat': no [bold]luck[/]"
    assert failure_line(_record(ItemStatus.FAILED, problem=ItemError(kind="X", message="a [red] cat: no"))) == (
        "failed: line 3: a [red] cat: no"
    )
    assert failure_line(_record(failures=("no", "no"))) == "partly failed: line 3: 'a [red] cat': no"
    assert failure_line(_record()) is None
    assert failure_line(_record(ItemStatus.NOT_SUBMITTED, problem=ItemError(kind="X", message="no credits"))) is None
    refused = _record(ItemStatus.NOT_SUBMITTED, problem=ItemError.of(ValidationRefused("no such shape")))
    assert failure_line(refused) == "not submitted: line 3: 'a [red] cat': no such shape"


def test_bar_progress_with_brackets_in_texts_shows_them_unchanged() -> None:
    """Brackets in prompts and reasons are shown as text, and not interpreted as markup."""
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=160, color_system=None))
    progress.start(1632)
    progress.show_accepted(1, _JOB)
    progress.show_record(_FAILED)
    progress.tick(None)
    progress.stop()
    text = screen.getvalue()
    assert "'a [red] cat': no [bold]luck[/]" in text
    for count in ("1,631 queued", "0 running", "0 done", "1 failed", "left"):
        assert count in text


def test_plain_progress_of_many_items_writes_few_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal, one line is written every few seconds, and one for each failure."""
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

    class ClosedPipe(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    write_line(ClosedPipe(), "hello")


def test_plain_line_with_queue_times_shows_next_start_and_end() -> None:
    """While the queue pauses, the line shows the next start instead of the rate. The queue estimates the end."""
    counts = Counts(30, done=2, queue=QueueTimes(next_in=42.0, ends_in=2400.0))
    assert plain_line(counts) == "2/30: 28 queued, 0 running, 2 done, 0 failed, next in 42.0 s, 40:00 min left"
    counts.queue = QueueTimes(next_in=0.0, ends_in=2400.0)
    assert "next in" not in plain_line(counts)


def test_plain_progress_with_queue_times_shows_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line shows the remaining time, although no item has finished."""
    now = 100.0
    monkeypatch.setattr("aiowery.cli.output.progress.time.monotonic", lambda: now)
    progress = PlainProgress()
    progress.start(30)
    now += 6
    progress.tick(QueueTimes(next_in=0.0, ends_in=2700.0))
    assert capsys.readouterr().err.endswith("45:00 min left\n")
