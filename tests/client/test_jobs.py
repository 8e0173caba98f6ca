"""Jobs in a world with its own time: the looks, the deadlines, what failing looks do, and who owns what."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import httpx
import pytest

from aiowery import Asset, Event, Limits, PollFailed, PollPolicy, RetryPolicy, Snapshot, TaskState, WeryAI
from aiowery._core.request import Accepted
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    EmptyResult,
    InsufficientCredits,
    JobFailed,
    JobLost,
    JobTimeout,
    NotSent,
    RateLimited,
    SubmissionInDoubt,
)
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider
from tests.support import CAT, World, client_of, envelope, now

WIDE = Limits(in_flight=1000, submissions=50)


def test_a_job_is_looked_at_every_three_to_five_seconds() -> None:
    """The provider's recommended interval holds for each job, at random within it."""

    async def main() -> None:
        world = World(seconds=600)
        async with client_of(world, polling=PollPolicy(image_timeout=3600)) as client:
            await client.run(CAT)
        looks = world.looks["task_0"]
        gaps = [later - earlier for earlier, later in pairwise(looks)]
        assert min(gaps) >= 3.0
        assert max(gaps) <= 5.05
        assert max(gaps) - min(gaps) > 1
        assert len(world.posts) == 1

    run_virtual(main())


def test_learned_first_look_saves_polls_and_stays_prompt() -> None:
    """Once eight jobs have finished, the first look waits for the usual duration: fewer polls, and none found late."""

    async def main() -> None:
        world = World(seconds=12)
        async with client_of(world, limits=WIDE) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(8)))
            before = sum(map(len, world.looks.values()))
            results = await asyncio.gather(*(client.run(CAT) for _ in range(50)))
            polls = (sum(map(len, world.looks.values())) - before) / 50
        delays = [(result.seconds or 0) - 12 for result in results]
        assert polls <= 2.2
        assert sum(delays) / 50 < 1.9
        assert max(delays) < 3.3

    run_virtual(main())


def test_jobs_submitted_together_are_looked_at_one_after_the_other() -> None:
    """A learned first look comes at random within an interval: jobs of equal duration make no rush of looks."""

    async def main() -> None:
        world = World(seconds=12)
        async with client_of(world, limits=WIDE) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(8)))
            await asyncio.gather(*(client.run(CAT) for _ in range(300)))
        looks = sorted(moment for number in range(8, 308) for moment in world.looks[f"task_{number}"])
        assert max(bisect(looks, moment + 1) - place for place, moment in enumerate(looks)) < 300 / 3 * 1.4
        gaps = [later - earlier for several in world.looks.values() for earlier, later in pairwise(several)]
        assert min(gaps) >= 3.0

    run_virtual(main())


def test_a_model_that_has_become_faster_is_noticed() -> None:
    """The learned first look comes down again when jobs turn out to be done long before it."""

    async def main() -> None:
        world = World(seconds=60)
        async with client_of(world, limits=WIDE) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(64)))
            world.seconds = 10
            for _ in range(20):
                results = await asyncio.gather(*(client.run(CAT) for _ in range(10)))
            assert max(result.seconds or 0 for result in results) < 20

    run_virtual(main())


def test_learning_can_be_switched_off() -> None:
    """`PollPolicy(first_poll="interval")` looks after 3 to 5 s, whatever has been seen."""

    async def main() -> None:
        world = World(seconds=30)
        async with client_of(world, limits=WIDE, polling=PollPolicy(first_poll="interval")) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(20)))
            begun = now()
            await client.run(CAT)
        assert world.looks["task_20"][0] - begun <= 5.1

    run_virtual(main())


