"""The Telegram bot, with real updates and aiogram's own HTTP session. A sandbox makes the pictures.

Loading aiogram takes seconds, so only the process that runs these tests loads it, after the collection of the tests.
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
from examples.fair_queue import FairQueue

if TYPE_CHECKING:
    from aiogram.types import Update

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.loads_much,
    pytest.mark.slow("the first of them loads aiogram"),
    pytest.mark.usefixtures("no_secrets_sent", "quick_edits"),
]

TOKEN = "42:token-of-the-bot"
SendCommand = Callable[..., Any]


def update_of(text: str, user: int = 1) -> Update:
    """Return the update that Telegram sends for a user's message."""
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
) -> Callable[..., AbstractAsyncContextManager[SendCommand]]:
    """Return a function that runs the bot and yields a function that sends it a user's text."""
    from aiogram import Bot  # noqa: PLC0415 - see above
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    from examples.telegram_bot import make_dispatcher, repeat_when_rate_limited  # noqa: PLC0415

    @asynccontextmanager
    async def running(*, slots: int = 20, max_waiting: int = 5) -> AsyncIterator[SendCommand]:
        async with telegram as platform, make_client() as client:
            session = AiohttpSession(api=TelegramAPIServer.from_base(platform.url))
            async with Bot(TOKEN, session=session) as bot:
                session.middleware(repeat_when_rate_limited)
                dispatcher = make_dispatcher(client, FairQueue(slots=slots, max_waiting=max_waiting))

                async def send(text: str, user: int = 1) -> None:
                    await dispatcher.feed_update(bot, update_of(text, user))

                yield send

    return running


@pytest.mark.usefixtures("first_poll_finds_it_running")
async def test_telegram_bot_command_shows_progress_then_picture(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """One message shows the queue, the progress and then the PNG as an upload. One POST is sent."""
    async with bot() as send:
        await send("/imagine a cat")
    assert platform.texts()[0] == "Waiting in the queue…"
    assert "Making the picture…" in platform.texts()
    assert platform.sent[-1].picture.startswith(b"\x89PNG")
    assert {message.id for message in platform.sent} == {"1"}
    assert sandbox.weryai.counters.posts == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"/imagine a cat {MODERATED}", "The moderation rejected this prompt. Please rephrase it."),
        (f"/imagine a cat {FAIL}", "This picture could not be made. Another attempt or another prompt may succeed."),
        ("/imagine", "Please describe the picture: /imagine a lighthouse in fog"),
    ],
)
async def test_telegram_bot_error_is_shown_as_a_sentence(bot: Any, platform: Any, text: str, message: str) -> None:
    """After a rejection, a failure or a missing prompt, the message has a sentence for the user and no picture."""
    async with bot() as send:
        await send(text)
    assert platform.sent[-1].text == message
    assert {sent.id for sent in platform.sent} == {"1"}
    assert platform.pictures() == []


async def test_telegram_bot_user_with_six_requests_does_not_delay_another(
    bot: Any, platform: Any, sandbox: Sandbox
) -> None:
    """Six commands of user A precede one of user B: B's picture is among the first three. Each costs one POST."""
    async with bot(slots=1) as send:
        async with asyncio.TaskGroup() as group:
            for user in [1, 1, 1, 1, 1, 1, 2]:
                group.create_task(send("/imagine a cat", user))
                await asyncio.sleep(0.01)
    of_b = platform.sent[6].id
    assert [message.id for message in platform.pictures()].index(of_b) <= 2
    assert len(platform.pictures()) == 7
    assert sandbox.weryai.counters.posts == 7


async def test_telegram_bot_user_at_the_limit_is_refused(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """While one picture is running and one waits, the third command is refused immediately and never submitted."""
    async with bot(slots=1, max_waiting=1) as send, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(send("/imagine a cat"))
    assert "At most 1 of your pictures can wait. Please try again when one is finished." in platform.texts()
    assert len(platform.pictures()) == 2
    assert sandbox.weryai.counters.posts == 2


async def test_telegram_bot_rate_limited_request_is_repeated(bot: Any, platform: Any) -> None:
    """After a refusal with `retry_after`, the bot waits and repeats its request, and the picture arrives."""
    refusal = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 1}}
    platform.refusals.append(web.json_response(refusal, status=429))
    async with bot() as send:
        await send("/imagine a cat")
    assert len(platform.pictures()) == 1


@pytest.mark.parametrize("refused", [1, 2])
async def test_telegram_bot_refused_picture_is_a_document_or_its_url(
    bot: Any,
    platform: Any,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: int,
) -> None:
    """If Telegram refuses the photo, as too large, it gets a document; if it refuses that too, the address and id."""
    refusal = {"ok": False, "description": "Request Entity Too Large"}

    async def fetch(*_: object) -> bytes:
        platform.refusals.extend(web.json_response(refusal, status=413) for _ in range(refused))
        return b"\x89PNG"

    monkeypatch.setattr(WeryAI, "fetch", fetch)
    async with bot() as send:
        await send("/imagine a cat")
    (task,) = sandbox.weryai.tasks
    assert task.id in caplog.text
    assert sandbox.weryai.counters.posts == 1
    if refused == 1:
        assert platform.sent[-1].picture == b"\x89PNG"
        assert "document" in platform.bodies[-1]
        return
    assert platform.pictures() == []
    first, second = platform.texts()[-1].splitlines()
    assert first.startswith(f"The picture is finished, but it cannot be shown here. It is at {sandbox.url}/")
    assert second == f"Its id is {task.id}."
