"""The documented answer of each endpoint, and its known variations, as our values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from weryai.filled import smallest

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

AT_ONCE = {"image-to-prompt", "corpus-upload", "chat"}
TASKS = [name for name in REQUESTS if name not in AT_ONCE]
TASK = "task_q7r1"
URL = "https://cdn.example/r/1"


def answer(body: Any, http_status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """Make an answer of a JSON body."""
    return HttpResponse(http_status, headers or {}, json.dumps(body).encode())


def enveloped(data: Any, **more: Any) -> HttpResponse:
    """Make a successful answer in the envelope."""
    return answer({"status": 0, "desc": "success", "message": "success", "data": data, **more})


def submitted(name: str, said: HttpResponse) -> Accepted:
    """Read the answer to the submission of a small request of this name."""
    return WeryAIProvider().decode_submission(smallest(name), said)


def status(data: dict[str, Any]) -> Snapshot:
    """Read what a status answer says of our task."""
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
        answer(
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
    "unknown words and keys": (
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
def test_every_endpoint_understands_every_shape_of_a_submission(name: str, shape: str) -> None:
    """Shapes have wandered between endpoints: each is read for each."""
    said, accepted = SHAPES[shape]
    assert submitted(name, said) == accepted


@pytest.mark.parametrize("name", TASKS)
def test_success_without_an_id_is_outside_the_contract(name: str) -> None:
    """Work may have begun that nobody can ask about: that is no value."""
    empty: tuple[Any, ...] = ({}, None, [], {"task_ids": []}, {"task_id": ""}, {"batch_id": 5})
    for data in empty:
        with pytest.raises(UnexpectedResponse):
            submitted(name, enveloped(data))


@pytest.mark.parametrize("name", REQUESTS)
def test_every_endpoint_understands_a_refusal(name: str) -> None:
    """In the envelope, by HTTP status, and as nothing at all."""
    with pytest.raises(AuthenticationError, match="Authentication failed"):
        submitted(name, answer({"status": 1002, "desc": "Authentication failed", "data": None}))
    with pytest.raises(RateLimited):
        submitted(name, answer({"message": "slow down"}, 429))
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


def test_a_chat_answers_at_once() -> None:
    """No envelope and no task: one ended snapshot under the answer's own id, with the answer as `raw`."""
    accepted = submitted("chat", answer(CHAT, headers={"x-request-id": "req-9"}))
    (snapshot,) = accepted.snapshots
    assert accepted.task_ids == ("chat-9",)
    assert (snapshot.task_id, snapshot.state, snapshot.text) == ("chat-9", TaskState.DONE, "hi")
    assert snapshot.raw == CHAT
    assert accepted.request_id == "req-9"


def test_all_choices_of_a_chat_are_there() -> None:
    """Several answers are parted by a blank line; choices in a shape that is unknown cost nothing but themselves."""
    choices = [{"message": {"content": "one"}}, "odd", {"message": None}, {"message": {"content": "two"}}]
    (snapshot,) = submitted("chat", answer({**CHAT, "choices": choices})).snapshots
    assert snapshot.text is not None
    assert snapshot.text.split() == ["one", "two"]


