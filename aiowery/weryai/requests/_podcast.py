"""A podcast in two steps on one task: the script, then the voices (contract: Podcast)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import attrs

from aiowery._base.snapshot import Kind, ScriptLine, Snapshot, TaskState
from aiowery._core.fields import item_count, items, path_segment, short_repr, text_length, wire
from aiowery._core.request import AudioResult, Result
from aiowery.errors import ConfigurationError
from aiowery.weryai.requests._base import WebhookRequest, required_text

_DEBATERS: Final = 2
_SCRIPT_STEPS: Final[Mapping[str, TaskState]] = {
    "text-success": TaskState.DONE,
    "text-fail": TaskState.FAILED,
    "audio-success": TaskState.DONE,
    # The voices have failed; the script is there.
    "audio-fail": TaskState.DONE,
}
_VOICE_STEPS: Final[Mapping[str, TaskState]] = {
    "text-success": TaskState.RUNNING,
    "text-fail": TaskState.FAILED,
    "audio-success": TaskState.DONE,
    "audio-fail": TaskState.FAILED,
}


def _interpret(snapshot: Snapshot, steps: Mapping[str, TaskState]) -> Snapshot:
    """Let the word for the step decide, where there is one that is known."""
    state = steps.get((snapshot.substatus or "").strip().casefold())
    return snapshot if state is None else attrs.evolve(snapshot, state=state)


def _script_of(snapshots: Iterable[Snapshot]) -> tuple[ScriptLine, ...]:
    return tuple(line for snapshot in snapshots for line in snapshot.script)


@attrs.frozen(kw_only=True)
class PodcastScript(Result):
    """What will be said: `script` holds a podcast's turns in order, `text` the same as one text."""

    script: tuple[ScriptLine, ...] = ()

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        return {"script": _script_of(snapshots)}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """A script is done when the script is there, although the task goes on."""
        return _interpret(snapshot, _SCRIPT_STEPS)

    @property
    def is_empty(self) -> bool:
        """Whether nobody says anything."""
        return not self.script


@attrs.frozen(kw_only=True)
class PodcastResult(AudioResult):
    """A podcast to listen to, with the `script` that was spoken."""

    script: tuple[ScriptLine, ...] = ()

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        return {"script": _script_of(snapshots)}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """The voices are done when they are there: a finished script is not yet a podcast."""
        interpreted = _interpret(snapshot, _VOICE_STEPS)
        succeeded = snapshot.state is TaskState.DONE and interpreted.state is not TaskState.FAILED
        if succeeded and (snapshot.assets or snapshot.substatus is None):  # the word for the step may lag behind
            return attrs.evolve(interpreted, state=TaskState.DONE if snapshot.assets else TaskState.RUNNING)
        return interpreted


def has_voices(snapshot: Snapshot) -> bool:
    """Whether voices have been asked for: they are there, or under way, or have failed."""
    return bool(snapshot.assets) or (snapshot.substatus or "").strip().casefold().startswith("audio-")


@attrs.frozen(kw_only=True)
class Podcast(WebhookRequest[PodcastScript]):
    """A podcast's script: `POST /v1/generation/podcast/generate/text`, the first of two steps.

    `query`: the subject, 1 to 2,000 characters. `speakers`: one or two ids from `client.speakers()`; a debate needs
    two. `language`: en, zh or ja. `mode`: quick, debate or deep. `client.podcast(...)` walks both steps.
    """

    type_name: ClassVar[str] = "podcast"
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
            raise ConfigurationError(
                f"{type(self).__name__}.speakers is {short_repr(self.speakers)}; ids from client.speakers() are needed"
            )
        if self.mode == "debate" and len(self.speakers) != _DEBATERS:
            raise ConfigurationError(
                f"{type(self).__name__}.speakers has {len(self.speakers)} ids; a debate needs exactly {_DEBATERS}"
            )


def _script_lines(values: Iterable[Any]) -> tuple[ScriptLine, ...]:
    return tuple(map(_script_line, items(values)))


def _script_line(value: Any) -> ScriptLine:
    try:
        line = value if isinstance(value, ScriptLine) else ScriptLine(**value)
    except TypeError as error:
        raise ConfigurationError(f"{short_repr(value)} is no turn of a script; give speaker_id and content") from error
    parts: tuple[object, ...] = (line.speaker_id, line.content, line.speaker_name or "?")
    if not all(isinstance(part, str) and part.strip() for part in parts):
        raise ConfigurationError(
            f"{short_repr(line)}: speaker_id, content and speaker_name must be texts that are not blank"
        )
    return line


def _script_on_wire(script: tuple[ScriptLine, ...]) -> list[dict[str, Any]] | None:
    turns = [attrs.asdict(line, filter=lambda _, value: value is not None) for line in script]
    return turns or None


@attrs.frozen(kw_only=True)
class PodcastVoice(WebhookRequest[PodcastResult]):
    """A podcast's voices: `POST /v1/generation/podcast/generate/{task_id}/audio`, the second of two steps.

    `task_id`: the script's. `script`: what is to be said instead, as `ScriptLine`s (an edited script); left out, the
    script that was made is spoken. Refused with code 8001 while the script is not ready, with 8002 when the voices
    have been asked for before.
    """

    type_name: ClassVar[str] = "podcast-voice"
    endpoint: ClassVar[str] = "/v1/generation/podcast/generate/{task_id}/audio"
    kind: ClassVar[Kind] = "audio"
    result_type: ClassVar[type[PodcastResult]] = PodcastResult

    task_id: str = attrs.field(validator=[required_text, path_segment], metadata=wire(in_path=True))
    script: tuple[ScriptLine, ...] = attrs.field(
        default=(), converter=_script_lines, metadata=wire("scripts", write=_script_on_wire)
    )
