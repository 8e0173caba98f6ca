"""Each fault behavior, as a plain client of WeryAI observes it."""

from __future__ import annotations

import email.utils
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiowery.sandbox import FAIL, STUCK, Fault, Sandbox, faults
from aiowery.sandbox._faults.script import FaultScript, FaultTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._faults.script import Kind, On

    Submit = Callable[..., httpx.Response]
    Finished = Callable[[str], dict[str, Any]]


def test_lost_answer_is_charged(sandbox: Sandbox, submit: Submit) -> None:
    """The task exists and is charged. The connection closes without a response."""
    sandbox.inject(Fault(faults.LostAnswer(0.05), on="submit"))
    with pytest.raises(httpx.RemoteProtocolError):
        submit()
    assert (len(sandbox.weryai.tasks), sandbox.weryai.charged) == (1, 1)


@pytest.mark.parametrize(("processed", "tasks"), [(False, 0), (True, 1)])
def test_reset_processed_decides_about_charge(sandbox: Sandbox, submit: Submit, processed: bool, tasks: int) -> None:
    """A reset before processing creates nothing, a reset after it leaves a paid task."""
    sandbox.inject(Fault(faults.Reset(processed=processed), on="submit"))
    with pytest.raises(httpx.ReadError, match="reset"):
        submit()
    assert len(sandbox.weryai.tasks) == sandbox.weryai.charged == tasks


def test_slow_body_arrives_completely(sandbox: Sandbox, http: httpx.Client) -> None:
    """The body arrives in pieces, and completely."""
    sandbox.inject(Fault(faults.SlowBody(0.1), on="balance"))
    assert http.get("/v1/generation/balance").json()["data"] == 10_000


@pytest.mark.parametrize(
    ("kind", "http_status", "code"),
    [
        (faults.RATE_LIMITED, 429, 1001),
        (faults.RATE_LIMITED_1001, 200, 1001),
        (faults.WORKFLOW_RATE_LIMITED, 200, 6002),
        (faults.QUEUE_FULL, 200, 1007),
        (faults.TOO_MANY_TASKS, 200, 6010),
        (faults.UNAUTHORIZED, 401, 1002),
        (faults.FORBIDDEN, 403, 1009),
        (faults.NOT_FOUND, 404, 1003),
        (faults.SERVER_ERROR, 500, 5000),
    ],
)
def test_ready_made_refusal_has_status_and_code(
    sandbox: Sandbox, submit: Submit, kind: Kind, http_status: int, code: int
) -> None:
    """HTTP status and code are the named ones, and nothing is created."""
    sandbox.inject(Fault(kind, on="submit"))
    response = submit()
    assert (response.status_code, response.json()["status"], sandbox.weryai.tasks) == (http_status, code, ())
    assert sandbox.weryai.counters.throttled == (http_status == 429)
    assert sandbox.weryai.counters.too_many_tasks == (code == 6010)


@pytest.mark.parametrize(
    ("kind", "status"), [(faults.BAD_GATEWAY, 502), (faults.UNAVAILABLE, 503), (faults.GATEWAY_TIMEOUT, 504)]
)
def test_html_refusal_is_an_html_page(sandbox: Sandbox, submit: Submit, kind: Kind, status: int) -> None:
    """The response is HTML with content type text/html."""
    sandbox.inject(Fault(kind, on="submit"))
    response = submit()
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html")
    assert response.text.startswith(f"<html><head><title>{status} ")


def test_error_response_processed_is_charged(sandbox: Sandbox, submit: Submit) -> None:
    """With `processed` the task behind a 502 is paid."""
    sandbox.inject(Fault(faults.ErrorResponse(502, html=True, processed=True), on="submit"))
    assert submit().status_code == 502
    assert sandbox.weryai.charged == 1


