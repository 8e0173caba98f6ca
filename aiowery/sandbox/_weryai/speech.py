"""Endpoints for music, voices, transcripts, podcasts and research."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiowery.sandbox._parameter_rules import (
    COMMON,
    Endpoint,
    Field,
    is_base64,
    is_empty,
    one_of,
    parse_url,
    texts_of,
    url,
)
from aiowery.sandbox._response import parameter_error
from aiowery.sandbox._tasks import OutputKind, TaskSpec
from aiowery.sandbox._weryai import model_rows, prices

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEBATERS = 2
_CHARACTERS_PER_SECOND = 14
RESEARCH = "RESEARCH"
"""Model name of a research that runs as a task."""
_STYLE_NAMES = (
    "POP ROCK RAP ELECTRONIC RNB JAZZ FOLK CLASSIC WORLD"
    " HAPPY RELAXED WARM ROMANTIC TOUCHING SAD LONELY DEPRESSED TENSE EXCITED EPIC MYSTERIOUS"
    " PIANO GUITAR BASS DRUMS STRINGS WIND SYNTHESIZER ELECTRONIC_SOUND FOLK_INSTRUMENT MIXED_ORCHESTRATION"
)
_STYLES = frozenset(_STYLE_NAMES.split())


def _are_styles(styles: dict[str, Any]) -> bool:
    """Return True for words by the name of a style. The words are free."""
    return all(name in _STYLES and _is_text(words) for name, words in styles.items())


def _check_music(params: Mapping[str, Any]) -> None:
    one_of("description", "styles")(params)
    if not is_empty(params.get("reference_audio")) and is_empty(params.get("audio_name")):
        raise parameter_error("audio name cannot be empty")
    for name in ("lyrics", "gender") if params["type"] == "ONLY_MUSIC" else ():
        if not is_empty(params.get(name)):
            raise parameter_error(f"{name} is not supported")


def _music(params: Mapping[str, Any]) -> TaskSpec:
    description, styles = params.get("description"), " ".join((params.get("styles") or {}).values())
    is_song = params["type"] == "VOCAL_SONG"
    return TaskSpec(
        prompt=styles if is_empty(description) else str(description),
        model="MUSIC",
        output_kind=OutputKind.SONG if is_song else OutputKind.MUSIC,
        price=prices.AUDIO,
        seconds=8,
        has_cover=is_song,
        text=params.get("lyrics") or "",
    )


def _voice(params: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        prompt=params["text"],
        model="VOICE",
        output_kind=OutputKind.SPEECH,
        price=prices.AUDIO,
        seconds=len(params["text"]) / _CHARACTERS_PER_SECOND,
    )


def _transcript(params: Mapping[str, Any]) -> TaskSpec:
    source = texts_of(params, "audio_url") or "audio"
    return TaskSpec(prompt=source, model="TRANSCRIPT", output_kind=OutputKind.TRANSCRIPT, price=prices.TEXT)


def _check_speakers(params: Mapping[str, Any]) -> None:
    if params["mode"] == "debate" and len(params["speakers"]) != _DEBATERS:
        raise parameter_error(f"speakers must be {_DEBATERS} in debate mode")


def _podcast(params: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        prompt=params["query"],
        model="PODCAST",
        output_kind=OutputKind.SCRIPT,
        price=prices.TEXT,
        speakers=tuple(params["speakers"]),
    )


def podcast_dialogue(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the dialogue lines that replace the script. An empty tuple keeps the script."""
    return tuple(params.get("scripts") or ())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not is_empty(value)


def _is_dialogue_line(line: dict[str, Any]) -> bool:
    has_words = all(_is_text(line.get(name)) for name in ("speaker_id", "content"))
    return has_words and isinstance(line.get("speaker_name", ""), str | None)


