"""Calls that answer at once: chat, descriptions, documents, quick research. Paid for, so sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from support import World, client_of, envelope, http_answer, peer, serving

from aiowery import JobFinished, RetryPolicy, WeryAI
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ContentRejected,
    EmptyResult,
    InvalidRequest,
    SubmissionInDoubt,
)
from aiowery.testing import run_virtual
from aiowery.weryai import Chat, CorpusUpload, DeepResearch, ImageToPrompt, Message, TextToImage

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
    """Answer everything alike."""

    async def world(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answer

    return world


async def test_chat_returns_what_was_said() -> None:
    """Text, choices, reason and tokens come typed; the whole answer stays in `raw`."""
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
async def test_each_comes_as_its_own_result(request_: Any, data: dict[str, Any], text: str | None) -> None:
    """The answer is the result; no status is ever asked for."""
    asked: list[str] = []

    async def world(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return envelope(data)

    async with client_of(world) as client:
        result = await client.run(request_)
    assert type(result) is request_.result_type
    assert asked == ["POST"]
    if text is not None:
        assert result.text == text
    else:
        assert (result.name, result.uploaded_count) == ("fileSearchStores/a", 1)


async def test_a_lost_answer_is_a_doubt_and_not_a_second_charge() -> None:
    """The connection closes without a word: one POST, one `SubmissionInDoubt`."""
    async with peer(None) as server, WeryAI("sk-x", base_url=server.url, retries=QUICK) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.chat("hi")
    assert len(server.heard) == 1


@pytest.mark.parametrize("request_", PAID, ids=lambda request: request.type_name)
@pytest.mark.parametrize(
    "trouble",
    [httpx.ReadTimeout("lost"), httpx.Response(502), httpx.Response(200, html="<p>hm</p>"), httpx.Response(200)],
    ids=["time-out", "gateway", "page", "nothing"],
)
async def test_an_unclear_end_is_a_doubt(request_: Any, trouble: httpx.Response | Exception) -> None:
    """Whatever leaves it open whether it was charged: one POST, a doubt that holds the request, and a free lane."""
    posts: list[str] = []

    async def world(request: httpx.Request) -> httpx.Response:
        posts.append(request.method)
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    async with client_of(world, retries=QUICK) as client:
        with pytest.raises(SubmissionInDoubt) as caught:
            await client.run(request_)
        lane = client.statistics().queue
    assert caught.value.request is request_
    assert (posts, lane.in_use, lane.submitting) == (["POST"], 0, 0)


async def test_who_stops_waiting_loses_no_answer() -> None:
    """The call goes on without its caller, and `jobs()` holds what it brought."""
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def observer(event: object) -> None:
        if isinstance(event, JobFinished):
            ended.set()

    async def world(request: httpx.Request) -> httpx.Response:
        await request.aread()
        begun.set()
        await go_on.wait()
        return httpx.Response(200, json=ANSWER)

    async with client_of(world, observer=observer) as client:
        caller = asyncio.create_task(client.chat("hi"))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        await ended.wait()
        (job,) = client.jobs()
        assert (await job).text == "hi"


async def test_closing_waits_for_an_answer_that_is_paid_for() -> None:
    """A client that is left while a chat is under way brings it home first."""
    begun = asyncio.Event()

    async def world(request: httpx.Request) -> httpx.Response:
        await request.aread()
        begun.set()
        await asyncio.sleep(0.05)
        return httpx.Response(200, json=ANSWER)

    async with client_of(world) as client:
        caller = asyncio.create_task(client.chat("hi"))
        await begun.wait()
    assert (await caller).text == "hi"


async def test_a_slow_answer_outlasts_the_clients_time_out() -> None:
    """Chat has a time-out of its own: the answer comes after five times the client's."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(http_answer(ANSWER, connection="close"))
        await writer.drain()

    async with serving(slowly) as url, WeryAI("sk-x", base_url=url, http_timeout=0.1) as client:
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
async def test_a_refusal_is_told_in_either_form(answer: httpx.Response, error: type[APIError]) -> None:
    """Errors come in WeryAI's envelope or in OpenAI's form."""
    async with client_of(always(answer)) as client:
        with pytest.raises(error) as caught:
            await client.chat("hi")
    assert type(caught.value) is error


async def test_throttling_is_waited_out() -> None:
    """A 429 is a refusal that a repeat cures: the lane rests, and the call goes out again."""
    answers = [http_answer({"status": 429, "message": "slow down"}, "429 Too Many"), http_answer(ANSWER)]
    async with peer(*answers) as server, WeryAI("sk-x", base_url=server.url, retries=QUICK) as client:
        assert (await client.chat("hi")).text == "hi"
    assert len(server.heard) == 2


