"""The documented response of each endpoint, and its known variations, as values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiowery import Asset, ScriptLine, Snapshot, TaskState
from aiowery._core.media import File, validate_upload
from aiowery._core.messages import HttpResponse, MultipartForm
from aiowery._core.request import Accepted
from aiowery.errors import APIError, AuthenticationError, InvalidRequest, RateLimited, ServerError, UnexpectedResponse
from aiowery.weryai import REQUESTS, DeepResearch
from aiowery.weryai._decode import decode_balance, decode_batch, decode_delivery, decode_status, decode_upload
from aiowery.weryai._provider import (
    CHAT_MODELS,
    IMAGE_MODELS,
    VIDEO_MODELS,
    WeryAIProvider,
    speakers_request,
)
from tests.weryai.request_samples import smallest
from tests.weryai.responses import enveloped, json_response

DIRECT = {"image-to-prompt", "corpus-upload", "chat"}
TASKS = [name for name in REQUESTS if name not in DIRECT]
TASK = "task_q7r1"
URL = "https://cdn.example/r/1"


def submitted(name: str, response: HttpResponse) -> Accepted:
    """Decode the response to the submission of a small request of this name."""
    return WeryAIProvider().decode_submission(smallest(name), response)


def status(data: dict[str, Any]) -> Snapshot:
    """Decode a status response about the one task."""
    return decode_status(enveloped({"task_id": TASK, "task_status": "SUCCESS", **data}), TASK)


SHAPES: dict[str, tuple[HttpResponse, Accepted]] = {
    "a batch of tasks": (
        enveloped({"batch_id": 900417, "task_ids": ["task_k3m9", "task_k3m8"]}),
        Accepted(task_ids=("task_k3m9", "task_k3m8"), provider_batch_id="900417"),
    ),
    "one task": (enveloped({"task_id": TASK, "task_status": "waiting"}), Accepted(task_ids=(TASK,))),
    "an interaction": (
        enveloped({"interaction_id": "int_5", "task_id": "task_z8", "status": "processing"}),
        Accepted(task_ids=("task_z8",)),
    ),
    "the podcast's envelope": (
        json_response(
            {
                "status": 200,
                "desc": "Success",
                "message": "Success",
                "success": True,
                "data": {"task_id": "Ab12Cd34", "task_status": "waiting"},
            }
        ),
        Accepted(task_ids=("Ab12Cd34",)),
    ),
    "unknown values and keys": (
        enveloped({"task_id": 7, "task_status": "dreaming", "queue": {"length": 3}}, trace={"id": 5}),
        Accepted(task_ids=("7",)),
    ),
    "a request id": (
        enveloped({"task_id": TASK}, request_id="req-9"),
        Accepted(task_ids=(TASK,), request_id="req-9"),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TASKS)
def test_decode_submission_any_known_form_is_read_for_each_endpoint(name: str, shape: str) -> None:
    """Forms have moved between endpoints, so each endpoint reads every form."""
    response, accepted = SHAPES[shape]
    assert submitted(name, response) == accepted


@pytest.mark.parametrize("name", TASKS)
def test_decode_submission_success_without_id_is_unexpected(name: str) -> None:
    """Work may have begun that cannot be polled: the response is an error, not a value."""
    empty: tuple[Any, ...] = ({}, None, [], {"task_ids": []}, {"task_id": ""}, {"batch_id": 5})
    for data in empty:
        with pytest.raises(UnexpectedResponse):
            submitted(name, enveloped(data))


@pytest.mark.parametrize("name", REQUESTS)
def test_decode_submission_refusal_is_read_for_each_endpoint(name: str) -> None:
    """A refusal comes in the envelope, by HTTP status, or without a body."""
    with pytest.raises(AuthenticationError, match="Authentication failed"):
        submitted(name, json_response({"status": 1002, "desc": "Authentication failed", "data": None}))
    with pytest.raises(RateLimited):
        submitted(name, json_response({"message": "slow down"}, 429))
    with pytest.raises(ServerError):
        submitted(name, HttpResponse(502, {}, b"<html></html>"))
    with pytest.raises(UnexpectedResponse):
        submitted(name, HttpResponse(200, {}, b""))


CHAT: dict[str, Any] = {
    "id": "chat-9",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "GPT_4O",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5},
}


def test_decode_submission_chat_returns_finished_snapshot() -> None:
    """A chat response has no envelope and no task: it gives one finished snapshot, with the response as `raw`."""
    accepted = submitted("chat", json_response(CHAT, headers={"x-request-id": "req-9"}))
    (snapshot,) = accepted.snapshots
    assert accepted.task_ids == ("chat-9",)
    assert (snapshot.task_id, snapshot.state, snapshot.text) == ("chat-9", TaskState.DONE, "hi")
    assert snapshot.raw == CHAT
    assert accepted.request_id == "req-9"


def test_decode_submission_chat_joins_all_choices() -> None:
    """Several choices are joined by a blank line. Choices of an unknown form are skipped."""
    choices = [{"message": {"content": "one"}}, "odd", {"message": None}, {"message": {"content": "two"}}]
    (snapshot,) = submitted("chat", json_response({**CHAT, "choices": choices})).snapshots
    assert snapshot.text is not None
    assert snapshot.text.split() == ["one", "two"]


@pytest.mark.parametrize("choices", [[], None, {}, "text", 7], ids=repr)
def test_decode_submission_chat_without_choices_is_unexpected(choices: Any) -> None:
    """A successful HTTP status alone is not a result."""
    for body in ({"id": "chat-9", "choices": choices}, {"id": "chat-9"}):
        with pytest.raises(UnexpectedResponse):
            submitted("chat", json_response(body))


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        (
            json_response({"status": 1001, "message": "messages cannot be empty"}),
            InvalidRequest,
            "messages cannot be empty",
        ),
        (json_response({"status": 1002, "message": "invalid API key"}), AuthenticationError, "invalid API key"),
        (
            json_response({"error": {"message": "no such model", "type": "invalid_request_error"}}, 400),
            InvalidRequest,
            "no such model",
        ),
        (
            json_response({"error": {"message": "Incorrect API key", "code": None}}, 401),
            AuthenticationError,
            "Incorrect API",
        ),
        (json_response({"error": {"message": "busy"}}, 429), RateLimited, "busy"),
        (
            json_response({"error": {"message": "Rate limit reached"}, "status": 1001}),
            RateLimited,
            "Rate limit reached",
        ),
        (json_response({"error": {"message": 7}}, 500), ServerError, "HTTP 500"),
        (json_response({"error": "plain words"}, 500), ServerError, "plain words"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_decode_submission_chat_error_is_read_in_both_forms(
    response: HttpResponse, error: type[APIError], text: str
) -> None:
    """The provider's text is kept, in the envelope or in OpenAI's form."""
    with pytest.raises(error, match=text):
        submitted("chat", response)


def test_decode_submission_image_to_prompt_returns_text() -> None:
    """The prompt is the text, and its cost stays in `raw`."""
    accepted = submitted("image-to-prompt", enveloped({"prompt": "a tin robot on a beach", "cost_mill": 812}))
    (snapshot,) = accepted.snapshots
    assert (snapshot.state, snapshot.text) == (TaskState.DONE, "a tin robot on a beach")
    assert snapshot.raw["cost_mill"] == 812
    assert accepted.task_ids == (snapshot.task_id,)
    assert snapshot.task_id


def test_decode_submission_corpus_upload_returns_store_name() -> None:
    """The name of the store is the text, and the rest stays in `raw`."""
    data = {"name": "fileSearchStores/demo-1", "uploaded_count": 1}
    (snapshot,) = submitted("corpus-upload", enveloped(data)).snapshots
    assert (snapshot.state, snapshot.text, snapshot.raw) == (TaskState.DONE, "fileSearchStores/demo-1", data)


@pytest.mark.parametrize("name", ["image-to-prompt", "corpus-upload"])
@pytest.mark.parametrize(
    "data", [{}, {"prompt": None, "name": None}, {"prompt": 7, "name": ""}, [], None, "text"], ids=str
)
def test_decode_submission_direct_response_without_output_is_unexpected(name: str, data: Any) -> None:
    """A success without the requested output is an error."""
    with pytest.raises(UnexpectedResponse):
        submitted(name, enveloped(data))


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ("All of it.", "All of it."),
        (["One.", "Two."], "One.\n\nTwo."),
        ([{"type": "text", "text": "One."}, {"type": "image", "url": URL}], "One."),
        ({"outputs": [{"content": {"parts": [{"text": "Deep."}]}}]}, "Deep."),
    ],
    ids=str,
)
def test_decode_submission_research_with_model_returns_report(outputs: Any, text: str) -> None:
    """`deep_research_outputs` in the response is the report, in any nesting."""
    response = enveloped({"interaction_id": "int_5", "status": "completed", "deep_research_outputs": outputs})
    request = DeepResearch(input="tides", model="GEMINI_25_PRO")
    accepted = WeryAIProvider().decode_submission(request, response)
    (snapshot,) = accepted.snapshots
    assert (snapshot.state, snapshot.text, accepted.task_ids) == (TaskState.DONE, text, ("int_5",))
    assert snapshot.raw["interaction_id"] == "int_5"


@pytest.mark.parametrize("outputs", [None, [], "", " ", {}, 7, [{"image": URL}]], ids=str)
def test_decode_submission_research_with_empty_report_keeps_task(outputs: Any) -> None:
    """A task id beside an empty report is a running task."""
    response = enveloped({"task_id": TASK, "status": "processing", "deep_research_outputs": outputs})
    assert submitted("deep-research", response) == Accepted(task_ids=(TASK,))


@pytest.mark.parametrize(
    ("data", "assets"),
    [
        ({"images": [f"{URL}.png", f"{URL}b.png"]}, [Asset(f"{URL}.png"), Asset(f"{URL}b.png")]),
        ({"images": [{"image_url": f"{URL}.png"}]}, [Asset(f"{URL}.png")]),
        ({"videos": [f"{URL}.mp4"]}, [Asset(f"{URL}.mp4", "video")]),
        (
            {"videos": [{"url": f"{URL}.mp4", "cover_image_url": f"{URL}.jpg"}]},
            [Asset(f"{URL}.mp4", "video", f"{URL}.jpg")],
        ),
        (
            {"videos": [{"video_url": f"{URL}.mp4", "cover_url": f"{URL}.jpg", "width": 5}]},
            [Asset(f"{URL}.mp4", "video", f"{URL}.jpg")],
        ),
        (
            {"audios": [f"{URL}.mp3"], "cover_url": f"{URL}.jpg"},
            [Asset(f"{URL}.mp3", "audio", f"{URL}.jpg")],
        ),
        ({"audios": [{"audio_url": f"{URL}.mp3"}]}, [Asset(f"{URL}.mp3", "audio")]),
        ({"video_url": f"{URL}.mp4"}, [Asset(f"{URL}.mp4", "video")]),
        ({"video_urls": [f"{URL}.mp4"]}, [Asset(f"{URL}.mp4", "video")]),
        ({"audio_url": f"{URL}.mp3"}, [Asset(f"{URL}.mp3", "audio")]),
        ({"images": ["null", f" {URL}.png\n", "iVBORw0KGgo=", {"url": "none"}]}, [Asset(f"{URL}.png")]),
        ({"images": [{"url": "null", "image_url": f"\t{URL}.png "}]}, [Asset(f"{URL}.png")]),
        ({"images": ["data:image/png;base64,AA=="]}, [Asset("data:image/png;base64,AA==")]),
        (
            {"videos": [{"url": f"{URL}.mp4", "cover_url": "null"}], "cover_url": f" {URL}.jpg"},
            [Asset(f"{URL}.mp4", "video", f"{URL}.jpg")],
        ),
        ({"task_result": {"images": [f"{URL}.png"]}}, [Asset(f"{URL}.png")]),
        ({"output": {"videos": [f"{URL}.mp4"]}}, [Asset(f"{URL}.mp4", "video")]),
        (
            {"images": [f"{URL}.png"], "videos": [f"{URL}.mp4"]},
            [Asset(f"{URL}.png"), Asset(f"{URL}.mp4", "video")],
        ),
    ],
    ids=str,
)
def test_decode_status_outputs_are_read_from_each_place(data: dict[str, Any], assets: list[Asset]) -> None:
    """Pictures, videos and sounds are URLs or objects, with covers, at the top or in a fallback place."""
    found = [(asset.url, asset.kind, asset.cover_url) for asset in status(data).assets]
    assert found == [(asset.url, asset.kind, asset.cover_url) for asset in assets]
    assert all(asset.task_id == TASK for asset in status(data).assets)


SCRIPT = [
    {"speaker_id": "spk-en-07", "speaker_name": "Mira", "content": "Hello"},
    {"speaker_id": "spk-en-08", "content": "Hi"},
]
SCRIPT_LINES = (ScriptLine("spk-en-07", "Hello", "Mira"), ScriptLine("spk-en-08", "Hi"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"lyrics": "la la"}, "la la"),
        ({"speech_text": "Good morning."}, "Good morning."),
        ({"deep_research_outputs": [{"text": "A report."}]}, "A report."),
        ({"scripts": SCRIPT}, "Mira: Hello\nspk-en-08: Hi"),
        ({"script": SCRIPT}, "Mira: Hello\nspk-en-08: Hi"),
        ({"lyrics": 7, "speech_text": None, "scripts": "odd"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_decode_status_text_outputs_are_the_text(data: dict[str, Any], text: str | None) -> None:
    """Lyrics, a transcript, a report and the turns of a podcast become `text`."""
    assert status(data).text == text


@pytest.mark.parametrize("name", ["scripts", "script"])
def test_decode_status_invalid_podcast_turn_is_skipped(name: str) -> None:
    """A turn without content does not affect the other turns."""
    odd = [None, "x", {}, {"speaker_id": "a", "content": " "}, {"content": "Lost voice", "speaker_name": 7}]
    found = status({name: [*SCRIPT, *odd], "content_status": "text-success"})
    assert found.script == (*SCRIPT_LINES, ScriptLine("", "Lost voice"))
    assert found.substatus == "text-success"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"msg": "refused"}, "refused"),
        ({"message": "refused"}, "refused"),
        ({"msg": "vague", "task_result": {"message": "precise"}}, "precise"),
        ({"msg": {"no": "text"}}, None),
    ],
    ids=str,
)
def test_decode_status_failed_task_has_reason(data: dict[str, Any], reason: str | None) -> None:
    """The more precise text is the reason. A value that is not a text is none."""
    found = status({**data, "task_status": "FAILED"})
    assert (found.state, found.reason) == (TaskState.FAILED, reason)


def test_decode_status_undocumented_values_are_kept() -> None:
    """An unknown raw status counts as running, and unknown keys stay in `raw`."""
    data = {"task_id": TASK, "task_status": "Dreaming", "content_status": "music-success", "mood": {"a": [1]}}
    found = decode_status(enveloped(data, extra="x"), TASK)
    assert (found.state, found.raw_status, found.substatus) == (TaskState.RUNNING, "Dreaming", "music-success")
    assert found.raw == data


@pytest.mark.parametrize(
    ("data", "is_own"),
    [
        ({"task_id": "task_k3m9"}, True),
        ({"task_ids": ["task_k3m9"]}, True),
        ([{"task_id": "other"}, {"task_id": "task_k3m9"}], True),
        ({}, True),
        ([{}], True),
        ({"task_id": "other"}, False),
        ({"task_id": 7}, False),
        ({"task_ids": ["other"]}, False),
        ({"task_id": "other", "task_ids": ["task_k3m9"]}, False),
        ([{}, {"task_id": "other"}], False),
    ],
)
def test_decode_status_of_another_task_is_unexpected(data: Any, is_own: bool) -> None:
    """A status that names tasks, but not the requested one, is not read, wherever the ids are."""
    items = [{"task_status": "SUCCESS", **item} for item in (data if isinstance(data, list) else [data])]
    body = enveloped(items if isinstance(data, list) else items[0])
    if is_own:
        snapshot = decode_status(body, "task_k3m9")
        assert (snapshot.task_id, snapshot.state) == ("task_k3m9", TaskState.DONE)
        return
    with pytest.raises(UnexpectedResponse, match=r"task_k3m9 was requested, the response is about (other|7)"):
        decode_status(body, "task_k3m9")


def test_decode_documented_batch_balance_and_upload_are_read() -> None:
    """Batch, balance and upload responses are read as documented and as observed."""
    batch = [{"task_id": "task_a1", "task_status": "succeed", "videos": [f"{URL}.mp4"]}, {"task_id": "task_a2"}]
    assert [snapshot.state for snapshot in decode_batch(enveloped(batch))] == [TaskState.DONE, TaskState.RUNNING]
    assert decode_balance(enveloped(731)) == decode_balance(enveloped({"balance": 731})) == 731.0
    urls = {"object_url_list": ["https://static.weryai.com/growth/demo/f1.png", "https://other"]}
    assert decode_upload(enveloped(urls)) == "https://static.weryai.com/growth/demo/f1.png"
    assert decode_upload(enveloped({"object_url_list": [None, "", 7, "//cdn.example/r/1", f" {URL}\n"]})) == URL


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"object_url_list": None},
        {"object_url_list": []},
        {"object_url_list": ["//cdn.example/r/1", "f1.png"]},
        URL,
        [URL],
    ],
    ids=str,
)
def test_decode_upload_without_url_is_unexpected(data: Any) -> None:
    """A file without a URL is not uploaded."""
    with pytest.raises(UnexpectedResponse, match="no url of the uploaded file") as caught:
        decode_upload(enveloped(data))
    assert caught.value.faults == ("$.data.object_url_list: urls are expected",)


def test_decode_upload_refusal_keeps_provider_text() -> None:
    """The provider's text about the file is passed on."""
    with pytest.raises(InvalidRequest, match="content does not match extension"):
        decode_upload(json_response({"status": 1002, "msg": "content does not match extension"}))


