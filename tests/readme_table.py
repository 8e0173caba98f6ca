"""README's table of all endpoints of WeryAI, generated: each tick is checked against the code.

None is written by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import httpx
import pytest

from aiowery import WeryAI
from aiowery.cli import _app
from aiowery.errors import AioweryError
from aiowery.sandbox import Sandbox
from aiowery.weryai import REQUESTS, parse_delivery
from tests.sandbox import test_every_entry as contract
from tests.support import KEY
from tests.weryai.facts import ENTRIES, Entry
from tests.weryai.request_samples import smallest
from tests.weryai.test_wire_form import SENT

HOSTS: Final = {"main": "api.weryai.com", "models": "api-growth-agent.weryai.com"}
PNG: Final = b"\x89PNG\r\n\x1a\n"


@attrs.frozen
class Read:
    """An endpoint without a request class: how the client and the command line request it."""

    client: str
    act: Callable[[WeryAI], Awaitable[Any]]
    command: str


READS: Final = {
    "podcast_speakers": Read("speakers", lambda client: client.speakers(), "speakers"),
    "upload_file": Read("upload", lambda client: client.upload(PNG), "upload"),
    "upload_file_legacy": Read(
        "upload(legacy=True)", lambda client: client.upload(PNG, legacy=True), "upload --legacy"
    ),
    "task_status": Read("status", lambda client: client.status("{task_id}"), "status"),
    "batch_status": Read("batch_status", lambda client: client.batch_status("{batch_id}"), "batch-status"),
    "balance": Read("balance", lambda client: client.balance(), "balance"),
    "chat_models": Read('models("chat")', lambda client: client.models("chat"), "models --kind chat"),
    "video_models": Read('models("video")', lambda client: client.models("video"), "models --kind video"),
    "image_models": Read('models("image")', lambda client: client.models("image"), "models --kind image"),
}
BY_PATH: Final = {cls.endpoint: cls for cls in REQUESTS.values()}


def made_by(act: Callable[[WeryAI], Awaitable[Any]]) -> set[tuple[str, str, str]]:
    """Return method, host and path of each request that an action of the client sends."""
    sent: set[tuple[str, str, str]] = set()

    async def respond(request: httpx.Request) -> httpx.Response:
        path = request.url.path.replace("/{}/", "/").replace("Ab12Cd34", "{task_id}")
        sent.add((request.method, request.url.host, path))
        return httpx.Response(400, json={"status": 1001, "message": "no"})

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http, WeryAI(KEY, http=http) as client:
            with pytest.raises(AioweryError):
                await act(client)

    asyncio.run(main())
    return sent


def served_paths() -> set[tuple[str, str]]:
    """Return method and path of each endpoint that the sandbox serves: it responds with 401 without a key."""
    with Sandbox() as sandbox, httpx.Client(base_url=sandbox.url) as http:
        responses = {
            (entry.method, entry.path): http.request(entry.method, entry.path) for entry in contract.CALLABLE_ENTRIES
        }
    return {place for place, response in responses.items() if response.status_code == 401}


def row(entry: Entry, commands: set[str], served: set[tuple[str, str]]) -> list[str]:
    """Return the cells of an entry. A cell without a tick is a gap."""
    if entry.name == "webhook":
        has_field = all("webhook_url" in attrs.fields_dict(BY_PATH[e.path]) for e in ENTRIES if _has_webhook(e))
        return [
            "POST to your `webhook_url`",
            _tick("`webhook_url=`", has_field),
            _tick("`parse_delivery`", callable(parse_delivery)),
            _tick("`run TYPE --set webhook_url=`", "run" in commands),
            _tick("delivers", callable(contract.test_webhook_is_delivered_once_per_task)),
            _tick("", True),
        ]
    cls = BY_PATH.get(entry.path)
    if cls is not None:
        request, verb, command = f"`{cls.__name__}`", "`run`", f"`run {cls.type_name}`"
        act: Callable[[WeryAI], Awaitable[Any]] = lambda client: client.run(smallest(cls.type_name))  # noqa: E731
        tested = cls.type_name in SENT
    else:
        read = READS[entry.name]
        request, verb, command = "none needed", f"`{read.client}`", f"`{read.command}`"
        act, tested = read.act, True
    sent = (entry.method, HOSTS[entry.host], entry.path) in made_by(act)
    return [
        f"{entry.method} `{entry.path}`",
        _tick(request, cls is not None or entry.name in READS),
        _tick(verb, sent),
        _tick(command, command.strip("`").split()[0] in commands),
        _tick("", (entry.method, entry.path) in served),
        _tick("", tested and entry in contract.CALLABLE_ENTRIES),
    ]


def _has_webhook(entry: Entry) -> bool:
    return any(field.name == "webhook_url" for field in entry.fields)


def _tick(text: str, there: bool) -> str:
    return f"✓ {text}".rstrip() if there else "-"


def table() -> str:
    """Return the whole table as README has it."""
    commands, served = set(_app()), served_paths()
    head = ["call", "request", "client", "command line", "sandbox", "test"]
    rows = [head, ["---"] * len(head), *(row(entry, commands, served) for entry in ENTRIES)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
