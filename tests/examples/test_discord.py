"""The Discord bot, with real logins and interactions over discord.py's HTTP client. A sandbox makes the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from aiowery import WeryAI
from aiowery.sandbox import FAIL, MODERATED, Sandbox
from examples.discord_bot import ImagineBot
from examples.fair_queue import FairQueue

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_secrets_sent", "quick_edits")]

TOKEN = "42:token-of-the-bot"
SendCommand = Callable[..., Any]


def interaction_of(prompt: str, user: int, number: int) -> dict[str, Any]:
    """Return the event that Discord's gateway sends when a user runs `/imagine`."""
    person = {"id": str(user), "username": f"user{user}", "discriminator": "0", "avatar": None}
    option = {"name": "prompt", "type": 3, "value": prompt}
    return {
        "id": str(number),
        "application_id": "2",
        "type": 2,
        "token": str(number),
        "version": 1,
        "attachment_size_limit": 10_000_000,
        "channel": {"id": "7", "type": 1, "recipients": [person]},
        "channel_id": "7",
        "user": person,
        "data": {"id": "0", "name": "imagine", "type": 1, "options": [option]},
    }


@pytest.fixture
def bot(
    discord_rest: AbstractAsyncContextManager[Any], make_client: Callable[[], WeryAI]
) -> Callable[..., AbstractAsyncContextManager[SendCommand]]:
    """Return a function that logs the bot in and yields a function that runs `/imagine` as a user."""

    @asynccontextmanager
    async def running(*, slots: int = 20, max_waiting: int = 5) -> AsyncIterator[SendCommand]:
        async with discord_rest, make_client() as client:
            bot = ImagineBot(client, FairQueue(slots=slots, max_waiting=max_waiting))
            numbers = count(1)

            async def send(prompt: str, user: int = 1) -> None:
                before = asyncio.all_tasks()
                bot._connection.parse_interaction_create(interaction_of(prompt, user, next(numbers)))  # type: ignore[arg-type]
                await asyncio.gather(*(asyncio.all_tasks() - before))

            async with bot:
                await bot.login(TOKEN)
                yield send

    return running


@pytest.mark.usefixtures("first_poll_finds_it_running")
async def test_discord_bot_command_shows_progress_then_picture(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """One message shows the queue, the progress and then the PNG as an attachment. One POST is sent."""
    async with bot() as send:
        await send("a cat")
    assert platform.texts()[0] == "Waiting in the queue…"
    assert "Making the picture…" in platform.texts()
    assert platform.sent[-1].picture.startswith(b"\x89PNG")
    assert {message.id for message in platform.sent} == {"1"}
    assert sandbox.weryai.counters.posts == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (f"a cat {MODERATED}", "The moderation rejected this prompt. Please rephrase it."),
        (f"a cat {FAIL}", "This picture could not be made. Another attempt or another prompt may succeed."),
    ],
)
async def test_discord_bot_error_is_shown_as_a_sentence(bot: Any, platform: Any, prompt: str, message: str) -> None:
    """After a rejection or a failure, the same message has a sentence for the user and no picture."""
    async with bot() as send:
        await send(prompt)
    assert platform.sent[-1].text == message
    assert {sent.id for sent in platform.sent} == {"1"}
    assert platform.pictures() == []


async def test_discord_bot_user_with_six_requests_does_not_delay_another(
    bot: Any, platform: Any, sandbox: Sandbox
) -> None:
    """Six commands of user A precede one of user B: B's picture is second of those that wait. Each costs one POST."""
    async with bot(slots=1) as send:
        await asyncio.gather(*(send("a cat", user) for user in [1, 1, 1, 1, 1, 1, 2]))
    assert [message.id for message in platform.pictures()].index("7") <= 2
    assert len(platform.pictures()) == 7
    assert sandbox.weryai.counters.posts == 7


async def test_discord_bot_user_at_the_limit_is_refused(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """While one picture is running and one waits, the third command is refused immediately and never submitted."""
    async with bot(slots=1, max_waiting=1) as send:
        await asyncio.gather(*(send("a cat") for _ in range(3)))
    assert "At most 1 of your pictures can wait. Please try again when one is finished." in platform.texts()
    assert len(platform.pictures()) == 2
    assert sandbox.weryai.counters.posts == 2


async def test_discord_bot_refused_picture_is_shown_by_its_url_and_id(
    bot: Any, platform: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If Discord refuses the upload, as too large, the message and the log have the picture's address and its id."""

    async def fetch(*_: object) -> bytes:
        platform.refusals.append(web.json_response({"code": 40005, "message": "Request entity too large"}, status=413))
        return b"\x89PNG"

    monkeypatch.setattr(WeryAI, "fetch", fetch)
    async with bot() as send:
        await send("a cat")
    (task,) = sandbox.weryai.tasks
    first, second = platform.texts()[-1].splitlines()
    assert first.startswith(f"The picture is finished, but it cannot be shown here. It is at {sandbox.url}/")
    assert second == f"Its id is {task.id}."
    assert task.id in caplog.text
