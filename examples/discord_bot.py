"""A Discord bot: `/imagine prompt:` orders a picture, one message tells how it goes and then shows it.

    pip install 'aiowery[discord]'
    WERYAI_API_KEY=... DISCORD_TOKEN=... python -m examples.discord_bot

Without a key: `aiowery sandbox` in another terminal, and the WERYAI_BASE_URL and WERYAI_API_KEY that it names.
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
from examples.fair import FairTurns
from examples.imagine import imagine
from examples.words import IN_LINE

log = logging.getLogger(__name__)

REFUSED = (discord.DiscordException, aiohttp.ClientError, OSError)  # discord.py lets its network's errors through


class ImagineBot(discord.Client):
    """A Discord client with one command, which knows the client that makes the pictures."""

    def __init__(self, weryai: WeryAI, turns: FairTurns) -> None:
        super().__init__(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
        self.weryai = weryai
        self.turns = turns
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(on_imagine)

    async def setup_hook(self) -> None:
        """Tell Discord which commands there are."""
        await self.tree.sync()


class InteractionReply:
    """The answer to a command."""

    def __init__(self, interaction: discord.Interaction[ImagineBot], prompt: str) -> None:
        self.interaction = interaction
        self.prompt = prompt

    async def tell(self, words: str) -> None:
        """Let the message say this."""
        with suppress(*REFUSED):
            await self.interaction.edit_original_response(content=words)

    async def show(self, picture: bytes) -> None:
        """Put the picture into the message."""
        file = discord.File(io.BytesIO(picture), "picture.png", description=self.prompt[:1024])
        try:
            await self.interaction.edit_original_response(content=None, attachments=[file])
        except REFUSED:
            log.exception("Discord did not take a picture")
            await self.tell("The picture is finished, but Discord did not take it.")


@app_commands.command(name="imagine", description="Make a picture from words")
@app_commands.describe(prompt="What the picture should show")
async def on_imagine(interaction: discord.Interaction[ImagineBot], prompt: app_commands.Range[str, 1, 2000]) -> None:
    """Answer the command at once, as Discord wants it, and let the answer become the picture."""
    await interaction.response.send_message(IN_LINE)
    bot = interaction.client
    await imagine(bot.weryai, bot.turns, interaction.user.id, prompt, InteractionReply(interaction, prompt))


async def main() -> None:
    """Run the bot until Ctrl-C."""
    discord.utils.setup_logging()
    async with WeryAI() as weryai, ImagineBot(weryai, FairTurns(at_once=weryai.limits.in_flight)) as bot:
        await bot.start(os.environ["DISCORD_TOKEN"])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
