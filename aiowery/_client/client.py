"""The client: configuration, and the verbs over an open session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload
from weakref import WeakSet

from aiowery._base.snapshot import Asset
from aiowery._client.arguments import checked_credits, checked_name
from aiowery._client.config import ClientConfig
from aiowery._client.options import SubmitOptions
from aiowery._client.stream import OutcomeStream, Requests, RunItem, StreamItem, enumerate_requests
from aiowery._core.policies import Limits, OnDoubt, PollPolicy, RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT, Timeout
from aiowery._core.result import Result
from aiowery._core.statistics import ClientStatistics
from aiowery.errors import ClientClosed, ConfigurationError

if TYPE_CHECKING:
    from aiowery._client.batches import BatchService
    from aiowery._client.runtime import ClientRuntime
    from aiowery._jobs.job import Job
    from aiowery.ledger import Ledger


class Client:
    """What all providers' clients share. Use `async with`: it owns the connections.

    A client can be entered again after it was left, in another event loop too. Two open clients with the same key
    in one event loop share one lane. Make the first one at start-up: it loads the HTTP library, for which an event loop
    would wait.

    Arguments: `api_key`, a string or a callable (plain or async) that returns one and is asked again when the
    provider refuses the key; by default the environment's. `base_url`: https, or http on loopback. `limits`,
    `polling`, `retries`: see there; while `base_url` is on loopback, the defaults of all three keep the time of a
    sandbox whose speed AIOWERY_SANDBOX_SPEED names. `timeout`: seconds for connecting and for each read. `http`: by
    default connections of its own, on httpx's engine; "fast" for those of pyreqwest (extra `aiowery[fast]`); or your
    own `httpx.AsyncClient` or `httpx2.AsyncClient`, which stays yours to close and should allow
    `limits.connections` connections. `observer`: called with small frozen events. `low_credits`: a balance below
    it tells the observer so.

    `ledger`: where what is paid for is written down before it is sent: the path of a file (made if missing), which
    survives crashes and may be shared by processes, or a `Ledger` of your own, which you open and close; by default the
    memory. `budget`: credits that this client may spend while it is open; one request more is `BudgetExceeded`, unsent.
    `prices`: what a budget reckons with: credits a task by model or type of request, or a function of the request; by
    default what the latest request of the same model and settings was charged. `reuse`: answer a request from an equal
    one that is done or under way in the ledger, instead of paying again. `price_per_credit`: what you paid for one
    credit, so that statistics tell money too.
    """

    def __init__(self, provider: Provider, config: ClientConfig) -> None:
        # The HTTP library takes longer to load than all the rest: it is loaded with the first client, not with the
        # import, and not later, when an event loop would wait for it.
        from aiowery._client import runtime  # noqa: F401, PLC0415 - and with it all that an open client needs

        self._provider = provider
        self._config = config
        self._open_runtime: ClientRuntime | None = None
        self._opening = False
        self._streams: WeakSet[OutcomeStream[Any]] = WeakSet()

    @property
    def base_url(self) -> str:
        """The provider's address."""
        return self._config.base_url

    @property
    def limits(self) -> Limits:
        """The limits that the client keeps."""
        return self._config.limits

    @property
    def polling(self) -> PollPolicy:
        """The policy of its status checks."""
        return self._config.polling

    @property
    def retries(self) -> RetryPolicy:
        """The policy of its retries."""
        return self._config.retries

    def __repr__(self) -> str:
        state = "closed" if self._open_runtime is None else "open"
        return f"<{type(self).__name__} {self.base_url} {state}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open the connection pool, for those who cannot use `async with`; call `aclose` at the end."""
        if self._open_runtime is not None or self._opening:
            raise ConfigurationError(f"{self!r} is open already; share it, or make a second one")
        self._opening = True
        try:
            from aiowery._client.runtime import open_runtime  # noqa: PLC0415 - loaded with the client

            self._open_runtime = await open_runtime(self._config, self._provider)
        finally:
            self._opening = False

    def stop_submitting(self) -> None:
        """Submit nothing more: whoever waits for a turn gets `NotSent`; what has been sent goes on.

        For an orderly end: call it on SIGTERM, await the jobs that are left, then close.
        """
        self._runtime.submitter.stop()

    def resume_submitting(self) -> None:
        """Let submissions go on at once that have paused by themselves (see `Limits.max_doubts`).

        Doubts are counted from zero again. Does nothing if submissions are not paused.
        """
        self._runtime.breaker.reset()

    async def aclose(self) -> None:
        """Finish the POSTs under way, report jobs that are left (with their ids, in the log), close the pool."""
        session, self._open_runtime = self._open_runtime, None
        if session is not None:
            for stream in tuple(self._streams):
                stream.abandon(ClientClosed("the client was closed before the stream had delivered everything"))
            await session.aclose()

    async def submit(
        self, request: Request[ResultT], *, job_timeout: Timeout = DEFAULT, start_within: float | None = None
    ) -> Job[ResultT]:
        """Submit the request once the lane has room, and return its job as soon as the provider has taken it.

        A paid POST goes out once. Raises an `APIError` for a refusal, `NotSent` when the network was never
        reached, `SubmissionInDoubt` when it is unclear whether the provider took it, `ConfigurationError` for a
        mistake found before. Cancelling while the POST is under way loses nothing: see `jobs()`.

        `start_within`: seconds of patience with the line in front of the provider. `QueueTooLong` is raised at once
        when they cannot be kept by what is known of the lane, and when they are over; then nothing was sent.
        """
        options = SubmitOptions(job_timeout=job_timeout, start_within=start_within)
        if self._config.reuse:
            return await self.batches.find_equal(request, options)
        return await self._runtime.submitter.submit(request, options)

    async def run(
        self, request: Request[ResultT], *, timeout: Timeout = DEFAULT, start_within: float | None = None
    ) -> ResultT:
        """Submit the request and wait for its result: the usual way.

        Raises what `submit` and `Job.wait` raise.
        """
        job = await self.submit(request, job_timeout=timeout, start_within=start_within)
        return await job.wait(timeout=timeout)

    def stream(
        self,
        requests: Requests[ResultT],
        *,
        in_flight: int | None = None,
        ordered: bool = False,
        job_timeout: Timeout = DEFAULT,
        batch: str | None = None,
        budget: float | None = None,
        reuse: bool | None = None,
        on_doubt: OnDoubt = "hold",
    ) -> OutcomeStream[ResultT]:
        """Run many requests and yield an `Outcome` for each as it lands (in input order with `ordered=True`).

        `requests` may be any iterable or async iterable; at most `in_flight` of it (by default what keeps the
        lane busy) are taken and not yet delivered. Failures are items. Use `async with` if you may leave early.

        With a name for the `batch`, the ledger keeps each request and what became of it; the same requests under the
        same name resume: what is done or has failed is answered from there, what was accepted is polled on, the rest is
        sent, and what is in doubt comes as a `SubmissionInDoubt`, unsent. A request is known again by what it asks for,
        and equal ones by their number, wherever in the input they stand. All of a list are entered before the first is
        sent, others as they are taken. `budget`: credits that the batch may use in all, in whatever processes and
        runs. `reuse`: as for the client, whose answer is the default. `on_doubt`: `"hold"`, or `Resubmit(at_most=20)`
        to send again what is in doubt for at most so many credits, although it may have been charged.
        """
        if batch is None and (budget is not None or reuse is not None or on_doubt != "hold"):
            raise ConfigurationError("stream(): budget, reuse and on_doubt belong to a batch; give batch='a name' too")
        if batch is None:
            return self._streaming(enumerate_requests(requests), self._runner(job_timeout), in_flight, ordered=ordered)
        name, budget = checked_name(batch), checked_credits("budget", budget)
        works = self.batches.add_requests(name, requests, reuse=self._config.reuse if reuse is None else reuse)
        return self._streaming(works, self.batches.run(job_timeout, budget, on_doubt), in_flight, ordered=ordered)

    def resume(
        self,
        batch: str,
        *,
        in_flight: int | None = None,
        ordered: bool = False,
        job_timeout: Timeout = DEFAULT,
        budget: float | None = None,
        ended: bool = False,
        on_doubt: OnDoubt = "hold",
    ) -> OutcomeStream[Any]:
        """Stream what is left of a batch, from the ledger alone: what is new, under way, or in doubt.

        With `ended`, what is done or has failed comes too, as it was; the rest is as for `stream`. An outcome's `index`
        is the request's place when it was entered. The stream raises ConfigurationError for a batch that the ledger
        does not know, and for a request of another provider.
        """
        works = self.batches.pending(checked_name(batch), self._config.request_types.from_dict, ended=ended)
        run = self.batches.run(job_timeout, checked_credits("budget", budget), on_doubt)
        return self._streaming(works, run, in_flight, ordered=ordered)

    async def resubmit(self, entry_id: int, *, job_timeout: Timeout = DEFAULT) -> Job[Any]:
        """Settle a doubt by sending the request again, and return its job. If the first was charged, both are.

        Raises LedgerError for an entry that is not in doubt, and what `submit` raises.
        """
        return await self.batches.resubmit(entry_id, self._config.request_types.from_dict, job_timeout)

    @property
    def ledger(self) -> Ledger:
        """Where the open client writes down what is paid for."""
        return self._runtime.journal.ledger

    def _runner(self, job_timeout: Timeout) -> RunItem[ResultT]:
        async def run(work: StreamItem[ResultT]) -> Job[ResultT]:
            job = await self.submit(work.request, job_timeout=job_timeout)
            await job.wait_finished(timeout=job_timeout)
            return job

        return run

    def _streaming(
        self,
        works: AsyncGenerator[StreamItem[ResultT], None],
        run: RunItem[ResultT],
        in_flight: int | None,
        *,
        ordered: bool,
    ) -> OutcomeStream[ResultT]:
        in_flight = self.limits.in_flight + self.limits.submissions if in_flight is None else in_flight
        stream = OutcomeStream(run, works, in_flight=in_flight, ordered=ordered)
        self._streams.add(stream)
        return stream

    @overload
    def job(self, *task_ids: str) -> Job[Result]: ...
    @overload
    def job(self, *task_ids: str, of: type[Request[ResultT]]) -> Job[ResultT]: ...
    def job(self, *task_ids: str, of: type[Request[Any]] | None = None) -> Job[Any]:
        """Re-attach to tasks that somebody submitted earlier; `of` is the class of their request, if known.

        The first look comes at once. A task that the provider does not know ends in `JobLost`.
        """
        if not task_ids or not all(task_ids):
            raise ConfigurationError("job(): at least one task id is needed, none of them empty")
        result_type: Any = Result if of is None else of.result_type
        kind = None if of is None else of.kind
        return self._runtime.restorer.attach(Accepted(task_ids=task_ids), result_type, kind)

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs under way, and those that ended (or outlasted our patience) with nobody waiting.

        At most 1,000 of the latter are remembered. A job leaves the list when somebody awaits its end.
        """
        return self._runtime.registry.jobs()

    def pending_submission(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object while it is under way, for those whose `submit` was cancelled.

        It belongs to the client: await it through `asyncio.shield`.
        """
        return self._runtime.submitter.pending_submission(request)

    async def download(
        self, what: Result | Asset, directory: str | os.PathLike[str], *, name: str | None = None
    ) -> tuple[Path, ...]:
        """Save all assets into a directory (made if missing) and return the paths.

        Files are called `name` or the task id, cleaned, with a number if there are several, and the ending of
        their type. Written beside the target and renamed once whole and synced; a part that is there is resumed.
        No credentials are sent. Raises DownloadError; the url in it still holds the output.
        """
        return await self._runtime.downloads.save(what, Path(directory), name)

    async def fetch(self, asset: Asset) -> bytes:
        """Return an asset's bytes, at most 512 MB; raises DownloadError."""
        return await self._runtime.downloads.fetch(asset)

    def statistics(self) -> ClientStatistics:
        """Return figures of this moment: lane, status checks, and what became of the submissions."""
        return self._runtime.statistics()

    @property
    def batches(self) -> BatchService:
        """The entries of the open client's batches, one at a time, for callers with a loop of their own."""
        return self._runtime.batches

    @property
    def _runtime(self) -> ClientRuntime:
        if self._open_runtime is None:
            name = type(self).__name__
            raise ConfigurationError(f"the client is not open; use `async with {name}() as client:`")
        return self._open_runtime
