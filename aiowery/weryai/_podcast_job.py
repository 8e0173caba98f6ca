"""A podcast under way: script, a pause for whoever wants to edit it, voices."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Final

from aiowery._base.snapshot import ScriptLine, Snapshot
from aiowery._client.client import Client
from aiowery._core.request import DEFAULT, Timeout
from aiowery._jobs.job import Job
from aiowery.errors import APIError, EmptyResult, InvalidRequest, NotSent, SubmissionInDoubt
from aiowery.weryai.requests._podcast import Podcast, PodcastResult, PodcastScript, PodcastVoice, has_voices

StatusFetch = Callable[[str], Awaitable[Snapshot]]

_ALREADY_REQUESTED: Final = 8002


class PodcastJob:
    """Both steps of one podcast, made by `client.podcast`. Awaiting it walks to the end.

    To edit the script, `await job.script()`, then `await job.voice(edited)`, then `await job`. `task_id` is all that
    is needed to go on at either step later: `client.podcast(task_id=...)`.
    """

    def __init__(self, client: Client, script: Job[PodcastScript], fetch_status: StatusFetch) -> None:
        self._client = client
        self._script = script
        self._fetch_status = fetch_status
        self._voice: Job[PodcastResult] | None = None
        self._lock = asyncio.Lock()
        self._pending_post: asyncio.Task[Job[PodcastResult]] | None = None
        self._in_doubt: SubmissionInDoubt | None = None

    def __repr__(self) -> str:
        return f"<PodcastJob {self.task_id}>"

    def __await__(self) -> Generator[object, None, PodcastResult]:
        return self.wait().__await__()

    @property
    def task_id(self) -> str:
        """The id that both steps share."""
        return self._script.task_ids[0]

    async def script(self, *, timeout: Timeout = DEFAULT) -> PodcastScript:
        """Return the script once it is written; raises what `Job.wait` raises."""
        return await self._script.wait(timeout=timeout)

    async def voice(
        self, script: PodcastScript | Iterable[ScriptLine] = (), *, job_timeout: Timeout = DEFAULT
    ) -> Job[PodcastResult]:
        """Have the script spoken (or this one instead) and return the job of the voices.

        It is asked for once: voices that are under way, from here or from elsewhere, are joined, and `script` then
        comes too late; so does that of a call that was cancelled while it was being sent. After a refusal it may be
        asked for again; after a `SubmissionInDoubt` the provider is looked at first, and while it knows of no voices,
        the doubt is raised again (submit a `PodcastVoice` yourself once you know that nothing was charged).
        """
        turns = script.script if isinstance(script, PodcastScript) else tuple(script)
        with contextlib.suppress(EmptyResult):  # written, though nobody was shown the lines
            await self.script(timeout=job_timeout)
        async with self._lock:
            if self._voice is None:
                self._voice = await self._start_voices(turns, job_timeout)
        return self._voice

    async def wait(self, *, timeout: Timeout = DEFAULT) -> PodcastResult:
        """Return the finished podcast, having the script spoken as it is unless `voice` was called before."""
        return await (await self.voice(job_timeout=timeout)).wait(timeout=timeout)

    async def _start_voices(self, script: tuple[ScriptLine, ...], job_timeout: Timeout) -> Job[PodcastResult]:
        if any(map(has_voices, self._script.snapshots)):
            return self._attach()
        if self._in_doubt is not None:
            if has_voices(await self._fetch_status(self.task_id)):
                return self._attach()
            raise copy.copy(self._in_doubt)
        try:
            return await self._submit_voices(script, job_timeout)
        except InvalidRequest as error:
            if error.code != _ALREADY_REQUESTED:
                raise
            return self._attach()
        except SubmissionInDoubt as doubt:
            self._in_doubt = doubt
            raise

    async def _submit_voices(self, script: tuple[ScriptLine, ...], job_timeout: Timeout) -> Job[PodcastResult]:
        """Submit the second step, unless a POST that an earlier, cancelled call left under way brings its job."""
        pending = self._pending_post
        if pending is not None:
            await asyncio.wait((pending,))
            self._pending_post = None
            # A POST that nobody waits for is given up rather than repeated: then nothing has been asked for yet.
            if not (pending.cancelled() or isinstance(pending.exception(), (APIError, NotSent))):
                return pending.result()
        request = PodcastVoice(task_id=self.task_id, script=script)
        try:
            return await self._client.submit(request, job_timeout=job_timeout)
        except asyncio.CancelledError:
            self._pending_post = self._client.pending_submission(request)
            raise

    def _attach(self) -> Job[PodcastResult]:
        return self._client.job(self.task_id, of=PodcastVoice)


async def begin(
    client: Client, request: Podcast | None, task_id: str | None, job_timeout: Timeout, fetch_status: StatusFetch
) -> PodcastJob:
    """Begin a podcast, or find one again by its task id; `look` asks once about a task."""
    if request is not None:
        return PodcastJob(client, await client.submit(request, job_timeout=job_timeout), fetch_status)
    return PodcastJob(client, client.job(task_id or "", of=Podcast), fetch_status)
