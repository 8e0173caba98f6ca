"""Sending: what may be repeated is repeated, what was paid for is not.

A read walks through `read`, a status check through `once` (the scheduler repeats it by itself), a submission
through `submit`, whose refusals and doubts the caller gets sorted.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import anyio

from aiowery._core.events import log
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.policies import Random, RetryPolicy
from aiowery._core.request import Accepted, Request
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import BeforeSend, HttpClient
from aiowery._queue.circuit_breaker import SubmissionHeld
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    BudgetExceeded,
    ConfigurationError,
    LedgerError,
    NotSent,
    RateLimited,
    ServerError,
    SubmissionInDoubt,
    TransportError,
    UnexpectedResponse,
)

T = TypeVar("T")
Decode = Callable[[HttpResponse], T]
Wanted = Callable[[], bool]
"""Tells, before a repeat, whether somebody still wants what is asked for."""
Named = Callable[[tuple[str, ...]], Awaitable[tuple[str, ...]]]
"""Keeps the task ids that a refusal holds, and returns those that belong to no task known before."""

_SERVER_ERRORS = 500
_SHOWN = 5


def _always() -> bool:
    return True


class SubmitFailure(enum.Enum):
    """What became of a submission that brought no ids."""

    UNSENT = "it provably never left: it may be repeated"
    BUSY = "it was refused because of load: it may be repeated later"
    REJECTED = "it was refused: a repeat would be refused again"
    IN_DOUBT = "it may have been charged: it must not be repeated"


def classify_failure(error: Exception) -> SubmitFailure:
    """Sort the outcome of a paid POST that brought no ids.

    An error page of a gateway (500, 502, 504, or 503 without the provider's own body) tells nothing about the
    provider behind it, so it leaves a doubt; so does any error that nobody foresaw. A refusal that names tasks
    leaves one too, whatever it says: they may have been charged.
    """
    match error:
        case APIError(task_ids=(_, *_)):
            return SubmitFailure.IN_DOUBT
        case NotSent():
            return SubmitFailure.UNSENT
        case RateLimited() | ServerError(http_status=503, code=int()):
            return SubmitFailure.BUSY
        case ServerError(http_status=status) if status >= _SERVER_ERRORS:
            return SubmitFailure.IN_DOUBT
        case APIError():
            return SubmitFailure.REJECTED
        case _:
            return SubmitFailure.IN_DOUBT


def is_retryable(error: AioweryError) -> bool:
    """Whether the same read may succeed a little later."""
    return isinstance(error, (TransportError, UnexpectedResponse, RateLimited, ServerError))


def retry_after(error: AioweryError) -> float | None:
    """Return the seconds that the provider asked us to wait, if it did."""
    return error.retry_after if isinstance(error, RateLimited) else None


class SendMarks(Protocol):
    """Where a submission is written down, before and after it leaves."""

    async def mark_sending(self) -> None:
        """Write that the next thing to happen is the first byte; what this raises stops it."""
        ...

    async def mark_unsent(self) -> None:
        """Write that what was about to leave provably did not."""
        ...


class RetryingClient:
    """Walks calls through the door."""

    def __init__(self, door: HttpClient, credential: ApiKeySource, retries: RetryPolicy, random: Random) -> None:
        self._door = door
        self._credential = credential
        self._retries = retries
        self._random = random

    async def send_once(
        self, call: HttpRequest, decode: Decode[T], *, wanted: Wanted = _always, fence: BeforeSend | None = None
    ) -> T:
        """Make one call; after a refused key, once more if the key has been renewed meanwhile and it is still wanted.

        That holds for submissions too, unless the refusal names tasks: a refused key is a refusal, nothing was charged.
        """
        try:
            key = await self._credential.key()
            return decode(await self._door.send(call, fence))
        except AuthenticationError as error:
            if error.task_ids or not (await self._credential.refresh_if_stale(key) and wanted()):
                raise
        log.info("the key was refused and has been renewed")
        return decode(await self._door.send(call, fence))

    async def send_idempotent(self, call: HttpRequest, decode: Decode[T], gate: asyncio.Semaphore) -> T:
        """Make a call that costs nothing, repeated with growing pauses while that can help.

        Each attempt takes a place of the gate; the pauses take none.
        """
        failures = 0
        while True:
            try:
                async with gate:
                    return await self.send_once(call, decode)
            except AioweryError as error:
                failures += 1
                if failures >= self._retries.max_attempts or not is_retryable(error):
                    raise
                pause = self._retries.backoff(failures, retry_after(error), self._random)
                log.warning("%s %s: %s; again in %.1f s", call.method, call.path, error, pause)
                await anyio.sleep(pause)

    async def send_paid(
        self,
        request: Request[Any],
        call: HttpRequest,
        decode: Decode[Accepted],
        *,
        page: SendMarks,
        wanted: Wanted,
        named: Named,
        may_leave: Callable[[], bool] = _always,
    ) -> Accepted:
        """POST a paid request once; again only after it provably never left, and while it is `wanted`.

        The tasks that a refusal names go to `named` before it is judged; those that are known do not count.
        Raises the provider's refusal, NotSent after the last attempt, SubmissionInDoubt, or what the page's fence
        raises. Raises Held, unsent, if it may not leave when its first byte is next.
        """

        async def fence() -> None:
            _wait_for_slot(may_leave)
            await page.mark_sending()
            _wait_for_slot(may_leave)  # which may have changed while that was written

        failures = 0
        while True:
            sent_at = time.time()
            try:
                return await self.send_once(call, decode, wanted=wanted, fence=fence)
            except (ConfigurationError, LedgerError, BudgetExceeded):
                raise
            except SubmissionHeld:
                await page.mark_unsent()
                raise
            except Exception as error:
                task_ids = await _usable_ids(error, named)
                judged = classify_failure(error)
                if judged is SubmitFailure.IN_DOUBT:
                    request_id = error.request_id if isinstance(error, AioweryError) else None
                    raise in_doubt_error(request, sent_at, str(error), request_id, task_ids) from error
                if judged is SubmitFailure.UNSENT:
                    await page.mark_unsent()
                failures += 1
                if judged is not SubmitFailure.UNSENT or failures >= self._retries.max_attempts or not wanted():
                    raise
                pause = self._retries.backoff(failures, None, self._random)
                log.warning("%s %s: %s; again in %.1f s", call.method, call.path, error, pause)
                await anyio.sleep(pause)
                if not wanted():
                    raise


def _wait_for_slot(may_leave: Callable[[], bool]) -> None:
    if not may_leave():
        raise SubmissionHeld("submissions are paused; nothing was sent")


async def _usable_ids(error: Exception, named: Named) -> tuple[str, ...]:
    """Return the tasks that an answer without acceptance names, less those that are known."""
    if not isinstance(error, (APIError, UnexpectedResponse)) or not error.task_ids:
        return ()
    error.task_ids = await named(error.task_ids)
    return error.task_ids


def in_doubt_error(
    request: Request[Any],
    sent_at: float,
    cause: str,
    request_id: str | None = None,
    task_ids: Sequence[str] = (),
) -> SubmissionInDoubt:
    """Return the error for a request that may have been charged; `task_ids` were named for it without proof."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sent_at))
    return SubmissionInDoubt(
        f"{request.label}: sent at {when} UTC without a clear answer ({cause}). It may have been charged and is"
        f" not sent again by itself: {_advice(task_ids)}",
        request=request,
        sent_at=sent_at,
        task_ids=tuple(task_ids),
        request_id=request_id,
    )


def _advice(task_ids: Sequence[str]) -> str:
    if not task_ids:
        return "look into the provider's call history before you repeat it"
    return (
        f"the provider named {some_of(task_ids)}; client.job(task_id) fetches a task, and `aiowery doubts adopt`"
        " settles the doubt with those that are this request's"
    )


def some_of(task_ids: Sequence[str]) -> str:
    """Return the first five ids as text, and how many more there are."""
    more = f" and {len(task_ids) - _SHOWN} more" if len(task_ids) > _SHOWN else ""
    return f"{', '.join(task_ids[:_SHOWN])}{more}"


def client_closing_error() -> NotSent:
    """Return what those hear who wait for a client that is closing."""
    return NotSent("the client submits nothing more; nothing was sent: use a client that is open")
