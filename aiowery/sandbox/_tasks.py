"""Values for the tasks of the sandbox's WeryAI: the specification, the task, and its state at a time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

MODERATED = "[[moderated]]"
"""A prompt, lyrics or lines with this marker are refused at submission with code 1005."""
FAIL = "[[fail]]"
"""A task with this marker is accepted, ends as FAILED with a reason, and its credits are refunded."""
SLOW = "[[slow]]"
"""A task with this marker takes ten times as long."""
STUCK = "[[stuck]]"
"""A task with this marker never ends."""


class SandboxTaskState(enum.StrEnum):
    """State of a task, as it is written in responses."""

    WAITING = "waiting"
    PROCESSING = "processing"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class OutputKind(enum.Enum):
    """Kind of output that a task produces."""

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
    """Validated content of a submission.

    `task_count` is the number of tasks, `price` the credits for each, `seconds` the length of a video or sound.
    `text` holds the lyrics, `speakers` the speaker ids, `dialogue` the lines of a podcast's dialogue.
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
    dialogue: tuple[Mapping[str, Any], ...] = ()
    webhook_url: str | None = None

    @property
    def spoken_text(self) -> str:
        """Text of the voices: the lines of the dialogue, or the prompt if there are none."""
        return " ".join(line["content"] for line in self.dialogue) or self.prompt

    def has_marker(self, marker: str) -> bool:
        """Return True if the prompt, the lyrics or the spoken text contain the marker."""
        return any(marker in text for text in (self.prompt, self.text, self.spoken_text))


@attrs.frozen
class Task:
    """A WeryAI task. Times are readings of the state's clock, in seconds."""

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
        """Return the state of the task at the time `now`."""
        if now < self.starts_at:
            return SandboxTaskState.WAITING
        if now < self.ends_at:
            return SandboxTaskState.PROCESSING
        return SandboxTaskState.FAILED if self.reason else SandboxTaskState.SUCCESS


@attrs.frozen
class Batch:
    """Tasks of one submission."""

    id: int
    tasks: tuple[Task, ...]
