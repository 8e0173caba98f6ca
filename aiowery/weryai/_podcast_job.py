"""The handle of a podcast: first the script, which may be edited, then the voices."""

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
    """A handle for both steps of one podcast, returned by `client.podcast`. Awaiting it runs both steps.

    To edit the script, `await job.script()`, then `await job.voice(edited)`, then `await job`. To continue later at
    either step, keep `task_id` and call `client.podcast(task_id=...)`.
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
        """The task id, which both steps share."""
        return self._script.task_ids[0]

    async def script(self, *, timeout: Timeout = DEFAULT) -> PodcastScript:
        """Return the script when it is finished. Raises the errors of `Job.wait`."""
        return await self._script.wait(timeout=timeout)

    async def voice(
        self, script: PodcastScript | Iterable[ScriptLine] = (), *, job_timeout: Timeout = DEFAULT
    ) -> Job[PodcastResult]:
        """Submit the second step and return its job; `script` replaces the generated script.

        The step is submitted once. If voices are already requested, here or by another process, the returned job
        attaches to them and `script` is ignored. The same applies after a call that was cancelled while sending.

        After a refusal the step may be submitted again. After a `SubmissionInDoubt` the status is checked first.
        While the provider reports no voices, the error is raised again. Submit a `PodcastVoice` yourself once you
        know that nothing was charged.
        """
        lines = script.script if isinstance(script, PodcastScript) else tuple(script)
        with contextlib.suppress(EmptyResult):  # the script exists, although its lines are not shown
            await self.script(timeout=job_timeout)
        async with self._lock:
            if self._voice is None:
                self._voice = await self._start_voices(lines, job_timeout)
        return self._voice

    async def wait(self, *, timeout: Timeout = DEFAULT) -> PodcastResult:
        """Return the finished podcast; submit the second step with the generated script unless `voice` was called."""
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
        """Submit the second step, unless the pending POST of an earlier, cancelled attempt returns its job."""
        pending = self._pending_post
        if pending is not None:
            await asyncio.wait((pending,))
            self._pending_post = None
            # A POST that was given up, refused or never sent has requested nothing: the step is submitted anew.
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
    """Submit a podcast, or attach to one by its task id; `fetch_status` returns the status of a task."""
    if request is not None:
        return PodcastJob(client, await client.submit(request, job_timeout=job_timeout), fetch_status)
    return PodcastJob(client, client.job(task_id or "", of=Podcast), fetch_status)
