"""A client that is called back: when it looks, what it believes, and what it does when nobody calls."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import KEY, URL, client_of
from webhook.calling import PUBLIC, CallingWorld
from weryai.filled import smallest

from aiowery import PollPolicy, WeryAI
from aiowery._core.request import Request
from aiowery.errors import ConfigurationError, JobTimeout
from aiowery.ledger import Ledger, MemoryLedger, SqliteLedger
from aiowery.testing import run_virtual
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import REQUESTS, Chat, DeepResearch, TextToImage, VideoExtend, VideoMerge, decode_delivery
from aiowery.weryai._provider import WeryAIProvider

CAT = TextToImage(prompt="a cat")


def test_one_check_a_job_and_no_delay() -> None:
    """A call wakes the check at once: one GET a job, and its end is known as soon as it is told."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            results = await asyncio.gather(*(client.run(TextToImage(prompt=f"cat {n}")) for n in range(10)))
            statistics = client.statistics().webhooks
        assert world.gets == 10
        assert max(result.seconds or 99.0 for result in results) < 12.2
        assert world.answers == [200] * 10
        assert statistics is not None
        assert (statistics.received, statistics.first, statistics.late, statistics.awaited) == (10, 10, 0, 0)

    run_virtual(main())


def test_each_submission_has_an_address_of_its_own() -> None:
    """Public url, then 128 bits that nobody can guess; the ledger holds only a hash of them."""

    async def main() -> None:
        world = CallingWorld(seconds=1.0)
        async with client_of(world, webhooks=world.webhooks, reuse=True) as client:
            await asyncio.gather(*(client.run(TextToImage(prompt=f"cat {n}")) for n in range(5)))
            refs = {entry.submission_id for entry in await client.ledger.entries()}
        tokens = {address.removeprefix(PUBLIC + "/") for address in world.addresses.values()}
        assert len(tokens) == 5
        assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)
        assert not tokens & refs

    run_virtual(main())


def test_all_requests_that_may_carry_an_address_do() -> None:
    """Every class with a `webhook_url` gets one; extend and merge have none and are polled; a caller's own stays."""
    provider = WeryAIProvider()
    for name, cls in REQUESTS.items():
        request: Request[Any] = smallest(name)
        asked = provider.with_webhook(request, f"{PUBLIC}/x")
        documented = hasattr(request, "webhook_url") and request.direct_timeout is None
        assert (asked is not None) == documented, cls
    assert provider.with_webhook(VideoExtend(video_url="https://e.com/v.mp4", prompt="on"), PUBLIC) is None
    assert provider.with_webhook(VideoMerge(video_urls=["https://e.com/1.mp4", "https://e.com/2.mp4"]), PUBLIC) is None
    assert provider.with_webhook(Chat(messages="hello", model="GPT_4O"), PUBLIC) is None
    assert provider.with_webhook(DeepResearch(input="why?", model="GEMINI_25_PRO"), PUBLIC) is None
    own = TextToImage(prompt="a cat", webhook_url="https://elsewhere.example/")
    assert provider.with_webhook(own, PUBLIC) is None


def test_a_request_with_its_own_address_is_polled_as_usual() -> None:
    """Who gives `webhook_url` wants the calls for himself; the job ends by looks."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            await client.run(TextToImage(prompt="a cat", webhook_url="https://elsewhere.example/"))
        assert world.gets in {3, 4}
        assert world.posts[0]["webhook_url"] == "https://elsewhere.example/"

    run_virtual(main())


def test_polling_comes_back_when_nobody_calls() -> None:
    """The first looks wait 15 s; after a few ends without a call they come every 3 to 5 s again."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0, silent=True)
        async with client_of(world, webhooks=world.webhooks) as client:
            delays = [((await client.run(CAT)).seconds or 0.0) - 12.0 for _ in range(8)]
            statistics = client.statistics().webhooks
        assert delays[0] < 3.1
        assert statistics is not None
        assert (statistics.first, statistics.late, statistics.fallback_interval) == (0, 8, 5.0)
        looks = [len(times) for times in world.looks.values()]
        assert looks[0] == 1
        assert all(number in {3, 4} for number in looks[2:])

    run_virtual(main())


