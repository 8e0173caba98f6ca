"""A client belongs to the event loop that opened it: used from another one it raises before anything is sent."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from aiowery import Asset, BetterWaifu, Client, WeryAI
from aiowery.betterwaifu import GenerateImage
from aiowery.errors import ConfigurationError
from aiowery.sandbox import Sandbox
from aiowery.webhook import Receiver, Webhooks
from tests.support import CAT, PNG, sandbox_client

T = TypeVar("T")
pytestmark = pytest.mark.sandbox(speed=100.0, picture_size=64, durations=(2.0, 5.0))
ELSEWHERE = "opened in another event loop; nothing was sent"
CLOSED = "in an event loop that is closed; nothing was sent: open it again"


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in this loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def home() -> Iterator[LoopThread]:
    """Run the event loop in which a test opens its client."""
    loop = LoopThread()
    yield loop
    loop.close()


async def read_stream(client: Client, batch: str | None) -> None:
    """Take the first outcome of a stream."""
    async with client.stream([CAT], batch=batch) as stream:
        async for _ in stream:
            return


VERBS: dict[str, Callable[[WeryAI, Path], Coroutine[Any, Any, object]]] = {
    "submit": lambda client, _: client.submit(CAT),
    "run": lambda client, _: client.run(CAT),
    "chat": lambda client, _: client.chat("hello"),
    "stream": lambda client, _: read_stream(client, None),
    "batch": lambda client, _: read_stream(client, "cats"),
    "status": lambda client, _: client.status("task"),
    "balance": lambda client, _: client.balance(),
    "models": lambda client, _: client.models(),
    "check": lambda client, _: client.check(CAT),
    "upload": lambda client, _: client.upload(PNG),
    "download": lambda client, path: client.download(Asset(client.base_url + "/x.png"), path),
    "fetch": lambda client, _: client.fetch(Asset(client.base_url + "/x.png")),
    "aclose": lambda client, _: client.aclose(),
}


@pytest.mark.two_loops
@pytest.mark.parametrize("verb", VERBS)
def test_client_used_in_another_loop_is_refused_before_anything_is_sent(
    sandbox: Sandbox, home: LoopThread, tmp_path: Path, verb: str
) -> None:
    """Each verb raises in another event loop, no byte leaves, and the client goes on in its own loop."""
    client = sandbox_client(sandbox)
    home.run(client.open())
    with pytest.raises(ConfigurationError, match=ELSEWHERE):
        asyncio.run(VERBS[verb](client, tmp_path))
    assert (sandbox.weryai.counters.connections, list(tmp_path.iterdir())) == (0, [])
    assert len(home.run(client.run(CAT)).urls) == 1
    home.run(client.aclose())
    assert sandbox.weryai.counters.posts == 1


def test_client_used_in_a_thread_without_a_loop_is_refused(sandbox: Sandbox, home: LoopThread) -> None:
    """The verbs that await nothing raise too where no event loop runs; the figures may be read anywhere."""
    client = sandbox_client(sandbox)
    home.run(client.open())
    for use in (
        client.stop_submitting,
        client.resume_submitting,
        client.jobs,
        lambda: client.job("task"),
        lambda: client.stream([CAT]),
        lambda: client.resume("cats"),
        lambda: client.ledger,
    ):
        with pytest.raises(ConfigurationError, match=ELSEWHERE):
            use()
    assert client.statistics().submitted == 0
    home.run(client.aclose())


@pytest.mark.two_loops
def test_job_awaited_in_another_loop_is_refused_and_goes_on(sandbox: Sandbox, home: LoopThread) -> None:
    """A job's waits raise in another event loop; in its own it finishes, and then its result may be read anywhere."""
    client = sandbox_client(sandbox)
    home.run(client.open())
    job = home.run(client.submit(CAT))

    async def first_update() -> None:
        async for _ in job.updates():
            return

    async def awaited() -> None:
        await job

    for wait in (awaited, job.wait_finished, first_update):
        with pytest.raises(ConfigurationError, match=ELSEWHERE):
            asyncio.run(wait())
    assert job._waiters == ()
    result = home.run(job.wait())
    assert asyncio.run(job.wait()) == result
    home.run(client.aclose())


