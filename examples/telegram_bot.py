"""A Telegram bot: `/imagine prompt` starts a picture. One message shows its progress and then the picture.

    pip install 'aiowery[telegram]'
    WERYAI_API_KEY=... TELEGRAM_TOKEN=... python -m examples.telegram_bot

Without a key, run `aiowery sandbox` in another terminal and set the WERYAI_BASE_URL and WERYAI_API_KEY that it prints.
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
from aiogram.types import BufferedInputFile, InputMediaDocument, InputMediaPhoto, Message

from aiowery import WeryAI
from examples.fair_queue import FairQueue
from examples.imagine import Picture, imagine
from examples.user_messages import QUEUED, finished_message

log = logging.getLogger(__name__)


class MessageReply:
    """The bot's reply to a message."""

    def __init__(self, message: Message) -> None:
        self.message = message

    async def show_text(self, text: str) -> None:
        """Replace the text of the message."""
        with suppress(AiogramError):
            await self.message.edit_text(text)

    async def show_picture(self, picture: Picture) -> None:
        """Replace the text of the message with the picture.

        Telegram takes photos of up to 10 MB, and documents of up to 50 MB. What it refuses gets the picture's address.
        """
        file = BufferedInputFile(picture.content, "picture.png")
        for media in (InputMediaPhoto(media=file), InputMediaDocument(media=file)):
            try:
                await self.message.edit_media(media)
            except AiogramError as error:
                log.warning("Telegram refused the picture %s as a %s: %s", picture.id, media.type, error)
            else:
                return
        log.error("the picture %s is at %s", picture.id, picture.url)
        await self.show_text(finished_message(picture.url, picture.id))


async def on_imagine(message: Message, command: CommandObject, weryai: WeryAI, queue: FairQueue) -> None:
    """Reply to the command, and edit the reply afterwards."""
    if command.args is None:
        await message.reply("Please describe the picture: /imagine a lighthouse in fog")
        return
    user = message.from_user or message.chat  # a post in a channel has no user
    await imagine(weryai, queue, user.id, command.args, MessageReply(await message.reply(QUEUED)))


async def repeat_when_rate_limited(
    make_request: NextRequestMiddlewareType[TelegramType], bot: Bot, method: TelegramMethod[TelegramType]
) -> Response[TelegramType]:
    """Send a request to Telegram, and repeat it after the requested pause if it was refused as too early."""
    while True:
        try:
            return await make_request(bot, method)
        except TelegramRetryAfter as refusal:
            await asyncio.sleep(refusal.retry_after)


def make_dispatcher(weryai: WeryAI, queue: FairQueue) -> Dispatcher:
    """Return a dispatcher with one command. aiogram passes `weryai` and `queue` to the handler's parameters."""
    dispatcher = Dispatcher(weryai=weryai, queue=queue)
    dispatcher.message.register(on_imagine, Command("imagine"))
    return dispatcher


async def main() -> None:
    """Run the bot until Ctrl-C."""
    logging.basicConfig(level=logging.INFO)
    bot = Bot(os.environ["TELEGRAM_TOKEN"])
    bot.session.middleware(repeat_when_rate_limited)
    async with WeryAI() as weryai:
        await make_dispatcher(weryai, FairQueue(slots=weryai.limits.in_flight)).start_polling(bot)


if __name__ == "__main__":
    asyncio.run(main())
