"""Odd status checks: pages, "not found" among good ones, refusals that end a task, outputs that are none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from aiowery import Event, PollFailed, PollPolicy
from aiowery.errors import EmptyResult, JobFailed, JobLost, JobTimeout, UnexpectedResponse
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of, envelope, http_response, now, peer, responding
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio

WERYAI = RAW_PROVIDERS["weryai"]
PAGE = "<html>an error page</html>"
URL = "https://files.example.com/1.png"


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


def weryai(**data: Any) -> bytes:
    """Return a status of WeryAI's."""
    return http_response({"status": 0, "message": "success", "data": {"task_id": "t1", **data}})


def betterwaifu(**fields: Any) -> bytes:
    """Return a status of BetterWaifu's."""
    return http_response({"id": "t1", **fields})


# Pages, and tasks that are not found.


@pytest.mark.parametrize("status", [403, 404, 410, 502])
async def test_poll_page_says_nothing_about_the_task(raw: RawProvider, status: int) -> None:
    """However often a page answers a status check, and however late, the job goes on."""
    pages = [http_response(PAGE, f"{status} X")] * 5
    policy = PollPolicy(not_found_grace=0.0).faster(100)
    async with peer(raw.accepting("t1"), *pages, http_response(raw.done("t1"))) as server:
        async with raw.client(server.url, polling=policy) as client:
            assert (await client.run(raw.request)).task_ids == ("t1",)
    assert server.posts == 1


def not_found(raw: RawProvider) -> bytes:
    """Return the provider's own report that it does not know a task."""
    return http_response(raw.not_found, "404 Not Found" if "error" in raw.not_found else "200 OK")


async def test_poll_not_found_twice_among_good_statuses_goes_on(raw: RawProvider) -> None:
    """Two reports in a row are too few; a good status begins a new row."""
    running = http_response(raw.running("t1"))
    row = [not_found(raw), not_found(raw), running]
    policy = PollPolicy(not_found_grace=0.0).faster(100)
    async with peer(raw.accepting("t1"), *row, *row, *row, http_response(raw.done("t1"))) as server:
        async with raw.client(server.url, polling=policy) as client:
            assert (await client.run(raw.request)).task_ids == ("t1",)


async def test_poll_not_found_three_times_is_lost(raw: RawProvider) -> None:
    """The third report in a row ends the job, once the grace period is over."""
    policy = PollPolicy(not_found_grace=0.0).faster(100)
    async with peer(raw.accepting("t1"), not_found(raw)) as server:
        async with raw.client(server.url, polling=policy) as client:
            with pytest.raises(JobLost, match="t1"):
                await client.run(raw.request)
    assert len(server.requests) == 4


@pytest.mark.virtual_time
async def test_poll_attached_job_not_found_has_the_grace_too() -> None:
    """A job that is attached again may be unknown for half a minute: a replica of the provider may lag behind."""
    provider = FakeWeryAI(seconds=20)
    async with client_of(provider) as client:
        job = await client.submit(TextToImage(prompt="a cat"))
        task_id = job.task_ids[0]
    provider.faults["status"] = [envelope(None, 1003, "task not exist")] * 4
    async with client_of(provider) as client:
        assert (await client.job(task_id)).task_ids == (task_id,)
    async with client_of(provider) as client:
        began = now()
        with pytest.raises(JobLost):
            await client.job("task_unknown")
        assert 30 <= now() - began <= 60


@pytest.mark.virtual_time
async def test_poll_not_found_for_one_of_four_tasks_keeps_all_pictures() -> None:
    """One report among good ones costs none of the pictures of a job with several tasks."""
    provider = FakeWeryAI(seconds=60)
    provider.faults["batch"] = [envelope(None, 1003, "batch not exist")]
    async with client_of(provider) as client:
        job = await client.submit(TextToImage(prompt="cats", image_number=4))
        await asyncio.sleep(40)
        provider.faults["status"] = [envelope(None, 1003, "task not exist")]
        assert len((await job).assets) == 4


# Ends of tasks.


