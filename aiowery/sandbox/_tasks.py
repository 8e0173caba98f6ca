"""Tasks of the sandbox's WeryAI as values: what is asked for, what runs, and its state at a time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

MODERATED = "[[moderated]]"
"""A prompt, lyrics or lines with this mark are refused at submission with code 1005."""
FAIL = "[[fail]]"
"""A prompt with this mark is accepted, ends as FAILED with a reason, and its credit is given back."""
SLOW = "[[slow]]"
"""A prompt with this mark takes ten times as long."""
STUCK = "[[stuck]]"
"""A prompt with this mark is processed for ever."""


class SandboxTaskState(enum.StrEnum):
    """Where a task is, in the words of the wire."""

    WAITING = "waiting"
    PROCESSING = "processing"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class OutputKind(enum.Enum):
    """What a task makes."""

    IMAGE = "image"
    VIDEO = "video"
    SONG = "song"
    MUSIC = "music"
    SPEECH = "speech"
    TRANSCRIPT = "transcript"
    SCRIPT = "script"
    PODCAST = "podcast"
    REPORT = "report"


@attrs.frozen
class TaskSpec:
    """What a submission asks for, after validation.

    `pictures` is the number of tasks, `price` the credits for each, `seconds` the length of what sounds or moves.
    `text` is what is sung, `speakers` who speaks, `turns` what they say.
    """

    prompt: str
    model: str
    aspect_ratio: str = "1:1"
    task_count: int = 1
    output_kind: OutputKind = OutputKind.IMAGE
    price: int = 1
    seconds: float = 4
    has_cover: bool = False
    text: str = ""
    speakers: tuple[str, ...] = ()
    turns: tuple[Mapping[str, Any], ...] = ()
    webhook_url: str | None = None

    @property
    def spoken_text(self) -> str:
        """What voices say: the turns, or the prompt where there are none."""
        return " ".join(turn["content"] for turn in self.turns) or self.prompt

    def has_marker(self, marker: str) -> bool:
        """Tell whether the mark is anywhere in what is to be shown, sung or said."""
        return any(marker in text for text in (self.prompt, self.text, self.spoken_text))


@attrs.frozen
class Task:
    """One thing to be made. Times are readings of the world's clock, in seconds."""

    id: str
    number: int
    batch_id: int
    index: int
    spec: TaskSpec
    accepted_at: float
    starts_at: float
    ends_at: float
    reason: str = ""

    def state(self, now: float) -> SandboxTaskState:
        """Tell where the task is at the time `now`."""
        if now < self.starts_at:
            return SandboxTaskState.WAITING
        if now < self.ends_at:
            return SandboxTaskState.PROCESSING
        return SandboxTaskState.FAILED if self.reason else SandboxTaskState.SUCCESS


@attrs.frozen
class Batch:
    """The tasks of one submission."""

    id: int
    tasks: tuple[Task, ...]
