"""Results: each class gathers its values from the snapshots of its tasks, and `is_empty` is True without them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from aiowery import (
    Asset,
    AudioResult,
    ImageResult,
    MediaResult,
    Result,
    ScriptLine,
    Snapshot,
    TaskState,
    TextResult,
    VideoResult,
)
from aiowery.weryai import REQUESTS, ChatResult, CorpusResult, PodcastResult, PodcastScript, ResearchResult

RUNNING, WAITING, DONE, FAILED = TaskState.RUNNING, TaskState.WAITING, TaskState.DONE, TaskState.FAILED
PICTURE = Asset("https://cdn.example/1.png")
SONG = Asset("https://cdn.example/1.mp3", "audio", "https://cdn.example/1.jpg")
LINES = (ScriptLine("a", "Hello", "Mira"), ScriptLine("b", "Hi"))
STEPS = ["text-success", "text-fail", "audio-success", "audio-fail"]

RESULTS: dict[str, type[Result]] = {
    **dict.fromkeys(["text-to-image", "image-to-image", "image-bg-change", "image-upscale"], ImageResult),
    **dict.fromkeys(["text-to-video", "almighty-reference-to-video", "video-merge", "video-magic"], VideoResult),
    **dict.fromkeys(["music", "text-to-audio"], AudioResult),
    **dict.fromkeys(["speech-recognize", "image-to-prompt"], TextResult),
    "effect-template": Result,
    "podcast": PodcastScript,
    "podcast-voice": PodcastResult,
    "deep-research": ResearchResult,
    "corpus-upload": CorpusResult,
    "chat": ChatResult,
}


def gathered(cls: type[Any], *snapshots: Snapshot) -> Any:
    """Return a result of these snapshots."""
    return cls.from_snapshots(snapshots, seconds=2.0, request_id="req-1")


def done(task_id: str = "t", **more: Any) -> Snapshot:
    """Return the snapshot of a task that succeeded."""
    return Snapshot(task_id, DONE, **more)


@pytest.mark.parametrize("name", RESULTS)
def test_request_result_type_fits_its_class(name: str) -> None:
    """Each request class names the class of its result."""
    assert REQUESTS[name].result_type is RESULTS[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_request_kind_fits_its_result_type(name: str) -> None:
    """A request for pictures has a result of pictures."""
    types = {"image": ImageResult, "video": VideoResult, "audio": AudioResult}
    cls = REQUESTS[name]
    assert cls.kind in {*types, "text"}
    if cls.result_type is not Result:
        assert issubclass(cls.result_type, types.get(cls.kind, Result))


# Each row: substatus, the task's own state, the state of the script's job, and that of the voices' job.
STEP_STATES = [
    ("text-success", RUNNING, DONE, RUNNING),
    ("text-success", DONE, DONE, RUNNING),
    ("text-success", WAITING, DONE, RUNNING),
    (" Text-Success ", RUNNING, DONE, RUNNING),
    ("text-fail", RUNNING, FAILED, FAILED),
    ("text-fail", DONE, FAILED, FAILED),
    ("audio-success", RUNNING, DONE, DONE),
    ("audio-success", DONE, DONE, DONE),
    ("audio-fail", RUNNING, DONE, FAILED),
    ("audio-fail", DONE, DONE, FAILED),
    ("audio-fail", FAILED, DONE, FAILED),
    ("video-success", RUNNING, RUNNING, RUNNING),
    ("video-success", FAILED, FAILED, FAILED),
    ("", WAITING, WAITING, WAITING),
    (None, WAITING, WAITING, WAITING),
    (None, RUNNING, RUNNING, RUNNING),
    (None, FAILED, FAILED, FAILED),
]


@pytest.mark.parametrize(("step", "state", "script", "voice"), STEP_STATES)
def test_interpret_podcast_substatus_decides_for_each_step(
    step: str | None, state: TaskState, script: TaskState, voice: TaskState
) -> None:
    """Both steps share a task: a finished script ends the job of the script and not that of the voices."""
    snapshot = Snapshot("t", state, "status", substatus=step, script=LINES, reason="because", raw={"a": 1})
    assert PodcastScript.interpret(snapshot) == attrs.evolve(snapshot, state=script)
    assert PodcastResult.interpret(snapshot) == attrs.evolve(snapshot, state=voice)


def test_interpret_podcast_without_substatus_needs_audio() -> None:
    """Without a substatus, a finished task ends the job of the voices only if it has audio."""
    assert PodcastResult.interpret(done(assets=(SONG,))).state is DONE
    assert PodcastResult.interpret(done()).state is RUNNING
    assert PodcastScript.interpret(done()).state is DONE


@pytest.mark.parametrize("cls", [Result, ImageResult, VideoResult, AudioResult, TextResult, ResearchResult, ChatResult])
@pytest.mark.parametrize("step", [*STEPS, None])
def test_interpret_other_results_keep_the_snapshot(cls: type[Result], step: str | None) -> None:
    """The substatus of a podcast has no meaning for other results."""
    for state in TaskState:
        snapshot = Snapshot("t", state, substatus=step)
        assert cls.interpret(snapshot) is snapshot


# Each row: result type, values without an output of its kind, and values with one.
EMPTY: list[tuple[type[Result], dict[str, Any], dict[str, Any]]] = [
    (Result, {}, {"assets": (PICTURE,)}),
    (Result, {}, {"text": "words"}),
    (ImageResult, {"text": "words"}, {"assets": (PICTURE,)}),
    (VideoResult, {"text": "words"}, {"assets": (PICTURE,)}),
    (AudioResult, {"text": "words"}, {"assets": (SONG,)}),
    (TextResult, {"assets": (PICTURE,)}, {"text": "words"}),
    (TextResult, {"text": ""}, {"text": " x"}),
    (ResearchResult, {"raw": {"interaction_id": "int_5"}}, {"text": "words"}),
    (ChatResult, {"raw": {"choices": [{}]}}, {"text": "words"}),
    (PodcastScript, {"text": "words", "assets": (SONG,)}, {"script": LINES}),
    (PodcastResult, {"text": "words", "script": LINES}, {"assets": (SONG,)}),
    (CorpusResult, {"text": "words"}, {"raw": {"name": "fileSearchStores/demo-1"}}),
]


@pytest.mark.parametrize(("cls", "nothing", "something"), EMPTY)
def test_result_without_requested_output_is_empty(
    cls: type[Result], nothing: dict[str, Any], something: dict[str, Any]
) -> None:
    """A picture is no transcript: a result is empty if it has only outputs of another kind."""
    assert gathered(cls, done()).is_empty
    assert gathered(cls, done(**nothing)).is_empty
    assert not gathered(cls, done(**something)).is_empty
    assert not gathered(cls, done(**nothing), done("u", **something)).is_empty


def test_result_gathers_all_values_in_task_order() -> None:
    """Ids, outputs, texts, credits, failures and raw parts are in task order."""
    bad = Snapshot("b", FAILED, reason="blurred", raw={"n": 2})
    result = gathered(
        AudioResult,
        done("a", assets=(SONG,), text="la", credits=1.5, raw={"n": 1}),
        bad,
        done("c", assets=(PICTURE,), text="li", credits=2, raw={"n": 3}),
    )
    assert type(result) is AudioResult
    assert result.task_ids == ("a", "b", "c")
    assert result.assets == (SONG, PICTURE)
    assert result.urls == (SONG.url, PICTURE.url)
    assert result.text == result.lyrics == "la\n\nli"
    assert (result.credits, result.seconds, result.request_id) == (3.5, 2.0, "req-1")
    assert result.failures == (bad,)
    assert result.raw == ({"n": 1}, {"n": 2}, {"n": 3})


def test_media_result_url_and_cover_are_the_first() -> None:
    """`url` is that of the first asset, and `cover_url` the first cover that exists."""
    result = gathered(MediaResult, done(assets=(PICTURE, SONG)))
    assert (result.url, result.cover_url) == (PICTURE.url, "https://cdn.example/1.jpg")
    assert gathered(MediaResult, done(assets=(PICTURE,))).cover_url is None


def test_text_result_str_is_its_text() -> None:
    """A text result prints as its text."""
    assert str(gathered(TextResult, done(text="words"))) == "words"
    assert str(gathered(TextResult, done())) == ""


def test_podcast_result_script_keeps_its_lines() -> None:
    """The results of both steps have the script, line by line."""
    for cls in (PodcastScript, PodcastResult):
        assert gathered(cls, done(script=LINES, text="Mira: Hello\nb: Hi")).script == LINES


@pytest.mark.parametrize(
    ("raw", "interaction_id"),
    [({"interaction_id": "int_5"}, "int_5"), ({"interaction_id": 5}, None), ({"interaction_id": ""}, None), ({}, None)],
    ids=str,
)
def test_research_result_keeps_interaction_id(raw: dict[str, Any], interaction_id: str | None) -> None:
    """The interaction id is kept, and a value that is not a text counts as none."""
    assert gathered(ResearchResult, done(text="x", raw=raw)).interaction_id == interaction_id


@pytest.mark.parametrize(
    ("raw", "name", "uploaded"),
    [
        ({"name": "fileSearchStores/demo-1", "uploaded_count": 1}, "fileSearchStores/demo-1", 1),
        ({"name": "x", "uploaded_count": 0}, "x", 0),
        ({"name": "x", "uploaded_count": "1"}, "x", None),
        ({"name": "x", "uploaded_count": True}, "x", None),
        ({"name": 7}, "", None),
        ({}, "", None),
    ],
    ids=str,
)
def test_corpus_result_has_name_and_count(raw: dict[str, Any], name: str, uploaded: int | None) -> None:
    """The store's name and count are read, and values of another type count as absent."""
    result = gathered(CorpusResult, done(raw=raw))
    assert (result.name, result.uploaded_count) == (name, uploaded)


