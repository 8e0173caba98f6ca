"""The client: its configuration, and the verbs of an open client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload
from weakref import WeakSet

from aiowery._base.snapshot import Asset, Snapshot
from aiowery._client.arguments import (
    check_callable,
    check_entry_id,
    check_id,
    check_request,
    check_requests,
    check_streaming,
    check_type,
    checked_asset,
    checked_credits,
    checked_directory,
    checked_name,
    checked_outputs,
    checked_source,
    checked_type,
    submit_options,
)
from aiowery._client.config import ClientConfig, ProviderInfo
from aiowery._client.stream import OutcomeStream, Requests, RunItem, StreamItem, enumerate_requests
from aiowery._core.events import LowCredits
from aiowery._core.media import MediaSource
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.models import CheckIssue, ModelInfo
from aiowery._core.policies import Limits, OnDoubt, PollPolicy, RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT, Timeout, check_timeout
from aiowery._core.result import Result
from aiowery._core.statistics import ClientStatistics
from aiowery.errors import ClientClosed, ConfigurationError

if TYPE_CHECKING:
    from aiowery._client.batches import BatchService
    from aiowery._client.runtime import ClientRuntime
    from aiowery._jobs.job import Job
    from aiowery.ledger import Ledger

T = TypeVar("T")


class Client:
    """A client for one provider. Use `async with`: the client owns its connections.

    A client can be entered again after it was left, in another event loop too. Two open clients with the same key in
    one event loop share one queue. Make the first client at start-up: it loads the HTTP library, for which an event
    loop would wait.

    `make_config` documents the settings that all providers share.
    """

    editions: ClassVar[Mapping[str, ProviderInfo]] = {}
    """The facts about each edition of the provider's API, the default edition first. The command line needs at least
    one; if there are several, the constructor has the parameter `edition`."""

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
    def provider(self) -> Provider:
        """The translator between requests and the provider's HTTP messages."""
        return self._provider

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
        if not hasattr(self, "_open_runtime"):  # a traceback may show one whose constructor has raised
            return f"<{type(self).__name__}>"
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
        """Open the connections and the ledger, for code that cannot use `async with`. It ends with `aclose`.

        It belongs to the running event loop: in another one, and after a fork, each verb raises ConfigurationError, and
        nothing is sent. If that loop is closed, the client can be opened anew.
        """
        if self._opening or (self._open_runtime is not None and not self._open_runtime.binding.is_over):
            raise ConfigurationError(f"{self!r} is open already; share it, or make a second one")
        self._opening = True
        try:
            from aiowery._client.runtime import open_runtime  # noqa: PLC0415 - loaded with the client

            stale, self._open_runtime = self._open_runtime, None
            if stale is not None:  # its event loop was closed before the client
                await stale.aclose()
            self._open_runtime = await open_runtime(self._config, self._provider)
        finally:
            self._opening = False

    def stop_submitting(self) -> None:
        """Stop submitting: waiting submissions raise `NotSent`, and sent ones go on.

        For an orderly end: call it on SIGTERM, await the jobs that are left, then close.
        """
        self._runtime.submitter.stop()

    def resume_submitting(self) -> None:
        """Resume submissions at once that have paused by themselves (see `Limits.max_doubts`).

        Doubts are counted from zero again. Does nothing if submissions are not paused.
        """
        self._runtime.breaker.reset()

    async def aclose(self) -> None:
        """Finish the POSTs under way, log the ids of jobs that are left, and close all connections."""
        runtime = self._open_runtime
        if runtime is None:
            return
        if not runtime.binding.is_over:
            runtime.check_loop()
            for stream in tuple(self._streams):
                stream.abandon(ClientClosed("the client was closed before the stream had delivered everything"))
        self._open_runtime = None
        await runtime.aclose()

    async def submit(
        self,
        request: Request[ResultT],
        *,
        job_timeout: Timeout = DEFAULT,
        start_within: float | None = None,
        name: str | int = "",
    ) -> Job[ResultT]:
        """Submit the request once the queue has free slots, and return its job when the provider has accepted it.

        A paid POST goes out once. Raises an `APIError` for a rejection, `NotSent` if nothing was sent,
        `SubmissionInDoubt` if it is unclear whether the provider accepted, and `ConfigurationError` for a mistake found
        before. Cancelling while the POST is under way loses nothing: see `jobs()`.

        `start_within` is a queue timeout in seconds. `QueueTooLong` is raised, unsent, when it has passed, or at once
        if the queue would admit the request too late. `name` is a name or number of your own for the request, which
        logs, events and errors show beside its type and model.
        """
        options = submit_options(request, job_timeout, start_within, name)
        if self._config.reuse:
            return await self.batches.find_equal(request, options)
        return await self._runtime.submitter.submit(request, options)

    async def run(
        self,
        request: Request[ResultT],
        *,
        timeout: Timeout = DEFAULT,
        start_within: float | None = None,
        name: str | int = "",
    ) -> ResultT:
        """Submit the request and wait for its result. Raises what `submit` and `Job.wait` raise."""
        check_timeout(timeout)
        job = await self.submit(request, job_timeout=timeout, start_within=start_within, name=name)
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
        """Run many requests and yield an `Outcome` for each as it finishes (in input order with `ordered=True`).

        `requests` may be any iterable or async iterable. At most `in_flight` of its items are taken and not yet
        yielded; the default keeps the queue busy. Failures are items. Use `async with` if you may leave early.

        With a name for the `batch`, the ledger stores each request and its state, and the same requests under the same
        name resume. Finished requests are answered from the ledger, accepted ones are polled on, new ones are sent, and
        those in doubt are yielded as `SubmissionInDoubt`, unsent. A request is matched to its entry by a hash of its
        content; equal requests are numbered in order. A list is added to the ledger before its first request is sent,
        any other iterable item by item.

        `budget`: credits that the batch may use in all, over all processes and runs. `reuse`: the client's setting by
        default. `on_doubt`: `"hold"`, or `Resubmit(at_most=20)` to send requests in doubt again for at most so many
        credits, although they may have been charged.
        """
        check_requests("stream", requests)
        check_streaming(job_timeout, on_doubt)
        if batch is None and (budget is not None or reuse is not None or on_doubt != "hold"):
            raise ConfigurationError("stream(): budget, reuse and on_doubt belong to a batch; give batch='a name' too")
        if batch is None:
            return self._streaming(enumerate_requests(requests), self._runner(job_timeout), in_flight, ordered=ordered)
        name, budget = checked_name(batch), checked_credits("budget", budget)
        items = self.batches.add_requests(name, requests, reuse=self._config.reuse if reuse is None else reuse)
        return self._streaming(items, self.batches.run(job_timeout, budget, on_doubt), in_flight, ordered=ordered)

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
        """Stream the unfinished requests of a batch, from the ledger alone: new, under way, or in doubt.

        With `ended`, finished requests are yielded too. The other parameters are those of `stream`. An outcome's
        `index` is the request's position when it was added. The stream raises ConfigurationError for a batch that is
        not in the ledger, and for a request of another provider.
        """
        check_streaming(job_timeout, on_doubt)
        items = self.batches.pending(checked_name(batch), self._config.request_types.from_dict, ended=ended)
        run = self.batches.run(job_timeout, checked_credits("budget", budget), on_doubt)
        return self._streaming(items, run, in_flight, ordered=ordered)

    async def resubmit(self, entry_id: int, *, job_timeout: Timeout = DEFAULT) -> Job[Any]:
        """Resolve a doubt by sending the request again, and return its job. If the first was charged, both are.

        Raises LedgerError for an entry that is not in doubt, and what `submit` raises.
        """
        check_entry_id("resubmit", entry_id)
        check_timeout(job_timeout, "job_timeout")
        return await self.batches.resubmit(entry_id, self._config.request_types.from_dict, job_timeout)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the open client."""
        return self._runtime.journal.ledger

    def _runner(self, job_timeout: Timeout) -> RunItem[ResultT]:
        async def run(item: StreamItem[ResultT]) -> Job[ResultT]:
            job = await self.submit(item.request, job_timeout=job_timeout, name=item.name)
            await job.wait_finished(timeout=job_timeout)
            return job

        return run

    def _streaming(
        self,
        items: AsyncGenerator[StreamItem[ResultT], None],
        run: RunItem[ResultT],
        in_flight: int | None,
        *,
        ordered: bool,
    ) -> OutcomeStream[ResultT]:
        in_flight = self.limits.in_flight + self.limits.submissions if in_flight is None else in_flight
        check_loop = self._runtime.check_loop
        stream = OutcomeStream(run, items, in_flight=in_flight, ordered=ordered, check_loop=check_loop)
        self._streams.add(stream)
        return stream

    @overload
    def job(self, *task_ids: str) -> Job[Result]: ...
    @overload
    def job(self, *task_ids: str, of: type[Request[ResultT]]) -> Job[ResultT]: ...
    def job(self, *task_ids: str, of: type[Request[Any]] | None = None) -> Job[Any]:
        """Return a job for tasks that were submitted earlier; `of` is the class of their request, if known.

        The first poll comes at once. A task that the provider does not know ends in `JobLost`.
        """
        of = checked_type(task_ids, of)
        result_type: Any = Result if of is None else of.result_type
        kind = None if of is None else of.kind
        return self._runtime.restorer.attach(Accepted(task_ids=task_ids), result_type, kind)

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs under way, and those that ended or timed out without their result being received.

        At most 1,000 of the latter are kept. A job leaves the list when its result is received.
        """
        return self._runtime.registry.jobs()

    def pending_submission(self, request: Request[ResultT]) -> asyncio.Task[Job[ResultT]] | None:
        """Return the POST of this very request object while it is under way, for callers whose `submit` was cancelled.

        It belongs to the client: await it through `asyncio.shield`.
        """
        check_request("pending_submission", request)
        return self._runtime.submitter.pending_submission(request)

    async def status(self, task_id: str) -> Snapshot:
        """Return the status of one task from a single request. Raises NotFound for an unknown id."""
        check_id("status", "task_id", task_id)
        return await self._runtime.api.read_status(task_id)

    async def batch_status(self, provider_batch_id: str) -> tuple[Snapshot, ...]:
        """Return the status of all tasks of one submission from a single request. Raises NotFound for an unknown id.

        Raises ConfigurationError if the provider reports tasks only one by one.
        """
        check_id("batch_status", "provider_batch_id", provider_batch_id)
        request = self._provider.batch_request(provider_batch_id)
        if request is None:
            raise ConfigurationError(f"batch_status(): {self._provider.name} has none; use status() for each task")
        return tuple(await self.read(request, self._provider.decode_batch))

    async def balance(self) -> float | None:
        """Return the account's credits; None if the provider does not report them, as here.

        A subclass passes what it returns to `_report_balance`, which emits `LowCredits` below `low_credits`.
        """
        return None

    async def models(self, kind: str | None = None) -> Sequence[ModelInfo]:
        """Return the provider's models of one kind of output, or of all; none if it lists no models, as here."""
        check_type("models(): kind", kind, (str, type(None)), "a kind of output, such as 'image', or None for all")
        return ()

    async def check(self, request: Request[Any]) -> Sequence[CheckIssue]:
        """Return the conflicts between a request and the list of models; none if the provider has no list, as here.

        It is called before money is spent. Nothing is enforced.
        """
        check_request("check", request)
        return ()

    async def upload(self, source: MediaSource) -> str:
        """Upload an image, video or audio file (a path, bytes or an open binary file) and return its URL.

        Equal content is uploaded once while the client is open. Raises ConfigurationError, with nothing sent, for a
        file that the provider would not accept, and if it accepts no uploads.
        """
        uploads, media = self._runtime.uploads, checked_source(source)
        return await uploads.url_of(await uploads.read(media))

    async def read(self, request: HttpRequest, decode: Callable[[HttpResponse], T]) -> T:
        """Send a request that costs nothing and may be repeated, such as a GET, and return `decode(response)`.

        For endpoints of the provider that have no method of their own. Retried by the client's `RetryPolicy`.
        """
        check_type("read(): request", request, HttpRequest, "an aiowery.typing.HttpRequest")
        check_callable("read(): decode", decode)
        return await self._runtime.api.read(request, decode)

    async def download(
        self,
        what: Result | Asset | str,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        svg: bool = False,
    ) -> tuple[Path, ...]:
        """Save all assets into a directory (made if missing) and return the paths. A URL stands for an asset.

        A file's name is `name` or the task id, cleaned, with a number if there are several, and the suffix of its type,
        which its content decides. No other file is replaced: a name that is taken gets a number, unless that file has
        the same content. A file is written beside its target and renamed once it is complete and synced; a partial file
        is resumed. A URL that has expired is renewed by one status check. No API key is sent. The files have the mode
        of the ledger's file; without one, the process's umask decides.

        An empty response, or a page, is no output. An SVG picture, which may hold scripts, is saved as a text file,
        unless `svg` is true. Raises DownloadError, whose `url` still holds the output.
        """
        outputs, target = checked_outputs(what), checked_directory(directory)
        check_type("download(): name", name, (str, type(None)), "a file name without suffix, or None")
        return await self._runtime.downloads.save(outputs, target, name, svg=svg)

    async def fetch(self, asset: Asset | str) -> bytes:
        """Return the bytes of an asset, or of the one at a URL: at most 512 MB, of a picture, film or sound.

        Raises DownloadError.
        """
        return await self._runtime.downloads.fetch(checked_asset(asset))

    def statistics(self) -> ClientStatistics:
        """Return the figures at this moment: queue, status checks, and how the submissions ended. Any thread may."""
        return self._parts.statistics()

    @property
    def batches(self) -> BatchService:
        """The entries of the open client's batches, one at a time, for callers with a loop of their own."""
        return self._runtime.batches

    def _report_balance(self, balance: float | None) -> None:
        """Emit `LowCredits` for a balance below `low_credits`."""
        threshold = self._config.low_credits
        if threshold is not None and balance is not None and balance < threshold:
            self._runtime.events.emit(LowCredits(balance=balance))

    @property
    def _runtime(self) -> ClientRuntime:
        """The parts of the open client. Raises ConfigurationError if it was not opened in the running event loop."""
        runtime = self._parts
        runtime.check_loop()
        return runtime

    @property
    def _parts(self) -> ClientRuntime:
        if self._open_runtime is None:
            name = type(self).__name__
            raise ConfigurationError(f"the client is not open; use `async with {name}() as client:`")
        return self._open_runtime
