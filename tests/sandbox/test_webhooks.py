"""Webhook deliveries at the end of a task, and the faults that change them."""

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
from aiowery.sandbox._weryai.dialect import Dialect
from aiowery.sandbox._weryai.webhooks import WebhookSender

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import Kind, On

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@attrs.frozen
class Arrival:
    """A delivery as it was received."""

    request_line: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def data(self) -> dict[str, Any]:
        """Data about the task."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


@attrs.define
class Receiver:
    """State of a listener: its port, the received deliveries, and the number of connections."""

    port: int
    arrivals: list[Arrival] = attrs.field(factory=list)
    connections: int = 0
    peak: int = 0

    @property
    def hook(self) -> str:
        """URL for deliveries."""
        return f"http://127.0.0.1:{self.port}/hook?ref=1"

    @property
    def ids(self) -> list[str]:
        """Task ids of the deliveries, in the order of arrival."""
        return [arrival.data["task_id"] for arrival in self.arrivals]


@asynccontextmanager
async def receiver(response: bytes | None = OK) -> AsyncIterator[Receiver]:
    """Listen on this machine and send this response to each delivery, or none."""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        here.peak = max(here.peak, here.connections)
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = await reader.readexactly(int(headers["content-length"]))
        here.arrivals.append(Arrival(line, headers, body, time.monotonic()))
        if response is None:
            await reader.read()
        else:
            writer.write(response)
        here.connections -= 1
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    here = Receiver(server.sockets[0].getsockname()[1])
    async with server:
        yield here


@attrs.frozen
class Client:
    """A client that submits images to a sandbox and waits for deliveries."""

    sandbox: Sandbox
    http: httpx.AsyncClient

    async def submit(self, hook: str, prompt: str = "sea", **changes: Any) -> str:
        """Submit an image and return the id of its task."""
        body = {"model": "QWEN_IMAGE", "prompt": prompt, "aspect_ratio": "1:1", "webhook_url": hook, **changes}
        response = await self.http.post("/v1/generation/text-to-image", json=body)
        task_id: str = response.json()["data"]["task_ids"][0]
        return task_id

    async def wait_deliveries(self, number: int) -> tuple[tuple[str, int | None], ...]:
        """Wait until the sandbox has recorded this number of deliveries, and return them."""
        await wait_until(lambda: len(self.sandbox.weryai.counters.deliveries) >= number)
        return self.sandbox.weryai.counters.deliveries


@asynccontextmanager
async def run_client(*script: Fault, speed: float = 1000) -> AsyncIterator[Client]:
    """Run a sandbox with these faults whose tasks take ten seconds at speed 1."""
    async with Sandbox(speed=speed, durations=(10, 10), in_flight=1000, faults=script) as sandbox:
        headers = {"authorization": f"Bearer {sandbox.key}"}
        async with httpx.AsyncClient(base_url=sandbox.url, headers=headers) as http:
            yield Client(sandbox, http)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the sandbox has counters, no events
            await asyncio.sleep(0.005)


async def test_delivery_of_a_failure_has_its_reason() -> None:
    """The receiver gets status FAILED and the reason as JSON in a POST to the full URL. Its status is recorded."""
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as here, run_client() as client:
        task_id = await client.submit(here.hook.replace("127.0.0.1", "localhost"), FAIL)
        assert await client.wait_deliveries(1) == ((task_id, 204),)
    (arrival,) = here.arrivals
    assert arrival.request_line == "POST /hook?ref=1 HTTP/1.1"
    assert (arrival.headers["content-type"], json.loads(arrival.body)["status"]) == ("application/json", 0)
    assert (arrival.data["task_id"], arrival.data["task_status"]) == (task_id, "FAILED")
    assert arrival.data["msg"]


async def test_delivery_to_other_machines_is_not_sent() -> None:
    """Other hosts and TLS are recorded as not delivered. A blank URL counts as none."""
    async with receiver() as here, run_client() as client:
        await client.submit(" ")
        hosts = ("https://127.0.0.1", "http://127.0.0.1.example.com", "http://0.0.0.0", "http://192.0.2.1")
        ids = [await client.submit(f"{host}:{here.port}/") for host in hosts]
        assert dict(await client.wait_deliveries(4)) == dict.fromkeys(ids)
    assert (here.arrivals, here.peak) == ([], 0)


async def test_delivery_redirect_is_not_followed() -> None:
    """A redirect is recorded as the response, even if it leads to this machine."""
    async with receiver() as elsewhere:
        redirect = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.hook}\r\nContent-Length: 0\r\n\r\n"
        async with receiver(redirect.encode()) as here, run_client() as client:
            task_id = await client.submit(here.hook)
            assert await client.wait_deliveries(1) == ((task_id, 307),)
    assert (len(here.arrivals), elsewhere.peak) == (1, 0)


async def test_delivery_of_extend_and_merge_is_not_sent() -> None:
    """Extending and merging videos have no webhook. The parameter is unknown to them."""
    video = "https://example.com/a.mp4"
    async with receiver() as here, run_client() as client:
        hook = {"webhook_url": here.hook}
        await client.http.post("/v1/generation/video-extend", json={"video_url": video, "prompt": "on", **hook})
        await client.http.post("/v1/generation/video-merge", json={"video_urls": [video, video], **hook})
        await wait_until(lambda: client.sandbox.weryai.active == 0)
        task_id = await client.submit(here.hook)
        assert await client.wait_deliveries(1) == ((task_id, 200),)
    assert (len(client.sandbox.weryai.tasks), here.ids) == (3, [task_id])


@pytest.mark.parametrize(("response", "status"), [(SERVER_ERROR, 500), (b"hello\r\n", None), (b"", None)])
async def test_delivery_with_bad_response_is_not_repeated(response: bytes, status: int | None) -> None:
    """An error is recorded with its status, a response that is not HTTP without. Neither is retried."""
    async with receiver(response) as here, run_client() as client:
        first = await client.submit(here.hook)
        await client.wait_deliveries(1)
        second = await client.submit(here.hook)
        assert await client.wait_deliveries(2) == ((first, status), (second, status))
    assert here.ids == [first, second]


async def test_delivery_without_a_listener_affects_no_other() -> None:
    """None is recorded if there is no listener, and other receivers get their deliveries."""
    async with receiver() as gone:
        pass
    async with receiver() as here, run_client() as client:
        lost = await client.submit(gone.hook)
        assert await client.wait_deliveries(1) == ((lost, None),)
        task_id = await client.submit(here.hook)
        assert await client.wait_deliveries(2) == ((lost, None), (task_id, 200))


async def test_delivery_without_response_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that reads and does not respond is given up after the timeout and counts as not reached."""
    monkeypatch.setattr(webhooks, "_TIMEOUT", 0.1)
    async with receiver(None) as silent, run_client() as client:
        task_id = await client.submit(silent.hook)
        assert await client.wait_deliveries(1) == ((task_id, None),)
        await wait_until(lambda: silent.connections == 0)
    assert silent.ids == [task_id]


