"""A fake BetterWaifu whose time is that of the event loop: one picture at a time, a cool-down, both editions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import attrs
import httpx

from aiowery import BetterWaifu
from aiowery.betterwaifu import Edition, GenerateImage

KEY = "bw_made-up-key-0123456789"
HOSTS = {"v1-images": "https://api.example.com", "jobs": "https://example.com/api/v1"}

FaultResponse = httpx.Response | Exception


def picture(number: int = 0) -> GenerateImage:
    """Return a request whose prompt contains the number."""
    return GenerateImage(prompt=f"1girl, number {number}")


@attrs.define
class FakeBetterWaifu:
    """A provider that renders for `seconds` and cools down after the end (or the submission) of each picture.

    `faults` are the responses (or exceptions) that the next POSTs get instead. With `lost` the picture is begun first.
    """

    seconds: float = 20.0
    cool_down: float = 60.0
    cool_from: Literal["end", "start"] = "end"
    latency: float = 0.05
    retry_after: str | None = None
    faults: list[FaultResponse] = attrs.field(factory=list)
    lost: bool = False
    prompts: list[str] = attrs.field(factory=list)
    post_times: list[float] = attrs.field(factory=list)
    begun_at: list[float] = attrs.field(factory=list)
    polls: int = 0
    reads: list[tuple[str, float]] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request."""
        await asyncio.sleep(self.latency)
        if request.method == "POST":
            return await self._post(request)
        path = request.url.path.removeprefix("/api/v1")
        if path.startswith("/generate/"):
            return self._poll(path.rpartition("/")[2])
        self.reads.append((path, self.now))
        if path == "/account":
            plan = {"status": "active", "plan": "pro", "endDate": "2026-04-30T00:00:00.000Z"}
            return httpx.Response(200, json={"username": "user", "credits": 120, "subscription": plan})
        entry = {"id": 814910, "name": "v6.5", "model_name": "tPonynai3", "base_model": "Pony", "nsfw": True}
        return httpx.Response(200, json={"models": [entry], "count": 1})

    @property
    def now(self) -> float:
        """The event loop's time in seconds."""
        return asyncio.get_running_loop().time()

    @property
    def free_at(self) -> float:
        """The time from which the next picture may be begun."""
        if not self.begun_at:
            return 0.0
        begun = self.begun_at[-1]
        ended = begun + self.seconds
        return max(ended, (ended if self.cool_from == "end" else begun) + self.cool_down)

    async def _post(self, request: httpx.Request) -> httpx.Response:
        self.prompts.append(json.loads(request.content)["prompt"])
        self.post_times.append(self.now)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.lost:
            return _respond_with(fault)
        if self.now < self.free_at:
            self.refused.append("active" if self.now < self.begun_at[-1] + self.seconds else "cooling")
            headers = {} if self.retry_after is None else {"retry-after": self.retry_after}
            return self._refusal(request, headers)
        self.begun_at.append(self.now)
        number = len(self.begun_at)
        if fault is not None:
            return _respond_with(fault)
        if request.url.path == "/v1/images/generate":
            await asyncio.sleep(self.seconds)
            return httpx.Response(200, json=finished_v1(number))
        return httpx.Response(201, json={"id": f"job_{number}", "status": "queued", "queue_position": 1})

    def _refusal(self, request: httpx.Request, headers: dict[str, str]) -> httpx.Response:
        body: dict[str, Any] = {"error": "One active generation at a time"}
        if request.url.path == "/v1/images/generate":
            fault = {"code": "rate_limit_exceeded", "message": "wait", "retry_after": 60}
            body = {"success": False, "error": fault}
        return httpx.Response(429, json=body, headers=headers)

    def _poll(self, job_id: str) -> httpx.Response:
        self.polls += 1
        number = int(job_id.removeprefix("job_"))
        if not 0 < number <= len(self.begun_at):
            return httpx.Response(404, json={"error": "Generation not found"})
        age = self.now - self.begun_at[number - 1]
        if age < self.seconds / 10:
            return httpx.Response(200, json={"id": job_id, "status": "queued", "queue_position": 1})
        if age < self.seconds:
            return httpx.Response(200, json={"id": job_id, "status": "processing"})
        return httpx.Response(200, json=finished_job(number))


def finished_job(number: int) -> dict[str, Any]:
    """Return the body of the jobs edition for a finished picture."""
    image = {"url": f"https://cdn.example.com/a/{number}.webp", "id": f"img{number}"}
    return {"id": f"job_{number}", "status": "succeeded", "output": {"images": [image], "seed": 1_234_567_890}}


def finished_v1(number: int) -> dict[str, Any]:
    """Return the body of the v1-images edition for a finished picture."""
    data = {
        "image_id": f"img_{number:012}",
        "url": f"https://cdn.example.com/images/{number}.png",
        "status": "completed",
        "parameters": {"prompt": "1girl", "model": "noobai-xl", "steps": 28, "seed": 42},
        "created_at": "2024-01-15T10:30:00Z",
    }
    return {"success": True, "data": data}


def _respond_with(fault: FaultResponse) -> httpx.Response:
    if isinstance(fault, Exception):
        raise fault
    return fault


@contextlib.asynccontextmanager
async def client_of(provider: Any, edition: Edition = "jobs", **settings: Any) -> AsyncIterator[BetterWaifu]:
    """Open a client whose requests go to this provider."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
        async with BetterWaifu(KEY, edition=edition, base_url=HOSTS[edition], http=http, **settings) as client:
            yield client
