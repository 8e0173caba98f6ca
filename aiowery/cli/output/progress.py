"""Progress of a run: the protocol, the counts, and the displays as plain lines and as JSON.

Text goes to standard error. Standard output is for results and for `--json`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any, Final, Protocol, TextIO

import attrs

from aiowery import Job, SubmissionsPaused
from aiowery.cli.records import ItemStatus, Record, Summary, duration

_INTERVAL: Final = 5.0
_MAX_PROMPT: Final = 50
RESUMED: Final = "Submitting resumes."


@attrs.frozen
class QueueTimes:
    """Times of a queue that runs one task at a time: seconds until the next start and until the last end."""

    next_in: float
    ends_in: float


@attrs.define
class Counts:
    """Counts of items by state."""

    total: int
    under_way: set[int] = attrs.field(factory=set)
    done: int = 0
    failed: int = 0
    unsent: int = 0
    started_at: float = 0.0
    queue: QueueTimes | None = None

    @property
    def running(self) -> int:
        """Number of items that were accepted in this run and have no record yet."""
        return len(self.under_way)

    @property
    def finished(self) -> int:
        """Number of items that have a record."""
        return self.done + self.failed + self.unsent

    @property
    def queued(self) -> int:
        """Number of items that are not accepted yet."""
        return self.total - self.running - self.finished

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_at

    def add_accepted(self, index: int) -> None:
        """Count an accepted item."""
        self.under_way.add(index)

    def add_record(self, record: Record) -> None:
        """Count a finished item."""
        self.under_way.discard(record.index)
        if record.status is ItemStatus.DONE:
            self.done += 1
        elif record.status is ItemStatus.NOT_SUBMITTED:
            self.unsent += 1
        else:
            self.failed += 1

    def pace(self) -> str:
        """Return the rate as text, or the time until the next start while the queue pauses."""
        if self.queue is not None and self.queue.next_in >= 1:
            return f"next in {duration(self.queue.next_in)}"
        return self.rate()

    def rate(self) -> str:
        """Return the rate as text."""
        rate = self.done / self.seconds if self.seconds else 0.0
        return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"

    def time_left(self) -> str:
        """Return the remaining time as text: the queue's estimate if it has one, else from the rate so far."""
        if self.queue is not None:
            return duration(self.queue.ends_in)
        return duration(time_left(self.finished, self.total, self.seconds)) if self.finished else "?"


def time_left(ended: int, total: int, seconds: float) -> float:
    """Return the remaining seconds at the rate so far."""
    return seconds / ended * (total - ended)


class Progress(Protocol):
    """A display of the progress of a run."""

    def start(self, total: int) -> None:
        """Start the display."""
        ...

    def show_accepted(self, index: int, job: Job[Any], /) -> None:
        """Show that an item was accepted."""
        ...

    def show_record(self, record: Record) -> None:
        """Show a finished item."""
        ...

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Show that submitting has paused, or that a probe has failed."""
        ...

    def show_resumed(self) -> None:
        """Show that submitting has resumed."""
        ...

    def write(self, text: str) -> None:
        """Show a line of text."""
        ...

    def tick(self, queue: QueueTimes | None) -> None:
        """Refresh the display every second. `queue` is None unless tasks run one at a time."""
        ...

    def stop(self) -> None:
        """Stop the display. Later output appears below it."""
        ...


class PlainProgress:
    """A display of plain lines on standard error: the counts every few seconds, and each failure."""

    def __init__(self) -> None:
        self._counts = Counts(0)
        self._shown_at = 0.0

    def start(self, total: int) -> None:
        """Start to count."""
        self._shown_at = time.monotonic()
        self._counts = Counts(total, started_at=self._shown_at)

    def show_accepted(self, index: int, _job: Job[Any], /) -> None:
        """Count."""
        self._counts.add_accepted(index)

    def show_record(self, record: Record) -> None:
        """Count, and write a line for a failure."""
        self._counts.add_record(record)
        if failure := failure_line(record):
            self.write(failure)

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Write the reason of the pause and its length."""
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Write that submitting has resumed."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line."""
        write_line(sys.stderr, text)

    def tick(self, queue: QueueTimes | None) -> None:
        """Write the counts if the last line is old enough."""
        self._counts.queue = queue
        if time.monotonic() >= self._shown_at + _INTERVAL:
            self._shown_at = time.monotonic()
            self.write(plain_line(self._counts))

    def stop(self) -> None:
        """Do nothing."""


