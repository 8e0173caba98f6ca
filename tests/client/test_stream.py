"""Streams: many requests in, outcomes out, bounded at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import attrs
import pytest

from aiowery import ImageResult, Outcome, OutcomeStream
from aiowery._client.stream import StreamItem, enumerate_requests
from aiowery._core.request import Request
from aiowery.errors import ConfigurationError, JobFailed
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of

Run = Callable[[Request[ImageResult]], Awaitable[ImageResult]]


def requests_of(count: int) -> list[TextToImage]:
    """Return requests whose prompts are their numbers."""
    return [TextToImage(prompt=str(n)) for n in range(count)]


def number_of(request: Request[ImageResult]) -> int:
    """Return the number that `requests_of` wrote into the prompt."""
    assert isinstance(request, TextToImage)
    return int(request.prompt)


async def run_each(request: Request[ImageResult]) -> ImageResult:
    """Wait as many seconds as the last digit is. Raises JobFailed for every request ending in 7."""
    await asyncio.sleep(number_of(request) % 10)
    if number_of(request) % 10 == 7:
        raise JobFailed("no sevens")
    return ImageResult(task_ids=(str(number_of(request)),))


@attrs.frozen
class FinishedJob:
    """A finished job with its result."""

    image: ImageResult

    def result(self) -> ImageResult:
        """Return the result."""
        return self.image


def starter_of(run: Run) -> Callable[[StreamItem[ImageResult]], Awaitable[FinishedJob]]:
    """Return the function that starts a stream's items."""

    async def start(item: StreamItem[ImageResult]) -> FinishedJob:
        return FinishedJob(await run(item.request))

    return start


def stream_of(
    run: Run, requests: list[TextToImage] | Iterator[TextToImage], *, in_flight: int = 5, ordered: bool = False
) -> OutcomeStream[ImageResult]:
    """Return a stream over these requests."""
    return OutcomeStream(starter_of(run), enumerate_requests(requests), in_flight=in_flight, ordered=ordered)


@pytest.mark.virtual_time
async def test_stream_unordered_yields_outcomes_as_jobs_finish() -> None:
    """Fast jobs overtake slow ones, failures are items, and each index comes once."""
    outcomes = [outcome async for outcome in stream_of(run_each, requests_of(40))]
    assert sorted(outcome.index for outcome in outcomes) == list(range(40))
    assert [outcome.index for outcome in outcomes] != list(range(40))
    failed = {outcome.index for outcome in outcomes if outcome.error is not None}
    assert failed == {7, 17, 27, 37}
    assert all(number_of(outcome.request) == outcome.index for outcome in outcomes)


@pytest.mark.virtual_time
async def test_stream_ordered_yields_outcomes_in_input_order() -> None:
    """With `ordered=True` the n-th outcome is the n-th request's, however long it took."""
    outcomes = [outcome async for outcome in stream_of(run_each, requests_of(30), ordered=True)]
    assert [outcome.index for outcome in outcomes] == list(range(30))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.virtual_time
async def test_stream_slow_reader_limits_requests_that_are_taken(ordered: bool) -> None:
    """If the reader is slow, a lazy input of any length is not drained."""
    taken = 0

    def endless() -> Iterator[TextToImage]:
        nonlocal taken
        while True:
            taken += 1
            yield TextToImage(prompt="1")

    async with stream_of(run_each, endless(), in_flight=5, ordered=ordered) as outcomes:
        for delivered in range(20):
            await anext(outcomes)
            await asyncio.sleep(100)
            assert taken <= delivered + 1 + 5


@pytest.mark.virtual_time
async def test_stream_runs_exactly_in_flight_requests_concurrently() -> None:
    """The bound is also reached: five requests run concurrently, neither four nor six."""
    running = most = 0

    async def run(_: Request[ImageResult]) -> ImageResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return ImageResult(task_ids=("x",))

    async for _ in stream_of(run, requests_of(50)):
        pass
    assert most == 5
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)


@pytest.mark.virtual_time
async def test_stream_async_input_that_waits_yields_outcomes_meanwhile() -> None:
    """Requests may arrive over time. Outcomes are yielded while the input waits for its next request."""

    async def arriving() -> AsyncIterator[TextToImage]:
        for request in requests_of(3):
            yield request
            await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    stream = OutcomeStream(starter_of(run_each), enumerate_requests(arriving()), in_flight=5, ordered=False)
    times = [(outcome.index, round(loop.time())) async for outcome in stream]
    assert times == [(0, 0), (1, 61), (2, 122)]


