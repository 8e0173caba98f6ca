"""The run of many items: submit, wait and save each one, and make one record per item.

Submitting stops early after an interrupt, after a refusal that all later items would get, and when results cannot be
saved. Items that were submitted before are still waited for and saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from aiowery import Job, Result, SubmissionsPaused
from aiowery._client.client import Client
from aiowery._core.events import log
from aiowery.cli.exit_codes import IN_DOUBT, SOME_FAILED
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.output.progress import Progress, QueueTimes
from aiowery.cli.records import ItemStatus, Record, ValidationRefused
from aiowery.cli.run.job_source import JobSource
from aiowery.cli.run.manifest import ManifestWriter
from aiowery.cli.run.running_item import RunningItem, record_of, record_of_faulty_line
from aiowery.cli.run.saver import Saver
from aiowery.cli.run.stop_reason import BY_SIGNAL, UNSENT_ERRORS, StopReason, is_foreign, stop_reason_of
from aiowery.errors import AioweryError, DownloadError, LedgerError, NotSent, SubmissionInDoubt

_MAX_UNSAVED: Final = 16
_TICK: Final = 1.0
_POST_GRACE: Final = 1.0
_MAX_FAILED_PROBES: Final = 3

Stem = Callable[[InputItem], str]
OnResult = Callable[[Result], None]


class ItemRunner:
    """A runner that takes items through an open client, a bounded number at a time.

    Results are saved while further items are generated. At most 16 results wait to be saved. Every item gets exactly
    one record. `job_source` turns items into jobs. `on_result` receives every result.
    """

    def __init__(
        self,
        client: Client,
        out: Path | None,
        *,
        stem: Stem,
        manifest: ManifestWriter,
        progress: Progress,
        job_source: JobSource,
        on_result: OnResult = lambda _: None,
    ) -> None:
        self._client = client
        self._saver = Saver(client, out)
        self._job_source = job_source
        self._on_result = on_result
        self._stem = stem
        self._manifest = manifest
        self._progress = progress
        self._slots = asyncio.Semaphore(client.limits.in_flight + client.limits.submissions)
        self._unsaved = asyncio.Semaphore(_MAX_UNSAVED)
        self._leaving = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], RunningItem] = {}
        self._records: dict[int, Record] = {}
        self.stopped: StopReason | None = None

    async def finish(self, items: Sequence[InputItem]) -> tuple[Record, ...]:
        """Return the items' records in input order when every item has one."""
        await self._job_source.open(items)
        self._progress.start(len(items), self._job_source.done_before())
        working = asyncio.create_task(self._run_all(items))
        ticking = asyncio.create_task(self._tick(len(items)))
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            else:
                await self._abandon(working)
        finally:
            for task in (working, ticking, leaving):
                task.cancel()
            await asyncio.gather(working, ticking, leaving, return_exceptions=True)
        for item in items:
            if item.index not in self._records:
                self._add_record(record_of(item, self._job_source.unprocessed_status(item)))
        return tuple(self._records[item.index] for item in items)

    def interrupt(self) -> None:
        """Submit nothing more, and wait for the items that were submitted."""
        self._stop(BY_SIGNAL, overrules=True)
        sent = sum(running.job is not None for running in self._under_way.values())
        sent += self._client.statistics().queue.submitting
        self._progress.write(f"Waiting for the {sent} that were submitted. Ctrl-C again ends the run immediately.")

    def on_paused(self, event: SubmissionsPaused) -> None:
        """Submit nothing more if the third probe has failed."""
        if event.failed_probes >= _MAX_FAILED_PROBES:
            self._stop(StopReason(reason=f"{event.failed_probes} probes failed: {event.reason}", exit_code=IN_DOUBT))

    def leave(self) -> None:
        """Stop waiting. The records keep the task ids."""
        self._leaving.set()

    async def _run_all(self, items: Sequence[InputItem]) -> None:
        for item in items:
            if item.request is None:
                self._add_record(record_of_faulty_line(item))
                continue
            await self._slots.acquire()
            if self.stopped is not None and self._job_source.unprocessed_status(item) is ItemStatus.NOT_SUBMITTED:
                self._slots.release()
                continue
            running = RunningItem(item, item.request)
            task = asyncio.create_task(self._run_item(running))
            self._under_way[task] = running
            task.add_done_callback(self._under_way.pop)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _run_item(self, running: RunningItem) -> None:
        """Take an item to its record. If it is cancelled, `_abandon` makes the record."""
        try:
            await self._generate(running)
            if running.result is not None:
                await self._save(running, running.result)
        except AioweryError as error:
            running.error = error
        except asyncio.CancelledError:
            running.abandoned = True
            return
        except Exception as fault:  # noqa: BLE001 - an unexpected error of one item must not lose the remaining items
            log.exception("line %d: unexpected error", running.item.line)
            running.error = AioweryError(f"{type(fault).__name__}: {fault}; please report this")
        self._finish_item(running)

    async def _generate(self, running: RunningItem) -> None:
        """Submit and wait, and release the slot when there is room to save the result."""
        try:
            job = await self._acquire_job(running)
            self._on_accepted(running, job)
            running.result = await job.wait()
            running.saved.urls = list(running.result.urls)
            self._on_result(running.result)
            await self._unsaved.acquire()
        finally:
            self._slots.release()

    async def _acquire_job(self, running: RunningItem) -> Job[Any]:
        """Return the item's job. While another process works on it, further items can run."""
        while (job := await self._job_source.job(running.item)) is None:
            self._slots.release()
            try:
                await asyncio.sleep(_TICK)
            finally:
                await self._slots.acquire()
            if self.stopped is not None:
                raise NotSent("another process works on it; nothing was sent from here")
        return job

    def _on_accepted(self, running: RunningItem, job: Job[Any]) -> None:
        running.job = job
        if job.done:  # finished by an earlier run
            return
        self._write_manifest(lambda: self._manifest.add_accepted(running.item.index, job.task_ids))
        self._progress.show_accepted(running.item.index, job)

    async def _save(self, running: RunningItem, result: Result) -> None:
        """Save the item's outputs. If the disk refuses them, stop the run."""
        item = running.item
        try:
            earlier = self._job_source.earlier_files(item)
            stem = self._job_source.stem(item, self._stem(item))
            await self._saver.save(running.request, result, stem, running.saved, earlier)
        finally:
            self._unsaved.release()
        running.error = running.saved.error
        await self._job_source.record_files(item, running.saved)
        if self._saver.disk_error is not None:
            self._stop(StopReason(reason=str(self._saver.disk_error), exit_code=SOME_FAILED))

    def _stop_if_fatal(self, running: RunningItem, error: AioweryError) -> None:
        """Stop submitting if this error would repeat for all later items."""
        if isinstance(error, LedgerError) and not self._is_unsent(running):
            return  # the error concerns a request that an earlier run has sent
        if (stop := stop_reason_of(error)) is not None:
            self._stop(stop)

    def _stop(self, stop: StopReason, *, overrules: bool = False) -> None:
        if self.stopped is None:
            self._progress.write(f"Nothing more is submitted: {stop.reason}")
            self._client.stop_submitting()
        if self.stopped is None or overrules:
            self.stopped = stop

    async def _abandon(self, working: asyncio.Task[None]) -> None:
        """Cancel all items, and record each with the task ids that it has so far."""
        if self.stopped is None:
            self._stop(BY_SIGNAL)
        under_way = tuple(self._under_way.values())
        for running in under_way:
            running.pending_post = self._client.pending_submission(running.request)
        await asyncio.sleep(0)  # one iteration, so that rejected requests and finished POSTs are handled first
        tasks = (working, *self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        abandoned = [running for running in under_way if running.abandoned]
        await self._await_pending_posts(running for running in abandoned if running.job is None)
        for running in abandoned:
            self._finish_item(running)

    async def _await_pending_posts(self, items: Iterable[RunningItem]) -> None:
        """Wait up to a second for submissions that are being sent, to get their task ids or their errors."""
        posts = {running.pending_post: running for running in items if running.pending_post is not None}
        if not posts:
            return
        finished, _ = await asyncio.wait(posts, timeout=_POST_GRACE)
        for post in finished:
            running = posts[post]
            try:
                self._on_accepted(running, post.result())
            except AioweryError as error:
                running.error, running.abandoned = error, False
            except asyncio.CancelledError:  # the submission had returned to the queue
                running.pending_post = None

    def _finish_item(self, running: RunningItem) -> None:
        """Make the record of a finished item."""
        if running.error is not None:
            self._stop_if_fatal(running, running.error)
        self._add_record(running.record(self._status_of(running)))

    def _status_of(self, running: RunningItem) -> ItemStatus:
        if running.abandoned:
            return self._status_of_abandoned(running)
        if running.error is None:
            return ItemStatus.DONE
        if isinstance(running.error, SubmissionInDoubt):
            return ItemStatus.IN_DOUBT
        unsent = (self.stopped is not None and self._is_unsent(running)) or self._is_new_again(running)
        return ItemStatus.NOT_SUBMITTED if unsent or isinstance(running.error, ValidationRefused) else ItemStatus.FAILED

    def _is_new_again(self, running: RunningItem) -> bool:
        """Return True if something in between has refused the item, which the next run sends again."""
        return running.job is None and is_foreign(running.error) and self._is_unsent_in_ledger(running)

    def _is_unsent_in_ledger(self, running: RunningItem) -> bool:
        return self._job_source.unprocessed_status(running.item) is ItemStatus.NOT_SUBMITTED

    def _is_unsent(self, running: RunningItem) -> bool:
        """Return True if the item's error shows that it was not sent and has cost nothing."""
        if running.job is not None or not isinstance(running.error, UNSENT_ERRORS):
            return False
        return not isinstance(running.error, LedgerError) or self._is_unsent_in_ledger(running)

    def _status_of_abandoned(self, running: RunningItem) -> ItemStatus:
        """Return the status of an abandoned item. In a check, an upload or the queue it has cost nothing."""
        if running.job is not None:
            return ItemStatus.INTERRUPTED
        if running.pending_post is not None:
            return ItemStatus.IN_DOUBT
        return self._job_source.unprocessed_status(running.item)

    def _add_record(self, record: Record) -> None:
        self._records[record.index] = record
        self._write_manifest(lambda: self._manifest.add_record(record))
        self._progress.show_record(record)

    def _write_manifest(self, write: Callable[[], None]) -> None:
        """Write to the manifest. If that fails, submit and save nothing more, so that the manifest has the space."""
        try:
            write()
        except Exception as fault:  # noqa: BLE001 - after any error, the remaining items still get their records
            reason = f"cannot write the manifest: {getattr(fault, 'strerror', None) or fault}"
            self._stop(StopReason(reason=reason, exit_code=SOME_FAILED))
            self._saver.disk_error = DownloadError(f"not saved ({reason}); the URL still holds the output")

    async def _tick(self, total: int) -> None:
        while True:
            self._progress.tick(self._queue_times(total))
            await asyncio.sleep(_TICK)

    def _queue_times(self, total: int) -> QueueTimes | None:
        """Return the queue's times if tasks run one at a time, else None: the rate so far predicts better then."""
        queue = self._client.statistics().queue
        left = total - len(self._records)
        in_queue = queue.waiting + queue.in_use
        ends_in = queue.ends_in(max(0, left - in_queue))
        if self._client.limits.in_flight > 1 or ends_in is None:
            return None
        return QueueTimes(next_in=0.0 if queue.in_use else queue.paused_for, ends_in=ends_in if left else 0.0)