@pytest.mark.parametrize(("after", "expected"), [(2, "2"), (0.5, "0.5"), (None, None)])
def test_error_response_retry_after_is_in_seconds(
    sandbox: Sandbox, http: httpx.Client, after: float | None, expected: str | None
) -> None:
    """Whole seconds have no decimal point, other values have decimals, None omits the header."""
    sandbox.inject(Fault(faults.ErrorResponse(429, retry_after=after)))
    assert http.get("/v1/generation/balance").headers.get("retry-after") == expected


def test_error_response_retry_date_is_an_http_date(sandbox: Sandbox, http: httpx.Client) -> None:
    """The header is an HTTP date this number of seconds ahead."""
    sandbox.inject(Fault(faults.ErrorResponse(429, retry_after=60, retry_date=True)))
    value = http.get("/v1/generation/balance").headers["retry-after"]
    assert 50 < email.utils.parsedate_to_datetime(value).timestamp() - time.time() <= 60


def test_not_found_yet_ends_after_its_seconds(
    sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished
) -> None:
    """The status is HTTP 404 with code 1003 right after acceptance, and the usual one later."""
    sandbox.inject(Fault(faults.NotFoundYet(0.2), on="status"))
    task_id = submit().json()["data"]["task_ids"][0]
    early = http.get(f"/v1/generation/{task_id}/status")
    assert (early.status_code, early.json()["status"]) == (404, 1003)
    time.sleep(0.25)
    assert finished(task_id)["task_status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("kind", "content"),
    [(faults.Truncated(0.5), None), (faults.Empty(), b""), (faults.NotJson("hello"), b"hello")],
)
def test_body_fault_returns_no_json(sandbox: Sandbox, http: httpx.Client, kind: Kind, content: bytes | None) -> None:
    """Half of the JSON, nothing, or other text, each in a correct HTTP response."""
    sandbox.inject(Fault(kind))
    response = http.get("/v1/generation/balance")
    assert response.status_code == 200
    assert content is None or response.content == content
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_success200_changes_successes_only(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """A success has status 200 and true, a refusal stays unchanged."""
    sandbox.inject(Fault(faults.Success200()))
    body = http.get("/v1/generation/balance").json()
    assert (body["status"], body["success"], body["data"]) == (200, True, 10_000)
    assert submit(prompt="").json()["status"] == 1001


def test_text_in_msg_moves_the_message(sandbox: Sandbox, submit: Submit) -> None:
    """The message of a refusal is in `msg` only."""
    sandbox.inject(Fault(faults.TextInMsg()))
    assert submit(prompt="").json() == {"status": 1001, "msg": "prompt cannot be empty", "data": None}


def test_numeric_task_ids_find_the_task(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """Task ids are numbers that find the task, the batch id is a string."""
    sandbox.inject(Fault(faults.NumericTaskIds()), Fault(faults.StringBatchId()))
    data = submit().json()["data"]
    assert isinstance(data["task_ids"][0], int)
    assert data["batch_id"].isdecimal()
    task = finished(str(data["task_ids"][0]))
    assert task["task_status"] == "SUCCESS"
    assert task["task_id"] == data["task_ids"][0]


def test_single_task_id_has_no_batch(sandbox: Sandbox, submit: Submit) -> None:
    """The response has one task id and its status, and no batch."""
    sandbox.inject(Fault(faults.SingleTaskId()))
    data = submit(image_number=2).json()["data"]
    assert data == {"task_id": sandbox.weryai.tasks[0].id, "task_status": "waiting"}


def test_no_ids_is_charged(sandbox: Sandbox, submit: Submit) -> None:
    """The submission is paid, and the response has no id."""
    sandbox.inject(Fault(faults.NoIds()))
    assert (submit().json()["data"], sandbox.weryai.charged) == ({}, 1)


def test_status_words_replace_by_state(
    sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished
) -> None:
    """Synonyms and unknown texts replace the usual ones, state by state."""
    done = finished(submit().json()["data"]["task_ids"][0])["task_id"]
    failed = finished(submit(prompt=FAIL).json()["data"]["task_ids"][0])["task_id"]
    stuck = submit(prompt=STUCK).json()["data"]["task_ids"][0]
    sandbox.inject(Fault(faults.StatusWords(success="succeed", waiting="REVIEWING", processing="REVIEWING")))
    raw_statuses = [
        http.get(f"/v1/generation/{id_}/status").json()["data"]["task_status"] for id_ in (done, failed, stuck)
    ]
    assert raw_statuses == ["succeed", "FAILED", "REVIEWING"]


def test_stale_status_repeats_the_older_one(
    sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished
) -> None:
    """A finished task is reported as being processed, for `times` responses."""
    task_id = finished(submit().json()["data"]["task_ids"][0])["task_id"]
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=2))
    statuses = [http.get(f"/v1/generation/{task_id}/status").json()["data"] for _ in range(3)]
    assert statuses[0] == statuses[1] == {"task_id": task_id, "task_status": "processing"}
    assert statuses[2]["task_status"] == "SUCCESS"