@pytest.mark.two_loops
@pytest.mark.parametrize("batch", [None, "cats"])
def test_stream_begun_in_another_loop_submits_nothing(sandbox: Sandbox, home: LoopThread, batch: str | None) -> None:
    """A stream that its client's loop has made raises in another one instead of yielding failures."""
    client = sandbox_client(sandbox)
    home.run(client.open())

    async def make() -> Any:
        return client.stream([CAT], batch=batch)

    stream = home.run(make())

    async def first() -> None:
        async for _ in stream:
            pass

    with pytest.raises(ConfigurationError, match=ELSEWHERE):
        asyncio.run(first())
    assert sandbox.weryai.counters.posts == 0

    async def all_outcomes(outcomes: AsyncIterator[Any]) -> list[Any]:
        return [outcome async for outcome in outcomes]

    assert [outcome.error for outcome in home.run(all_outcomes(stream))] == [None]
    home.run(client.aclose())


def client_to(sandbox: Sandbox, provider: str, tmp_path: Path, **settings: Any) -> tuple[Client, Any]:
    """Return a closed client of a provider, and a request for it."""
    name, _, edition = provider.partition(" ")
    arguments: Any = {**sandbox.settings_for(name, edition or None), **settings}
    if name == "weryai":
        return WeryAI(**arguments, ledger=tmp_path / "jobs.db"), CAT
    return (
        BetterWaifu(**arguments, ledger=tmp_path / "jobs.db", queue_file=tmp_path / "queue"),
        GenerateImage(prompt="a cat", model=814910 if edition == "jobs" else None),
    )


PROVIDERS = ["weryai", "betterwaifu v1-images", "betterwaifu jobs"]


@pytest.mark.sandbox(speed=1000.0, picture_size=64)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_client_entered_in_successive_loops_works(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """A client of a module works in one `asyncio.run` after the other."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "1000")
    client, request = client_to(sandbox, provider, tmp_path)

    async def main() -> None:
        async with client:
            await client.run(request)

    asyncio.run(main())
    asyncio.run(main())
    assert sandbox.weryai.counters.posts == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.sandbox(speed=1000.0, picture_size=64)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_client_left_open_in_a_closed_loop_says_so_and_opens_anew(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """Without `aclose` the next loop gets one clear error until the client is opened again; then all parts are new.

    The ledger and the queue's file of the first opening are given up, as if its process had ended.
    """
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "1000")
    client, request = client_to(sandbox, provider, tmp_path)
    streams: list[Any] = []

    async def first() -> None:
        await client.open()
        streams.append(client.stream([request]))
        await client.run(request)

    async def second() -> None:
        with pytest.raises(ConfigurationError, match=CLOSED):
            await client.run(request)
        await client.open()
        await client.run(request)
        with pytest.raises(ConfigurationError, match=CLOSED):
            await anext(streams[0])
        await client.aclose()

    asyncio.run(first())
    asyncio.run(second())
    assert sandbox.weryai.counters.posts == 2
    assert not list((tmp_path / "jobs.db.owners").glob("*.alive"))
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_client_left_open_in_a_closed_loop_can_be_closed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Closing in a later loop gives the ledger and the webhooks up, and raises nothing."""
    receiver = Receiver()
    webhooks = Webhooks(public_url="http://127.0.0.1:9/hooks", receiver=receiver)
    client, _ = client_to(sandbox, "weryai", tmp_path, webhooks=webhooks)
    asyncio.run(client.open())
    assert list((tmp_path / "jobs.db.owners").glob("*.alive"))
    asyncio.run(client.aclose())
    assert not list((tmp_path / "jobs.db.owners").glob("*.alive"))
    assert receiver._handlers == {}
    assert "closed" in repr(client)
    gc.collect()
