"""The URL is checked first: the body is not received if the URL belongs to no submission."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery._core.webhook_config import submission_id_of
from aiowery.errors import LedgerError, SubmissionInDoubt
from aiowery.ledger import MemoryLedger, NewEntry, State
from aiowery.webhook import Receiver
from aiowery.weryai import decode_delivery
from tests.support import CAT, client_of, ledger_of
from tests.webhook.webhook_provider import JSON, TOKEN, Known, WebhookProvider, delivery, served

pytestmark = pytest.mark.anyio

STRANGE = "f" * 32
# The time that a regular expression takes for it must not grow with the square of its length.
HARD = json.dumps({"status": 9999, "message": "task " * 20_000}).encode()


@attrs.define
class AsgiRequest:
    """An ASGI request with the status and headers of its response, and how often its body was received.

    A `body` that is None never arrives; `asked` is set when the receiver waits for it.
    """

    body: bytes | None = None
    status: int | None = None
    headers: dict[bytes, bytes] = attrs.field(factory=dict)
    times: int = 0
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        """Return the body."""
        self.times += 1
        self.asked.set()
        if self.body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self.body}

    async def send(self, message: Any) -> None:
        """Record the response."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])

    async def made(self, receiver: Receiver, token: str) -> int:
        """Send the request and return the status."""
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": f"/{token}", "headers": headers}
        async with asyncio.timeout(5):
            await receiver(scope, self.receive, self.send)
        assert self.status is not None
        return self.status


async def receives_body(receiver: Receiver, token: str) -> bool:
    """Return True if a body is received at this address. It is no delivery, and changes nothing."""
    request = AsgiRequest(b"no JSON")
    status = await request.made(receiver, token)
    assert status == (400 if request.times else 404)
    return bool(request.times)


async def forbidden() -> Any:
    """Fail the test: the body must not be received."""
    raise AssertionError("the body was received")


HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"content-type", b"content-length", b"expect", b"X"]),
        st.sampled_from([b"application/json", b"9" * 30, b"100-continue", b""]) | st.binary(max_size=10),
    ),
    max_size=4,
)