DELIVERED = {"task_id": TASK, "task_status": "SUCCESS", "images": [f"{URL}.png"]}


@pytest.mark.parametrize(
    ("data", "state", "urls"),
    [
        (DELIVERED, TaskState.DONE, [f"{URL}.png"]),
        ([DELIVERED], TaskState.DONE, [f"{URL}.png"]),
        ({**DELIVERED, "task_status": "succeed"}, TaskState.DONE, [f"{URL}.png"]),
        ({"task_id": 7, "task_status": "FAILED", "msg": "refused"}, TaskState.FAILED, []),
        ({"task_id": TASK, "task_status": "SUCCESS", "videos": [f"{URL}.mp4"]}, TaskState.DONE, [f"{URL}.mp4"]),
    ],
    ids=str,
)
def test_decode_delivery_is_read_like_a_status_response(data: Any, state: TaskState, urls: list[str]) -> None:
    """A webhook delivery reports the finished task, its state and its outputs."""
    body = json.dumps({"status": 0, "desc": "success", "message": "success", "data": data}).encode()
    found = decode_delivery(body)
    assert found.task_id in {TASK, "7"}
    assert (found.state, [asset.url for asset in found.assets]) == (state, urls)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b"{}",
        b'{"status":0}',
        b'{"status":0,"data":{}}',
        b'{"status":0,"data":[]}',
        b'{"status":0,"data":{"task_id":""}}',
        b'{"status":0,"data":{"task_id":null,"task_status":"SUCCESS"}}',
        b'{"status":0,"data":[{"task_status":"SUCCESS"}]}',
        b'{"status":0,"data":"task_q7r1"}',
    ],
    ids=repr,
)
def test_decode_delivery_without_task_is_unexpected(body: bytes) -> None:
    """Any client can POST to a webhook: a body without a task id raises UnexpectedResponse."""
    with pytest.raises(UnexpectedResponse):
        decode_delivery(body)