FAILED = {
    "an output without a url": ("weryai", weryai(task_status="failed", images=[{"url": None}], msg="blocked")),
    "reason in the envelope": (
        "weryai",
        http_response({"status": 0, "message": "blocked", "data": {"task_id": "t1", "task_status": "FAILED"}}),
    ),
    "task_status_msg": ("weryai", weryai(task_status="FAILED", task_status_msg="blocked")),
    "error": ("weryai", weryai(task_status="FAILED", error="blocked")),
    "error object": ("weryai", weryai(task_status="FAILED", error={"code": 7, "message": "blocked"})),
    "fail_reason": ("weryai", weryai(task_status="FAILED", fail_reason="blocked")),
    "a word before the reason": ("weryai", weryai(task_status="FAILED", message="success", fail_reason="blocked")),
    "failReason": ("weryai", weryai(task_status="FAILED", failReason="blocked")),
    "error_message": ("weryai", weryai(task_status="FAILED", error_message="blocked")),
    "list of errors": ("weryai", weryai(task_status="FAILED", errors=[{"detail": "blocked"}])),
    "error in the output": ("weryai", weryai(task_status="FAILED", output={"error": "blocked"})),
    "msg in the result": ("weryai", weryai(task_status="FAILED", task_result={"msg": "blocked"})),
    "desc behind a word": (
        "weryai",
        http_response(
            {"status": 0, "message": "Success", "desc": "blocked", "data": {"task_id": "t1", "task_status": "FAILED"}}
        ),
    ),
    "a code with data": (
        "weryai",
        http_response({"status": 6004, "message": "blocked", "data": {"task_id": "t1", "task_status": "FAILED"}}),
    ),
    "a code and a server error with data": (
        "weryai",
        http_response(
            {"status": 6004, "message": "blocked", "data": {"task_id": "t1", "task_status": "FAILED"}}, "500 X"
        ),
    ),
    "BetterWaifu": ("betterwaifu", betterwaifu(status="failed", error="blocked")),
    "BetterWaifu, error object": ("betterwaifu", betterwaifu(status="failed", error={"message": "blocked"})),
    "BetterWaifu, list": ("betterwaifu", betterwaifu(status="failed", error=["blocked"])),
    "BetterWaifu, error_message": ("betterwaifu", betterwaifu(status="failed", error_message="blocked")),
    "BetterWaifu, error in the output": ("betterwaifu", betterwaifu(status="failed", output={"error": "blocked"})),
    "BetterWaifu, message": ("betterwaifu", betterwaifu(status="failed", message="blocked")),
    "BetterWaifu, an output without a url": (
        "betterwaifu",
        betterwaifu(status="failed", error="blocked", output={"images": [{"url": None}]}),
    ),
    "BetterWaifu, with 500": (
        "betterwaifu",
        http_response({"id": "t1", "status": "failed", "error": "blocked"}, "500 X"),
    ),
}


@pytest.mark.parametrize(("provider", "status"), FAILED.values(), ids=FAILED)
async def test_poll_failed_task_ends_with_its_reason(provider: str, status: bytes) -> None:
    """The first status that names the task as failed ends the job, wherever the reason stands."""
    raw = RAW_PROVIDERS[provider]
    async with peer(raw.accepting("t1"), status) as server, raw.client(server.url) as client:
        with pytest.raises(JobFailed, match="blocked"):
            await client.run(raw.request)
    assert len(server.requests) == 2


REFUSED = {
    "1005": ("weryai", {"status": 1005, "message": "content moderation failed"}, "200 OK"),
    "2003": ("weryai", {"status": 2003, "message": "text check failed"}, "400 Bad Request"),
    "6004": ("weryai", {"status": 6004, "message": "workflow failed"}, "200 OK"),
    "6004 with 500": ("weryai", {"status": 6004, "message": "workflow failed"}, "500 Internal Server Error"),
    "generation failed": ("weryai", {"status": 7777, "message": "Generation failed"}, "200 OK"),
    "content with another code": (
        "weryai",
        {"status": 1001, "message": "the prompt violates our content policy"},
        "200 OK",
    ),
    "BetterWaifu": ("betterwaifu", {"error": "The prompt was flagged by moderation"}, "422 X"),
    "BetterWaifu, generation failed": ("betterwaifu", {"error": "Generation failed"}, "500 X"),
}


