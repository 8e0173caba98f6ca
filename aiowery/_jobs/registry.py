"""The jobs of an open client: those under way, and finished ones whose result was not received."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from aiowery._base.snapshot import TaskState
from aiowery._jobs.job import Job

_MAX_UNCOLLECTED: Final = 1000


class JobRegistry:
    """A registry of jobs, with counts of finished and failed ones.

    It keeps at most 1,000 finished jobs whose result was not received.
    """

    def __init__(self) -> None:
        self.finished: int = 0
        self.failed: int = 0
        self._under_way: set[Job[Any]] = set()
        self._uncollected: OrderedDict[Job[Any], None] = OrderedDict()
        self._by_task: dict[str, tuple[Job[Any], ...]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs under way, and the finished ones whose result was not received."""
        return (*self._under_way, *self._uncollected)

    def jobs_of(self, task_id: str) -> tuple[Job[Any], ...]:
        """Return the jobs, of those that `jobs` returns, that have this task."""
        return self._by_task.get(task_id, ())

    def add(self, job: Job[Any]) -> None:
        """Add a job that is polled, for the first time or again."""
        if job in self._uncollected:
            del self._uncollected[job]
        elif job not in self._under_way:
            for task_id in job.task_ids:
                self._by_task[task_id] = (*self.jobs_of(task_id), job)
        self._under_way.add(job)

    def collect(self, job: Job[Any]) -> None:
        """Forget a finished job, because its result was received."""
        if job in self._uncollected:
            del self._uncollected[job]
            self._forget_tasks(job)

    def end(self, job: Job[Any]) -> Job[Any] | None:
        """Count a job that has finished or exceeded its timeout; return the oldest uncollected job if it is dropped."""
        if job.done:
            self.finished += job.state is TaskState.DONE
            self.failed += job.state is not TaskState.DONE
        self._under_way.discard(job)
        self._uncollected[job] = None
        if len(self._uncollected) <= _MAX_UNCOLLECTED:
            return None
        dropped, _ = self._uncollected.popitem(last=False)
        self._forget_tasks(dropped)
        return dropped

    def _forget_tasks(self, job: Job[Any]) -> None:
        for task_id in job.task_ids:
            others = tuple(other for other in self.jobs_of(task_id) if other is not job)
            if others:
                self._by_task[task_id] = others
            else:
                self._by_task.pop(task_id, None)
