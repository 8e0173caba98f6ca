"""What became of each item, and of all of them: the values behind manifest, progress, gallery and exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from aiowery.errors import AioweryError, ConfigurationError


class ValidationRefused(ConfigurationError):
    """The model registry speaks against a request, which therefore was not sent."""


class ItemStatus(enum.StrEnum):
    """How an item ended, in the manifest's words.

    `IN_DOUBT` may have been charged without our knowing; `INTERRUPTED` was accepted and left behind;
    `NOT_SUBMITTED` cost nothing.
    """

    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    INTERRUPTED = "interrupted"
    NOT_SUBMITTED = "not submitted"


@attrs.frozen(kw_only=True)
class ItemError:
    """An error as the manifest keeps it."""

    kind: str
    message: str
    request_id: str | None = None

    @classmethod
    def of(cls, error: AioweryError) -> Self:
        """Keep the error's class, its words and the provider's id for the call."""
        return cls(kind=type(error).__name__, message=str(error), request_id=error.request_id)


@attrs.frozen(kw_only=True)
class Record:
    """One item's end: a line of the manifest.

    `files` are names in the output directory, `covers` those of still pictures by the file that they belong to,
    `urls` the outputs that could not be saved, `failures` the reasons
    of tasks that failed while others of the same request succeeded, `seconds` the time from acceptance, `facts` what
    the result tells besides, such as a seed.
    """

    index: int
    line: int
    prompt: str
    request: Mapping[str, Any] | None
    notes: Mapping[str, str]
    status: ItemStatus
    task_ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    covers: Mapping[str, str] = attrs.field(factory=dict)
    urls: tuple[str, ...] = ()
    credits: float | None = None
    seconds: float | None = None
    failures: tuple[str, ...] = ()
    facts: Mapping[str, Any] = attrs.field(factory=dict)
    problem: ItemError | None = None

    @property
    def whole(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.status is ItemStatus.DONE and not self.failures

    @property
    def from_refused(self) -> bool:
        """Whether it was not sent because the model registry speaks against it."""
        return self.problem is not None and self.problem.kind == ValidationRefused.__name__

    @property
    def from_misuse(self) -> bool:
        """Whether the request itself was wrong, which was found before it was sent."""
        return self.problem is not None and self.problem.kind in {
            ValidationRefused.__name__,
            ConfigurationError.__name__,
        }

    def as_object(self) -> dict[str, Any]:
        """Return the manifest's line as JSON has it."""
        problem = self.problem and {
            "class": self.problem.kind,
            "message": self.problem.message,
            "request_id": self.problem.request_id,
        }
        return {
            "index": self.index,
            "line": self.line,
            "outcome": self.status.value,
            "request": self.request,
            "notes": self.notes,
            "task_ids": self.task_ids,
            "files": self.files,
            "covers": self.covers,
            "credits": self.credits,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "error": problem,
            "failures": self.failures,
            "facts": self.facts,
            "urls": self.urls,
        }


@attrs.frozen(kw_only=True)
class Summary:
    """All items' ends in numbers; `seconds` is the time of the whole run, `credits` None where nobody told any."""

    total: int
    statuses: Mapping[ItemStatus, int]
    partial: int
    files: int
    credits: float | None
    seconds: float

    @classmethod
    def of(cls, records: Iterable[Record], seconds: float) -> Self:
        """Count."""
        records = tuple(records)
        charged = [record.credits for record in records if record.credits is not None]
        return cls(
            total=len(records),
            statuses={fate: sum(record.status is fate for record in records) for fate in ItemStatus},
            partial=sum(bool(record.failures) for record in records),
            files=sum(len(record.files) for record in records),
            credits=sum(charged) if charged else None,
            seconds=seconds,
        )

    @property
    def all_done(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.statuses[ItemStatus.DONE] == self.total and not self.partial

    def __str__(self) -> str:
        words = {
            ItemStatus.FAILED: "failed",
            ItemStatus.IN_DOUBT: "in doubt (may have been charged)",
            ItemStatus.INTERRUPTED: "left under way",
            ItemStatus.NOT_SUBMITTED: "not submitted",
        }
        others = "".join(f", {self.statuses[fate]:,} {word}" for fate, word in words.items() if self.statuses[fate])
        lacking = f", {self.partial:,} of those done lack an output" if self.partial else ""
        credits_ = f", {self.credits:,g} credits" if self.credits else ""
        return (
            f"{self.statuses[ItemStatus.DONE]:,} of {self.total:,} done{others}{lacking}:"
            f" {self.files:,} files{credits_}, in {duration(self.seconds)}"
        )


def duration(seconds: float) -> str:
    """Return a time in words as short as its length allows: `4.2 s`, `1:05 min`, `2:03:00 h`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