def _is_tool(tool: dict[str, Any]) -> bool:
    if tool.get("type") != "FILE_SEARCH":
        return tool.get("type") == "GOOGLE_SEARCH"
    stores = tool.get("file_search_store_names")
    return isinstance(stores, list) and bool(stores) and all(map(_is_text, stores))


def _check_input(params: Mapping[str, Any]) -> None:
    one_of("input", "input_resource")(params)
    if params.get("mode") and params.get("model"):
        raise parameter_error("mode and model are not supported together")
    model_rows.model_rule(model_rows.RESEARCH)(params)


def _is_readable(item: Mapping[str, Any], name: str) -> bool:
    """Return True for texts and URLs of a resource, False for members such as its type and its bytes."""
    return name == "text" or (isinstance(item[name], str) and parse_url(item[name]) is not None)


def _research(params: Mapping[str, Any]) -> TaskSpec:
    texts = (texts_of(item, *filter(partial(_is_readable, item), item)) for item in params.get("input_resource") or ())
    question = " ".join(texts) if is_empty(params.get("input")) else params["input"]
    return TaskSpec(
        prompt=question, model=params.get("model") or RESEARCH, output_kind=OutputKind.REPORT, price=prices.RESEARCH
    )


PODCAST_AUDIO_FIELDS = (
    Field("scripts", "scripts", list, item=Field("scripts", "scripts", dict, required=True, allowed=_is_dialogue_line)),
    *COMMON,
)

ENDPOINTS = (
    Endpoint(
        "/v1/generation/music/generate",
        (
            Field("type", "music type", required=True, choices=("VOCAL_SONG", "ONLY_MUSIC")),
            Field("description", "description"),
            Field("styles", "styles", dict, allowed=_are_styles),
            Field("lyrics", "lyrics"),
            url("reference_audio", "audio url", required=False),
            Field("audio_name", "audio name"),
            Field("gender", "gender", choices=("m", "f")),
            *COMMON,
        ),
        _music,
        rule=_check_music,
    ),
    Endpoint(
        "/v1/generation/text-to-audio",
        (
            Field("text", "text", required=True, max_length=500),
            Field("voice_id", "voice id", int, required=True),
            Field("speed", "speed"),
            Field("vol", "vol"),
            Field("trace_id", "trace id"),
            *COMMON,
        ),
        _voice,
    ),
    Endpoint(
        "/v1/generation/speech-recognize",
        (
            url("audio_url", "audio url", required=False),
            Field("audio_base64", "audio base64", allowed=is_base64),
            Field("language", "language"),
            *COMMON,
        ),
        _transcript,
        rule=one_of("audio_url", "audio_base64"),
    ),
    Endpoint(
        "/v1/generation/podcast/generate/text",
        (
            Field("query", "query", required=True, max_length=2000),
            Field(
                "speakers",
                "speakers",
                list,
                required=True,
                min_items=1,
                max_items=2,
                item=Field("speakers", "speakers", required=True),
            ),
            Field("language", "language", required=True, choices=("en", "zh", "ja")),
            Field("mode", "mode", required=True, choices=("quick", "debate", "deep")),
            *COMMON,
        ),
        _podcast,
        "podcast",
        _check_speakers,
    ),
    Endpoint(
        "/v1/generation/deep_research",
        (
            Field("mode", "mode", choices=("DEEP_RESEARCH", "DEEP_RESEARCH_MAX")),
            Field("model", "model"),
            Field("input", "input"),
            Field(
                "input_resource",
                "input resource",
                list,
                item=Field("input_resource", "input resource", dict, required=True),
            ),
            Field("previous_interaction_id", "previous interaction id"),
            Field("thinking_summaries", "thinking summaries", choices=("auto",)),
            Field("collaborative_planning", "collaborative planning", bool),
            Field("visualization", "visualization", choices=("auto",)),
            Field("tools", "tools", list, item=Field("tools", "tools", dict, required=True, allowed=_is_tool)),
            *COMMON,
        ),
        _research,
        "research",
        _check_input,
    ),
)
