"""What belongs to whom: each result type gathers its own from its tasks, and knows when it is empty."""

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
    """Gather a result of these looks at its tasks."""
    return cls.from_snapshots(snapshots, seconds=2.0, request_id="req-1")


def done(task_id: str = "t", **more: Any) -> Snapshot:
    """Make a look at a task that ended well."""
    return Snapshot(task_id, DONE, **more)


@pytest.mark.parametrize("name", RESULTS)
def test_a_request_knows_its_result(name: str) -> None:
    """The class of the result goes with the class of the request."""
    assert REQUESTS[name].result_type is RESULTS[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_kind_of_a_request_fits_its_result(name: str) -> None:
    """Who asks for pictures gets a result of pictures."""
    types = {"image": ImageResult, "video": VideoResult, "audio": AudioResult}
    cls = REQUESTS[name]
    assert cls.kind in {*types, "text"}
    if cls.result_type is not Result:
        assert issubclass(cls.result_type, types.get(cls.kind, Result))


# Each row: the word for the step, the task's own state, what a script's job makes of it, and what a voice's job does.
JUDGED = [
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


@pytest.mark.parametrize(("step", "state", "script", "voice"), JUDGED)
def test_a_podcasts_step_decides_for_whom_it_is_done(
    step: str | None, state: TaskState, script: TaskState, voice: TaskState
) -> None:
    """Both steps share a task: a finished script ends the script's job and not the voices'."""
    look = Snapshot("t", state, "word", substatus=step, script=LINES, reason="because", raw={"a": 1})
    assert PodcastScript.interpret(look) == attrs.evolve(look, state=script)
    assert PodcastResult.interpret(look) == attrs.evolve(look, state=voice)


def test_voices_are_ready_when_the_task_is_done_with_sounds() -> None:
    """Without a word for the step, a finished task has a podcast only if there is something to listen to."""
    assert PodcastResult.interpret(done(assets=(SONG,))).state is DONE
    assert PodcastResult.interpret(done()).state is RUNNING
    assert PodcastScript.interpret(done()).state is DONE


@pytest.mark.parametrize("cls", [Result, ImageResult, VideoResult, AudioResult, TextResult, ResearchResult, ChatResult])
@pytest.mark.parametrize("step", [*STEPS, None])
def test_interpret_other_results_keep_the_snapshot(cls: type[Result], step: str | None) -> None:
    """The substatus of a podcast has no meaning for other results."""
    for state in TaskState:
        look = Snapshot("t", state, substatus=step)
        assert cls.interpret(look) is look


# Each row: result type, a look that brings nothing of its sort, and one that does.
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
def test_a_result_is_empty_without_what_was_asked_for(
    cls: type[Result], nothing: dict[str, Any], something: dict[str, Any]
) -> None:
    """A picture is no transcript: success is empty if it brought something else."""
    assert gathered(cls, done()).is_empty
    assert gathered(cls, done(**nothing)).is_empty
    assert not gathered(cls, done(**something)).is_empty
    assert not gathered(cls, done(**nothing), done("u", **something)).is_empty


def test_a_result_gathers_everything_in_task_order() -> None:
    """Ids, outputs, words, credits, failures and raw parts, and what was known of the submission."""
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


def test_media_show_their_first_url_and_cover() -> None:
    """The first asset is the one, and the first cover that there is."""
    result = gathered(MediaResult, done(assets=(PICTURE, SONG)))
    assert (result.url, result.cover_url) == (PICTURE.url, "https://cdn.example/1.jpg")
    assert gathered(MediaResult, done(assets=(PICTURE,))).cover_url is None


def test_words_print_as_themselves() -> None:
    """A result in words can be printed."""
    assert str(gathered(TextResult, done(text="words"))) == "words"
    assert str(gathered(TextResult, done())) == ""


def test_a_podcast_keeps_its_turns() -> None:
    """Script and voices both have what is said, line by line."""
    for cls in (PodcastScript, PodcastResult):
        assert gathered(cls, done(script=LINES, text="Mira: Hello\nb: Hi")).script == LINES


@pytest.mark.parametrize(
    ("raw", "interaction_id"),
    [({"interaction_id": "int_5"}, "int_5"), ({"interaction_id": 5}, None), ({"interaction_id": ""}, None), ({}, None)],
    ids=str,
)
def test_research_can_be_gone_on_from(raw: dict[str, Any], interaction_id: str | None) -> None:
    """The interaction's id is kept; anything but a text counts as none."""
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
def test_a_store_has_a_name_and_a_count(raw: dict[str, Any], name: str, uploaded: int | None) -> None:
    """The name is what research wants to search."""
    result = gathered(CorpusResult, done(raw=raw))
    assert (result.name, result.uploaded_count) == (name, uploaded)


def test_a_chat_has_all_choices_and_its_usage() -> None:
    """Each answer by itself, why the first one ended, and the tokens counted."""
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
def test_an_odd_chat_costs_no_result(raw: dict[str, Any]) -> None:
    """What merely informs is read leniently: a paid answer is not lost to an odd shape."""
    result = gathered(ChatResult, done(text="words", raw=raw))
    assert not result.is_empty
    assert all(isinstance(choice, str) for choice in result.choices)
    assert result.finish_reason is None or isinstance(result.finish_reason, str)
    assert result.usage == {}
