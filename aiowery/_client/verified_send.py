"""Send a submission once, and find out what a response without a clear acceptance means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import attrs

from aiowery._base.text import some_of
from aiowery._client.in_doubt import DoubtResolver
from aiowery._client.paid_send import send_paid
from aiowery._client.submission import Submission
from aiowery._core.codec import named_ids
from aiowery._core.events import log
from aiowery._core.failures import ReturnedUnread, concerns_all
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Accepted
from aiowery._http.provider_api import ProviderApi
from aiowery._http.retry import IsWanted
from aiowery._jobs.poller import JobPoller
from aiowery._journal.record import SubmissionRecord
from aiowery._queue.submission_queue import Ticket
from aiowery.errors import APIError, RateLimited, SubmissionInDoubt

_PROOF_ROUNDS: Final = 2


@attrs.frozen
class _SubmittedTasks:
    """The tasks that the responses to a submission name. `responses` holds these responses, the latest last."""

    resolver: DoubtResolver
    submission: Submission[Any]
    record: SubmissionRecord
    responses: Sequence[HttpResponse]

    async def record_accepted(self, accepted: Accepted) -> None:
        """Record an acceptance, whose tasks stay reserved for its entry.

        Raises UnexpectedResponse for tasks of another submission: the response may be one to that submission.
        """
        known_tasks, entry_id = self.resolver.known_tasks, self.record.entry_id
        exclusive = known_tasks.exclusive(self.submission.request, accepted.task_ids)
        others = known_tasks.in_memory(entry_id, exclusive)
        if not others:
            known_tasks.reserve(entry_id, exclusive)
            others = await self.record.mark_accepted(accepted, exclusive)
        if not others:
            return
        response = self.responses[-1]
        what = f"accepted with {some_of(others)}, of another submission"
        error = response.unexpected(what, "$: new task ids are expected", response.json_or_none(), accepted.request_id)
        error.task_ids = named_ids(accepted.task_ids)
        raise error

    async def record_named(self, task_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Record tasks that a response without acceptance names, and return those that are not known."""
        return await self.resolver.record_named(
            self.submission.submission_id, self.record.entry_id, self.submission.request, task_ids
        )


class VerifiedSender:
    """A sender of paid submissions that reports each outcome to the queue's circuit breaker."""

    def __init__(self, api: ProviderApi, resolver: DoubtResolver, poller: JobPoller) -> None:
        self._api = api
        self._provider = api.provider
        self._resolver = resolver
        self._poller = poller

    async def send(self, submission: Submission[Any], record: SubmissionRecord, is_wanted: IsWanted) -> Accepted:
        """Send once; accept the tasks that a rejection names if they prove to be this submission's.

        The circuit breaker counts whether the provider itself has responded.
        """
        ticket = submission.ticket
        try:
            accepted = await self._send_once(submission, record, is_wanted)
        except SubmissionInDoubt as doubt:
            task_ids = await self._prove_tasks(record, submission, doubt.task_ids)
            if not task_ids:
                _count_foreign(ticket, doubt.__cause__ or doubt)
                raise
            log.warning(
                "%s: refused (%s), but the provider started %s",
                submission.label,
                doubt.__cause__,
                some_of(task_ids),
                extra=submission.facts(task_ids=task_ids, request_id=doubt.request_id),
            )
            accepted = Accepted(task_ids=task_ids, request_id=doubt.request_id)
            await record.mark_accepted(accepted)
        except ReturnedUnread as error:
            _count_foreign(ticket, error)
            raise
        except APIError as error:
            if error.is_own:
                ticket.queue.breaker.record_clear(ticket)
            elif not isinstance(error, RateLimited):  # the queue pauses by itself, whichever hop is too busy
                _count_foreign(ticket, error)
            raise
        ticket.queue.breaker.record_clear(ticket)
        return accepted

    async def _send_once(
        self,
        submission: Submission[Any],
        record: SubmissionRecord,
        is_wanted: IsWanted,
    ) -> Accepted:
        request, ticket = submission.request, submission.ticket
        responses: list[HttpResponse] = []

        def decode(response: HttpResponse) -> Accepted:
            responses.append(response)
            return self._provider.decode_submission(request, response)

        return await send_paid(
            self._api.client,
            submission,
            decode,
            recorder=record,
            is_wanted=is_wanted,
            may_leave=partial(ticket.queue.breaker.allows, ticket),
            tasks=_SubmittedTasks(self._resolver, submission, record, responses),
        )

    async def _prove_tasks(
        self, record: SubmissionRecord, submission: Submission[Any], named: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the tasks that prove to be started by a rejected submission; () if they do not.

        They are checked twice, because a status may lag behind its task.
        """
        request = submission.request
        if not named or request.direct_timeout is not None:  # it starts no task that could be checked
            return ()
        try:
            for task_id in named:
                self._provider.status_request(task_id)  # raises if a task of this provider has no status
            for number in range(_PROOF_ROUNDS):
                if number:
                    await asyncio.sleep(self._poller.retry_round_delay(number - 1))
                if task_ids := await self._resolver.prove(record.entry_id, request):
                    return task_ids
        except Exception as fault:  # noqa: BLE001 - no error may turn a doubt into something that is sent again
            log.warning(
                "%s: the status of %s cannot be read: %s",
                submission.label,
                some_of(named),
                fault,
                extra=submission.facts(task_ids=named),
            )
        return ()


def _count_foreign(ticket: Ticket, error: BaseException) -> None:
    """Count a submission without a response of the provider's own for the circuit breaker."""
    ticket.queue.breaker.record_in_doubt(ticket, str(error), immediately=concerns_all(error))
