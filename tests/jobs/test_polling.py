"""Polls of jobs under way: when they come, what a failing one does, and what is learned from finished jobs."""

from __future__ import annotations

import asyncio
from bisect import bisect
from itertools import pairwise

import httpx
import pytest

from aiowery import Asset, Event, Limits, PollFailed, PollPolicy, Snapshot, TaskState
from aiowery._core.request import Accepted
from aiowery.errors import (
    JobLost,
)
from aiowery.weryai import TextToImage
from aiowery.weryai._provider import WeryAIProvider
from tests.support import CAT, FakeWeryAI, client_of, envelope, now

WIDE = Limits(in_flight=1000, submissions=50)


@pytest.mark.virtual_time
async def test_a_job_is_looked_at_every_three_to_five_seconds() -> None:
    """The provider's recommended interval holds for each job, at random within it."""
    world = FakeWeryAI(seconds=600)
    async with client_of(world, polling=PollPolicy(image_timeout=3600)) as client:
        await client.run(CAT)
    looks = world.polls["task_0"]
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert min(gaps) >= 3.0
    assert max(gaps) <= 5.05
    assert max(gaps) - min(gaps) > 1
    assert len(world.posts) == 1


@pytest.mark.virtual_time
async def test_learned_first_look_saves_polls_and_stays_prompt() -> None:
    """Once eight jobs have finished, the first look waits for the usual duration: fewer polls, and none found late."""
    world = FakeWeryAI(seconds=12)
    async with client_of(world, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(8)))
        before = sum(map(len, world.polls.values()))
        results = await asyncio.gather(*(client.run(CAT) for _ in range(50)))
        polls = (sum(map(len, world.polls.values())) - before) / 50
    delays = [(result.seconds or 0) - 12 for result in results]
    assert polls <= 2.2
    assert sum(delays) / 50 < 1.9
    assert max(delays) < 3.3


@pytest.mark.virtual_time
async def test_jobs_submitted_together_are_looked_at_one_after_the_other() -> None:
    """A learned first look comes at random within an interval: jobs of equal duration make no rush of looks."""
    world = FakeWeryAI(seconds=12)
    async with client_of(world, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(8)))
        await asyncio.gather(*(client.run(CAT) for _ in range(300)))
    looks = sorted(moment for number in range(8, 308) for moment in world.polls[f"task_{number}"])
    assert max(bisect(looks, moment + 1) - place for place, moment in enumerate(looks)) < 300 / 3 * 1.4
    gaps = [later - earlier for several in world.polls.values() for earlier, later in pairwise(several)]
    assert min(gaps) >= 3.0


@pytest.mark.virtual_time
async def test_a_model_that_has_become_faster_is_noticed() -> None:
    """The learned first look comes down again when jobs turn out to be done long before it."""
    world = FakeWeryAI(seconds=60)
    async with client_of(world, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(64)))
        world.seconds = 10
        for _ in range(20):
            results = await asyncio.gather(*(client.run(CAT) for _ in range(10)))
        assert max(result.seconds or 0 for result in results) < 20


@pytest.mark.virtual_time
async def test_learning_can_be_switched_off() -> None:
    """`PollPolicy(first_poll="interval")` looks after 3 to 5 s, whatever has been seen."""
    world = FakeWeryAI(seconds=30)
    async with client_of(world, limits=WIDE, polling=PollPolicy(first_poll="interval")) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(20)))
        begun = now()
        await client.run(CAT)
    assert world.polls["task_20"][0] - begun <= 5.1


@pytest.mark.virtual_time
async def test_several_pictures_are_asked_for_with_one_get() -> None:
    """A job with a batch id and several tasks uses the batch endpoint, and yields all pictures in order."""
    world = FakeWeryAI(seconds=20)
    async with client_of(world) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=4))
    assert [asset.task_id for asset in result.assets] == [f"task_{n}" for n in range(4)]
    assert result.credits == 4
    assert world.polls == {}
    assert 4 <= world.batch_polls <= 8


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
@pytest.mark.virtual_time
async def test_a_disappointing_batch_answer_falls_back_to_single_looks(answer: httpx.Response) -> None:
    """Whatever the batch endpoint fails to say is asked for task by task; the job does not notice."""
    world = FakeWeryAI(seconds=10, faults={"batch": [answer]})
    async with client_of(world) as client:
        result = await client.run(TextToImage(prompt="cats", image_number=2))
    assert len(result.assets) == 2
    assert world.polls


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
@pytest.mark.virtual_time
async def test_a_failing_look_never_fails_a_job(misfortune: httpx.Response | Exception) -> None:
    """Three misfortunes in a row on the status endpoint, and the picture still arrives, paid for once."""
    world = FakeWeryAI(seconds=20, faults={"status": [misfortune] * 3})
    async with client_of(world) as client:
        result = await client.run(CAT)
    assert result.url == "https://files.example.com/task_0.png"
    assert len(world.posts) == 1


