"""The two requests of a podcast, which share one task: the script, then the voices (contract: Podcast)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import attrs

from aiowery._base.snapshot import Kind, ScriptLine, Snapshot, TaskState
from aiowery._core.fields import item_count, items, path_segment, short_repr, text_length, wire, wrong_request
from aiowery._core.result import AudioResult, Result
from aiowery.weryai.requests._base import WebhookRequest, required_text

_DEBATERS: Final = 2
_SCRIPT_STEPS: Final[Mapping[str, TaskState]] = {
    "text-success": TaskState.DONE,
    "text-fail": TaskState.FAILED,
    "audio-success": TaskState.DONE,
    # The voices failed, but the script exists.
    "audio-fail": TaskState.DONE,
}
_VOICE_STEPS: Final[Mapping[str, TaskState]] = {
    "text-success": TaskState.RUNNING,
    "text-fail": TaskState.FAILED,
    "audio-success": TaskState.DONE,
    "audio-fail": TaskState.FAILED,
}


def _interpret(snapshot: Snapshot, steps: Mapping[str, TaskState]) -> Snapshot:
    """Return the snapshot with the state of its substatus, if that is a known one."""
    state = steps.get((snapshot.substatus or "").strip().casefold())
    return snapshot if state is None else attrs.evolve(snapshot, state=state)


def _script_of(snapshots: Iterable[Snapshot]) -> tuple[ScriptLine, ...]:
    return tuple(line for snapshot in snapshots for line in snapshot.script)


@attrs.frozen(kw_only=True)
class PodcastScript(Result):
    """The result of a podcast's first step.

    `script`: the lines of the podcast in order; `text` holds them as one text.
    """

    script: tuple[ScriptLine, ...] = ()

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        return {"script": _script_of(snapshots)}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as done when the script exists, although the task continues."""
        return _interpret(snapshot, _SCRIPT_STEPS)

    @property
    def is_empty(self) -> bool:
        """True if the script has no lines."""
        return not self.script


@attrs.frozen(kw_only=True)
class PodcastResult(AudioResult):
    """The result of a podcast's second step: sound assets.

    `script`: the spoken lines in order.
    """

    script: tuple[ScriptLine, ...] = ()

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        return {"script": _script_of(snapshots)}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as done when the voices exist: a finished script is not yet a podcast."""
        interpreted = _interpret(snapshot, _VOICE_STEPS)
        succeeded = snapshot.state is TaskState.DONE and interpreted.state is not TaskState.FAILED
        if succeeded and (snapshot.assets or snapshot.substatus is None):  # the substatus may be out of date
            return attrs.evolve(interpreted, state=TaskState.DONE if snapshot.assets else TaskState.RUNNING)
        return interpreted


def has_voices(snapshot: Snapshot) -> bool:
    """Return True if the voices were requested: they exist, are in progress, or have failed."""
    return bool(snapshot.assets) or (snapshot.substatus or "").strip().casefold().startswith("audio-")


@attrs.frozen(kw_only=True)
class Podcast(WebhookRequest[PodcastScript]):
    """A request for the script of a podcast: `POST /v1/generation/podcast/generate/text`, the first of two steps.

    `query`: the subject, 1 to 2,000 characters. `speakers`: one or two ids from `client.speakers()`; a debate needs
    two. `language`: en, zh or ja. `mode`: quick, debate or deep. `client.podcast(...)` runs both steps.
    """

    type_name: ClassVar[str] = "podcast"
    next_type: ClassVar[str | None] = "podcast-voice"
    endpoint: ClassVar[str] = "/v1/generation/podcast/generate/text"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[PodcastScript]] = PodcastScript

    query: str = attrs.field(validator=text_length(shortest=1, longest=2000))
    speakers: tuple[str, ...] = attrs.field(converter=items, validator=item_count(least=1, most=2))
    language: Literal["en", "zh", "ja"] | str = attrs.field(default="en", validator=required_text)
    mode: Literal["quick", "debate", "deep"] | str = attrs.field(default="quick", validator=required_text)

    def __attrs_post_init__(self) -> None:
        speakers: tuple[object, ...] = self.speakers
        if not all(isinstance(speaker, str) and speaker.strip() for speaker in speakers):
            raise wrong_request(
                f"{type(self).__name__}.speakers is {short_repr(self.speakers)}; ids from client.speakers() are needed"
            )
        if self.mode == "debate" and len(self.speakers) != _DEBATERS:
            raise wrong_request(
                f"{type(self).__name__}.speakers has {len(self.speakers)} ids; a debate needs exactly {_DEBATERS}"
            )


def _script_lines(values: Iterable[Any]) -> tuple[ScriptLine, ...]:
    return tuple(map(_script_line, items(values)))


def _script_line(value: Any) -> ScriptLine:
    try:
        line = value if isinstance(value, ScriptLine) else ScriptLine(**value)
    except TypeError as error:
        raise wrong_request(f"{short_repr(value)} is no turn of a script; give speaker_id and content") from error
    parts: tuple[object, ...] = (line.speaker_id, line.content, line.speaker_name or "?")
    if not all(isinstance(part, str) and part.strip() for part in parts):
        raise wrong_request(
            f"{short_repr(line)}: speaker_id, content and speaker_name must be texts that are not blank"
        )
    return line


def _script_on_wire(script: tuple[ScriptLine, ...]) -> list[dict[str, Any]] | None:
    lines = [attrs.asdict(line, filter=lambda _, value: value is not None) for line in script]
    return lines or None


@attrs.frozen(kw_only=True)
class PodcastVoice(WebhookRequest[PodcastResult]):
    """A request for a podcast's voices: `POST /v1/generation/podcast/generate/{task_id}/audio`, the second step.

    `task_id`: the task of the script. `script`: an edited script as `ScriptLine`s; left out, the generated script is
    spoken. The provider refuses with code 8001 while the script is not ready, and with 8002 if the voices were
    requested before.
    """

    type_name: ClassVar[str] = "podcast-voice"
    endpoint: ClassVar[str] = "/v1/generation/podcast/generate/{task_id}/audio"
    kind: ClassVar[Kind] = "audio"
    result_type: ClassVar[type[PodcastResult]] = PodcastResult

    task_id: str = attrs.field(validator=[required_text, path_segment], metadata=wire(in_path=True))
    script: tuple[ScriptLine, ...] = attrs.field(
        default=(), converter=_script_lines, metadata=wire("scripts", write=_script_on_wire)
    )