@pytest.mark.parametrize("body", [b'{"status":1001,"msg":"x"}', b'{"status":500}', b'{"status":"no"}'], ids=repr)
def test_decode_delivery_refusal_is_unexpected(body: bytes) -> None:
    """A forged refusal must not look like the provider's report about the key or its credits."""
    with pytest.raises(UnexpectedResponse):
        decode_delivery(body)


def test_upload_request_is_a_form() -> None:
    """A file is the part `file` with its media type. `fixed` is a text, and a batch number is sent only if given."""
    file = validate_upload(File(b"\x89PNG\r\n\x1a\n", "a.png"))
    request = WeryAIProvider().upload_request(file)
    assert (request.method, request.path, request.host, request.body) == (
        "POST",
        "/v1/generation/upload-file",
        "main",
        None,
    )
    assert request.form == MultipartForm(
        filename="a.png", content=file.content, content_type="image/png", fields={"fixed": "false"}
    )
    other = WeryAIProvider().upload_request(file, legacy=True, batch_no="b-1", fixed=True)
    assert (other.path, other.host) == ("/growthai/v1/generation/upload-file", "models")
    assert other.form is not None
    assert other.form.fields == {"fixed": "true", "batch_no": "b-1"}
    assert request.timeout == other.timeout == 180.0


def test_read_requests_have_documented_paths_and_hosts() -> None:
    """Two registries are on a host of their own. Speakers can be requested by language."""
    requests = [
        IMAGE_MODELS,
        VIDEO_MODELS,
        CHAT_MODELS,
        speakers_request(None),
        speakers_request("en"),
        speakers_request("a&b=c"),
    ]
    assert [(request.method, request.host, request.path) for request in requests] == [
        ("GET", "models", "/growthai/v1/image/models"),
        ("GET", "models", "/growthai/v1/video/models"),
        ("GET", "main", "/v1/chat/models"),
        ("GET", "main", "/v1/generation/podcast/speakers/list"),
        ("GET", "main", "/v1/generation/podcast/speakers/list?language=en"),
        ("GET", "main", "/v1/generation/podcast/speakers/list?language=a%26b%3Dc"),
    ]
    assert all(request.body is None and request.form is None for request in requests)