async def test_silent_receiver_delays_no_other() -> None:
    """Its deliveries wait for each other in their own queue. Closing the sandbox cancels them."""
    async with receiver(None) as silent, receiver() as here:
        async with run_client() as client:
            for _ in range(8):
                await client.submit(silent.hook, image_number=8)
            await wait_until(lambda: silent.connections == webhooks._MAX_CONNECTIONS)
            task_id = await client.submit(here.hook)
            assert await client.wait_deliveries(1) == ((task_id, 200),)
            began = time.monotonic()
        assert time.monotonic() - began < webhooks._TIMEOUT / 2
        await wait_until(lambda: silent.connections == 0)
    assert (silent.peak, len(silent.arrivals)) == (webhooks._MAX_CONNECTIONS, webhooks._MAX_CONNECTIONS)


async def test_deliveries_in_a_burst_all_arrive() -> None:
    """A burst is delivered over a bounded number of connections, each task once."""
    state = WeryAIState(speed=1e6, in_flight=2000)
    async with receiver() as here:
        webhook_sender = WebhookSender(state, FaultScript(), Dialect())
        batch = state.submit(TaskSpec("sea", "QWEN_IMAGE", task_count=2000, webhook_url=here.hook))
        for task in batch.tasks:
            webhook_sender.schedule(task, "http://127.0.0.1/")
        await wait_until(lambda: len(state.counters.deliveries) == 2000)
        await webhook_sender.aclose()
    assert dict(state.counters.deliveries) == dict.fromkeys((task.id for task in batch.tasks), 200)
    assert sorted(here.ids) == sorted(task.id for task in batch.tasks)
    assert here.peak <= webhooks._MAX_CONNECTIONS


