"""One picture at a time: cool-downs, rejections, doubts and the queue's estimates, all in virtual time."""

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
COOL_DOWN = 60.5


@pytest.mark.parametrize("cool_from", ["end", "start"])
@pytest.mark.parametrize("latency", [0.0, 0.05, 2.0])
@pytest.mark.virtual_time
async def test_run_ten_concurrent_are_sent_one_at_a_time(cool_from: Literal["end", "start"], latency: float) -> None:
    """Ten concurrent runs send ten POSTs in order, in the computed time.

    None is rejected, wherever the cool-down begins.
    """
    provider = FakeBetterWaifu(cool_from=cool_from, latency=latency)
    async with client_of(provider) as client:
        results = await asyncio.gather(*(client.run(picture(number)) for number in range(10)))
    assert [result.task_ids for result in results] == [(f"job_{number}",) for number in range(1, 11)]
    assert provider.refused == []
    assert provider.prompts == [picture(number).prompt for number in range(10)]
    least = 10 * provider.seconds + 9 * COOL_DOWN
    assert least <= now() <= least + 10 * (5 + 4 * latency)


@pytest.mark.virtual_time
async def test_run_without_cool_down_sends_next_after_response() -> None:
    """The v1-images edition states no interval. The next POST is sent after the response, and none is rejected."""
    provider = FakeBetterWaifu(cool_down=0.0)
    async with client_of(provider, "v1-images") as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(10)))
    assert provider.refused == []
    assert now() == pytest.approx(10 * (provider.seconds + provider.latency), abs=0.1)


@pytest.mark.virtual_time
async def test_run_with_cool_down_from_start_waits_less() -> None:
    """If the cool-down counts from the submission, the queue waits less, and still nothing is rejected."""
    limits = Limits(in_flight=1, submissions=1, cool_down=COOL_DOWN, cool_from="start")
    provider = FakeBetterWaifu(cool_from="start")
    async with client_of(provider, limits=limits) as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(5)))
    assert provider.refused == []
    assert now() <= 4 * (COOL_DOWN + 1) + 30


@pytest.mark.virtual_time
async def test_run_with_wrong_cool_down_from_start_changes_to_end() -> None:
    """After one 429 with `cool_from="start"`, the cool-down counts from the end."""
    limits = Limits(in_flight=1, submissions=1, cool_down=COOL_DOWN, cool_from="start")
    provider = FakeBetterWaifu(cool_from="end")
    async with client_of(provider, limits=limits) as client:
        await asyncio.gather(*(client.run(picture(number)) for number in range(5)))
        assert client.statistics().queue.cool_from == "end"
    assert provider.refused == ["cooling"]
    assert len(provider.begun_at) == 5


@pytest.mark.parametrize("edition", EDITIONS)
def test_run_cancelled_at_any_time_posts_at_most_once(edition: Edition) -> None:
    """Whenever a caller is cancelled, its picture is posted once or not at all, and the next is never rejected."""

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
async def test_run_cancelled_at_any_await_posts_at_most_once(steps: int) -> None:
    """A caller is cancelled in each event-loop iteration of the POST. Its picture is posted at most once."""
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
async def test_run_cancelled_during_job_occupies_slot_until_its_end() -> None:
    """The provider still makes the picture, so its slot stays occupied until polls find the end."""
    provider = FakeBetterWaifu(seconds=100)
    async with client_of(provider) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.run(picture(1)), 5)
        await client.run(picture(2))
    assert provider.refused == []
    assert provider.begun_at[1] >= 100 + COOL_DOWN


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.virtual_time
async def test_run_post_without_clear_answer_cools_down_and_goes_on(*, lost: bool) -> None:
    """A picture is in doubt and not sent again, whether it was begun or not. The next one is not rejected."""
    provider = FakeBetterWaifu(faults=[httpx.ReadTimeout("no answer")], lost=lost)
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.run(picture(1))
        await client.run(picture(2))
    assert provider.refused == []
    assert provider.prompts == [picture(1).prompt, picture(2).prompt]
    assert provider.post_times[1] - provider.post_times[0] >= COOL_DOWN


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(("hint", "pause"), [(None, 60.0), ("17", 17.0), ("90.5", 90.5)])
@pytest.mark.virtual_time
async def test_run_load_rejection_keeps_head_of_queue(edition: Edition, hint: str | None, pause: float) -> None:
    """If the slot is taken elsewhere, the same request is repeated first, after the requested pause or a minute."""
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
async def test_run_endless_load_rejections_end_whole_queue() -> None:
    """After ten minutes of rejections only, all queued submissions get the error, after few POSTs."""
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
async def test_run_account_rejection_ends_whole_queue(status: int, error: type[Exception]) -> None:
    """Key, credits and plan apply to all submissions, so no queued submission is posted for the same error."""
    provider = FakeBetterWaifu(faults=[httpx.Response(status, json={"error": "no"})])
    async with client_of(provider) as client:
        waiting = (client.run(picture(number)) for number in range(5))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {error}
    assert len(provider.prompts) == 1


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.virtual_time
async def test_run_rejected_prompt_does_not_affect_next_submission(edition: Edition) -> None:
    """Moderation and wrong parameters affect one request. The next one is sent immediately, without a cool-down."""
    error = {"error": "Your prompt was flagged by our moderation system"}
    provider = FakeBetterWaifu(faults=[httpx.Response(400, json=error)], cool_down=0.0)
    async with client_of(provider, edition) as client:
        first, second = await asyncio.gather(
            *(client.run(picture(number)) for number in range(2)), return_exceptions=True
        )
    assert isinstance(first, ContentRejected)
    assert not isinstance(second, Exception)
    assert provider.post_times[1] - provider.post_times[0] < 1


