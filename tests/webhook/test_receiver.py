"""The receiver over real sockets: mounted in each framework, served alone, and with forged deliveries."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fastapi
import httpx
import litestar
import litestar.handlers
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from aiowery import PollPolicy, WeryAI
from aiowery._base.secret import Secret
from aiowery._core.redaction import KeyRedactor
from aiowery._core.webhook_config import submission_id_of, without_addresses, without_token
from aiowery.errors import ConfigurationError, WebhookError
from aiowery.ledger import NewEntry, SqliteLedger
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import TextToImage, decode_delivery, parse_delivery
from tests.support import assert_hides
from tests.webhook.webhook_provider import JSON, TOKEN, Known, delivery, served

pytestmark = pytest.mark.anyio


def alone(receiver: Receiver) -> Any:
    """Return the receiver itself."""
    return receiver


def in_starlette(receiver: Receiver) -> Any:
    """Mount the receiver as Starlette's documentation shows."""
    return Starlette(routes=[Mount("/aiowery", receiver)])


def in_fastapi(receiver: Receiver) -> Any:
    """Mount the receiver as FastAPI's documentation shows."""
    app = fastapi.FastAPI()
    app.mount("/aiowery", receiver)
    return app


def in_litestar(receiver: Receiver) -> Any:
    """Mount the receiver as Litestar's documentation shows."""
    handler = litestar.handlers.asgi("/aiowery", is_mount=True, copy_scope=True)(receiver)
    # Its own logging would reach all loggers of this process, and so the tests after this one.
    return litestar.Litestar([handler], logging_config=None)


FRAMEWORKS = (alone, in_starlette, in_fastapi, in_litestar)


@pytest.mark.parametrize("mounted", FRAMEWORKS)
async def test_receiver_in_each_framework_returns_statuses(mounted: Callable[[Receiver], Any]) -> None:
    """The status is 200 `OK` for a recorded delivery, 404 without a body for an unknown one, 405 for other methods."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    async with served(mounted(receiver)) as url, httpx.AsyncClient(base_url=f"{url}/aiowery") as http:
        good = await http.post(f"/{TOKEN}", content=delivery("task_1"), headers=JSON)
        others = await asyncio.gather(
            http.post(f"/{TOKEN}", content=delivery("task_2"), headers=JSON),
            http.post(f"/{TOKEN[:-1]}0", content=delivery("task_1"), headers=JSON),
            http.post("/", content=delivery("task_1"), headers=JSON),
        )
        read = await http.get(f"/{TOKEN}")
    assert (good.status_code, good.text, known.delivered) == (200, "OK", ["task_1"])
    assert [(response.status_code, response.content) for response in others] == [(404, b"")] * 3
    assert (read.status_code, read.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("mounted", FRAMEWORKS)
async def test_receiver_in_each_framework_triggers_poll(mounted: Callable[[Receiver], Any]) -> None:
    """The sandbox sends a delivery over a socket, and the job finishes with one poll."""
    receiver = Receiver()
    async with served(mounted(receiver)) as url, Sandbox(speed=100) as sandbox:
        webhooks = Webhooks(public_url=f"{url}/aiowery/", receiver=receiver)
        async with WeryAI(sandbox.key, base_url=sandbox.url, webhooks=webhooks) as client:
            async with asyncio.timeout(2.5):  # the first poll without a delivery would come after 3 s
                await client.run(TextToImage(prompt="a cat"))
                while not sandbox.weryai.counters.deliveries:  # noqa: ASYNC110 - the sandbox's thread records it later
                    await asyncio.sleep(0.005)
    assert sum(sandbox.weryai.counters.polls.values()) == 1
    assert [status for _, status in sandbox.weryai.counters.deliveries] == [200]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (delivery("task_1"), {"content-type": "text/plain"}, 415),
        (delivery("task_1"), {}, 415),
        (delivery("task_1"), {"content-type": "Application/JSON; charset=utf-8"}, 200),
        (delivery("task_1"), {"content-type": "application/problem+json"}, 200),
        (b"", JSON, 400),
        (b"OK", JSON, 400),
        (b'{"status":0,"data":{}}', JSON, 400),
        (b'{"status":1004,"message":"no credits"}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"status":0,"data":{"task_id":"' + b"x" * 300_000 + b'"}}', JSON, 413),
    ],
    ids=["text", "no type", "parameters", "suffix", "empty", "OK", "no task", "refusal", "deep", "large"],
)
async def test_receiver_invalid_delivery_is_refused(content: bytes, headers: dict[str, str], status: int) -> None:
    """Content type, size, JSON and envelope are checked before a handler records anything."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    async with served(receiver) as url, httpx.AsyncClient() as http:
        response = await http.post(f"{url}/{TOKEN}", content=content, headers=headers)
    assert response.status_code == status
    assert bool(known.delivered) == (status == 200)
    assert receiver.statistics().refused == (status != 200)


