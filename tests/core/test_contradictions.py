"""Values of a status response that contradict the request that started its task."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Asset, Snapshot, TaskState
from aiowery._core.contradictions import contradicts
from aiowery._core.messages import HttpResponse, json_body
from aiowery._core.provider import Provider
from aiowery.betterwaifu import GenerateImage
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.errors import APIError, SubmissionInDoubt, UnexpectedResponse
from aiowery.weryai import Chat, DeepResearch, ImageToPrompt, PodcastVoice, TextToImage
from aiowery.weryai._provider import WeryAIProvider
from tests.support import CAT

SENT = 1_767_225_600.0  # 2026-01-01T00:00:00Z
REQUESTED = {"prompt": "A cat on the roof, in the rain", "model": "WAN_2_6", "seed": 7, "left_out": None}

FITS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "the same": {"prompt": "A cat on the roof, in the rain", "model": "WAN_2_6", "seed": 7},
    "written otherwise": {"prompt": " a cat on  the roof in the rain.", "model": "Wan 2.6", "seed": "7"},
    "cut": {"prompt": "A cat on the roof, in the ra..."},
    "nothing filled in": {
        "prompt": "",
        "model": None,
        "seed": None,
        "created_at": 0,
        "created": "",
        "create_time": None,
    },
    "another type": {"prompt": ["a dog"], "model": 4, "seed": True, "created_at": {"seconds": 1}},
    "unknown members": {"wish": "a dog", "engine": "FLUX", "born": "2020-01-01"},
    "of this moment": {"created_at": "2026-01-01T00:00:01Z", "createTime": SENT * 1000},
    "a clock that is slow": {"created_at": "2025-12-31T23:55:00+00:00", "created": SENT - 300},
    "of an unknown zone": {"created_at": "2025-12-31 12:00:00"},
    "no moment": {"created_at": "yesterday", "created": "9" * 400},
}
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "another prompt": {"prompt": "a dog"},
    "a long one": {"prompt": "A cat on the roof, in the rain, at noon"[::-1]},
    "another model": {"model": "WAN_2_5"},
    "another seed": {"seed": 8},
    "yesterday": {"created_at": "2025-12-30T23:00:00Z"},
    "an hour ago": {"createdAt": "2026-01-01T07:00:00+08:00"},
    "an hour ago, in seconds": {"created": SENT - 3600},
    "an hour ago, in milliseconds": {"create_time": str(int(SENT - 3600) * 1000)},
    "the day before, in whatever zone": {"submitted_at": "2025-12-30T23:00:00"},
}


@pytest.mark.parametrize("reported", FITS.values(), ids=FITS)
def test_contradicts_fitting_or_missing_values_is_false(reported: dict[str, Any]) -> None:
    """Other spellings, cut texts, slow clocks and unknown members do not contradict the request."""
    assert not contradicts(reported, REQUESTED, SENT)


@pytest.mark.parametrize("reported", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradicts_other_values_is_true(reported: dict[str, Any]) -> None:
    """Another prompt, model or seed, or a start clearly before the POST, contradicts the request."""
    assert contradicts(reported, REQUESTED, SENT)


@given(st.dictionaries(st.sampled_from([*REQUESTED, "created_at", "created"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)), st.floats(0, 1e12))  # fmt: skip
def test_contradicts_any_response_is_true_or_false(reported: dict[str, Any], sent_at: float) -> None:
    """No response makes it raise."""
    assert contradicts(reported, REQUESTED, sent_at) in {True, False}


def test_contradicts_request_outputs_of_another_kind() -> None:
    """A video contradicts a request for a picture. The task that a request itself names never contradicts it."""
    weryai = WeryAIProvider()
    film = Snapshot("t1", TaskState.DONE, assets=(Asset("https://e.example/1.mp4", "video"),))
    picture = Snapshot("t1", TaskState.DONE, assets=(Asset("https://e.example/1.png"),), raw={"model": "x"})
    assert weryai.contradicts_request(TextToImage(prompt="hills"), film, SENT)
    assert not weryai.contradicts_request(TextToImage(prompt="hills", model="X"), picture, SENT)
    assert not weryai.contradicts_request(PodcastVoice(task_id="t1"), picture, SENT)


def test_contradicts_request_betterwaifu_seed_and_parameters() -> None:
    """The seed in `output` and the values in `parameters` count. A random seed and a model's name do not."""
    provider = BetterWaifuProvider("jobs")

    def contradicted(request: GenerateImage, **raw: Any) -> bool:
        return provider.contradicts_request(request, Snapshot("job_1", TaskState.DONE, raw=raw), SENT)

    request = GenerateImage(prompt="1girl", model=814910, seed=7)
    assert not contradicted(request, output={"seed": 7}, model="tPonynai3", model_version_id=814910)
    assert not contradicted(GenerateImage(prompt="1girl", seed=-1), output={"seed": 7})
    assert contradicted(request, output={"seed": 8})
    assert contradicted(request, model_version_id=1496755)
    assert contradicted(request, parameters={"prompt": "1boy"})