def test_several_pictures_are_asked_for_with_one_get() -> None:
    """A job with a batch id and several tasks uses the batch endpoint, and yields all pictures in order."""

    async def main() -> None:
        world = World(seconds=20)
        async with client_of(world) as client:
            result = await client.run(TextToImage(prompt="cats", image_number=4))
        assert [asset.task_id for asset in result.assets] == [f"task_{n}" for n in range(4)]
        assert result.credits == 4
        assert world.looks == {}
        assert 4 <= world.batch_looks <= 8

    run_virtual(main())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(envelope(None, 1003, "batch not exist"), id="unknown"),
        pytest.param(httpx.Response(404, text="nope"), id="http 404"),
        pytest.param(httpx.Response(200, text="<html>"), id="page"),
        pytest.param(httpx.Response(403), id="http 403"),
        pytest.param(httpx.Response(500), id="http 500"),
        pytest.param(envelope(None, 1001, "batch queries are not supported"), id="refused"),
        pytest.param(envelope([{"task_id": "task_0", "task_status": "PROCESSING"}]), id="tasks missing"),
        pytest.param(envelope([]), id="empty"),
    ],
)
def test_a_disappointing_batch_answer_falls_back_to_single_looks(answer: httpx.Response) -> None:
    """Whatever the batch endpoint fails to say is asked for task by task; the job does not notice."""

    async def main() -> None:
        world = World(seconds=10, misfortunes={"batch": [answer]})
        async with client_of(world) as client:
            result = await client.run(TextToImage(prompt="cats", image_number=2))
        assert len(result.assets) == 2
        assert world.looks

    run_virtual(main())


@pytest.mark.parametrize(
    "misfortune",
    [
        pytest.param(httpx.Response(500, text="<html>oops</html>"), id="500"),
        pytest.param(httpx.Response(502), id="502"),
        pytest.param(httpx.Response(429, headers={"retry-after": "7"}), id="429"),
        pytest.param(httpx.Response(401, json={"status": 1002, "desc": "Authentication failed"}), id="401"),
        pytest.param(httpx.Response(403), id="403"),
        pytest.param(envelope(None, 1001, "request rate limit"), id="throttled"),
        pytest.param(envelope(None, 5000, "server"), id="server code"),
        pytest.param(httpx.Response(200, text='{"status": 0, "da'), id="truncated"),
        pytest.param(httpx.Response(200), id="empty"),
        pytest.param(envelope({"task_id": "another", "task_status": "SUCCESS"}), id="another task"),
        pytest.param(envelope(["odd"]), id="odd data"),
        pytest.param(envelope(None, 1003, "task not exist"), id="not found yet"),
        pytest.param(httpx.ReadTimeout("slow"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("reset"), id="reset"),
        pytest.param(httpx.ConnectError("refused"), id="refused"),
    ],
)
def test_a_failing_look_never_fails_a_job(misfortune: httpx.Response | Exception) -> None:
    """Three misfortunes in a row on the status endpoint, and the picture still arrives, paid for once."""

    async def main() -> None:
        world = World(seconds=20, misfortunes={"status": [misfortune] * 3})
        async with client_of(world) as client:
            result = await client.run(CAT)
        assert result.url == "https://files.example.com/task_0.png"
        assert len(world.posts) == 1

    run_virtual(main())


def test_a_429_on_a_look_holds_all_looks() -> None:
    """The provider speaks of everybody, so everybody rests as long as it asks."""

    async def main() -> None:
        world = World(seconds=60, misfortunes={"status": [httpx.Response(429, headers={"retry-after": "20"})]})
        async with client_of(world, limits=WIDE) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(10)))
        times = sorted(moment for looks in world.looks.values() for moment in looks)
        assert times[1] - times[0] >= 19.9

    run_virtual(main())


@pytest.mark.parametrize(
    ("misfortune", "longest"),
    [
        pytest.param(httpx.Response(500), 5.0, id="500"),
        pytest.param(httpx.Response(429, headers={"retry-after": "1"}), 5.0, id="429, one second"),
        pytest.param(httpx.Response(429), 11.0, id="429, for who knows how long"),
    ],
)
def test_one_failed_look_waits_for_no_more_than_it_must(misfortune: httpx.Response, longest: float) -> None:
    """The next look comes after the usual interval; later only where we were told to ask less, and not by how much."""

    async def main() -> list[float]:
        world = World(seconds=60, misfortunes={"status": [misfortune] * 40})
        pauses: list[float] = []

        def hear(event: Event) -> None:
            if isinstance(event, PollFailed):
                pauses.append(event.pause)

        async with client_of(world, limits=Limits(in_flight=40, polls=40), observer=hear) as client:
            jobs = [await client.submit(CAT) for _ in range(40)]
            await asyncio.sleep(5.5)  # one look at each
            assert not any(job.done for job in jobs)
        return pauses[:40]

    pauses = run_virtual(main())
    assert 3.0 <= min(pauses) <= max(pauses) <= longest
    assert (max(pauses) > 5.0) is (longest > 5.0)


