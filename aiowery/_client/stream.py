"""Many requests in, outcomes out as they land."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from types import TracebackType
from typing import Any, Generic, Protocol, Self

import attrs

from aiowery._core.request import Outcome, R_co, Request, ResultT
from aiowery.errors import AioweryError, ConfigurationError

Requests = Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]]


@attrs.frozen
class StreamItem(Generic[ResultT]):
    """A request on its way through a stream: its place in the input, and its entry if it has one already."""

    index: int
    request: Request[ResultT]
    entry_id: int | None = None


class Finished(Protocol[R_co]):
    """Something that has come to its end, and gives it to whoever asks first."""

    def result(self) -> R_co:
        """Return the result or raise the error."""
        ...


RunItem = Callable[[StreamItem[ResultT]], Awaitable[Finished[ResultT] | None]]
"""Takes a request to its end; None while somebody else is at work on it."""


class OutcomeStream(AsyncIterator[Outcome[ResultT]], Generic[ResultT]):
    """An async iterator of outcomes, made by `client.stream`; also an async context manager.

    At most `in_flight` requests are taken from the input and not yet delivered: a slow reader is felt upstream.
    A failure is an item, not the end. An input that raises ends the stream with that exception once everything
    taken before it has been delivered. Leaving early (`break`, an exception, the end of `async with`) stops
    submitting and returns at once; what was submitted already goes on and is found in `client.jobs()`.
    """

    def __init__(
        self,
        run: RunItem[ResultT],
        works: AsyncGenerator[StreamItem[ResultT], None],
        *,
        in_flight: int,
        ordered: bool,
        look_again: float = 1.0,
    ) -> None:
        if in_flight < 1:
            raise ConfigurationError(f"in_flight is {in_flight!r}; at least 1 is needed")
        self._run = run
        self._works = works
        self._look_again = look_again
        self._ordered = ordered
        self._slots = asyncio.Semaphore(in_flight)
        self._ready: dict[int, tuple[StreamItem[ResultT], Finished[ResultT] | AioweryError]] = {}
        self._landed: deque[int] = deque()
        self._delivered = 0
        self._taken = 0
        self._exhausted = False
        self._fault: BaseException | None = None
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        # One turn of the loop lets the cancelled tasks end; none of them waits for the network any more.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[Outcome[ResultT]]:
        # A generator, so that a plain `async for` that is left early is closed by the event loop.
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
        """Wait for the next outcome; None after the last."""
        if not self._started:
            self._started = True
            self._start(self._feed())
        while not self._closed:
            index = self._pick()
            if index is not None:
                self._delivered += 1
                self._slots.release()
                return _outcome(*self._ready.pop(index))
            if self._exhausted and self._delivered == self._taken:
                break
            self._news.clear()
            await self._news.wait()
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return None

    def _pick(self) -> int | None:
        if self._ordered:
            return self._delivered if self._delivered in self._ready else None
        return self._landed.popleft() if self._landed else None

    async def _feed(self) -> None:
        """Take requests as long as there is a slot: the slot first, then the request, then its task."""
        try:
            await self._slots.acquire()
            async for work in self._works:
                if self._closed:  # the input kept our cancellation to itself
                    break
                self._start(self._one(self._taken, work))
                self._taken += 1
                await self._slots.acquire()
        except Exception as fault:  # noqa: BLE001 - whatever the caller's iterable raises is the reader's
            self._fault = fault
        finally:
            self._exhausted = True
            self._news.set()
            await self._works.aclose()

    async def _one(self, number: int, work: StreamItem[ResultT]) -> None:
        end: Finished[ResultT] | AioweryError
        try:
            end = await self._ended(work)
        except AioweryError as error:
            end = error
        except Exception as fault:  # noqa: BLE001 - nobody foresaw it, so the reader must see it
            self._fault = fault
            self._stop()
            return
        self._ready[number] = (work, end)
        self._landed.append(number)
        self._news.set()

    async def _ended(self, work: StreamItem[ResultT]) -> Finished[ResultT]:
        """Run a request to its end; while somebody else is at work on it, others go before, if order allows."""
        while (end := await self._run(work)) is None:
            if self._ordered:
                await asyncio.sleep(self._look_again)
                continue
            self._slots.release()
            await asyncio.sleep(self._look_again)
            await self._slots.acquire()
        return end

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def abandon(self, error: AioweryError) -> None:
        """Stop, because the client closes; a reader who comes back gets this error."""
        if not self._closed and not (self._exhausted and self._delivered == self._taken):
            self._fault = error
            self._stop()

    def _stop(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._news.set()


async def enumerate_requests(requests: Requests[ResultT]) -> AsyncGenerator[StreamItem[ResultT], None]:
    """Yield the requests with their places in the input."""
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


def _outcome(work: StreamItem[ResultT], end: Finished[ResultT] | AioweryError) -> Outcome[ResultT]:
    """Collect an end at its delivery: what is not delivered stays in `client.jobs()`."""
    error: AioweryError | None = end if isinstance(end, AioweryError) else None
    result: ResultT | None = None
    if not isinstance(end, AioweryError):
        try:
            result = end.result()
        except AioweryError as fault:
            error = fault
    return Outcome(index=work.index, request=work.request, entry_id=work.entry_id, result=result, error=error)
