"""An item under way, and the record of a finished item."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from aiowery import Job, Request, Result
from aiowery._core.request_types import to_dict
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.requests import prompt_of
from aiowery.cli.input.user_terms import in_user_terms
from aiowery.cli.records import ItemError, ItemStatus, Record
from aiowery.cli.run.saver import SavedFiles
from aiowery.errors import AioweryError, ConfigurationError, SubmissionInDoubt


@attrs.define(eq=False)
class RunningItem:
    """An item between its start and its record.

    `abandoned` is set if the item was cancelled. `pending_post` is its submission, if that was being sent then.
    """

    item: InputItem
    request: Request[Any]
    job: Job[Any] | None = None
    result: Result | None = None
    saved: SavedFiles = attrs.field(factory=SavedFiles)
    error: AioweryError | None = None
    abandoned: bool = False
    pending_post: asyncio.Task[Job[Any]] | None = None

    def record(self, status: ItemStatus) -> Record:
        """Return the item's record with this status."""
        job, result = self.job, self.result
        return record_of(
            self.item,
            status,
            task_ids=self._task_ids,
            files=tuple(self.saved.files),
            covers=self.saved.covers,
            urls=self._urls,
            credits=None if job is None else job.credits,
            facts={} if result is None else result.metadata,
            seconds=self._seconds,
            failures=() if result is None else tuple(self._reason(task.reason) for task in result.failures),
            problem=self.error
            and attrs.evolve(ItemError.of(self.error), message=in_user_terms(str(self.error), type(self.request))),
        )

    def _reason(self, reason: str | None) -> str:
        return in_user_terms(reason, type(self.request)) if reason else "no reason given"

    @property
    def _urls(self) -> tuple[str, ...]:
        """URLs of the outputs that are not saved: of the result, or of the tasks of a job without one."""
        if self.result is not None or self.job is None:
            return tuple(self.saved.urls)
        return tuple(dict.fromkeys(asset.url for task in self.job.snapshots for asset in task.assets))

    @property
    def _task_ids(self) -> tuple[str, ...]:
        """Task ids of the job, or those that the provider reported for a submission in doubt."""
        if self.job is not None:
            return self.job.task_ids
        return self.error.task_ids if isinstance(self.error, SubmissionInDoubt) else ()

    @property
    def _seconds(self) -> float | None:
        if self.result is not None:
            return self.result.seconds
        return None if self.job is None else self.job.age


def record_of(item: InputItem, status: ItemStatus, **facts: Any) -> Record:
    """Return the record of an item with this status and these further fields."""
    request = item.request
    return Record(
        index=item.index,
        line=item.line,
        prompt="" if request is None else prompt_of(request),
        request=None if request is None else to_dict(request),
        other_columns=item.other_columns,
        status=status,
        **facts,
    )


def record_of_faulty_line(item: InputItem) -> Record:
    """Return the record of a line that holds no valid request."""
    problem = ItemError(kind=ConfigurationError.__name__, message=item.fault or "")
    return record_of(item, ItemStatus.FAILED, problem=problem)
