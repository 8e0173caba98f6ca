"""Repeat requests that may be repeated: reads with growing pauses, and any request once after a renewed key.

A read uses `send_idempotent`, a status check `send_once` (the poll scheduler repeats it). A paid POST also uses
`send_once`; when it may be sent again is decided in `aiowery._client.paid_send` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import attrs

from aiowery._base.snapshot import Snapshot
from aiowery._core.events import log
from aiowery._core.failures import is_retryable, judged_error, judged_unread, retry_after
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.policies import Random, RetryPolicy
from aiowery._core.redaction import KeyRedactor
from aiowery._core.request import Accepted
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.transport import BeforeSend
from aiowery.errors import AioweryError, APIError, AuthenticationError, UnexpectedResponse
from aiowery.transport._excerpt import clean_excerpt

T = TypeVar("T")
Decode = Callable[[HttpResponse], T]
IsWanted = Callable[[], bool]
"""Returns True before a repeat if the result is still wanted."""
IsOwn = Callable[[HttpResponse], bool]
"""Returns True for a response that the provider itself has sent."""


def _always() -> bool:
    return True


class RetryingClient:
    """An HTTP client that repeats what may be repeated, and decodes the response.

    `is_own` decides for every response, of submissions, status checks, uploads and reads alike, whether an error in it
    is the provider's.
    """

    def __init__(
        self, http_client: HttpClient, api_key: ApiKeySource, retries: RetryPolicy, random: Random, is_own: IsOwn
    ) -> None:
        self.retries: RetryPolicy = retries
        self.random: Random = random
        self._http_client = http_client
        self._api_key = api_key
        self._is_own = is_own

    async def send_once(
        self,
        request: HttpRequest,
        decode: Decode[T],
        *,
        is_wanted: IsWanted = _always,
        before_send: BeforeSend | None = None,
    ) -> T:
        """Send a request once; after a rejected key, once more if the key has been renewed and it is still wanted.

        That holds for submissions too, unless the rejection names tasks: a rejected key charges nothing.
        """
        try:
            key = await self._api_key.key()
            return self._decoded(decode, await self._send(request, before_send))
        except AuthenticationError as error:
            if error.task_ids or not (await self._api_key.refresh_if_stale(key) and is_wanted()):
                raise
        log.info("the API key was rejected and has been renewed")
        return self._decoded(decode, await self._send(request, before_send))

    async def _send(self, request: HttpRequest, before_send: BeforeSend | None) -> HttpResponse:
        """Send a request, and return the response. Of one whose body cannot be read, the HTTP status counts."""
        try:
            return await self._http_client.send(request, before_send)
        except UnexpectedResponse as error:
            raise judged_unread(error) from error.__cause__

    def _decoded(self, decode: Decode[T], response: HttpResponse) -> T:
        """Return the decoded response.

        An error gets the beginning of the response, and the seconds of its Retry-After header unless the body names
        others.
        """
        try:
            value = decode(response)
        except (APIError, UnexpectedResponse) as error:
            refusal = error
        else:
            redactor = self._http_client.redactor
            is_quoted = redactor is not None and redactor.occurs_in(response.body)
            return _without_key(value, redactor) if redactor is not None and is_quoted else value
        try:  # not in the handler above, whose error may quote the key and would become the context of this one
            raise self._judged(decode, response, refusal)
        finally:
            del refusal  # its traceback holds this frame

    def _judged(self, decode: Decode[T], response: HttpResponse, error: APIError | UnexpectedResponse) -> AioweryError:
        """Return the error that a response means, with what the response holds besides, and without the key."""
        redacted = self._http_client.redacted(response)
        safe = error if redacted == response else _decode_error(decode, redacted, error)
        if safe.retry_after is None:
            safe.retry_after = response.retry_after()
        failure = judged_error(redacted, safe, self._is_own)
        failure.excerpt = clean_excerpt(redacted.body)
        failure.__cause__ = safe.__cause__
        return failure

    async def send_idempotent(self, request: HttpRequest, decode: Decode[T], gate: asyncio.Semaphore) -> T:
        """Send a request that costs nothing; repeat it with growing pauses while that can help.

        Each attempt runs inside the gate, the pauses outside it.
        """
        failures = 0
        while True:
            try:
                async with gate:
                    return await self.send_once(request, decode)
            except AioweryError as error:
                failures += 1
                if failures >= self.retries.max_attempts or not is_retryable(error):
                    raise
                pause = self.retries.backoff(failures, retry_after(error), self.random)
                log.warning("%s %s: %s; again in %.1f s", request.method, request.path, error, pause)
                await anyio.sleep(pause)


def _decode_error(
    decode: Decode[T], redacted: HttpResponse, error: APIError | UnexpectedResponse
) -> APIError | UnexpectedResponse:
    """Return a decoder's error without the key that the response quotes: decoded again, from the redacted response."""
    try:
        decode(redacted)
    except (APIError, UnexpectedResponse) as safe:
        if type(safe) is type(error):
            safe.task_ids = error.task_ids
            return safe.with_traceback(None)  # whose frames hold the other error
    blank = error.with_message(f"HTTP {redacted.http_status}: {redacted.excerpt!r}")
    blank.raw, blank.request_id, blank.__cause__ = None, redacted.request_id, None
    if isinstance(blank, UnexpectedResponse):
        blank.faults = ()
    return blank


def _without_key(value: Any, redactor: KeyRedactor) -> Any:
    """Return a decoded result without the key in its texts; its ids and URLs stay as they came."""
    match value:
        case Snapshot():
            return attrs.evolve(
                value,
                raw_status=redactor.redact(value.raw_status),
                reason=None if value.reason is None else redactor.redact(value.reason),
                raw=redactor.redact_json(value.raw),
            )
        case Accepted():
            return attrs.evolve(value, snapshots=_without_key(value.snapshots, redactor))
        case list() | tuple() if any(isinstance(one, Snapshot) for one in value):
            return type(value)(_without_key(one, redactor) for one in value)
        case _:
            return value
