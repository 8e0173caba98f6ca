"""Direct calls: chat, descriptions, documents, quick research. They are paid, so they are sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from aiowery import JobFinished, RetryPolicy, WeryAI
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ContentRejected,
    EmptyResult,
    InvalidRequest,
    SubmissionInDoubt,
)
from aiowery.weryai import Chat, CorpusUpload, DeepResearch, ImageToPrompt, Message, TextToImage
from tests.support import FakeWeryAI, client_of, envelope, http_response, peer, serving

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
ANSWER = {
    "id": "chat-9",
    "object": "chat.completion",
    "model": "GPT_4O",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5},
}

PAID: list[Any] = [
    Chat(messages="hi"),
    ImageToPrompt(image_url="https://e.com/a.png", image_kilobytes=9),
    CorpusUpload(file_url="https://e.com/a.pdf"),
    DeepResearch(input="why", model="GEMINI_25_PRO"),
]


def always(answer: httpx.Response) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    """Return a handler that gives every request the same response."""

    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answer

    return respond


async def test_chat_returns_typed_result() -> None:
    """Text, choices, reason and tokens are typed. The whole response is in `raw`."""
    async with client_of(always(httpx.Response(200, json=ANSWER))) as client:
        result = await client.chat([Message("system", "be brief"), {"role": "user", "content": "hi"}], n=1)
        assert (result.text, result.choices, result.finish_reason) == ("hi", ("hi",), "stop")
        assert result.usage["total_tokens"] == 5
        assert (result.task_ids, result.raw[0]["model"]) == (("chat-9",), "GPT_4O")
        assert client.statistics().queue.in_use == 0


@pytest.mark.parametrize(
    ("request_", "data", "text"),
    [
        (ImageToPrompt(image_url="https://e.com/a.png", image_kilobytes=9), {"prompt": "a cat"}, "a cat"),
        (CorpusUpload(file_url="https://e.com/a.pdf"), {"name": "fileSearchStores/a", "uploaded_count": 1}, None),
        (
            DeepResearch(input="why", model="GEMINI_25_PRO"),
            {"interaction_id": "int_5", "deep_research_outputs": [{"type": "text", "text": "so"}]},
            "so",
        ),
    ],
    ids=["image-to-prompt", "corpus-upload", "deep-research"],
)
async def test_run_direct_call_returns_own_result_type(request_: Any, data: dict[str, Any], text: str | None) -> None:
    """The response is the result. No status is requested."""
    requested: list[str] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        requested.append(request.method)
        return envelope(data)

    async with client_of(respond) as client:
        result = await client.run(request_)
    assert type(result) is request_.result_type
    assert requested == ["POST"]
    if text is not None:
        assert result.text == text
    else:
        assert (result.name, result.uploaded_count) == ("fileSearchStores/a", 1)


async def test_chat_connection_closed_raises_in_doubt_after_one_post() -> None:
    """If the connection closes without a response, there is one POST and one `SubmissionInDoubt`."""
    async with peer(None) as server, WeryAI("sk-made-up", base_url=server.url, retries=QUICK) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.chat("hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("request_", PAID, ids=lambda request: request.type_name)
@pytest.mark.parametrize(
    "fault",
    [httpx.ReadTimeout("lost"), httpx.Response(502), httpx.Response(200, html="<p>hm</p>"), httpx.Response(200)],
    ids=["time-out", "gateway", "page", "nothing"],
)
async def test_run_unclear_response_raises_in_doubt_after_one_post(
    request_: Any, fault: httpx.Response | Exception
) -> None:
    """If the charge is unclear, there is one POST, a doubt with the request, and a free queue."""
    posts: list[str] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        posts.append(request.method)
        if isinstance(fault, Exception):
            raise fault
        return fault

    async with client_of(respond, retries=QUICK) as client:
        with pytest.raises(SubmissionInDoubt) as caught:
            await client.run(request_)
        queue = client.statistics().queue
    assert caught.value.request is request_
    assert (posts, queue.in_use, queue.submitting) == (["POST"], 0, 0)


async def test_chat_cancelled_keeps_result_in_jobs() -> None:
    """The request goes on without its caller, and `jobs()` returns its job."""
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def observer(event: object) -> None:
        if isinstance(event, JobFinished):
            ended.set()

    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        begun.set()
        await go_on.wait()
        return httpx.Response(200, json=ANSWER)

    async with client_of(respond, observer=observer) as client:
        caller = asyncio.create_task(client.chat("hi"))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        await ended.wait()
        (job,) = client.jobs()
        assert (await job).text == "hi"


async def test_close_waits_for_paid_response() -> None:
    """A client that closes during a chat waits for the response."""
    begun = asyncio.Event()

    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        begun.set()
        await asyncio.sleep(0.05)
        return httpx.Response(200, json=ANSWER)

    async with client_of(respond) as client:
        caller = asyncio.create_task(client.chat("hi"))
        await begun.wait()
    assert (await caller).text == "hi"


async def test_chat_response_slower_than_http_timeout_succeeds() -> None:
    """Chat has a timeout of its own, so a response after five times the client's timeout is returned."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(http_response(ANSWER, connection="close"))
        await writer.drain()

    async with serving(slowly) as url, WeryAI("sk-made-up", base_url=url, http_timeout=0.1) as client:
        assert (await client.chat("hi")).text == "hi"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (envelope(None, 1001, "messages cannot be empty"), InvalidRequest),
        (envelope(None, 1005, "moderated"), ContentRejected),
        (httpx.Response(401, json={"error": {"message": "invalid api key", "type": "auth"}}), AuthenticationError),
        (httpx.Response(400, json={"error": {"message": "max_tokens must be positive"}}), InvalidRequest),
    ],
    ids=["envelope", "moderation", "openai-401", "openai-400"],
)
async def test_chat_rejection_in_either_form_raises_its_error(answer: httpx.Response, error: type[APIError]) -> None:
    """Errors arrive in WeryAI's envelope or in OpenAI's form."""
    async with client_of(always(answer)) as client:
        with pytest.raises(error) as caught:
            await client.chat("hi")
    assert type(caught.value) is error