class JsonProgress:
    """A display of JSON objects, one per line, on standard output. Text goes to standard error."""

    def start(self, total: int) -> None:
        """Write the event `started`."""
        self._emit("started", total=total)

    def show_accepted(self, index: int, job: Job[Any], /) -> None:
        """Write the event `accepted`."""
        self._emit("accepted", index=index, task_ids=job.task_ids, request_id=job.request_id)

    def show_record(self, record: Record) -> None:
        """Write the event `ended` with the manifest line."""
        self._emit("ended", **record.to_dict())

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Write the event `paused`, and a line of text."""
        self._emit("paused", **attrs.asdict(event))
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Write the event `resumed`, and a line of text."""
        self._emit("resumed")
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line of text."""
        write_line(sys.stderr, text)

    def tick(self, queue: QueueTimes | None) -> None:
        """Do nothing, because each event is written when it happens."""

    def stop(self) -> None:
        """Do nothing."""

    def show_summary(self, summary: Summary, exit_code: int) -> None:
        """Write the event `finished`."""
        statuses = {status.value.replace(" ", "_"): number for status, number in summary.statuses.items()}
        self._emit(
            "finished",
            total=summary.total,
            **statuses,
            files=summary.files,
            credits=summary.credits,
            seconds=round(summary.seconds, 3),
            exit_code=exit_code,
        )

    @staticmethod
    def _emit(event: str, **facts: Any) -> None:
        write_line(sys.stdout, json.dumps({"event": event, **facts}, ensure_ascii=False))


def plain_line(counts: Counts) -> str:
    """Return a line with the counts."""
    return (
        f"{counts.finished:,}/{counts.total:,}: {counts.queued:,} queued, {counts.running:,}"
        f" running, {counts.done:,} done,"
        f" {counts.failed:,} failed, {counts.pace()}, {counts.time_left()} left"
    )


def pause_line(event: SubmissionsPaused) -> str:
    """Return a line with the reason of a pause and its length."""
    return f"Submitting pauses: {event.reason}. The next probe is sent in {duration(event.retry_in)}."


def failure_line(record: Record) -> str | None:
    """Return a line with the reason of a failure or refusal, or None if the item has neither or was not sent."""
    if record.problem is not None and (record.status is not ItemStatus.NOT_SUBMITTED or record.is_refused_by_registry):
        return f"{record.status.value.replace('_', ' ')}: {_with_prompt(record, record.problem.message)}"
    if record.failures:
        return f"partly failed: {_with_prompt(record, '; '.join(dict.fromkeys(record.failures)))}"
    return None


def write_line(stream: TextIO, text: str) -> None:
    """Write and flush a line. A closed pipe is ignored, because it must not end a run that costs money."""
    with contextlib.suppress(BrokenPipeError):
        stream.write(text + "\n")
        stream.flush()


def _with_prompt(record: Record, message: str) -> str:
    """Return the message with the line of its item, and with the prompt unless the message starts with it."""
    one_line = " ".join(record.prompt.split())
    cut = one_line if len(one_line) <= _MAX_PROMPT else one_line[: _MAX_PROMPT - 3] + "..."
    prompt = "" if not cut or message.startswith(cut[: _MAX_PROMPT - 3]) else f"{cut!r}: "
    return f"line {record.line}: {prompt}{message}" if record.line else f"{prompt}{message}"
