"""The Discord bot: real login and real interactions over discord.py's own HTTP, a sandbox for the pictures."""

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
from examples.fair import FairTurns

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("told_nothing_secret", "quick_edits")]

TOKEN = "42:token-of-the-bot"
Hear = Callable[..., Any]


def interaction_of(prompt: str, user: int, number: int) -> dict[str, Any]:
    """Return a use of `/imagine` as Discord's gateway hands it over."""
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
) -> Callable[..., AbstractAsyncContextManager[Hear]]:
    """Log the bot in; yield the function that lets it hear the command."""

    @asynccontextmanager
    async def running(*, at_once: int = 20, waiting_each: int = 5) -> AsyncIterator[Hear]:
        async with discord_rest, make_client() as client:
            bot = ImagineBot(client, FairTurns(at_once=at_once, waiting_each=waiting_each))
            numbers = count(1)

            async def hear(prompt: str, user: int = 1) -> None:
                before = asyncio.all_tasks()
                bot._connection.parse_interaction_create(interaction_of(prompt, user, next(numbers)))  # type: ignore[arg-type]
                await asyncio.gather(*(asyncio.all_tasks() - before))

            async with bot:
                await bot.login(TOKEN)
                yield hear

    return running


@pytest.mark.usefixtures("under_way_at_first")
async def test_the_answer_tells_how_it_goes_and_becomes_the_picture(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """One answer: in line, painting, then the PNG itself as an attachment; one POST."""
    async with bot() as hear:
        await hear("a cat")
    assert platform.words()[0] == "In line…"
    assert "Painting…" in platform.words()
    assert platform.said[-1].picture.startswith(b"\x89PNG")
    assert {said.message for said in platform.said} == {"1"}
    assert sandbox.weryai.counters.posts == 1


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (f"a cat {MODERATED}", "This prompt was refused by the moderation. Please put it differently."),
        (f"a cat {FAIL}", "This picture could not be made. Another try, or another prompt, may work."),
    ],
)
async def test_what_goes_wrong_is_told_in_words(bot: Any, platform: Any, prompt: str, answer: str) -> None:
    """A refusal and a failure end in a sentence in the same answer, without a picture."""
    async with bot() as hear:
        await hear(prompt)
    assert platform.said[-1].words == answer
    assert {said.message for said in platform.said} == {"1"}
    assert platform.pictures() == []


async def test_one_who_asks_six_times_does_not_keep_another_waiting(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """A asks six times, then B once: B's picture comes second of those who wait, and each cost one POST."""
    async with bot(at_once=1) as hear:
        await asyncio.gather(*(hear("a cat", user) for user in [1, 1, 1, 1, 1, 1, 2]))
    assert [said.message for said in platform.pictures()].index("7") <= 2
    assert len(platform.pictures()) == 7
    assert sandbox.weryai.counters.posts == 7


async def test_who_has_too_many_waiting_is_told_so(bot: Any, platform: Any, sandbox: Sandbox) -> None:
    """With one under way and one waiting, the third is answered at once and never ordered."""
    async with bot(at_once=1, waiting_each=1) as hear:
        await asyncio.gather(*(hear("a cat") for _ in range(3)))
    assert "No more than 1 of your pictures may wait at once. Ask again when one is done." in platform.words()
    assert len(platform.pictures()) == 2
    assert sandbox.weryai.counters.posts == 2


async def test_a_picture_that_discord_refuses_is_told_of(
    bot: Any, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord takes no upload: the answer says so, the bot goes on."""

    async def fetch(*_: object) -> bytes:
        platform.refusals.append(web.json_response({"code": 40005, "message": "Request entity too large"}, status=413))
        return b"\x89PNG"

    monkeypatch.setattr(WeryAI, "fetch", fetch)
    async with bot() as hear:
        await hear("a cat")
    assert platform.words()[-1] == "The picture is finished, but Discord did not take it."