async def test_receiver_slow_or_endless_body_is_rejected() -> None:
    """A sender that is slow, or sends without end, occupies little memory for a short time."""
    receiver = Receiver(within=0.1, largest=1000)
    receiver.attach(Known())

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 500
            await asyncio.sleep(0.001)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.3)
        yield b"}"

    async with served(receiver) as url, httpx.AsyncClient() as http:
        large = await http.post(f"{url}/{TOKEN}", content=endless(), headers=JSON)
        late = await http.post(f"{url}/{TOKEN}", content=slow(), headers=JSON)
    assert (large.status_code, late.status_code) == (413, 408)


async def test_receiver_aborted_request_records_nothing() -> None:
    """After half a body and a closed connection nothing is recorded, and the next request is served."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    async with served(receiver) as url, httpx.AsyncClient() as http:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /{TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n"
        writer.write(head.encode() + b'{"status"')
        await writer.drain()
        writer.close()
        response = await http.post(f"{url}/{TOKEN}", content=delivery("task_1"), headers=JSON)
    assert (response.status_code, known.delivered) == (200, ["task_1"])


async def test_receiver_without_client_returns_503() -> None:
    """Without an open client nothing can be recorded, so the status allows another delivery."""
    receiver = Receiver()
    assert await receiver.receive(TOKEN, delivery("task_1"), JSON) == 503
    assert receiver.statistics().failed == 1


async def test_receiver_alone_opens_and_closes_its_ledger(tmp_path: Path) -> None:
    """Served alone, the receiver opens its ledger, records by submission id, and closes the ledger."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    (entry,) = await ledger.add("b", [NewEntry(key="k", index=0, request={})], claim=True)
    await ledger.mark_sending(entry.id, submission_id_of(TOKEN), 1.0)
    receiver = Receiver(ledger=path, decode=decode_delivery)
    async with served(receiver, lifespan="on") as url, httpx.AsyncClient() as http:
        responses = [
            await http.post(f"{url}/{token}", content=delivery("task_1"), headers=JSON)
            for token in (TOKEN, submission_id_of(TOKEN), "0" * 32)
        ]
    assert [response.status_code for response in responses] == [200, 404, 404]
    assert [one.task_id for one in await ledger.deliveries()] == ["task_1"]
    await ledger.aclose()
    with contextlib.suppress(FileNotFoundError):
        assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []


