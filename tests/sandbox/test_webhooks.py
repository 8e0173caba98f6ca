"""What a `webhook_url` receives when a task ends, and all that can go wrong on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from aiowery.sandbox import FAIL, STUCK, Fault, Sandbox, WeryAIState, faults
from aiowery.sandbox._faults.script import FaultScript
from aiowery.sandbox._tasks import TaskSpec
from aiowery.sandbox._weryai import webhooks
from aiowery.sandbox._weryai.webhooks import WebhookSender

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import Kind, On

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@attrs.frozen
class Arrival:
    """One delivery as it was received."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def data(self) -> dict[str, Any]:
        """What is told of the task."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


@attrs.define
class Receiver:
    """What listens on `port`, what came there, and how many connections it had at once."""

    port: int
    arrivals: list[Arrival] = attrs.field(factory=list)
    connections: int = 0
    peak: int = 0

    @property
    def hook(self) -> str:
        """The address for deliveries."""
        return f"http://127.0.0.1:{self.port}/hook?ref=1"

    @property
    def ids(self) -> list[str]:
        """The tasks that were delivered, in this order."""
        return [arrival.data["task_id"] for arrival in self.arrivals]


@asynccontextmanager
async def receiver(answer: bytes | None = OK) -> AsyncIterator[Receiver]:
    """Listen on this machine, and answer so, or never."""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        here.peak = max(here.peak, here.connections)
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = await reader.readexactly(int(headers["content-length"]))
        here.arrivals.append(Arrival(line, headers, body, time.monotonic()))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        here.connections -= 1
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    here = Receiver(server.sockets[0].getsockname()[1])
    async with server:
        yield here


@attrs.frozen
class Caller:
    """Who orders pictures from a sandbox and waits for deliveries."""

    sandbox: Sandbox
    http: httpx.AsyncClient

    async def order(self, hook: str, prompt: str = "sea", **changes: Any) -> str:
        """Order a picture and return the id of its task."""
        body = {"model": "QWEN_IMAGE", "prompt": prompt, "aspect_ratio": "1:1", "webhook_url": hook, **changes}
        answer = await self.http.post("/v1/generation/text-to-image", json=body)
        task_id: str = answer.json()["data"]["task_ids"][0]
        return task_id

    async def noted(self, number: int) -> tuple[tuple[str, int | None], ...]:
        """Wait until the sandbox has got rid of so many deliveries, and return what became of them."""
        await until(lambda: len(self.sandbox.weryai.counters.deliveries) >= number)
        return self.sandbox.weryai.counters.deliveries


@asynccontextmanager
async def calling(*script: Fault, speed: float = 1000) -> AsyncIterator[Caller]:
    """Run a sandbox whose tasks take ten seconds at speed 1, with these faults."""
    async with Sandbox(speed=speed, durations=(10, 10), in_flight=1000, faults=script) as sandbox:
        headers = {"authorization": f"Bearer {sandbox.key}"}
        async with httpx.AsyncClient(base_url=sandbox.url, headers=headers) as http:
            yield Caller(sandbox, http)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - the sandbox tells by figures, not by events
            await asyncio.sleep(0.005)


async def test_a_failure_is_delivered_with_its_reason() -> None:
    """The receiver reads FAILED and why, as JSON from a POST to all of its address; what it answers is counted."""
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as here, calling() as caller:
        task_id = await caller.order(here.hook.replace("127.0.0.1", "localhost"), FAIL)
        assert await caller.noted(1) == ((task_id, 204),)
    (arrival,) = here.arrivals
    assert arrival.line == "POST /hook?ref=1 HTTP/1.1"
    assert (arrival.headers["content-type"], json.loads(arrival.body)["status"]) == ("application/json", 0)
    assert (arrival.data["task_id"], arrival.data["task_status"]) == (task_id, "FAILED")
    assert arrival.data["msg"]


async def test_only_plain_addresses_of_this_machine_are_called() -> None:
    """Elsewhere and TLS are noted as not delivered, unseen by anybody; a blank address is none."""
    async with receiver() as here, calling() as caller:
        await caller.order(" ")
        hosts = ("https://127.0.0.1", "http://127.0.0.1.example.com", "http://0.0.0.0", "http://192.0.2.1")
        ids = [await caller.order(f"{host}:{here.port}/") for host in hosts]
        assert dict(await caller.noted(4)) == dict.fromkeys(ids)
    assert (here.arrivals, here.peak) == ([], 0)


async def test_a_redirect_is_not_followed() -> None:
    """Not even to this machine: the answer is noted as what it is."""
    async with receiver() as elsewhere:
        redirect = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.hook}\r\nContent-Length: 0\r\n\r\n"
        async with receiver(redirect.encode()) as here, calling() as caller:
            task_id = await caller.order(here.hook)
            assert await caller.noted(1) == ((task_id, 307),)
    assert (len(here.arrivals), elsewhere.peak) == (1, 0)


async def test_two_tools_call_nobody_back() -> None:
    """Extending and merging videos know no webhook: the parameter is a stranger to them."""
    video = "https://example.com/a.mp4"
    async with receiver() as here, calling() as caller:
        hook = {"webhook_url": here.hook}
        await caller.http.post("/v1/generation/video-extend", json={"video_url": video, "prompt": "on", **hook})
        await caller.http.post("/v1/generation/video-merge", json={"video_urls": [video, video], **hook})
        await until(lambda: caller.sandbox.weryai.active == 0)
        task_id = await caller.order(here.hook)
        assert await caller.noted(1) == ((task_id, 200),)
    assert (len(caller.sandbox.weryai.tasks), here.ids) == (3, [task_id])


@pytest.mark.parametrize(("answer", "status"), [(SERVER_ERROR, 500), (b"hello\r\n", None), (b"", None)])
async def test_a_bad_answer_brings_no_second_try(answer: bytes, status: int | None) -> None:
    """An error is noted with its status, what is no HTTP without; either is the end of it."""
    async with receiver(answer) as here, calling() as caller:
        first = await caller.order(here.hook)
        await caller.noted(1)
        second = await caller.order(here.hook)
        assert await caller.noted(2) == ((first, status), (second, status))
    assert here.ids == [first, second]


async def test_a_dead_receiver_harms_nobody() -> None:
    """Where nobody listens None is noted, and others get theirs."""
    async with receiver() as gone:
        pass
    async with receiver() as here, calling() as caller:
        lost = await caller.order(gone.hook)
        assert await caller.noted(1) == ((lost, None),)
        task_id = await caller.order(here.hook)
        assert await caller.noted(2) == ((lost, None), (task_id, 200))


async def test_a_silent_receiver_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes a delivery and says nothing costs the time limit, and counts as not reached."""
    monkeypatch.setattr(webhooks, "_WITHIN", 0.1)
    async with receiver(None) as silent, calling() as caller:
        task_id = await caller.order(silent.hook)
        assert await caller.noted(1) == ((task_id, None),)
        await until(lambda: silent.connections == 0)
    assert silent.ids == [task_id]


