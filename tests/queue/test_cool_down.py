"""One picture at a time: turns, rests, refusals, doubts, and what the line tells of itself. All in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal

import attrs
import httpx
import pytest

from aiowery import Limits
from aiowery.betterwaifu import Edition, GenerateImage
from aiowery.errors import (
    AuthenticationError,
    ContentRejected,
    InsufficientCredits,
    JobFailed,
    NotSent,
    PermissionDenied,
    QueueTooLong,
    RateLimited,
    SubmissionInDoubt,
)
from aiowery.testing import run_virtual
from tests.support import now
from tests.support.fake_betterwaifu import FakeBetterWaifu, client_of, picture

EDITIONS: tuple[Edition, ...] = ("v1-images", "jobs")
REST = 60.5


@pytest.mark.parametrize("cool_from", ["end", "start"])
@pytest.mark.parametrize("latency", [0.0, 0.05, 2.0])
@pytest.mark.virtual_time
async def test_ten_at_once_take_turns(cool_from: Literal["end", "start"], latency: float) -> None:
    """Ten gathered calls: ten POSTs, none refused in either reading of the rest, in order, in the computed time."""
    provider = FakeBetterWaifu(cool_from=cool_from, latency=latency)
    async with client_of(provider) as client:
        results = await asyncio.gather(*(client.run(picture(number)) for number in range(10)))
    assert [result.task_ids for result in results] == [(f"job_{number}",) for number in range(1, 11)]
    assert provider.refused == []
    assert provider.prompts == [picture(number).prompt for number in range(10)]
    least = 10 * provider.seconds + 9 * REST
    assert least <= now() <= least + 10 * (5 + 4 * latency)


@pytest.mark.virtual_time
async def test_without_a_rest_one_follows_the_other() -> None:
    """The v1-images edition states no interval: the next POST leaves when the answer is there, and none is refused."""
    provider = FakeBetterWaifu(cool_down=0.0)
    async with client_of(provider, "v1-images") as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(10)))
    assert provider.refused == []
    assert now() == pytest.approx(10 * (provider.seconds + provider.latency), abs=0.1)


@pytest.mark.virtual_time
async def test_counted_from_the_submission_it_is_faster() -> None:
    """Who knows that the minute counts from the submission says so, and waits less; still nothing is refused."""
    limits = Limits(in_flight=1, submissions=1, cool_down=REST, cool_from="start")
    provider = FakeBetterWaifu(cool_from="start")
    async with client_of(provider, limits=limits) as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(5)))
    assert provider.refused == []
    assert now() <= 4 * (REST + 1) + 30


@pytest.mark.virtual_time
async def test_who_counts_from_the_wrong_moment_learns_it_from_one_refusal() -> None:
    """A 429 in that setting ends it: from then on the rest counts from the end."""
    limits = Limits(in_flight=1, submissions=1, cool_down=REST, cool_from="start")
    provider = FakeBetterWaifu(cool_from="end")
    async with client_of(provider, limits=limits) as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(5)))
        assert client.statistics().queue.cool_from == "end"
    assert provider.refused == ["cooling"]
    assert len(provider.begun_at) == 5


@pytest.mark.parametrize("edition", EDITIONS)
def test_exactly_one_post_under_cancellation_at_every_moment(edition: Edition) -> None:
    """Wherever the caller is cancelled: his picture is posted once or not at all, and the next is never refused."""

    async def main(delay: float) -> tuple[int, int]:
        provider = FakeBetterWaifu(cool_down=60.0 if edition == "jobs" else 0.0)
        async with client_of(provider, edition) as client:
            if edition == "jobs":
                await client.submit(picture(0))
            running = asyncio.create_task(client.run(picture(1)))
            await asyncio.sleep(delay)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.run(picture(2))
        assert provider.refused == []
        assert provider.prompts.count(picture(1).prompt) <= 1
        assert provider.prompts.count(picture(2).prompt) == 1
        return len(provider.prompts), client.limits.in_flight

    for tenths in range(0, 1400, 7):
        run_virtual(main(tenths / 10))


@pytest.mark.parametrize("steps", range(60))
@pytest.mark.virtual_time
async def test_exactly_one_post_under_cancellation_at_every_await(steps: int) -> None:
    """The same, turn by turn of the loop, while the POST is being made."""
    provider = FakeBetterWaifu(latency=0.0)
    async with client_of(provider) as client:
        running = asyncio.create_task(client.run(picture(1)))
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        posted = len(provider.prompts)
        assert len(client.jobs()) <= 1
        await client.run(picture(2))
    assert provider.refused == []
    assert len(provider.prompts) <= posted + 2
    assert provider.prompts.count(picture(1).prompt) <= 1


@pytest.mark.virtual_time
async def test_a_cancelled_waiter_leaves_somebody_who_looks() -> None:
    """The picture goes on at the provider, so the lane stays taken until it is seen to end."""
    provider = FakeBetterWaifu(seconds=100)
    async with client_of(provider) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.run(picture(1)), 5)
        await client.run(picture(2))
    assert provider.refused == []
    assert provider.begun_at[1] >= 100 + REST


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.virtual_time
async def test_after_an_unclear_post_the_lane_rests_and_goes_on(*, lost: bool) -> None:
    """Whether the picture was begun or not: it is a doubt, it is not sent again, and the next is not refused."""
    provider = FakeBetterWaifu(faults=[httpx.ReadTimeout("no answer")], lost=lost)
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.run(picture(1))
        await client.run(picture(2))
    assert provider.refused == []
    assert provider.prompts == [picture(1).prompt, picture(2).prompt]
    assert provider.post_times[1] - provider.post_times[0] >= REST


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(("hint", "pause"), [(None, 60.0), ("17", 17.0), ("90.5", 90.5)])
@pytest.mark.virtual_time
async def test_a_refusal_because_of_load_keeps_its_place(edition: Edition, hint: str | None, pause: float) -> None:
    """Somebody else holds the slot: the same request waits at the head, for as long as is asked, else a minute."""
    body = (
        {"error": "busy"} if hint else {"success": False, "error": {"code": "rate_limit_exceeded", "retry_after": 60}}
    )
    headers = {} if hint is None else {"retry-after": hint}
    provider = FakeBetterWaifu(faults=[httpx.Response(429, json=body, headers=headers)], cool_down=0.0)
    async with client_of(provider, edition) as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(3)))
    assert provider.prompts == [picture(number).prompt for number in (0, 0, 1, 2)]
    assert provider.post_times[1] - provider.post_times[0] == pytest.approx(pause, abs=0.2)


@pytest.mark.virtual_time
async def test_a_slot_that_never_comes_free_ends_in_the_refusal() -> None:
    """After ten minutes of nothing but refusals everybody in line gets the error, after few POSTs."""
    provider = FakeBetterWaifu(faults=[httpx.Response(429, json={"error": "busy"}) for _ in range(99)])
    async with client_of(provider) as client:
        waiting = (client.run(picture(number)) for number in range(3))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {RateLimited}
    assert len(provider.prompts) <= 11


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (402, InsufficientCredits), (403, PermissionDenied)]
)
@pytest.mark.virtual_time
async def test_a_refusal_of_the_account_ends_the_whole_line(status: int, error: type[Exception]) -> None:
    """Key, credits and plan are everybody's: nobody in line burns an attempt of his own."""
    provider = FakeBetterWaifu(faults=[httpx.Response(status, json={"error": "no"})])
    async with client_of(provider) as client:
        waiting = (client.run(picture(number)) for number in range(5))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {error}
    assert len(provider.prompts) == 1


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.virtual_time
async def test_a_refused_prompt_is_nobody_elses_matter(edition: Edition) -> None:
    """Moderation and wrong parameters meet one request; the next goes out at once, without a rest."""
    words = {"error": "Your prompt was flagged by our moderation system"}
    provider = FakeBetterWaifu(faults=[httpx.Response(400, json=words)], cool_down=0.0)
    async with client_of(provider, edition) as client:
        first, second = await asyncio.gather(
            *(client.run(picture(number)) for number in range(2)), return_exceptions=True
        )
    assert isinstance(first, ContentRejected)
    assert not isinstance(second, Exception)
    assert provider.post_times[1] - provider.post_times[0] < 1


