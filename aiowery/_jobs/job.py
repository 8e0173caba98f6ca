"""The job: a handle of one accepted submission, which any number of callers may await."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Generator, Iterable
from typing import Any, Generic, NamedTuple, Protocol, cast

from aiowery._base.snapshot import Kind, Snapshot, TaskState, total_credits
from aiowery._core.request import DEFAULT, Accepted, Request, ResultT, Timeout
from aiowery._core.webhook_config import WebhookState
from aiowery._jobs.scheduler import ScheduledItem
from aiowery._queue.submission_queue import Ticket
from aiowery.errors import AioweryError, JobError, JobTimeout


class JobKeeper(Protocol):
    """The part of the poller that a job uses."""

    def timeout_seconds(self, kind: Kind | None, timeout: Timeout) -> float:
        """Return the seconds of a timeout for a job of this kind; infinity for None."""
        ...

    def ensure_polled(self, job: Job[Any]) -> None:
        """Make sure the job is polled until its latest waiter times out.

        Raises ClientClosed, and ConfigurationError in another event loop than the client's.
        """
        ...

    def on_collected(self, job: Job[Any]) -> None:
        """Forget a finished job, because its result was received."""
        ...


class _Waiter(asyncio.Future[None]):
    """A future that finishes at a job's end or (with `on_change`) at any change, and fails at `deadline`."""

    __slots__ = ("deadline", "on_change", "since")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float, *, on_change: bool) -> None:
        super().__init__(loop=loop)
        self.deadline = deadline
        self.on_change = on_change
        self.since = loop.time()


class _Rejections(NamedTuple):
    """The status checks of a task that were rejected in a row for one reason, and the loop time of the first one."""

    reason: type[AioweryError]
    times: int
    since: float


