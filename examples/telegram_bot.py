"""A Telegram bot: `/imagine words` orders a picture, one message tells how it goes and then shows it.

    pip install 'aiowery[telegram]'
    WERYAI_API_KEY=... TELEGRAM_TOKEN=... python -m examples.telegram_bot

Without a key: `aiowery sandbox` in another terminal, and the WERYAI_BASE_URL and WERYAI_API_KEY that it names.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress

from aiogram import Bot, Dispatcher
from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
from aiogram.exceptions import AiogramError, TelegramRetryAfter
from aiogram.filters import Command, CommandObject
from aiogram.methods import Response, TelegramMethod
from aiogram.methods.base import TelegramType
from aiogram.types import BufferedInputFile, InputMediaPhoto, Message

from aiowery import WeryAI
from examples.fair import FairTurns
from examples.imagine import imagine
from examples.words import IN_LINE

log = logging.getLogger(__name__)


class MessageReply:
    """The bot's answer to a message."""

    def __init__(self, message: Message) -> None:
        self.message = message

    async def tell(self, words: str) -> None:
        """Let the message say this."""
        with suppress(AiogramError):
            await self.message.edit_text(words)

    async def show(self, picture: bytes) -> None:
        """Put the picture into the message."""
        try:
            await self.message.edit_media(InputMediaPhoto(media=BufferedInputFile(picture, "picture.png")))
        except AiogramError:
            log.exception("Telegram did not take a picture")
            await self.tell("The picture is finished, but Telegram did not take it.")


async def on_imagine(message: Message, command: CommandObject, weryai: WeryAI, turns: FairTurns) -> None:
    """Answer the command, and let the answer become the picture."""
    if command.args is None:
        await message.reply("Tell me what the picture should show: /imagine a lighthouse in fog")
        return
    user = message.from_user or message.chat  # a channel's posts are from nobody
    await imagine(weryai, turns, user.id, command.args, MessageReply(await message.reply(IN_LINE)))


async def obey_limits(
    make_request: NextRequestMiddlewareType[TelegramType], bot: Bot, method: TelegramMethod[TelegramType]
) -> Response[TelegramType]:
    """Repeat a request that Telegram refused because it came too early, when it may come."""
    while True:
        try:
            return await make_request(bot, method)
        except TelegramRetryAfter as early:
            await asyncio.sleep(early.retry_after)


def make_dispatcher(weryai: WeryAI, turns: FairTurns) -> Dispatcher:
    """Return a dispatcher with one command; aiogram hands it what it names among its parameters."""
    dispatcher = Dispatcher(weryai=weryai, turns=turns)
    dispatcher.message.register(on_imagine, Command("imagine"))
    return dispatcher


async def main() -> None:
    """Run the bot until Ctrl-C."""
    logging.basicConfig(level=logging.INFO)
    bot = Bot(os.environ["TELEGRAM_TOKEN"])
    bot.session.middleware(obey_limits)
    async with WeryAI() as weryai:
        await make_dispatcher(weryai, FairTurns(at_once=weryai.limits.in_flight)).start_polling(bot)


if __name__ == "__main__":
    asyncio.run(main())
