"""The provider of the example supports everything that the built-in providers support."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aiowery import Outcome, PollPolicy
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ContentRejected,
    JobFailed,
    UnexpectedResponse,
)
from aiowery.sandbox._http.prompt_server import PromptServer
from aiowery.typing import HttpResponse
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import TextToImage
from examples.acme_provider import Acme, AcmePicture, AcmeProvider

pytestmark = pytest.mark.anyio

KEY = "acme_made-up-key"
QUICK = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
PNG = b"\x89PNG\r\n\x1a\nacme"


@attrs.define
class AcmeServer:
    """A server with Acme's API. Each job takes `seconds`, and its end is delivered to `receiver`."""

    seconds: float = 0.05
    jobs: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    posts: int = 0
    polls: int = 0
    rejections: list[tuple[int, dict[str, Any]]] = attrs.field(factory=list)
    url: str = ""
    receiver: Receiver | None = None
    delivery: asyncio.Future[int] | None = None

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/jobs", self.start, methods=["POST"]),
                Route("/jobs/{id}", self.status),
                Route("/files/{id}.png", self.file),
                Route("/models", self.models),
            ]
        )

    async def start(self, request: Request) -> Response:
        """Start a job, or reject it."""
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _rejection(401, "no-such-key", "the key is unknown")
        if self.rejections:
            status, problem = self.rejections.pop(0)
            return JSONResponse({"ok": False, "problem": problem}, status)
        body = await request.json()
        self.posts += 1
        id_ = f"j{self.posts}"
        self.jobs[id_] = {"id": id_, "phase": "drawing", "prompt": body["prompt"]}
        asyncio.get_running_loop().call_later(self.seconds, self._end, id_, body.get("callback"))
        return JSONResponse({"ok": True, "job": {"id": id_}})

    def _end(self, id_: str, callback: str | None) -> None:
        job = self.jobs[id_]
        if "broken" in job["prompt"]:
            job.update(phase="broken", reason="the pencil broke")
        else:
            job.update(phase="finished", cost=3, files=[{"href": f"{self.url}/files/{id_}.png"}])
        if callback is not None and self.receiver is not None:
            token = callback.rpartition("/")[2]
            body = json.dumps({"ok": True, "job": job}).encode()
            self.delivery = asyncio.ensure_future(self.receiver.receive(token, body))

    async def status(self, request: Request) -> Response:
        """Return a job's status."""
        self.polls += 1
        job = self.jobs.get(request.path_params["id"])
        return _rejection(404, "no-such-job", "no job") if job is None else JSONResponse({"ok": True, "job": job})

    async def models(self, _: Request) -> Response:
        """Return the models."""
        return JSONResponse({"models": {"pencil": "for sketches", "brush": "for paintings"}})

    async def file(self, _: Request) -> Response:
        """Return a picture."""
        return Response(PNG, media_type="image/png")


def _rejection(status: int, kind: str, text: str) -> Response:
    return JSONResponse({"ok": False, "problem": {"kind": kind, "text": text}}, status)


@contextlib.asynccontextmanager
async def acme(**settings: Any) -> AsyncIterator[AcmeServer]:
    """Serve Acme's API on loopback."""
    server = AcmeServer(**settings)
    running = PromptServer(uvicorn.Config(server.application(), port=0, log_config=None, access_log=False))
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has a flag, not an event
        await asyncio.sleep(0.005)
    server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        running.end()
        await task


async def test_acme_run_and_gather_return_results() -> None:
    """For a single request and a gather of ten, each is POSTed once. The result has its URL and credits."""
    async with acme() as server, Acme(KEY, base_url=server.url, polling=QUICK) as client:
        result = await client.run(AcmePicture(prompt="a cat"))
        await asyncio.gather(*(client.run(AcmePicture(prompt=f"cat {n}")) for n in range(10)))
        assert (server.posts, client.statistics().accepted, client.statistics().finished) == (11, 11, 11)
    assert (result.credits, result.url) == (3, f"{server.url}/files/j1.png")


async def test_acme_stream_yields_results_and_failures() -> None:
    """A job that the provider reports as failed is an item of the stream, with the provider's reason."""
    async with acme() as server, Acme(KEY, base_url=server.url, polling=QUICK) as client:
        requests = [AcmePicture(prompt=text) for text in ("a cat", "broken", "a dog")]
        outcomes: list[Outcome[Any]] = [one async for one in client.stream(requests, ordered=True)]
    assert [type(one.error) for one in outcomes] == [type(None), JobFailed, type(None)]
    assert "the pencil broke" in str(outcomes[1].error)


