"""Requests as JSON and back: for files, other processes, and any content of a file."""

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
COMPANY = {"music": ("audio_name",)}
"""By type_name, the fields that others of its fields need."""


def values_of(name: str, field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of one field of a request class."""
    usual = st.just(EVERYTHING[name][field.name])
    if field.name in FREE:
        return texts | usual
    if wire_of(field).media is None:
        return usual
    several = isinstance(EVERYTHING[name][field.name], tuple)
    return (st.lists(sources, min_size=2, max_size=3) if several else sources) | usual


def requests_of(name: str) -> st.SearchStrategy[Any]:
    """Return a strategy for requests of one class: needed fields, any of the others, and parameters without a field."""
    cls = REQUESTS[name]
    drawn = {field.name: values_of(name, field) for field in attrs.fields(cls) if field.name in EVERYTHING[name]}
    needed = {field: drawn.pop(field) for field in (*NEEDED[name], *COMPANY.get(name, ()))}
    return st.fixed_dictionaries({**needed, "extra": extras}, optional=drawn).map(lambda fields: cls(**fields))


def json_round_trip(request: Any) -> Any:
    """Return the request that is made from its own JSON text."""
    return from_dict(json.loads(json.dumps(to_dict(request))))


def assert_same(one: Any, other: Any) -> None:
    """Assert that two requests are one value, including the names of files in memory."""
    assert type(other) is type(one)
    assert other == one
    assert hash(other) == hash(one)
    assert repr(other) == repr(one)


@pytest.mark.parametrize("name", REQUESTS)
@given(data=st.data())
def test_request_json_round_trip_keeps_any_value(name: str, data: st.DataObject) -> None:
    """Texts, URLs, paths, files in memory and nested parameters are read as they were written."""
    request = data.draw(requests_of(name))
    assert_same(request, json_round_trip(request))


@pytest.mark.parametrize("name", REQUESTS)
def test_request_copies_are_equal_and_encode_alike(name: str) -> None:
    """JSON, pickle and both kinds of copies give the same value, hash and HTTP request."""
    request = fullest(name, extra={"brand_new": {"deep": [1, None, {"er": 2.5}]}})
    sent = WeryAIProvider().encode(request)
    copies = (json_round_trip(request), pickle.loads(pickle.dumps(request)), copy.copy(request), copy.deepcopy(request))  # noqa: S301 - the test's own bytes
    for other in copies:
        assert_same(request, other)
        assert WeryAIProvider().encode(other) == sent
    assert fullest(name) != request


@pytest.mark.parametrize("name", LOCAL)
def test_request_copies_keep_local_files(name: str) -> None:
    """Paths stay paths, files in memory keep content and name, and URLs stay URLs."""
    request = smallest(name, **LOCAL[name])
    for other in (json_round_trip(request), pickle.loads(pickle.dumps(request)), copy.deepcopy(request)):  # noqa: S301 - as above
        assert_same(request, other)
        for field in field_names(name):
            one, two = getattr(request, field), getattr(other, field)
            if isinstance(one, File):
                assert (two.content, two.name) == (one.content, one.name)


@pytest.mark.parametrize("name", REQUESTS)
def test_request_fields_are_frozen(name: str) -> None:
    """A checked request is sent unchanged, because its fields cannot be set."""
    request = fullest(name)
    for field in field_names(name):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(request, field, None)


@pytest.mark.parametrize("name", REQUESTS)
def test_to_dict_smallest_request_has_given_values_and_defaults(name: str) -> None:
    """The object has the type's name, the given values and the defaults. It has no null and no empty list."""
    request = smallest(name)
    written = to_dict(request)
    assert written["type"] == name
    assert next(iter(written)) == "type"
    assert set(written) <= field_names(name) | {"type"}
    assert set(written) >= set(NEEDED[name])
    assert all(value not in (None, [], {}) for value in written.values())


@pytest.mark.parametrize("name", ["text-to-video", "image-to-video"])
def test_to_dict_ratio_none_is_kept(name: str) -> None:
    """None is a value where the default is another one, and JSON keeps it."""
    request = smallest(name, aspect_ratio=None)
    assert_same(request, json_round_trip(request))


def test_to_dict_given_empty_object_is_kept() -> None:
    """Only a value that equals its field's default is left out: `{}` is written, sent and read again."""
    request = smallest("effect-template", prompt_inputs={})
    assert to_dict(request)["prompt_inputs"] == {}
    assert_same(request, json_round_trip(request))
    assert WeryAIProvider().encode(request) != WeryAIProvider().encode(smallest("effect-template"))


def test_to_dict_structured_fields_are_plain_json() -> None:
    """Sizes and points are texts, files are paths or base64, and parts are objects without unknown values."""
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


def test_from_dict_null_is_left_out() -> None:
    """A file of another program may name every field."""
    nothing = dict.fromkeys(field_names("text-to-image") - {"prompt", "model", "aspect_ratio"})
    assert from_dict({"type": "text-to-image", "prompt": "hills", **nothing}) == smallest("text-to-image")


def test_from_dict_unknown_names_become_extra() -> None:
    """A name without a field is sent unchanged, beside those in `extra`."""
    request = from_dict({"type": "chat", "messages": "hi", "top_k": 4, "extra": {"min_p": 0.1}})
    assert request == Chat(messages="hi", extra={"top_k": 4, "min_p": 0.1})


def test_from_dict_media_text_without_scheme_is_a_path() -> None:
    """In a file, a text in a media field that is no URL names a local file."""
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


@pytest.mark.parametrize(("values", "pieces"), WRONG, ids=str)
def test_from_dict_invalid_object_is_refused_with_its_fault(values: dict[str, Any], pieces: tuple[str, ...]) -> None:
    """The error names what is wrong with the object."""
    with pytest.raises(ConfigurationError) as caught:
        from_dict(values)
    for piece in pieces:
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
def test_from_dict_any_object_makes_a_request_or_configuration_error(name: str, data: st.DataObject) -> None:
    """For any content of a file: a request that is written alike and encodes or is refused, or ConfigurationError."""
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
def test_encode_any_id_is_one_path_segment_or_refused(task_id: str) -> None:
    """An id from a file never leads to another path: an id that no path can hold raises ConfigurationError."""
    try:
        request = WeryAIProvider().encode(smallest("podcast-voice", task_id=task_id))
    except ConfigurationError:
        return
    *_, segment, end = request.path.split("/")
    assert end == "audio"
    assert segment not in {"", ".", ".."}
    assert request.path.isascii()


@given(
    script=st.lists(st.builds(ScriptLine, texts, texts, st.none() | texts), max_size=4),
    contents=st.lists(texts, min_size=1),
)
def test_request_json_round_trip_keeps_scripts_and_messages(script: list[ScriptLine], contents: list[str]) -> None:
    """Each turn of a podcast and of a conversation keeps its position."""
    voice = smallest("podcast-voice", script=script)
    assert_same(voice, json_round_trip(voice))
    chat = smallest("chat", messages=[{"role": "user", "content": content} for content in contents])
    assert_same(chat, json_round_trip(chat))