@pytest.mark.parametrize(("provider", "body", "status"), REFUSED.values(), ids=REFUSED)
async def test_poll_refusal_of_content_or_generation_ends_the_job_when_repeated(
    provider: str, body: dict[str, Any], status: str
) -> None:
    """The first one may be about the status check; the second one in a row ends the job with its reason."""
    raw = RAW_PROVIDERS[provider]
    refusal = http_response(body, status)
    async with peer(raw.accepting("t1"), refusal) as server, raw.client(server.url) as client:
        with pytest.raises(JobFailed, match=str(body.get("message") or body["error"])):
            await client.run(raw.request)
    assert len(server.requests) == 3
    running, done = http_response(raw.running("t1")), http_response(raw.done("t1"))
    async with peer(raw.accepting("t1"), refusal, running, refusal, done) as server, raw.client(server.url) as client:
        assert (await client.run(raw.request)).assets


@pytest.mark.parametrize("code", [1001, 1002, 5000, 6001, 6002])
async def test_poll_other_refusal_never_ends_a_job(code: int) -> None:
    """A refusal that speaks of the request, the key or the server is about the status check."""
    refusal = http_response({"status": code, "message": "no"})
    answers = (WERYAI.accepting("t1"), *[refusal] * 4, http_response(WERYAI.done("t1")))
    async with peer(*answers) as server, WERYAI.client(server.url) as client:
        assert (await client.run(WERYAI.request)).assets


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        ("weryai", weryai(task_status="FAILED", images=[URL, "https://files.example.com/2.png"], msg="stopped")),
        (
            "betterwaifu",
            betterwaifu(status="failed", error="stopped", output={"images": [{"url": URL}, {"url": URL + "?2"}]}),
        ),
    ],
    ids=["weryai", "betterwaifu"],
)
async def test_poll_failed_task_with_outputs_is_a_partial_result(provider: str, status: bytes) -> None:
    """What was made and charged is returned, and the failure with its reason is in the result too."""
    raw = RAW_PROVIDERS[provider]
    async with peer(raw.accepting("t1"), status) as server, raw.client(server.url) as client:
        result = await client.run(raw.request)
    assert len(result.urls) == 2
    assert result.urls[0] == URL
    assert [failure.reason for failure in result.failures] == ["stopped"]


# Outputs.

UNUSABLE: dict[str, Any] = {
    "null as text": ["null"],
    "a word": ["pending"],
    "base64": ["iVBORw0KGgo" * 100],
    "a list as text": '["https://files.example.com/1.png"]',
    "null url": [{"url": None}],
    "no url": [{"width": 512}],
    "a number": [7],
    "a local file": ["file:///etc/passwd"],
}


@pytest.mark.parametrize("images", UNUSABLE.values(), ids=UNUSABLE)
async def test_poll_success_without_a_url_is_empty(raw: RawProvider, images: Any) -> None:
    """Only http, https and data URLs are outputs. The error shows what there is instead."""
    done: dict[str, Any] = raw.done("t1")
    if raw is WERYAI:
        done["data"]["images"] = images
    else:
        done["output"] = {"images": images}
    async with peer(raw.accepting("t1"), http_response(done)) as server, raw.client(server.url) as client:
        with pytest.raises(EmptyResult, match="no url in ") as caught:
            await client.run(raw.request)
    shown = images if isinstance(images, str) else images[0]
    assert str(shown if isinstance(shown, (str, int)) else next(iter(shown)))[:20] in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert len(server.requests) == 2


@pytest.mark.parametrize("url", [f" {URL}", f"{URL}\n", f"\t{URL} \r\n", f"\ufeff{URL}\u200b\0", f"\u3000{URL}\xa0"])
async def test_poll_url_is_trimmed(raw: RawProvider, url: str) -> None:
    """White space and invisible characters around a URL are no part of it, in a list and in an object."""
    for item in (url, {"url": url}):
        done: dict[str, Any] = raw.done("t1")
        if raw is WERYAI:
            done["data"]["images"] = [item, "null"]
        else:
            done["output"] = {"images": [item, {"url": "null"}]}
        async with peer(raw.accepting("t1"), http_response(done)) as server, raw.client(server.url) as client:
            assert (await client.run(raw.request)).urls == (URL,)