def test_an_unknown_status_word_means_still_running(caplog: pytest.LogCaptureFixture) -> None:
    """A word nobody documented is kept raw, warned about once, and not taken for an end."""

    async def main() -> None:
        strange = envelope({"task_id": "task_0", "task_status": "Polishing"})
        world = World(seconds=30, misfortunes={"status": [strange, strange, strange]})
        async with client_of(world) as client:
            job = await client.submit(CAT)
            words = [snapshot.raw_status async for snapshot in job.updates()]
        assert words == ["Polishing", "PROCESSING", "SUCCESS"]

    run_virtual(main())
    assert caplog.text.count("'Polishing' is unknown") == 1


def test_a_task_that_stays_unknown_is_lost_after_the_grace() -> None:
    """404 right after acceptance means "not yet"; half a minute later it means lost."""

    async def main() -> None:
        world = World(seconds=600)
        async with client_of(world) as client:
            job = await client.submit(CAT)
            world.finished_at.clear()
            with pytest.raises(JobLost, match="task_0") as caught:
                await job
            assert 30 <= now() <= 60
            assert caught.value.task_ids == ("task_0",)

    run_virtual(main())


def test_a_failed_task_carries_the_providers_reason() -> None:
    """JobFailed says why, with the task's id and what was last seen."""

    async def main() -> None:
        failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "upstream refused the prompt"})
        world = World(misfortunes={"status": [failed]})
        async with client_of(world) as client:
            with pytest.raises(JobFailed, match="upstream refused the prompt") as caught:
                await client.run(CAT)
        assert caught.value.task_ids == ("task_0",)
        assert caught.value.snapshots[0].state is TaskState.FAILED

    run_virtual(main())


def test_success_without_outputs_is_an_error_of_its_own() -> None:
    """A success that lists nothing is not a result with nothing in it."""

    async def main() -> None:
        empty = envelope({"task_id": "task_0", "task_status": "SUCCESS", "images": []})
        async with client_of(World(misfortunes={"status": [empty]})) as client:
            with pytest.raises(EmptyResult, match="task_0"):
                await client.run(CAT)

    run_virtual(main())


def test_a_job_half_of_whose_tasks_failed_has_a_result() -> None:
    """What was paid for and made is delivered; the failures are named beside it."""

    async def main() -> None:
        mixed = envelope(
            [
                {"task_id": "task_0", "task_status": "SUCCESS", "images": ["https://f.example/0.png"]},
                {"task_id": "task_1", "task_status": "FAILED", "msg": "blocked"},
            ]
        )
        async with client_of(World(misfortunes={"batch": [mixed]})) as client:
            result = await client.run(TextToImage(prompt="cats", image_number=2))
        assert result.urls == ("https://f.example/0.png",)
        assert [failure.reason for failure in result.failures] == ["blocked"]

    run_virtual(main())


def test_patience_ends_in_a_timeout_whose_job_can_be_awaited_again() -> None:
    """JobTimeout after 10 minutes for pictures by default; the job goes on and yields its result later."""

    async def main() -> None:
        world = World(seconds=900)
        async with client_of(world) as client:
            with pytest.raises(JobTimeout, match="task_0") as caught:
                await client.run(CAT)
            assert now() == pytest.approx(600, abs=1)
            assert client.statistics().queue.in_use == 0
            assert caught.value.job is not None
            assert (await caught.value.job).task_ids == ("task_0",)
            assert now() == pytest.approx(903, abs=3)
        assert len(world.posts) == 1

    run_virtual(main())


def test_a_short_deadline_ends_only_that_wait() -> None:
    """A handler's own short deadline leaves the job under way: it is watched on and found in `jobs()`."""

    async def main() -> None:
        async with client_of(World(seconds=60)) as client:
            with pytest.raises(JobTimeout):
                await client.run(CAT, timeout=10)
            assert now() == pytest.approx(10, abs=0.5)
            (job,) = client.jobs()
            assert client.job("task_0") is job
            assert client.statistics().queue.in_use == 1
            await asyncio.sleep(60)
            assert job.done
            assert client.statistics().queue.in_use == 0
            assert client.jobs() == (job,)
            await job
            assert client.jobs() == ()

    run_virtual(main())


