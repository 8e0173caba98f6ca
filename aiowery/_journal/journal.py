"""The submission journal of an open client: one ledger record per submission."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Coroutine, Hashable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from aiowery._core.durations import Interval
from aiowery._core.events import log
from aiowery._core.job_end import JobEnd
from aiowery._core.request import Request
from aiowery._core.request_types import to_dict
from aiowery._journal.claims import EntryClaims
from aiowery._journal.record import SubmissionRecord
from aiowery._journal.serialization import duration_kind, durations_at
from aiowery._journal.spending import Hold, Spending, price_key
from aiowery._journal.writes import LedgerWrites
from aiowery.errors import SubmissionInDoubt
from aiowery.ledger import NO_BATCH, Duration, Entry, Ledger, NewEntry, State, hash_request

JobT = TypeVar("JobT")

_SWEEP_INTERVAL: Final = 2.0
_MAX_IN_DOUBT: Final = 1000
_NO_REQUEST: Final[Mapping[str, Any]] = {}


class SubmissionJournal(Generic[JobT]):
    """A journal that opens a record for each submission, stores its end, and closes once everything is written.

    `owns_ledger` is False for a ledger that the caller opens and closes. `JobT` is the type of the job that belongs to
    an entry; the journal only keeps a reference to it.
    """

    def __init__(self, ledger: Ledger, base_url: str, spending: Spending, *, owns_ledger: bool) -> None:
        self.ledger: Ledger = ledger
        self.base_url: str = base_url
        self.spending: Spending = spending
        self.durations: dict[Hashable, list[Interval]] = {}
        self._writes = LedgerWrites()
        self.claims: EntryClaims = EntryClaims(ledger, self._writes)
        self._owns_ledger = owns_ledger
        self._jobs_by_entry: dict[int, JobT | None] = {}
        self._unwritten_entries: set[int] = set()
        self._in_doubt: dict[int, SubmissionRecord] = {}
        self._swept_at = float("-inf")
        self._context = contextvars.copy_context()

    async def open(self) -> None:
        """Open the ledger, recover the entries of ended processes, and read the durations of earlier jobs."""
        if self._owns_ledger:
            await self.ledger.open()
        await self.sweep_abandoned()
        self.durations = durations_at(self.base_url, await self.ledger.durations())

    async def aclose(self) -> None:
        """Finish writing, and close the ledger."""
        self.claims.release_all()
        await self._writes.wait()
        await self.abandon()

    async def abandon(self) -> None:
        """Close the ledger as it is; other processes may take what this client still owns."""
        if self._owns_ledger:
            await self.ledger.aclose()

    async def sweep_abandoned(self) -> None:
        """Recover the entries of processes that have ended; at most once every two seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._swept_at + _SWEEP_INTERVAL:
            return
        self._swept_at = now
        if doubts := await self.ledger.recover_abandoned():
            log.warning("%d submissions of ended processes are in doubt", doubts)

    async def open_record(
        self, request: Request[Any], entry_id: int | None, submission_id: str, budget: float | None, probe: str | None
    ) -> SubmissionRecord:
        """Return the record of a claimed entry, or of a new one for a request of no batch.

        `probe` is the price group for which this submission is the price probe, if it is one.
        """
        hold = await self.spending.hold_for(request, budget)
        in_batch = entry_id is not None
        if entry_id is None:
            (entry,) = await self.ledger.add(NO_BATCH, [self._plain_entry(request)], claim=True)
            entry_id = entry.id
        self._jobs_by_entry[entry_id] = None
        return SubmissionRecord(self.ledger, entry_id, submission_id, hold, in_batch=in_batch, price_group=probe)

    def _plain_entry(self, request: Request[Any]) -> NewEntry:
        """Return the entry of a request of no batch; a ledger that forgets finished entries stores no request."""
        if self.ledger.keeps_finished:
            return new_entry(request, self.base_url)
        key = price_key(request, self.base_url) if self.spending.account.budget is not None else ""
        return NewEntry(key="", index=0, request=_NO_REQUEST, base_url=self.base_url, price_key=key)

    def attach_job(self, record: SubmissionRecord, job: JobT) -> None:
        """Store the job of a record's entry."""
        self._jobs_by_entry[record.entry_id] = job

    def limit_price_wait(self, record: SubmissionRecord, seconds: float) -> None:
        """Let requests of the same price group wait at most so many seconds for the price that this record probes."""
        if record.price_group is not None:
            loop, end = asyncio.get_running_loop(), partial(self._end_probe, record, without_price=True)
            loop.call_later(seconds, end, context=self._context)

    def watch_entry(self, entry_id: int, job: JobT) -> SubmissionRecord:
        """Return the record of an entry that was accepted earlier, or that was in doubt until now."""
        record = self._in_doubt.pop(entry_id, None)
        if record is None:
            record = SubmissionRecord(self.ledger, entry_id, "", Hold(self.spending.account), in_batch=True)
        self.attach_job(record, job)
        return record

    async def mark_lost(self, entry: Entry) -> None:
        """Put a submission of this client in doubt, because its outcome could not be written."""
        await self.ledger.mark_in_doubt(entry.submission_id or "", "its outcome could not be written to the ledger")
        self._unwritten_entries.discard(entry.id)

    def is_lost(self, entry: Entry) -> bool:
        """Return True if this process is the entry's owner in the ledger, but no submission or job of it exists.

        Clients may share a ledger that the caller opened. For such a ledger, only a failed write of this client counts.
        """
        if entry.owner != self.ledger.owner or entry.id in self._jobs_by_entry:
            return False
        return self._owns_ledger or entry.id in self._unwritten_entries

    def is_open(self, entry_id: int) -> bool:
        """Return True if this client is sending the entry, or polls its job."""
        return entry_id in self._jobs_by_entry

    def job_of(self, entry_id: int) -> JobT | None:
        """Return the job of an entry, if this client polls it."""
        return self._jobs_by_entry.get(entry_id)

    async def record_failure(self, record: SubmissionRecord, error: BaseException) -> None:
        """Write the reason why there is no job, even if the caller is cancelled."""
        await asyncio.shield(self._write(self._record_failure(record, error)))

    def record_end(self, record: SubmissionRecord, end: JobEnd) -> None:
        """Write a job's end in the background."""
        duration = None
        if end.interval is not None:
            duration = Duration(duration_kind(self.base_url, end.timing_key), *end.interval)
        self._write(self._record_end(record, end, duration))

    def disown(self, record: SubmissionRecord) -> None:
        """Give up the entry of a batch, so that another process may poll its job, because this client has stopped."""
        self._end_probe(record, without_price=True)
        self._write(self.ledger.give_up_ownership(record.entry_id))

    def forget(self, record: SubmissionRecord) -> None:
        """Forget a job that has not ended; a ledger that keeps no finished entries forgets its entry too."""
        self._close(record)
        if not self.ledger.keeps_finished:
            self._write(self.ledger.mark_finished(record.entry_id, State.FAILED))

    async def _record_failure(self, record: SubmissionRecord, error: BaseException) -> None:
        try:
            await record.mark_failed(error)
        except Exception:
            record.is_unwritten = True
            raise
        finally:
            self._close(record)
            self._end_probe(record)
            if isinstance(error, SubmissionInDoubt):
                self._keep_in_doubt(record)

    def _end_probe(self, record: SubmissionRecord, *, without_price: bool = False) -> None:
        """End the price probe of this record, if it is one."""
        price_group, record.price_group = record.price_group, None
        self.spending.probe.release(price_group, without_price=without_price)

    def _keep_in_doubt(self, record: SubmissionRecord) -> None:
        """Keep the record of a submission in doubt: once the doubt is resolved, the charge replaces the hold."""
        self._in_doubt[record.entry_id] = record
        if len(self._in_doubt) > _MAX_IN_DOUBT:
            del self._in_doubt[next(iter(self._in_doubt))]

    async def _record_end(self, record: SubmissionRecord, end: JobEnd, duration: Duration | None) -> None:
        try:
            await record.mark_finished(end, duration)
        finally:
            self._close(record)
            # A failed job does not show the price, so the next request of its group becomes a probe too.
            self._end_probe(record, without_price=end.error is None and end.credits is None)

    def _close(self, record: SubmissionRecord) -> None:
        """Close a record; remember its entry if the ledger lacks its outcome."""
        self._jobs_by_entry.pop(record.entry_id, None)
        if record.is_unwritten:
            self._unwritten_entries.add(record.entry_id)

    def _write(self, write: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._writes.start(write)


def new_entry(request: Request[Any], base_url: str, index: int = 0, *, contents: bool = False) -> NewEntry:
    """Return the entry of a request with a new key; it includes the `contents` of files if it is sent later."""
    plain = to_dict(request, contents=False)
    return NewEntry(
        key=secrets.token_hex(16),
        index=index,
        request=to_dict(request) if contents else plain,
        base_url=base_url,
        request_hash=hash_request(plain),
        price_key=price_key(request, base_url),
    )
