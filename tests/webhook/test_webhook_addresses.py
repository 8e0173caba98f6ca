"""The address comes first: at an address of no submission no body is received, let alone read."""

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
from support import client_of, ledger_of
from webhook.calling import JSON, TOKEN, CallingWorld, Known, delivery, served

from aiowery._core.webhook_config import submission_id_of
from aiowery.errors import LedgerError, SubmissionInDoubt
from aiowery.ledger import MemoryLedger, NewEntry, State
from aiowery.testing import run_virtual
from aiowery.webhook import Receiver
from aiowery.weryai import TextToImage, decode_delivery

pytestmark = pytest.mark.anyio

STRANGE = "f" * 32
CAT = TextToImage(prompt="a cat")
# The time that a regular expression takes for it must not grow with the square of its length.
HARD = json.dumps({"status": 9999, "message": "task " * 20_000}).encode()


@attrs.define
class Call:
    """One ASGI call: the status of its answer, the answer's headers, and how often its body was asked for.

    A `body` that is None never arrives; `asked` is set when it is asked for.
    """

    body: bytes | None = None
    status: int | None = None
    headers: dict[bytes, bytes] = attrs.field(factory=dict)
    times: int = 0
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        """Give the body."""
        self.times += 1
        self.asked.set()
        if self.body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self.body}

    async def send(self, message: Any) -> None:
        """Take the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])

    async def made(self, receiver: Receiver, token: str) -> int:
        """Make the call; return the status."""
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": f"/{token}", "headers": headers}
        async with asyncio.timeout(5):
            await receiver(scope, self.receive, self.send)
        assert self.status is not None
        return self.status


async def asks(receiver: Receiver, token: str) -> bool:
    """Return True if a body is received at this address; it is no delivery, and changes nothing."""
    call = Call(b"no JSON")
    status = await call.made(receiver, token)
    assert status == (400 if call.times else 404)
    return bool(call.times)


async def forbidden() -> Any:
    """Fail the test: the body must not be asked for."""
    raise AssertionError("the body was asked for")


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
def test_whatever_is_sent_to_an_unknown_address_is_not_received(
    path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """404 whatever the headers and the body are, and the server is never asked for the body."""

    async def main() -> None:
        receiver, known, call = Receiver(), Known(), Call()
        receiver.attach(known)
        scope = {"type": "http", "method": "POST", "path": f"/hooks/{path}", "headers": headers}
        await receiver(scope, forbidden, call.send)
        assert call.status == 404
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        assert await receiver.receive(path, body, told) == 404
        assert receiver.statistics().unknown == 2
        assert known.told == []

    asyncio.run(main())


async def test_a_hard_body_costs_a_stranger_nothing_and_us_neither() -> None:
    """100 kB that once took a regular expression seconds: turned away unread, or refused within milliseconds."""
    receiver = Receiver()
    receiver.attach(Known())
    for token, status in ((STRANGE, 404), (TOKEN, 400)):
        began = time.thread_time()
        assert await receiver.receive(token, HARD, JSON) == status
        assert time.thread_time() - began < 0.05


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("state", State)
async def test_a_ledger_expects_calls_for_every_attempt(kind: str, state: State, tmp_path: Path) -> None:
    """From the first byte of the POST on, whatever became of it, also once it was released; not before."""
    async with ledger_of(kind, tmp_path) as ledger, Receiver(ledger=ledger, decode=decode_delivery) as receiver:
        ref, sent = submission_id_of(TOKEN), state not in {State.NEW, State.CLAIMED}
        (entry,) = await ledger.add("b", [NewEntry(key="k", index=0, request={})], claim=state is not State.NEW)
        if sent:
            await ledger.mark_sending(entry.id, ref, 1.0)
        if state in {State.ACCEPTED, State.DONE}:
            await ledger.mark_accepted(ref, ["task_1"])
        if state is State.DONE:
            await ledger.mark_finished(entry.id, State.DONE)
        if state is State.FAILED:
            await ledger.mark_refused(ref, "no", again=False)
        if state is State.IN_DOUBT:
            await ledger.mark_in_doubt(ref, "lost")
        assert await asks(receiver, TOKEN) == sent
        assert not await asks(receiver, STRANGE)
        if state is State.IN_DOUBT:
            await ledger.resolve_unsent(entry.id)
            assert await asks(receiver, TOKEN)
        if state is State.SENDING:
            await ledger.mark_unsent(ref)
            assert not await asks(receiver, TOKEN)


def test_a_client_expects_calls_for_all_that_it_has_sent() -> None:
    """While the task runs, after its end, while the POST waits for its answer, and in doubt."""

    async def main() -> None:
        world = CallingWorld(seconds=10.0, silent=True)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            assert await asks(world.receiver, newest(world))
            await job
            assert await asks(world.receiver, newest(world))
            assert not await asks(world.receiver, STRANGE)
            world.lost = 1
            sending = asyncio.create_task(client.submit(CAT))
            await asyncio.sleep(world.patience / 2)
            assert len(world.addresses) == 2
            assert await asks(world.receiver, newest(world))
            with pytest.raises(SubmissionInDoubt):
                await sending
            assert await asks(world.receiver, newest(world))

    run_virtual(main())


def newest(world: CallingWorld) -> str:
    """Return the token of the latest submission."""
    return list(world.addresses.values())[-1].rpartition("/")[2]


@attrs.define(eq=False)
class Knows(Known):
    """A recipient whose lookup is what the test says."""

    answer: Callable[[], Awaitable[bool]]

    def __attrs_post_init__(self) -> None:
        super().__init__()

    async def knows(self, submission_id: str) -> bool:  # noqa: ARG002 - the test has decided
        """Answer."""
        return await self.answer()


async def broken() -> bool:
    """Fail as a ledger does."""
    raise LedgerError("the disk is full")


async def silent() -> bool:
    """Do not answer."""
    await asyncio.Event().wait()
    return False


async def test_one_recipient_that_knows_is_enough() -> None:
    """Others may be unable to answer, or slow; without one that knows, their failure is a 503 and not a 404."""
    receiver, call = Receiver(), Call()
    lame = Knows(broken)
    for recipient in (lame, Known()):
        receiver.attach(recipient)
    assert await Call(delivery("task_1")).made(receiver, TOKEN) == 200
    assert await call.made(receiver, STRANGE) == 503
    assert (call.times, call.headers[b"retry-after"]) == (0, b"1")
    receiver.detach(lame)
    receiver.attach(Knows(silent))
    before = asyncio.all_tasks()
    async with asyncio.timeout(1):
        assert await Call(delivery("task_1")).made(receiver, TOKEN) == 200
    assert asyncio.all_tasks() == before


async def test_nothing_is_received_where_nothing_can_be_recorded() -> None:
    """503 without a recipient, or with a ledger that is closed; the body is not asked for."""
    alone, closed = Receiver(), Receiver(ledger=(ledger := MemoryLedger()), decode=decode_delivery)
    await closed.open()
    await ledger.aclose()
    for receiver in (alone, closed):
        call = Call()
        assert await call.made(receiver, TOKEN) == 503
        assert (call.times, receiver.statistics().failed) == (0, 1)


@pytest.mark.two_loops
def test_a_client_in_another_thread_is_asked_before_the_body_is() -> None:
    """Its answer decides, whether it knows the address or not."""
    receiver, known, loop = Receiver(), Known(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(receiver.attach, known)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        assert not asyncio.run(asks(receiver, STRANGE))
        assert asyncio.run(asks(receiver, TOKEN))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def test_a_client_in_another_thread_that_does_not_answer_has_nothing_received(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loop stands still: 503 after a while, the body is not asked for, and the question is withdrawn."""
    monkeypatch.setattr("aiowery.webhook._dispatch._OTHER_LOOP_TIMEOUT", 0.02)
    receiver, call, loop = Receiver(), Call(), asyncio.new_event_loop()

    async def attach() -> None:
        receiver.attach(Knows(silent))

    await asyncio.to_thread(loop.run_until_complete, attach())
    assert await call.made(receiver, STRANGE) == 503
    assert call.times == 0
    await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0.001))
    assert asyncio.all_tasks(loop) == set()
    loop.close()


