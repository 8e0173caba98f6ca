"""The steps that both bots share: wait for a slot, submit a request, report progress, show the picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from aiowery import Asset, Job, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage
from examples.fair_queue import Busy, FairQueue
from examples.user_messages import PROGRESS, finished_message, message_with_ids

log = logging.getLogger(__name__)

# All limits are in seconds. A Discord message can be edited for 15 minutes. The longest wait is shorter: 3 minutes for
# a slot in the fair queue, 1 minute for the client's queue, 10 minutes for the picture.
START_WITHIN = 60.0
JOB_TIMEOUT = 600.0
EDIT_INTERVAL = 2.0


class Picture(NamedTuple):
    """A finished picture: its bytes, its URL, and its id at the provider."""

    content: bytes
    url: str
    id: str


class Reply(Protocol):
    """The bot's message about one picture.

    Neither method raises: the picture is already paid for, so an error of the chat platform must not end its job.
    """

    async def show_text(self, text: str) -> None:
        """Replace the text of the message."""

    async def show_picture(self, picture: Picture) -> None:
        """Replace the text of the message with the picture, or with where it is if the platform refuses it."""


async def imagine(client: WeryAI, queue: FairQueue, user: Hashable, prompt: str, reply: Reply) -> None:
    """Make one picture for one user, and show it or the reason why there is none."""
    try:
        request = TextToImage(prompt=prompt)  # an invalid prompt raises here, before it waits for a slot
        async with queue.slot(user):
            job = await client.submit(request, job_timeout=JOB_TIMEOUT, start_within=START_WITHIN)
            await report_progress(job, reply)
            asset = (await job).assets[0]
    except Busy as busy:
        await reply.show_text(str(busy))
    except AioweryError as error:
        log.warning("no picture: %s", error)
        await reply.show_text(message_with_ids(error))
    else:
        await show(client, asset, job.task_ids[0], reply)


async def show(client: WeryAI, asset: Asset, picture_id: str, reply: Reply) -> None:
    """Show a finished picture, or where it is if it cannot be fetched: it is paid for, and must not be lost."""
    try:
        content = await client.fetch(asset)
    except AioweryError as error:
        log.warning("the picture %s cannot be fetched: %s", picture_id, error)
        await reply.show_text(finished_message(asset.url, picture_id))
    else:
        await reply.show_picture(Picture(content, asset.url, picture_id))


async def report_progress(job: Job[Any], reply: Reply) -> None:
    """Show each change of the job's state until the job has finished, with a pause after each edit."""
    shown = None
    async for snapshot in job.updates():
        text = PROGRESS.get(snapshot.state)
        if text is not None and text != shown:
            await reply.show_text(text)
            shown = text
            await pause_between_edits(job)


async def pause_between_edits(job: Job[Any]) -> None:
    """Wait until the message may be edited again, but not longer than the job runs."""
    with suppress(TimeoutError):
        async with asyncio.timeout(EDIT_INTERVAL):
            await job.wait_finished()
