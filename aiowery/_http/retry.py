"""Repeat requests that may be repeated: reads with growing pauses, and any request once after a renewed key.

A read uses `send_idempotent`, a status check `send_once` (the poll scheduler repeats it). A paid POST also uses
`send_once`; when it may be sent again is decided in `aiowery._client.paid_send` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio

from aiowery._core.events import log
from aiowery._core.failures import is_retryable, retry_after
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.policies import Random, RetryPolicy
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.transport import BeforeSend
from aiowery.errors import AioweryError, APIError, AuthenticationError, UnexpectedResponse
from aiowery.transport._excerpt import clean_excerpt

T = TypeVar("T")
Decode = Callable[[HttpResponse], T]
IsWanted = Callable[[], bool]
"""Returns True before a repeat if the result is still wanted."""


def _always() -> bool:
    return True


class RetryingClient:
    """An HTTP client that repeats what may be repeated, and decodes the response."""

    def __init__(self, http_client: HttpClient, api_key: ApiKeySource, retries: RetryPolicy, random: Random) -> None:
        self.retries: RetryPolicy = retries
        self.random: Random = random
        self._http_client = http_client
        self._api_key = api_key

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
            return _decoded(decode, await self._http_client.send(request, before_send))
        except AuthenticationError as error:
            if error.task_ids or not (await self._api_key.refresh_if_stale(key) and is_wanted()):
                raise
        log.info("the API key was rejected and has been renewed")
        return _decoded(decode, await self._http_client.send(request, before_send))

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


def _decoded(decode: Decode[T], response: HttpResponse) -> T:
    """Return the decoded response.

    An error gets the beginning of the response, and the seconds of its Retry-After header unless the body names others.
    """
    try:
        return decode(response)
    except (APIError, UnexpectedResponse) as error:
        error.excerpt = clean_excerpt(response.body)
        if error.retry_after is None:
            error.retry_after = response.retry_after()
        raise