async def test_receiver_invalid_ledger_stops_server_at_startup(tmp_path: Path) -> None:
    """The reason is reported at startup, not at the first delivery."""
    (tmp_path / "notes").write_text("no ledger")
    receiver = Receiver(ledger=tmp_path / "notes", decode=decode_delivery)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(Exception, match="no database"):
        await receiver({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "notes" in sent[0]["message"]


@pytest.mark.two_loops
def test_receiver_client_in_other_thread_records_in_its_loop() -> None:
    """The web server and the client run in two event loops. A delivery is recorded in the client's."""
    receiver, known = Receiver(), Known()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(receiver.attach, known)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        assert asyncio.run(receiver.receive(TOKEN, delivery("task_1"), JSON)) == 200
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert known.delivered == ["task_1"]


@pytest.mark.filterwarnings("error")
async def test_receiver_client_with_closed_loop_is_detached() -> None:
    """If a thread ended without closing its client, the receiver detaches it, and other handlers record."""
    receiver, gone, here = Receiver(), Known(), Known()
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, _attached(receiver, gone))
    loop.close()
    assert await receiver.receive(TOKEN, delivery("task_1"), JSON) == 404
    assert await receiver.receive(TOKEN, delivery("task_1"), JSON) == 503
    await asyncio.to_thread(asyncio.run, _attached(receiver, gone))
    receiver.attach(here)
    assert await receiver.receive(TOKEN, delivery("task_1"), JSON) == 200
    assert here.delivered == ["task_1"]


async def _attached(receiver: Receiver, known: Known) -> None:
    receiver.attach(known)


async def test_receiver_client_without_response_does_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a client's loop stands still, the status is 503 after a while, unless another handler records."""
    monkeypatch.setattr("aiowery.webhook._dispatch._OTHER_LOOP_TIMEOUT", 0.05)
    receiver, silent, here = Receiver(), Known(), Known()
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, _attached(receiver, silent))
    assert await receiver.receive(TOKEN, delivery("task_1"), JSON) == 503
    receiver.attach(here)
    monkeypatch.setattr("aiowery.webhook._dispatch._OTHER_LOOP_TIMEOUT", 1.0)
    sending = asyncio.create_task(receiver.receive(TOKEN, delivery("task_1"), JSON))
    async with asyncio.timeout(0.9):  # before the other loop's second is over
        while not here.delivered:  # noqa: ASYNC110 - the handler sets no event
            await asyncio.sleep(0.01)
    assert here.delivered == ["task_1"]
    assert not sending.done()
    assert await sending == 200
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))
    loop.close()


async def test_receiver_mounted_without_open_logs_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mounted application gets no lifespan events from its framework. The log names what is missing."""
    async with served(
        Starlette(routes=[Mount("/hook", Receiver(ledger=tmp_path / "jobs.db", decode=decode_delivery))])
    ) as url:
        async with httpx.AsyncClient() as http:
            response = await http.post(f"{url}/hook/{TOKEN}", content=delivery("task_1"), headers=JSON)
    assert response.status_code == 503
    assert "async with receiver" in caplog.text


async def test_receiver_websocket_is_closed() -> None:
    """The receiver serves only HTTP."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Receiver()({"type": "websocket", "path": "/"}, send, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(("largest", "within"), [(0, 1.0), (10, 0.0)])
def test_receiver_limits_must_be_above_zero(largest: int, within: float) -> None:
    """Limits that admit nothing raise ConfigurationError."""
    with pytest.raises(ConfigurationError, match="above 0"):
        Receiver(largest=largest, within=within)


def test_parse_delivery_returns_snapshot_or_raises_status() -> None:
    """`parse_delivery` returns the snapshot, or raises an error with the HTTP status of the response."""
    snapshot = parse_delivery(delivery("task_1"), {"Content-Type": "application/json"})
    assert (snapshot.task_id, snapshot.state.value, len(snapshot.assets)) == ("task_1", "done", 1)
    assert parse_delivery(delivery("task_1", "FAILED")).state.value == "failed"
    for body, headers, status in ((b"", None, 400), (b"{}", {}, 415), (b"x" * 10, None, 413)):
        with pytest.raises(WebhookError) as caught:
            parse_delivery(body, headers, largest=9 if status == 413 else 1000)
        assert caught.value.http_status == status