def test_the_net_widens_with_calls_and_narrows_without() -> None:
    """60 s once calls have come; a task whose call is lost is found by the net, and the job does not fail."""

    async def main() -> None:
        world = CallingWorld(seconds=8.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            nets = []
            for silent in (False, False, False, True):
                world.silent = silent
                result = await client.run(CAT)
                statistics = client.statistics().webhooks
                assert statistics is not None
                nets.append(statistics.fallback_interval)
        assert nets == [30.0, 60.0, 60.0, 30.0]
        assert 54.0 <= (result.seconds or 0.0) <= 60.1

    run_virtual(main())


def test_the_net_does_not_outwait_who_waits() -> None:
    """Calls have come and come no more: a handler with 25 s still gets its picture of 12 s, for one look."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            for _ in range(3):
                await client.run(CAT)
            world.silent = True
            results = await asyncio.gather(*(client.run(CAT, timeout=25) for _ in range(5)))
            assert world.gets == 8
            assert all(19.9 < (result.seconds or 0.0) < 20.1 for result in results)

    run_virtual(main())


def test_impatient_waiters_make_no_more_looks_than_polling_does() -> None:
    """Somebody asks again and again with a second's patience: looks keep their usual distance."""

    async def main() -> None:
        world = CallingWorld(seconds=300.0, silent=True)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            for _ in range(100):
                with pytest.raises(JobTimeout):
                    await job.wait(timeout=1.0)
            assert job.age > 90
            assert len(world.looks["task_0"]) <= 25

    run_virtual(main())


def test_forged_calls_cost_no_more_than_polling() -> None:
    """Somebody who knows an address calls a thousand times in 20 s: a look at once, then one every 3 to 5 s."""

    async def main() -> None:
        world = CallingWorld(seconds=100.0, silent=True)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            for _ in range(1000):
                assert await world.call("task_0") == 200
                await asyncio.sleep(0.02)
            looks = world.looks["task_0"]
            assert 5 <= len(looks) <= 7
            assert min(later - earlier for earlier, later in pairwise(looks)) >= 3.0
            await asyncio.sleep(60.0)
            assert len(looks) <= 12
            await job

    run_virtual(main())


def test_an_honest_call_after_a_forged_one_is_heard() -> None:
    """The net is wide, looks have become rare; the true call brings the next one forward, to at most 5 s later."""

    async def main() -> None:
        world = CallingWorld(seconds=100.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            for _ in range(3):
                client._runtime._poller.fallback.record_delivery()
            job = await client.submit(CAT)
            await asyncio.sleep(10.0)
            await world.call("task_0")
            result = await job
        assert (result.seconds or 0.0) <= 105.1
        assert world.gets <= 8

    run_virtual(main())


def test_a_call_before_the_end_spends_nothing() -> None:
    """Should WeryAI tell of progress too: no look, and the call at the end is as good as without it."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            for word in ("waiting", "PROCESSING", "processing"):
                assert await world.call("task_0", word=word) == 200
            result = await job
        assert (result.seconds or 99.0) < 12.2
        assert world.gets == 1

    run_virtual(main())


def test_a_call_during_a_look_is_followed_by_another_look() -> None:
    """The look was asked just before the end, the call comes while it is under way: the end is seen at once."""

    async def main() -> None:
        world = CallingWorld(seconds=15.5, after=0.0)

        async def slow(request: httpx.Request) -> httpx.Response:
            answer = await world(request)
            if request.method == "GET":
                await asyncio.sleep(2.0)
            return answer

        async with client_of(slow, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            while not world.gets:  # noqa: ASYNC110 - a double sets no event
                await asyncio.sleep(0.1)
            world.finished_at["task_0"] = asyncio.get_running_loop().time() + 0.5
            await asyncio.sleep(1.0)
            await world.call("task_0")
            await job
            assert asyncio.get_running_loop().time() < 21.0
        assert world.gets == 2

    run_virtual(main())


def test_a_call_that_overtakes_the_status_is_asked_about_again_soon() -> None:
    """The call says done, the status check not yet: the next look comes as with polling."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0, after=-1.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            result = await client.run(CAT)
        assert (result.seconds or 99.0) < 16.2
        assert world.gets == 2

    run_virtual(main())


def test_a_call_before_the_answer_is_not_lost() -> None:
    """The task ends before the POST is answered: the job is looked at as soon as it exists."""

    async def main() -> None:
        world = CallingWorld(seconds=0.5, after=0.0)
        slow = asyncio.Event()

        async def late(request: httpx.Request) -> httpx.Response:
            answer = await world(request)
            if request.method == "POST":
                await asyncio.sleep(2.0)
                slow.set()
            return answer

        async with client_of(late, webhooks=world.webhooks) as client:
            result = await client.run(CAT)
        assert slow.is_set()
        assert result.seconds == 0.0
        assert world.answers == [200]

    run_virtual(main())


def test_calls_for_several_pictures() -> None:
    """Four tasks, four calls: the job ends with the last; duplicates and another's task change nothing."""

    async def main() -> None:
        world = CallingWorld(seconds=12.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(TextToImage(prompt="a cat", image_number=4))
            other = await client.submit(CAT)
            assert await world.call("task_0", about=other.task_ids[0]) == 404
            assert await world.call("task_0", about="task_of_nobody") == 404
            assert world.gets == 0
            result, _ = await asyncio.gather(job, other)
            looks = world.gets
            for _ in range(3):
                assert await world.call("task_0") == 200
            await asyncio.sleep(10.0)
        assert len(result.assets) == 4
        assert world.gets == looks <= 6

    run_virtual(main())


def test_a_call_after_our_patience_is_still_heard() -> None:
    """The waiter has timed out; the call comes later, and the job has its result."""

    async def main() -> None:
        world = CallingWorld(seconds=700.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            with pytest.raises(JobTimeout):
                await job
            assert not job.done
            await asyncio.sleep(101.0)
            assert job.done
            assert (await job).assets

    run_virtual(main())


def test_a_call_after_our_patience_that_came_too_early_hides_no_later_one() -> None:
    """Nobody looks any more; a forged call wakes a look that finds nothing, and the true one still ends the job."""

    async def main() -> None:
        world = CallingWorld(seconds=1100.0)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            with pytest.raises(JobTimeout):
                await job
            before = len(world.looks["task_0"])
            for _ in range(100):
                await world.call("task_0")
                await asyncio.sleep(0.1)
            assert len(world.looks["task_0"]) <= before + 3
            await asyncio.sleep(500.0)
            assert job.done

    run_virtual(main())


def test_failing_checks_do_not_multiply_with_calls() -> None:
    """The status endpoint is down and somebody calls and calls: checks keep their pauses."""

    async def main() -> None:
        world = CallingWorld(seconds=30.0, silent=True)
        world.misfortunes["status"] = [httpx.Response(500) for _ in range(6)]
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            for _ in range(500):
                await world.call("task_0")
                await asyncio.sleep(0.02)
            assert len(world.looks["task_0"]) <= 3
            await job

    run_virtual(main())


def test_a_closed_client_hears_no_more() -> None:
    """Closing detaches: with nobody open the receiver answers 503, so that a call may come again."""

    async def main() -> None:
        world = CallingWorld(seconds=5.0, silent=True)
        async with client_of(world, webhooks=world.webhooks) as client:
            job = await client.submit(CAT)
            assert await world.call("task_0") == 200
        assert not job.done or job.error is not None
        assert await world.call("task_0") == 503

    run_virtual(main())


def test_two_clients_share_a_receiver() -> None:
    """Each hears of its own; a call for one does not touch the other."""

    async def main() -> None:
        one, other = CallingWorld(seconds=6.0), CallingWorld(seconds=9.0)
        other.receiver = one.receiver
        async with (
            client_of(one, webhooks=one.webhooks) as first,
            client_of(other, webhooks=other.webhooks) as second,
        ):
            results = await asyncio.gather(first.run(CAT), second.run(CAT))
        assert [round(result.seconds or 0.0) for result in results] == [6, 9]
        assert (one.gets, other.gets) == (1, 1)

    run_virtual(main())


@pytest.mark.anyio
async def test_what_another_process_received_is_counted_by_whose_it_is(tmp_path: Path) -> None:
    """Two clients on one file, a third receives: each counts the calls for its own submissions."""
    path = tmp_path / "jobs.db"
    world = CallingWorld(seconds=3600.0, silent=True)
    webhooks = Webhooks(public_url=PUBLIC)
    async with (
        Receiver(ledger=path, decode=decode_delivery) as world.receiver,
        client_of(world, webhooks=webhooks, ledger=path) as one,
        client_of(world, webhooks=webhooks, ledger=path) as other,
    ):
        mine, its = await one.submit(CAT), await other.submit(CAT)
        world.finished_at = dict.fromkeys(world.finished_at, 0.0)
        await world.call(mine.task_ids[0])
        await asyncio.wait_for(mine.wait(), 5)
        await asyncio.sleep(1.2)  # for the other one to have read it too
        assert [client.statistics().webhooks.received for client in (one, other)] == [1, 0]  # type: ignore[union-attr]
        await world.call(its.task_ids[0])
        await asyncio.wait_for(its.wait(), 5)
        assert other.statistics().webhooks.received == 1  # type: ignore[union-attr]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("who", ["two clients", "the receiver"])
async def test_a_ledger_that_is_shared_keeps_no_call_to_itself(kind: str, who: str, tmp_path: Path) -> None:
    """One open ledger for two clients, or for client and receiver: whoever hears first, the job's client is woken."""
    ledger: Ledger = MemoryLedger() if kind == "memory" else SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    world = CallingWorld(seconds=3600.0, silent=True)
    if who == "the receiver":
        world.receiver = Receiver(ledger=ledger, decode=decode_delivery)
        await world.receiver.open()
    async with (
        client_of(CallingWorld(), webhooks=world.webhooks, ledger=ledger),
        client_of(world, webhooks=world.webhooks, ledger=ledger) as client,
    ):
        job = await client.submit(CAT)
        world.finished_at["task_0"] = 0.0
        assert await world.call("task_0") == 200
        assert (await asyncio.wait_for(job.wait(), 2)).assets
    await ledger.aclose()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Webhooks(public_url="http://app.example.com"), "unencrypted"),
        (lambda: Webhooks(public_url="https://user:word@app.example.com"), "public_url must be a URL without"),
        (lambda: Webhooks(public_url="https://app.example.com/?a=b"), "no query and no fragment"),
        (lambda: Webhooks(public_url="app.example.com"), "a URL such as"),
        (lambda: Webhooks(public_url=None), "public_url must be a URL"),  # type: ignore[arg-type]
        (lambda: Webhooks(public_url=PUBLIC, receiver=Receiver), r"must be an aiowery\.webhook\.Receiver\(\)"),  # type: ignore[arg-type]
        (lambda: WeryAI(KEY, base_url=URL, webhooks=Webhooks(public_url=PUBLIC)), "ledger in a file"),
        (lambda: WeryAI(KEY, base_url=URL, webhooks=PUBLIC), r"Webhooks\(public_url="),  # type: ignore[arg-type]
    ],
    ids=["http", "credentials", "query", "no scheme", "none", "class", "no receiver", "no webhooks"],
)
def test_what_could_not_work_is_refused(build: Any, words: str) -> None:
    """Found before any request, with the field and the way out; a password in the url is not repeated."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        build()
    assert "word@" not in str(caught.value)


def test_no_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No record at any level holds an address, whether its call was taken or turned away, nor a stranger's body."""

    async def main() -> None:
        world = CallingWorld(seconds=1.0)
        with caplog.at_level(logging.DEBUG):
            async with client_of(world, webhooks=world.webhooks) as client:
                await client.run(CAT)
                await world.call("task_0", about="another")
                await world.receiver.receive("0" * 32, b"{}", None)
                await world.receiver.receive("0" * 32, b"a stranger's words", None)
        token = world.addresses["task_0"].rpartition("/")[2]
        assert "turned away" in caplog.text
        assert token not in caplog.text
        assert "0" * 32 not in caplog.text
        assert "a stranger's words" not in caplog.text

    run_virtual(main())


def test_the_policy_can_be_scaled() -> None:
    """`faster` divides the net as everything else."""
    assert PollPolicy().faster(10).webhook_fallback == 6.0
