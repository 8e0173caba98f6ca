"""Responses of both editions, in every form that is documented or plausible, and in any other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._base.snapshot import TaskState
from aiowery._core.fields import fits_in_a_path, replace_surrogates
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Accepted
from aiowery.betterwaifu import GeneratedImage, _decode, _model_listing
from aiowery.betterwaifu._provider import BetterWaifuProvider
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
from tests.betterwaifu.responses import response
from tests.support.fake_betterwaifu import finished_job, finished_v1

Decode = Callable[[HttpResponse], Any]
DECODERS: dict[str, Decode] = {
    "queued": _decode.decode_queued,
    "image": partial(_decode.decode_image, fallback_id="made-up"),
    "status": partial(_decode.decode_status, job_id="job_1"),
    "models": _model_listing.decode_models,
    "account": _model_listing.decode_account,
}


def image(**data: Any) -> dict[str, Any]:
    """Return the v1-images response with other data. None leaves a member out."""
    members = {**finished_v1(1)["data"], **data}
    return {"success": True, "data": {name: value for name, value in members.items() if value is not None}}


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
        {"id": "job_1", "error": "the last one failed"},
        {"data": {"id": "job_1"}, "error": {"code": "deprecated", "message": "use v2"}},
        {"status": "ok", "data": {"id": "job_1"}},
    ],
)
def test_decode_queued_id_is_read_from_each_place(body: dict[str, Any], status: int) -> None:
    """The body of a 201 is not documented: a paid id must not be lost because of its place."""
    accepted = _decode.decode_queued(response(body, status))
    assert accepted.task_ids == ("job_1",)


def test_decode_queued_number_is_an_id() -> None:
    """Ids are opaque texts after decoding."""
    assert _decode.decode_queued(response({"id": 7}, 201)).task_ids == ("7",)


def test_decode_queued_finished_job_needs_no_poll() -> None:
    """A response with the pictures finishes the job."""
    (snapshot,) = _decode.decode_queued(response(finished_job(1), 201)).snapshots
    assert (snapshot.state, snapshot.assets[0].url) == (TaskState.DONE, "https://cdn.example.com/a/1.webp")


def test_decode_queued_success_without_pictures_is_polled() -> None:
    """The status may be about the submission only: polling is free, a lost picture is not."""
    accepted = _decode.decode_queued(response({"id": "job_1", "status": "succeeded", "output": {"images": []}}, 201))
    assert (accepted.task_ids, accepted.snapshots) == (("job_1",), ())


@pytest.mark.parametrize(
    "body", [{}, {"status": "queued"}, {"id": None}, {"id": ["x"]}, {"id": ".."}, [], "ok", b"<html>", b""]
)
def test_decode_queued_without_id_is_unexpected(body: Any) -> None:
    """Credits may have been charged, so the error is not a refusal, which would invite a repeat."""
    with pytest.raises(UnexpectedResponse):
        _decode.decode_queued(response(body, 201))


@pytest.mark.parametrize(
    ("data", "state", "position"),
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
        ({"status": "ok", "data": {"status": "queued", "queue_position": 4}}, TaskState.WAITING, 4),
        ({"status": "warming-up", "data": {"status": "odd"}}, TaskState.RUNNING, None),
        ({"status": "processing", "error": "slow today"}, TaskState.RUNNING, None),
    ],
)
def test_decode_status_running_job_has_queue_position(
    data: dict[str, Any], state: TaskState, position: int | None
) -> None:
    """An undocumented raw status counts as running. A queue position is reported if there is one."""
    snapshot = _decode.decode_status(response({"id": "job_1", **data}), "job_1")
    assert (snapshot.state, snapshot.queue_position, snapshot.assets) == (state, position, ())


def test_decode_status_succeeded_job_has_pictures_and_seed() -> None:
    """Each picture has its URL and id, and the output has one seed."""
    images = [{"url": f"https://x.example/{n}.webp", "id": f"i{n}"} for n in range(3)]
    snapshot = _decode.decode_status(
        response({"id": "job_1", "status": "succeeded", "output": {"images": images, "seed": "77"}}), "job_1"
    )
    result = GeneratedImage.from_snapshots([snapshot], seconds=1.0, request_id=None)
    assert result.urls == tuple(one["url"] for one in images)
    assert (result.image_ids, result.seed) == (("i0", "i1", "i2"), 77)
    assert {asset.task_id for asset in result.assets} == {"job_1"}


URL = "https://x.example/1.webp"


@pytest.mark.parametrize(
    "data",
    [
        {"output": {"images": [{"url": URL, "id": "i1"}]}},
        {"output": {"images": [None, {"id": "i0"}, {"url": 5}, {"url": URL, "image_id": "i1"}]}},
        {"output": {"images": {"url": URL, "id": "i1"}}},
        {"output": {"images": [{"url": "null"}, {"url": f" {URL}\n", "id": "i1"}]}},
        {"output": {"url": URL, "id": "i1"}},
        {"output": [{"url": URL, "id": "i1"}]},
        {"images": [{"url": URL, "id": "i1"}], "output": {"images": []}},
        {"images": [], "output": {"url": URL, "image_id": "i1"}},
        {"url": URL, "image_id": "i1", "id": "job_1"},
    ],
)
def test_decode_status_picture_is_read_from_each_place(data: dict[str, Any]) -> None:
    """A paid picture is not lost because an array is missing. Invalid neighbours are skipped."""
    snapshot = _decode.decode_status(response({"status": "succeeded", **data}), "job_1")
    result = GeneratedImage.from_snapshots([snapshot], seconds=1.0, request_id=None)
    assert (result.urls, result.image_ids) == ((URL,), ("i1",))


@pytest.mark.parametrize("output", [URL, [URL], {"images": [URL]}, {"images": URL}])
def test_decode_status_url_alone_is_a_picture(output: Any) -> None:
    """A text that is a URL is a picture without an id."""
    snapshot = _decode.decode_status(response({"status": "succeeded", "output": output}), "job_1")
    result = GeneratedImage.from_snapshots([snapshot], seconds=1.0, request_id=None)
    assert (result.urls, result.image_ids) == ((URL,), ())


@pytest.mark.parametrize("output", [None, {}, {"images": []}, {"images": None}, {"images": [{}]}, {"images": [5]}, "x"])
def test_decode_status_success_without_picture_is_empty(output: Any) -> None:
    """The job finishes, and its result is empty."""
    snapshot = _decode.decode_status(response({"id": "job_1", "status": "succeeded", "output": output}), "job_1")
    assert snapshot.state is TaskState.DONE
    assert GeneratedImage.from_snapshots([snapshot], seconds=1.0, request_id=None).is_empty


@pytest.mark.parametrize(
    ("error", "reason"),
    [("internal error", "internal error"), ({"message": "flagged"}, "flagged"), (None, None), (5, None)],
)
def test_decode_status_failed_job_has_reason(error: Any, reason: str | None) -> None:
    """HTTP 200 with the status `failed` is a failed job, not a refusal."""
    snapshot = _decode.decode_status(response({"id": "job_1", "status": "failed", "error": error}), "job_1")
    assert (snapshot.state, snapshot.reason) == (TaskState.FAILED, reason)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "job_1", "status": "failed", "success": False, "error": "boom"},
        {"success": False, "data": {"id": "job_1", "status": "failed"}, "error": {"message": "boom"}},
        {"data": {"status": "failed"}, "error": "boom"},
    ],
)
def test_decode_status_failed_job_is_final_in_any_envelope(body: dict[str, Any]) -> None:
    """The status ends the job. Read as a refused poll, it would keep the slot until the retries end."""
    snapshot = _decode.decode_status(response(body), "job_1")
    assert (snapshot.state, snapshot.reason) == (TaskState.FAILED, "boom")


@pytest.mark.parametrize("body", [{}, {"id": "job_1"}, {"status": 5}, [], "null", b"<html>oops", b""])
def test_decode_status_without_status_is_unexpected(body: Any) -> None:
    """The job continues and is polled again."""
    with pytest.raises(UnexpectedResponse):
        _decode.decode_status(response(body), "job_1")


def test_decode_image_has_id_seed_parameters_and_time() -> None:
    """The response of v1-images gives one picture with its id, seed, parameters and time of creation."""
    accepted = _decode.decode_image(response(finished_v1(1)), "made-up")
    result = GeneratedImage.from_snapshots(accepted.snapshots, seconds=0.0, request_id=None)
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
        ({**image(id=17), "error": {"code": "deprecated", "message": "use v2"}}, "img_000000000001"),
        ({"success": True, "url": "https://x.example/1.png", "error": "slow today"}, "made-up"),
    ],
)
def test_decode_image_url_with_invalid_neighbours_is_a_picture(body: dict[str, Any], task_id: str) -> None:
    """Whatever is missing or invalid beside it, a URL is a paid picture."""
    accepted = _decode.decode_image(response(body), "made-up")
    assert (accepted.task_ids, accepted.snapshots[0].state) == ((task_id,), TaskState.DONE)


@pytest.mark.parametrize(
    "body", [image(url=None), image(url=""), {"success": True}, {"success": True, "data": []}, [], "x", b""]
)
def test_decode_image_success_without_url_is_unexpected(body: Any) -> None:
    """Credits may have been charged: the submission is in doubt, not refused."""
    with pytest.raises(UnexpectedResponse):
        _decode.decode_image(response(body), "made-up")


@pytest.mark.parametrize(
    "body",
    [
        image(status="failed", url=None, error="no"),
        image(status="Failed", url=None, error={"message": "no"}),
        image(status="failed", url=None, message="no"),
        {**image(status="failed", url=None), "error": "no"},
    ],
)
def test_decode_image_failed_status_is_a_failed_job(body: dict[str, Any]) -> None:
    """A status instead of a URL gives a failed job with its reason."""
    (snapshot,) = _decode.decode_image(response(body), "made-up").snapshots
    assert (snapshot.state, snapshot.reason) == (TaskState.FAILED, "no")


def test_decode_image_id_of_picture_comes_first() -> None:
    """The entry's own number does not replace the id of the picture."""
    accepted = _decode.decode_image(response(image(id=17)), "made-up")
    assert (
        GeneratedImage.from_snapshots(accepted.snapshots, seconds=0.0, request_id=None).image_ids == accepted.task_ids
    )


