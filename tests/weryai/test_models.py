"""The model registries: read from their own host, merged, and compared with a request before money is spent."""

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
    request_type,
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
    """Both registries on their host, with a count of the requests by address."""

    def __init__(self, *, down: bool = False) -> None:
        self.requests: Counter[str] = Counter()
        self.down = down

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests[f"{request.url.host}{request.url.path}"] += 1
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if self.down:
            return httpx.Response(503)
        return envelope(IMAGE if "image/models" in request.url.path else VIDEO)


@asynccontextmanager
async def registry_client(registry: Registry, **more: Any) -> AsyncIterator[WeryAI]:
    """Open a client whose network is the registry's."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(registry)) as http:
        async with WeryAI(
            KEY, http=http, retries=RetryPolicy(initial_backoff=0.01, max_backoff=0.02), **more
        ) as client:
            yield client


@pytest.mark.anyio
async def test_models_default_host_is_the_registry_host() -> None:
    """By default each registry is read once from WeryAI's second host, with the same key."""
    registry = Registry()
    async with registry_client(registry) as client:
        models = [*await client.models("image"), *await client.models("video")]
    assert [(model.mode, model.key, model.kind) for model in models] == [
        ("text-to-image", "M", "image"),
        ("image-to-video", "V", "video"),
    ]
    host = "api-growth-agent.weryai.com/growthai/v1"
    assert dict(registry.requests) == {f"{host}/image/models": 1, f"{host}/video/models": 1}


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
async def test_models_host_follows_arguments_and_environment(
    settings: dict[str, str], environment: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client for another host does not read the real registries."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    registry = Registry()
    async with registry_client(registry, **settings) as client:
        await client.models("video")
    assert {where.partition("/")[0] for where in registry.requests} == {host}


def test_client_plain_http_models_url_is_refused() -> None:
    """The second host obeys the same rule as the first: the key is never sent over plain HTTP."""
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
            ["model"],
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
async def test_check_returns_each_conflict_with_the_registry(request_: Request[Any], fields: list[str]) -> None:
    """Each issue names its field, and the registry restricts only the fields that it lists."""
    async with registry_client(Registry()) as client:
        found = await client.check(request_)
    assert [issue.field for issue in found] == fields
    assert all(issue.field in str(issue) for issue in found)


@pytest.mark.virtual_time
async def test_check_concurrent_calls_share_one_read() -> None:
    """A hundred concurrent checks share one read of the registry, and ten minutes later it is read again."""
    registry = Registry()
    async with registry_client(registry) as client:
        request = TextToImage(prompt="hills", model="M")
        await asyncio.gather(*(client.check(request) for _ in range(100)))
        await client.check(request)
        assert registry.requests.total() == 1
        await asyncio.sleep(601)
        await client.check(request)
        assert registry.requests.total() == 2


@pytest.mark.anyio
async def test_check_after_reopen_reads_again() -> None:
    """A client that is opened again does not use what it read before."""
    registry = Registry()
    async with httpx.AsyncClient(transport=httpx.MockTransport(registry)) as http:
        client = WeryAI(KEY, http=http)
        for readings in (1, 2):
            async with client:
                await client.check(TextToImage(prompt="x", model="M"))
            assert registry.requests.total() == readings


@pytest.mark.anyio
async def test_check_cancelled_leaves_the_read_to_other_checks() -> None:
    """If the first of two checks is cancelled, the second gets the result of the one read."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    registry = Registry()

    async def network(request: httpx.Request) -> httpx.Response:
        response = await registry(request)
        begun.set()
        await go_on.wait()
        return response

    async with httpx.AsyncClient(transport=httpx.MockTransport(network)) as http, WeryAI(KEY, http=http) as client:
        request = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
        first, second = (asyncio.create_task(client.check(request)) for _ in range(2))
        await begun.wait()
        first.cancel()
        go_on.set()
        assert [issue.field for issue in await second] == ["aspect_ratio"]
    assert registry.requests.total() == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(307, headers={"location": "https://elsewhere.example.com/"}),
        httpx.Response(200, html="<p>maintenance</p>"),
        envelope([]),
        envelope(None, 1002, "no key"),
    ],
    ids=["redirect", "page", "list", "refusal"],
)
async def test_check_unreadable_registry_warns_and_allows_the_request(
    response: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    """With any unusable response the request has no issues and one warning is logged.

    The key is sent to no other host.
    """
    hosts: set[str] = set()

    async def network(request: httpx.Request) -> httpx.Response:
        hosts.add(request.url.host)
        return response

    quick = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
    async with httpx.AsyncClient(transport=httpx.MockTransport(network)) as http:
        async with WeryAI(KEY, http=http, retries=quick) as client:
            with caplog.at_level(logging.WARNING, "aiowery"):
                assert await client.check(TextToImage(prompt="x")) == ()
    assert hosts == {"api-growth-agent.weryai.com"}
    assert caplog.text.count("cannot be read") == 1


def test_check_registry_down_warns_once_and_retries_later(caplog: pytest.LogCaptureFixture) -> None:
    """The request has no issues, the reason is logged once, and the registry is read again after a minute."""
    registry = Registry(down=True)

    async def main() -> None:
        async with registry_client(registry) as client:
            for _ in range(5):
                assert await client.check(TextToVideo(prompt="x")) == ()
            assert caplog.text.count("cannot be read") == 1
            registry.down = False
            await asyncio.sleep(61)
            assert await client.check(TextToImage(prompt="hills", model="M", aspect_ratio="2:3"))

    with caplog.at_level(logging.WARNING, "aiowery"):
        run_virtual(main())


@pytest.mark.virtual_time
async def test_check_one_registry_down_does_not_affect_the_other() -> None:
    """Pictures are checked while the registry of videos fails, and the working registry is read only once."""
    registry = Registry()

    class Half(Registry):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(503) if "video/models" in request.url.path else await registry(request)

    async with registry_client(Half()) as client:
        assert await client.check(TextToVideo(prompt="x")) == ()
        picture = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
        assert [issue.field for issue in await client.check(picture)] == ["aspect_ratio"]
        await asyncio.sleep(61)
        await client.check(picture)
    assert registry.requests.total() == 1


@pytest.mark.parametrize("waited", [True, False], ids=["waited for", "cancelled"])
def test_close_during_registry_read_ends_the_read(*, waited: bool, caplog: pytest.LogCaptureFixture) -> None:
    """No request is sent after closing, over a caller's own client either, and a waiting check returns no issues."""
    registry = Registry(down=True)

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(registry)) as http:
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
    assert registry.requests.total() == 1
    assert "cannot be read" not in caplog.text