@pytest.mark.parametrize("exit_kind", ["context", "break", "exception"])
@pytest.mark.virtual_time
async def test_stream_left_early_stops_submitting_immediately(exit_kind: str) -> None:
    """However the reader leaves, nothing more is taken, nothing is waited for, and no task is left."""
    loop = asyncio.get_running_loop()
    taken = 0

    def endless() -> Iterator[TextToImage]:
        nonlocal taken
        while True:
            taken += 1
            yield TextToImage(prompt=str(min(taken - 1, 9)))

    stream = stream_of(run_each, endless())
    if exit_kind == "context":
        async with stream as outcomes:
            await anext(outcomes)
    elif exit_kind == "exception":
        with pytest.raises(ZeroDivisionError):
            async with stream as outcomes:
                async for _ in outcomes:
                    raise ZeroDivisionError
    else:
        async for _ in stream:
            break
    left_at, taken_then = loop.time(), taken
    assert left_at < 1
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    await asyncio.sleep(60)
    assert taken <= taken_then + 1


@pytest.mark.virtual_time
async def test_stream_input_raises_after_submitted_outcomes() -> None:
    """Outcomes of submitted requests are yielded first. Then the reader gets the input's own exception."""

    def broken() -> Iterator[TextToImage]:
        yield from requests_of(3)
        raise KeyError("row 4")

    outcomes: list[Outcome[ImageResult]] = []
    with pytest.raises(KeyError, match="row 4"):
        async for outcome in stream_of(run_each, broken()):
            outcomes.append(outcome)  # noqa: PERF401 - what came before the exception counts
    assert [outcome.index for outcome in outcomes] == [0, 1, 2]


@pytest.mark.virtual_time
async def test_stream_unexpected_error_reaches_reader() -> None:
    """A bug in a run is not swallowed as an item and does not hang the stream."""

    async def run(_: Request[ImageResult]) -> ImageResult:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        async for _ in stream_of(run, requests_of(3)):
            pass


@pytest.mark.virtual_time
async def test_stream_left_early_closes_async_input() -> None:
    """The caller's generator is closed when the stream is left, so that its own clean-up runs."""
    closed = False

    async def arriving() -> AsyncIterator[TextToImage]:
        nonlocal closed
        try:
            while True:
                yield TextToImage(prompt="1")
        finally:
            closed = True

    async with OutcomeStream(
        starter_of(run_each), enumerate_requests(arriving()), in_flight=2, ordered=False
    ) as outcomes:
        await anext(outcomes)
    assert closed


@pytest.mark.virtual_time
async def test_stream_empty_input_ends_immediately() -> None:
    """An empty input yields no outcome and does not hang. A read after the end raises StopAsyncIteration."""
    stream = stream_of(run_each, [])
    assert [outcome async for outcome in stream] == []
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_stream_in_flight_zero_is_refused() -> None:
    """A bound of zero would hang, so it is refused with its value."""
    with pytest.raises(ConfigurationError, match="in_flight must be at least 1, got 0"):
        stream_of(run_each, [], in_flight=0)


def test_unwrap_returns_result_or_raises_error() -> None:
    """`outcome.unwrap()` is for readers that want failures as exceptions."""
    request = TextToImage(prompt="x")
    result = ImageResult(task_ids=("a",))
    assert Outcome(index=0, request=request, result=result).unwrap() is result
    with pytest.raises(JobFailed):
        Outcome(index=0, request=request, error=JobFailed("no")).unwrap()


@pytest.mark.virtual_time
async def test_stream_left_early_keeps_undelivered_tasks_in_jobs() -> None:
    """If a stream is left early, every paid task is in an outcome or in `client.jobs()`."""
    provider = FakeWeryAI(seconds=10)
    async with client_of(provider) as client:
        async with client.stream([TextToImage(prompt="a cat")] * 4) as outcomes:
            first = await anext(outcomes)
            await asyncio.sleep(60)
        kept = {task_id for job in client.jobs() for task_id in job.task_ids}
        assert kept == set(provider.finished_at) - set(first.unwrap().task_ids)
        assert len(kept) == 3
    assert len(provider.posts) == 4


@pytest.mark.virtual_time
async def test_stream_left_early_ignores_input_that_swallows_cancellation() -> None:
    """An async iterable that swallows its cancellation causes neither further submissions nor hanging."""

    async def stubborn() -> AsyncIterator[TextToImage]:
        yield TextToImage(prompt="1")
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                yield TextToImage(prompt="2")

    provider = FakeWeryAI(seconds=10)
    async with client_of(provider) as client:
        async with asyncio.timeout(100):
            async with client.stream(stubborn(), in_flight=3) as outcomes:
                await anext(outcomes)
    assert len(provider.posts) == 1