def test_metadata_is_plain_json() -> None:
    """The manifest stores seed, ids and time of creation. The jobs edition reports no time."""
    accepted = _decode.decode_image(response(finished_v1(1)), "made-up")
    facts = GeneratedImage.from_snapshots(accepted.snapshots, seconds=0.0, request_id=None).metadata
    assert facts == {"seed": 42, "image_ids": ["img_000000000001"], "created_at": "2024-01-15T10:30:00+00:00"}
    polled = _decode.decode_status(response(finished_job(2)), "job_2")
    facts = GeneratedImage.from_snapshots([polled], seconds=0.0, request_id=None).metadata
    assert facts == {"seed": 1_234_567_890, "image_ids": ["img2"]}


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
        (400, {"error": "Prompt contains too many tags"}, InvalidRequest),
        (400, {"error": "Too many generations, please wait"}, RateLimited),
        (400, {"error": "Bad Request", "message": "Your prompt was flagged by moderation"}, ContentRejected),
        (400, {"error": "slow down", "code": "rate_limit_exceeded"}, RateLimited),
        (400, {"error": {"code": "invalid_parameter", "message": "cool down is no parameter"}}, InvalidRequest),
        (401, {"error": {"code": "rate_limit_exceeded", "message": "x"}}, RateLimited),
        (404, {"error": {"code": "invalid_parameter", "message": "x"}}, NotFound),
        (500, {"error": {"code": "rate_limit_exceeded", "message": "x"}}, RateLimited),
        (503, {"error": {"code": "internal", "message": "rate limit"}}, ServerError),
        (429, b"\xff\xfe<html>", RateLimited),
        (200, {"success": False, "error": V1_FAULT}, InvalidRequest),
        (200, {"success": False, "error": {"code": "rate_limit_exceeded"}}, RateLimited),
        (200, {"success": False}, InvalidRequest),
        (200, {"success": False, "status": "failed"}, InvalidRequest),
        (200, {"status": 400, "error": "bad width"}, InvalidRequest),
        (200, {"error": "prompt flagged by moderation"}, ContentRejected),
        (201, {"error": "Too many requests"}, RateLimited),
        (302, "", UnexpectedResponse),
        (303, "", UnexpectedResponse),
    ],
)
@pytest.mark.parametrize("decoder", ["queued", "image", "status"])
def test_response_error_status_decides_before_code_and_text(
    decoder: str, status: int, body: Any, error: type[AioweryError]
) -> None:
    """A code of load decides, then the HTTP status, then other codes. The text only refines, also without envelope."""
    with pytest.raises(AioweryError) as caught:
        DECODERS[decoder](response(body, status))
    assert type(caught.value) is error
    assert str(caught.value)


