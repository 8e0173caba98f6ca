"""The tasks that belong to a submission already: no other submission may have them too.

A response on a connection that another response has disturbed, or out of a proxy's cache, may be that of an earlier
submission. Its task ids show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aiowery._core.events import log
from aiowery._core.request import Request
from aiowery._jobs.job import Job
from aiowery._jobs.registry import JobRegistry
from aiowery._journal.journal import SubmissionJournal


class KnownTasks:
    """The tasks of jobs in memory, of ledger entries, and of submissions that are being accepted at this moment.

    Equal ids of a provider at another URL do not count.
    """

    def __init__(self, registry: JobRegistry, journal: SubmissionJournal[Job[Any]]) -> None:
        self._registry = registry
        self._ledger = journal.ledger
        self._base_url = journal.base_url
        self._being_accepted: dict[str, int] = {}

    def in_memory(self, request: Request[Any], entry_id: int, task_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of these tasks that a job, or an acceptance for another entry, has.

        The task that the request itself names is its own: a podcast's second step goes on with that of its first.
        """
        named = getattr(request, "task_id", None)
        return tuple(task_id for task_id in task_ids if task_id != named and self._is_in_memory(task_id, entry_id))

    async def in_ledger(self, request: Request[Any], entry_id: int | None, task_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of these tasks that a ledger entry other than this one has. Raises what the ledger raises."""
        named = getattr(request, "task_id", None)
        return tuple([one for one in task_ids if one != named and await self._is_in_ledger(one, entry_id)])

    async def accept(self, request: Request[Any], entry_id: int, task_ids: Sequence[str]) -> tuple[str, ...]:
        """Reserve the tasks of an acceptance for its entry, until `end_acceptance`.

        Return those that belong to another submission. A direct call has none: its id is that of a response.
        """
        if request.direct_timeout is not None:
            return ()
        others = self.in_memory(request, entry_id, task_ids)
        # Reserved before the ledger is read: another acceptance may be checked meanwhile.
        self._being_accepted.update(dict.fromkeys((one for one in task_ids if one not in others), entry_id))
        try:
            return others or await self.in_ledger(request, entry_id, task_ids)
        except Exception as fault:  # noqa: BLE001 - a ledger of the caller's own may raise anything, and the tasks are paid
            log.warning("%s: the ledger cannot be searched for %s: %s", request.label, ", ".join(task_ids), fault)
            return ()

    def end_acceptance(self, entry_id: int, task_ids: Iterable[str]) -> None:
        """Forget the reservation: the tasks have a job, or their submission is in doubt."""
        for task_id in task_ids:
            if self._being_accepted.get(task_id) == entry_id:
                del self._being_accepted[task_id]

    def _is_in_memory(self, task_id: str, entry_id: int) -> bool:
        return self._being_accepted.get(task_id, entry_id) != entry_id or bool(self._registry.jobs_of(task_id))

    async def _is_in_ledger(self, task_id: str, entry_id: int | None) -> bool:
        for other_id in await self._ledger.entries_with_task(task_id):
            if other_id != entry_id:
                entry = await self._ledger.entry(other_id)
                if entry is not None and entry.base_url == self._base_url:
                    return True
        return False
