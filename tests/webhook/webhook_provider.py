"""A simulated provider that sends webhook deliveries in virtual time, and helpers for tests of a receiver."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx
import uvicorn

from aiowery._core.webhook_config import submission_id_of
from aiowery.sandbox._http.prompt_server import PromptServer
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import decode_delivery
from tests.support import FakeWeryAI

PUBLIC = "https://app.example.com/aiowery"
TOKEN = "0123456789abcdef" * 2
JSON = {"content-type": "application/json"}


def delivery(task_id: str, raw_status: str = "SUCCESS") -> bytes:
    """Return the body of a delivery about a finished task."""
    data = {"task_id": task_id, "task_status": raw_status, "images": [f"https://files.example.com/{task_id}.png"]}
    return json.dumps({"status": 0, "desc": "success", "message": "success", "data": data}).encode()


@attrs.define
class WebhookProvider(FakeWeryAI):
    """A provider that sends a delivery `after` seconds after the end of a task, unless it is `silent`.

    `statuses` are those of the receiver's responses. The responses to the next `lost` submissions do not arrive: the
    connection fails `response_delay` seconds after the charge.
    """

    receiver: Receiver = attrs.field(factory=Receiver)
    silent: bool = False
    after: float = 0.05
    lost: int = 0
    response_delay: float = 30.0
    addresses: dict[str, str] = attrs.field(factory=dict)
    statuses: list[int] = attrs.field(factory=list)
    _deliveries: set[asyncio.Task[None]] = attrs.field(factory=set)

    @property
    def webhooks(self) -> Webhooks:
        """The webhooks of a client that this provider sends to."""
        return Webhooks(public_url=PUBLIC, receiver=self.receiver)

    @property
    def gets(self) -> int:
        """Number of status checks."""
        return sum(map(len, self.polls.values())) + self.batch_polls

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request, or lose the response."""
        response = await super().__call__(request)
        if request.method == "POST" and self.lost:
            self.lost -= 1
            await asyncio.sleep(self.response_delay)
            raise httpx.ReadTimeout("no answer")
        return response

    async def deliver(self, task_id: str, *, about: str | None = None, raw_status: str = "SUCCESS") -> int:
        """Send a delivery to the URL of a task's submission, about that task or another, and return the status."""
        token = self.addresses[task_id].rpartition("/")[2]
        status = await self.receiver.receive(
            token, delivery(about or task_id, raw_status), {"Content-Type": "application/json"}
        )
        self.statuses.append(status)
        return status

    def _submit(self, body: dict[str, Any]) -> httpx.Response:
        known = set(self.finished_at)
        response = super()._submit(body)
        for task_id in self.finished_at.keys() - known:
            self.addresses[task_id] = body.get("webhook_url", "")
            if not self.silent and self.addresses[task_id].startswith(PUBLIC):
                sending = asyncio.create_task(self._deliver_later(task_id))
                self._deliveries.add(sending)
                sending.add_done_callback(self._deliveries.discard)
        return response

    async def _deliver_later(self, task_id: str) -> None:
        await asyncio.sleep(self.seconds + self.after)
        await self.deliver(task_id)


class Known:
    """A handler that knows one submission of one task, and records its deliveries."""

    def __init__(self) -> None:
        self.delivered: list[str] = []

    def is_awaited(self, submission_id: str) -> bool:  # noqa: ARG002 - as a ledger, which must be read
        """Return False."""
        return False

    async def knows(self, submission_id: str) -> bool:
        """Return True for the one submission."""
        return submission_id == submission_id_of(TOKEN)

    async def on_delivery(self, submission_id: str, body: bytes) -> bool:
        """Record the deliveries of one submission's one task."""
        delivery = decode_delivery(body)
        assert delivery.finished
        if submission_id != submission_id_of(TOKEN) or delivery.task_id != "task_1":
            return False
        self.delivered.append(delivery.task_id)
        return True


@contextlib.asynccontextmanager
async def served(application: Any, *, lifespan: str = "off") -> AsyncIterator[str]:
    """Serve an ASGI application on loopback and yield its url."""
    config = uvicorn.Config(application, port=0, log_config=None, access_log=False, lifespan=lifespan)  # type: ignore[arg-type]
    async with serving(config) as url:
        yield url


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """Serve with this configuration on a free port of loopback and yield the url."""
    config.port = 0
    server = PromptServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, not an event
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.end()
        await task
