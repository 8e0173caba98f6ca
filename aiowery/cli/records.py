"""Outcomes of items: the values behind manifest, progress, gallery and exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from aiowery.errors import AioweryError, ConfigurationError


class ValidationRefused(ConfigurationError):
    """An error for a request that was not sent, because the model registry reports issues."""


class ItemStatus(enum.StrEnum):
    """Status of a finished item, as in the manifest.

    `IN_DOUBT`: it may have been charged. `INTERRUPTED`: it was accepted, and the run ended before its result.
    `NOT_SUBMITTED`: it cost nothing.
    """

    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    INTERRUPTED = "interrupted"
    NOT_SUBMITTED = "not submitted"


@attrs.frozen(kw_only=True)
class ItemError:
    """Error of an item as stored in the manifest."""

    kind: str
    message: str
    request_id: str | None = None

    @classmethod
    def of(cls, error: AioweryError) -> Self:
        """Return the error's class, message and request id."""
        return cls(kind=type(error).__name__, message=str(error), request_id=error.request_id)


@attrs.frozen(kw_only=True)
class Record:
    """Record of a finished item: a line of the manifest.

    `files` are names in the output directory, and `covers` those of still pictures by the file that they belong to.
    `urls` are the outputs that are not saved. `failures` are the reasons of failed tasks if other tasks of the
    request succeeded. `seconds` is the time from acceptance. `facts` is the result's metadata, such as a seed.
    `other_columns` holds the values of the input that belong to no field; the manifest has them as `notes`.
    """

    index: int
    line: int
    prompt: str
    request: Mapping[str, Any] | None
    other_columns: Mapping[str, Any]
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
    def is_complete(self) -> bool:
        """True if all requested outputs exist."""
        return self.status is ItemStatus.DONE and not self.failures

    @property
    def is_refused_by_registry(self) -> bool:
        """True if the item was not sent because the model registry reports issues."""
        return self.problem is not None and self.problem.kind == ValidationRefused.__name__

    @property
    def is_invalid(self) -> bool:
        """True if the request was found to be invalid before it was sent."""
        return self.problem is not None and self.problem.kind in {
            ValidationRefused.__name__,
            ConfigurationError.__name__,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest line as a JSON object."""
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
            "notes": self.other_columns,
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
    """Totals of a run. `seconds` is its duration, and `credits` is None if the provider reports none."""

    total: int
    statuses: Mapping[ItemStatus, int]
    partial: int
    files: int
    credits: float | None
    seconds: float

    @classmethod
    def of(cls, records: Iterable[Record], seconds: float) -> Self:
        """Return the totals of these records."""
        records = tuple(records)
        charged = [record.credits for record in records if record.credits is not None]
        return cls(
            total=len(records),
            statuses={status: sum(record.status is status for record in records) for status in ItemStatus},
            partial=sum(bool(record.failures) for record in records),
            files=sum(len(record.files) for record in records),
            credits=sum(charged) if charged else None,
            seconds=seconds,
        )

    @property
    def all_done(self) -> bool:
        """True if all requested outputs exist."""
        return self.statuses[ItemStatus.DONE] == self.total and not self.partial

    def __str__(self) -> str:
        labels = {
            ItemStatus.FAILED: "failed",
            ItemStatus.IN_DOUBT: "in doubt (may have been charged)",
            ItemStatus.INTERRUPTED: "left under way",
            ItemStatus.NOT_SUBMITTED: "not submitted",
        }
        rest = "".join(
            f", {self.statuses[status]:,} {label}" for status, label in labels.items() if self.statuses[status]
        )
        incomplete = f", {self.partial:,} of those done lack an output" if self.partial else ""
        credits_ = f", {self.credits:,g} credits" if self.credits else ""
        return (
            f"{self.statuses[ItemStatus.DONE]:,} of {self.total:,} done{rest}{incomplete}:"
            f" {self.files:,} files{credits_}, in {duration(self.seconds)}"
        )


def duration(seconds: float) -> str:
    """Return a duration as short text: `4.2 s`, `1:05 min`, `2:03:00 h`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
