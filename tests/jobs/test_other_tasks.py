"""A response to a status check that names another task is no response: the task is polled again."""

from __future__ import annotations

from typing import Any

import pytest

from aiowery import Event, PollFailed, PollPolicy
from aiowery.errors import JobTimeout, UnexpectedResponse
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of, envelope, http_response, peer
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.mark.parametrize("kind", ["done", "running", "not found"])
async def test_poll_response_about_another_task_is_a_failed_poll(raw: RawProvider, kind: str) -> None:
    """The end, the progress and the absence of another task do not end or change the job."""
    other = {
        "done": raw.done("other"),
        "running": raw.running("other"),
        "not found": {**raw.not_found, "id": "other", "data": {"task_id": "other"}},
    }
    events: list[Event] = []
    responses = (raw.accepting("mine"), http_response(other[kind]), http_response(raw.done("mine")))
    settings = {"observer": events.append, "polling": PollPolicy(not_found_grace=0.0).faster(100)}
    async with peer(*responses) as server, raw.client(server.url, **settings) as client:
        result = await client.run(raw.request)
    assert result.url == "https://files.example.com/mine.png"
    (failed,) = [event for event in events if isinstance(event, PollFailed)]
    assert isinstance(failed.error, UnexpectedResponse)
    assert "mine was requested, the response is about other" in str(failed.error)
    assert len(server.requests) == 3


async def test_poll_response_without_id_is_about_the_requested_task(raw: RawProvider) -> None:
    """A status without any id is believed, because nothing contradicts it."""
    responses = (raw.accepting("mine"), http_response(raw.done(None)))
    async with peer(*responses) as server, raw.client(server.url) as client:
        result = await client.run(raw.request)
    assert (result.task_ids, len(server.requests)) == (("mine",), 2)


async def test_wait_nothing_but_other_tasks_raises_timeout_with_reason(raw: RawProvider) -> None:
    """The error names the number of failed polls and the other task, and has the latest failure as its cause."""
    responses = (raw.accepting("mine"), http_response(raw.done("other")))
    async with peer(*responses) as server, raw.client(server.url) as client:
        with pytest.raises(JobTimeout, match=r"failed since: \d+ \(.*the response is about other\)") as caught:
            await client.run(raw.request, timeout=0.3)
    assert isinstance(caught.value.__cause__, UnexpectedResponse)
    assert caught.value.__cause__.__cause__ is None


async def test_status_of_another_task_raises_unexpected_response(raw: RawProvider) -> None:
    """`client.status` is a read: it is repeated, and then raises an error that names both tasks."""
    async with peer(http_response(raw.done("other"))) as server, raw.client(server.url) as client:
        with pytest.raises(UnexpectedResponse, match="mine was requested, the response is about other"):
            await client.status("mine")
    assert len(server.requests) == 4


OTHERS: dict[str, list[dict[str, Any]]] = {
    "another batch": [{"task_id": "other", "task_status": "SUCCESS", "images": ["https://e.example/1.png"]}],
    "one more task": [
        *({"task_id": f"task_{n}", "task_status": "FAILED", "msg": "blocked"} for n in range(2)),
        {"task_id": "other", "task_status": "PROCESSING"},
    ],
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
@pytest.mark.virtual_time
async def test_poll_batch_response_with_other_tasks_polls_single_tasks(data: list[dict[str, Any]]) -> None:
    """A batch status with a task of another job is not believed, not even for tasks of this one."""
    provider = FakeWeryAI(seconds=10, faults={"batch": [envelope(data)]})
    async with client_of(provider) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=2))
    assert (len(result.assets), result.failures) == (2, ())
    assert set(provider.polls) == {"task_0", "task_1"}
