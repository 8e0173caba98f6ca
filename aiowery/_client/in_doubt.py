"""Resolve submissions in doubt: find out which tasks they started, and adopt those."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiowery._base.text import some_of
from aiowery._client.known_tasks import KnownTasks, named_task
from aiowery._client.restore import JobRestorer
from aiowery._core.events import log
from aiowery._core.labels import Labels
from aiowery._core.request import Request
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs.job import Job
from aiowery._journal.journal import SubmissionJournal
from aiowery.errors import AioweryError, ConfigurationError, LedgerError
from aiowery.ledger import Entry, State

_MAX_REMEMBERED: Final = 1000
_MAX_DENIALS: Final = 5

RequestReader = Callable[[Mapping[str, Any]], Request[Any]]
"""Makes the request that a JSON object describes. Raises ConfigurationError for an object that describes none."""


class DoubtResolver:
    """A resolver of submissions in doubt, by the tasks that the provider named in a webhook delivery or a rejection.

    They are hints: each task's status is read, and the task is adopted if the provider knows it and it belongs to no
    other submission.
    """

    def __init__(
        self,
        api: ProviderApi,
        journal: SubmissionJournal[Job[Any]],
        known_tasks: KnownTasks,
        restorer: JobRestorer,
        read_request: RequestReader,
        labels: Labels,
    ) -> None:
        self._api = api
        self._journal = journal
        self._ledger = journal.ledger
        self.known_tasks: KnownTasks = known_tasks
        self._restorer = restorer
        self._read_request = read_request
        self._labels = labels
        self._requests: OrderedDict[int, Request[Any]] = OrderedDict()
        self._confirmed: dict[int, set[str]] = {}
        self._denied: Counter[tuple[int, str]] = Counter()
        self._lock = asyncio.Lock()

    def remember(self, entry_id: int, request: Request[Any]) -> None:
        """Remember the request of an entry, because the ledger in memory keeps no request outside a batch."""
        self._requests[entry_id] = request
        if len(self._requests) > _MAX_REMEMBERED:
            self._requests.popitem(last=False)

    async def record_named(
        self, submission_id: str, entry_id: int, request: Request[Any], task_ids: Sequence[str]
    ) -> tuple[str, ...]:
        """Record the tasks that a response names as hints of its submission, and return those that are not known.

        Known are the tasks of other submissions, and the one that the request itself names. If an id cannot be looked
        up or recorded, it is returned: what may have been charged must not be sent again.
        """
        known = {*self.known_tasks.in_memory(entry_id, task_ids), named_task(request)}
        new = tuple(task_id for task_id in task_ids if task_id not in known)
        try:
            known.update(await self.known_tasks.in_ledger(new))
            new = tuple(task_id for task_id in new if task_id not in known)
            for task_id in new:
                await self._ledger.record_delivery(submission_id, task_id, finished=False)
        except Exception as fault:  # noqa: BLE001 - a ledger of the caller's own may raise anything
            log.error(
                "%s: refused, and not recorded in the ledger: %s (%s)",
                self._label(entry_id, request),
                some_of(new),
                fault,
                extra={"entry_id": entry_id, "task_ids": new},
            )
        return new

    async def prove(self, entry_id: int, request: Request[Any]) -> tuple[str, ...]:
        """Return the proven tasks of a submission that is being sent; () if its hints prove none.

        Raises what the status checks and the ledger raise.
        """
        entry = await self._ledger.entry(entry_id)
        try:
            return () if entry is None else await self._prove(entry, await self.hints(entry.submission_id), request)
        finally:
            self._confirmed.pop(entry_id, None)

    async def hints(self, submission_id: str | None) -> tuple[str, ...]:
        """Return the tasks that the provider named for a submission; they prove nothing by themselves."""
        if submission_id is None:
            return ()
        deliveries = await self._ledger.deliveries(submission_id=submission_id)
        return tuple(delivery.task_id for delivery in deliveries)

    async def try_resolve(self, entry_id: int, request: Request[Any] | None = None) -> Job[Any] | None:
        """Return the job of an entry that was in doubt until now; None while its tasks are not proven."""
        async with self._lock:
            entry = await self._ledger.entry(entry_id)
            if entry is None or entry.state is not State.IN_DOUBT or entry.submission_id is None:
                return self._journal.job_of(entry_id)
            request = request or self._request_of(entry)
            if request is None or entry.base_url != self._journal.base_url:
                return None
            named = await self.hints(entry.submission_id)
            try:
                task_ids = await self._prove(entry, named, request)
            except LedgerError:
                raise
            except AioweryError as fault:  # a status check that failed proves nothing
                task_ids, reason = (), str(fault)
            else:
                reason = f"no proof of {request.task_count} tasks"
            if task_ids:
                return await self._adopt(entry_id, task_ids, request)
            if named:
                log.warning(
                    "%s: stays in doubt; the provider named %s (%s)",
                    self._label(entry_id, request),
                    some_of(named),
                    reason,
                    extra={"entry_id": entry_id, "task_ids": named},
                )
            return None

    async def _prove(self, entry: Entry, named: Sequence[str], request: Request[Any]) -> tuple[str, ...]:
        """Return the tasks that belong to an entry, if they are as many as its request starts; () if not.

        Adopting a part of the charged tasks would hide the rest.
        """
        if request.direct_timeout is not None:  # a direct call starts no task that could be checked
            return ()
        free = await self._unclaimed(entry, await self._confirmed_by_provider(entry, named, request), request)
        return tuple(free) if len(free) == request.task_count else ()

    def _label(self, entry_id: int, request: Request[Any]) -> str:
        return self._labels.of(request, f"entry {entry_id}")

    def _request_of(self, entry: Entry) -> Request[Any] | None:
        with contextlib.suppress(ConfigurationError):
            return self._requests.get(entry.id) or self._read_request(entry.request)
        return None

    async def _confirmed_by_provider(self, entry: Entry, named: Sequence[str], request: Request[Any]) -> list[str]:
        """Return the named tasks that exist at the provider, and whose status does not contradict the request.

        Each is checked until it exists, a few times at most, so that forged deliveries cause few status checks.
        """
        confirmed = self._confirmed.setdefault(entry.id, set())
        for task_id in named:
            if task_id in confirmed or self._denied[entry.id, task_id] >= _MAX_DENIALS:
                continue
            if await self._api.may_belong_to(request, task_id, entry.sent_at or 0.0):
                confirmed.add(task_id)
            else:
                self._denied[entry.id, task_id] += 1
        return [task_id for task_id in named if task_id in confirmed]

    async def _unclaimed(self, entry: Entry, known: Sequence[str], request: Request[Any]) -> list[str]:
        """Return the tasks that no other entry has, and that were named for no other submission.

        Adopting a task twice would hide a charge. Hints are written before they are read. If two submissions are
        resolved at the same time, also in two processes, at least one therefore sees the hints of the other.
        """
        elsewhere = (
            {
                delivery.task_id
                for delivery in await self._ledger.deliveries()
                if delivery.submission_id != entry.submission_id
            }
            if known
            else set()
        )
        unclaimed = []
        for task_id in known:
            is_taken = task_id in elsewhere or set(await self._ledger.entries_with_task(task_id)) - {entry.id}
            if not is_taken or task_id == named_task(request):
                unclaimed.append(task_id)
        return unclaimed

    async def _adopt(self, entry_id: int, task_ids: Sequence[str], request: Request[Any]) -> Job[Any] | None:
        try:
            await self._ledger.resolve_accepted(entry_id, task_ids)
        except LedgerError:
            current = await self._ledger.entry(entry_id)
            if current is None or current.state is State.IN_DOUBT:
                raise
            return None  # another process resolved it first
        log.warning(
            "%s: no longer in doubt, the provider named %s",
            self._label(entry_id, request),
            ", ".join(task_ids),
            extra={"entry_id": entry_id, "task_ids": tuple(task_ids)},
        )
        self._requests.pop(entry_id, None)
        self._confirmed.pop(entry_id, None)
        adopted = await self._ledger.entry(entry_id)
        return None if adopted is None else await self._restorer.resume(adopted, request)