@pytest.mark.parametrize("choices", [[], None, {}, "text", 7], ids=repr)
def test_a_chat_without_choices_is_no_answer(choices: Any) -> None:
    """A successful HTTP status alone says nothing."""
    for body in ({"id": "chat-9", "choices": choices}, {"id": "chat-9"}):
        with pytest.raises(UnexpectedResponse):
            submitted("chat", answer(body))


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (answer({"status": 1001, "message": "messages cannot be empty"}), InvalidRequest, "messages cannot be empty"),
        (answer({"status": 1002, "message": "invalid API key"}), AuthenticationError, "invalid API key"),
        (
            answer({"error": {"message": "no such model", "type": "invalid_request_error"}}, 400),
            InvalidRequest,
            "no such model",
        ),
        (answer({"error": {"message": "Incorrect API key", "code": None}}, 401), AuthenticationError, "Incorrect API"),
        (answer({"error": {"message": "busy"}}, 429), RateLimited, "busy"),
        (answer({"error": {"message": "Rate limit reached"}, "status": 1001}), RateLimited, "Rate limit reached"),
        (answer({"error": {"message": 7}}, 500), ServerError, "HTTP 500"),
        (answer({"error": "plain words"}, 500), ServerError, "plain words"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_chats_error_comes_in_either_form(said: HttpResponse, error: type[APIError], words: str) -> None:
    """In the envelope or in OpenAI's form, the words are the provider's."""
    with pytest.raises(error, match=words):
        submitted("chat", said)


def test_a_prompt_for_a_picture_comes_at_once() -> None:
    """The prompt is the text, and what it cost stays in `raw`."""
    accepted = submitted("image-to-prompt", enveloped({"prompt": "a tin robot on a beach", "cost_mill": 812}))
    (snapshot,) = accepted.snapshots
    assert (snapshot.state, snapshot.text) == (TaskState.DONE, "a tin robot on a beach")
    assert snapshot.raw["cost_mill"] == 812
    assert accepted.task_ids == (snapshot.task_id,)
    assert snapshot.task_id


def test_a_document_is_stored_at_once() -> None:
    """The store's name is the text, the rest stays in `raw`."""
    data = {"name": "fileSearchStores/demo-1", "uploaded_count": 1}
    (snapshot,) = submitted("corpus-upload", enveloped(data)).snapshots
    assert (snapshot.state, snapshot.text, snapshot.raw) == (TaskState.DONE, "fileSearchStores/demo-1", data)


@pytest.mark.parametrize("name", ["image-to-prompt", "corpus-upload"])
@pytest.mark.parametrize(
    "data", [{}, {"prompt": None, "name": None}, {"prompt": 7, "name": ""}, [], None, "text"], ids=str
)
def test_an_answer_at_once_without_output_is_outside_the_contract(name: str, data: Any) -> None:
    """Success without the one thing that was asked for."""
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
def test_research_by_a_model_comes_at_once(outputs: Any, text: str) -> None:
    """`deep_research_outputs` in the submission's answer is the report, whatever its texts are wrapped in."""
    said = enveloped({"interaction_id": "int_5", "status": "completed", "deep_research_outputs": outputs})
    request = DeepResearch(input="tides", model="GEMINI_25_PRO")
    accepted = WeryAIProvider().decode_submission(request, said)
    (snapshot,) = accepted.snapshots
    assert (snapshot.state, snapshot.text, accepted.task_ids) == (TaskState.DONE, text, ("int_5",))
    assert snapshot.raw["interaction_id"] == "int_5"


@pytest.mark.parametrize("outputs", [None, [], "", " ", {}, 7, [{"image": URL}]], ids=str)
def test_research_outputs_without_words_leave_the_task(outputs: Any) -> None:
    """A task id beside an empty report is a task that goes on."""
    said = enveloped({"task_id": TASK, "status": "processing", "deep_research_outputs": outputs})
    assert submitted("deep-research", said) == Accepted(task_ids=(TASK,))


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
        ({"task_result": {"images": [f"{URL}.png"]}}, [Asset(f"{URL}.png")]),
        ({"output": {"videos": [f"{URL}.mp4"]}}, [Asset(f"{URL}.mp4", "video")]),
        (
            {"images": [f"{URL}.png"], "videos": [f"{URL}.mp4"]},
            [Asset(f"{URL}.png"), Asset(f"{URL}.mp4", "video")],
        ),
    ],
    ids=str,
)
def test_outputs_are_found_wherever_they_lie(data: dict[str, Any], assets: list[Asset]) -> None:
    """Pictures, videos and sounds as urls or objects, with covers, at the top or in a fallback place."""
    found = [(asset.url, asset.kind, asset.cover_url) for asset in status(data).assets]
    assert found == [(asset.url, asset.kind, asset.cover_url) for asset in assets]
    assert all(asset.task_id == TASK for asset in status(data).assets)


SCRIPT = [
    {"speaker_id": "spk-en-07", "speaker_name": "Mira", "content": "Hello"},
    {"speaker_id": "spk-en-08", "content": "Hi"},
]
LINES = (ScriptLine("spk-en-07", "Hello", "Mira"), ScriptLine("spk-en-08", "Hi"))


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
def test_outputs_in_words_are_the_text(data: dict[str, Any], text: str | None) -> None:
    """Lyrics, a transcript, a report, a podcast's turns."""
    assert status(data).text == text


@pytest.mark.parametrize("name", ["scripts", "script"])
def test_a_podcasts_turns_are_kept_one_by_one(name: str) -> None:
    """A turn that says nothing, or is none, costs none of the others."""
    odd = [None, "x", {}, {"speaker_id": "a", "content": " "}, {"content": "Lost voice", "speaker_name": 7}]
    found = status({name: [*SCRIPT, *odd], "content_status": "text-success"})
    assert found.script == (*LINES, ScriptLine("", "Lost voice"))
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
def test_a_failed_task_says_why(data: dict[str, Any], reason: str | None) -> None:
    """The more precise words win; a reason that is no text is none."""
    found = status({**data, "task_status": "FAILED"})
    assert (found.state, found.reason) == (TaskState.FAILED, reason)