@pytest.mark.parametrize(("characters", "error"), [(290, RateLimited), (291, InvalidRequest)])
def test_response_error_text_decides_by_first_300_characters(characters: int, error: type[AioweryError]) -> None:
    """The first 300 characters decide the type of the error, which has the whole message."""
    with pytest.raises(AioweryError, match="rate limit") as caught:
        DECODERS["queued"](response({"error": "x" * characters + "rate limit"}, 400))
    assert type(caught.value) is error


def test_response_error_keeps_all_reported_facts() -> None:
    """The error has status, code, text, parameter, body and request id."""
    with pytest.raises(InvalidRequest) as caught:
        _decode.decode_image(response({"success": False, "error": V1_FAULT}, 400, x_request_id="r9"), "x")
    error = caught.value
    assert (error.http_status, error.code, error.request_id) == (400, "invalid_parameter", "r9")
    assert "parameter steps" in str(error)
    assert error.raw["error"] == V1_FAULT


@pytest.mark.parametrize(
    ("ids", "is_own"),
    [
        ({"id": "job_1"}, True),
        ({"job_id": "job_1", "id": "job_2"}, True),
        ({"id": "job_2", "data": {"id": "job_1"}}, True),
        ({"data": {"status": "succeeded"}}, True),
        ({"id": " "}, True),
        ({"id": "job_2"}, False),
        ({"generation_id": "job_2"}, False),
        ({"data": {"id": "job_2"}}, False),
        ({"job": {"job_id": 7}}, False),
        ({"id": "job_2", "error": "flagged", "success": False}, False),
    ],
)
def test_decode_status_of_another_job_is_unexpected(ids: dict[str, Any], is_own: bool) -> None:
    """A status that names jobs, but not the requested one, is not read, wherever the ids are."""
    body = response({"status": "succeeded", "output": URL, **ids})
    if is_own:
        assert _decode.decode_status(body, "job_1").task_id == "job_1"
        return
    with pytest.raises(UnexpectedResponse, match=r"job_1 was requested, the response is about (job_2|7)"):
        _decode.decode_status(body, "job_1")


