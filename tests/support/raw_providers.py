"""The requests and raw responses of each provider, for servers that send bytes of their own choice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import attrs

from aiowery import BetterWaifu, Client, Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.betterwaifu import GenerateImage
from aiowery.weryai import Chat
from tests.support.fake_betterwaifu import KEY as BETTERWAIFU_KEY
from tests.support.samples import CAT, KEY
from tests.support.servers import Peer, http_response, responding

_SPEED: Final = 100
_URL: Final = "https://files.example.com/{}.png"


@attrs.frozen
class RawProvider:
    """A provider's client, one of its requests, and bodies of its responses.

    The bodies name the tasks that they are given; a status without one names none.
    """

    key: str
    request: Any
    make_client: Callable[..., Client]
    accepted: Callable[..., dict[str, Any]]
    running: Callable[[str | None], dict[str, Any]]
    done: Callable[[str | None], dict[str, Any]]
    not_found: dict[str, Any]
    busy: dict[str, Any]

    def client(self, url: str, **settings: Any) -> Client:
        """Return a client of a server, a hundred times as fast."""
        return self.make_client(
            self.key,
            base_url=url,
            **{
                "limits": Limits(in_flight=20, cool_down=0.0, max_doubts=None),
                "polling": PollPolicy().faster(_SPEED),
                "retries": RetryPolicy().faster(_SPEED),
                **settings,
            },
        )

    def accepting(self, *task_ids: str, **headers: str) -> bytes:
        """Return the response to a submission that starts these tasks."""
        return http_response(self.accepted(*task_ids), "201 Created", **headers)


def _weryai_status(task_id: str | None, raw_status: str, **more: Any) -> dict[str, Any]:
    named = {} if task_id is None else {"task_id": task_id}
    return {"status": 0, "message": "success", "data": {**named, "task_status": raw_status, **more}}


def _job(job_id: str | None, raw_status: str, **more: Any) -> dict[str, Any]:
    return {**({} if job_id is None else {"id": job_id}), "status": raw_status, **more}


RAW_PROVIDERS: Final = {
    "weryai": RawProvider(
        KEY,
        CAT,
        WeryAI,
        accepted=lambda *task_ids: {"status": 0, "message": "success", "data": {"task_ids": task_ids}},
        running=lambda task_id: _weryai_status(task_id, "PROCESSING"),
        done=lambda task_id: _weryai_status(task_id, "SUCCESS", images=[_URL.format(task_id)]),
        not_found={"status": 1003, "message": "task not exist"},
        busy={"status": 1007, "message": "the queue is full"},
    ),
    "betterwaifu": RawProvider(
        BETTERWAIFU_KEY,
        GenerateImage(prompt="1girl", model=814910),
        partial(BetterWaifu, edition="jobs"),
        accepted=lambda job_id: _job(job_id, "queued"),
        running=lambda job_id: _job(job_id, "processing"),
        done=lambda job_id: _job(job_id, "succeeded", output={"images": [{"url": _URL.format(job_id)}]}),
        not_found={"error": "Generation not found"},
        busy={"error": "One active generation at a time"},
    ),
}


DIRECT_CALLS: Final = {
    "weryai chat": attrs.evolve(
        RAW_PROVIDERS["weryai"],
        request=Chat(messages="hello"),
        accepted=lambda answer_id: {"id": answer_id, "choices": [{"message": {"content": "hi"}}]},
    ),
    "betterwaifu v1-images": attrs.evolve(
        RAW_PROVIDERS["betterwaifu"],
        request=GenerateImage(prompt="1girl"),
        make_client=partial(BetterWaifu, edition="v1-images"),
        accepted=lambda image_id: {
            "success": True,
            "data": {"image_id": image_id, "url": _URL.format(image_id), "status": "completed"},
        },
    ),
}
"""Requests that are answered with the result instead of a task; nothing of them is polled."""


@contextlib.asynccontextmanager
async def accepting_server(raw: RawProvider, *acceptances: bytes) -> AsyncIterator[Peer]:
    """Run a server that sends the n-th acceptance to the n-th POST, and reports every task as running."""
    waiting = list(acceptances)

    def respond(request: bytes) -> bytes:
        if request.startswith(b"POST"):
            return waiting.pop(0)
        task_id = request.split(b" ", 2)[1].decode().removesuffix("/status").rpartition("/")[2]
        return http_response(raw.running(task_id))

    async with responding(respond) as server:
        yield server