def test_what_nobody_documented_survives() -> None:
    """Unknown words mean that the task runs, and unknown keys stay in `raw`."""
    data = {"task_id": TASK, "task_status": "Dreaming", "content_status": "music-success", "mood": {"a": [1]}}
    found = decode_status(enveloped(data, extra="x"), TASK)
    assert (found.state, found.raw_status, found.substatus) == (TaskState.RUNNING, "Dreaming", "music-success")
    assert found.raw == data


def test_the_documented_reads() -> None:
    """Batch, balance and upload answers as they are documented, and as they have been seen."""
    batch = [{"task_id": "task_a1", "task_status": "succeed", "videos": [f"{URL}.mp4"]}, {"task_id": "task_a2"}]
    assert [snapshot.state for snapshot in decode_batch(enveloped(batch))] == [TaskState.DONE, TaskState.RUNNING]
    assert decode_balance(enveloped(731)) == decode_balance(enveloped({"balance": 731})) == 731.0
    urls = {"object_url_list": ["https://static.weryai.com/growth/demo/f1.png", "https://other"]}
    assert decode_upload(enveloped(urls)) == "https://static.weryai.com/growth/demo/f1.png"
    assert decode_upload(enveloped({"object_url_list": [None, "", 7, "//cdn.example/r/1", URL]})) == URL


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
def test_an_upload_without_a_url_is_outside_the_contract(data: Any) -> None:
    """A file that nobody can find is not uploaded."""
    with pytest.raises(UnexpectedResponse, match="no url of the uploaded file") as caught:
        decode_upload(enveloped(data))
    assert caught.value.faults == ("$.data.object_url_list: urls are expected",)


def test_a_refused_upload_is_a_refusal() -> None:
    """The service's words about the file are passed on."""
    with pytest.raises(InvalidRequest, match="content does not match extension"):
        decode_upload(answer({"status": 1002, "msg": "content does not match extension"}))


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
def test_a_delivery_is_read_like_a_status_answer(data: Any, state: TaskState, urls: list[str]) -> None:
    """What is POSTed to a webhook says which task has ended, how, and with what."""
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
def test_a_delivery_about_nobody_is_refused(body: bytes) -> None:
    """Anybody can POST anything to a webhook: what names no task is UnexpectedResponse."""
    with pytest.raises(UnexpectedResponse):
        decode_delivery(body)


@pytest.mark.parametrize("body", [b'{"status":1001,"msg":"x"}', b'{"status":500}', b'{"status":"no"}'], ids=repr)
def test_a_delivery_that_is_a_refusal_is_refused_as_promised(body: bytes) -> None:
    """A forged refusal must not look like the provider's word about our key or credits."""
    with pytest.raises(UnexpectedResponse):
        decode_delivery(body)


def test_uploads_are_forms() -> None:
    """A file goes as the part `file` with its media type; `fixed` is a text; a batch number only if there is one."""
    file = validate_upload(File(b"\x89PNG\r\n\x1a\n", "a.png"))
    call = WeryAIProvider().upload_request(file)
    assert (call.method, call.path, call.host, call.body) == ("POST", "/v1/generation/upload-file", "main", None)
    assert call.form == MultipartForm(
        filename="a.png", content=file.content, content_type="image/png", fields={"fixed": "false"}
    )
    other = WeryAIProvider().upload_request(file, legacy=True, batch_no="b-1", fixed=True)
    assert (other.path, other.host) == ("/growthai/v1/generation/upload-file", "models")
    assert other.form is not None
    assert other.form.fields == {"fixed": "true", "batch_no": "b-1"}
    assert call.timeout == other.timeout == 180.0


def test_registries_are_read_at_their_addresses() -> None:
    """Two live on a host of their own; speakers can be asked for by language."""
    calls = [
        IMAGE_MODELS,
        VIDEO_MODELS,
        CHAT_MODELS,
        speakers_request(None),
        speakers_request("en"),
        speakers_request("a&b=c"),
    ]
    assert [(call.method, call.host, call.path) for call in calls] == [
        ("GET", "models", "/growthai/v1/image/models"),
        ("GET", "models", "/growthai/v1/video/models"),
        ("GET", "main", "/v1/chat/models"),
        ("GET", "main", "/v1/generation/podcast/speakers/list"),
        ("GET", "main", "/v1/generation/podcast/speakers/list?language=en"),
        ("GET", "main", "/v1/generation/podcast/speakers/list?language=a%26b%3Dc"),
    ]
    assert all(call.body is None and call.form is None for call in calls)
