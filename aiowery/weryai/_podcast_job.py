"""A podcast under way: script, a pause for whoever wants to edit it, voices."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from typing import Final

from aiowery._client import Client
from aiowery._job import Job
from aiowery._tasks import ScriptLine
from aiowery._values import DEFAULT, Deadline
from aiowery.errors import InvalidRequest
from aiowery.weryai._podcast import Podcast, PodcastResult, PodcastScript, PodcastVoice

_ALREADY_ASKED: Final = 8002
_VOICES: Final = "audio-"


class PodcastJob:
    """Both steps of one podcast, made by `client.podcast`. Awaiting it walks to the end.

    To edit the script, `await job.script()`, then `await job.voice(edited)`, then `await job`. `task_id` is all that
    is needed to go on at either step later: `client.podcast(task_id=...)`.
    """

    def __init__(self, client: Client, script: Job[PodcastScript]) -> None:
        self._client = client
        self._script = script
        self._voice: Job[PodcastResult] | None = None
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<PodcastJob {self.task_id}>"

    def __await__(self) -> Generator[object, None, PodcastResult]:
        return self.wait().__await__()

    @property
    def task_id(self) -> str:
        """The id that both steps share."""
        return self._script.task_ids[0]

    async def script(self, *, deadline: Deadline = DEFAULT) -> PodcastScript:
        """Return the script once it is written; raises what `Job.wait` raises."""
        return await self._script.wait(deadline=deadline)

    async def voice(self, script: Iterable[ScriptLine] = (), *, deadline: Deadline = DEFAULT) -> Job[PodcastResult]:
        """Have the script spoken (or this one instead) and return the job of the voices.

        It is asked for once: voices that are under way, from here or from elsewhere, are joined, and `script` then
        comes too late. After a refusal or an error it may be asked for again.
        """
        await self.script(deadline=deadline)
        async with self._asking:
            if self._voice is None:
                self._voice = await self._ask(tuple(script), deadline)
        return self._voice

    async def wait(self, *, deadline: Deadline = DEFAULT) -> PodcastResult:
        """Return the finished podcast, having the script spoken as it is unless `voice` was called before."""
        return await (await self.voice(deadline=deadline)).wait(deadline=deadline)

    async def _ask(self, script: tuple[ScriptLine, ...], deadline: Deadline) -> Job[PodcastResult]:
        if any((snapshot.step or "").startswith(_VOICES) for snapshot in self._script.snapshots):
            return self._client.job(self.task_id, of=PodcastVoice)
        try:
            return await self._client.submit(PodcastVoice(task_id=self.task_id, script=script), deadline=deadline)
        except InvalidRequest as error:
            if error.code != _ALREADY_ASKED:
                raise
            return self._client.job(self.task_id, of=PodcastVoice)


async def begin(client: Client, request: Podcast | None, task_id: str | None, deadline: Deadline) -> PodcastJob:
    """Begin a podcast, or find one again by its task id."""
    if request is not None:
        return PodcastJob(client, await client.submit(request, deadline=deadline))
    return PodcastJob(client, client.job(task_id or "", of=Podcast))