FAULTS = {
    "twice": Fault(faults.DuplicateDelivery(apart=0.05), on="delivery"),
    "late": Fault(faults.DelayedDelivery(0.5), on="delivery"),
    "out of order": Fault(faults.DelayedDelivery(0.3), on="delivery", share=0.5),
    "forged": Fault(faults.ForgedDelivery(), on="delivery"),
    "never": Fault(faults.DroppedDelivery(), on="delivery"),
    "not JSON": Fault(faults.NotJson(), on="delivery"),
    "truncated": Fault(faults.Truncated(), on="delivery"),
    "wrong type": Fault(faults.ContentType("text/html"), on="delivery"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_deliveries_with_faults_each_job_finishes(fault: str) -> None:
    """With each fault of deliveries, every job gets its own picture, and is paid once."""
    receiver = Receiver()
    requests = [TextToImage(prompt=f"cat {number}") for number in range(12)]
    async with served(receiver) as url, Sandbox(speed=100, faults=[FAULTS[fault]]) as sandbox:
        webhooks = Webhooks(public_url=url, receiver=receiver)
        polling = PollPolicy().faster(20)
        async with WeryAI(sandbox.key, base_url=sandbox.url, webhooks=webhooks, polling=polling) as client:
            results = await asyncio.gather(*map(client.run, requests))
        pictures = [f"{sandbox.url}/files/{result.task_ids[0]}.png" for result in results]
    assert [result.url for result in results] == pictures
    assert sandbox.weryai.counters.posts == 12


async def test_receiver_unreachable_jobs_finish_by_polling() -> None:
    """If the public URL leads nowhere, polls finish all jobs."""
    async with Sandbox(speed=100) as sandbox:
        webhooks = Webhooks(public_url="http://127.0.0.1:9", receiver=Receiver())
        polling = PollPolicy().faster(20)
        async with WeryAI(sandbox.key, base_url=sandbox.url, webhooks=webhooks, polling=polling) as client:
            results = await asyncio.gather(*(client.run(TextToImage(prompt=f"cat {n}")) for n in range(5)))
            statistics = client.statistics().webhooks
    assert all(result.assets for result in results)
    assert statistics is not None
    assert (statistics.received, statistics.late) == (0, 5)


async def test_receiver_flood_of_unknown_urls_causes_no_poll(tmp_path: Path) -> None:
    """Forged deliveries to unknown URLs cause no poll and no entry in the ledger, and all jobs finish."""
    receiver = Receiver()
    async with served(receiver) as url, Sandbox(speed=20, in_flight=50) as sandbox:
        webhooks = Webhooks(public_url=url, receiver=receiver)
        client = WeryAI(sandbox.key, base_url=sandbox.url, webhooks=webhooks, ledger=tmp_path / "l.db")
        async with client, httpx.AsyncClient(limits=httpx.Limits(max_connections=20)) as http:
            jobs = [await client.submit(TextToImage(prompt=f"cat {number}")) for number in range(5)]
            gate = asyncio.Semaphore(20)

            async def forge(number: int) -> int:
                async with gate:
                    task_id = jobs[number % 5].task_ids[0]
                    address = f"{url}/{number:032x}"
                    return (await http.post(address, content=delivery(task_id), headers=JSON)).status_code

            statuses = await asyncio.gather(*map(forge, range(500)))
            await asyncio.gather(*jobs)
            made = client.statistics().polls.made
    assert set(statuses) == {404}
    assert made == 5
    assert receiver.statistics().unknown == 500


def test_receiver_with_a_ledger_and_no_decoder_is_refused(tmp_path: Path) -> None:
    """A receiver alone does not know the provider. The error names the argument and the function to pass."""
    with pytest.raises(ConfigurationError, match=r"decode=aiowery\.weryai\.decode_delivery"):
        Receiver(ledger=tmp_path / "jobs.db")


@pytest.mark.parametrize("spell", [str, str.upper], ids=["as sent", "capitals"])
async def test_receiver_delivery_that_quotes_its_url_stores_no_secret(
    spell: Callable[[str], str], tmp_path: Path
) -> None:
    """A provider may quote the URL that it calls. The handlers get the body without the secret in it."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    (entry,) = await ledger.add("b", [NewEntry(key="k", index=0, request={})], claim=True)
    await ledger.mark_sending(entry.id, submission_id_of(TOKEN), 1.0)
    quoted = f"https://app.example.com/{spell(TOKEN)}"
    bodies: list[bytes] = []

    class Listening(Known):
        async def on_delivery(self, submission_id: str, body: bytes) -> bool:  # noqa: ARG002 - only its body counts
            bodies.append(body)
            return True

    receiver = Receiver(ledger=ledger, decode=decode_delivery)
    receiver.attach(Listening())
    content = delivery(f"task_{quoted}").replace(b'"success"', f'"sent to {quoted}"'.encode())
    async with receiver:
        assert await receiver.receive(TOKEN, content, JSON) == 200
    assert len(bodies) == 1
    assert TOKEN not in bodies[0].decode().lower()
    assert [TOKEN in one.task_id.lower() for one in await ledger.deliveries()] == [False]
    await ledger.aclose()
    for file in tmp_path.iterdir():  # noqa: ASYNC240 - a small directory
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes().lower()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "capitals": str.upper,
    "JSON": lambda url: url.replace("/", r"\/"),
    "JSON by number": lambda url: url.replace("/", r"\u002F"),
    "percent-encoded": lambda url: quote(url, safe=""),
    "HTML": lambda url: url.replace("/", "&#x2F;"),
    "HTML by number": lambda url: url.replace("/", "&#47;"),
    "base64": lambda url: base64.b64encode(url.encode()).decode(),
    "base64 behind a byte": lambda url: base64.b64encode(b"1" + url.encode()).decode(),
    "base64 between texts": lambda url: base64.urlsafe_b64encode(f"to {url}?".encode()).decode(),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_body_that_quotes_a_webhook_url_in_any_spelling_has_no_secret(spell: Callable[[str], str]) -> None:
    """Responses and deliveries are searched as they are for a key; the rest of a body stays as it is."""
    Webhooks(public_url="https://hooks.example.com/a/path/")
    body = b'{"id": "0123456789abcdef0123456789abcdef", "url": "%b", "n": 1}'
    url = spell(f"https://hooks.example.com/a/path/{TOKEN[::-1]}")
    for hidden in (
        without_addresses(body % url.encode()),
        without_token(body % url.encode(), Secret(TOKEN[::-1])),
    ):
        assert not KeyRedactor(TOKEN[::-1]).occurs_in(hidden)
        assert hidden.startswith(b'{"id": "0123456789abcdef0123456789abcdef", "url": "')
        assert hidden.endswith(b'", "n": 1}')
        assert b"***" in hidden


class Broken(Known):
    """A handler whose ledger is the caller's own, and raises something of its own."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    async def knows(self, submission_id: str) -> bool:
        """Return True, or raise."""
        return self._raise() if self._fault == "knows" else await super().knows(submission_id)

    async def on_delivery(self, submission_id: str, body: bytes) -> bool:
        """Raise."""
        raise RuntimeError(f"{submission_id}: disk on fire, after {len(body)} bytes")

    def _raise(self) -> bool:
        raise RuntimeError("disk on fire")


@pytest.mark.parametrize("fault", ["knows", "on_delivery"])
async def test_receiver_handler_that_raises_anything_gets_503_and_shows_no_secret(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception is logged once a minute, without the frames of the server; the provider may send again."""
    receiver = Receiver()
    receiver.attach(Broken(fault))
    async with served(receiver) as url, httpx.AsyncClient() as http:
        for _ in range(2):
            body = delivery(f"at {url}/{TOKEN}")
            assert (await http.post(f"{url}/{TOKEN}", content=body, headers=JSON)).status_code == 503
    assert receiver.statistics().failed == 2
    (record,) = [one for one in caplog.records if one.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    assert "disk on fire" in caplog.text
    assert_hides(record.exc_info[1], TOKEN)
