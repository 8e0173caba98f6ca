"""The tasks that belong to a submission already: no other submission may have them too.

A response on a connection that another response has disturbed, or out of a proxy's cache, may be that of an earlier
submission. Its task ids show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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

    def exclusive(self, request: Request[Any], task_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of a submission's tasks that no other may have: all but the task that its request names.

        A direct call has none: its id is that of a response.
        """
        named = named_task(request)
        return () if request.direct_timeout is not None else tuple(one for one in task_ids if one != named)

    def in_memory(self, entry_id: int, task_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of these tasks that a job, or an acceptance for another entry, has."""
        return tuple(task_id for task_id in task_ids if self._is_in_memory(task_id, entry_id))

    async def in_ledger(self, task_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of these tasks that a ledger entry has. Raises what the ledger raises."""
        return tuple([task_id for task_id in task_ids if await self._is_in_ledger(task_id)])

    def reserve(self, entry_id: int, task_ids: Iterable[str]) -> None:
        """Reserve the tasks of an acceptance for its entry until `release`: another may be checked meanwhile."""
        self._being_accepted.update(dict.fromkeys(task_ids, entry_id))

    def release(self, entry_id: int) -> None:
        """End the reservation of an entry, if it has one: its tasks have a job, or the submission is in doubt."""
        for task_id in [one for one, reserved_by in self._being_accepted.items() if reserved_by == entry_id]:
            del self._being_accepted[task_id]

    def _is_in_memory(self, task_id: str, entry_id: int) -> bool:
        return self._being_accepted.get(task_id, entry_id) != entry_id or bool(self._registry.jobs_of(task_id))

    async def _is_in_ledger(self, task_id: str) -> bool:
        for entry_id in await self._ledger.entries_with_task(task_id):
            entry = await self._ledger.entry(entry_id)
            if entry is not None and entry.base_url == self._base_url:
                return True
        return False


def named_task(request: Request[Any]) -> str | None:
    """Return the task that a request itself names: a podcast's second step names the task of its first."""
    task_id: str | None = getattr(request, "task_id", None)
    return task_id