@pytest.mark.anyio
async def test_close_in_the_same_iteration_as_check_returns_no_issues() -> None:
    """If the client closes before the read has started, the check returns no issues and is not cancelled."""
    registry = Registry()
    async with httpx.AsyncClient(transport=httpx.MockTransport(registry)) as http:
        client = WeryAI(KEY, http=http)
        await client.open()
        found, _ = await asyncio.gather(client.check(TextToImage(prompt="x", model="M")), client.aclose())
    assert (found, registry.requests.total()) == ((), 0)


@pytest.mark.anyio
async def test_check_after_unexpected_error_reads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is raised once. It is not kept for ten minutes: the next check reads again."""

    def broken(_: object) -> None:
        raise RuntimeError("a fault of ours")

    request = TextToImage(prompt="hills", model="M", aspect_ratio="2:3")
    async with registry_client(Registry()) as client:
        with monkeypatch.context() as patch:
            patch.setattr(_model_listing, "decode_models", broken)
            with pytest.raises(RuntimeError, match="of ours"):
                await client.check(request)
        assert await client.check(request)


@pytest.mark.anyio
async def test_check_unlisted_model_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Registries lag behind models, so an unknown model is logged and is no issue."""
    async with registry_client(Registry()) as client:
        with caplog.at_level(logging.WARNING, "aiowery"):
            assert await client.check(TextToImage(prompt="x", model="NEW")) == ()
    assert "does not list NEW" in caplog.text


@pytest.mark.anyio
async def test_check_default_requests_have_no_issues() -> None:
    """The defaults of each picture and video request fit the registry, and so does each model without ratios."""
    picture = "https://e.com/a.png"
    pictures: dict[str, Any] = {
        "image-to-image": {"image_urls": [picture]},
        "image-to-video": {"image_url": picture},
        "multi-image-to-video": {"image_urls": [picture, picture]},
        "first-last-image-to-video": {"first_image_url": picture, "last_image_url": picture},
    }
    async with Sandbox() as sandbox, WeryAI(sandbox.key, base_url=sandbox.url) as client:
        for name in _model_listing.REGISTRY_MODES:
            request = request_type(name)(**{"prompt": "hills", **pictures.get(name, {})})
            assert await client.check(request) == (), name
        for model in ("PIKA_2_2", "KLING_V2_6_PRO"):
            assert await client.check(TextToVideo(prompt="hills", model=model)) == ()
        (issue,) = await client.check(
            FirstLastImageToVideo(
                prompt="hills", model="PIKA_2_2", first_image_url=picture, last_image_url=picture, aspect_ratio=None
            )
        )
    assert "it does not work between two pictures; take another, such as VEO_3_1, WERYDANCE_2_0" in issue.message


@pytest.mark.anyio
async def test_read_chat_models_speakers_and_batch_are_typed() -> None:
    """Chat models, speakers and a batch status are read from the sandbox over a socket, after one server error."""
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
