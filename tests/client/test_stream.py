"""The stream: many requests in, outcomes out, bounded at both ends."""

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
    """Return what `requests_of` wrote into the prompt."""
    assert isinstance(request, TextToImage)
    return int(request.prompt)


async def run_each(request: Request[ImageResult]) -> ImageResult:
    """Take as many seconds as the last digit says; every request ending in 7 fails."""
    await asyncio.sleep(number_of(request) % 10)
    if number_of(request) % 10 == 7:
        raise JobFailed("no sevens")
    return ImageResult(task_ids=(str(number_of(request)),))


@attrs.frozen
class Landed:
    """A job that has ended."""

    image: ImageResult

    def result(self) -> ImageResult:
        """Return its result."""
        return self.image


def landing(run: Run) -> Callable[[StreamItem[ImageResult]], Awaitable[Landed]]:
    """Return what the stream wants to be given."""

    async def land(work: StreamItem[ImageResult]) -> Landed:
        return Landed(await run(work.request))

    return land


def stream_of(
    run: Run, requests: list[TextToImage] | Iterator[TextToImage], *, in_flight: int = 5, ordered: bool = False
) -> OutcomeStream[ImageResult]:
    """Return a stream over these requests."""
    return OutcomeStream(landing(run), enumerate_requests(requests), in_flight=in_flight, ordered=ordered)


@pytest.mark.virtual_time
async def test_yields_every_outcome_as_it_lands() -> None:
    """Fast ones overtake slow ones, failures are items, and each index comes once."""
    outcomes = [outcome async for outcome in stream_of(run_each, requests_of(40))]
    assert sorted(outcome.index for outcome in outcomes) == list(range(40))
    assert [outcome.index for outcome in outcomes] != list(range(40))
    failed = {outcome.index for outcome in outcomes if outcome.error is not None}
    assert failed == {7, 17, 27, 37}
    assert all(number_of(outcome.request) == outcome.index for outcome in outcomes)


@pytest.mark.virtual_time
async def test_ordered_yields_in_input_order() -> None:
    """With `ordered=True` the n-th outcome is the n-th request's, however long it took."""
    outcomes = [outcome async for outcome in stream_of(run_each, requests_of(30), ordered=True)]
    assert [outcome.index for outcome in outcomes] == list(range(30))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.virtual_time
async def test_takes_no_more_than_in_flight_ahead_of_the_reader(ordered: bool) -> None:
    """A slow reader is felt upstream: a lazy input of any length is not drained."""
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
async def test_runs_in_flight_at_once() -> None:
    """The bound is also reached: five at a time, neither four nor six."""
    at_once = most = 0

    async def run(_: Request[ImageResult]) -> ImageResult:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(1)
        at_once -= 1
        return ImageResult(task_ids=("x",))

    async for _ in stream_of(run, requests_of(50)):
        pass
    assert most == 5
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)


@pytest.mark.virtual_time
async def test_accepts_an_async_iterable_that_waits() -> None:
    """Requests may arrive over time; outcomes come while the input still waits for its next."""

    async def arriving() -> AsyncIterator[TextToImage]:
        for request in requests_of(3):
            yield request
            await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    stream = OutcomeStream(landing(run_each), enumerate_requests(arriving()), in_flight=5, ordered=False)
    times = [(outcome.index, round(loop.time())) async for outcome in stream]
    assert times == [(0, 0), (1, 61), (2, 122)]


@pytest.mark.parametrize("way", ["context", "break", "exception"])
@pytest.mark.virtual_time
async def test_leaving_early_stops_submitting_and_returns_at_once(way: str) -> None:
    """However the reader leaves, nothing more is taken, nothing is waited for, and no task stays behind."""
    loop = asyncio.get_running_loop()
    taken = 0

    def endless() -> Iterator[TextToImage]:
        nonlocal taken
        while True:
            taken += 1
            yield TextToImage(prompt=str(min(taken - 1, 9)))

    stream = stream_of(run_each, endless())
    if way == "context":
        async with stream as outcomes:
            await anext(outcomes)
    elif way == "exception":
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
async def test_an_input_that_raises_ends_the_stream_after_what_was_taken() -> None:
    """What was submitted is delivered first; then the reader gets the input's own exception."""

    def broken() -> Iterator[TextToImage]:
        yield from requests_of(3)
        raise KeyError("row 4")

    outcomes: list[Outcome[ImageResult]] = []
    with pytest.raises(KeyError, match="row 4"):
        async for outcome in stream_of(run_each, broken()):
            outcomes.append(outcome)  # noqa: PERF401 - what came before the exception counts
    assert [outcome.index for outcome in outcomes] == [0, 1, 2]


@pytest.mark.virtual_time
async def test_an_error_that_nobody_foresaw_reaches_the_reader() -> None:
    """A bug in a run is not swallowed as an item and does not hang the stream."""

    async def run(_: Request[ImageResult]) -> ImageResult:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        async for _ in stream_of(run, requests_of(3)):
            pass


@pytest.mark.virtual_time
async def test_closes_an_async_input_when_left() -> None:
    """The caller's generator is closed when the stream is left, so that its own clean-up runs."""
    closed = False

    async def arriving() -> AsyncIterator[TextToImage]:
        nonlocal closed
        try:
            while True:
                yield TextToImage(prompt="1")
        finally:
            closed = True

    async with OutcomeStream(landing(run_each), enumerate_requests(arriving()), in_flight=2, ordered=False) as outcomes:
        await anext(outcomes)
    assert closed


@pytest.mark.virtual_time
async def test_an_empty_input_ends_at_once() -> None:
    """No requests, no outcomes, no hanging; and once more after the end is still the end."""
    stream = stream_of(run_each, [])
    assert [outcome async for outcome in stream] == []
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


def test_in_flight_of_nothing_is_refused() -> None:
    """A bound that lets nothing through would hang; it is refused with its value."""
    with pytest.raises(ConfigurationError, match="in_flight must be at least 1, got 0"):
        stream_of(run_each, [], in_flight=0)


def test_unwrap_gives_the_result_or_raises_the_error() -> None:
    """`outcome.unwrap()` is for readers who want failures as exceptions."""
    request = TextToImage(prompt="x")
    result = ImageResult(task_ids=("a",))
    assert Outcome(index=0, request=request, result=result).unwrap() is result
    with pytest.raises(JobFailed):
        Outcome(index=0, request=request, error=JobFailed("no")).unwrap()


@pytest.mark.virtual_time
async def test_what_landed_and_was_not_delivered_is_found_in_jobs() -> None:
    """A stream left early loses nothing that was paid for: every task is in an outcome or in `client.jobs()`."""
    world = FakeWeryAI(seconds=10)
    async with client_of(world) as client:
        async with client.stream([TextToImage(prompt="a cat")] * 4) as outcomes:
            first = await anext(outcomes)
            await asyncio.sleep(60)
        kept = {task_id for job in client.jobs() for task_id in job.task_ids}
        assert kept == set(world.finished_at) - set(first.unwrap().task_ids)
        assert len(kept) == 3
    assert len(world.posts) == 4


@pytest.mark.virtual_time
async def test_an_input_that_ignores_being_left_is_left() -> None:
    """An async iterable that swallows its cancellation does not make us submit more, or hang."""

    async def stubborn() -> AsyncIterator[TextToImage]:
        yield TextToImage(prompt="1")
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                yield TextToImage(prompt="2")

    world = FakeWeryAI(seconds=10)
    async with client_of(world) as client:
        async with asyncio.timeout(100):
            async with client.stream(stubborn(), in_flight=3) as outcomes:
                await anext(outcomes)
    assert len(world.posts) == 1
