"""A fake WeryAI whose time is that of the event loop, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import httpx

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from tests.support.samples import KEY, URL


def envelope(data: Any, status: int = 0, message: str = "success") -> httpx.Response:
    """Return a response in the provider's envelope."""
    return httpx.Response(200, json={"status": status, "desc": message, "message": message, "data": data})


@attrs.define
class FakeWeryAI:
    """A provider whose tasks take `seconds` of the event loop's time, and which records all requests.

    `faults` are the responses (or exceptions) that the next requests of a kind get instead. The keys are "submit",
    "status" and "batch".
    """

    seconds: float = 10.0
    max_tasks: int | None = None
    finished_at: dict[str, float] = attrs.field(factory=dict)
    posts: list[dict[str, Any]] = attrs.field(factory=list)
    post_times: list[float] = attrs.field(factory=list)
    polls: dict[str, list[float]] = attrs.field(factory=dict)
    batches: dict[str, list[str]] = attrs.field(factory=dict)
    batch_polls: int = 0
    peak_tasks: int = 0
    faults: dict[str, list[httpx.Response | Exception]] = attrs.field(factory=dict)
    latency: float = 0.0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request."""
        if self.latency:
            await asyncio.sleep(self.latency)
        path = request.url.path
        if request.method == "POST":
            return self._submit(json.loads(request.content))
        if "/batch/" in path:
            return self._next_fault("batch") or self._batch(path.split("/")[-2])
        return self._status(path.split("/")[-2])

    def under_way(self) -> int:
        """Count the tasks that have not finished."""
        now = asyncio.get_running_loop().time()
        return sum(moment > now for moment in self.finished_at.values())

    def _next_fault(self, kind: str) -> httpx.Response | None:
        faults = self.faults.get(kind)
        if not faults:
            return None
        fault = faults.pop(0)
        if isinstance(fault, Exception):
            raise fault
        return fault

    def _submit(self, body: dict[str, Any]) -> httpx.Response:
        now = asyncio.get_running_loop().time()
        self.posts.append(body)
        self.post_times.append(now)
        fault = self._next_fault("submit")
        if fault is not None:
            return fault
        number = body.get("image_number", 1)
        if self.max_tasks is not None and self.under_way() + number > self.max_tasks:
            return envelope(None, 6010, "more than 20 tasks at once")
        ids = [f"task_{len(self.finished_at) + n}" for n in range(number)]
        self.finished_at.update(dict.fromkeys(ids, now + self.seconds))
        self.peak_tasks = max(self.peak_tasks, self.under_way())
        batch_id = str(len(self.batches))
        self.batches[batch_id] = ids
        return envelope({"batch_id": int(batch_id), "task_ids": ids})

    def _status(self, task_id: str) -> httpx.Response:
        now = asyncio.get_running_loop().time()
        self.polls.setdefault(task_id, []).append(now)
        fault = self._next_fault("status")
        if fault is not None:
            return fault
        if task_id not in self.finished_at:
            return envelope(None, 1003, "task not exist")
        return envelope(self._task(task_id, now))

    def _batch(self, batch_id: str) -> httpx.Response:
        self.batch_polls += 1
        now = asyncio.get_running_loop().time()
        return envelope([self._task(task_id, now) for task_id in self.batches[batch_id]])

    def _task(self, task_id: str, now: float) -> dict[str, Any]:
        if now < self.finished_at[task_id]:
            return {"task_id": task_id, "task_status": "PROCESSING"}
        url = f"https://files.example.com/{task_id}.png"
        return {"task_id": task_id, "task_status": "SUCCESS", "images": [url], "cost_credits": 1}


@contextlib.asynccontextmanager
async def client_of(
    provider: Callable[[httpx.Request], Awaitable[httpx.Response]],
    *,
    limits: Limits | None = None,
    polling: PollPolicy | None = None,
    retries: RetryPolicy | None = None,
    **more: Any,
) -> AsyncIterator[WeryAI]:
    """Open a client whose requests go to this provider."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:  # type: ignore[arg-type]
        client = WeryAI(KEY, base_url=URL, http=http, limits=limits, polling=polling, retries=retries, **more)
        async with client:
            yield client
