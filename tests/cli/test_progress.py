"""Progress of a run: the counts, the plain lines and the bar."""

from __future__ import annotations

import io
import re
from typing import Any

import attrs
import pytest
from rich.console import Console
from rich.text import Text

from aiowery.cli.output.progress import (
    Counts,
    PlainProgress,
    QueueTimes,
    failure_line,
    plain_line,
)
from aiowery.cli.output.progress_bar import BarProgress, counts_text
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the counts read, in a list, so that a test can change it."""
    now = [100.0]
    monkeypatch.setattr("aiowery.cli.output.progress.time.monotonic", lambda: now[0])
    return now


def test_time_left_of_a_half_done_run_is_the_time_so_far(clock: list[float]) -> None:
    """If half of the items took ten seconds, the estimate for the rest is ten seconds."""
    counts = Counts(10)
    for index in range(5):
        clock[0] += 2
        counts.add_record(make_record(index))
    assert counts.time_left() == "10.0 s"


def test_counts_of_a_resumed_run_do_not_jump(clock: list[float]) -> None:
    """What an earlier run has done is progress from the start, and says nothing about the rate of this run."""
    counts = Counts(1000, earlier=range(900))
    assert (counts.progress, counts.time_left()) == (900, "?")
    for index in range(900):
        counts.add_record(make_record(index))
    assert (counts.progress, counts.time_left(), counts.done) == (900, "?", 900)
    shown = []
    for index in range(900, 960):
        clock[0] += 3
        counts.add_record(make_record(index))
        shown.append((counts.progress, counts.time_left(), counts.pace()))
    assert shown[0] == (901, "4:57 min", "20.0/min")
    assert shown[-1] == (960, "2:00 min", "20.0/min")


def test_counts_use_recent_samples_only(clock: list[float]) -> None:
    """After a slow hour the estimate follows the rate of the last items."""
    counts = Counts(400)
    for index in range(60):
        clock[0] += 60
        counts.add_record(make_record(index))
    for index in range(60, 120):
        clock[0] += 1
        counts.add_record(make_record(index))
    assert counts.time_left() == "4:40 min"


def test_counts_do_not_count_failures_as_progress(clock: list[float]) -> None:
    """A failure is neither progress nor a sample of the rate; an item that is not sent is neither, too."""
    counts = Counts(10)
    clock[0] += 1
    for index in range(4):
        counts.add_record(make_record(index, status=ItemStatus.FAILED))
    counts.add_record(make_record(4, status=ItemStatus.NOT_SUBMITTED))
    assert (counts.progress, counts.finished, counts.pace(), counts.time_left()) == (0, 5, "0.0/min", "?")


def test_failure_line_of_each_status_describes_only_failures() -> None:
    """Items are named by their line. Prompts, which are personal data, are shown only if that is requested."""
    assert failure_line(_FAILED) == "failed: line 3: no [bold]luck[/]"
    assert failure_line(_record(failures=("no", "no"))) == "partly failed: line 3: no"
    assert failure_line(_record()) is None
    assert failure_line(_record(ItemStatus.NOT_SUBMITTED, problem=ItemError(kind="X", message="no credits"))) is None
    refused = _record(ItemStatus.NOT_SUBMITTED, problem=ItemError.of(ValidationRefused("no such shape")))
    assert failure_line(refused) == "not submitted: line 3: no such shape"


def test_failure_line_with_prompt_names_it_once() -> None:
    """A message that starts with the prompt does not repeat it."""
    assert failure_line(_FAILED, with_prompt=True) == "failed: line 3: 'a [red] cat': no [bold]luck[/]"
    named = _record(ItemStatus.FAILED, problem=ItemError(kind="X", message="a [red] cat: no"))
    assert failure_line(named, with_prompt=True) == "failed: line 3: a [red] cat: no"
    assert failure_line(_record(failures=("no",)), with_prompt=True) == "partly failed: line 3: 'a [red] cat': no"


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_bar_progress_of_any_width_fits_one_line(width: int) -> None:
    """On a narrow terminal the counts have a short form: how many are finished, how many have failed."""
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=width, color_system=None))
    progress.start(1632)
    progress.show_accepted(1, _JOB)
    progress.show_record(_FAILED)
    progress.stop()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").strip().splitlines()[-1]
    assert "1 failed" in last
    assert "0%" in last
    assert "\u2026" not in last
    assert ("1/1,632" in last) == (width < 80)
    assert len(last) <= width


def test_counts_text_drops_what_does_not_fit() -> None:
    """The counts that matter most stay longest."""
    counts = Counts(12_000, failed=7, done=5_000)
    texts = [Text.from_markup(counts_text(counts, width)).plain for width in (90, 40, 20)]
    assert texts == [
        "6,993 queued 0 running 5,000 done 7 failed 0.0/min ? left",
        "5,007/12,000 7 failed ? left",
        "5,007/12,000 7 failed",
    ]


def test_bar_progress_with_brackets_in_texts_shows_them_unchanged() -> None:
    """Brackets in prompts and reasons are shown as text, and not interpreted as markup."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    progress = BarProgress(console, with_prompts=True)
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
    for index in range(110):
        now += 0.1
        progress.show_accepted(index, _JOB)
        progress.show_record(attrs.evolve(_record(task_ids=("t",)), index=index))
        progress.tick(None)
    progress.show_record(_FAILED)
    progress.stop()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("51/1,000: 949 queued, 0 running, 51 done, 0 failed, 10.0/s, 1:35 min left")
    assert lines[2].startswith("failed: ")


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
