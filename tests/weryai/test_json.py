"""Requests as JSON and back: to files, to other processes, and from whatever a file may hold."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery import File, ScriptLine
from aiowery._core.fields import wire_of
from aiowery.errors import ConfigurationError
from aiowery.weryai import REQUESTS, Chat, ImageExpand, ImageToImage, from_dict, to_dict
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.request_samples import EVERYTHING, LOCAL, NEEDED, PICTURE, field_names, fullest, smallest

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
extras = st.dictionaries(st.sampled_from(["brand_new", "newer", "new-est", "Ω"]), json_values, max_size=3)
files = st.builds(File, st.binary(max_size=20), texts)
sources = files | texts.map(lambda name: Path("in", name.replace("\0", "_"))) | st.just(PICTURE)
FREE = {
    *("prompt", "negative_prompt", "text", "query", "description", "lyrics", "input", "model", "resolution"),
    *("audio_name", "file_name", "language", "style", "video_style", "target_language", "task_id"),
}
"""Fields that any text can fill."""
COMPANY = {"almighty-reference-to-video": ("image_urls",)}
"""By type_name, what others of its fields do not go without."""


def values_of(name: str, field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    """Draw values for one field of a request class."""
    usual = st.just(EVERYTHING[name][field.name])
    if field.name in FREE:
        return texts | usual
    if wire_of(field).media is None:
        return usual
    several = isinstance(EVERYTHING[name][field.name], tuple)
    return (st.lists(sources, min_size=2, max_size=3) if several else sources) | usual


def requests_of(name: str) -> st.SearchStrategy[Any]:
    """Draw requests of one class: needed fields, any of the others, and parameters without a field."""
    cls = REQUESTS[name]
    drawn = {field.name: values_of(name, field) for field in attrs.fields(cls) if field.name in EVERYTHING[name]}
    needed = {field: drawn.pop(field) for field in (*NEEDED[name], *COMPANY.get(name, ()))}
    return st.fixed_dictionaries({**needed, "extra": extras}, optional=drawn).map(lambda fields: cls(**fields))


def returned(request: Any) -> Any:
    """Write a request as JSON text and make it again."""
    return from_dict(json.loads(json.dumps(to_dict(request))))


def same(one: Any, other: Any) -> None:
    """Assert that two requests are one value, names of files in memory among it."""
    assert type(other) is type(one)
    assert other == one
    assert hash(other) == hash(one)
    assert repr(other) == repr(one)


@pytest.mark.parametrize("name", REQUESTS)
@given(data=st.data())
def test_any_request_survives_json(name: str, data: st.DataObject) -> None:
    """Texts of any sort, urls, paths, files in memory and nested parameters come back as they were."""
    request = data.draw(requests_of(name))
    same(request, returned(request))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_full_request_survives_every_journey(name: str) -> None:
    """JSON, pickle and both sorts of copies give the same value back, with the same hash and the same call."""
    request = fullest(name, extra={"brand_new": {"deep": [1, None, {"er": 2.5}]}})
    call = WeryAIProvider().encode(request)
    copies = (returned(request), pickle.loads(pickle.dumps(request)), copy.copy(request), copy.deepcopy(request))  # noqa: S301 - our own bytes
    for other in copies:
        same(request, other)
        assert WeryAIProvider().encode(other) == call
    assert fullest(name) != request


@pytest.mark.parametrize("name", LOCAL)
def test_local_files_survive_every_journey(name: str) -> None:
    """Paths stay paths, files in memory keep content and name, urls stay urls."""
    request = smallest(name, **LOCAL[name])
    for other in (returned(request), pickle.loads(pickle.dumps(request)), copy.deepcopy(request)):  # noqa: S301 - as above
        same(request, other)
        for field in field_names(name):
            one, two = getattr(request, field), getattr(other, field)
            if isinstance(one, File):
                assert (two.content, two.name) == (one.content, one.name)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_cannot_be_changed(name: str) -> None:
    """Requests are frozen, so that what was checked is what is sent."""
    request = fullest(name)
    for field in field_names(name):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(request, field, None)


@pytest.mark.parametrize("name", REQUESTS)
def test_only_what_was_set_is_written(name: str) -> None:
    """An object has the type's name, what was given and our defaults; null and empty lists stay away."""
    request = smallest(name)
    told = to_dict(request)
    assert told["type"] == name
    assert next(iter(told)) == "type"
    assert set(told) <= field_names(name) | {"type"}
    assert set(told) >= set(NEEDED[name])
    assert all(value not in (None, [], {}) for value in told.values())


@pytest.mark.parametrize("name", ["text-to-video", "image-to-video"])
def test_a_ratio_that_was_left_out_stays_left_out(name: str) -> None:
    """None is a choice where the default is another one, and survives JSON like any other."""
    request = smallest(name, aspect_ratio=None)
    same(request, returned(request))


def test_an_empty_object_that_was_given_is_not_one_left_out() -> None:
    """Only what equals its field's default stays away: `{}` is written, sent and read again."""
    request = smallest("effect-template", prompt_inputs={})
    assert to_dict(request)["prompt_inputs"] == {}
    same(request, returned(request))
    assert WeryAIProvider().encode(request) != WeryAIProvider().encode(smallest("effect-template"))


