"""Fields of WeryAI's responses: tasks and their outputs, in every known form.

Required fields are read strictly. Informative ones (credits, texts) are read leniently: a paid picture must not be
lost because a number is written as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NewType

import attrs

from aiowery._base.snapshot import Asset, AssetKind, ScriptLine
from aiowery._core.codec import Identifier, lenient_number, make_converter
from aiowery._core.fields import short_repr
from aiowery._core.media import clean_url

_MAX_DEPTH: Final = 6

InfoText = NewType("InfoText", str)
"""An informative text: anything but a non-blank string counts as absent."""
CoverUrl = NewType("CoverUrl", str)
"""A URL of a still picture; anything else counts as absent."""
Credits = NewType("Credits", float)
"""A number of credits, also if written as text."""
Report = NewType("Report", str)
"""The joined texts of research outputs, in any known nesting."""


@attrs.frozen
class Output:
    """One output in a response: a URL, or an object that holds one under some name.

    `url` is None if there is no usable one; `found` is then what there is instead.
    """

    url: str | None
    cover_url: str | None = None
    found: str = ""


@attrs.frozen
class Outputs:
    """An object that may hold outputs; the same fields occur at three depths."""

    images: tuple[Output, ...] = ()
    videos: tuple[Output, ...] = ()
    audios: tuple[Output, ...] = ()
    video_url: tuple[Output, ...] = ()
    video_urls: tuple[Output, ...] = ()
    audio_url: tuple[Output, ...] = ()

    def assets(self, task_id: str, cover_url: str | None) -> Iterator[Asset]:
        """Yield all outputs of this object as assets."""
        places: tuple[tuple[AssetKind, Iterable[Output]], ...] = (
            ("image", self.images),
            ("video", _usable(self.videos) or _usable(self.video_urls) or _usable(self.video_url)),
            ("audio", _usable(self.audios) or _usable(self.audio_url)),
        )
        for kind, outputs in places:
            for output in outputs:
                if output.url is not None:
                    yield Asset(output.url, kind, output.cover_url or cover_url, task_id)

    def unusable(self) -> Iterator[str]:
        """Yield what this object holds in places of outputs, and is no URL."""
        places = (self.images, self.videos, self.video_url, self.video_urls, self.audios, self.audio_url)
        for outputs in places:
            yield from (output.found for output in outputs if output.url is None)


@attrs.frozen
class TaskBody(Outputs):
    """One task in a status response."""

    task_id: Identifier | None = None
    task_status: str | None = None
    status: InfoText | None = None
    content_status: InfoText | None = None
    cover_url: CoverUrl | None = None
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
        """The text of the task: a transcript, a report, lyrics, or the lines of a podcast."""
        lines = "\n".join(f"{line.speaker_name or line.speaker_id}: {line.content}" for line in self.lines)
        return self.speech_text or self.deep_research_outputs or self.lyrics or lines or None

    @property
    def lines(self) -> tuple[ScriptLine, ...]:
        """The script of a podcast, from either field."""
        return self.scripts or self.script

    @property
    def raw_status(self) -> str:
        """The raw status, from either field."""
        return (self.task_status or self.status or "").strip()


def valid_ids(*values: Any) -> Iterator[Identifier]:
    """Yield the usable ids and skip the others."""
    for value in values:
        try:
            yield converter.structure(value, Identifier)
        except ValueError:
            continue


def _outputs(value: Any, _: Any) -> tuple[Output, ...]:
    """Read one output or a list, each a URL or an object with a URL under one of several names."""
    return tuple(_output(item) for item in (value if isinstance(value, list) else [value]) if item)


def _output(item: Any) -> Output:
    """Read one output; one without a URL is kept too, so that the others are, and an error can name it."""
    places, covers = [item], []
    if isinstance(item, Mapping):
        places = [item.get(name) for name in ("url", "image_url", "video_url", "audio_url")]
        covers = [item.get(name) for name in ("cover_image_url", "cover_url")]
    url, cover = (next(filter(None, map(clean_url, values)), None) for values in (places, covers))
    return Output(url, cover, "" if url is not None else short_repr(item))


def _usable(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    return tuple(output for output in outputs if output.url is not None)


def read_text(value: Any, _: Any = None) -> InfoText | None:
    """Return a text that is not blank; None for anything else."""
    return InfoText(value) if isinstance(value, str) and value.strip() else None


def _cover_url(value: Any, _: Any) -> CoverUrl | None:
    url = clean_url(value)
    return None if url is None else CoverUrl(url)


def read_credits(value: Any, _: Any = None) -> Credits | None:
    """Return a number of credits, also if written as text; None for anything else."""
    number = lenient_number(value)
    return None if number is None else Credits(number)


def read_report(value: Any, _: Any = None) -> Report | None:
    """Return the joined texts of outputs: a text, a list of texts, or objects that hold one; None without any."""
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
    """Return the lines of a podcast; skip those without content."""
    lines = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
    return tuple(
        ScriptLine(str(entry.get("speaker_id") or ""), content, read_text(entry.get("speaker_name")))
        for entry in lines
        if (content := read_text(entry.get("content")))
    )


def _optional_id(value: Any, _: Any) -> Identifier | None:
    return next(valid_ids(value), None)


def _make_converter() -> Any:
    base = make_converter()
    base.register_structure_hook_func(lambda cls: cls == tuple[Output, ...], _outputs)
    base.register_structure_hook(Identifier | None, _optional_id)
    base.register_structure_hook(InfoText | None, read_text)
    base.register_structure_hook(CoverUrl | None, _cover_url)
    base.register_structure_hook(Credits | None, read_credits)
    base.register_structure_hook(Report | None, read_report)
    base.register_structure_hook_func(lambda cls: cls == tuple[ScriptLine, ...], _script)
    strict = base.get_structure_hook(Outputs)
    # A fallback place that is not an object counts as empty: the other outputs must be kept.
    base.register_structure_hook_func(
        lambda cls: cls is Outputs, lambda value, cls: strict(value, cls) if isinstance(value, Mapping) else Outputs()
    )
    return base


converter: Final = _make_converter()