def test_no_deadline_waits_without_end() -> None:
    """`deadline=None` is the explicit wish to wait for as long as it takes."""

    async def main() -> None:
        async with client_of(World(seconds=7200)) as client:
            await client.run(CAT, timeout=None)
            assert now() > 7200

    run_virtual(main())


@pytest.mark.parametrize("deadline", [-1, float("nan"), Decimal(700), "60"])
def test_a_deadline_that_makes_no_sense_is_refused_before_anything_is_sent(deadline: Any) -> None:
    """A bad deadline costs nothing."""

    async def main() -> None:
        world = World()
        async with client_of(world) as client:
            with pytest.raises(ConfigurationError, match="timeout must be"):
                await client.run(CAT, timeout=deadline)
        assert world.posts == []

    run_virtual(main())


def test_many_may_wait_on_one_job() -> None:
    """Every waiter gets the result; one that is cancelled or runs out of time takes nothing from the others."""

    async def main() -> None:
        async with client_of(World(seconds=20)) as client:
            job = await client.submit(CAT)
            waiters = [asyncio.ensure_future(job.wait()) for _ in range(5)]
            impatient = asyncio.ensure_future(job.wait(timeout=2))
            await asyncio.sleep(1)
            waiters[0].cancel()
            results = await asyncio.gather(*waiters[1:], job)
            assert len(set(map(id, results))) == 1
            assert isinstance(impatient.exception(), JobTimeout)

    run_virtual(main())


def test_updates_yields_changes_only_and_ends_with_the_job() -> None:
    """For progress: waiting, running, done, each once, however often it was looked at."""

    async def main() -> None:
        waiting = envelope({"task_id": "task_0", "task_status": "WAITING"})
        world = World(seconds=60, misfortunes={"status": [waiting] * 4})
        async with client_of(world) as client:
            job = await client.submit(CAT)
            states = [snapshot.state async for snapshot in job.updates()]
            assert states == [TaskState.WAITING, TaskState.RUNNING, TaskState.DONE]
            assert [s.state async for s in job.updates()] == [TaskState.DONE]

    run_virtual(main())


def test_a_job_is_found_again_by_its_task_id() -> None:
    """Somebody else's task, or one from before a restart, is awaited like one's own; the first look is at once."""

    async def main() -> None:
        world = World(seconds=8, finished_at={"task_old": 0.0})
        async with client_of(world) as client:
            result = await client.job("task_old", of=TextToImage)
            assert result.url.endswith("task_old.png")
            assert now() < 0.5
            with pytest.raises(JobLost, match="unheard"):
                await client.job("unheard")
            with pytest.raises(ConfigurationError):
                client.job("")

    run_virtual(main())


def test_at_most_twenty_tasks_are_in_flight() -> None:
    """A gather of 100 never makes the provider refuse the 21st task."""

    async def main() -> None:
        world = World(seconds=10, places=20)
        async with client_of(world) as client:
            await asyncio.gather(*(client.run(CAT) for _ in range(100)))
            assert client.statistics().queue.refusals == 0
        assert len(world.posts) == 100
        assert world.most_at_once == 20

    run_virtual(main())


def test_places_taken_by_somebody_else_are_lived_with() -> None:
    """Another process uses 12 of the 20 places: refusals are waited out, every request is made once."""

    async def main() -> None:
        world = World(seconds=10, places=8)
        async with client_of(world) as client:
            results = await asyncio.gather(*(client.run(CAT) for _ in range(60)))
            refusals = client.statistics().queue.refusals
        assert len({result.task_ids for result in results}) == 60
        assert len(world.finished_at) == 60
        assert 1 <= refusals <= 30

    run_virtual(main())


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(httpx.Response(429, headers={"retry-after": "2.5"}), id="429"),
        pytest.param(envelope(None, 6010, "more than 20 tasks at once"), id="6010"),
        pytest.param(envelope(None, 6002, "workflow rate limit"), id="6002"),
        pytest.param(envelope(None, 1007, "queue full"), id="1007"),
        pytest.param(envelope(None, 1001, "Request rate limit exceeded"), id="1001"),
        pytest.param(
            httpx.Response(503, json={"status": 5000, "message": "busy", "data": None}), id="503 in its own words"
        ),
        pytest.param(httpx.PoolTimeout("no connection"), id="never left"),
    ],
)
def test_what_a_repeat_can_cure_is_repeated(refusal: httpx.Response | Exception) -> None:
    """Load refusals and requests that never left are sent again, and exactly one task comes of it."""

    async def main() -> None:
        world = World(misfortunes={"submit": [refusal, refusal]})
        async with client_of(world) as client:
            await client.run(CAT)
        assert len(world.posts) == 3
        assert len(world.finished_at) == 1

    run_virtual(main())