@pytest.mark.virtual_time
async def test_a_429_on_a_look_holds_all_looks() -> None:
    """The provider speaks of everybody, so everybody rests as long as it asks."""
    world = FakeWeryAI(seconds=60, faults={"status": [httpx.Response(429, headers={"retry-after": "20"})]})
    async with client_of(world, limits=WIDE) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(10)))
    times = sorted(moment for looks in world.polls.values() for moment in looks)
    assert times[1] - times[0] >= 19.9


@pytest.mark.parametrize(
    ("misfortune", "longest"),
    [
        pytest.param(httpx.Response(500), 5.0, id="500"),
        pytest.param(httpx.Response(429, headers={"retry-after": "1"}), 5.0, id="429, one second"),
        pytest.param(httpx.Response(429), 11.0, id="429, for who knows how long"),
    ],
)
@pytest.mark.virtual_time
async def test_one_failed_look_waits_for_no_more_than_it_must(misfortune: httpx.Response, longest: float) -> None:
    """The next look comes after the usual interval; later only where we were told to ask less, and not by how much."""
    world = FakeWeryAI(seconds=60, faults={"status": [misfortune] * 40})
    pauses: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, PollFailed):
            pauses.append(event.pause)

    async with client_of(world, limits=Limits(in_flight=40, polls=40), observer=hear) as client:
        jobs = [await client.submit(CAT) for _ in range(40)]
        await asyncio.sleep(5.5)  # one look at each
        assert not any(job.done for job in jobs)
    pauses = pauses[:40]
    assert 3.0 <= min(pauses) <= max(pauses) <= longest
    assert (max(pauses) > 5.0) is (longest > 5.0)


@pytest.mark.virtual_time
async def test_an_unknown_status_word_means_still_running(caplog: pytest.LogCaptureFixture) -> None:
    """A word nobody documented is kept raw, warned about once, and not taken for an end."""
    strange = envelope({"task_id": "task_0", "task_status": "Polishing"})
    world = FakeWeryAI(seconds=30, faults={"status": [strange, strange, strange]})
    async with client_of(world) as client:
        job = await client.submit(CAT)
        words = [snapshot.raw_status async for snapshot in job.updates()]
    assert words == ["Polishing", "PROCESSING", "SUCCESS"]
    assert caplog.text.count("'Polishing' is unknown") == 1


@pytest.mark.virtual_time
async def test_a_task_that_stays_unknown_is_lost_after_the_grace() -> None:
    """404 right after acceptance means "not yet"; half a minute later it means lost."""
    world = FakeWeryAI(seconds=600)
    async with client_of(world) as client:
        job = await client.submit(CAT)
        world.finished_at.clear()
        with pytest.raises(JobLost, match="task_0") as caught:
            await job
        assert 30 <= now() <= 60
        assert caught.value.task_ids == ("task_0",)


@pytest.mark.virtual_time
async def test_a_look_that_raises_what_nobody_foresaw_does_not_end_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """A bug below a status check is logged with its traceback, and the next look comes."""
    world = FakeWeryAI(seconds=20, faults={"status": [LookupError("a bug below")]})
    async with client_of(world) as client:
        assert (await client.run(CAT)).task_ids == ("task_0",)
    assert "an unforeseen error" in caplog.text
    assert "a bug below" in caplog.text


@pytest.mark.virtual_time
async def test_a_provider_that_answers_at_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that are done in the answer to the submission need no look at all."""
    world = FakeWeryAI()
    async with client_of(world) as client:
        done = Snapshot("t", TaskState.DONE, "success", (Asset("https://f.example/t.png"),))
        accepted = Accepted(task_ids=("t",), snapshots=(done,))
        monkeypatch.setattr(WeryAIProvider, "decode_submission", lambda *_: accepted)
        job = await client.submit(CAT)
        assert (await job).urls == ("https://f.example/t.png",)
        assert client.statistics().queue.in_use == 0
    assert world.polls == {}


@pytest.mark.virtual_time
async def test_throttled_reads_do_not_hold_up_status_checks() -> None:
    """A read that pauses before its next attempt gives its place at the gate to others."""
    world = FakeWeryAI(seconds=10)

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
