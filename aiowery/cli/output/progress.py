"""What a run tells while it goes on: the protocol, the numbers, and the two ways without a screen.

Human text goes to standard error; standard output is for results and for `--json`.
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

_EVERY: Final = 5.0
_MOST: Final = 50
RESUMED: Final = "Submitting goes on."


@attrs.frozen
class QueueTimes:
    """How a line stands in which one follows the other: seconds until the next is sent, and until all have ended."""

    next_in: float
    ends_in: float


@attrs.define
class Counts:
    """Where the items are at this moment."""

    total: int
    under_way: set[int] = attrs.field(factory=set)
    done: int = 0
    failed: int = 0
    unsent: int = 0
    started_at: float = 0.0
    queue: QueueTimes | None = None

    @property
    def running(self) -> int:
        """Items that the provider has taken in this run and that have no record yet."""
        return len(self.under_way)

    @property
    def finished(self) -> int:
        """Items that have their record."""
        return self.done + self.failed + self.unsent

    @property
    def queued(self) -> int:
        """Items that the provider has not taken yet."""
        return self.total - self.running - self.finished

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return time.monotonic() - self.started_at

    def add_accepted(self, index: int) -> None:
        """One more is under way."""
        self.under_way.add(index)

    def add_record(self, record: Record) -> None:
        """One has ended."""
        self.under_way.discard(record.index)
        if record.status is ItemStatus.DONE:
            self.done += 1
        elif record.status is ItemStatus.NOT_SUBMITTED:
            self.unsent += 1
        else:
            self.failed += 1

    def pace(self) -> str:
        """Return the speed in words; while the line rests, when it goes on."""
        if self.queue is not None and self.queue.next_in >= 1:
            return f"next in {duration(self.queue.next_in)}"
        return self.rate()

    def rate(self) -> str:
        """Return the speed in words."""
        rate = self.done / self.seconds if self.seconds else 0.0
        return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"

    def time_left(self) -> str:
        """Return the time that the rest will take, in words: as the line says, else at the speed so far."""
        if self.queue is not None:
            return duration(self.queue.ends_in)
        return duration(time_left(self.finished, self.total, self.seconds)) if self.finished else "?"


def time_left(ended: int, total: int, seconds: float) -> float:
    """Return the seconds for the rest, if it goes on as it went so far."""
    return seconds / ended * (total - ended)


class Progress(Protocol):
    """What a run tells; entered before the first item and left after the last."""

    def start(self, total: int) -> None:
        """The run begins."""
        ...

    def show_accepted(self, index: int, job: Job[Any], /) -> None:
        """The provider has taken an item."""
        ...

    def show_record(self, record: Record) -> None:
        """An item has its record."""
        ...

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Submissions have paused by themselves, or a probe has failed."""
        ...

    def show_resumed(self) -> None:
        """Submissions go on."""
        ...

    def write(self, text: str) -> None:
        """Tell people something."""
        ...

    def tick(self, queue: QueueTimes | None) -> None:
        """A second has passed; `line` tells how it stands where one follows the other."""
        ...

    def stop(self) -> None:
        """Leave the screen as it is; what is said from now on stands below."""
        ...


class PlainProgress:
    """Lines on standard error: how far it is, every few seconds, and each failure."""

    def __init__(self) -> None:
        self._counts = Counts(0)
        self._shown_at = 0.0

    def start(self, total: int) -> None:
        """Begin to count."""
        self._shown_at = time.monotonic()
        self._counts = Counts(total, started_at=self._shown_at)

    def show_accepted(self, index: int, _job: Job[Any], /) -> None:
        """Count."""
        self._counts.add_accepted(index)

    def show_record(self, record: Record) -> None:
        """Count, and tell a failure."""
        self._counts.add_record(record)
        if failure := failure_line(record):
            self.write(failure)

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Say why nothing is submitted, and when that may end."""
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Say that submitting goes on."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line."""
        write_line(sys.stderr, text)

    def tick(self, queue: QueueTimes | None) -> None:
        """Tell how far it is, unless that was told a moment ago."""
        self._counts.queue = queue
        if time.monotonic() >= self._shown_at + _EVERY:
            self._shown_at = time.monotonic()
            self.write(plain_line(self._counts))

    def stop(self) -> None:
        """Nothing is left to do."""


class JsonProgress:
    """One JSON object per line on standard output, for machines; people's text goes to standard error."""

    def start(self, total: int) -> None:
        """Tell the beginning."""
        self._emit("started", total=total)

    def show_accepted(self, index: int, job: Job[Any], /) -> None:
        """Tell an acceptance."""
        self._emit("accepted", index=index, task_ids=job.task_ids, request_id=job.request_id)

    def show_record(self, record: Record) -> None:
        """Tell an end: the manifest's line."""
        self._emit("ended", **record.to_dict())

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Tell a pause, and say it to people."""
        self._emit("paused", **attrs.asdict(event))
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Tell its end, and say it to people."""
        self._emit("resumed")
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line for people."""
        write_line(sys.stderr, text)

    def tick(self, queue: QueueTimes | None) -> None:
        """Tell nothing: events are enough."""

    def stop(self) -> None:
        """Nothing is left to do."""

    def show_summary(self, summary: Summary, exit_code: int) -> None:
        """Tell the end of all."""
        fates = {fate.value.replace(" ", "_"): number for fate, number in summary.statuses.items()}
        self._emit(
            "finished",
            total=summary.total,
            **fates,
            files=summary.files,
            credits=summary.credits,
            seconds=round(summary.seconds, 3),
            exit_code=exit_code,
        )

    @staticmethod
    def _emit(event: str, **facts: Any) -> None:
        write_line(sys.stdout, json.dumps({"event": event, **facts}, ensure_ascii=False))


def plain_line(counts: Counts) -> str:
    """Return the line that tells how far it is."""
    return (
        f"{counts.finished:,}/{counts.total:,}: {counts.queued:,} queued, {counts.running:,}"
        f" running, {counts.done:,} done,"
        f" {counts.failed:,} failed, {counts.pace()}, {counts.time_left()} left"
    )


def pause_line(event: SubmissionsPaused) -> str:
    """Return the line that tells why submissions are paused, and until when."""
    return f"Submitting pauses: {event.reason}. The provider is asked again in {duration(event.retry_in)}."


def failure_line(record: Record) -> str | None:
    """Return the line that tells why an item failed or was refused; None if it did not, or waited in vain."""
    if record.problem is not None and (record.status is not ItemStatus.NOT_SUBMITTED or record.is_refused_by_registry):
        return f"{record.status.value.replace('_', ' ')}: {_with_prompt(record, record.problem.message)}"
    if record.failures:
        return f"partly failed: {_with_prompt(record, '; '.join(dict.fromkeys(record.failures)))}"
    return None


def write_line(stream: TextIO, text: str) -> None:
    """Write a line at once; a reader who has gone away must not end a run that costs money."""
    with contextlib.suppress(BrokenPipeError):
        stream.write(text + "\n")
        stream.flush()


def _with_prompt(record: Record, message: str) -> str:
    """Say which item the message is about, as far as it does not say so itself."""
    words = " ".join(record.prompt.split())
    cut = words if len(words) <= _MOST else words[: _MOST - 3] + "..."
    prompt = "" if not cut or message.startswith(cut[: _MOST - 3]) else f"{cut!r}: "
    return f"line {record.line}: {prompt}{message}" if record.line else f"{prompt}{message}"