@pytest.mark.parametrize(
    "misfortune",
    [
        pytest.param(httpx.ReadTimeout("slow"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("closed"), id="closed"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.ConnectError("says a transport that reports no events"), id="connect error by name only"),
        pytest.param(httpx.Response(503, json={"status": "error", "message": "upstream"}), id="503 in other words"),
        pytest.param(httpx.Response(500, text="oops"), id="500"),
        pytest.param(httpx.Response(502, text="<html>"), id="502"),
        pytest.param(httpx.Response(503, text="<html>"), id="503 of a gateway"),
        pytest.param(httpx.Response(504), id="504"),
        pytest.param(httpx.Response(200, text="<html>"), id="unreadable"),
        pytest.param(httpx.Response(200), id="empty"),
        pytest.param(envelope({"batch_id": 5}), id="no ids"),
        pytest.param(RuntimeError("a bug somewhere below"), id="unforeseen"),
    ],
)
def test_a_post_without_a_clear_answer_is_never_repeated(misfortune: httpx.Response | Exception) -> None:
    """It may have been charged: SubmissionInDoubt names the request and the moment, and one POST is all there is."""

    async def main() -> None:
        world = World(misfortunes={"submit": [misfortune]})
        async with client_of(world) as client:
            with pytest.raises(SubmissionInDoubt, match=r"a cat.*not sent again") as caught:
                await client.run(CAT)
            assert caught.value.request == CAT
            assert caught.value.sent_at is not None
            assert client.statistics().in_doubt == 1
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (envelope(None, 1004, "insufficient credits"), InsufficientCredits),
        (envelope(None, 1001, "prompt cannot be empty"), APIError),
        (httpx.Response(401), AuthenticationError),
    ],
    ids=["credits", "parameter", "key"],
)
def test_a_refusal_is_raised_at_once(refusal: httpx.Response, expected: type[APIError]) -> None:
    """What a repeat cannot cure is not repeated, costs nothing, and frees its place."""

    async def main() -> None:
        world = World(misfortunes={"submit": [refusal]})
        async with client_of(world) as client:
            with pytest.raises(expected):
                await client.run(CAT)
            assert client.statistics().refused == 1
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


def test_refusals_for_ever_end_in_rate_limited() -> None:
    """Nothing waits for ever: after its patience the refused request fails, and nothing was charged."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429)] * 10_000})
        async with client_of(world, retries=RetryPolicy(max_busy_time=300)) as client:
            with pytest.raises(RateLimited):
                await client.run(CAT)
        assert 300 <= now() <= 360
        assert len(world.posts) < 60

    run_virtual(main())


def test_when_patience_with_refusals_ends_it_ends_for_all_in_line() -> None:
    """A hundred requests do not each wait ten minutes, one after the other, for the same refusal."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429)] * 10_000})
        async with client_of(world, retries=RetryPolicy(max_busy_time=300)) as client:
            errors = await asyncio.gather(*(client.run(CAT) for _ in range(100)), return_exceptions=True)
            assert client.statistics().queue.in_use == 0
        assert all(isinstance(error, RateLimited) for error in errors)
        assert now() <= 360

    run_virtual(main())


def test_a_lost_task_does_not_cost_its_sisters() -> None:
    """Two pictures, one of which the provider forgets: the other is delivered, the loss is named."""

    async def main() -> None:
        world = World(seconds=90, misfortunes={"batch": [envelope(None, 1003, "batch not exist")]})
        async with client_of(world) as client:
            job = await client.submit(TextToImage(prompt="cats", image_number=2))
            await asyncio.sleep(20)
            del world.finished_at["task_1"]
            result = await job
        assert result.urls == ("https://files.example.com/task_0.png",)
        assert [failure.task_id for failure in result.failures] == ["task_1"]

    run_virtual(main())