async def test_duplicate_delivery_arrives_twice() -> None:
    """The same delivery arrives again after `apart` real seconds. Both are recorded."""
    async with receiver() as here, run_client(Fault(faults.DuplicateDelivery(apart=0.2), on="delivery")) as client:
        task_id = await client.submit(here.hook)
        assert await client.wait_deliveries(2) == ((task_id, 200), (task_id, 200))
        task = client.sandbox.weryai.task(task_id)
    first, second = here.arrivals
    assert first.body == second.body
    assert task is not None
    assert second.at - task.ends_at >= 0.2


async def test_delayed_delivery_arrives_out_of_order() -> None:
    """It arrives this number of real seconds after the end of its task, after a later one."""
    async with receiver() as here, run_client(Fault(faults.DelayedDelivery(0.3), on="delivery", nth=1)) as client:
        first, second = [await client.submit(here.hook) for _ in range(2)]
        await client.wait_deliveries(2)
        task = client.sandbox.weryai.task(first)
    assert here.ids == [second, first]
    assert task is not None
    assert here.arrivals[1].at - task.ends_at >= 0.3


async def test_dropped_delivery_is_not_counted() -> None:
    """A dropped delivery neither arrives nor counts."""
    async with receiver() as here, run_client(Fault(faults.DroppedDelivery(), on="delivery", times=1)) as client:
        await client.submit(here.hook)
        second = await client.submit(here.hook)
        assert await client.wait_deliveries(1) == ((second, 200),)
    assert here.ids == [second]


async def test_forged_delivery_arrives_before_the_end() -> None:
    """It reports the success of a running task with foreign outputs. The true delivery follows."""
    forgery = Fault(faults.ForgedDelivery("http://forged.invalid/"), on="delivery")
    async with receiver() as here, run_client(forgery, speed=30) as client:
        task_id = await client.submit(here.hook, FAIL)
        assert await client.wait_deliveries(2) == ((task_id, 200), (task_id, 200))
        task = client.sandbox.weryai.task(task_id)
    forged, true = here.arrivals
    assert task is not None
    assert task.accepted_at < forged.at < task.ends_at <= true.at
    assert (forged.data["task_id"], forged.data["task_status"]) == (task_id, "SUCCESS")
    assert forged.data["images"] == [f"http://forged.invalid/files/{task_id}.png"]
    assert (true.data["task_status"], "images" in true.data) == ("FAILED", False)


async def test_stuck_task_has_forged_deliveries_only() -> None:
    """A stuck task has no delivery except a forged one."""
    async with receiver() as here, run_client(Fault(faults.ForgedDelivery(), on="delivery", match="forge")) as client:
        await client.submit(here.hook, STUCK)
        forged_id = await client.submit(here.hook, f"forge {STUCK}")
        assert await client.wait_deliveries(1) == ((forged_id, 200),)
    assert here.ids == [forged_id]


@pytest.mark.parametrize(
    ("kind", "content"),
    [(faults.Truncated(0.5), None), (faults.Empty(), b""), (faults.NotJson("hello"), b"hello")],
)
async def test_delivery_body_fault_sends_no_json(kind: Kind, content: bytes | None) -> None:
    """Half of the JSON, nothing, or other text, each in a correct request with the content type of JSON."""
    async with receiver() as here, run_client(Fault(kind, on="delivery")) as client:
        task_id = await client.submit(here.hook)
        assert await client.wait_deliveries(1) == ((task_id, 200),)
    (arrival,) = here.arrivals
    assert arrival.headers["content-type"] == "application/json"
    assert content is None or arrival.body == content
    with pytest.raises(json.JSONDecodeError):
        json.loads(arrival.body)