def test_acme_status_of_another_job_is_refused() -> None:
    """The job is polled again instead of taking the outputs of another one."""
    body = json.dumps({"ok": True, "job": {"id": "j2", "phase": "finished", "files": []}}).encode()
    with pytest.raises(UnexpectedResponse, match="the response is about j2"):
        AcmeProvider().decode_status(HttpResponse(200, {}, body), "j1")


async def test_acme_rejections_raise_their_errors() -> None:
    """A busy response is retried. A rejected prompt, another provider's request and a wrong key raise errors."""
    busy = (429, {"kind": "slow-down", "text": "busy", "seconds": 0.01})
    forbidden = (400, {"kind": "not-allowed", "text": "no"})
    unknown = (500, {"kind": "odd", "text": "odd"})
    async with acme(rejections=[busy, forbidden, unknown]) as server:
        async with Acme(KEY, base_url=server.url, polling=QUICK) as client:
            with pytest.raises(ContentRejected):
                await client.run(AcmePicture(prompt="a cat"))
            with pytest.raises(APIError, match="odd"):
                await client.run(AcmePicture(prompt="a cat"))
            with pytest.raises(ConfigurationError, match="not an Acme request"):
                await client.run(TextToImage(prompt="a cat"))
        async with Acme("acme_other", base_url=server.url) as client:
            with pytest.raises(AuthenticationError):
                await client.run(AcmePicture(prompt="a cat"))
    assert server.posts == 0


async def test_acme_webhook_delivery_triggers_the_only_poll() -> None:
    """A delivery through the receiver finishes the job after one poll. An invalid delivery raises an error."""
    async with acme() as server:
        server.receiver = Receiver()
        webhooks = Webhooks(public_url="https://app.example/hook", receiver=server.receiver)
        slow = PollPolicy(min_interval=30, max_interval=40, known_max_interval=35)
        async with Acme(KEY, base_url=server.url, polling=slow, webhooks=webhooks) as client:
            result = await client.run(AcmePicture(prompt="a cat"), timeout=10)
            assert client.statistics().webhooks is not None
        assert (server.polls, len(result.assets)) == (1, 1)
        with pytest.raises(Exception, match="HTTP 200"):
            AcmeProvider().decode_delivery(b"[]")


async def test_acme_download_saves_the_picture(tmp_path: Path) -> None:
    """An asset is saved in a file with the name of its task."""
    async with acme() as server, Acme(KEY, base_url=server.url, polling=QUICK) as client:
        (path,) = await client.download(await client.run(AcmePicture(prompt="a cat")), tmp_path)
    assert (path.name, path.read_bytes()) == ("j1.png", PNG)


PROGRAM = """
import asyncio, sys
from aiowery import PollPolicy
from examples.acme_provider import Acme, AcmePicture

async def main():
    polling = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
    async with Acme("acme_made-up-key", base_url=sys.argv[1], ledger=sys.argv[2], polling=polling) as client:
        requests = [AcmePicture(prompt=f"cat {n}") for n in range(12)]
        async for outcome in client.stream(requests, batch="cats"):
            print("outcome", outcome.index, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.slow("a process that is killed in the middle of a batch")
async def test_acme_killed_batch_resumes_without_a_second_charge(tmp_path: Path) -> None:
    """After a kill, the batch resumes from its ledger, and each accepted request is POSTed once."""
    ledger = tmp_path / "jobs.db"
    async with acme(seconds=0.2) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, server.url, str(ledger)), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with Acme(KEY, base_url=server.url, ledger=ledger, polling=QUICK) as client:
            requests = [AcmePicture(prompt=f"cat {n}") for n in range(12)]
            outcomes = [one async for one in client.stream(requests, batch="cats")]
            summary = {one.name: dict(one.states) for one in await client.ledger.batches()}
    prompts = [job["prompt"] for job in server.jobs.values()]
    assert len(outcomes) == 12
    assert len(prompts) == len(set(prompts)) == server.posts
    assert sum(summary["cats"].values()) == 12


async def test_acme_key_in_log_text_is_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """The key in use is replaced in log messages, even though it has no known prefix."""
    async with acme() as server, Acme(KEY, base_url=server.url):
        logging.getLogger("aiowery").warning("a proxy echoed %s", KEY)
    assert "a proxy echoed ***" in caplog.text