def test_a_wrong_key_spares_those_in_line_their_post() -> None:
    """The first refused key ends the wait of everybody behind it."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(401)] * 1000}, latency=0.1)
        async with client_of(world) as client:
            errors = await asyncio.gather(*(client.run(CAT) for _ in range(200)), return_exceptions=True)
        assert all(isinstance(error, AuthenticationError) for error in errors)
        assert len(world.posts) <= 20

    run_virtual(main())


def test_cancelled_in_line_sends_nothing() -> None:
    """A caller who leaves before its turn has paid for nothing."""

    async def main() -> None:
        world = World(seconds=60)
        async with client_of(world, limits=Limits(in_flight=1)) as client:
            await client.submit(CAT)
            waiting = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.sleep(100)
        assert len(world.posts) == 1

    run_virtual(main())


@pytest.mark.parametrize("turns", range(12))
def test_cancelled_at_any_moment_of_the_post_loses_no_id(turns: int) -> None:
    """At every await point of a submission: one POST at most, and a task that exists is found in `jobs()`."""

    async def main() -> None:
        world = World(seconds=5, latency=0.5)
        async with client_of(world) as client:
            running = asyncio.ensure_future(client.run(CAT))
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await asyncio.sleep(20)
            ids = {task_id for job in client.jobs() for task_id in job.task_ids}
            assert ids == set(world.finished_at)
            assert len(world.posts) <= 1
            assert client.statistics().queue.in_use == 0

    run_virtual(main())


def test_three_hundred_impatient_callers_lose_no_id() -> None:
    """Callers with random time-outs around a slow POST: every task that was started is known afterwards."""

    async def main() -> None:
        world = World(seconds=5, latency=0.7)
        async with client_of(world, limits=Limits(in_flight=100, submissions=20)) as client:

            async def caller(number: int) -> None:
                async with asyncio.timeout(number * 0.37 % 29):
                    await client.run(CAT)

            outcomes = await asyncio.gather(*(caller(n) for n in range(300)), return_exceptions=True)
            await asyncio.sleep(60)
            done = sum(outcome is None for outcome in outcomes)
            assert len(client.jobs()) + done == len(world.finished_at)
            assert 0 < done < 300
        assert len(world.posts) == len(world.finished_at)

    run_virtual(main())


def test_cancelled_while_the_lane_rests_is_not_sent_again() -> None:
    """A request refused because of load and given up by its caller does not go out after the pause."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429, headers={"retry-after": "30"})]})
        async with client_of(world) as client:
            running = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(10)
            running.cancel()
            await asyncio.sleep(100)
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


def test_closing_finishes_the_post_under_way_and_tells_the_waiters(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving `async with` early: the POST ends, its id is logged, who waits gets ClientClosed, the line NotSent."""

    async def main() -> None:
        world = World(seconds=60, latency=1.0)
        async with client_of(world, limits=Limits(in_flight=1)) as client:
            first = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(0.5)
            second = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert isinstance(first.exception(), ClientClosed)
        assert isinstance(second.exception(), NotSent)
        assert len(world.posts) == 1
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())
    assert "closed with 1 jobs under way" in caplog.text
    assert "task_0" in caplog.text


def test_closing_does_not_wait_out_a_resting_lane() -> None:
    """A refused request that waits for its repeat is turned away when the client closes."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429, headers={"retry-after": "100"})] * 9})
        async with client_of(world) as client:
            running = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(1)
        assert now() < 2
        with pytest.raises(NotSent):
            await running

    run_virtual(main())


def test_a_client_can_be_entered_again_in_another_loop() -> None:
    """Everything that belongs to a loop is made on entering."""
    world = World()
    http: list[Any] = []
    client = WeryAI("sk-made-up", base_url="https://api.example.com", http=None)

    async def main() -> None:
        http.append(httpx.AsyncClient(transport=httpx.MockTransport(world)))
        client._config = attrs.evolve(client._config, http=http[-1])
        async with client:
            await client.run(CAT)
            with pytest.raises(ConfigurationError, match="open already"):
                await client.open()
        async with client:
            await client.run(CAT)

    run_virtual(main())
    run_virtual(main())
    assert len(world.posts) == 4


def test_a_closed_client_says_how_to_open_it() -> None:
    """The error for a forgotten `async with` shows the line that is missing."""

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"async with WeryAI\(\) as client"):
            await WeryAI("sk-made-up").run(CAT)

    run_virtual(main())


