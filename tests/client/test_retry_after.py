"""Retry-After is obeyed on every response that is a rejection or a failure, whichever request it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import httpx
import pytest

from aiowery import Asset, BetterWaifu, Client, File, Limits, PollFailed, PollPolicy, QueueBackedOff, WeryAI
from aiowery.errors import AioweryError, SubmissionInDoubt
from tests.support import KEY, PNG, URL, envelope, http_response, now, peer
from tests.support.fake_betterwaifu import KEY as BETTERWAIFU_KEY
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

STATUSES = (408, 425, 429, 500, 502, 503, 504)
PAUSE = 50.0
"""Longer than any back-off of a first failure."""
MOST = 120.0
USELESS = ("-1", "soon", "", "nan", "1e12", "Thu, 01 Jan 2015 00:00:00 GMT", "Mon, 32 Foo 2026 99:00:00 GMT")


@attrs.define
class FailingOnce:
    """A provider that answers the next request with a failure; it records the times of all requests."""

    ok: httpx.Response
    failure: httpx.Response | None = None
    times: list[float] = attrs.field(factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request."""
        await request.aread()
        self.times.append(now())
        failure, self.failure = self.failure, None
        return failure or self.ok


async def _save(client: Any) -> None:
    await client.fetch(Asset("https://files.example.com/1.png"))


READS: dict[str, tuple[type[Client], httpx.Response, Callable[[Any], Awaitable[Any]]]] = {
    "read": (WeryAI, envelope(7), lambda client: client.balance()),
    "status": (WeryAI, envelope({"task_id": "t1", "task_status": "PROCESSING"}), lambda client: client.status("t1")),
    "upload": (
        WeryAI,
        envelope({"object_url_list": ["https://e.example/1.png"]}),
        lambda client: client.upload(File(PNG, name="a.png")),
    ),
    "download": (WeryAI, httpx.Response(200, content=PNG, headers={"content-type": "image/png"}), _save),
    "read of betterwaifu": (
        BetterWaifu,
        httpx.Response(200, json={"credits": 7, "username": "x", "subscription": None}),
        lambda client: client.account(),
    ),
    "download of betterwaifu": (BetterWaifu, httpx.Response(200, content=PNG), _save),
}


@contextlib.asynccontextmanager
async def open_client(cls: type[Client], provider: Any, **settings: Any) -> AsyncIterator[Any]:
    """Open a client whose requests go to this provider."""
    key, more = (KEY, {}) if cls is WeryAI else (BETTERWAIFU_KEY, {"edition": "jobs"})
    constructor: Any = cls
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        async with constructor(key, base_url=URL, http=http, **more, **settings) as client:
            yield client


async def pause_after(name: str, status: int, retry_after: str) -> float:
    """Return the seconds between a read that fails with this header and its repeat."""
    cls, ok, read = READS[name]
    provider = FailingOnce(ok, httpx.Response(status, text="<html>", headers={"retry-after": retry_after}))
    async with open_client(cls, provider) as client:
        await read(client)
    first, second = provider.times
    return second - first


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", READS)
@pytest.mark.virtual_time
async def test_read_failure_with_retry_after_waits_as_long(name: str, status: int) -> None:
    """Reads, uploads and downloads of both providers obey the seconds, whatever the failure is."""
    assert await pause_after(name, status, f"{PAUSE:g}") == pytest.approx(PAUSE)


