"""What both bots do: wait for a turn, order a picture, tell how it goes, show it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Protocol

from aiowery import Job, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage
from examples.fair import Busy, FairTurns
from examples.words import PROGRESS, in_words

log = logging.getLogger(__name__)

# Discord lets a message be edited for 15 minutes: 3 for a turn, 1 for the lane and 10 for the picture fit in.
START_WITHIN = 60.0
DEADLINE = 600.0
BETWEEN_EDITS = 2.0


class Reply(Protocol):
    """The bot's one message about one picture. Neither method raises: a picture is paid for, whatever a chat says."""

    async def tell(self, words: str) -> None:
        """Let the message say this."""

    async def show(self, picture: bytes) -> None:
        """Put the picture into the message."""


async def imagine(client: WeryAI, turns: FairTurns, user: Hashable, prompt: str, reply: Reply) -> None:
    """Make one picture for one user, from the line to the upload."""
    try:
        request = TextToImage(prompt=prompt)
        async with turns.turn(user):
            job = await client.submit(request, job_timeout=DEADLINE, start_within=START_WITHIN)
            await tell_progress(job, reply)
            result = await job
        picture = await client.fetch(result.assets[0])
    except Busy as busy:
        await reply.tell(str(busy))
    except AioweryError as error:
        log.warning("no picture: %s", error)
        await reply.tell(in_words(error))
    else:
        await reply.show(picture)


async def tell_progress(job: Job[Any], reply: Reply) -> None:
    """Tell what changes, not more often than chats like it, until the job has ended."""
    told = None
    async for snapshot in job.updates():
        words = PROGRESS.get(snapshot.state)
        if words not in {told, None}:
            await reply.tell(words)
            told = words
            await pause(job)


async def pause(job: Job[Any]) -> None:
    """Wait until the message may be edited again; a job that ends meanwhile is not kept waiting."""
    with suppress(TimeoutError):
        async with asyncio.timeout(BETWEEN_EDITS):
            await job.wait_finished()