async def test_strangers_take_no_place_of_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies at unknown addresses leave all places free; those at a known one fill the places, and only those."""
    monkeypatch.setattr("aiowery.webhook._asgi._MAX_BODIES", 2)
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    strangers = [await Call().made(receiver, STRANGE) for _ in range(10)]
    assert strangers == [404] * 10
    slow = [Call(), Call()]
    tasks = [asyncio.create_task(call.made(receiver, TOKEN)) for call in slow]
    await asyncio.gather(*(call.asked.wait() for call in slow))
    one_more = Call()
    assert await one_more.made(receiver, TOKEN) == 503
    assert (one_more.times, one_more.headers[b"retry-after"]) == (0, b"1")
    assert await Call().made(receiver, STRANGE) == 404
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await Call(delivery("task_1")).made(receiver, TOKEN) == 200
    assert receiver.statistics().failed == 1


async def test_lookups_have_an_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that does not answer gathers no calls without end: those above the bound get 503, counted."""
    monkeypatch.setattr("aiowery.webhook._asgi._MAX_LOOKUPS", 2)
    receiver = Receiver()
    receiver.attach(Knows(silent))
    waiting = [asyncio.create_task(Call().made(receiver, STRANGE)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await Call().made(receiver, STRANGE) == 503
    assert receiver.statistics().failed == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def head(token: str, length: int, *more: str) -> bytes:
    """Return the head of a POST over HTTP/1.1, which keeps the connection."""
    lines = (f"POST /{token} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}", *more)
    return "\r\n".join((*lines, "", "")).encode()


async def answer_from(reader: asyncio.StreamReader) -> int:
    """Read one answer; return its status."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
    length = next(line for line in lines if line.startswith("content-length:"))
    await reader.readexactly(int(length.partition(":")[2]))
    return int(lines[0].split()[1])


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_body_that_trickles_is_not_waited_for() -> None:
    """The 404 comes before the body; once the rest has come, the same connection serves the next call."""
    receiver, known = Receiver(within=60.0), Known()
    receiver.attach(known)
    body = delivery("task_1")
    async with served(receiver) as url, asyncio.timeout(5):
        for sent, more in itertools.product((0, 1, 1000), ((), ("expect: 100-continue",))):
            reader, writer = await connected(url)
            writer.write(head(STRANGE, 2000, *more) + b"x" * sent)
            assert await answer_from(reader) == 404
            writer.write(b"x" * (2000 - sent))
            writer.write(head(TOKEN, len(body)) + body)
            assert await answer_from(reader) == 200
            writer.close()
    assert known.told == ["task_1"] * 6


async def test_a_connection_survives_bodies_that_are_not_read() -> None:
    """256 kB to unknown addresses, honest calls between them, all over one connection: each gets its answer."""
    receiver, known = Receiver(), Known()
    receiver.attach(known)
    large, good = b"x" * 256 * 1024, delivery("task_1")
    async with served(receiver) as url:
        reader, writer = await connected(url)
        statuses = []
        for token, body in ((STRANGE, large), (TOKEN, good), (STRANGE, HARD), (STRANGE, large), (TOKEN, good)):
            writer.write(head(token, len(body)) + body)
            statuses.append(await answer_from(reader))
        writer.close()
        async with httpx.AsyncClient() as http:
            answers = [
                await http.post(f"{url}/{token}", content=body, headers=JSON)
                for token, body in ((STRANGE, large), (TOKEN, good))
            ]
    assert statuses == [404, 200, 404, 404, 200]
    assert [answer.status_code for answer in answers] == [404, 200]
    assert known.told == ["task_1"] * 3
