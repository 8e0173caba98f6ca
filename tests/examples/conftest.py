"""What the tests of the examples share: a sandbox, a client in its time, and chat platforms on loopback."""

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
    # Voice, which no test touches, imports a module that Python 3.13 has dropped (discord.py then brings its own).
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import discord

SPEED = 50.0
SECONDS = 5.0
KEY = "sk-of-the-examples-0123456789"
TOKEN = "42:token-of-the-bot"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Start a sandbox fifty times as fast as life."""
    with Sandbox(speed=SPEED, keys=[KEY], picture_size=64, durations=(SECONDS, SECONDS)) as running:
        yield running


@pytest.fixture
def under_way_at_first(sandbox: Sandbox) -> None:
    """Let the first look at a picture find it under way, however slow this machine is."""
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=1))


@pytest.fixture
def make_client(sandbox: Sandbox) -> Callable[[], WeryAI]:
    """Make clients that keep the sandbox's time."""

    def make() -> WeryAI:
        polling, retries = PollPolicy().faster(SPEED), RetryPolicy().faster(SPEED)
        return WeryAI(sandbox.key, base_url=sandbox.url, polling=polling, retries=retries)

    return make


@attrs.frozen
class Said:
    """One thing that a bot said: in which message, in which words, with which picture."""

    message: str
    words: str | None
    picture: bytes | None


@attrs.define
class Platform:
    """A chat platform on loopback: where it is, and what bots said there, in its order and as it came."""

    url: str = ""
    said: list[Said] = attrs.field(factory=list)
    bodies: list[str] = attrs.field(factory=list)
    refusals: list[web.Response] = attrs.field(factory=list)

    def words(self) -> list[str | None]:
        """Return the words, without those that only accompany a picture."""
        return [said.words for said in self.said if said.picture is None]

    def pictures(self) -> list[Said]:
        """Return what was said with a picture."""
        return [said for said in self.said if said.picture is not None]

    async def heard(self, request: web.Request) -> dict[str, Any]:
        """Return the parts of a body by name, and write them down."""
        if request.content_type == "application/json":
            parts = dict(await request.json())
        else:
            form = await request.post()
            parts = {name: part.file.read() if isinstance(part, web.FileField) else part for name, part in form.items()}
        self.bodies.append(repr(parts))
        return parts


def json_response(data: Any, status: int = 200) -> web.Response:
    """Return an answer whose type has no charset beside it, as discord.py wants it."""
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
    """Serve handlers on loopback."""
    return _serve


@pytest.fixture
def platform() -> Platform:
    """Begin with a platform on which nothing was said."""
    return Platform()


@pytest.fixture
def told_nothing_secret(platform: Platform) -> Iterator[None]:
    """See that no key, no token and no traceback was in anything that a bot sent."""
    yield
    for body in platform.bodies:
        for secret in (KEY, TOKEN, "Traceback", "aiowery"):
            assert secret not in body


@pytest.fixture
def quick_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages be edited as often as the sandbox is faster than life."""
    monkeypatch.setattr("examples.imagine.BETWEEN_EDITS", 2 / SPEED)


@pytest.fixture
def telegram(platform: Platform, serve: Any) -> AbstractAsyncContextManager[Platform]:
    """Speak Telegram's Bot API, as far as the bot does."""

    async def call(request: web.Request) -> web.Response:
        form = await platform.heard(request)
        if platform.refusals:
            return platform.refusals.pop(0)
        message = form.get("message_id") or str(1 + len({said.message for said in platform.said}))
        picture = next((part for part in form.values() if isinstance(part, bytes)), None)
        platform.said.append(Said(message, form.get("text"), picture))
        chat = {"id": int(form["chat_id"]), "type": "private"}
        return json_response({"ok": True, "result": {"message_id": int(message), "date": 0, "chat": chat, "text": "…"}})

    @asynccontextmanager
    async def running() -> AsyncIterator[Platform]:
        async with serve(("POST", f"/bot{TOKEN}/{{method}}", call)) as platform.url:
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


def discord_message(said: Said) -> dict[str, Any]:
    """Return a message as Discord describes it."""
    return {
        "id": said.message,
        "channel_id": "7",
        "author": BOT,
        "content": said.words or "",
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
    """Speak Discord's REST API, as far as the bot does: login, commands, answers to interactions and their edits."""

    async def me(_: web.Request) -> web.Response:
        return json_response(BOT)

    async def application(_: web.Request) -> web.Response:
        return json_response(APPLICATION)

    async def commands(request: web.Request) -> web.Response:
        wanted = await request.json()
        return json_response(
            [{**command, "id": str(n), "application_id": "2", "version": "1"} for n, command in enumerate(wanted)]
        )

    async def answer(request: web.Request) -> web.Response:
        body = await platform.heard(request)
        said = Said(request.match_info["token"], body["data"]["content"], None)
        platform.said.append(said)
        callback = {"id": request.match_info["id"], "type": 2, "response_message_id": said.message}
        return json_response({"interaction": callback, "resource": {"type": 4, "message": discord_message(said)}})

    async def edit(request: web.Request) -> web.Response:
        body = await platform.heard(request)
        if platform.refusals:
            return platform.refusals.pop(0)
        payload = json.loads(body["payload_json"]) if "payload_json" in body else body
        said = Said(request.match_info["token"], payload["content"], body.get("files[0]"))
        platform.said.append(said)
        return json_response(discord_message(said))

    @asynccontextmanager
    async def running() -> AsyncIterator[Platform]:
        async with serve(
            ("GET", "/users/@me", me),
            ("GET", "/oauth2/applications/@me", application),
            ("PUT", "/applications/2/commands", commands),
            ("POST", "/interactions/{id}/{token}/callback", answer),
            ("PATCH", "/webhooks/2/{token}/messages/@original", edit),
        ) as platform.url:
            monkeypatch.setattr(discord.http.Route, "BASE", platform.url)
            yield platform

    return running()
