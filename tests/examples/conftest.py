"""Fixtures for the tests of the examples: a sandbox, a client with its speed, and chat platforms on loopback."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
from aiohttp import web

from aiowery import PollPolicy, RetryPolicy, WeryAI
from aiowery.sandbox import Fault, Sandbox, faults

with warnings.catch_warnings():
    # discord.py imports `audioop` for voice, which no test uses. Python 3.13 has removed this module, and discord.py
    # installs its own there.
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import discord

SPEED = 50.0
SECONDS = 5.0
KEY = "sk-of-the-examples-0123456789"
TOKEN = "42:token-of-the-bot"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Yield a sandbox at speed 50, in which a picture takes 0.1 seconds."""
    with Sandbox(speed=SPEED, keys=[KEY], picture_size=64, durations=(SECONDS, SECONDS)) as running:
        yield running


@pytest.fixture
def first_poll_finds_it_running(sandbox: Sandbox) -> None:
    """Report the picture as running to the first poll, even if a slow machine polls after its end."""
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=1))


@pytest.fixture
def make_client(sandbox: Sandbox) -> Callable[[], WeryAI]:
    """Return a function that makes a client with the sandbox's speed."""

    def make() -> WeryAI:
        polling, retries = PollPolicy().faster(SPEED), RetryPolicy().faster(SPEED)
        return WeryAI(sandbox.key, base_url=sandbox.url, polling=polling, retries=retries)

    return make


@attrs.frozen
class SentMessage:
    """A message as a bot posted or edited it: the message's id, its text, and its picture."""

    id: str
    text: str | None
    picture: bytes | None


@attrs.define
class Platform:
    """A chat platform on loopback. It records the messages of bots and the bodies of their requests, oldest first.

    `refusals` are its next responses to messages. They are not recorded as messages.
    """

    url: str = ""
    sent: list[SentMessage] = attrs.field(factory=list)
    bodies: list[str] = attrs.field(factory=list)
    refusals: list[web.Response] = attrs.field(factory=list)

    def texts(self) -> list[str | None]:
        """Return the texts of the messages without a picture."""
        return [message.text for message in self.sent if message.picture is None]

    def pictures(self) -> list[SentMessage]:
        """Return the messages with a picture."""
        return [message for message in self.sent if message.picture is not None]

    async def read_body(self, request: web.Request) -> dict[str, Any]:
        """Return the parts of a request's body by name, and record them."""
        if request.content_type == "application/json":
            parts = dict(await request.json())
        else:
            form = await request.post()
            parts = {name: part.file.read() if isinstance(part, web.FileField) else part for name, part in form.items()}
        self.bodies.append(repr(parts))
        return parts


def json_response(data: Any, status: int = 200) -> web.Response:
    """Return a JSON response whose content type has no charset, as discord.py requires."""
    return web.Response(body=json.dumps(data).encode(), content_type="application/json", status=status)


Route = tuple[str, str, Callable[[web.Request], Any]]


@asynccontextmanager
async def _serve(*routes: Route) -> AsyncIterator[str]:
    app = web.Application()
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[str]]:
    """Return a function that serves handlers on loopback and yields their base URL."""
    return _serve


@pytest.fixture
def platform() -> Platform:
    """Return a platform without messages."""
    return Platform()


@pytest.fixture
def no_secrets_sent(platform: Platform) -> Iterator[None]:
    """Check after the test that no request of the bot contained a key, a token or a traceback."""
    yield
    for body in platform.bodies:
        for secret in (KEY, TOKEN, "Traceback", "aiowery"):
            assert secret not in body


@pytest.fixture
def quick_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide the pause between edits by the sandbox's speed."""
    monkeypatch.setattr("examples.imagine.EDIT_INTERVAL", 2 / SPEED)


@pytest.fixture
def telegram(platform: Platform, serve: Any) -> AbstractAsyncContextManager[Platform]:
    """Serve the part of Telegram's Bot API that the bot uses."""

    async def bot_method(request: web.Request) -> web.Response:
        form = await platform.read_body(request)
        if platform.refusals:
            return platform.refusals.pop(0)
        message_id = form.get("message_id") or str(1 + len({message.id for message in platform.sent}))
        picture = next((part for part in form.values() if isinstance(part, bytes)), None)
        platform.sent.append(SentMessage(message_id, form.get("text"), picture))
        chat = {"id": int(form["chat_id"]), "type": "private"}
        result = {"message_id": int(message_id), "date": 0, "chat": chat, "text": "…"}
        return json_response({"ok": True, "result": result})

    @asynccontextmanager
    async def running() -> AsyncIterator[Platform]:
        async with serve(("POST", f"/bot{TOKEN}/{{method}}", bot_method)) as platform.url:
            yield platform

    return running()


BOT = {"id": "1", "username": "imagine", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": "2",
    "name": "imagine",
    "description": "",
    "icon": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "flags": 0,
    "owner": BOT,
}


def discord_message(message: SentMessage) -> dict[str, Any]:
    """Return Discord's description of a message."""
    return {
        "id": message.id,
        "channel_id": "7",
        "author": BOT,
        "content": message.text or "",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 20,
    }


@pytest.fixture
def discord_rest(
    platform: Platform, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> AbstractAsyncContextManager[Platform]:
    """Serve the part of Discord's REST API that the bot uses: login, commands, replies to interactions, edits."""

    async def me(_: web.Request) -> web.Response:
        return json_response(BOT)

    async def application(_: web.Request) -> web.Response:
        return json_response(APPLICATION)

    async def commands(request: web.Request) -> web.Response:
        registered = await request.json()
        return json_response(
            [{**command, "id": str(n), "application_id": "2", "version": "1"} for n, command in enumerate(registered)]
        )

    async def reply(request: web.Request) -> web.Response:
        body = await platform.read_body(request)
        message = SentMessage(request.match_info["token"], body["data"]["content"], None)
        platform.sent.append(message)
        interaction = {"id": request.match_info["id"], "type": 2, "response_message_id": message.id}
        resource = {"type": 4, "message": discord_message(message)}
        return json_response({"interaction": interaction, "resource": resource})

    async def edit(request: web.Request) -> web.Response:
        body = await platform.read_body(request)
        if platform.refusals:
            return platform.refusals.pop(0)
        payload = json.loads(body["payload_json"]) if "payload_json" in body else body
        message = SentMessage(request.match_info["token"], payload["content"], body.get("files[0]"))
        platform.sent.append(message)
        return json_response(discord_message(message))

    @asynccontextmanager
    async def running() -> AsyncIterator[Platform]:
        async with serve(
            ("GET", "/users/@me", me),
            ("GET", "/oauth2/applications/@me", application),
            ("PUT", "/applications/2/commands", commands),
            ("POST", "/interactions/{id}/{token}/callback", reply),
            ("PATCH", "/webhooks/2/{token}/messages/@original", edit),
        ) as platform.url:
            monkeypatch.setattr(discord.http.Route, "BASE", platform.url)
            yield platform

    return running()