async def test_a_silent_receiver_holds_up_nobody_else() -> None:
    """Its deliveries wait for each other in a line of their own; closing the sandbox gives them up."""
    async with receiver(None) as silent, receiver() as here:
        async with calling() as caller:
            for _ in range(8):
                await caller.order(silent.hook, image_number=8)
            await until(lambda: silent.connections == webhooks._AT_ONCE)
            task_id = await caller.order(here.hook)
            assert await caller.noted(1) == ((task_id, 200),)
            began = time.monotonic()
        assert time.monotonic() - began < webhooks._WITHIN / 2
        await until(lambda: silent.connections == 0)
    assert (silent.peak, len(silent.arrivals)) == (webhooks._AT_ONCE, webhooks._AT_ONCE)


async def test_thousands_at_once_all_arrive() -> None:
    """A burst is delivered over a bounded number of connections, each task once."""
    world = WeryAIState(speed=1e6, in_flight=2000)
    async with receiver() as here:
        messenger = WebhookSender(world, FaultScript())
        batch = world.submit(TaskSpec("sea", "QWEN_IMAGE", pictures=2000, webhook_url=here.hook))
        for task in batch.tasks:
            messenger.watch(task, "http://127.0.0.1/")
        await until(lambda: len(world.counters.deliveries) == 2000)
        await messenger.aclose()
    assert dict(world.counters.deliveries) == dict.fromkeys((task.id for task in batch.tasks), 200)
    assert sorted(here.ids) == sorted(task.id for task in batch.tasks)
    assert here.peak <= webhooks._AT_ONCE


