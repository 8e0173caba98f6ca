"""Run many requests concurrently and yield their outcomes as they finish."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from types import TracebackType
from typing import Generic, Protocol, Self

import attrs

from aiowery._base.background import BackgroundTasks
from aiowery._client.arguments import check_type, refused
from aiowery._core.events import log
from aiowery._core.request import Outcome, R_co, Request, ResultT
from aiowery.errors import AioweryError

Requests = Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]]


@attrs.frozen
class StreamItem(Generic[ResultT]):
    """A request in a stream, with its index in the input, and its ledger entry if it has one already."""

    index: int
    request: Request[ResultT] = attrs.field()
    entry_id: int | None = None

    @request.validator
    def _is_request(self, _: attrs.Attribute[Request[ResultT]], request: object) -> None:
        check_type(f"item {self.index}", request, Request, "a request, such as aiowery.weryai.TextToImage(prompt=...)")

    @property
    def name(self) -> str:
        """Its number, for logs, events and errors."""
        return f"#{self.index}"


class Finished(Protocol[R_co]):
    """A finished job, or anything else with a result."""

    def result(self) -> R_co:
        """Return the result or raise the error."""
        ...


RunItem = Callable[[StreamItem[ResultT]], Awaitable[Finished[ResultT] | None]]
"""Runs a request until it has finished; returns None while another process works on it."""


class OutcomeStream(AsyncIterator[Outcome[ResultT]], Generic[ResultT]):
    """An async iterator of outcomes, returned by `client.stream`; also an async context manager.

    At most `in_flight` requests are taken from the input and not yet yielded, so a slow consumer slows the input.
    A failed request is an item, not the end of the stream. If the input raises, the stream first yields the outcomes
    of all requests taken before, and then raises that exception. Leaving early (`break`, an exception, the end of
    `async with`) stops submitting and returns immediately. Jobs that were submitted go on, and `client.jobs()` returns
    them. Raises ConfigurationError if `in_flight` is below 1.
    """

    def __init__(
        self,
        run: RunItem[ResultT],
        items: AsyncGenerator[StreamItem[ResultT], None],
        *,
        in_flight: int,
        ordered: bool,
        check_loop: Callable[[], None] = lambda: None,
        retry_interval: float = 1.0,
    ) -> None:
        check_type("in_flight", in_flight, int, "an integer >= 1")
        if in_flight < 1:
            raise refused("in_flight", in_flight, "at least 1")
        self._run_item = run
        self._items = items
        self._check_loop = check_loop
        self._retry_interval = retry_interval
        self._ordered = ordered
        self._slots = asyncio.Semaphore(in_flight)
        self._ready: dict[int, tuple[StreamItem[ResultT], Finished[ResultT] | AioweryError]] = {}
        self._finished: deque[int] = deque()
        self._delivered = 0
        self._taken = 0
        self._exhausted = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._background = BackgroundTasks(_log_closing_error)
        self._started = False
        self._closed = False

    async def __aenter__(self) -> Self:
        self._check_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        # The cancelled tasks end within one event-loop iteration: none of them waits for the network.
        await self._background.wait()

    async def __aiter__(self) -> AsyncIterator[Outcome[ResultT]]:
        # A generator, so that the event loop closes it when a plain `async for` stops early.
        self._check_loop()  # a use in another event loop does not end the stream
        try:
            while (outcome := await self._next()) is not None:
                yield outcome
        finally:
            self._stop()

    async def __anext__(self) -> Outcome[ResultT]:
        outcome = await self._next()
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def _next(self) -> Outcome[ResultT] | None:
        """Wait for the next outcome; None after the last. Raises ConfigurationError in another event loop."""
        self._check_loop()
        if not self._started:
            self._started = True
            self._background.spawn(self._feed())
        while not self._closed:
            index = self._pick()
            if index is not None:
                self._delivered += 1
                self._slots.release()
                return _outcome(*self._ready.pop(index))
            if self._exhausted and self._delivered == self._taken:
                break
            self._changed.clear()
            await self._changed.wait()
        fault, self._error = self._error, None
        if fault is not None:
            raise fault
        return None

    def _pick(self) -> int | None:
        if self._ordered:
            return self._delivered if self._delivered in self._ready else None
        return self._finished.popleft() if self._finished else None

    async def _feed(self) -> None:
        """Take a request from the input for each free slot, and run it in a task of its own."""
        try:
            await self._slots.acquire()
            async for item in self._items:
                if self._closed:  # the input swallowed the cancellation
                    break
                self._background.spawn(self._run_one(self._taken, item))
                self._taken += 1
                await self._slots.acquire()
        except Exception as fault:  # noqa: BLE001 - the consumer gets whatever the caller's iterable raises
            self._error = fault
        finally:
            self._exhausted = True
            self._changed.set()
            await self._items.aclose()

    async def _run_one(self, number: int, item: StreamItem[ResultT]) -> None:
        end: Finished[ResultT] | AioweryError
        try:
            end = await self._run_until_finished(item)
        except AioweryError as error:
            end = error
        except Exception as fault:  # noqa: BLE001 - an unforeseen error must reach the consumer
            self._error = fault
            self._stop()
            return
        self._ready[number] = (item, end)
        self._finished.append(number)
        self._changed.set()

    async def _run_until_finished(self, item: StreamItem[ResultT]) -> Finished[ResultT]:
        """Run a request until it has finished.

        While another process works on it, its slot is free for other requests, unless the stream is ordered.
        """
        while (end := await self._run_item(item)) is None:
            if self._ordered:
                await asyncio.sleep(self._retry_interval)
                continue
            self._slots.release()
            await asyncio.sleep(self._retry_interval)
            await self._slots.acquire()
        return end

    def abandon(self, error: AioweryError) -> None:
        """Stop because the client closes; the next step of the consumer raises this error."""
        if not self._closed and not (self._exhausted and self._delivered == self._taken):
            self._error = error
            self._stop()

    def _stop(self) -> None:
        self._closed = True
        self._background.request_cancel()
        self._changed.set()


async def enumerate_requests(requests: Requests[ResultT]) -> AsyncGenerator[StreamItem[ResultT], None]:
    """Yield the requests with their indexes in the input."""
    index = 0
    if not isinstance(requests, AsyncIterable):
        for request in requests:
            yield StreamItem(index, request)
            index += 1
        return
    try:
        async for request in requests:
            yield StreamItem(index, request)
            index += 1
    finally:
        if isinstance(requests, AsyncGenerator):
            await requests.aclose()


def _log_closing_error(error: BaseException) -> None:
    log.warning("a stream's input raised %s while it was closed: %s", type(error).__name__, error)


def _outcome(item: StreamItem[ResultT], end: Finished[ResultT] | AioweryError) -> Outcome[ResultT]:
    """Return the outcome of a finished request.

    The result is taken only when it is yielded, so a job that is not yielded stays in `client.jobs()`.
    """
    error: AioweryError | None = end if isinstance(end, AioweryError) else None
    result: ResultT | None = None
    if not isinstance(end, AioweryError):
        try:
            result = end.result()
        except AioweryError as fault:
            error = fault
    return Outcome(index=item.index, request=item.request, entry_id=item.entry_id, result=result, error=error)