async def test_delivery_content_type_is_replaced() -> None:
    """A wrong content type replaces the right one. The body stays."""
    async with receiver() as here, run_client(Fault(faults.ContentType("text/plain"), on="delivery")) as client:
        task_id = await client.submit(here.hook)
        await client.wait_deliveries(1)
    assert (here.ids, here.arrivals[0].headers["content-type"]) == ([task_id], "text/plain")


async def test_delivery_shape_fault_changes_the_message() -> None:
    """Fault behaviors for status responses change deliveries in the same way."""
    script = [
        Fault(kind, on="delivery") for kind in (faults.StatusWords(success="succeed"), faults.NestedOutputs("result"))
    ]
    async with receiver() as here, run_client(*script) as client:
        await client.submit(here.hook)
        await client.wait_deliveries(1)
    data = here.arrivals[0].data
    assert (data["task_status"], list(data["result"])) == ("succeed", ["images"])


async def test_delivery_faults_add_up() -> None:
    """Each fault applies to all deliveries of the earlier ones: both copies are broken, the forged ones are not."""
    kinds = (faults.NotJson(), faults.DuplicateDelivery(), faults.ForgedDelivery())
    async with receiver() as here, run_client(*(Fault(kind, on="delivery") for kind in kinds)) as client:
        await client.submit(here.hook)
        await client.wait_deliveries(4)
    assert sorted(arrival.body == b"OK" for arrival in here.arrivals) == [False, False, True, True]


@pytest.mark.parametrize("match", ["whale", "/hook/left"])
async def test_delivery_fault_matches_prompt_and_path(match: str) -> None:
    """`match` is compared with the prompt and the URL's path, not with its host or query."""
    async with receiver() as here, run_client(Fault(faults.DroppedDelivery(), on="delivery", match=match)) as client:
        left = here.hook.replace("/hook", "/hook/left")
        await client.submit(left, "a whale")
        task_id = await client.submit(f"http://127.0.0.1:{here.port}/hook?/hook/left=whale", "a shark")
        assert await client.wait_deliveries(1) == ((task_id, 200),)
    assert here.ids == [task_id]


async def test_delivery_fault_matches_the_task_id() -> None:
    """The id of a podcast's second step is known in advance, and selects its delivery."""
    query = {"query": "tea", "speakers": ["a"], "language": "en", "mode": "quick"}
    async with receiver() as here, run_client() as client:
        response = await client.http.post("/v1/generation/podcast/generate/text", json=query)
        task_id = response.json()["data"]["task_id"]
        await wait_until(lambda: client.sandbox.weryai.active == 0)
        client.sandbox.inject(Fault(faults.NotJson("gone"), on="delivery", match=task_id))
        await client.http.post(f"/v1/generation/podcast/generate/{task_id}/audio", json={"webhook_url": here.hook})
        assert await client.wait_deliveries(1) == ((task_id, 200),)
    assert here.arrivals[0].body == b"gone"


async def test_delivery_is_not_part_of_any() -> None:
    """Faults of requests do not apply to deliveries, and deliveries do not count as requests."""
    script = (Fault(faults.NotJson(), on="any", nth=2), Fault(faults.Empty(), on="delivery", nth=2))
    async with receiver() as here, run_client(*script) as client:
        task_id = await client.submit(here.hook)
        await client.wait_deliveries(1)
        assert (await client.http.get(f"/v1/generation/{task_id}/status")).text == "OK"
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
async def test_fault_outside_its_scope_is_refused(kind: Kind, on: On) -> None:
    """A fault behavior of requests cannot apply to deliveries, and the reverse. The constructor refuses both."""
    with pytest.raises(ValueError, match=rf"{type(kind).__name__} applies to .* only"):
        Fault(kind, on=on)
