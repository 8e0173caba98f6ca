"""The registries: read from their own host, merged, asked about a request before money is spent."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from aiowery import Request, RetryPolicy, WeryAI
from aiowery.errors import ConfigurationError
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.testing import run_virtual
from aiowery.weryai import (
    Chat,
    FirstLastImageToVideo,
    ImageToVideo,
    MultiImageToVideo,
    TextToImage,
    TextToVideo,
    _model_listing,
)
from tests.support import KEY, URL, envelope

IMAGE = {
    "text_to_image": [{"model_key": "M", "image_sizes": ["1:1"], "num_images": [1, 2], "prompt_length_limit": 10}],
    "image_to_image": [],
}
VIDEO = {
    "text_to_video": [],
    "image_to_video": [
        {
            "model_key": "V",
            "durations": [8],
            "aspect_ratios": [],
            "has_generate_audio": False,
            "has_negative_prompt": False,
            "support_multiple_images": False,
            "support_first_last_frame": False,
        }
    ],
    "multi_image_to_video": [],
}


class Registry:
    """Both registries on their host; counts what was asked where."""

    def __init__(self, *, down: bool = False) -> None:
        self.asked: Counter[str] = Counter()
        self.down = down

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.asked[f"{request.url.host}{request.url.path}"] += 1
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if self.down:
            return httpx.Response(503)
        return envelope(IMAGE if "image/models" in request.url.path else VIDEO)


@asynccontextmanager
async def client_of(world: Registry, **more: Any) -> AsyncIterator[WeryAI]:
    """Open a client whose network is the registry's."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        async with WeryAI(
            KEY, http=http, retries=RetryPolicy(initial_backoff=0.01, max_backoff=0.02), **more
        ) as client:
            yield client


@pytest.mark.anyio
async def test_the_registries_have_a_host_of_their_own() -> None:
    """By default WeryAI's second host is asked, with the same key, once for each registry."""
    world = Registry()
    async with client_of(world) as client:
        models = [*await client.models("image"), *await client.models("video")]
    assert [(model.mode, model.key, model.kind) for model in models] == [
        ("text-to-image", "M", "image"),
        ("image-to-video", "V", "video"),
    ]
    host = "api-growth-agent.weryai.com/growthai/v1"
    assert dict(world.asked) == {f"{host}/image/models": 1, f"{host}/video/models": 1}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "environment", "host"),
    [
        ({"base_url": URL}, {}, "api.example.com"),
        ({"models_base_url": "https://m.example.com"}, {}, "m.example.com"),
        ({}, {"WERYAI_MODELS_BASE_URL": "https://e.example.com"}, "e.example.com"),
        ({}, {"WERYAI_BASE_URL": URL}, "api.example.com"),
    ],
    ids=["follows base_url", "argument", "environment", "follows the environment's"],
)
async def test_the_host_of_the_registries_can_be_set(
    settings: dict[str, str], environment: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who points the client elsewhere does not mean the real registries."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    world = Registry()
    async with client_of(world, **settings) as client:
        await client.models("video")
    assert {where.partition("/")[0] for where in world.asked} == {host}


def test_the_key_is_not_sent_in_the_clear() -> None:
    """The second host obeys the same rule as the first."""
    with pytest.raises(ConfigurationError, match="must use https"):
        WeryAI(KEY, models_base_url="http://models.example.com")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (TextToImage(prompt="hills", model="M"), []),
        (
            TextToImage(prompt="hills at dawn", model="M", aspect_ratio="2:3", image_number=3),
            ["aspect_ratio", "image_number", "prompt"],
        ),
        (ImageToVideo(prompt="x", model="V", image_url="https://e.com/a.png", aspect_ratio=None, duration=8), []),
        (
            ImageToVideo(
                prompt="x", model="V", image_url="https://e.com/a.png", generate_audio=True, negative_prompt="rain"
            ),
            ["duration", "aspect_ratio", "generate_audio", "negative_prompt"],
        ),
        (
            MultiImageToVideo(
                prompt="x", model="V", image_urls=["https://e.com/a.png"] * 2, aspect_ratio=None, duration=8
            ),
            ["image_urls"],
        ),
        (
            FirstLastImageToVideo(
                prompt="x",
                model="V",
                first_image_url="https://e.com/a.png",
                last_image_url="https://e.com/b.png",
                aspect_ratio=None,
                duration=8,
            ),
            ["model"],
        ),
        (Chat(messages="hi"), []),
    ],
    ids=["fits", "picture", "fits too", "video", "several", "between two", "not in the registries"],
)
async def test_check_tells_what_the_registry_says(request_: Request[Any], fields: list[str]) -> None:
    """Each objection names its field; what the registry does not speak of is not objected to."""
    async with client_of(Registry()) as client:
        found = await client.check(request_)
    assert [objection.field for objection in found] == fields
    assert all(objection.field in str(objection) for objection in found)


@pytest.mark.virtual_time
async def test_many_checks_read_the_registries_once() -> None:
    """A hundred at once share one reading of the registry in question; ten minutes later it is read anew."""
    world = Registry()
    async with client_of(world) as client:
        request = TextToImage(prompt="hills", model="M")
        await asyncio.gather(*(client.check(request) for _ in range(100)))
        await client.check(request)
        assert world.asked.total() == 1
        await asyncio.sleep(601)
        await client.check(request)
        assert world.asked.total() == 2


@pytest.mark.anyio
async def test_another_session_reads_for_itself() -> None:
    """A client that is opened again does not go by what it read before."""
    world = Registry()
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        client = WeryAI(KEY, http=http)
        for readings in (1, 2):
            async with client:
                await client.check(TextToImage(prompt="x", model="M"))
            assert world.asked.total() == readings