def test_list_data_and_single_object_change_the_shape(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """A single status is a list, a batch is a single object."""
    sandbox.inject(Fault(faults.ListData(), on="status"), Fault(faults.SingleObject(), on="batch"))
    data = submit(prompt=STUCK, image_number=2).json()["data"]
    status = http.get(f"/v1/generation/{data['task_ids'][0]}/status").json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [status[0]["task_id"], batch["task_id"]] == [data["task_ids"][0]] * 2


def test_missing_tasks_are_missing_from_the_batch(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """The last tasks are missing from the batch response, not from the state."""
    sandbox.inject(Fault(faults.MissingTasks(2), on="batch"))
    data = submit(prompt=STUCK, image_number=3).json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [task["task_id"] for task in batch] == data["task_ids"][:1]


def test_output_faults_change_outputs(sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """Outputs are objects, in an inner object, or missing."""
    task = finished(submit().json()["data"]["task_ids"][0])
    url, task_id = task["images"][0], task["task_id"]
    sandbox.inject(Fault(faults.ObjectOutputs("image_url"), nth=1), Fault(faults.NestedOutputs("output"), nth=2))
    sandbox.inject(Fault(faults.NoOutputs(), nth=3))
    first, second, third = (http.get(f"/v1/generation/{task_id}/status").json()["data"] for _ in range(3))
    assert first["images"] == [{"image_url": url}]
    assert (second["output"], "images" in second) == ({"images": [url]}, False)
    assert (third["task_status"], "images" in third) == ("SUCCESS", False)


def test_nested_outputs_move_the_reason(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """The reason of a failure moves with the outputs, as `message`."""
    sandbox.inject(Fault(faults.NestedOutputs()))
    data = finished(submit(prompt=FAIL).json()["data"]["task_ids"][0])
    assert (data["task_result"]["message"], "msg" in data) == (sandbox.weryai.tasks[0].reason, False)


def test_faults_on_one_request_add_up(sandbox: Sandbox, submit: Submit) -> None:
    """Two fault behaviors change the same response, in the order in which they were added."""
    sandbox.inject(Fault(faults.SingleTaskId()), Fault(faults.Success200()))
    body = submit().json()
    assert (body["status"], "task_id" in body["data"]) == (200, True)


def test_fault_match_limits_it_to_named_requests(sandbox: Sandbox, submit: Submit) -> None:
    """`match` finds prompts and ids. Other requests are not changed."""
    sandbox.inject(Fault(faults.SERVER_ERROR, on="submit", match="dragon"))
    assert [submit(prompt=prompt).status_code for prompt in ("a dragon", "a cat")] == [500, 200]


def test_fault_nth_times_and_share_limit_it() -> None:
    """`nth` applies once, `times` at most as often, `share` to a part of all requests that the seed determines."""

    def applied(fault: Fault, seed: int = 0) -> list[int]:
        script = FaultScript(seed)
        script.add([fault])
        return [number for number in range(1, 1001) if script.apply(FaultTarget("status"))]

    assert applied(Fault(faults.Empty(), nth=3)) == [3]
    assert applied(Fault(faults.Empty(), times=2)) == [1, 2]
    assert applied(Fault(faults.Empty(), on="submit")) == []
    assert 150 < len(applied(Fault(faults.Empty(), share=0.2))) < 250
    assert applied(Fault(faults.Empty(), share=0.2)) == applied(Fault(faults.Empty(), share=0.2))
    assert applied(Fault(faults.Empty(), share=0.2)) != applied(Fault(faults.Empty(), share=0.2), seed=1)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_fault_share_outside_0_to_1_is_refused(share: float) -> None:
    """A share must be between 0 and 1."""
    with pytest.raises(ValueError, match="share"):
        Fault(faults.Empty(), share=share)


def test_fault_with_a_class_is_refused() -> None:
    """A class instead of its value is refused immediately."""
    with pytest.raises(TypeError, match=r"faults\.Empty\(\)"):
        Fault(faults.Empty)  # type: ignore[arg-type]


def test_counters_count_refused_polls(sandbox: Sandbox, http: httpx.Client) -> None:
    """A status request is counted although a fault refuses it."""
    sandbox.inject(Fault(faults.SERVER_ERROR, on="status"))
    http.get("/v1/generation/task_x/status")
    assert sandbox.weryai.counters.polls == {"task_x": 1}


def test_fault_without_its_target_changes_nothing(sandbox: Sandbox, http: httpx.Client) -> None:
    """A balance has no tasks, ids or outputs, and an HTML page has no envelope."""
    kinds = (faults.NoIds(), faults.StaleStatus(), faults.SingleObject(), faults.MissingTasks(), faults.ListData())
    sandbox.inject(*(Fault(kind) for kind in kinds))
    assert http.get("/v1/generation/balance").json()["data"] == 10_000
    sandbox.inject(Fault(faults.ErrorResponse(502, html=True, processed=True)), Fault(faults.TextInMsg()))
    assert http.get("/v1/generation/balance").text.startswith("<html>")


def test_faults_all_are_picklable_values() -> None:
    """Every name in `faults.__all__` exists. Fault behaviors compare and pickle by value."""
    for name in faults.__all__:
        kind = getattr(faults, name)
        value = kind("http://elsewhere.invalid") if name == "Redirect" else kind() if isinstance(kind, type) else kind
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - pickled above


SUBMISSIONS: dict[str, dict[str, Any]] = {
    "image-repair": {"img_url": "https://example.com/a.png"},
    "podcast/generate/text": {"query": "tea", "speakers": ["a"], "language": "en", "mode": "quick"},
    "deep_research": {"input": "why"},
}


@pytest.mark.parametrize("path", SUBMISSIONS)
def test_id_faults_apply_without_a_batch(sandbox: Sandbox, http: httpx.Client, path: str) -> None:
    """Submissions without a batch lose their ids or have numeric ones, too. A status keeps its id."""
    sandbox.inject(Fault(faults.NoIds(), times=1))
    assert http.post(f"/v1/generation/{path}", json=SUBMISSIONS[path]).json()["data"] == {}
    sandbox.inject(Fault(faults.NumericTaskIds(), on="submit"))
    number = http.post(f"/v1/generation/{path}", json=SUBMISSIONS[path]).json()["data"]["task_id"]
    sandbox.inject(Fault(faults.NoIds(), on="status"))
    assert http.get(f"/v1/generation/{number}/status").json()["data"]["task_id"] == sandbox.weryai.tasks[-1].id


@pytest.mark.parametrize("kind", [faults.Success200(), faults.TextInMsg(), faults.NoIds(), faults.ListData()])
def test_envelope_fault_without_envelope_changes_nothing(sandbox: Sandbox, http: httpx.Client, kind: Kind) -> None:
    """Chat and chat models have no envelope that could be changed."""
    sandbox.inject(Fault(kind))
    chat = {"model": "GPT_5_5", "messages": [{"role": "user", "content": "hi"}]}
    assert set(http.post("/v1/chat/completions", json=chat).json()) >= {"choices", "usage"}
    assert list(http.get("/v1/chat/models").json()) == ["models"]


def outcome(http: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """Submit, and return the data of the status in which the task has finished."""
    data = http.post(f"/v1/generation/{path}", json=body).json()["data"]
    task_id = data["task_ids"][0] if "task_ids" in data else data["task_id"]
    while True:
        status: dict[str, Any] = http.get(f"/v1/generation/{task_id}/status").json()["data"]
        if status["task_status"].lower() not in {"waiting", "processing"}:
            return status


def test_output_faults_apply_to_every_kind(sandbox: Sandbox, http: httpx.Client) -> None:
    """Statuses in capitals, outputs that are objects already, and text outputs are changed too."""
    song = {"type": "VOCAL_SONG", "description": "sea"}
    video = {"model": "SORA_2", "prompt": "sea", "duration": 4}
    sandbox.inject(Fault(faults.StatusWords(success="done"), on="status"))
    assert outcome(http, "music/generate", **song)["task_status"] == "done"
    sandbox.inject(Fault(faults.ObjectOutputs(key="video_url"), on="status"))
    (output,) = outcome(http, "text-to-video", **video)["videos"]
    assert output["video_url"].endswith(".mp4")
    assert output["cover_image_url"].endswith(".png")
    sandbox.inject(Fault(faults.NoOutputs(), on="status"))
    bare = {"task_id", "task_status", "cost_credits"}
    assert set(outcome(http, "music/generate", **song)) == bare
    assert set(outcome(http, "speech-recognize", audio_url="https://example.com/a.wav")) == bare
    assert set(outcome(http, "deep_research", input="why")) == bare


@pytest.mark.parametrize(
    ("on", "method", "path"),
    [
        ("upload", "POST", "/v1/generation/upload-file"),
        ("upload", "POST", "/growthai/v1/generation/upload-file"),
        ("models", "GET", "/growthai/v1/image/models"),
        ("models", "GET", "/growthai/v1/video/models"),
        ("models", "GET", "/v1/chat/models"),
        ("models", "GET", "/v1/generation/podcast/speakers/list"),
        ("call", "POST", "/v1/chat/completions"),
        ("call", "POST", "/v1/generation/image-to-prompt"),
        ("call", "POST", "/v1/generation/file_search_stores"),
        ("submit", "POST", "/v1/generation/podcast/generate/task_x/audio"),
        ("submit", "POST", "/v1/generation/deep_research"),
    ],
)
def test_fault_on_applies_to_its_requests(sandbox: Sandbox, http: httpx.Client, on: On, method: str, path: str) -> None:
    """A fault for this kind of requests applies to this request."""
    sandbox.inject(Fault(faults.UNAVAILABLE, on=on))
    assert http.request(method, path).status_code == 503


def test_fault_match_finds_messages_and_file_urls(sandbox: Sandbox, http: httpx.Client) -> None:
    """`match` is compared with messages, and with file URLs if there is no text."""
    sandbox.inject(Fault(faults.UNAVAILABLE, match="lighthouse"))
    messages = [{"role": "user", "content": "draw a lighthouse"}]
    assert http.post("/v1/chat/completions", json={"model": "A", "messages": messages}).status_code == 503
    body = {"img_url": "https://example.com/lighthouse.png"}
    assert http.post("/v1/generation/image-repair", json=body).status_code == 503
    assert http.post("/v1/generation/image-repair", json={"img_url": "https://example.com/b.png"}).status_code == 200