PAST = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "hint", "seconds"),
    [
        ("12", 60, 12.0),
        ("1.5", None, 1.5),
        (PAST, 60, 60.0),
        ("-1", 45, 45.0),
        (None, 45, 45.0),
        (None, "45", 45.0),
        (None, None, 60.0),
        ("soon", "soon", 60.0),
        (None, -5, 60.0),
        (None, True, 60.0),
    ],
)
def test_retry_after_header_comes_before_body(header: str | None, hint: Any, seconds: float) -> None:
    """The header decides, then the body, else the documented minute."""
    headers = {} if header is None else {"retry_after": header}
    body = {"error": {"code": "rate_limit_exceeded", "message": "x", "retry_after": hint}}
    with pytest.raises(RateLimited) as caught:
        _decode.decode_queued(response(body, 429, **headers))
    assert caught.value.retry_after == seconds


def test_retry_after_beside_plain_text_error_is_read() -> None:
    """If the error is a plain text, its neighbours hold the seconds and the reason."""
    body = {"error": "Too Many Requests", "message": "one at a time", "retry_after": 7}
    with pytest.raises(RateLimited, match="one at a time") as caught:
        _decode.decode_queued(response(body, 429))
    assert caught.value.retry_after == 7


def test_retry_after_date_counts_from_now() -> None:
    """A date in the header gives seconds from now and comes before the body."""
    moment = datetime.now(UTC) + timedelta(minutes=5)
    with pytest.raises(RateLimited) as caught:
        _decode.decode_queued(response({"error": {"retry_after": 7}}, 429, retry_after=format_datetime(moment)))
    assert 240 < (caught.value.retry_after or 0) <= 300