@pytest.mark.anyio
async def test_who_stops_waiting_leaves_the_reading_to_the_others() -> None:
    """The first of two checks is cancelled; the second gets what was read, and the registry was asked once."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    registry = Registry()

    async def world(request: httpx.Request) -> httpx.Response:
        answer = await registry(request)
        begun.set()
        await go_on.wait()
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http, WeryAI(KEY, http=http) as client:
        request = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
        first, second = (asyncio.create_task(client.check(request)) for _ in range(2))
        await begun.wait()
        first.cancel()
        go_on.set()
        assert [objection.field for objection in await second] == ["aspect_ratio"]
    assert registry.asked.total() == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(307, headers={"location": "https://elsewhere.example.com/"}),
        httpx.Response(200, html="<p>maintenance</p>"),
        envelope([]),
        envelope(None, 1002, "no key"),
    ],
    ids=["redirect", "page", "list", "refusal"],
)
async def test_a_registry_out_of_its_mind_stops_nobody(
    answer: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it answers, requests go unchecked with one warning; it leads the key nowhere else."""
    hosts: set[str] = set()

    async def world(request: httpx.Request) -> httpx.Response:
        hosts.add(request.url.host)
        return answer

    quick = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        async with WeryAI(KEY, http=http, retries=quick) as client:
            with caplog.at_level(logging.WARNING, "aiowery"):
                assert await client.check(TextToImage(prompt="x")) == ()
    assert hosts == {"api-growth-agent.weryai.com"}
    assert caplog.text.count("cannot be read") == 1


def test_a_registry_that_is_down_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said against the request, the log says why once, and a minute later it is tried again."""
    world = Registry(down=True)

    async def main() -> None:
        async with client_of(world) as client:
            for _ in range(5):
                assert await client.check(TextToVideo(prompt="x")) == ()
            assert caplog.text.count("cannot be read") == 1
            world.down = False
            await asyncio.sleep(61)
            assert await client.check(TextToImage(prompt="hills", model="M", aspect_ratio="2:3"))

    with caplog.at_level(logging.WARNING, "aiowery"):
        run_virtual(main())


@pytest.mark.virtual_time
async def test_one_registry_down_leaves_the_checks_of_the_other() -> None:
    """Pictures are checked although nothing can be learnt of videos, and a failure is not held against them."""
    registry = Registry()

    class Half(Registry):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(503) if "video/models" in request.url.path else await registry(request)

    async with client_of(Half()) as client:
        assert await client.check(TextToVideo(prompt="x")) == ()
        picture = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
        assert [objection.field for objection in await client.check(picture)] == ["aspect_ratio"]
        await asyncio.sleep(61)
        await client.check(picture)
    assert registry.asked.total() == 1


@pytest.mark.parametrize("waited", [True, False], ids=["waited for", "given up"])
def test_closing_the_client_ends_the_reading(*, waited: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is asked after the end, over a caller's open network either; who still waits hears of no objection."""
    world = Registry(down=True)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
            async with WeryAI(KEY, http=http) as client:
                check = asyncio.create_task(client.check(TextToImage(prompt="x")))
                await asyncio.sleep(0.01)
                if not waited:
                    check.cancel()
            if waited:
                assert await check == ()
            await asyncio.sleep(60)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with caplog.at_level(logging.WARNING, "aiowery"):
        run_virtual(main())
    assert world.asked.total() == 1
    assert "cannot be read" not in caplog.text


@pytest.mark.anyio
async def test_a_reading_that_had_not_begun_is_ended_like_any_other() -> None:
    """Closed in the turn of the loop in which the check was made: nobody was cancelled, so nobody hears that."""
    world = Registry()
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        client = WeryAI(KEY, http=http)
        await client.open()
        found, _ = await asyncio.gather(client.check(TextToImage(prompt="x", model="M")), client.aclose())
    assert (found, world.asked.total()) == ((), 0)


@pytest.mark.anyio
async def test_a_fault_nobody_foresaw_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that broke does not count for ten minutes: the next check reads anew."""

    def broken(_: object) -> None:
        raise RuntimeError("a fault of ours")

    request = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
    async with client_of(Registry()) as client:
        with monkeypatch.context() as patch:
            patch.setattr(_model_listing, "decode_models", broken)
            with pytest.raises(RuntimeError, match="of ours"):
                await client.check(request)
        assert await client.check(request)


@pytest.mark.anyio
async def test_a_model_that_is_not_listed_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Lists lag behind models: an unknown key is told, not objected to."""
    async with client_of(Registry()) as client:
        with caplog.at_level(logging.WARNING, "aiowery"):
            assert await client.check(TextToImage(prompt="x", model="NEW")) == ()
    assert "does not list NEW" in caplog.text


@pytest.mark.anyio
async def test_the_other_lists_come_typed() -> None:
    """Chat models and speakers of the sandbox, on a real socket; a passing failure is survived."""
    async with Sandbox(faults=[Fault(faults.SERVER_ERROR, on="models", times=1)]) as sandbox:
        async with WeryAI(sandbox.key, base_url=sandbox.url, retries=RetryPolicy(initial_backoff=0.01)) as client:
            chat = await client.models("chat")
            assert {"GPT_4O"} <= {model.key for model in chat}
            assert all(model.input_price is not None for model in chat)
            speakers = await client.speakers("ja")
            assert {speaker.language for speaker in speakers} == {"ja"}
            assert len(await client.speakers()) > len(speakers)
            job = await client.submit(TextToImage(prompt="x", image_number=2))
            snapshots = await client.batch_status(job.provider_batch_id or "")
            assert {snapshot.task_id for snapshot in snapshots} == set(job.task_ids)