async def test_a_delivery_comes_twice() -> None:
    """The same again, so many real seconds later; both are noted."""
    async with receiver() as here, calling(Fault(faults.DuplicateDelivery(apart=0.2), on="delivery")) as caller:
        task_id = await caller.order(here.hook)
        assert await caller.noted(2) == ((task_id, 200), (task_id, 200))
        task = caller.sandbox.weryai.task(task_id)
    first, second = here.arrivals
    assert first.body == second.body
    assert task is not None
    assert second.at - task.ends_at >= 0.2


async def test_a_late_delivery_is_overtaken() -> None:
    """It comes so many real seconds after the end of its task, out of order."""
    async with receiver() as here, calling(Fault(faults.DelayedDelivery(0.3), on="delivery", nth=1)) as caller:
        first, second = [await caller.order(here.hook) for _ in range(2)]
        await caller.noted(2)
        task = caller.sandbox.weryai.task(first)
    assert here.ids == [second, first]
    assert task is not None
    assert here.arrivals[1].at - task.ends_at >= 0.3


async def test_a_delivery_is_never_sent() -> None:
    """What is undelivered neither arrives nor counts."""
    async with receiver() as here, calling(Fault(faults.DroppedDelivery(), on="delivery", times=1)) as caller:
        await caller.order(here.hook)
        second = await caller.order(here.hook)
        assert await caller.noted(1) == ((second, 200),)
    assert here.ids == [second]


async def test_a_forged_delivery_comes_before_the_end() -> None:
    """It reports the success of a task that goes on, with outputs from elsewhere; the truth follows."""
    forgery = Fault(faults.ForgedDelivery("http://forged.invalid/"), on="delivery")
    async with receiver() as here, calling(forgery, speed=30) as caller:
        task_id = await caller.order(here.hook, FAIL)
        assert await caller.noted(2) == ((task_id, 200), (task_id, 200))
        task = caller.sandbox.weryai.task(task_id)
    forged, true = here.arrivals
    assert task is not None
    assert task.accepted_at < forged.at < task.ends_at <= true.at
    assert (forged.data["task_id"], forged.data["task_status"]) == (task_id, "SUCCESS")
    assert forged.data["images"] == [f"http://forged.invalid/files/{task_id}.png"]
    assert (true.data["task_status"], "images" in true.data) == ("FAILED", False)


async def test_a_task_without_an_end_is_delivered_by_forgers_only() -> None:
    """A stuck task is never told of, except by a lie."""
    async with receiver() as here, calling(Fault(faults.ForgedDelivery(), on="delivery", match="forge")) as caller:
        await caller.order(here.hook, STUCK)
        lied = await caller.order(here.hook, f"forge {STUCK}")
        assert await caller.noted(1) == ((lied, 200),)
    assert here.ids == [lied]


@pytest.mark.parametrize(
    ("kind", "content"),
    [(faults.Truncated(0.5), None), (faults.Empty(), b""), (faults.NotJson("hello"), b"hello")],
)
async def test_a_delivery_is_no_json(kind: Kind, content: bytes | None) -> None:
    """Half of the JSON, nothing, or something else, each in a correct request that says it was JSON."""
    async with receiver() as here, calling(Fault(kind, on="delivery")) as caller:
        task_id = await caller.order(here.hook)
        assert await caller.noted(1) == ((task_id, 200),)
    (arrival,) = here.arrivals
    assert arrival.headers["content-type"] == "application/json"
    assert content is None or arrival.body == content
    with pytest.raises(json.JSONDecodeError):
        json.loads(arrival.body)


async def test_a_delivery_says_it_is_something_else() -> None:
    """A wrong content type takes the place of the right one; the body stays."""
    async with receiver() as here, calling(Fault(faults.ContentType("text/plain"), on="delivery")) as caller:
        task_id = await caller.order(here.hook)
        await caller.noted(1)
    assert (here.ids, here.arrivals[0].headers["content-type"]) == ([task_id], "text/plain")


