"""Several processes, one ledger file: a delivery to any of them triggers a poll in the process of the job."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from aiowery import PollPolicy
from aiowery.ledger import SqliteLedger, State
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import TextToImage, decode_delivery
from tests.support import client_of
from tests.webhook.webhook_provider import PUBLIC, WebhookProvider, delivery

pytestmark = [pytest.mark.anyio, pytest.mark.slow("a receiver in a process of its own, ended in the middle")]

JSON = {"content-type": "application/json"}
SERVER = """
import sys, uvicorn
from aiowery.webhook import Receiver
from aiowery.weryai import decode_delivery
receiver = Receiver(ledger=sys.argv[1], decode=decode_delivery)
config = uvicorn.Config(receiver, port=0, log_level="critical", access_log=False, lifespan="on")

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)

Server(config).run()
"""


@contextlib.asynccontextmanager
async def receiving(ledger: Path) -> AsyncIterator[str]:
    """Run a receiver in a process of its own and yield its url."""
    command = (sys.executable, "-c", SERVER, str(ledger))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


async def test_delivery_to_other_process_triggers_poll(tmp_path: Path) -> None:
    """The client polls soon after the receiver's process has recorded the delivery."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=3600.0, silent=True)
    webhooks = Webhooks(public_url=PUBLIC)
    delays: list[float] = []
    async with (
        client_of(provider, webhooks=webhooks, ledger=path, polling=PollPolicy(webhook_fallback=600.0)) as client,
        receiving(path) as url,
        httpx.AsyncClient() as http,
    ):
        for number in range(9):
            job = await client.submit(TextToImage(prompt=f"cat {number}"))
            (task_id,) = job.task_ids
            token = provider.addresses[task_id].rpartition("/")[2]
            provider.finished_at[task_id] = 0.0
            began = time.perf_counter()
            response = await http.post(f"{url}/{token}", content=delivery(task_id), headers=JSON)
            await job
            delays.append(time.perf_counter() - began)
            assert response.status_code == 200
    assert all(len(polls) == 1 for polls in provider.polls.values())
    assert statistics.median(delays) < 0.5  # shorter than a poll interval; benchmarks measure more
    assert len(provider.posts) == 9


async def test_delivery_of_foreign_task_to_other_process_triggers_no_poll(tmp_path: Path) -> None:
    """The receiver's process rejects unknown URLs and wrong tasks like a client's own receiver."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=3600.0, silent=True)
    async with (
        client_of(provider, webhooks=Webhooks(public_url=PUBLIC), ledger=path) as client,
        receiving(path) as url,
        httpx.AsyncClient() as http,
    ):
        job = await client.submit(TextToImage(prompt="a cat"))
        token = provider.addresses[job.task_ids[0]].rpartition("/")[2]
        statuses = [
            (await http.post(f"{url}/{token}", content=delivery("task_99"), headers=JSON)).status_code,
            (await http.post(f"{url}/{'0' * 32}", content=delivery("task_0"), headers=JSON)).status_code,
        ]
        await asyncio.sleep(0.2)
    assert statuses == [404, 404]
    assert provider.gets == 0


async def test_delivery_while_client_is_gone_is_used_by_next_run(tmp_path: Path) -> None:
    """A delivery arrives while no client runs: the next run polls immediately."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=3600.0, silent=True)
    webhooks = Webhooks(public_url=PUBLIC)
    requests = [TextToImage(prompt="a cat")]
    async with client_of(provider, webhooks=webhooks, ledger=path) as client:
        stream = client.stream(requests, batch="b")
        reading = asyncio.ensure_future(anext(stream))
        while not provider.addresses:  # noqa: ASYNC110 - a double sets no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        reading.cancel()
    (task_id, address) = next(iter(provider.addresses.items()))
    provider.finished_at[task_id] = 0.0
    async with Receiver(ledger=path, decode=decode_delivery) as receiver:
        assert await receiver.receive(address.rpartition("/")[2], delivery(task_id), JSON) == 200
    async with client_of(provider, webhooks=webhooks, ledger=path) as client, client.resume("b") as outcomes:
        assert [outcome.result is not None async for outcome in outcomes] == [True]
    ledger = SqliteLedger(path)
    await ledger.open()
    assert [entry.state for entry in await ledger.entries("b")] == [State.DONE]
    assert await ledger.deliveries() == []
    await ledger.aclose()
    assert len(provider.posts) == 1