@given(
    path=st.text("0123456789abcdef", min_size=32, max_size=32) | st.text(max_size=80) | st.just(TOKEN.upper()),
    headers=HEADERS,
    body=st.binary(max_size=50) | st.sampled_from([HARD, delivery("task_1"), b"[" * 100_000]),
)
@settings(deadline=None, max_examples=60)
def test_receiver_unknown_url_body_is_not_received(path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """The status is 404 whatever the headers and the body are, and the body is never received."""

    async def main() -> None:
        receiver, known, request = Receiver(), Known(), AsgiRequest()
        receiver.attach(known)
        scope = {"type": "http", "method": "POST", "path": f"/hooks/{path}", "headers": headers}
        await receiver(scope, forbidden, request.send)
        assert request.status == 404
        header_texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        assert await receiver.receive(path, body, header_texts) == 404
        assert receiver.statistics().unknown == 2
        assert known.delivered == []

    asyncio.run(main())


async def test_receiver_hard_body_is_rejected_fast() -> None:
    """A body of 100 kB once took a regular expression seconds. It is rejected unread, or within milliseconds."""
    receiver = Receiver()
    receiver.attach(Known())
    for token, status in ((STRANGE, 404), (TOKEN, 400)):
        began = time.thread_time()
        assert await receiver.receive(token, HARD, JSON) == status
        assert time.thread_time() - began < 0.05


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_receiver_unknown_url_costs_the_loop_under_a_millisecond(kind: str, tmp_path: Path) -> None:
    """200 kB of URLs for an unknown URL are not received. The event loop spends under 1 ms on each, in the mean."""
    number = 100
    async with ledger_of(kind, tmp_path) as ledger, Receiver(ledger=ledger, decode=decode_delivery) as receiver:
        requests = [AsgiRequest(b'["https://files.example/a.png"]' * 7_000) for _ in range(number)]
        began = time.thread_time()
        for request in requests:
            assert await request.made(receiver, STRANGE) == 404
        spent = time.thread_time() - began
    assert spent < number * 0.001
    assert sum(request.times for request in requests) == 0


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("state", State)
async def test_receiver_with_ledger_accepts_deliveries_once_sending(kind: str, state: State, tmp_path: Path) -> None:
    """Deliveries are accepted from the first byte of the POST on, in every later state, and not before."""
    async with ledger_of(kind, tmp_path) as ledger, Receiver(ledger=ledger, decode=decode_delivery) as receiver:
        submission_id, sent = submission_id_of(TOKEN), state not in {State.NEW, State.CLAIMED}
        (entry,) = await ledger.add("b", [NewEntry(key="k", index=0, request={})], claim=state is not State.NEW)
        if sent:
            await ledger.mark_sending(entry.id, submission_id, 1.0)
        if state in {State.ACCEPTED, State.DONE}:
            await ledger.mark_accepted(submission_id, ["task_1"])
        if state is State.DONE:
            await ledger.mark_finished(entry.id, State.DONE)
        if state is State.FAILED:
            await ledger.mark_refused(submission_id, "no", again=False)
        if state is State.IN_DOUBT:
            await ledger.mark_in_doubt(submission_id, "lost")
        assert await receives_body(receiver, TOKEN) == sent
        assert not await receives_body(receiver, STRANGE)
        if state is State.IN_DOUBT:
            await ledger.resolve_unsent(entry.id)
            assert await receives_body(receiver, TOKEN)
        if state is State.SENDING:
            await ledger.mark_unsent(submission_id)
            assert not await receives_body(receiver, TOKEN)


@pytest.mark.virtual_time
async def test_client_accepts_deliveries_of_all_its_submissions() -> None:
    """Deliveries are accepted while the task runs, after its end, while the POST waits, and in doubt."""
    provider = WebhookProvider(seconds=10.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        assert await receives_body(provider.receiver, newest(provider))
        await job
        assert await receives_body(provider.receiver, newest(provider))
        assert not await receives_body(provider.receiver, STRANGE)
        provider.lost = 1
        sending = asyncio.create_task(client.submit(CAT))
        await asyncio.sleep(provider.response_delay / 2)
        assert len(provider.addresses) == 2
        assert await receives_body(provider.receiver, newest(provider))
        with pytest.raises(SubmissionInDoubt):
            await sending
        assert await receives_body(provider.receiver, newest(provider))


def newest(provider: WebhookProvider) -> str:
    """Return the token of the latest submission."""
    return list(provider.addresses.values())[-1].rpartition("/")[2]


@attrs.define(eq=False)
class Knows(Known):
    """A handler whose lookup is given by the test."""

    result: Callable[[], Awaitable[bool]]

    def __attrs_post_init__(self) -> None:
        super().__init__()

    async def knows(self, submission_id: str) -> bool:  # noqa: ARG002 - the test has decided
        """Return the given result."""
        return await self.result()


async def broken() -> bool:
    """Fail as a ledger does."""
    raise LedgerError("the disk is full")


async def silent() -> bool:
    """Never return."""
    await asyncio.Event().wait()
    return False


async def test_receiver_one_handler_that_knows_is_enough() -> None:
    """Other handlers may fail or be slow. If none knows the submission and one fails, the status is 503, not 404."""
    receiver, request = Receiver(), AsgiRequest()
    failing = Knows(broken)
    for handler in (failing, Known()):
        receiver.attach(handler)
    assert await AsgiRequest(delivery("task_1")).made(receiver, TOKEN) == 200
    assert await request.made(receiver, STRANGE) == 503
    assert (request.times, request.headers[b"retry-after"]) == (0, b"1")
    receiver.detach(failing)
    receiver.attach(Knows(silent))
    before = asyncio.all_tasks()
    async with asyncio.timeout(1):
        assert await AsgiRequest(delivery("task_1")).made(receiver, TOKEN) == 200
    assert asyncio.all_tasks() == before


async def test_receiver_without_open_handler_receives_no_body() -> None:
    """The status is 503 without a handler, or with a closed ledger, and the body is not received."""
    alone, closed = Receiver(), Receiver(ledger=(ledger := MemoryLedger()), decode=decode_delivery)
    await closed.open()
    await ledger.aclose()
    for receiver in (alone, closed):
        request = AsgiRequest()
        assert await request.made(receiver, TOKEN) == 503
        assert (request.times, receiver.statistics().failed) == (0, 1)


@pytest.mark.two_loops
def test_receiver_client_in_other_thread_is_checked_before_body() -> None:
    """A client in another thread decides whether the body is received."""
    receiver, known, loop = Receiver(), Known(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(receiver.attach, known)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        assert not asyncio.run(receives_body(receiver, STRANGE))
        assert asyncio.run(receives_body(receiver, TOKEN))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def test_receiver_stopped_loop_of_other_thread_receives_no_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the loop of the client's thread stands still, the status is 503, and the lookup is cancelled."""
    monkeypatch.setattr("aiowery.webhook._dispatch._OTHER_LOOP_TIMEOUT", 0.02)
    receiver, request, loop = Receiver(), AsgiRequest(), asyncio.new_event_loop()

    async def attach() -> None:
        receiver.attach(Knows(silent))

    await asyncio.to_thread(loop.run_until_complete, attach())
    assert await request.made(receiver, STRANGE) == 503
    assert request.times == 0
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0.001))
    assert asyncio.all_tasks(loop) == set()
    loop.close()


async def test_receiver_unknown_urls_use_no_room_for_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to unknown URLs leave the limit of bodies free. Requests to known ones are counted by it."""
    monkeypatch.setattr("aiowery.webhook._asgi._MAX_BODIES", 2)
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    statuses = [await AsgiRequest().made(receiver, STRANGE) for _ in range(10)]
    assert statuses == [404] * 10
    slow = [AsgiRequest(), AsgiRequest()]
    tasks = [asyncio.create_task(request.made(receiver, TOKEN)) for request in slow]
    await asyncio.gather(*(request.asked.wait() for request in slow))
    one_more = AsgiRequest()
    assert await one_more.made(receiver, TOKEN) == 503
    assert (one_more.times, one_more.headers[b"retry-after"]) == (0, b"1")
    assert await AsgiRequest().made(receiver, STRANGE) == 404
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await AsgiRequest(delivery("task_1")).made(receiver, TOKEN) == 200
    assert receiver.statistics().failed == 1


async def test_receiver_lookups_above_limit_get_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger does not respond, requests above the limit of lookups get 503 and are counted."""
    monkeypatch.setattr("aiowery.webhook._asgi._MAX_LOOKUPS", 2)
    receiver = Receiver()
    receiver.attach(Knows(silent))
    waiting = [asyncio.create_task(AsgiRequest().made(receiver, STRANGE)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await AsgiRequest().made(receiver, STRANGE) == 503
    assert receiver.statistics().failed == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


class Awaits(Known):
    """A handler with a job that waits for one submission's delivery."""

    def is_awaited(self, submission_id: str) -> bool:
        """Return True for the one submission."""
        return submission_id == submission_id_of(TOKEN)


async def test_receiver_strangers_in_all_lookups_keep_no_awaited_delivery_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger does not respond, strangers wait for it or get 503. A delivery that a job waits for is recorded."""
    monkeypatch.setattr("aiowery.webhook._asgi._MAX_LOOKUPS", 2)
    receiver, waiting_client = Receiver(), Awaits()
    receiver.attach(Knows(silent))
    receiver.attach(waiting_client)
    strangers = [asyncio.create_task(AsgiRequest().made(receiver, STRANGE)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await AsgiRequest().made(receiver, STRANGE) == 503
    assert await AsgiRequest(delivery("task_1")).made(receiver, TOKEN) == 200
    assert waiting_client.delivered == ["task_1"]
    for stranger in strangers:
        stranger.cancel()
    await asyncio.gather(*strangers, return_exceptions=True)


@pytest.mark.virtual_time
async def test_client_awaits_its_jobs_without_a_lookup() -> None:
    """A client knows the URLs of its jobs by itself, while they run and after their end, and no others."""
    provider = WebhookProvider(seconds=10.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        assert provider.receiver.is_awaited(newest(provider))
        await job
        assert provider.receiver.is_awaited(newest(provider))
        assert not provider.receiver.is_awaited(STRANGE)
        assert not provider.receiver.is_awaited("no token")


def head(token: str, length: int, *more: str) -> bytes:
    """Return the head of a POST over HTTP/1.1, which keeps the connection."""
    lines = (f"POST /{token} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}", *more)
    return "\r\n".join((*lines, "", "")).encode()


async def read_status(reader: asyncio.StreamReader) -> int:
    """Read one response and return its status."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
    length = next(line for line in lines if line.startswith("content-length:"))
    await reader.readexactly(int(length.partition(":")[2]))
    return int(lines[0].split()[1])


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_receiver_unknown_url_with_slow_body_gets_404_at_start() -> None:
    """The 404 comes before the body. Once the body has come, the same connection serves the next request."""
    receiver, known = Receiver(within=60.0), Known()
    receiver.attach(known)
    body = delivery("task_1")
    async with served(receiver) as url, asyncio.timeout(5):
        for sent, more in itertools.product((0, 1, 1000), ((), ("expect: 100-continue",))):
            reader, writer = await connected(url)
            writer.write(head(STRANGE, 2000, *more) + b"x" * sent)
            assert await read_status(reader) == 404
            writer.write(b"x" * (2000 - sent))
            writer.write(head(TOKEN, len(body)) + body)
            assert await read_status(reader) == 200
            writer.close()
    assert known.delivered == ["task_1"] * 6


async def test_receiver_connection_survives_unread_bodies() -> None:
    """Large bodies to unknown URLs and valid deliveries share one connection, and each gets its response."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    large, good = b"x" * 256 * 1024, delivery("task_1")
    async with served(receiver) as url:
        reader, writer = await connected(url)
        statuses = []
        for token, body in ((STRANGE, large), (TOKEN, good), (STRANGE, HARD), (STRANGE, large), (TOKEN, good)):
            writer.write(head(token, len(body)) + body)
            statuses.append(await read_status(reader))
        writer.close()
        async with httpx.AsyncClient() as http:
            responses = [
                await http.post(f"{url}/{token}", content=body, headers=JSON)
                for token, body in ((STRANGE, large), (TOKEN, good))
            ]
    assert statuses == [404, 200, 404, 404, 200]
    assert [response.status_code for response in responses] == [404, 200]
    assert known.delivered == ["task_1"] * 3