def test_an_object_is_written_in_plain_json() -> None:
    """Sizes and places as texts, files by path or in base64, parts as objects without what is unknown."""
    expand = ImageExpand(image_url=Path("in/a.png"), image_size=(5, 6), canvas_size="7x8", image_location=(1, -2))
    assert to_dict(expand) == {
        "type": "image-expand",
        "image_url": "in/a.png",
        "image_size": "5x6",
        "canvas_size": "7x8",
        "image_location": "1,-2",
    }
    assert to_dict(fullest("podcast-voice"))["script"] == [
        {"speaker_id": "spk-en-07", "content": "Hello", "speaker_name": "Mira"},
        {"speaker_id": "spk-en-08", "content": "Hi"},
    ]
    assert to_dict(fullest("video-subtitle-erase"))["regions"][0] == {
        "left": 0.0,
        "top": 0.25,
        "right": 0.5,
        "bottom": 1.0,
    }
    picture = to_dict(ImageToImage(prompt="x", image_urls=[File(b"abc", "a.png")]))["image_urls"]
    assert picture == [{"base64": "YWJj", "name": "a.png"}]


def test_null_means_left_out() -> None:
    """A file made by another program may name every field."""
    nothing = dict.fromkeys(field_names("text-to-image") - {"prompt", "model", "aspect_ratio"})
    assert from_dict({"type": "text-to-image", "prompt": "hills", **nothing}) == smallest("text-to-image")


def test_names_without_a_field_become_parameters() -> None:
    """What the class does not know is sent as it is, beside what stands in `extra`."""
    request = from_dict({"type": "chat", "messages": "hi", "top_k": 4, "extra": {"min_p": 0.1}})
    assert request == Chat(messages="hi", extra={"top_k": 4, "min_p": 0.1})


def test_a_text_that_is_no_url_is_a_path_in_a_file() -> None:
    """In a file of one's own a text in a media field names a file beside it."""
    request = from_dict({"type": "video-merge", "video_urls": ["in/v.mp4", "HTTPS://example.com/w.mp4"]})
    assert request.video_urls == (Path("in/v.mp4"), "HTTPS://example.com/w.mp4")  # type: ignore[attr-defined]


WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ("unknown type None", "text-to-image")),
    ({"type": "nothing"}, ("unknown type 'nothing'",)),
    ({"type": ["chat"]}, ("unknown type ['chat']",)),
    ({"type": "text-to-image"}, ("text-to-image requires the field prompt",)),
    ({"type": "image-to-video", "prompt": "x"}, ("image-to-video requires the field image_url",)),
    ({"type": "image-to-video", "prompt": "x", "image_url": None}, ("requires the field image_url",)),
    (
        {"type": "image-to-video", "prompt": "x", "image_url": 7},
        ("expected a URL, path, bytes or open binary file, got 7",),
    ),
    ({"type": "image-to-video", "prompt": "x", "image": PICTURE, "image_url": PICTURE}, ("write image_url=",)),
    ({"type": "text-to-image", "prompt": "x", "extra": ["seed"]}, ("extra must be an object, got ['seed']",)),
    ({"type": "text-to-image", "prompt": "x", "extra": {"model": "y"}}, ("write model=",)),
    *[
        ({"type": "image-upscale", "image_url": bad}, ("base64",))
        for bad in ({}, {"name": "a.png"}, {"base64": 7}, {"base64": "%%"}, {"base64": "YQ"}, {"base64": "é"})
    ],
]


@pytest.mark.parametrize(("values", "says"), WRONG, ids=str)
def test_a_wrong_object_is_named(values: dict[str, Any], says: tuple[str, ...]) -> None:
    """What is wrong with an object is said in its own words."""
    with pytest.raises(ConfigurationError) as caught:
        from_dict(values)
    for piece in says:
        assert piece in str(caught.value)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([PICTURE, "1x1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["base64", "name", "role", "content", "speaker_id", "left", "genre"]) | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", REQUESTS)
@given(data=st.data())
def test_any_object_makes_a_request_or_our_error(name: str, data: st.DataObject) -> None:
    """Whatever a file holds: a request that can be told again and is sent or refused, or a ConfigurationError."""
    usual = to_dict(smallest(name))
    fields = st.sampled_from(sorted(field_names(name) | {"extra", "brand_new"}))
    changes = data.draw(st.dictionaries(fields, junk, max_size=2))
    with contextlib.suppress(ConfigurationError):
        request = from_dict({**usual, **changes})
        assert len(request.label) <= 50
        assert from_dict(to_dict(request)) == request
        WeryAIProvider().encode(request)


@given(task_id=st.text(min_size=1, max_size=5))
@example(task_id="..")
@example(task_id=".")
@example(task_id="\ud800")
def test_an_id_in_the_path_is_one_segment_or_refused(task_id: str) -> None:
    """An id from a file never leads to another path: what no path can hold is a ConfigurationError."""
    try:
        call = WeryAIProvider().encode(smallest("podcast-voice", task_id=task_id))
    except ConfigurationError:
        return
    *_, segment, end = call.path.split("/")
    assert end == "audio"
    assert segment not in {"", ".", ".."}
    assert call.path.isascii()


@given(
    script=st.lists(st.builds(ScriptLine, texts, texts, st.none() | texts), max_size=4),
    contents=st.lists(texts, min_size=1),
)
def test_scripts_and_messages_survive_json(script: list[ScriptLine], contents: list[str]) -> None:
    """Each turn of a podcast and of a conversation comes back in its place."""
    voice = smallest("podcast-voice", script=script)
    same(voice, returned(voice))
    chat = smallest("chat", messages=[{"role": "user", "content": content} for content in contents])
    same(chat, returned(chat))