def named_ids(provider: Provider, request: Any, response: HttpResponse) -> tuple[str, ...]:
    """Return the task ids of the error of a refused submission."""
    try:
        provider.decode_submission(request, response)
    except (APIError, UnexpectedResponse) as error:
        return error.task_ids
    raise AssertionError("accepted")


WERYAI: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "a batch": (CAT, {"data": {"task_ids": ["a", 7, None, "a"]}}, ("a", "7")),
    "a task": (CAT, {"data": {"task_id": "a"}}, ("a",)),
    "tasks": (CAT, {"data": [{"task_id": "a"}, None, {"task_ids": "b"}]}, ("a", "b")),
    "too long, or more than a line": (CAT, {"data": {"task_ids": ["x" * 257, "a\nb", "..", " "]}}, ()),
    "elsewhere": (CAT, {"task_id": "a", "data": {"id": "b", "tasks": ["c"], "batch_id": 4}}, ()),
    "research": (
        DeepResearch(input="why", mode="DEEP_RESEARCH"),
        {"data": {"task_id": "a", "interaction_id": "b"}},
        ("a",),
    ),
    "a description": (
        ImageToPrompt(image_url="https://e.example/1.png", image_kilobytes=1),
        {"data": {"task_id": "a"}},
        ("a",),
    ),
    "chat": (Chat(messages="hello"), {"id": "a"}, ("a",)),
    "no object": (CAT, ["task_id"], ()),
}


@pytest.mark.parametrize(("request_", "body", "ids"), WERYAI.values(), ids=WERYAI)
@pytest.mark.parametrize("http_status", [200, 302, 303, 400, 401, 429, 500, 503])
def test_weryai_refusal_has_task_ids_of_an_acceptance(
    request_: Any, body: Any, ids: tuple[str, ...], http_status: int
) -> None:
    """Ids are read from data.task_ids and data.task_id, also in a list. For direct requests the result's id is read."""
    content = {"status": 1001, "message": "no", **body} if isinstance(body, dict) else body
    assert named_ids(WeryAIProvider(), request_, HttpResponse(http_status, {}, json_body(content))) == ids


BETTERWAIFU: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "beside": ("jobs", {"id": "a"}, ("a",)),
    "in data and in a job": ("jobs", {"data": {"job_id": "a"}, "job": {"id": 7}}, ("a", "7")),
    "elsewhere": ("jobs", {"image_id": "a", "error": {"id": "b"}}, ()),
    "a picture": ("v1-images", {"data": {"image_id": "a"}}, ("a",)),
    "a picture beside": ("v1-images", {"id": "a"}, ("a",)),
    "no picture": ("v1-images", {"job_id": "a"}, ()),
}


@pytest.mark.parametrize(("edition", "body", "ids"), BETTERWAIFU.values(), ids=BETTERWAIFU)
@pytest.mark.parametrize("http_status", [200, 302, 303, 400, 401, 429, 500, 503])
def test_betterwaifu_refusal_has_task_ids_of_an_acceptance(
    edition: Any, body: Any, ids: tuple[str, ...], http_status: int
) -> None:
    """Ids are id, job_id or generation_id of the response or its inner object. In v1-images it is the picture's id."""
    content = {"success": False, "error": "no", **body}
    response = HttpResponse(http_status, {}, json_body(content))
    assert named_ids(BetterWaifuProvider(edition), GenerateImage(prompt="1girl"), response) == ids


def test_submission_in_doubt_pickle_keeps_task_ids() -> None:
    """A pickled error still has the task ids that the provider has named."""
    doubt = SubmissionInDoubt("x", task_ids=("a",))
    assert pickle.loads(pickle.dumps(doubt)).task_ids == ("a",)  # noqa: S301
