"""The sandbox speaks the contract, over a real socket."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from aiowery.sandbox import FAIL, MODERATED, STUCK, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    Submit = Callable[..., httpx.Response]
    Finished = Callable[[str], dict[str, Any]]


def test_a_submission_answers_shape_a(submit: Submit) -> None:
    """A batch id as number and one task id per picture, in the envelope of a success."""
    answer = submit(image_number=3)
    body = answer.json()
    assert (answer.status_code, body["status"], body["message"]) == (200, 0, "success")
    assert isinstance(body["data"]["batch_id"], int)
    assert len(set(body["data"]["task_ids"])) == 3
    assert all(task_id.startswith("task_") for task_id in body["data"]["task_ids"])


def test_every_answer_carries_its_own_request_id(http: httpx.Client, submit: Submit) -> None:
    """Success, refusal and unknown route alike have an x-request-id, never the same twice."""
    answers = [submit(), submit(prompt=""), http.get("/nowhere"), http.get("/v1/generation/balance")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


@pytest.mark.parametrize("header", [None, "Bearer sk-other", "Basic sk-sandbox", "Bearer", "sk-sandbox"])
def test_a_wrong_key_is_refused(calm: Sandbox, header: str | None) -> None:
    """HTTP 401 and envelope 1002 for every authorization that is not the bearer key."""
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{calm.url}/v1/generation/balance", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (401, 1002)
    assert answer.json()["desc"] == "Authentication failed"


def test_without_keys_any_key_of_the_right_form_is_accepted() -> None:
    """`keys=None` accepts what begins with sk- and refuses the rest."""
    with Sandbox(keys=None) as sandbox:
        url = f"{sandbox.url}/v1/generation/balance"
        codes = [httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code for key in ("sk-1", "x")]
    assert codes == [200, 401]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model cannot be empty"),
        ({"prompt": "  "}, "prompt cannot be empty"),
        ({"prompt": "x" * 2001}, "prompt exceeds the limit of 2000 characters"),
        ({"prompt": 5}, "prompt is not supported"),
        ({"aspect_ratio": None}, "aspect ratio cannot be empty"),
        ({"aspect_ratio": "wide"}, "aspect ratio is not supported"),
        ({"aspect_ratio": "0:1"}, "aspect ratio is not supported"),
        ({"negative_prompt": "x" * 1001}, "negative prompt exceeds the limit of 1000 characters"),
        ({"image_number": 0}, "image number is not supported"),
        ({"image_number": True}, "image number is not supported"),
        ({"image_number": "2"}, "image number is not supported"),
        ({"model": "WERYAI_IMAGE_1_0", "image_number": 2}, "image number is not supported"),
    ],
)
def test_a_bad_parameter_is_named(calm: Sandbox, ask: Submit, changes: dict[str, Any], message: str) -> None:
    """HTTP 200, code 1001, the contract's words; nothing is created or charged."""
    before = (len(calm.world.tasks), calm.world.charged)
    answer = ask(**changes)
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (200, 1001, message)
    assert (len(calm.world.tasks), calm.world.charged) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"null", b"\xff"])
def test_a_body_that_is_no_object_is_a_parameter_error(ask: Submit, content: bytes) -> None:
    """Invalid JSON and JSON of another kind both answer 1001."""
    answer = ask(content)
    assert (answer.status_code, answer.json()["status"]) == (200, 1001)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "A_MODEL_OF_TOMORROW"},
        {"aspect_ratio": "16:9(2k)"},
        {"aspect_ratio": "2k"},
        {"prompt": "x" * 2000},
        {"parameter_of_tomorrow": [1]},
        {"negative_prompt": None},
    ],
)
def test_what_the_contract_leaves_open_is_accepted(ask: Submit, changes: dict[str, Any]) -> None:
    """Unknown models and parameters, literal ratios and limits themselves pass."""
    assert ask(**changes).json()["status"] == 0


def test_the_model_with_a_fixed_number_makes_four(submit: Submit) -> None:
    """WERYAI_IMAGE_1_0 makes four pictures, asked or not."""
    assert len(submit(model="WERYAI_IMAGE_1_0").json()["data"]["task_ids"]) == 4
    assert len(submit(model="WERYAI_IMAGE_1_0", image_number=4).json()["data"]["task_ids"]) == 4


def test_a_body_beyond_a_megabyte_is_refused(ask: Submit) -> None:
    """HTTP 413, and the server goes on."""
    assert ask(b" " * 1_000_001).status_code == 413
    assert ask().json()["status"] == 0


def test_a_task_ends_with_its_picture(http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """Success carries an absolute url at the sandbox, which gives a PNG of the right shape."""
    data = finished(submit(aspect_ratio="16:9").json()["data"]["task_ids"][0])
    assert data["cost_credits"] == 1
    assert data["images"][0].startswith(str(http.base_url))
    with Image.open(io.BytesIO(httpx.get(data["images"][0]).content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 288))


def test_a_marked_prompt_fails_and_is_refunded(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """A failed task is a successful envelope with a reason; its credit comes back."""
    data = finished(submit(prompt=f"a {FAIL} cat").json()["data"]["task_ids"][0])
    assert data["task_status"] == "FAILED"
    assert data["msg"]
    assert (sandbox.world.credits, sandbox.world.charged, sandbox.world.refunded) == (10_000, 1, 1)


def test_a_moderated_prompt_is_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 1005 at submission, uncharged."""
    assert submit(prompt=f"a {MODERATED} cat").json()["status"] == 1005
    assert sandbox.world.charged == 0


def test_more_tasks_than_allowed_are_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 6010 as soon as one task more would run; the counter sees it."""
    assert submit(prompt=STUCK, image_number=20).json()["status"] == 0
    assert submit().json()["status"] == 6010
    assert (sandbox.world.active, sandbox.world.counters.too_many_tasks) == (20, 1)


def test_a_batch_tells_of_all_its_tasks(http: httpx.Client, submit: Submit) -> None:
    """The batch lists its tasks in the order of the submission."""
    data = submit(prompt=STUCK, image_number=2).json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [task["task_id"] for task in batch] == data["task_ids"]
    assert {task["task_status"] for task in batch} <= {"waiting", "processing"}


@pytest.mark.parametrize("path", ["task_0", "7", "batch/5", "batch/x"])
def test_what_does_not_exist_is_1003(calm: Sandbox, path: str) -> None:
    """An unknown task or batch is a body code with HTTP 200."""
    headers = {"Authorization": f"Bearer {calm.key}"}
    answer = httpx.get(f"{calm.url}/v1/generation/{path}/status", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, 1003)


def test_the_balance_is_a_bare_number(http: httpx.Client, submit: Submit) -> None:
    """Credits left, after charging one for each picture."""
    submit(image_number=2)
    assert http.get("/v1/generation/balance").json()["data"] == 9_998


def test_counters_tell_what_was_received(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """POSTs, polls by task, connections and the presence of credentials are counted."""
    task_id = submit(prompt=STUCK).json()["data"]["task_ids"][0]
    submit(prompt="")
    for _ in range(3):
        http.get(f"/v1/generation/{task_id}/status")
    httpx.get(f"{sandbox.url}/files/x.png")
    counters = sandbox.world.counters
    assert (counters.posts, counters.polls) == (2, {task_id: 3})
    assert (counters.connections, counters.connections_peak) == (2, 2)
    assert [record.authorization for record in counters.requests] == [True] * 5 + [False]
    assert math.isinf(sandbox.world.tasks[0].ends_at)
