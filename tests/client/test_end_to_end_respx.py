"""Requests and results end to end, with the client's own pool under respx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import respx

from aiowery import PollPolicy, WeryAI
from aiowery.errors import InvalidRequest, NotFound, UnexpectedResponse
from aiowery.weryai import TextToImage
from tests.support import KEY, URL, envelope

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/generation/text-to-image"


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    """Intercept all requests. One that the test does not expect is an error."""
    with respx.mock(base_url=URL, assert_all_called=True) as router:
        yield router


def client() -> WeryAI:
    """Return a client that polls within milliseconds."""
    return WeryAI(KEY, base_url=URL, polling=PollPolicy().faster(1000))


def task(task_id: str, status: str, **more: Any) -> dict[str, Any]:
    """Return one task of a status response."""
    return {"task_id": task_id, "task_status": status, **more}


async def test_run_one_picture_sends_one_post_and_polls(wire: respx.MockRouter) -> None:
    """The POST holds exactly the given fields, and the status is polled until the task is done."""
    submit = wire.post(SUBMIT).respond(json=json.loads(envelope({"batch_id": 9, "task_ids": ["t/1"]}).content))
    status = wire.get("/v1/generation/t%2F1/status")
    status.side_effect = [
        envelope(task("t/1", "waiting")),
        envelope(task("t/1", "PROCESSING")),
        envelope(task("t/1", "Succeed", images=["https://f.example/1.png"], cost_credits=2)),
    ]
    async with client() as weryai:
        result = await weryai.run(
            TextToImage(prompt="a cat", model="FLUX", aspect_ratio="2k", negative_prompt="dogs", extra={"seed": 7})
        )
    assert result.urls == ("https://f.example/1.png",)
    assert result.credits == 2
    sent = submit.calls.last.request
    assert json.loads(sent.content) == {
        "prompt": "a cat",
        "model": "FLUX",
        "aspect_ratio": "2k",
        "negative_prompt": "dogs",
        "seed": 7,
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert submit.call_count == 1
    assert status.call_count == 3


async def test_run_two_pictures_polls_batch_endpoint(wire: respx.MockRouter) -> None:
    """One GET of the provider batch shows both tasks, in any order."""
    wire.post(SUBMIT).mock(return_value=envelope({"batch_id": 9, "task_ids": ["a", "b"]}))
    batch = wire.get("/v1/generation/batch/9/status")
    batch.side_effect = [
        envelope([task("b", "waiting"), task("a", "processing")]),
        envelope(
            [
                task("b", "SUCCESS", images=[{"image_url": "https://f.example/b.png"}]),
                task("a", "SUCCESS", images=["https://f.example/a.png"]),
            ]
        ),
    ]
    async with client() as weryai:
        result = await weryai.run(TextToImage(prompt="cats", image_number=2))
    assert result.urls == ("https://f.example/a.png", "https://f.example/b.png")
    assert batch.call_count == 2


async def test_run_prompt_with_lone_surrogate_is_sent_once(wire: respx.MockRouter) -> None:
    """Emoji, quotes and half a surrogate pair in a prompt do not break a submission."""
    prompt = 'a "cat" \N{CAT FACE} \ud83d'
    submit = wire.post(SUBMIT).mock(return_value=envelope({"task_id": "a", "task_status": "waiting"}))
    wire.get("/v1/generation/a/status").mock(return_value=envelope(task("a", "success", images="https://f.example/a")))
    async with client() as weryai:
        await weryai.run(TextToImage(prompt=prompt))
    assert json.loads(submit.calls.last.request.content)["prompt"] == prompt


async def test_reads_use_documented_paths(wire: respx.MockRouter) -> None:
    """The balance is a number, a status is one task's, and an unknown task raises NotFound."""
    wire.get("/v1/generation/balance").mock(return_value=envelope(41.5))
    wire.get("/v1/generation/a/status").mock(return_value=envelope(task("a", "FAILED", msg="no")))
    wire.get("/v1/generation/b/status").mock(return_value=envelope(None, 1003, "task not exist"))
    async with client() as weryai:
        assert await weryai.balance() == 41.5
        assert (await weryai.status("a")).reason == "no"
        with pytest.raises(NotFound, match="code 1003"):
            await weryai.status("b")


async def test_status_unexpected_response_names_faulty_fields(wire: respx.MockRouter) -> None:
    """A response outside the contract is reported with the path of each fault, after the retries."""
    wire.get("/v1/generation/a/status").mock(return_value=envelope({"task_id": "a", "task_status": 5, "images": []}))
    async with WeryAI(KEY, base_url=URL) as weryai:
        weryai._runtime.api.client.retries = weryai.retries.faster(1000)
        with pytest.raises(UnexpectedResponse) as caught:
            await weryai.status("a")
    assert caught.value.faults == ("$.data.task_status: a string is expected, got a number",)


async def test_run_rejection_keeps_code_status_and_body(wire: respx.MockRouter) -> None:
    """The error holds code, HTTP status and raw body, and its message the provider's reason."""
    wire.post(SUBMIT).mock(return_value=envelope(None, 1001, "aspect ratio is not supported"))
    async with client() as weryai:
        with pytest.raises(InvalidRequest, match="aspect ratio is not supported") as caught:
            await weryai.run(TextToImage(prompt="a cat", aspect_ratio="7:7"))
    assert (caught.value.code, caught.value.http_status) == (1001, 200)
    assert caught.value.raw["desc"] == "aspect ratio is not supported"
