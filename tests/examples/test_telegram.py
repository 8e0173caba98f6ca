"""The Telegram bot: real updates through its dispatcher, aiogram's own HTTP session, a sandbox for the pictures.

Loading aiogram takes seconds, so only the process that runs these tests does it, and not while tests are collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from aiowery import WeryAI
from aiowery.sandbox import FAIL, MODERATED, Sandbox
from examples.fair import FairTurns

if TYPE_CHECKING:
    from aiogram.types import Update

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.loads_much,
    pytest.mark.slow("the first of them loads aiogram"),
    pytest.mark.usefixtures("told_nothing_secret", "quick_edits"),
]

TOKEN = "42:token-of-the-bot"
Hear = Callable[..., Any]


def update_of(text: str, user: int = 1) -> Update:
    """Return a message from a user as Telegram hands it over."""
    from aiogram.types import Chat, Message, Update, User  # noqa: PLC0415 - see above

    person = User(id=user, is_bot=False, first_name=f"User {user}")
    chat = Chat(id=user, type="private")
    return Update(
        update_id=1,
        message=Message(message_id=1000, date=datetime.now(UTC), chat=chat, from_user=person, text=text),
    )


@pytest.fixture
def bot(
    telegram: AbstractAsyncContextManager[Any], make_client: Callable[[], WeryAI]
) -> Callable[..., AbstractAsyncContextManager[Hear]]:
    """Run the bot; yield the function that lets it hear a text."""
    from aiogram import Bot  # noqa: PLC0415 - see above
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    from examples.telegram_bot import make_dispatcher, obey_limits  # noqa: PLC0415

    @asynccontextmanager
    async def running(*, at_once: int = 20, waiting_each: int = 5) -> AsyncIterator[Hear]:
        async with telegram as platform, make_client() as client:
            session = AiohttpSession(api=TelegramAPIServer.from_base(platform.url))
            async with Bot(TOKEN, session=session) as bot:
                session.middleware(obey_limits)
                dispatcher = make_dispatcher(client, FairTurns(at_once=at_once, waiting_each=waiting_each))

                async def hear(text: str, user: int = 1) -> None:
                    await dispatcher.feed_update(bot, update_of(text, user))

                yield hear

    return running


@pytest.mark.usefixtures("under_way_at_first")
async def test_a_message_tells_how_it_goes_and_becomes_the_picture(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """One message: in line, painting, then the PNG itself as an upload; one POST."""
    async with bot() as hear:
        await hear("/imagine a cat")
    assert platform.words()[0] == "In line…"
    assert "Painting…" in platform.words()
    assert platform.said[-1].picture.startswith(b"\x89PNG")
    assert {said.message for said in platform.said} == {"1"}
    assert sandbox.weryai.counters.posts == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"/imagine a cat {MODERATED}", "This prompt was refused by the moderation. Please put it differently."),
        (f"/imagine a cat {FAIL}", "This picture could not be made. Another try, or another prompt, may work."),
        ("/imagine", "Tell me what the picture should show: /imagine a lighthouse in fog"),
    ],
)
async def test_what_goes_wrong_is_told_in_words(bot: Any, platform: Any, text: str, answer: str) -> None:
    """A refusal, a failure and a missing prompt end in a sentence in the same message, without a picture."""
    async with bot() as hear:
        await hear(text)
    assert platform.said[-1].words == answer
    assert {said.message for said in platform.said} == {"1"}
    assert platform.pictures() == []


async def test_one_who_asks_six_times_does_not_keep_another_waiting(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """A asks six times, then B once: B's picture comes second of seven, and each cost one POST."""
    async with bot(at_once=1) as hear:
        async with asyncio.TaskGroup() as group:
            for user in [1, 1, 1, 1, 1, 1, 2]:
                group.create_task(hear("/imagine a cat", user))
                await asyncio.sleep(0.01)
    of_b = platform.said[6].message
    assert [said.message for said in platform.pictures()].index(of_b) <= 2
    assert len(platform.pictures()) == 7
    assert sandbox.weryai.counters.posts == 7


async def test_who_has_too_many_waiting_is_told_so(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """With one under way and one waiting, the third is answered at once and never ordered."""
    async with bot(at_once=1, waiting_each=1) as hear, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(hear("/imagine a cat"))
    assert "No more than 1 of your pictures may wait at once. Ask again when one is done." in platform.words()
    assert len(platform.pictures()) == 2
    assert sandbox.weryai.counters.posts == 2


async def test_too_early_for_telegram_is_only_late(bot: Any, platform: Any) -> None:
    """A refusal with retry_after costs a pause, not the picture."""
    early = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 1}}
    platform.refusals.append(web.json_response(early, status=429))
    async with bot() as hear:
        await hear("/imagine a cat")
    assert len(platform.pictures()) == 1


async def test_a_picture_that_telegram_refuses_is_told_of(
    bot: Any, platform: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telegram takes no upload: the message says so, the bot goes on."""
    refused = {"ok": False, "description": "Request Entity Too Large"}

    async def fetch(*_: object) -> bytes:
        platform.refusals.append(web.json_response(refused, status=413))
        return b"\x89PNG"

    monkeypatch.setattr(WeryAI, "fetch", fetch)
    async with bot() as hear:
        await hear("/imagine a cat")
    assert platform.words()[-1] == "The picture is finished, but Telegram did not take it."
    assert sandbox.weryai.counters.posts == 1