@pytest.mark.parametrize("name", READS)
@pytest.mark.virtual_time
async def test_read_failure_with_date_waits_until_then(name: str) -> None:
    """An HTTP date counts from now."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=PAUSE), usegmt=True)
    assert PAUSE - 5 < await pause_after(name, 503, moment) <= PAUSE


@pytest.mark.parametrize("retry_after", ["100000", "999999999"])
@pytest.mark.parametrize("name", READS)
@pytest.mark.virtual_time
async def test_read_failure_with_long_retry_after_is_bounded(name: str, retry_after: str) -> None:
    """`RetryPolicy.max_retry_after` is the longest pause."""
    assert await pause_after(name, 503, retry_after) == pytest.approx(MOST)


@pytest.mark.parametrize("retry_after", ["0", *USELESS])
@pytest.mark.parametrize("name", ["read", "upload", "download", "read of betterwaifu"])
@pytest.mark.virtual_time
async def test_read_failure_with_useless_retry_after_waits_as_usual(
    name: str, retry_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A past, negative or unreadable value never makes the pause shorter than without the header."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    assert await pause_after(name, 500, retry_after) == pytest.approx(0.5)


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("retry_after", "seconds"), [("9", 9.0), ("100000", 30.0)])
@pytest.mark.anyio
async def test_poll_failure_with_retry_after_waits_as_long(
    raw: RawProvider, status: int, retry_after: str, seconds: float
) -> None:
    """The next status check comes after the pause, at most `PollPolicy.max_backoff` later."""
    failure = http_response("<html>", f"{status} Failed", retry_after=retry_after)
    failed = asyncio.get_running_loop().create_future()

    def observe(event: Any) -> None:
        if isinstance(event, PollFailed):
            failed.set_result(event.pause)

    policy = PollPolicy(min_interval=0.02, max_interval=0.02, known_max_interval=0.02)
    async with peer(raw.accepting("t1"), failure) as server:
        async with raw.client(server.url, polling=policy, observer=observe) as client:
            await client.submit(raw.request)
            assert await failed == seconds


@pytest.mark.parametrize("retry_after", USELESS)
@pytest.mark.anyio
async def test_poll_failure_with_useless_retry_after_waits_as_usual(raw: RawProvider, retry_after: str) -> None:
    """A past, negative or unreadable value leaves the usual interval, and the job goes on."""
    failure = http_response("<html>", "500 Failed", retry_after=retry_after)
    async with peer(raw.accepting("t1"), failure, http_response(raw.done("t1"))) as server:
        async with raw.client(server.url) as client:
            assert (await client.run(raw.request, timeout=3.0)).task_ids == ("t1",)


SUBMISSIONS: dict[str, tuple[str, Any]] = {
    "doubt": ("502 Bad Gateway", "<html>"),
    "refusal": ("400 Bad Request", {"status": 1001, "error": "no", "message": "the prompt is too long"}),
    "page": ("503 Service Unavailable", "<html>"),
}


@pytest.mark.parametrize(("retry_after", "seconds"), [("50", 50.0), ("100000", MOST), ("-1", 0.0), ("soon", 0.0)])
@pytest.mark.parametrize("kind", SUBMISSIONS)
@pytest.mark.anyio
async def test_submission_failure_with_retry_after_pauses_queue(
    raw: RawProvider, kind: str, retry_after: str, seconds: float
) -> None:
    """The failed submission is not sent again, and the waiting ones are not sent before the pause is over."""
    status, body = SUBMISSIONS[kind]
    async with peer(http_response(body, status, retry_after=retry_after)) as server:
        async with raw.client(server.url, limits=Limits(cool_down=0.0, max_doubts=None), retries=None) as client:
            with pytest.raises(AioweryError) as caught:
                await client.run(raw.request)
            assert isinstance(caught.value, SubmissionInDoubt) is (kind != "refusal")
            assert seconds - 20 < client.statistics().queue.paused_for <= seconds
            if seconds:
                waiting = asyncio.ensure_future(client.run(raw.request))
                await asyncio.sleep(0.05)
                assert client.statistics().queue.waiting == 1
                waiting.cancel()
                await asyncio.wait([waiting])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "status"),
    [("weryai", "429 Too Many Requests"), ("weryai", "503 Busy"), ("betterwaifu", "429 Too Many Requests")],
)
@pytest.mark.anyio
async def test_submission_refused_because_of_load_waits_as_long(name: str, status: str) -> None:
    """A rejection because of load is sent again after the pause, also if its status is another than 429."""
    raw = RAW_PROVIDERS[name]
    refused = asyncio.get_running_loop().create_future()

    def observe(event: Any) -> None:
        if isinstance(event, QueueBackedOff):
            refused.set_result(event.pause)

    async with peer(http_response(raw.busy, status, retry_after="60")) as server:
        async with raw.client(server.url, retries=None, observer=observe) as client:
            running = asyncio.ensure_future(client.run(raw.request))
            assert await refused == pytest.approx(60.0)
            running.cancel()
            await asyncio.wait([running])
    assert len(server.requests) == 1