@pytest.mark.virtual_time
async def test_reads_do_not_wait_for_queue() -> None:
    """Account and models are requested immediately, however long the queue is."""
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
async def test_statistics_of_queue_estimate_start_and_end() -> None:
    """Queue length, estimated start and estimated end are right, within the delay of a poll for each picture."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        await client.run(picture(0))
        waiting = [asyncio.create_task(client.run(picture(number))) for number in range(1, 6)]
        await asyncio.sleep(1)
        queue = client.statistics().queue
        assert (queue.waiting, queue.in_use) == (5, 0)
        assert queue.starts_in(0) == pytest.approx(queue.paused_for)
        promised_start, promised_end = queue.starts_in(), queue.ends_in()
        assert promised_start is not None
        assert promised_end is not None
        estimated_at = now()
        await asyncio.gather(*waiting)
        assert now() - estimated_at == pytest.approx(promised_end, rel=0.1)
        assert provider.begun_at[5] - estimated_at == pytest.approx(
            promised_end - (queue.expected_duration or 0), rel=0.1
        )
        assert promised_start == pytest.approx(promised_end + COOL_DOWN, rel=0.1)


@pytest.mark.parametrize(("start_within", "ahead"), [(0, 0), (30, 0), (200, 2)])
@pytest.mark.virtual_time
async def test_run_estimated_start_too_late_raises_immediately(start_within: float, ahead: int) -> None:
    """QueueTooLong is raised before anything is sent, with position and estimate, instead of after the wait."""
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
async def test_run_start_within_exceeded_in_queue_sends_nothing() -> None:
    """An estimate may be wrong. After `start_within` seconds in the queue, nothing is sent."""
    provider = FakeBetterWaifu(seconds=500)
    async with client_of(provider) as client:
        await client.submit(picture(0))
        with pytest.raises(QueueTooLong, match="in time"):
            await client.run(picture(1), start_within=120)
        assert now() == pytest.approx(120, abs=1)
        assert client.statistics().queue.waiting == 0
    assert len(provider.prompts) == 1


@pytest.mark.virtual_time
async def test_run_start_within_limits_wait_and_not_job() -> None:
    """`start_within` limits the wait in the queue, not the job."""
    provider = FakeBetterWaifu()
    async with client_of(provider) as client:
        first = asyncio.create_task(client.run(picture(0)))
        await asyncio.sleep(1)
        await client.run(picture(1), start_within=100)
        await first
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_run_full_queue_raises_immediately() -> None:
    """A full queue refuses the next submission immediately, and the queued ones are sent."""
    provider = FakeBetterWaifu()
    limits = Limits(in_flight=1, submissions=1, cool_down=COOL_DOWN, max_queue=3)
    async with client_of(provider, limits=limits) as client:
        ends = await asyncio.gather(*(client.run(picture(number)) for number in range(6)), return_exceptions=True)
    assert [type(end) for end in ends if isinstance(end, Exception)] == [QueueTooLong, QueueTooLong]
    assert len(provider.prompts) == 4


@pytest.mark.virtual_time
async def test_run_failed_picture_cools_down_too() -> None:
    """The cool-down follows any end of a picture, because the provider may count it."""
    provider = FakeBetterWaifu()

    class Failing:
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = await provider(request)
            body = answer.json()
            failed = {"id": body["id"], "status": "failed", "error": "internal error"} if "output" in body else body
            return httpx.Response(answer.status_code, json=failed)

    async with client_of(Failing()) as client:
        ends = await asyncio.gather(*(client.run(picture(n)) for n in range(2)), return_exceptions=True)
    assert {type(end) for end in ends} == {JobFailed}
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_client_opened_again_keeps_cool_down() -> None:
    """Closing a client and opening another one does not shorten the provider's minute."""
    provider = FakeBetterWaifu()
    for number in range(3):
        async with client_of(provider) as client:
            await client.run(picture(number))
    assert provider.refused == []


@pytest.mark.virtual_time
async def test_stop_submitting_rejects_queued_submission() -> None:
    """A queued submission is not sent after `stop_submitting`, and raises NotSent."""
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
async def test_stream_with_one_slot_keeps_order_of_requests() -> None:
    """Outcomes come in the order of the requests, and an unbounded source is not read ahead."""
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
async def test_limits_of_editions_allow_one_task_and_queue_of_hundred() -> None:
    """Both editions have one slot and a queue of a hundred. The cool-down of "jobs" is a minute and half a second."""
    shown = []
    for edition in EDITIONS:
        async with client_of(FakeBetterWaifu(), edition) as client:
            shown.append(attrs.asdict(client.limits))
    assert [(limits["in_flight"], limits["cool_down"], limits["max_queue"]) for limits in shown] == [
        (1, 0.0, 100),
        (1, 60.5, 100),
    ]
