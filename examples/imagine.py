"""The steps that both bots share: wait for a slot, submit a request, report progress, show the picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Protocol

from aiowery import Job, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage
from examples.fair_queue import Busy, FairQueue
from examples.user_messages import PROGRESS, error_message

log = logging.getLogger(__name__)

# All limits are in seconds. A Discord message can be edited for 15 minutes. The longest wait is shorter: 3 minutes for
# a slot in the fair queue, 1 minute for the client's queue, 10 minutes for the picture.
START_WITHIN = 60.0
JOB_TIMEOUT = 600.0
EDIT_INTERVAL = 2.0


class Reply(Protocol):
    """The bot's message about one picture.

    Neither method raises: the picture is already paid for, so an error of the chat platform must not end its job.
    """

    async def show_text(self, text: str) -> None:
        """Replace the text of the message."""

    async def show_picture(self, picture: bytes) -> None:
        """Replace the text of the message with the picture."""


async def imagine(client: WeryAI, queue: FairQueue, user: Hashable, prompt: str, reply: Reply) -> None:
    """Make one picture for one user, and show it or the reason why there is none."""
    try:
        request = TextToImage(prompt=prompt)  # an invalid prompt raises here, before it waits for a slot
        async with queue.slot(user):
            job = await client.submit(request, job_timeout=JOB_TIMEOUT, start_within=START_WITHIN)
            await report_progress(job, reply)
            result = await job
        picture = await client.fetch(result.assets[0])
    except Busy as busy:
        await reply.show_text(str(busy))
    except AioweryError as error:
        log.warning("no picture: %s", error)
        await reply.show_text(error_message(error))
    else:
        await reply.show_picture(picture)


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