@pytest.mark.virtual_time
async def test_no_read_waits_behind_the_line() -> None:
    """Account and models are asked at once, however long the line is."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        waiting = [asyncio.create_task(client.run(picture(number))) for number in range(5)]
        await asyncio.sleep(30)
        await asyncio.gather(client.account(), client.models())
        assert [moment for _, moment in provider.reads] == pytest.approx([30, 30], abs=0.2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.virtual_time
async def test_the_line_says_how_long_it_is() -> None:
    """Positions, the start of who came now, and the end of everything come true within a look's delay a picture."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        await client.run(picture(0))
        waiting = [asyncio.create_task(client.run(picture(number))) for number in range(1, 6)]
        await asyncio.sleep(1)
        line = client.statistics().queue
        assert (line.waiting, line.in_use) == (5, 0)
        assert line.starts_in(0) == pytest.approx(line.paused_for)
        promised_start, promised_end = line.starts_in(), line.ends_in()
        assert promised_start is not None
        assert promised_end is not None
        asked_at = now()
        await asyncio.gather(*waiting)
        assert now() - asked_at == pytest.approx(promised_end, rel=0.1)
        assert provider.begun_at[5] - asked_at == pytest.approx(promised_end - (line.expected_duration or 0), rel=0.1)
        assert promised_start == pytest.approx(promised_end + REST, rel=0.1)