texts = st.sampled_from(
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
        "2024-01-15T10:30:00Z",
        "0001-01-01T00:00:00+23:59",
        "https://x.example/1",
        "\ud800",
        "9" * 25,
    ]
)
numbers = st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 1e308])
scalars = st.none() | st.booleans() | numbers | st.text(st.characters(codec=None), max_size=8) | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=6), max_leaves=25
)
pictures = st.fixed_dictionaries({"url": st.just(URL) | scalars}, optional={"id": scalars, "image_id": scalars})
outputs = st.fixed_dictionaries({"images": st.lists(pictures | scalars, max_size=3) | anything, "seed": scalars})
values = st.fixed_dictionaries(
    {"status": texts | scalars, "id": scalars},
    optional={
        "output": outputs | anything,
        "parameters": anything,
        "created_at": texts | scalars,
        "error": anything,
        "success": scalars,
        "url": scalars,
        "image_id": scalars,
        "queue_position": scalars,
        "models": st.lists(st.dictionaries(texts, scalars, max_size=4) | scalars, max_size=3) | anything,
        "credits": scalars,
        "subscription": st.dictionaries(texts, scalars, max_size=4) | scalars,
    },
)
enveloped = values | st.fixed_dictionaries({"data": values}, optional={"success": scalars, "error": anything})
bodies = (enveloped | anything).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
statuses = st.sampled_from([200, 201, 202, 204, 301, 303, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503])


@pytest.mark.parametrize("decoder", DECODERS)
@given(body=bodies, status=statuses, retry_after=st.none() | st.text(max_size=6))
def test_decoders_any_response_gives_value_or_known_error(
    decoder: str, body: bytes, status: int, retry_after: str | None
) -> None:
    """Any response gives a value that makes a result, a refusal, or UnexpectedResponse."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    try:
        value = DECODERS[decoder](HttpResponse(status, headers, body))
    except (APIError, UnexpectedResponse):
        return
    assert 200 <= status < 300
    snapshots = value.snapshots if isinstance(value, Accepted) else ()
    if decoder == "status":
        snapshots = (value,)
    if isinstance(value, Accepted):
        assert all(map(fits_in_a_path, value.task_ids))
        assert value.task_ids
    if snapshots:
        result = GeneratedImage.from_snapshots(
            [GeneratedImage.interpret(one) for one in snapshots], seconds=1.0, request_id=None
        )
        assert result.is_empty == (not result.urls)
        assert all(type(url) is str and url for url in result.urls)
        json.dumps(result.metadata, allow_nan=False)
        repr(value)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("frame", ["%s", '{"id":"job_1","status":"succeeded","output":%s}', '{"models":[%s]}'])
def test_decoders_any_depth_gives_value_or_known_error(decoder: str, frame: str) -> None:
    """Nesting beyond the interpreter's limit raises UnexpectedResponse."""
    for depth in (1, 500, 1_000, 100_000):
        with contextlib.suppress(APIError, UnexpectedResponse):
            DECODERS[decoder](response(frame.replace("%s", "[" * depth + "]" * depth)))


@given(job_id=st.text(st.characters(codec=None), max_size=12) | st.integers(), place=st.sampled_from(["data", None]))
@example(job_id="../account", place=None)
@example(job_id="a/b?c#d%2f", place=None)
def test_status_request_any_accepted_id_is_one_path_segment(job_id: str | int, place: str | None) -> None:
    """The status request of an accepted id has one path segment that means exactly this id."""
    body: dict[str, Any] = {"id": job_id} if place is None else {place: {"id": job_id}}
    try:
        accepted = _decode.decode_queued(response(body, 201))
    except UnexpectedResponse:
        assert not fits_in_a_path(str(job_id))
        return
    request = BetterWaifuProvider("jobs").status_request(accepted.task_ids[0])
    *before, segment = request.path.split("/")
    assert before == ["", "generate"]
    assert unquote(segment) == replace_surrogates(str(job_id))
    assert request.path.isascii()
    assert segment not in {"", ".", ".."}