def test_both_sorts_go_through_one_stream() -> None:
    """Tasks and calls that answer at once may be mixed in a stream; each outcome has its own result."""
    world = World(seconds=20)

    async def mixed(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("completions"):
            return httpx.Response(200, json=ANSWER)
        return await world(request)

    async def main() -> None:
        async with client_of(mixed) as client:
            requests: list[Any] = [Chat(messages="hi"), TextToImage(prompt="hills"), Chat(messages="ho")]
            async with client.stream(requests, ordered=True) as outcomes:
                found = [outcome.unwrap() async for outcome in outcomes]
        assert [result.text for result in found] == ["hi", None, "hi"]
        assert found[1].urls

    run_virtual(main())


@pytest.mark.parametrize("timeout", [5.0, 900.0])
async def test_only_the_answer_may_take_its_time(timeout: float) -> None:
    """A chat waits longer for its answer, not for a connection; a more patient client stays patient."""
    asked: list[dict[str, float]] = []

    async def world(request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"])
        return httpx.Response(200, json=ANSWER)

    async with client_of(world, http_timeout=timeout) as client:
        await client.chat("hi")
    assert (asked[0]["connect"], asked[0]["read"]) == (timeout, max(timeout, 600.0))


@pytest.mark.parametrize("throttled", [False, True])
def test_slow_answers_do_not_hold_up_the_lane(*, throttled: bool) -> None:
    """Calls that answer after minutes leave the door open for tasks, also after a refusal because of load."""
    world = World(seconds=5)
    refusals = [httpx.Response(429, json={"status": 429, "message": "slow down"})] * throttled

    async def mixed(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("completions"):
            return await world(request)
        if refusals:
            return refusals.pop()
        await asyncio.sleep(300)
        return httpx.Response(200, json=ANSWER)

    async def main() -> None:
        async with client_of(mixed) as client:
            began = asyncio.get_running_loop().time()
            chats = [asyncio.create_task(client.chat("hi")) for _ in range(4)]
            await asyncio.sleep(0.1)
            await client.submit(TextToImage(prompt="hills"))
            assert asyncio.get_running_loop().time() - began < 60
            await asyncio.gather(*chats)

    run_virtual(main())


async def test_a_chat_answer_in_an_envelope_is_read() -> None:
    """An answer that was paid for is not lost to a wrapper."""

    async def world(_: httpx.Request) -> httpx.Response:
        return envelope(ANSWER)

    async with client_of(world) as client:
        assert (await client.chat("hi")).text == "hi"


async def test_an_envelope_of_success_without_an_answer_is_a_doubt() -> None:
    """It says that it succeeded, so it may have been charged: nobody is told to try again."""

    async def world(_: httpx.Request) -> httpx.Response:
        return envelope(None)

    async with client_of(world) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.chat("hi")


async def test_an_empty_answer_leads_to_no_task() -> None:
    """All tokens were spent before the first word: there is no task to ask about again."""
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
    async with client_of(always(httpx.Response(200, json={**ANSWER, "choices": [choice]}))) as client:
        with pytest.raises(EmptyResult, match="change the request") as caught:
            await client.chat("hi")
    assert "client.job" not in str(caught.value)


def test_research_that_only_thinks_so_far_goes_on() -> None:
    """A task that is said to be under way is looked at, whatever came with its acceptance."""
    thought = {"type": "thought", "text": "planning"}

    async def world(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            data: Any = {"task_id": "t1", "status": "processing", "deep_research_outputs": [thought]}
            return envelope(data)
        return envelope({"task_id": "t1", "task_status": "succeed", "deep_research_outputs": ["the report"]})

    async def main() -> None:
        async with client_of(world) as client:
            result = await client.run(DeepResearch(input="why", mode="DEEP_RESEARCH"))
        assert result.text == "the report"

    run_virtual(main())


async def test_answers_without_an_id_are_told_apart() -> None:
    """Two answers that bring no id are two jobs."""
    number = iter(range(9))

    async def world(_: httpx.Request) -> httpx.Response:
        return envelope({"name": f"fileSearchStores/{next(number)}", "uploaded_count": 1})

    async with client_of(world) as client:
        first, second = [await client.submit(CorpusUpload(file_url="https://e.com/a.pdf")) for _ in range(2)]
        assert first.task_ids != second.task_ids
        assert client.job(*second.task_ids) is second