@pytest.mark.parametrize(("start_within", "ahead"), [(0, 0), (30, 0), (200, 2)])
@pytest.mark.virtual_time
async def test_who_cannot_start_in_time_hears_it_at_once(start_within: float, ahead: int) -> None:
    """Refused before anything is sent, with the place in line and the estimate, instead of after the wait."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        await client.submit(picture(0))
        waiting = [asyncio.create_task(client.run(picture(number))) for number in range(1, ahead + 1)]
        await asyncio.sleep(1)
        began = now()
        with pytest.raises(QueueTooLong, match="nothing was sent") as refusal:
            await client.run(picture(9), start_within=start_within)
        assert now() == began
        assert refusal.value.position == ahead
        assert refusal.value.starts_in is not None
        assert refusal.value.starts_in > start_within
        await asyncio.gather(*waiting)
    assert picture(9).prompt not in provider.prompts


@pytest.mark.virtual_time
async def test_patience_with_the_line_ends_when_it_is_over() -> None:
    """An estimate may be wrong: who waited as long as he would leaves, and nothing is sent."""
    provider = FakeBetterWaifu(seconds=500)
    async with client_of(provider) as client:
        await client.submit(picture(0))
        with pytest.raises(QueueTooLong, match="in time"):
            await client.run(picture(1), start_within=120)
        assert now() == pytest.approx(120, abs=1)
        assert client.statistics().queue.waiting == 0
    assert len(provider.prompts) == 1


@pytest.mark.virtual_time
async def test_a_turn_that_comes_in_time_is_taken() -> None:
    """`start_within` limits the wait for the turn, not the work."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        first = asyncio.create_task(client.run(picture(0)))
        await asyncio.sleep(1)
        await client.run(picture(1), start_within=100)
        await first
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_the_line_has_an_end() -> None:
    """A full line refuses the next at once; those in it are served."""
    provider = FakeBetterWaifu()
    limits = Limits(in_flight=1, submissions=1, cool_down=REST, max_queue=3)
    async with client_of(provider, limits=limits) as client:
        ends = await asyncio.gather(*(client.run(picture(number)) for number in range(6)), return_exceptions=True)
    assert [type(end) for end in ends if isinstance(end, Exception)] == [QueueTooLong, QueueTooLong]
    assert len(provider.prompts) == 4


@pytest.mark.virtual_time
async def test_a_failed_picture_takes_its_turn_too() -> None:
    """What became of it does not matter to the rest: the provider may count it."""
    provider = FakeBetterWaifu()

    class Failing:
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = await provider(request)
            told = answer.json()
            failed = {**told, "status": "failed", "error": "internal error"} if "output" in told else told
            return httpx.Response(answer.status_code, json=failed)

    async with client_of(Failing()) as client:
        ends = await asyncio.gather(*(client.run(picture(n)) for n in range(2)), return_exceptions=True)
    assert {type(end) for end in ends} == {JobFailed}
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_a_client_opened_again_remembers_the_rest() -> None:
    """Leaving the client and entering another one does not shorten the provider's minute."""
    provider = FakeBetterWaifu()
    for number in range(3):
        async with client_of(provider) as client:
            await client.run(picture(number))
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_closing_turns_away_who_waits() -> None:
    """Nobody who stands in line is sent after the client closed; he hears that nothing was."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        job = await client.submit(picture(0))
        waiting = asyncio.create_task(client.run(picture(1)))
        await asyncio.sleep(1)
        client.stop_submitting()
        with pytest.raises(NotSent):
            await waiting
        await job
    assert len(provider.prompts) == 1


@pytest.mark.virtual_time
async def test_the_stream_keeps_the_order() -> None:
    """One lane, one order: outcomes land as they were asked for, and an unbounded source is not read ahead."""
    provider = FakeBetterWaifu()
    taken: list[int] = []

    def requests() -> Iterator[GenerateImage]:
        for number in range(6):
            taken.append(number)
            yield picture(number)

    async with client_of(provider) as client, client.stream(requests()) as outcomes:
        seen = []
        async for outcome in outcomes:
            seen.append(outcome.index)
            assert len(taken) <= outcome.index + 4
    assert seen == list(range(6))
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_the_limits_of_the_editions_say_what_they_are() -> None:
    """One at a time in both; a minute and a half second between two jobs; a line of a hundred."""
    shown = []
    for edition in EDITIONS:
        async with client_of(FakeBetterWaifu(), edition) as client:
            shown.append(attrs.asdict(client.limits))
    assert [(limits["in_flight"], limits["cool_down"], limits["max_queue"]) for limits in shown] == [
        (1, 0.0, 100),
        (1, 60.5, 100),
    ]