def test_chat_result_has_all_choices_and_usage() -> None:
    """The result has each choice, the finish reason of the first one, and the usage."""
    choices = [
        {"message": {"role": "assistant", "content": "one"}, "finish_reason": "stop"},
        {"message": {"role": "assistant", "content": "two"}, "finish_reason": "length"},
    ]
    result = gathered(ChatResult, done(text="one\n\ntwo", raw={"choices": choices, "usage": {"total_tokens": 5}}))
    assert result.choices == ("one", "two")
    assert result.finish_reason == "stop"
    assert result.usage == {"total_tokens": 5}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"choices": None, "usage": None},
        {"choices": 200},
        {"choices": {"message": {"content": "odd"}}},
        {"choices": ["odd", None, 7], "usage": "many"},
        {"choices": [{"message": "odd"}], "usage": []},
        {"choices": [{"message": {"content": 7}, "finish_reason": {"odd": 1}}]},
    ],
    ids=str,
)
def test_chat_result_invalid_metadata_counts_as_absent(raw: dict[str, Any]) -> None:
    """Informative values are read leniently: a paid response is not lost because of an unexpected form."""
    result = gathered(ChatResult, done(text="words", raw=raw))
    assert not result.is_empty
    assert all(isinstance(choice, str) for choice in result.choices)
    assert result.finish_reason is None or isinstance(result.finish_reason, str)
    assert result.usage == {}