async def test_chat_rate_limited_is_repeated() -> None:
    """After a 429 the queue pauses, and the request is sent again."""
    answers = [http_response({"status": 429, "message": "slow down"}, "429 Too Many"), http_response(ANSWER)]
    async with peer(*answers) as server, WeryAI("sk-made-up", base_url=server.url, retries=QUICK) as client:
        assert (await client.chat("hi")).text == "hi"
    assert len(server.requests) == 2


@pytest.mark.virtual_time
async def test_stream_mixes_tasks_and_direct_calls() -> None:
    """Tasks and direct calls may be mixed in a stream. Each outcome has its own result type."""
    provider = FakeWeryAI(seconds=20)

    async def mixed(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("completions"):
            return httpx.Response(200, json=ANSWER)
        return await provider(request)

    async with client_of(mixed) as client:
        requests: list[Any] = [Chat(messages="hi"), TextToImage(prompt="hills"), Chat(messages="ho")]
        async with client.stream(requests, ordered=True) as outcomes:
            found = [outcome.unwrap() async for outcome in outcomes]
    assert [result.text for result in found] == ["hi", None, "hi"]
    assert found[1].urls


@pytest.mark.parametrize("timeout", [5.0, 900.0])
async def test_chat_timeout_applies_to_response_only(timeout: float) -> None:
    """A chat waits longer for its response, not for a connection. A longer timeout of the client is kept."""
    requested: list[dict[str, float]] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        requested.append(request.extensions["timeout"])
        return httpx.Response(200, json=ANSWER)

    async with client_of(respond, http_timeout=timeout) as client:
        await client.chat("hi")
    assert (requested[0]["connect"], requested[0]["read"]) == (timeout, max(timeout, 600.0))


@pytest.mark.parametrize("throttled", [False, True])
@pytest.mark.virtual_time
async def test_direct_calls_do_not_block_tasks(*, throttled: bool) -> None:
    """Slow direct calls do not delay the submission of tasks, also not after a rejection because of load."""
    provider = FakeWeryAI(seconds=5)
    refusals = [httpx.Response(429, json={"status": 429, "message": "slow down"})] * throttled

    async def mixed(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("completions"):
            return await provider(request)
        if refusals:
            return refusals.pop()
        await asyncio.sleep(300)
        return httpx.Response(200, json=ANSWER)

    async with client_of(mixed) as client:
        began = asyncio.get_running_loop().time()
        chats = [asyncio.create_task(client.chat("hi")) for _ in range(4)]
        await asyncio.sleep(0.1)
        await client.submit(TextToImage(prompt="hills"))
        assert asyncio.get_running_loop().time() - began < 60
        await asyncio.gather(*chats)


async def test_chat_response_in_envelope_is_decoded() -> None:
    """A paid response inside an envelope is not lost."""

    async def respond(_: httpx.Request) -> httpx.Response:
        return envelope(ANSWER)

    async with client_of(respond) as client:
        assert (await client.chat("hi")).text == "hi"


async def test_chat_success_without_data_raises_in_doubt() -> None:
    """The response reports success, so it may have been charged."""

    async def respond(_: httpx.Request) -> httpx.Response:
        return envelope(None)

    async with client_of(respond) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.chat("hi")


async def test_chat_empty_response_raises_empty_result_without_task() -> None:
    """The model spent all tokens without text. The error names no task, because there is none."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
    async with client_of(always(httpx.Response(200, json={**ANSWER, "choices": [choice]}))) as client:
        with pytest.raises(EmptyResult, match="change the request") as caught:
            await client.chat("hi")
    assert "client.job" not in str(caught.value)


@pytest.mark.virtual_time
async def test_research_still_running_is_polled() -> None:
    """A task that is reported as running is polled, whatever outputs came with its acceptance."""
    thought = {"type": "thought", "text": "planning"}

    async def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            data: Any = {"task_id": "t1", "status": "processing", "deep_research_outputs": [thought]}
            return envelope(data)
        return envelope({"task_id": "t1", "task_status": "succeed", "deep_research_outputs": ["the report"]})

    async with client_of(respond) as client:
        result = await client.run(DeepResearch(input="why", mode="DEEP_RESEARCH"))
    assert result.text == "the report"


async def test_direct_calls_without_id_are_distinct_jobs() -> None:
    """Two responses without an id are two jobs."""
    number = iter(range(9))

    async def respond(_: httpx.Request) -> httpx.Response:
        return envelope({"name": f"fileSearchStores/{next(number)}", "uploaded_count": 1})

    async with client_of(respond) as client:
        first, second = [await client.submit(CorpusUpload(file_url="https://e.com/a.pdf")) for _ in range(2)]
        assert first.task_ids != second.task_ids
        assert client.job(*second.task_ids) is second
