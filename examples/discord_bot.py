"""A Discord bot: `/imagine prompt:` starts a picture. One message shows its progress and then the picture.

    pip install 'aiowery[discord]'
    WERYAI_API_KEY=... DISCORD_TOKEN=... python -m examples.discord_bot

Without a key, run `aiowery sandbox` in another terminal and set the WERYAI_BASE_URL and WERYAI_API_KEY that it prints.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
from contextlib import suppress

import aiohttp
import discord
from discord import app_commands

from aiowery import WeryAI
from examples.fair_queue import FairQueue
from examples.imagine import Picture, imagine
from examples.user_messages import QUEUED, finished_message

log = logging.getLogger(__name__)

DISCORD_ERRORS = (discord.DiscordException, aiohttp.ClientError, OSError)  # discord.py does not wrap network errors


class ImagineBot(discord.Client):
    """A Discord client with one command, and the WeryAI client that makes the pictures."""

    def __init__(self, weryai: WeryAI, queue: FairQueue) -> None:
        super().__init__(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
        self.weryai = weryai
        self.queue = queue
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(on_imagine)

    async def setup_hook(self) -> None:
        """Register the commands at Discord."""
        await self.tree.sync()


class InteractionReply:
    """The bot's reply to a command."""

    def __init__(self, interaction: discord.Interaction[ImagineBot], prompt: str) -> None:
        self.interaction = interaction
        self.prompt = prompt

    async def show_text(self, text: str) -> None:
        """Replace the text of the message."""
        with suppress(*DISCORD_ERRORS):
            await self.interaction.edit_original_response(content=text)

    async def show_picture(self, picture: Picture) -> None:
        """Replace the text of the message with the picture; with its address if Discord refuses it, as too large."""
        file = discord.File(io.BytesIO(picture.content), "picture.png", description=self.prompt[:1024])
        try:
            await self.interaction.edit_original_response(content=None, attachments=[file])
        except DISCORD_ERRORS:
            log.exception("Discord refused the picture %s at %s", picture.id, picture.url)
            await self.show_text(finished_message(picture.url, picture.id))


@app_commands.command(name="imagine", description="Make a picture from a text")
@app_commands.describe(prompt="What the picture should show")
async def on_imagine(interaction: discord.Interaction[ImagineBot], prompt: app_commands.Range[str, 1, 2000]) -> None:
    """Reply to the command immediately, because Discord waits 3 seconds only, and edit the reply afterwards."""
    await interaction.response.send_message(QUEUED)
    bot = interaction.client
    await imagine(bot.weryai, bot.queue, interaction.user.id, prompt, InteractionReply(interaction, prompt))


async def main() -> None:
    """Run the bot until Ctrl-C."""
    discord.utils.setup_logging()
    async with WeryAI() as weryai, ImagineBot(weryai, FairQueue(slots=weryai.limits.in_flight)) as bot:
        await bot.start(os.environ["DISCORD_TOKEN"])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