@pytest.mark.parametrize("words", ["finished", "blocked by moderation"])
async def test_poll_success_without_a_url_shows_the_words_of_the_provider_too(raw: RawProvider, words: str) -> None:
    """What the provider says about an empty result, and what it holds instead of a URL, are both in the error."""
    done: dict[str, Any] = raw.done("t1")
    if raw is WERYAI:
        done["data"].update(images=["null"], msg=words)
    else:
        done.update(output={"images": ["null"]}, message=words)
    async with peer(raw.accepting("t1"), http_response(done)) as server, raw.client(server.url) as client:
        with pytest.raises(EmptyResult, match=rf"{words}; no url in .*null"):
            await client.run(raw.request)


async def test_poll_data_url_is_an_output(raw: RawProvider) -> None:
    """An output may be in the response itself."""
    done: dict[str, Any] = raw.done("t1")
    output = "data:image/png;base64,iVBORw0KGgo="
    if raw is WERYAI:
        done["data"]["images"] = [output]
    else:
        done["output"] = {"images": [{"url": output}]}
    async with peer(raw.accepting("t1"), http_response(done)) as server, raw.client(server.url) as client:
        assert (await client.run(raw.request)).urls == (output,)


# The last status check.


@pytest.mark.virtual_time
@pytest.mark.parametrize("seconds", [1.0, 57.5, 58.0, 59.0, 59.9])
async def test_wait_job_that_ends_before_the_deadline_has_a_result(seconds: float) -> None:
    """An end after the latest status check is found by one more at the deadline."""
    provider = FakeWeryAI(seconds=seconds)
    async with client_of(provider) as client:
        for _ in range(5):
            began = now()
            assert (await client.run(TextToImage(prompt="a cat"), timeout=60)).assets
            assert now() - began <= 62  # deadlines have a precision of 1.5 s


@pytest.mark.two_loops
async def test_wait_after_blocked_loop_has_a_result(raw: RawProvider) -> None:
    """A process that was stopped over its deadline polls before it gives up."""
    done = False

    def respond(request: bytes) -> bytes:
        if request.startswith(b"POST"):
            return raw.accepting("t1")
        return http_response(raw.done("t1") if done else raw.running("t1"))

    async with responding(respond) as server, raw.client(server.url) as client:
        job = await client.submit(raw.request)
        waiting = asyncio.create_task(job.wait(timeout=0.3))
        await asyncio.sleep(0.1)
        done = True
        time.sleep(0.4)  # noqa: ASYNC251 - as a stopped process
        assert (await waiting).task_ids == ("t1",)


@pytest.mark.virtual_time
async def test_wait_timeout_names_status_failures_and_cause() -> None:
    """The error holds the last status, the number of failed checks since, and the last failure as its cause."""
    events: list[Event] = []
    provider = FakeWeryAI(seconds=600)
    async with client_of(provider, observer=events.append) as client:
        job = await client.submit(TextToImage(prompt="a cat"))
        await asyncio.sleep(20)
        provider.faults["status"] = [envelope(["odd"])] * 100
        with pytest.raises(JobTimeout, match=r"last status: PROCESSING.*status checks failed since: \d+") as caught:
            await job.wait(timeout=60)
    failed = [event for event in events if isinstance(event, PollFailed)]
    assert f"failed since: {len(failed)} " in str(caught.value)
    assert isinstance(caught.value.__cause__, UnexpectedResponse)


@pytest.mark.virtual_time
async def test_wait_timeout_with_silent_provider_comes_in_time() -> None:
    """If the last status check gets no answer, the caller waits three seconds more at most."""
    provider = FakeWeryAI(seconds=600)
    async with client_of(provider) as client:
        job = await client.submit(TextToImage(prompt="a cat"))
        await asyncio.sleep(10)
        provider.latency = 1000.0
        with pytest.raises(JobTimeout, match="last status: PROCESSING"):
            await job.wait(timeout=30)
        assert 30 <= now() <= 34
