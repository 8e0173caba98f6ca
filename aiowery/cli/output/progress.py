"""Progress of a run: the protocol, the counts, and the displays as plain lines and as JSON.

Text goes to standard error. Standard output is for results and for `--json`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from typing import Any, Final, Protocol

import attrs

from aiowery import Job, SubmissionsPaused
from aiowery.cli.records import ItemStatus, Record, Summary, duration
from aiowery.cli.terminal import print_event, print_notice

_INTERVAL: Final = 5.0
_SAMPLES: Final = 50
_MAX_PROMPT: Final = 50
RESUMED: Final = "Submitting resumes."


@attrs.frozen
class QueueTimes:
    """Times of a queue that runs one task at a time: seconds until the next start and until the last end."""

    next_in: float
    ends_in: float


@attrs.define
class Counts:
    """Counts of items by state.

    `earlier` are the indices of items that an earlier run has done: they are progress from the start, and say nothing
    about the rate of this run.
    """

    total: int
    earlier: Collection[int] = ()
    under_way: set[int] = attrs.field(factory=set)
    done: int = 0
    failed: int = 0
    unsent: int = 0
    queue: QueueTimes | None = None
    _done_here: int = attrs.field(default=0, init=False)
    _moments: deque[float] = attrs.field(init=False, factory=lambda: deque([time.monotonic()], _SAMPLES))

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
    def progress(self) -> int:
        """Number of items that are done, with those of an earlier run from the start. A failure is no progress."""
        return len(self.earlier) + self._done_here

    def add_accepted(self, index: int) -> None:
        """Count an accepted item."""
        self.under_way.add(index)

    def add_record(self, record: Record) -> None:
        """Count a finished item."""
        self.under_way.discard(record.index)
        if record.status is ItemStatus.DONE:
            self.done += 1
            if record.index not in self.earlier:
                self._done_here += 1
                self._moments.append(time.monotonic())
        elif record.status is ItemStatus.NOT_SUBMITTED:
            self.unsent += 1
        else:
            self.failed += 1

    def pace(self) -> str:
        """Return the rate as text, or the time until the next start while the queue pauses."""
        if self.queue is not None and self.queue.next_in >= 1:
            return f"next in {duration(self.queue.next_in)}"
        rate = self._rate()
        return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"

    def time_left(self) -> str:
        """Return the remaining time as text: the queue's estimate if it has one, else from the recent rate."""
        if self.queue is not None:
            return duration(self.queue.ends_in)
        rate = self._rate()
        return duration((self.total - self.finished) / rate) if rate else "?"

    def _rate(self) -> float:
        """Return the items done per second lately: since the oldest of the last 50, or since the start."""
        seconds = time.monotonic() - self._moments[0]
        return (len(self._moments) - 1) / seconds if seconds > 0 else 0.0


class Progress(Protocol):
    """A display of the progress of a run."""

    def start(self, total: int, earlier: Collection[int] = ()) -> None:
        """Start the display. `earlier` are the indices of items that an earlier run has done."""
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
    """A display of plain lines on standard error: the counts every few seconds, and each failure.

    Failures are shown `with_prompts` only if that is set: prompts are personal data.
    """

    def __init__(self, *, with_prompts: bool = False) -> None:
        self._with_prompts = with_prompts
        self._counts = Counts(0)
        self._shown_at = 0.0

    def start(self, total: int, earlier: Collection[int] = ()) -> None:
        """Start to count."""
        self._shown_at = time.monotonic()
        self._counts = Counts(total, earlier)

    def show_accepted(self, index: int, _job: Job[Any], /) -> None:
        """Count."""
        self._counts.add_accepted(index)

    def show_record(self, record: Record) -> None:
        """Count, and write a line for a failure."""
        self._counts.add_record(record)
        if failure := failure_line(record, with_prompt=self._with_prompts):
            self.write(failure)

    def show_pause(self, event: SubmissionsPaused, /) -> None:
        """Write the reason of the pause and its length."""
        self.write(pause_line(event))

    def show_resumed(self) -> None:
        """Write that submitting has resumed."""
        self.write(RESUMED)

    def write(self, text: str) -> None:
        """Write a line."""
        print_notice(text)

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

    def start(self, total: int, earlier: Collection[int] = ()) -> None:  # noqa: ARG002 - each item has its event
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
        print_notice(text)

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
        print_event({"event": event, **facts})


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


def failure_line(record: Record, *, with_prompt: bool = False) -> str | None:
    """Return a line with the reason of a failure or refusal, or None if the item has neither or was not sent."""
    if record.problem is not None and (record.status is not ItemStatus.NOT_SUBMITTED or record.is_refused_by_registry):
        what, message = record.status.value.replace("_", " "), record.problem.message
    elif record.failures:
        what, message = "partly failed", "; ".join(dict.fromkeys(record.failures))
    else:
        return None
    line = f"line {record.line}: " if record.line else ""
    return f"{what}: {line}{_prompt_before(record, message) if with_prompt else ''}{message}"


def _prompt_before(record: Record, message: str) -> str:
    """Return the prompt of an item, unless the message starts with it."""
    one_line = " ".join(record.prompt.split())
    cut = one_line if len(one_line) <= _MAX_PROMPT else one_line[: _MAX_PROMPT - 3] + "..."
    return "" if not cut or message.startswith(cut[: _MAX_PROMPT - 3]) else f"{cut!r}: "
