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
from aiowery._core.messages import Answer, Call
from aiowery._core.policies import Random, RetryPolicy
from aiowery._core.request import Accepted, Request
from aiowery._http.api_key import Credential
from aiowery._http.http_client import Door, Fence
from aiowery._queue.circuit_breaker import Held
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
Decode = Callable[[Answer], T]
Wanted = Callable[[], bool]
"""Tells, before a repeat, whether somebody still wants what is asked for."""
Named = Callable[[tuple[str, ...]], Awaitable[tuple[str, ...]]]
"""Keeps the task ids that a refusal holds, and returns those that belong to no task known before."""

_SERVER_ERRORS = 500
_SHOWN = 5


def _always() -> bool:
    return True


class Verdict(enum.Enum):
    """What became of a submission that brought no ids."""

    UNSENT = "it provably never left: it may be repeated"
    BUSY = "it was refused because of load: it may be repeated later"
    REFUSED = "it was refused: a repeat would be refused again"
    DOUBT = "it may have been charged: it must not be repeated"


def verdict(error: Exception) -> Verdict:
    """Sort the outcome of a paid POST that brought no ids.

    An error page of a gateway (500, 502, 504, or 503 without the provider's own body) tells nothing about the
    provider behind it, so it leaves a doubt; so does any error that nobody foresaw. A refusal that names tasks
    leaves one too, whatever it says: they may have been charged.
    """
    match error:
        case APIError(task_ids=(_, *_)):
            return Verdict.DOUBT
        case NotSent():
            return Verdict.UNSENT
        case RateLimited() | ServerError(http_status=503, code=int()):
            return Verdict.BUSY
        case ServerError(http_status=status) if status >= _SERVER_ERRORS:
            return Verdict.DOUBT
        case APIError():
            return Verdict.REFUSED
        case _:
            return Verdict.DOUBT


def may_read_again(error: AioweryError) -> bool:
    """Whether the same read may succeed a little later."""
    return isinstance(error, (TransportError, UnexpectedResponse, RateLimited, ServerError))


def retry_after(error: AioweryError) -> float | None:
    """Return the seconds that the provider asked us to wait, if it did."""
    return error.retry_after if isinstance(error, RateLimited) else None


class Page(Protocol):
    """Where a submission is written down, before and after it leaves."""

    async def fence(self) -> None:
        """Write that the next thing to happen is the first byte; what this raises stops it."""
        ...

    async def unsent(self) -> None:
        """Write that what was about to leave provably did not."""
        ...


class Sender:
    """Walks calls through the door."""

    def __init__(self, door: Door, credential: Credential, retries: RetryPolicy, random: Random) -> None:
        self._door = door
        self._credential = credential
        self._retries = retries
        self._random = random

    async def once(self, call: Call, decode: Decode[T], *, wanted: Wanted = _always, fence: Fence | None = None) -> T:
        """Make one call; after a refused key, once more if the key has been renewed meanwhile and it is still wanted.

        That holds for submissions too, unless the refusal names tasks: a refused key is a refusal, nothing was charged.
        """
        try:
            key = await self._credential.key()
            return decode(await self._door.call(call, fence))
        except AuthenticationError as error:
            if error.task_ids or not (await self._credential.renewed(key) and wanted()):
                raise
        log.info("the key was refused and has been renewed")
        return decode(await self._door.call(call, fence))

    async def read(self, call: Call, decode: Decode[T], gate: asyncio.Semaphore) -> T:
        """Make a call that costs nothing, repeated with growing pauses while that can help.

        Each attempt takes a place of the gate; the pauses take none.
        """
        failures = 0
        while True:
            try:
                async with gate:
                    return await self.once(call, decode)
            except AioweryError as error:
                failures += 1
                if failures >= self._retries.attempts or not may_read_again(error):
                    raise
                pause = self._retries.pause(failures, retry_after(error), self._random)
                log.warning("%s %s: %s; again in %.1f s", call.method, call.path, error, pause)
                await anyio.sleep(pause)

    async def submit(
        self,
        request: Request[Any],
        call: Call,
        decode: Decode[Accepted],
        *,
        page: Page,
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
            _hold(may_leave)
            await page.fence()
            _hold(may_leave)  # which may have changed while that was written

        failures = 0
        while True:
            sent_at = time.time()
            try:
                return await self.once(call, decode, wanted=wanted, fence=fence)
            except (ConfigurationError, LedgerError, BudgetExceeded):
                raise
            except Held:
                await page.unsent()
                raise
            except Exception as error:
                task_ids = await _sifted(error, named)
                judged = verdict(error)
                if judged is Verdict.DOUBT:
                    request_id = error.request_id if isinstance(error, AioweryError) else None
                    raise in_doubt(request, sent_at, str(error), request_id, task_ids) from error
                if judged is Verdict.UNSENT:
                    await page.unsent()
                failures += 1
                if judged is not Verdict.UNSENT or failures >= self._retries.attempts or not wanted():
                    raise
                pause = self._retries.pause(failures, None, self._random)
                log.warning("%s %s: %s; again in %.1f s", call.method, call.path, error, pause)
                await anyio.sleep(pause)
                if not wanted():
                    raise


def _hold(may_leave: Callable[[], bool]) -> None:
    if not may_leave():
        raise Held("submissions are paused; nothing was sent")


async def _sifted(error: Exception, named: Named) -> tuple[str, ...]:
    """Return the tasks that an answer without acceptance names, less those that are known."""
    if not isinstance(error, (APIError, UnexpectedResponse)) or not error.task_ids:
        return ()
    error.task_ids = await named(error.task_ids)
    return error.task_ids


def in_doubt(
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
        f" not sent again by itself: {_what_to_do(task_ids)}",
        request=request,
        sent_at=sent_at,
        task_ids=tuple(task_ids),
        request_id=request_id,
    )


def _what_to_do(task_ids: Sequence[str]) -> str:
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


def unsent() -> NotSent:
    """Return what those hear who wait for a client that is closing."""
    return NotSent("the client submits nothing more; nothing was sent: use a client that is open")
