"""Answers of both editions, in every form that is documented or plausible, and in any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from betterwaifu.atelier import finished_job, finished_v1
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery._tasks import TaskState
from aiowery._values import Accepted
from aiowery._wire import Answer
from aiowery.betterwaifu import GeneratedImage, _answers, _registry
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    ContentRejected,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)

Decode = Callable[[Answer], Any]
DECODERS: dict[str, Decode] = {
    "queued": _answers.decode_queued,
    "image": partial(_answers.decode_image, made_up_id="made-up"),
    "status": partial(_answers.decode_status, job_id="job_1"),
    "models": _registry.decode_models,
    "account": _registry.decode_account,
}


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer; a text stands for itself, anything else for its JSON."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def image(**data: Any) -> dict[str, Any]:
    """Return the v1-images answer with other data; None leaves a member out."""
    told = {**finished_v1(1)["data"], **data}
    return {"success": True, "data": {name: value for name, value in told.items() if value is not None}}


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "body",
    [
        {"id": "job_1", "status": "queued", "queue_position": 3},
        {"id": "job_1"},
        {"job_id": "job_1", "status": "QUEUED"},
        {"generation_id": "job_1"},
        {"data": {"id": "job_1"}},
        {"generation": {"id": "job_1", "status": "processing"}},
        {"success": True, "job": {"id": "job_1"}},
        {"id": "", "job_id": "job_1"},
    ],
)
def test_a_job_is_found_wherever_its_id_stands(body: dict[str, Any], status: int) -> None:
    """The body of a 201 is not documented: an id that was paid for must not be lost to where it lies."""
    accepted = _answers.decode_queued(answer(body, status))
    assert accepted.task_ids == ("job_1",)


def test_a_number_is_an_id_too() -> None:
    """Ids are opaque texts from here on."""
    assert _answers.decode_queued(answer({"id": 7}, 201)).task_ids == ("7",)


def test_a_job_that_is_finished_at_once_needs_no_look() -> None:
    """An acceptance that brings the pictures is the end."""
    (snapshot,) = _answers.decode_queued(answer(finished_job(1), 201)).snapshots
    assert (snapshot.state, snapshot.assets[0].url) == (TaskState.DONE, "https://cdn.example.com/a/1.webp")


@pytest.mark.parametrize(
    "body", [{}, {"status": "queued"}, {"id": None}, {"id": ["x"]}, {"id": ".."}, [], "ok", b"<html>", b""]
)
def test_accepted_without_an_id_is_outside_the_contract(body: Any) -> None:
    """It may have been charged, so it is never told as a refusal that invites a repeat."""
    with pytest.raises(UnexpectedResponse):
        _answers.decode_queued(answer(body, 201))


@pytest.mark.parametrize(
    ("told", "state", "position"),
    [
        ({"status": "queued", "queue_position": 3}, TaskState.WAITING, 3),
        ({"status": "queued", "queue_position": "2"}, TaskState.WAITING, 2),
        ({"status": "queued", "queue_position": 1.0}, TaskState.WAITING, 1),
        ({"status": "queued"}, TaskState.WAITING, None),
        ({"status": "queued", "queue_position": "soon"}, TaskState.WAITING, None),
        ({"status": "processing"}, TaskState.RUNNING, None),
        ({"status": " Processing "}, TaskState.RUNNING, None),
        ({"status": "warming-up"}, TaskState.RUNNING, None),
        ({"data": {"status": "processing"}}, TaskState.RUNNING, None),
    ],
)
def test_a_job_under_way(told: dict[str, Any], state: TaskState, position: int | None) -> None:
    """Words nobody documented mean that it goes on; a position is told where there is one."""
    snapshot = _answers.decode_status(answer({"id": "job_1", **told}), "job_1")
    assert (snapshot.state, snapshot.position, snapshot.assets) == (state, position, ())


def test_a_job_that_succeeded() -> None:
    """Every picture with its url and id, and the one seed of the whole output."""
    images = [{"url": f"https://x.example/{n}.webp", "id": f"i{n}"} for n in range(3)]
    snapshot = _answers.decode_status(
        answer({"id": "job_1", "status": "succeeded", "output": {"images": images, "seed": "77"}}), "job_1"
    )
    result = GeneratedImage.of([snapshot], seconds=1.0, request_id=None)
    assert result.urls == tuple(one["url"] for one in images)
    assert (result.image_ids, result.seed) == (("i0", "i1", "i2"), 77)
    assert {asset.task_id for asset in result.assets} == {"job_1"}


@pytest.mark.parametrize("output", [None, {}, {"images": []}, {"images": None}, {"images": [{}]}, {"images": [5]}, "x"])
def test_success_without_a_picture_is_empty(output: Any) -> None:
    """The job ends, and its result says that there is nothing."""
    snapshot = _answers.decode_status(answer({"id": "job_1", "status": "succeeded", "output": output}), "job_1")
    assert snapshot.state is TaskState.DONE
    assert GeneratedImage.of([snapshot], seconds=1.0, request_id=None).empty


@pytest.mark.parametrize(
    ("error", "reason"),
    [("internal error", "internal error"), ({"message": "flagged"}, "flagged"), (None, None), (5, None)],
)
def test_a_job_that_failed(error: Any, reason: str | None) -> None:
    """HTTP 200 and the word `failed`: not a refusal, with whatever reason is given."""
    snapshot = _answers.decode_status(answer({"id": "job_1", "status": "failed", "error": error}), "job_1")
    assert (snapshot.state, snapshot.reason) == (TaskState.FAILED, reason)


@pytest.mark.parametrize("body", [{}, {"id": "job_1"}, {"status": 5}, [], "null", b"<html>oops", b""])
def test_a_look_that_says_nothing_is_outside_the_contract(body: Any) -> None:
    """The job goes on and is asked about again."""
    with pytest.raises(UnexpectedResponse):
        _answers.decode_status(answer(body), "job_1")


def test_the_picture_of_v1() -> None:
    """One picture with its id, the seed that was drawn, what was used, and when."""
    accepted = _answers.decode_image(answer(finished_v1(1)), "made-up")
    result = GeneratedImage.of(accepted.snapshots, seconds=0.0, request_id=None)
    assert accepted.task_ids == ("img_000000000001",) == result.image_ids
    assert (result.url, result.seed) == ("https://cdn.example.com/images/1.png", 42)
    assert result.created_at == datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
    assert result.parameters["model"] == "noobai-xl"


@pytest.mark.parametrize(
    ("body", "task_id"),
    [
        (image(status="rendered"), "img_000000000001"),
        (image(status=None), "img_000000000001"),
        (image(image_id=None), "made-up"),
        (image(parameters=None), "img_000000000001"),
        (image(parameters="none", created_at=5), "img_000000000001"),
        ({"data": {"url": "https://x.example/1.png"}}, "made-up"),
        ({"url": "https://x.example/1.png", "image_id": "img_x"}, "img_x"),
    ],
)
def test_a_picture_that_is_there_is_taken(body: dict[str, Any], task_id: str) -> None:
    """Whatever is missing or odd beside it, a url is a picture that was paid for."""
    accepted = _answers.decode_image(answer(body), "made-up")
    assert (accepted.task_ids, accepted.snapshots[0].state) == ((task_id,), TaskState.DONE)


@pytest.mark.parametrize(
    "body", [image(url=None), image(url=""), {"success": True}, {"success": True, "data": []}, [], "x", b""]
)
def test_success_without_a_url_is_outside_the_contract(body: Any) -> None:
    """It may have been charged: a doubt, not a refusal."""
    with pytest.raises(UnexpectedResponse):
        _answers.decode_image(answer(body), "made-up")


def test_a_picture_that_failed_is_a_failed_job() -> None:
    """A word instead of a url."""
    (snapshot,) = _answers.decode_image(answer(image(status="failed", url=None, error="no")), "made-up").snapshots
    assert (snapshot.state, snapshot.reason) == (TaskState.FAILED, "no")


V1_FAULT = {"code": "invalid_parameter", "message": "steps must be 20-50", "parameter": "steps"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "Generation ID is required"}, InvalidRequest),
        (401, {"error": "Invalid or missing API key"}, AuthenticationError),
        (402, {"error": "no credits"}, InsufficientCredits),
        (403, {"error": "an active subscription is needed"}, PermissionDenied),
        (404, {"error": "Generation not found"}, NotFound),
        (422, {"error": "bad width"}, InvalidRequest),
        (429, {"error": "One active generation at a time"}, RateLimited),
        (500, {"error": "internal"}, ServerError),
        (503, "<html>busy</html>", ServerError),
        (400, {"success": False, "error": V1_FAULT}, InvalidRequest),
        (429, {"success": False, "error": {"code": "rate_limit_exceeded", "message": "wait"}}, RateLimited),
        (400, {"error": "Your prompt was flagged by our moderation system"}, ContentRejected),
        (403, {"error": "Prompt flagged, please revise"}, ContentRejected),
        (422, {"error": {"message": "moderation: please revise"}}, ContentRejected),
        (401, {"error": "key flagged by moderation"}, AuthenticationError),
        (429, {"error": "flagged"}, RateLimited),
        (500, {"error": "flagged"}, ServerError),
        (400, "plain words", InvalidRequest),
        (400, "", InvalidRequest),
        (418, ["odd"], InvalidRequest),
        (400, {"error": ["odd"]}, InvalidRequest),
        (409, {"error": "A generation is already in progress"}, RateLimited),
        (200, {"success": False, "error": V1_FAULT}, InvalidRequest),
        (200, {"success": False, "error": {"code": "rate_limit_exceeded"}}, RateLimited),
        (200, {"success": False}, InvalidRequest),
        (200, {"error": "prompt flagged by moderation"}, ContentRejected),
        (201, {"error": "Too many requests"}, RateLimited),
        (302, "", InvalidRequest),
        (303, "", UnexpectedResponse),
    ],
)
@pytest.mark.parametrize("decoder", ["queued", "image", "status"])
def test_what_a_refusal_means(decoder: str, status: int, body: Any, error: type[AioweryError]) -> None:
    """The HTTP status decides, then the code, and words only refine; in both envelopes, and in none."""
    with pytest.raises(AioweryError) as caught:
        DECODERS[decoder](answer(body, status))
    assert type(caught.value) is error
    assert str(caught.value)


def test_a_refusal_keeps_what_it_was_told() -> None:
    """Status, code, words, the parameter at fault, the body, and the id for the call history."""
    with pytest.raises(InvalidRequest) as caught:
        _answers.decode_image(answer({"success": False, "error": V1_FAULT}, 400, x_request_id="r9"), "x")
    error = caught.value
    assert (error.http_status, error.code, error.request_id) == (400, "invalid_parameter", "r9")
    assert "parameter steps" in str(error)
    assert error.raw["error"] == V1_FAULT


PAST = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "hint", "seconds"),
    [
        ("12", 60, 12.0),
        ("1.5", None, 1.5),
        (PAST, 60, 0.0),
        (None, 45, 45.0),
        (None, "45", 45.0),
        (None, None, 60.0),
        ("soon", "soon", 60.0),
        (None, -5, 0.0),
        (None, True, 60.0),
    ],
)
def test_how_long_to_wait(header: str | None, hint: Any, seconds: float) -> None:
    """The header first, then the body, else a minute, which both editions mention."""
    headers = {} if header is None else {"retry_after": header}
    body = {"error": {"code": "rate_limit_exceeded", "message": "x", "retry_after": hint}}
    with pytest.raises(RateLimited) as caught:
        _answers.decode_queued(answer(body, 429, **headers))
    assert caught.value.retry_after == seconds


words = st.sampled_from(
    [
        "id",
        "status",
        "queued",
        "succeeded",
        "failed",
        "completed",
        "error",
        "success",
        "data",
        "output",
        "images",
        "url",
        "seed",
        "code",
        "message",
        "retry_after",
        "image_id",
        "parameters",
        "created_at",
        "queue_position",
        "models",
        "credits",
        "subscription",
        "endDate",
        "job",
        "https://x.example/1",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6), max_leaves=25
)
bodies = anything.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
statuses = st.sampled_from([200, 201, 202, 204, 301, 303, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503])


@pytest.mark.parametrize("decoder", DECODERS)
@given(body=bodies, status=statuses, retry_after=st.none() | st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_decoders_are_total(decoder: str, body: bytes, status: int, retry_after: str | None) -> None:
    """Whatever comes: a value from which a result can be made, a refusal, or an answer outside the contract."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    try:
        value = DECODERS[decoder](Answer(status, headers, body))
    except (APIError, UnexpectedResponse):
        return
    snapshots = value.snapshots if isinstance(value, Accepted) else ()
    if decoder == "status":
        snapshots = (value,)
    if snapshots:
        repr(GeneratedImage.of(snapshots, seconds=1.0, request_id=None))
