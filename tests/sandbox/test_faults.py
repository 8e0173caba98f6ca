"""Each misfortune, one by one, as a plain client meets it."""

from __future__ import annotations

import email.utils
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiowery.sandbox import FAIL, STUCK, Fault, Sandbox, faults
from aiowery.sandbox._faults.script import FaultCall, FaultScript

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._faults.script import Kind, On

    Submit = Callable[..., httpx.Response]
    Finished = Callable[[str], dict[str, Any]]


def test_a_lost_answer_is_charged(sandbox: Sandbox, submit: Submit) -> None:
    """The task exists and costs; the connection closes without a word."""
    sandbox.inject(Fault(faults.LostAnswer(0.05), on="submit"))
    with pytest.raises(httpx.RemoteProtocolError):
        submit()
    assert (len(sandbox.weryai.tasks), sandbox.weryai.charged) == (1, 1)


@pytest.mark.parametrize(("processed", "tasks"), [(False, 0), (True, 1)])
def test_a_reset_strikes_before_or_after(sandbox: Sandbox, submit: Submit, processed: bool, tasks: int) -> None:
    """A reset before processing leaves no trace, one after it leaves a paid task."""
    sandbox.inject(Fault(faults.Reset(processed=processed), on="submit"))
    with pytest.raises(httpx.ReadError, match="reset"):
        submit()
    assert len(sandbox.weryai.tasks) == sandbox.weryai.charged == tasks


def test_a_slow_body_arrives_whole(sandbox: Sandbox, http: httpx.Client) -> None:
    """Drop by drop, but all of it."""
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
def test_a_refusal_has_an_envelope(sandbox: Sandbox, submit: Submit, kind: Kind, http_status: int, code: int) -> None:
    """HTTP status and code are the ones named; nothing is created."""
    sandbox.inject(Fault(kind, on="submit"))
    answer = submit()
    assert (answer.status_code, answer.json()["status"], sandbox.weryai.tasks) == (http_status, code, ())
    assert sandbox.weryai.counters.throttled == (http_status == 429)
    assert sandbox.weryai.counters.too_many_tasks == (code == 6010)


@pytest.mark.parametrize(
    ("kind", "status"), [(faults.BAD_GATEWAY, 502), (faults.UNAVAILABLE, 503), (faults.GATEWAY_TIMEOUT, 504)]
)
def test_an_edge_answers_with_a_page(sandbox: Sandbox, submit: Submit, kind: Kind, status: int) -> None:
    """The answer is HTML, of type text/html."""
    sandbox.inject(Fault(kind, on="submit"))
    answer = submit()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html")
    assert answer.text.startswith(f"<html><head><title>{status} ")


def test_a_refusal_may_come_after_the_deed(sandbox: Sandbox, submit: Submit) -> None:
    """With `processed` a 502 hides a paid task."""
    sandbox.inject(Fault(faults.ErrorResponse(502, html=True, processed=True), on="submit"))
    assert submit().status_code == 502
    assert sandbox.weryai.charged == 1


@pytest.mark.parametrize(("after", "expected"), [(2, "2"), (0.5, "0.5"), (None, None)])
def test_retry_after_in_seconds(
    sandbox: Sandbox, http: httpx.Client, after: float | None, expected: str | None
) -> None:
    """Whole seconds without a point, others with decimals, or no header at all."""
    sandbox.inject(Fault(faults.ErrorResponse(429, retry_after=after)))
    assert http.get("/v1/generation/balance").headers.get("retry-after") == expected


def test_retry_after_as_a_date(sandbox: Sandbox, http: httpx.Client) -> None:
    """An HTTP date so many seconds ahead."""
    sandbox.inject(Fault(faults.ErrorResponse(429, retry_after=60, retry_date=True)))
    value = http.get("/v1/generation/balance").headers["retry-after"]
    assert 50 < email.utils.parsedate_to_datetime(value).timestamp() - time.time() <= 60


