"""The status of one task as the provider reports it, as frozen values."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Literal

import attrs

from aiowery._base.text import MAX_ID, MAX_OUTPUTS, MAX_STATUS, safe_or_none, safe_text

AssetKind = Literal["image", "video", "audio"]
"""The kind of an output file."""
Kind = Literal["image", "video", "audio", "text"]
"""The kind of output that a request is for: an asset of some kind, or text."""


class TaskState(enum.Enum):
    """A state to which a provider's raw status maps. An undocumented raw status means `RUNNING`."""

    WAITING = "waiting"
    """The task waits in the provider's own queue."""
    RUNNING = "running"
    """The task is being processed, or its raw status is unknown."""
    DONE = "done"
    """The task has succeeded."""
    FAILED = "failed"
    """The task has failed."""

    @property
    def terminal(self) -> bool:
        """True if the task is finished, whether it succeeded or failed."""
        return self is TaskState.DONE or self is TaskState.FAILED


@attrs.frozen
class Asset:
    """One output file of a task: its URL and its kind."""

    url: str
    """The URL of the file."""
    kind: AssetKind = "image"
    """The kind of file: `"image"`, `"video"` or `"audio"`."""
    cover_url: str | None = None
    """The URL of the still picture of a video or song; None if the provider made none."""
    task_id: str | None = None
    """The id of the task that made the file; None if it is not known."""


@attrs.frozen
class ScriptLine:
    """A part of a podcast's script: one speaker and the spoken text."""

    speaker_id: str
    """The provider's id of the speaker."""
    content: str
    """The spoken text."""
    speaker_name: str | None = None
    """The speaker's display name; None if the provider reports none."""


def _status(text: str) -> str:
    return safe_text(text, MAX_STATUS)


def _optional_status(text: str | None) -> str | None:
    return safe_or_none(text, MAX_STATUS)


def _optional_reason(text: str | None) -> str | None:
    return safe_or_none(text)


def _optional_id(text: str | None) -> str | None:
    return safe_or_none(text, MAX_ID)


def _outputs(assets: tuple[Asset, ...]) -> tuple[Asset, ...]:
    return assets[:MAX_OUTPUTS]


@attrs.frozen
class Snapshot:
    """The status of one task, from one response.

    Its texts are printable lines of a limited length, whatever the response holds: statuses of 64 characters, the
    reason of 2,000, the request id of 256. It has at most 1,000 output files. Outputs, such as `text`, stay as they
    came.
    """

    task_id: str
    """The provider's id of the task."""
    state: TaskState
    """The state to which `raw_status` maps."""
    raw_status: str = attrs.field(default="", converter=_status)
    """The provider's own status text."""
    assets: tuple[Asset, ...] = attrs.field(default=(), converter=_outputs)
    """The output files, in the provider's order."""
    text: str | None = None
    """Output as text, such as lyrics, a transcript or a report; None if there is none."""
    script: tuple[ScriptLine, ...] = ()
    """The lines of a podcast's script, in order."""
    substatus: str | None = attrs.field(default=None, converter=_optional_status)
    """The provider's status text for the present step, if a task has several steps."""
    queue_position: int | None = None
    """The task's position in the provider's own queue; None if it is not reported."""
    reason: str | None = attrs.field(default=None, converter=_optional_reason)
    """The provider's explanation of a failure; None if there is none."""
    credits: float | None = None
    """The credits that the provider reports as charged; None (not 0) if it reports nothing."""
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The task's part of the decoded response. If the response reports only that the task is still running, `raw` holds
    its status field alone."""
    request_id: str | None = attrs.field(default=None, eq=False, converter=_optional_id)
    """The id of the response in the provider's call history; None if it had none. Ignored in comparisons."""

    def same_progress_as(self, other: Snapshot | None) -> bool:
        """Return True if nothing that a progress display shows has changed since `other`; False if that is None."""
        return other is not None and _progress(self) == _progress(other)


def _progress(snapshot: Snapshot) -> tuple[Any, ...]:
    """Return the values that a progress display shows."""
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
    """Return the sum of the credits that the provider reported as charged; None if it reported none.

    A number below 0 is no charge, and neither is one without an end: a budget must not grow by it.
    """
    known = [one.credits for one in snapshots if one.credits is not None and 0 <= one.credits < inf]
    return sum(known) if known else None
