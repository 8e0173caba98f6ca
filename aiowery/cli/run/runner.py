"""A run: items in, one record for each, whatever happens in between.

An item walks submit -> wait -> save. Submitting ends early when people ask for it or when going on would be
useless or would lose what is paid for; what was submitted by then is still waited for and saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery import Job, Request, Result, SubmissionsPaused
from aiowery._client.client import Client
from aiowery._core.events import log
from aiowery._core.request_types import to_dict
from aiowery.cli.exit_codes import IN_DOUBT, INTERRUPTED, SOME_FAILED, WRONG_USE
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.requests import prompt_of
from aiowery.cli.output.progress import Progress, QueueTimes
from aiowery.cli.records import ItemError, ItemStatus, Record, ValidationRefused
from aiowery.cli.run.job_source import JobSource
from aiowery.cli.run.manifest import ManifestWriter
from aiowery.cli.run.saver import SavedFiles, Saver
from aiowery.errors import (
    AioweryError,
    AuthenticationError,
    BudgetExceeded,
    ConfigurationError,
    DailyLimitReached,
    DownloadError,
    InsufficientCredits,
    LedgerError,
    NotSent,
    RateLimited,
    SubmissionInDoubt,
)

_UNSAVED: Final = 16
_TICK: Final = 1.0
_GRACE: Final = 1.0
_PROBES: Final = 3

Stem = Callable[[InputItem], str]
Brought = Callable[[Result], None]


@attrs.frozen(kw_only=True)
class StopReason:
    """Why a run submits nothing more, and the exit code that follows."""

    reason: str
    exit_code: int


_INTERRUPTED: Final = StopReason(reason="interrupted", exit_code=INTERRUPTED)
_REFUSALS: Final = {
    AuthenticationError: ("the provider refused the key", WRONG_USE),
    InsufficientCredits: ("no credits left", SOME_FAILED),
    DailyLimitReached: ("the daily limit is reached", SOME_FAILED),
    BudgetExceeded: ("the budget is used up", SOME_FAILED),
    LedgerError: ("what is sent cannot be written down", SOME_FAILED),
}
"""Refusals that would meet all that follows too; the items they meet have cost nothing."""

_UNSENT: Final = (NotSent, RateLimited, *_REFUSALS)


@attrs.define(eq=False)
class RunningItem:
    """An item on its way."""

    item: InputItem
    request: Request[Any]
    job: Job[Any] | None = None
    result: Result | None = None
    kept: SavedFiles = attrs.field(factory=SavedFiles)
    error: AioweryError | None = None
    cut_off: bool = False
    post: asyncio.Task[Job[Any]] | None = None


class ItemRunner:
    """Runs items through an open client, a bounded number at a time.

    Saving goes on beside generating; at most 16 results wait to be saved. Every item gets exactly one record. The
    `desk` makes jobs of items. `brought` sees every result.
    """

    def __init__(
        self,
        client: Client,
        out: Path | None,
        *,
        stem: Stem,
        journal: ManifestWriter,
        progress: Progress,
        desk: JobSource,
        brought: Brought = lambda _: None,
    ) -> None:
        self._client = client
        self._saver = Saver(client, out)
        self._desk = desk
        self._brought = brought
        self._stem = stem
        self._journal = journal
        self._progress = progress
        self._slots = asyncio.Semaphore(client.limits.in_flight + client.limits.submissions)
        self._unsaved = asyncio.Semaphore(_UNSAVED)
        self._leaving = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], RunningItem] = {}
        self._records: dict[int, Record] = {}
        self.stopped: StopReason | None = None

    async def finish(self, items: Sequence[InputItem]) -> tuple[Record, ...]:
        """Return the items' records in input order, once each has one."""
        self._progress.start(len(items))
        await self._desk.open(items)
        working = asyncio.create_task(self._work(items))
        ticking = asyncio.create_task(self._tick(len(items)))
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            else:
                await self._cut_off(working)
        finally:
            for task in (working, ticking, leaving):
                task.cancel()
            await asyncio.gather(working, ticking, leaving, return_exceptions=True)
        for item in items:
            if item.index not in self._records:
                self._end(_record(item, self._desk.is_owned_elsewhere(item)))
        return tuple(self._records[item.index] for item in items)

    def interrupt(self) -> None:
        """Submit nothing more, wait for what was submitted."""
        self._stop(_INTERRUPTED, overrules=True)
        sent = sum(work.job is not None for work in self._under_way.values())
        sent += self._client.statistics().queue.submitting
        self._progress.write(f"Waiting for the {sent} that were submitted; Ctrl-C again leaves at once.")

    def paused(self, event: SubmissionsPaused) -> None:
        """Submit nothing more once the third probe has failed."""
        if event.failed_probes >= _PROBES:
            self._stop(StopReason(reason=f"{event.failed_probes} probes failed: {event.reason}", exit_code=IN_DOUBT))

    def leave(self) -> None:
        """Wait for nothing more; the records keep the task ids."""
        self._leaving.set()

    async def _work(self, items: Sequence[InputItem]) -> None:
        for item in items:
            if item.request is None:
                self._end(_record(item, ItemStatus.FAILED, problem=_faulty_line(item)))
                continue
            await self._slots.acquire()
            if self.stopped is not None and self._desk.is_owned_elsewhere(item) is ItemStatus.NOT_SUBMITTED:
                self._slots.release()
                continue
            work = RunningItem(item, item.request)
            task = asyncio.create_task(self._run_item(work))
            self._under_way[task] = work
            task.add_done_callback(self._under_way.pop)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _run_item(self, work: RunningItem) -> None:
        """Take an item to its end. Cancelled, it leaves that to `_cut_off`."""
        try:
            await self._generated(work)
            if work.result is not None:
                await self._saved(work, work.result)
        except AioweryError as error:
            work.error = error
        except asyncio.CancelledError:
            work.cut_off = True
            return
        except Exception as fault:  # noqa: BLE001 - one item that nobody foresaw must not lose the others
            log.exception("line %d: nobody foresaw this", work.item.line)
            work.error = AioweryError(f"{type(fault).__name__}: {fault}; please report this")
        self._conclude(work)

    async def _generated(self, work: RunningItem) -> None:
        """Submit and wait; the slot is given back once there is room to save the result."""
        try:
            job = await self._job(work)
            self._accepted(work, job)
            work.result = await job.wait()
            work.kept.urls = list(work.result.urls)
            self._brought(work.result)
            await self._unsaved.acquire()
        finally:
            self._slots.release()

    async def _job(self, work: RunningItem) -> Job[Any]:
        """Return the item's job; while another process works on it, others go before."""
        while (job := await self._desk.job(work.item)) is None:
            self._slots.release()
            try:
                await asyncio.sleep(_TICK)
            finally:
                await self._slots.acquire()
            if self.stopped is not None:
                raise NotSent("another process works on it; nothing was sent from here")
        return job

    def _accepted(self, work: RunningItem, job: Job[Any]) -> None:
        work.job = job
        if job.done:  # before this run
            return
        self._note(lambda: self._journal.accepted(work.item.index, job.task_ids))
        self._progress.accepted(work.item.index, job)

    async def _saved(self, work: RunningItem, result: Result) -> None:
        """Save what the item brought; a disk that refuses stops the run."""
        try:
            before = self._desk.saved_before(work.item)
            await self._saver.save(
                work.request, result, self._desk.stem(work.item, self._stem(work.item)), work.kept, before
            )
        finally:
            self._unsaved.release()
        work.error = work.kept.error
        await self._desk.saved(work.item, work.kept)
        if self._saver.refusal is not None:
            self._stop(StopReason(reason=str(self._saver.refusal), exit_code=SOME_FAILED))

    def _consider(self, work: RunningItem, error: AioweryError) -> None:
        """Stop submitting if this error would meet all that follows too."""
        if isinstance(error, LedgerError) and not self._is_unsent(work):
            return  # it is about what has been sent before
        for kind, (words, exit_code) in _REFUSALS.items():
            if isinstance(error, kind):
                self._stop(StopReason(reason=f"{words}: {error}", exit_code=exit_code))

    def _stop(self, stop: StopReason, *, overrules: bool = False) -> None:
        if self.stopped is None:
            self._progress.write(f"Nothing more is submitted: {stop.reason}")
            self._client.stop_submitting()
        if self.stopped is None or overrules:
            self.stopped = stop

    async def _cut_off(self, working: asyncio.Task[None]) -> None:
        """Leave at once: no item goes on, and each keeps the ids that are known."""
        if self.stopped is None:
            self._stop(_INTERRUPTED)
        works = tuple(self._under_way.values())
        for work in works:
            work.post = self._client.pending_submission(work.request)
        await asyncio.sleep(0)  # a turn of the loop for those who are turned away, and whose POST has just ended
        tasks = (working, *self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        cut_off = [work for work in works if work.cut_off]
        await self._find(work for work in cut_off if work.job is None)
        for work in cut_off:
            self._conclude(work)

    async def _find(self, works: Iterable[RunningItem]) -> None:
        """Wait for submissions that were just being sent: a moment brings their ids, or why there are none."""
        posts = {work.post: work for work in works if work.post is not None}
        if not posts:
            return
        ended, _ = await asyncio.wait(posts, timeout=_GRACE)
        for post in ended:
            work = posts[post]
            try:
                self._accepted(work, post.result())
            except AioweryError as error:
                work.error, work.cut_off = error, False
            except asyncio.CancelledError:  # it was back in line
                work.post = None

    def _conclude(self, work: RunningItem) -> None:
        """Make the record of an item that has come to its end."""
        if work.error is not None:
            self._consider(work, work.error)
        job, result = work.job, work.result
        self._end(
            _record(
                work.item,
                self._status_of(work),
                task_ids=_task_ids(job, work.error),
                files=tuple(work.kept.files),
                covers=work.kept.covers,
                urls=tuple(work.kept.urls),
                credits=None if job is None else job.credits,
                facts={} if result is None else result.metadata,
                seconds=_seconds(job, result),
                failures=() if result is None else tuple(shot.reason or "no reason given" for shot in result.failures),
                problem=work.error and ItemError.of(work.error),
            )
        )

    def _status_of(self, work: RunningItem) -> ItemStatus:
        if work.cut_off:
            return self._status_of_cut_off(work)
        if work.error is None:
            return ItemStatus.DONE
        if isinstance(work.error, SubmissionInDoubt):
            return ItemStatus.IN_DOUBT
        unsent = self.stopped is not None and self._is_unsent(work)
        return ItemStatus.NOT_SUBMITTED if unsent or isinstance(work.error, ValidationRefused) else ItemStatus.FAILED

    def _is_unsent(self, work: RunningItem) -> bool:
        """Return whether an item's error means that it was not sent, and has cost nothing."""
        if work.job is not None or not isinstance(work.error, _UNSENT):
            return False
        return (
            not isinstance(work.error, LedgerError)
            or self._desk.is_owned_elsewhere(work.item) is ItemStatus.NOT_SUBMITTED
        )

    def _status_of_cut_off(self, work: RunningItem) -> ItemStatus:
        """Return what became of an item that was left; what was looked up, uploaded or in line has cost nothing."""
        if work.job is not None:
            return ItemStatus.INTERRUPTED
        return self._desk.is_owned_elsewhere(work.item) if work.post is None else ItemStatus.IN_DOUBT

    def _end(self, record: Record) -> None:
        self._records[record.index] = record
        self._note(lambda: self._journal.ended(record))
        self._progress.ended(record)

    def _note(self, write: Callable[[], None]) -> None:
        """Write in the journal; when that fails, submit nothing more, and leave the room to the journal."""
        try:
            write()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the other items still get their records
            reason = f"cannot write the manifest: {getattr(fault, 'strerror', None) or fault}"
            self._stop(StopReason(reason=reason, exit_code=SOME_FAILED))
            self._saver.refusal = DownloadError(f"not saved ({reason}); the url still holds the output")

    async def _tick(self, total: int) -> None:
        while True:
            self._progress.tick(self._line(total))
            await asyncio.sleep(_TICK)

    def _line(self, total: int) -> QueueTimes | None:
        """Return how the line stands where one task follows the other; elsewhere the speed so far says more."""
        lane = self._client.statistics().queue
        left = total - len(self._records)
        in_lane = lane.waiting + lane.in_use
        ends_in = lane.ends_in(max(0, left - in_lane))
        if self._client.limits.in_flight > 1 or ends_in is None:
            return None
        return QueueTimes(next_in=0.0 if lane.in_use else lane.paused_for, ends_in=ends_in if left else 0.0)


def _record(item: InputItem, fate: ItemStatus, **facts: Any) -> Record:
    request = item.request
    return Record(
        index=item.index,
        line=item.line,
        prompt="" if request is None else prompt_of(request),
        request=None if request is None else to_dict(request),
        notes=item.notes,
        status=fate,
        **facts,
    )


def _faulty_line(item: InputItem) -> ItemError:
    return ItemError(kind=ConfigurationError.__name__, message=item.fault or "")


def _task_ids(job: Job[Any] | None, error: AioweryError | None) -> tuple[str, ...]:
    """Return the tasks of a job, or those that the provider has named for what is in doubt."""
    if job is not None:
        return job.task_ids
    return error.task_ids if isinstance(error, SubmissionInDoubt) else ()


def _seconds(job: Job[Any] | None, result: Result | None) -> float | None:
    if result is not None:
        return result.seconds
    return None if job is None else job.age