def test_a_young_task_is_unknown(sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """HTTP 404 and 1003 right after acceptance, the usual status later."""
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
def test_bodies_that_are_not_json(sandbox: Sandbox, http: httpx.Client, kind: Kind, content: bytes | None) -> None:
    """Half of the JSON, nothing, or something else, each a correct HTTP answer."""
    sandbox.inject(Fault(kind))
    answer = http.get("/v1/generation/balance")
    assert answer.status_code == 200
    assert content is None or answer.content == content
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_the_envelope_of_200(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """A success says 200 and true; a refusal stays what it is."""
    sandbox.inject(Fault(faults.Success200()))
    body = http.get("/v1/generation/balance").json()
    assert (body["status"], body["success"], body["data"]) == (200, True, 10_000)
    assert submit(prompt="").json()["status"] == 1001


def test_text_in_msg(sandbox: Sandbox, submit: Submit) -> None:
    """The text of a refusal stands in `msg` alone."""
    sandbox.inject(Fault(faults.TextInMsg()))
    assert submit(prompt="").json() == {"status": 1001, "msg": "prompt cannot be empty", "data": None}


def test_ids_in_other_forms(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """Task ids as numbers, by which the task is found; the batch id as a string."""
    sandbox.inject(Fault(faults.NumericTaskIds()), Fault(faults.StringBatchId()))
    data = submit().json()["data"]
    assert isinstance(data["task_ids"][0], int)
    assert data["batch_id"].isdecimal()
    task = finished(str(data["task_ids"][0]))
    assert task["task_status"] == "SUCCESS"
    assert task["task_id"] == data["task_ids"][0]


def test_shape_b(sandbox: Sandbox, submit: Submit) -> None:
    """One task id and its status, no batch."""
    sandbox.inject(Fault(faults.SingleTaskId()))
    data = submit(image_number=2).json()["data"]
    assert data == {"task_id": sandbox.weryai.tasks[0].id, "task_status": "waiting"}


def test_no_ids(sandbox: Sandbox, submit: Submit) -> None:
    """A paid success that does not say of what."""
    sandbox.inject(Fault(faults.NoIds()))
    assert (submit().json()["data"], sandbox.weryai.charged) == ({}, 1)


def test_status_words(sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """Synonyms and unknown words take the place of the usual ones, state by state."""
    done = finished(submit().json()["data"]["task_ids"][0])["task_id"]
    failed = finished(submit(prompt=FAIL).json()["data"]["task_ids"][0])["task_id"]
    stuck = submit(prompt=STUCK).json()["data"]["task_ids"][0]
    sandbox.inject(Fault(faults.StatusWords(success="succeed", waiting="REVIEWING", processing="REVIEWING")))
    words = [http.get(f"/v1/generation/{id_}/status").json()["data"]["task_status"] for id_ in (done, failed, stuck)]
    assert words == ["succeed", "FAILED", "REVIEWING"]


def test_a_stale_status(sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """A finished task seems to be processed again, for so many answers."""
    task_id = finished(submit().json()["data"]["task_ids"][0])["task_id"]
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=2))
    answers = [http.get(f"/v1/generation/{task_id}/status").json()["data"] for _ in range(3)]
    assert answers[0] == answers[1] == {"task_id": task_id, "task_status": "processing"}
    assert answers[2]["task_status"] == "SUCCESS"


def test_shapes_of_data(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """A list for a single status, a single object for a batch."""
    sandbox.inject(Fault(faults.ListData(), on="status"), Fault(faults.SingleObject(), on="batch"))
    data = submit(prompt=STUCK, image_number=2).json()["data"]
    status = http.get(f"/v1/generation/{data['task_ids'][0]}/status").json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [status[0]["task_id"], batch["task_id"]] == [data["task_ids"][0]] * 2


def test_a_batch_lacks_tasks(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """The last tasks are missing from the batch, not from the world."""
    sandbox.inject(Fault(faults.MissingTasks(2), on="batch"))
    data = submit(prompt=STUCK, image_number=3).json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [task["task_id"] for task in batch] == data["task_ids"][:1]


def test_outputs_in_other_forms(sandbox: Sandbox, http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """As objects, in an inner object, or not at all."""
    task = finished(submit().json()["data"]["task_ids"][0])
    url, task_id = task["images"][0], task["task_id"]
    sandbox.inject(Fault(faults.ObjectOutputs("image_url"), nth=1), Fault(faults.NestedOutputs("output"), nth=2))
    sandbox.inject(Fault(faults.NoOutputs(), nth=3))
    first, second, third = (http.get(f"/v1/generation/{task_id}/status").json()["data"] for _ in range(3))
    assert first["images"] == [{"image_url": url}]
    assert (second["output"], "images" in second) == ({"images": [url]}, False)
    assert (third["task_status"], "images" in third) == ("SUCCESS", False)


def test_a_nested_reason(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """The reason of a failure goes down with the outputs, as `message`."""
    sandbox.inject(Fault(faults.NestedOutputs()))
    data = finished(submit(prompt=FAIL).json()["data"]["task_ids"][0])
    assert (data["task_result"]["message"], "msg" in data) == (sandbox.weryai.tasks[0].reason, False)


def test_faults_add_up(sandbox: Sandbox, submit: Submit) -> None:
    """Two shapes at once, in the order of the script."""
    sandbox.inject(Fault(faults.SingleTaskId()), Fault(faults.Success200()))
    body = submit().json()
    assert (body["status"], "task_id" in body["data"]) == (200, True)


def test_a_fault_strikes_only_what_it_names(sandbox: Sandbox, submit: Submit) -> None:
    """`match` finds prompts and ids; other calls go by untouched."""
    sandbox.inject(Fault(faults.SERVER_ERROR, on="submit", match="dragon"))
    assert [submit(prompt=prompt).status_code for prompt in ("a dragon", "a cat")] == [500, 200]


def test_nth_times_and_share() -> None:
    """`nth` strikes once, `times` so often, a share of all calls in an order the seed fixes."""

    def struck(fault: Fault, seed: int = 0) -> list[int]:
        script = FaultScript(seed)
        script.add([fault])
        return [number for number in range(1, 1001) if script.apply(FaultCall("status"))]

    assert struck(Fault(faults.Empty(), nth=3)) == [3]
    assert struck(Fault(faults.Empty(), times=2)) == [1, 2]
    assert struck(Fault(faults.Empty(), on="submit")) == []
    assert 150 < len(struck(Fault(faults.Empty(), share=0.2))) < 250
    assert struck(Fault(faults.Empty(), share=0.2)) == struck(Fault(faults.Empty(), share=0.2))
    assert struck(Fault(faults.Empty(), share=0.2)) != struck(Fault(faults.Empty(), share=0.2), seed=1)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(share: float) -> None:
    """Outside of 0-1 is a mistake of the caller."""
    with pytest.raises(ValueError, match="share"):
        Fault(faults.Empty(), share=share)


def test_a_fault_wants_a_value() -> None:
    """A class in the place of its value is told at once."""
    with pytest.raises(TypeError, match=r"faults\.Empty\(\)"):
        Fault(faults.Empty)  # type: ignore[arg-type]


def test_refused_polls_count_as_polls(sandbox: Sandbox, http: httpx.Client) -> None:
    """A status request is counted although a fault answers it."""
    sandbox.inject(Fault(faults.SERVER_ERROR, on="status"))
    http.get("/v1/generation/task_x/status")
    assert sandbox.weryai.counters.polls == {"task_x": 1}


def test_faults_that_find_nothing_to_spoil(sandbox: Sandbox, http: httpx.Client) -> None:
    """A balance has no tasks, ids or outputs: shapes meant for those leave it alone, as they do pages of HTML."""
    kinds = (faults.NoIds(), faults.StaleStatus(), faults.SingleObject(), faults.MissingTasks(), faults.ListData())
    sandbox.inject(*(Fault(kind) for kind in kinds))
    assert http.get("/v1/generation/balance").json()["data"] == 10_000
    sandbox.inject(Fault(faults.ErrorResponse(502, html=True, processed=True)), Fault(faults.TextInMsg()))
    assert http.get("/v1/generation/balance").text.startswith("<html>")


def test_every_listed_kind_exists_and_is_a_value() -> None:
    """`faults.__all__` holds what the module has; kinds compare and pickle by value."""
    for name in faults.__all__:
        kind = getattr(faults, name)
        value = kind("http://elsewhere.invalid") if name == "Redirect" else kind() if isinstance(kind, type) else kind
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own bytes


SUBMISSIONS: dict[str, dict[str, Any]] = {
    "image-repair": {"img_url": "https://example.com/a.png"},
    "podcast/generate/text": {"query": "tea", "speakers": ["a"], "language": "en", "mode": "quick"},
    "deep_research": {"input": "why"},
}


@pytest.mark.parametrize("path", SUBMISSIONS)
def test_ids_of_every_shape_are_spoiled(sandbox: Sandbox, http: httpx.Client, path: str) -> None:
    """Submissions without a batch lose their ids, or get numbers for them, like the others; a status keeps its id."""
    sandbox.inject(Fault(faults.NoIds(), times=1))
    assert http.post(f"/v1/generation/{path}", json=SUBMISSIONS[path]).json()["data"] == {}
    sandbox.inject(Fault(faults.NumericTaskIds(), on="submit"))
    number = http.post(f"/v1/generation/{path}", json=SUBMISSIONS[path]).json()["data"]["task_id"]
    sandbox.inject(Fault(faults.NoIds(), on="status"))
    assert http.get(f"/v1/generation/{number}/status").json()["data"]["task_id"] == sandbox.weryai.tasks[-1].id


@pytest.mark.parametrize("kind", [faults.Success200(), faults.TextInMsg(), faults.NoIds(), faults.ListData()])
def test_what_has_no_envelope_is_left_alone(sandbox: Sandbox, http: httpx.Client, kind: Kind) -> None:
    """A chat and its models are answered without an envelope, so that there is none to spoil."""
    sandbox.inject(Fault(kind))
    chat = {"model": "GPT_5_5", "messages": [{"role": "user", "content": "hi"}]}
    assert set(http.post("/v1/chat/completions", json=chat).json()) >= {"choices", "usage"}
    assert list(http.get("/v1/chat/models").json()) == ["models"]


def outcome(http: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """Submit, and return the status in which the task is done."""
    data = http.post(f"/v1/generation/{path}", json=body).json()["data"]
    task_id = data["task_ids"][0] if "task_ids" in data else data["task_id"]
    while True:
        told: dict[str, Any] = http.get(f"/v1/generation/{task_id}/status").json()["data"]
        if told["task_status"].lower() not in {"waiting", "processing"}:
            return told


def test_outputs_of_every_kind_are_spoiled(sandbox: Sandbox, http: httpx.Client) -> None:
    """Words in capitals, videos that are objects already, and texts are met by the kinds made for them."""
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
def test_every_call_has_a_name_for_faults(sandbox: Sandbox, http: httpx.Client, on: On, method: str, path: str) -> None:
    """A fault for these calls strikes this one."""
    sandbox.inject(Fault(faults.UNAVAILABLE, on=on))
    assert http.request(method, path).status_code == 503


def test_faults_know_chats_and_tools_by_what_they_say_and_show(sandbox: Sandbox, http: httpx.Client) -> None:
    """A match is looked for in messages, and in the addresses of files where nothing is said."""
    sandbox.inject(Fault(faults.UNAVAILABLE, match="lighthouse"))
    messages = [{"role": "user", "content": "draw a lighthouse"}]
    assert http.post("/v1/chat/completions", json={"model": "A", "messages": messages}).status_code == 503
    body = {"img_url": "https://example.com/lighthouse.png"}
    assert http.post("/v1/generation/image-repair", json=body).status_code == 503
    assert http.post("/v1/generation/image-repair", json={"img_url": "https://example.com/b.png"}).status_code == 200