def test_a_missing_key_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the error names the variable and the argument; with the variable it works."""
    with pytest.raises(ConfigurationError, match="WERYAI_API_KEY, or pass api_key"):
        WeryAI()
    monkeypatch.setenv("WERYAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("WERYAI_BASE_URL", "http://127.0.0.1:9/")
    assert "127.0.0.1:9" in repr(WeryAI())
    assert "sk-from" not in repr(WeryAI())


def test_stopping_to_submit_turns_away_the_line_and_keeps_what_was_sent() -> None:
    """For an orderly end: those who wait get NotSent, later ones too, and the jobs under way are awaited."""

    async def main() -> None:
        world = World(seconds=20)
        async with client_of(world, limits=Limits(in_flight=1)) as client:
            first = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(1)
            second = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(1)
            client.stop_submitting()
            with pytest.raises(NotSent):
                await second
            with pytest.raises(NotSent):
                await client.submit(CAT)
            assert (await first).task_ids == ("task_0",)
        assert len(world.posts) == 1

    run_virtual(main())


def test_a_look_that_raises_what_nobody_foresaw_does_not_end_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """A bug below a status check is logged with its traceback, and the next look comes."""

    async def main() -> None:
        world = World(seconds=20, misfortunes={"status": [LookupError("a bug below")]})
        async with client_of(world) as client:
            assert (await client.run(CAT)).task_ids == ("task_0",)

    run_virtual(main())
    assert "an unforeseen error" in caplog.text
    assert "a bug below" in caplog.text


def test_a_job_of_a_closed_client_says_so() -> None:
    """Awaiting a job after its client has closed ends at once, with the id that finds it again."""

    async def main() -> None:
        async with client_of(World(seconds=60)) as client:
            job = await client.submit(CAT)
        with pytest.raises(ClientClosed, match=r"client\.job\('task_0'\)"):
            await job
        with pytest.raises(ClientClosed):
            await job.wait(timeout=None)

    run_virtual(main())


def test_a_provider_that_answers_at_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that are done in the answer to the submission need no look at all."""

    async def main() -> None:
        world = World()
        async with client_of(world) as client:
            done = Snapshot("t", TaskState.DONE, "success", (Asset("https://f.example/t.png"),))
            accepted = Accepted(task_ids=("t",), snapshots=(done,))
            monkeypatch.setattr(WeryAIProvider, "decode_submission", lambda *_: accepted)
            job = await client.submit(CAT)
            assert (await job).urls == ("https://f.example/t.png",)
            assert client.statistics().queue.in_use == 0
        assert world.looks == {}

    run_virtual(main())


def test_updates_end_though_the_job_ended_while_the_caller_was_busy() -> None:
    """Whoever takes his time with a snapshot (a message to edit, a slow browser) still hears of the end."""

    async def main() -> None:
        world = World(seconds=12.0)
        async with client_of(world) as client:
            job = await client.submit(CAT)
            states = []
            async for snapshot in job.updates():
                states.append(snapshot.state)
                await asyncio.sleep(30.0)
        assert states == [TaskState.RUNNING, TaskState.DONE]

    run_virtual(main())


def test_updates_end_in_a_timeout_when_patience_ends() -> None:
    """An iteration over updates does not hang when nothing changes any more."""

    async def main() -> None:
        async with client_of(World(seconds=6000)) as client:
            job = await client.submit(CAT)
            with pytest.raises(JobTimeout):
                async for _ in job.updates(timeout=60):
                    pass
            assert now() == pytest.approx(60, abs=1)
            assert "task_0 running" in repr(job)

    run_virtual(main())


def test_a_deadline_beyond_all_patience_is_none() -> None:
    """The largest number there is waits without end, instead of failing after the request was paid for."""

    async def main() -> None:
        async with client_of(World(seconds=30)) as client:
            assert (await client.run(CAT, timeout=1.7e308)).task_ids == ("task_0",)

    run_virtual(main())


