"""What WeryAI's answers hold, as the wire has it: tasks and their outputs, in every form that is known.

What must be there is read strictly; what merely informs (credits, texts) is read leniently, because a picture that was
paid for must not be lost to a number that came as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NewType

import attrs

from aiowery._base.snapshot import Asset, AssetKind, ScriptLine
from aiowery._core.codec import Identifier, TypeFault, lenient_number, make_converter

_MAX_DEPTH: Final = 6

InfoText = NewType("InfoText", str)
"""A text that merely informs: anything but a string counts as absent."""
Credits = NewType("Credits", float)
"""A number of credits, also when it comes as text."""
Report = NewType("Report", str)
"""The texts of research outputs, whatever they are wrapped in."""


@attrs.frozen
class Output:
    """One output as the wire has it: a url, or an object that holds one under some name."""

    url: str
    cover_url: str | None = None


@attrs.frozen
class Outputs:
    """A place where outputs may lie; the same fields occur at three depths."""

    images: tuple[Output, ...] = ()
    videos: tuple[Output, ...] = ()
    audios: tuple[Output, ...] = ()
    video_url: tuple[Output, ...] = ()
    video_urls: tuple[Output, ...] = ()
    audio_url: tuple[Output, ...] = ()
    message: InfoText | None = None

    def assets(self, task_id: str, cover_url: str | None) -> Iterator[Asset]:
        """Yield all outputs of this place."""
        places: tuple[tuple[AssetKind, tuple[Output, ...]], ...] = (
            ("image", self.images),
            ("video", self.videos or self.video_urls or self.video_url),
            ("audio", self.audios or self.audio_url),
        )
        for kind, outputs in places:
            for output in outputs:
                yield Asset(output.url, kind, output.cover_url or cover_url, task_id)


@attrs.frozen
class TaskBody(Outputs):
    """What a status answer says of one task."""

    task_id: Identifier | None = None
    task_status: str | None = None
    status: InfoText | None = None
    content_status: InfoText | None = None
    msg: InfoText | None = None
    cover_url: InfoText | None = None
    lyrics: InfoText | None = None
    speech_text: InfoText | None = None
    scripts: tuple[ScriptLine, ...] = ()
    script: tuple[ScriptLine, ...] = ()
    deep_research_outputs: Report | None = None
    cost_credits: Credits | None = None
    task_result: Outputs = Outputs()
    output: Outputs = Outputs()

    @property
    def text(self) -> str | None:
        """What the task says in words: a transcript, a report, a song's lyrics, a podcast's turns."""
        turns = "\n".join(f"{line.speaker_name or line.speaker_id}: {line.content}" for line in self.turns)
        return self.speech_text or self.deep_research_outputs or self.lyrics or turns or None

    @property
    def turns(self) -> tuple[ScriptLine, ...]:
        """A podcast's script, in whichever field."""
        return self.scripts or self.script

    @property
    def raw_status(self) -> str:
        """The status word, in whichever field."""
        return (self.task_status or self.status or "").strip()


def valid_ids(*values: Any) -> Iterator[Identifier]:
    """Yield the usable ids: one that is not usable must not cost the others."""
    for value in values:
        try:
            yield converter.structure(value, Identifier)
        except ValueError:
            continue


def _outputs(value: Any, _: Any) -> tuple[Output, ...]:
    """Read outputs: one or a list, each a url or an object with a url under one of several names."""
    items = [item for item in (value if isinstance(value, list) else [value]) if item]
    outputs = tuple(output for output in map(_output, items) if output is not None)
    if items and not outputs:
        raise TypeFault("a url, or an object with a url,", items[0])
    return outputs


def _output(item: Any) -> Output | None:
    """Read one output; what is none must not cost those beside it."""
    if isinstance(item, str):
        return Output(item)
    if isinstance(item, Mapping):
        url = next((item[name] for name in ("url", "image_url", "video_url", "audio_url") if item.get(name)), None)
        cover = next((item[name] for name in ("cover_image_url", "cover_url") if item.get(name)), None)
        if isinstance(url, str):
            return Output(url, cover if isinstance(cover, str) else None)
    return None


def read_text(value: Any, _: Any = None) -> InfoText | None:
    """Read a text that says something; None for anything else."""
    return InfoText(value) if isinstance(value, str) and value.strip() else None


def read_credits(value: Any, _: Any = None) -> Credits | None:
    """Read a number of credits, also when it comes as text; None for anything else."""
    number = lenient_number(value)
    return None if number is None else Credits(number)


def read_report(value: Any, _: Any = None) -> Report | None:
    """Gather the texts of outputs: a text, a list of them, or objects with a text somewhere inside."""
    texts = tuple(_texts(value, _MAX_DEPTH))
    return Report("\n\n".join(texts)) if texts else None


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _texts(item, depth - 1)
    elif isinstance(value, Mapping) and depth:
        for name in ("text", "content", "outputs", "output", "parts"):
            yield from _texts(value.get(name), depth - 1)


def _script(value: Any, _: Any) -> tuple[ScriptLine, ...]:
    """Read a podcast's turns; one that says nothing must not cost the others."""
    turns = [turn for turn in value if isinstance(turn, Mapping)] if isinstance(value, list) else []
    return tuple(
        ScriptLine(str(turn.get("speaker_id") or ""), content, read_text(turn.get("speaker_name")))
        for turn in turns
        if (content := read_text(turn.get("content")))
    )


def _optional_id(value: Any, _: Any) -> Identifier | None:
    return next(valid_ids(value), None)


def _make_converter() -> Any:
    base = make_converter()
    base.register_structure_hook_func(lambda cls: cls == tuple[Output, ...], _outputs)
    base.register_structure_hook(Identifier | None, _optional_id)
    base.register_structure_hook(InfoText | None, read_text)
    base.register_structure_hook(Credits | None, read_credits)
    base.register_structure_hook(Report | None, read_report)
    base.register_structure_hook_func(lambda cls: cls == tuple[ScriptLine, ...], _script)
    strict = base.get_structure_hook(Outputs)
    # A fallback place that is no object holds nothing; that is not worth losing the rest for.
    base.register_structure_hook_func(
        lambda cls: cls is Outputs, lambda value, cls: strict(value, cls) if isinstance(value, Mapping) else Outputs()
    )
    return base


converter: Final = _make_converter()