async def test_a_delivery_has_another_shape() -> None:
    """What spoils the answers about tasks spoils what is delivered of them, in the same words."""
    script = [
        Fault(kind, on="delivery") for kind in (faults.StatusWords(success="succeed"), faults.NestedOutputs("result"))
    ]
    async with receiver() as here, calling(*script) as caller:
        await caller.order(here.hook)
        await caller.noted(1)
    data = here.arrivals[0].data
    assert (data["task_status"], list(data["result"])) == ("succeed", ["images"])


async def test_faults_of_a_delivery_add_up() -> None:
    """Each strikes all that those before it have made: both copies are broken, the forged delivery is not."""
    kinds = (faults.NotJson(), faults.DuplicateDelivery(), faults.ForgedDelivery())
    async with receiver() as here, calling(*(Fault(kind, on="delivery") for kind in kinds)) as caller:
        await caller.order(here.hook)
        await caller.noted(4)
    assert sorted(arrival.body == b"OK" for arrival in here.arrivals) == [False, False, True, True]


@pytest.mark.parametrize("match", ["whale", "/hook/left"])
async def test_a_fault_chooses_deliveries_by_what_they_are_about(match: str) -> None:
    """`match` is looked for in the prompt and in the path of the address, not in the rest of it."""
    async with receiver() as here, calling(Fault(faults.DroppedDelivery(), on="delivery", match=match)) as caller:
        left = here.hook.replace("/hook", "/hook/left")
        await caller.order(left, "a whale")
        task_id = await caller.order(f"http://127.0.0.1:{here.port}/hook?/hook/left=whale", "a shark")
        assert await caller.noted(1) == ((task_id, 200),)
    assert here.ids == [task_id]


async def test_a_fault_chooses_deliveries_by_task_id() -> None:
    """The second step of a podcast has an id that is known before, by which its delivery is spoiled."""
    query = {"query": "tea", "speakers": ["a"], "language": "en", "mode": "quick"}
    async with receiver() as here, calling() as caller:
        answer = await caller.http.post("/v1/generation/podcast/generate/text", json=query)
        task_id = answer.json()["data"]["task_id"]
        await until(lambda: caller.sandbox.weryai.active == 0)
        caller.sandbox.inject(Fault(faults.NotJson("gone"), on="delivery", match=task_id))
        await caller.http.post(f"/v1/generation/podcast/generate/{task_id}/audio", json={"webhook_url": here.hook})
        assert await caller.noted(1) == ((task_id, 200),)
    assert here.arrivals[0].body == b"gone"


async def test_a_delivery_is_not_any_call() -> None:
    """Faults of calls leave deliveries alone, and deliveries do not count among the calls."""
    script = (Fault(faults.NotJson(), on="any", nth=2), Fault(faults.Empty(), on="delivery", nth=2))
    async with receiver() as here, calling(*script) as caller:
        task_id = await caller.order(here.hook)
        await caller.noted(1)
        assert (await caller.http.get(f"/v1/generation/{task_id}/status")).text == "OK"
    assert here.ids == [task_id]


@pytest.mark.parametrize(
    ("kind", "on"),
    [
        *(
            (kind, "delivery")
            for kind in (faults.LostAnswer(), faults.Reset(), faults.SlowBody(), faults.TruncatedFile())
        ),
        *((kind, "delivery") for kind in (faults.SERVER_ERROR, faults.NotFoundYet(), faults.Redirect("http://a"))),
        *(
            (kind, "any")
            for kind in (
                faults.DuplicateDelivery(),
                faults.DelayedDelivery(),
                faults.DroppedDelivery(),
                faults.ForgedDelivery(),
            )
        ),
    ],
)
async def test_a_kind_that_cannot_strike_is_refused(kind: Kind, on: On) -> None:
    """Calls want misfortunes of calls, deliveries those of deliveries: the mistake is told when the fault is made."""
    with pytest.raises(ValueError, match=rf"{type(kind).__name__} strikes .* only"):
        Fault(kind, on=on)