class Job(ScheduledItem, Generic[ResultT]):
    """A handle of one accepted submission, made by `client.submit` or `client.job`.

    `await job` waits for the result. Many callers may wait for one job. A caller's cancellation or timeout ends only
    its own wait, never the job. `request` is None for a job that was re-attached by its task id.
    """

    __slots__ = (
        "_accepted_at",
        "_deadline",
        "_error",
        "_failures",
        "_keeper",
        "_label",
        "_last_running",
        "_latest_snapshots",
        "_loop",
        "_open_task_ids",
        "_poll_error",
        "_record",
        "_rejections",
        "_result",
        "_result_type",
        "_ticket",
        "_waiters",
        "_webhook",
        "kind",
        "provider_batch_id",
        "request",
        "request_id",
        "task_ids",
        "timing_key",
    )

    def __init__(
        self,
        accepted: Accepted,
        keeper: JobKeeper,
        *,
        request: Request[ResultT] | None,
        result_type: type[ResultT],
        kind: Kind | None,
        ticket: Ticket | None = None,
        label: str = "",
    ) -> None:
        super().__init__()
        self.request: Request[ResultT] | None = request
        self.task_ids: tuple[str, ...] = accepted.task_ids
        self._open_task_ids: tuple[str, ...] = accepted.task_ids
        self.provider_batch_id: str | None = accepted.provider_batch_id
        self.request_id: str | None = accepted.request_id
        self._result_type: type[ResultT] = result_type
        self.kind: Kind | None = kind
        self.timing_key: tuple[str, ...] = () if request is None else request.timing_key
        """The endpoint, model and settings on which its duration depends; () for a re-attached job."""
        self._loop = asyncio.get_running_loop()
        self._accepted_at: float = self._loop.time()
        self._deadline: float = self._accepted_at
        self._failures: int = 0
        self._poll_error: AioweryError | None = None
        self._rejections: dict[str, _Rejections] | None = None
        self._last_running: float = 0.0
        self._ticket: Ticket | None = ticket
        self._label = label
        self._webhook: WebhookState | None = None
        self._record: object | None = None
        self._keeper = keeper
        self._latest_snapshots: tuple[Snapshot | None, ...] = (None,) * len(accepted.task_ids)
        self._waiters: tuple[_Waiter, ...] = ()
        self._result: ResultT | None = None
        self._error: JobError | None = None

    def __repr__(self) -> str:
        ids = ", ".join(self.task_ids)
        return f"<Job {ids} {self.state.value}, {self.age:.1f} s>"

    def __await__(self) -> Generator[object, None, ResultT]:
        return self.wait().__await__()

    @property
    def age(self) -> float:
        """Seconds since acceptance."""
        return self._loop.time() - self._accepted_at

    @property
    def done(self) -> bool:
        """True once the job has finished, so that awaiting it returns immediately."""
        return self._result is not None or self._error is not None

    @property
    def error(self) -> JobError | None:
        """The error of a job without a result; None while it is under way, and if it has a result."""
        return self._error

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The latest status of each task, in the order of `task_ids`; tasks without one are left out."""
        return tuple(snapshot for snapshot in self._latest_snapshots if snapshot is not None)

    @property
    def _slots(self) -> int:
        """The slots that it still occupies in its queue."""
        return 0 if self._ticket is None else self._ticket.slots

    @property
    def credits(self) -> float | None:
        """The credits that the provider has reported as charged so far, over all tasks; None if it reported none."""
        return total_credits(self.snapshots)

    @property
    def state(self) -> TaskState:
        """The state of the whole job: done or failed once it has finished, running once one task runs."""
        if self.done:
            return TaskState.FAILED if self._result is None else TaskState.DONE
        states = {snapshot.state for snapshot in self.snapshots}
        return TaskState.WAITING if states <= {TaskState.WAITING} else TaskState.RUNNING

    @property
    def label(self) -> str:
        """The type, the model and the caller's number or name, as in logs; the task ids of a re-attached job."""
        return self._label or ", ".join(self.task_ids)

    async def wait(self, *, timeout: Timeout = DEFAULT) -> ResultT:
        """Return the result once all tasks have ended, or raise the error of a job without one.

        `timeout` is in seconds from acceptance, or from now if that time has passed. The default is 10 minutes for
        images and 30 minutes for anything else; None waits without end. Raises JobFailed, EmptyResult, JobLost,
        JobTimeout or ClientClosed. After a JobTimeout, await the job again to go on waiting. Until the job has
        finished, only its client's event loop may wait for it.
        """
        if not self.done:  # `wait_finished` would cost every waiter another coroutine
            waiter = self._add_waiter(self._deadline_for(timeout))
            try:
                await waiter
            finally:
                self._remove_waiter(waiter)
        return self.result()

    async def wait_finished(self, *, timeout: Timeout = DEFAULT) -> None:
        """Wait until all tasks have ended; do not raise the job's error. Raises JobTimeout or ClientClosed."""
        if not self.done:
            waiter = self._add_waiter(self._deadline_for(timeout))
            try:
                await waiter
            finally:
                self._remove_waiter(waiter)

    def result(self) -> ResultT:
        """Return the result of a finished job, or raise its error. Afterwards `client.jobs()` does not list it."""
        self._keeper.on_collected(self)
        if self._error is not None:
            raise copy.copy(self._error)
        return cast("ResultT", self._result)

    async def updates(self, *, timeout: Timeout = DEFAULT) -> AsyncIterator[Snapshot]:
        """Yield a snapshot whenever a poll shows a change of a task, and stop when the job has finished.

        The present statuses come first. If the job fails, the iteration ends without an error; `await job` raises it.
        Raises JobTimeout like `wait`.
        """
        deadline = self._deadline_for(timeout)
        shown: dict[str, Snapshot] = {}
        while True:
            finished = self.done
            fresh = [
                snapshot for snapshot in self.snapshots if not snapshot.same_progress_as(shown.get(snapshot.task_id))
            ]
            for snapshot in fresh:
                shown[snapshot.task_id] = snapshot
                yield snapshot
            if finished:
                return
            if fresh:  # the job may have changed while the caller processed them
                continue
            waiter = self._add_waiter(deadline, on_change=True)
            try:
                await waiter
            finally:
                self._remove_waiter(waiter)

    # Methods for the poller.

    def _facts(self, **more: Any) -> dict[str, Any]:
        """Return what each log record about it has as `extra`, and these facts."""
        return {"label": self.label, "task_ids": self.task_ids, "request_id": self.request_id, **more}

    def _update(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        """Store the statuses of a poll; return those that changed. A task in a final state keeps it."""
        changed = []
        for snapshot in snapshots:
            if snapshot.task_id not in self.task_ids:
                continue
            if self._rejections:
                self._rejections.pop(snapshot.task_id, None)
            index = self.task_ids.index(snapshot.task_id)
            before = self._latest_snapshots[index]
            if before is not None and before.state.terminal:
                continue
            self._latest_snapshots = (*self._latest_snapshots[:index], snapshot, *self._latest_snapshots[index + 1 :])
            if snapshot.state.terminal:
                self._open_task_ids = tuple(id_ for id_ in self._open_task_ids if id_ != snapshot.task_id)
            if not snapshot.same_progress_as(before):
                changed.append(snapshot)
        if changed:
            self._wake(waiter for waiter in self._waiters if waiter.on_change)
        return changed

    def _count_rejection(self, task_id: str, reason: type[AioweryError]) -> tuple[int, float]:
        """Count a rejected status check of a task; return how many in a row had this reason, and over how many seconds.

        A status of the task begins a new row.
        """
        now = self._loop.time()
        if self._rejections is None:
            self._rejections = {}
        latest = self._rejections.get(task_id)
        if latest is None or latest.reason is not reason:
            latest = _Rejections(reason, 0, now)
        self._rejections[task_id] = counted = latest._replace(times=latest.times + 1)
        return counted.times, now - counted.since

    def _record_failed_poll(self, error: AioweryError) -> None:
        """Count a failed poll. Its error is kept without its cause, whose traceback would keep a request in memory."""
        self._failures += 1
        self._poll_error = copy.copy(error)
        self._poll_error.__cause__ = None

    def _record_poll(self) -> None:
        """Reset the count of failed polls in a row."""
        self._failures, self._poll_error = 0, None

    def _settle(self, result: ResultT | None, error: JobError | None) -> None:
        """End the job and wake all waiters."""
        self._result, self._error = result, error
        self._wake(self._waiters)

    def _expire(self, now: float) -> float | None:
        """Time out the waiters whose deadline has passed; return the next deadline, or None after the last one."""
        for waiter in self._waiters:
            if waiter.deadline <= now and not waiter.done():
                waiter.set_exception(self._timeout_error())
        return self._next_deadline(now)

    def _has_waited(self, seconds: float) -> bool:
        """Return True if a waiter whose deadline has passed has waited so long, or if only the job's own has passed.

        Waits that are shorter than the poll interval must not shorten it.
        """
        now = self._loop.time()
        ended = [waiter for waiter in self._waiters if waiter.deadline <= now and not waiter.done()]
        return not ended or any(now - waiter.since >= seconds for waiter in ended)

    def _next_deadline(self, now: float) -> float | None:
        """Return the earliest deadline: a waiter's, even if it has passed, or the job's own if it has not."""
        deadlines = [waiter.deadline for waiter in self._waiters if not waiter.done()]
        return min(deadlines + [self._deadline] * (self._deadline > now), default=None)

    def _timeout_error(self) -> JobTimeout:
        """Return the error of a waiter whose timeout has passed; its cause is the error of the latest poll, if any."""
        failed = f" status checks failed since: {self._failures} ({self._poll_error});" if self._failures else ""
        statuses = ", ".join(dict.fromkeys(one.raw_status or one.state.value for one in self.snapshots))
        last = f"last status: {statuses}" if statuses else "no status was received"
        ids = ", ".join(self.task_ids)
        error = JobTimeout(
            f"{self.label}: not finished {self.age:.0f} s after acceptance (task ids {ids}; {last});{failed}"
            " the task may still finish: await the error's .job, or client.job(task_id) later",
            task_ids=self.task_ids,
            snapshots=self.snapshots,
            request_id=self.request_id,
            job=self,
        )
        error.__cause__ = self._poll_error
        return error

    def _deadline_for(self, timeout: Timeout) -> float:
        """Return the loop time at which a timeout ends: counted from acceptance, or from now if that has passed."""
        seconds = self._keeper.timeout_seconds(self.kind, timeout)
        now = self._loop.time()
        return self._accepted_at + seconds if self._accepted_at + seconds > now else now + seconds

    def _add_waiter(self, deadline: float, *, on_change: bool = False) -> _Waiter:
        """Return a new waiter for the job's end or, with `on_change`, for any change; it times out at `deadline`."""
        waiter = _Waiter(self._loop, deadline, on_change=on_change)
        self._waiters = (*self._waiters, waiter)
        try:
            self._keeper.ensure_polled(self)
        except BaseException:
            self._remove_waiter(waiter)
            raise
        return waiter

    def _remove_waiter(self, waiter: _Waiter) -> None:
        self._waiters = tuple(other for other in self._waiters if other is not waiter)

    @staticmethod
    def _wake(waiters: Iterable[_Waiter]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