def test_a_watcher_who_is_busy_at_the_deadline_is_told_afterwards() -> None:
    """Nobody comes back to a job that nobody looks at any more and waits for ever."""

    async def main() -> None:
        async with client_of(World(seconds=1e6)) as client:
            job = await client.submit(CAT)
            with pytest.raises(JobTimeout):
                async for _ in job.updates(timeout=600):
                    await asyncio.sleep(700)
            with pytest.raises(JobTimeout):
                await job.wait(timeout=0)
            assert now() < 710

    run_virtual(main())


def test_nobody_buys_for_a_caller_who_has_left() -> None:
    """Cancelled while the POST is under way, which is then refused because of load: that is the end of it."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429)]}, latency=1.0)
        async with client_of(world) as client:
            running = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(0.5)
            running.cancel()
            await asyncio.sleep(600)
            assert client.statistics().queue.in_use == 0
        assert len(world.posts) == 1

    run_virtual(main())


def test_retry_after_nothing_is_no_invitation_to_storm() -> None:
    """A Retry-After of 0 keeps the least pause between two refused submissions."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429, headers={"retry-after": "0"})] * 10_000})
        async with client_of(world) as client:
            with pytest.raises(RateLimited):
                await client.run(CAT)
        assert len(world.posts) <= 301

    run_virtual(main())


def test_an_old_refusal_does_not_shorten_todays_patience() -> None:
    """A refusal an hour ago, and one now, are not an hour of refusals."""

    async def main() -> None:
        world = World(misfortunes={"submit": [httpx.Response(429)]}, latency=1.0)
        async with client_of(world) as client:
            gone = asyncio.ensure_future(client.run(CAT))
            await asyncio.sleep(0.5)
            gone.cancel()
            await asyncio.sleep(3600)
            world.misfortunes = {"submit": [httpx.Response(429)]}
            assert (await client.run(CAT)).task_ids == ("task_0",)

    run_virtual(main())


def test_a_log_handler_that_raises_does_not_lose_what_was_paid_for() -> None:
    """The job is kept and looked at, whatever the handlers of the log do."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO and "accepted" in record.getMessage():
                raise LookupError("a handler's own bug")

    async def main() -> None:
        async with client_of(World(seconds=10)) as client:
            with pytest.raises(LookupError):
                await client.run(CAT)
            await asyncio.sleep(30)
            (job,) = client.jobs()
            assert (await job).task_ids == ("task_0",)
            assert client.statistics().queue.in_use == 0

    logger, broken = logging.getLogger("aiowery"), Broken()
    logger.addHandler(broken)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        run_virtual(main())
    finally:
        logger.removeHandler(broken)
        logger.setLevel(level)


def test_a_renewed_key_serves_everybody_who_was_refused_with_the_old_one() -> None:
    """Four submissions with the old key, refused one after the other: all four go out with the new one."""

    async def main() -> None:
        keys = ["sk-old-key"]
        world = World()
        number = 0

        async def answer(request: httpx.Request) -> httpx.Response:
            nonlocal number
            number += 1
            await asyncio.sleep(0.1 * number)
            if request.headers["authorization"] == "Bearer sk-old-key":
                return httpx.Response(401)
            return await world(request)

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            async with WeryAI(lambda: keys[0], base_url="https://api.example.com", http=http) as client:
                keys[0] = "sk-new-key"
                await asyncio.gather(*(client.submit(CAT) for _ in range(4)))
        assert len(world.posts) == 4

    run_virtual(main())


def test_throttled_reads_do_not_hold_up_status_checks() -> None:
    """A read that pauses before its next attempt gives its place at the gate to others."""

    async def main() -> None:
        world = World(seconds=10)

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/balance"):
                return httpx.Response(429, headers={"retry-after": "100"})
            return await world(request)

        async with client_of(answer, limits=Limits(polls=2)) as client:
            reads = [asyncio.ensure_future(client.balance()) for _ in range(2)]
            await asyncio.sleep(1)
            await client.run(CAT)
            assert now() < 20
            await asyncio.gather(*reads, return_exceptions=True)

    run_virtual(main())
