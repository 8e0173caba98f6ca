"""What a provider says of one task, as frozen values."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

AssetKind = Literal["image", "video", "audio"]
Kind = Literal["image", "video", "audio", "text"]
"""What a request asks for: a sort of asset, or words."""


class TaskState(enum.Enum):
    """What a provider's status word means to us. Words nobody documented mean `RUNNING`."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether the task has ended, well or badly."""
        return self is TaskState.DONE or self is TaskState.FAILED


@attrs.frozen
class Asset:
    """One output: where it lies and what it is. `cover_url` is a video's or song's still picture."""

    url: str
    kind: AssetKind = "image"
    cover_url: str | None = None
    task_id: str | None = None


@attrs.frozen
class ScriptLine:
    """One turn of a podcast: who speaks, and what."""

    speaker_id: str
    content: str
    speaker_name: str | None = None


@attrs.frozen
class Snapshot:
    """What one status answer said of one task.

    `word` is the provider's own status word, `step` its word for a task of several steps, `text` and `script` are
    outputs in words (lyrics, a transcript, a report; a podcast's turns), `position` its place in the provider's own
    queue, `reason` its words for a failure, `credits` what it reports as charged, `raw` the task's part of the answer
    (of one that says nothing but that the task still runs, that word).
    """

    task_id: str
    state: TaskState
    raw_status: str = ""
    assets: tuple[Asset, ...] = ()
    text: str | None = None
    script: tuple[ScriptLine, ...] = ()
    substatus: str | None = None
    queue_position: int | None = None
    reason: str | None = None
    credits: float | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    request_id: str | None = attrs.field(default=None, eq=False)

    def same_progress_as(self, other: Snapshot | None) -> bool:
        """Whether nothing that a watcher would show has changed since `other`."""
        return other is not None and _progress(self) == _progress(other)


def _progress(snapshot: Snapshot) -> tuple[Any, ...]:
    """Return what a watcher would show."""
    return (
        snapshot.state,
        snapshot.raw_status,
        snapshot.substatus,
        snapshot.queue_position,
        snapshot.assets,
        snapshot.text,
        snapshot.script,
        snapshot.reason,
    )


def total_credits(snapshots: Iterable[Snapshot]) -> float | None:
    """Return the sum of what the provider reported as charged; None when it reported nothing."""
    known = [snapshot.credits for snapshot in snapshots if snapshot.credits is not None]
    return sum(known) if known else None
