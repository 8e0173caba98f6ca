"""A client with webhooks: when it polls, which deliveries it uses, and what it does without deliveries."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiowery import PollPolicy, WeryAI
from aiowery._core.request import Request
from aiowery.errors import ConfigurationError, JobFailed, JobTimeout
from aiowery.ledger import Ledger, MemoryLedger, SqliteLedger
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import REQUESTS, Chat, DeepResearch, TextToImage, VideoExtend, VideoMerge, decode_delivery
from aiowery.weryai._provider import WeryAIProvider
from tests.support import CAT, KEY, URL, client_of
from tests.webhook.webhook_provider import PUBLIC, WebhookProvider
from tests.weryai.request_samples import smallest


@pytest.mark.virtual_time
async def test_delivery_triggers_one_poll_without_delay() -> None:
    """A delivery triggers the poll immediately: there is one GET for each job."""
    provider = WebhookProvider(seconds=12.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        results = await asyncio.gather(*(client.run(TextToImage(prompt=f"cat {n}")) for n in range(10)))
        statistics = client.statistics().webhooks
    assert provider.gets == 10
    assert max(result.seconds or 99.0 for result in results) < 12.2
    assert provider.statuses == [200] * 10
    assert statistics is not None
    assert (statistics.received, statistics.first, statistics.late, statistics.awaited) == (10, 10, 0, 0)


@pytest.mark.virtual_time
async def test_submit_each_has_own_webhook_url() -> None:
    """The token has 128 random bits, and the ledger holds only its hash."""
    provider = WebhookProvider(seconds=1.0)
    async with client_of(provider, webhooks=provider.webhooks, reuse=True) as client:
        await asyncio.gather(*(client.run(TextToImage(prompt=f"cat {n}")) for n in range(5)))
        submission_ids = {entry.submission_id for entry in await client.ledger.entries()}
    tokens = {address.removeprefix(PUBLIC + "/") for address in provider.addresses.values()}
    assert len(tokens) == 5
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)
    assert not tokens & submission_ids


def test_with_webhook_sets_url_where_documented() -> None:
    """Each class with a `webhook_url` gets one. Extend and merge have none, and a caller's own URL stays."""
    provider = WeryAIProvider()
    for name, cls in REQUESTS.items():
        request: Request[Any] = smallest(name)
        with_url = provider.with_webhook(request, f"{PUBLIC}/x")
        documented = hasattr(request, "webhook_url") and request.direct_timeout is None
        assert (with_url is not None) == documented, cls
    assert provider.with_webhook(VideoExtend(video_url="https://e.com/v.mp4", prompt="on"), PUBLIC) is None
    assert provider.with_webhook(VideoMerge(video_urls=["https://e.com/1.mp4", "https://e.com/2.mp4"]), PUBLIC) is None
    assert provider.with_webhook(Chat(messages="hello", model="GPT_4O"), PUBLIC) is None
    assert provider.with_webhook(DeepResearch(input="why?", model="GEMINI_25_PRO"), PUBLIC) is None
    own = TextToImage(prompt="a cat", webhook_url="https://elsewhere.example/")
    assert provider.with_webhook(own, PUBLIC) is None


@pytest.mark.virtual_time
async def test_submit_own_webhook_url_is_polled() -> None:
    """If the caller sets `webhook_url`, the job is polled as without webhooks."""
    provider = WebhookProvider(seconds=12.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        await client.run(TextToImage(prompt="a cat", webhook_url="https://elsewhere.example/"))
    assert provider.gets in {3, 4}
    assert provider.posts[0]["webhook_url"] == "https://elsewhere.example/"


@pytest.mark.virtual_time
async def test_poll_without_deliveries_returns_to_usual_interval() -> None:
    """The first polls wait 15 s. After a few ends without a delivery, they come every 3 to 5 s again."""
    provider = WebhookProvider(seconds=12.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        delays = [((await client.run(CAT)).seconds or 0.0) - 12.0 for _ in range(8)]
        statistics = client.statistics().webhooks
    assert delays[0] < 3.1
    assert statistics is not None
    assert (statistics.first, statistics.late, statistics.fallback_interval) == (0, 8, 5.0)
    polls = [len(times) for times in provider.polls.values()]
    assert polls[0] == 1
    assert all(number in {3, 4} for number in polls[2:])


@pytest.mark.virtual_time
async def test_ends_without_deliveries_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """After four ends in a row that polls found, one warning names the URL. A delivery allows the next warning."""
    provider = WebhookProvider(seconds=12.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        counts = []
        for silent in (True, True, True, True, True, False, True, True, True, True):
            provider.silent = silent
            await client.run(CAT)
            counts.append(caplog.text.count("no webhook delivery arrived for the last 4 jobs"))
    assert counts == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2]
    assert f"aiowery webhook --check {PUBLIC}" in caplog.text


@pytest.mark.virtual_time
async def test_fallback_interval_grows_with_deliveries_and_shrinks_without() -> None:
    """The interval is 60 s once deliveries have arrived. A lost delivery is replaced by a fallback poll."""
    provider = WebhookProvider(seconds=8.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        intervals = []
        for silent in (False, False, False, True):
            provider.silent = silent
            result = await client.run(CAT)
            statistics = client.statistics().webhooks
            assert statistics is not None
            intervals.append(statistics.fallback_interval)
    assert intervals == [30.0, 60.0, 60.0, 30.0]
    assert 54.0 <= (result.seconds or 0.0) <= 60.1


@pytest.mark.virtual_time
async def test_fallback_poll_comes_before_timeout() -> None:
    """If deliveries stop, a caller with a timeout of 25 s still gets the result of a 12 s task, for one more poll."""
    provider = WebhookProvider(seconds=12.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        for _ in range(3):
            await client.run(CAT)
        provider.silent = True
        results = await asyncio.gather(*(client.run(CAT, timeout=25) for _ in range(5)))
        assert provider.gets == 8
        assert all(19.9 < (result.seconds or 0.0) < 20.1 for result in results)


@pytest.mark.virtual_time
async def test_wait_repeated_with_short_timeout_adds_no_polls() -> None:
    """A caller that waits again and again with a timeout of 1 s does not shorten the poll interval."""
    provider = WebhookProvider(seconds=300.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        for _ in range(100):
            with pytest.raises(JobTimeout):
                await job.wait(timeout=1.0)
        assert job.age > 90
        assert len(provider.polls["task_0"]) <= 25


@pytest.mark.virtual_time
async def test_deliveries_forged_add_few_polls() -> None:
    """A thousand forged deliveries in 20 s cause one poll immediately, and then one every 3 to 5 s."""
    provider = WebhookProvider(seconds=100.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        for _ in range(1000):
            assert await provider.deliver("task_0") == 200
            await asyncio.sleep(0.02)
        polls = provider.polls["task_0"]
        assert 5 <= len(polls) <= 7
        assert min(later - earlier for earlier, later in pairwise(polls)) >= 3.0
        await asyncio.sleep(60.0)
        assert len(polls) <= 12
        await job


@pytest.mark.virtual_time
async def test_delivery_after_forged_one_triggers_poll() -> None:
    """After a forged delivery polls are rare. The true delivery brings the next one forward, to at most 5 s later."""
    provider = WebhookProvider(seconds=100.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        for _ in range(3):
            client._runtime._poller.fallback.record_delivery()
        job = await client.submit(CAT)
        await asyncio.sleep(10.0)
        await provider.deliver("task_0")
        result = await job
    assert (result.seconds or 0.0) <= 105.1
    assert provider.gets <= 8


@pytest.mark.virtual_time
async def test_delivery_of_progress_triggers_no_poll() -> None:
    """A delivery about progress triggers no poll, and the delivery of the end works as without it."""
    provider = WebhookProvider(seconds=12.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        for raw_status in ("waiting", "PROCESSING", "processing"):
            assert await provider.deliver("task_0", raw_status=raw_status) == 200
        result = await job
    assert (result.seconds or 99.0) < 12.2
    assert provider.gets == 1


@pytest.mark.virtual_time
async def test_delivery_during_poll_triggers_another() -> None:
    """If a delivery arrives while a poll is under way, another poll follows immediately."""
    provider = WebhookProvider(seconds=15.5, after=0.0)

    async def slow(request: httpx.Request) -> httpx.Response:
        response = await provider(request)
        if request.method == "GET":
            await asyncio.sleep(2.0)
        return response

    async with client_of(slow, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        while not provider.gets:  # noqa: ASYNC110 - a double sets no event
            await asyncio.sleep(0.1)
        provider.finished_at["task_0"] = asyncio.get_running_loop().time() + 0.5
        await asyncio.sleep(1.0)
        await provider.deliver("task_0")
        await job
        assert asyncio.get_running_loop().time() < 21.0
    assert provider.gets == 2


@pytest.mark.virtual_time
async def test_delivery_before_status_changes_polls_again_soon() -> None:
    """If the status lags behind the delivery, the next poll comes at the usual interval."""
    provider = WebhookProvider(seconds=12.0, after=-1.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        result = await client.run(CAT)
    assert (result.seconds or 99.0) < 16.2
    assert provider.gets == 2


@pytest.mark.virtual_time
async def test_delivery_before_response_triggers_poll_of_new_job() -> None:
    """If the task ends before the POST's response arrives, the job is polled as soon as it exists."""
    provider = WebhookProvider(seconds=0.5, after=0.0)
    slow = asyncio.Event()

    async def late(request: httpx.Request) -> httpx.Response:
        response = await provider(request)
        if request.method == "POST":
            await asyncio.sleep(2.0)
            slow.set()
        return response

    async with client_of(late, webhooks=provider.webhooks) as client:
        result = await client.run(CAT)
    assert slow.is_set()
    assert result.seconds == 0.0
    assert provider.statuses == [200]


@pytest.mark.virtual_time
async def test_deliveries_of_four_tasks_finish_job_with_last() -> None:
    """The job finishes with the last delivery. Duplicates and deliveries of other tasks change nothing."""
    provider = WebhookProvider(seconds=12.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(TextToImage(prompt="a cat", image_number=4))
        other = await client.submit(CAT)
        assert await provider.deliver("task_0", about=other.task_ids[0]) == 404
        assert await provider.deliver("task_0", about="task_of_no_job") == 404
        assert provider.gets == 0
        result, _ = await asyncio.gather(job, other)
        polls = provider.gets
        for _ in range(3):
            assert await provider.deliver("task_0") == 200
        await asyncio.sleep(10.0)
    assert len(result.assets) == 4
    assert provider.gets == polls <= 6


@pytest.mark.virtual_time
async def test_delivery_after_job_timeout_finishes_job() -> None:
    """The caller has timed out. A later delivery still gives the job its result."""
    provider = WebhookProvider(seconds=700.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            await job
        assert not job.done
        await asyncio.sleep(101.0)
        assert job.done
        assert (await job).assets


@pytest.mark.virtual_time
async def test_delivery_forged_after_timeout_hides_no_true_one() -> None:
    """After the timeout a forged delivery triggers a poll without effect, and the true one still finishes the job."""
    provider = WebhookProvider(seconds=1100.0)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        with pytest.raises(JobTimeout):
            await job
        before = len(provider.polls["task_0"])
        for _ in range(100):
            await provider.deliver("task_0")
            await asyncio.sleep(0.1)
        assert len(provider.polls["task_0"]) <= before + 3
        await asyncio.sleep(500.0)
        assert job.done


@pytest.mark.virtual_time
async def test_poll_failures_keep_backoff_despite_deliveries() -> None:
    """While the status endpoint fails, repeated deliveries do not shorten the back-off of polls."""
    provider = WebhookProvider(seconds=30.0, silent=True)
    provider.faults["status"] = [httpx.Response(500) for _ in range(6)]
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        for _ in range(500):
            await provider.deliver("task_0")
            await asyncio.sleep(0.02)
        assert len(provider.polls["task_0"]) <= 3
        await job


@pytest.mark.virtual_time
async def test_close_detaches_from_receiver() -> None:
    """Once the client is closed, the receiver responds 503, so that a delivery may be sent again."""
    provider = WebhookProvider(seconds=5.0, silent=True)
    async with client_of(provider, webhooks=provider.webhooks) as client:
        job = await client.submit(CAT)
        assert await provider.deliver("task_0") == 200
    assert not job.done or job.error is not None
    assert await provider.deliver("task_0") == 503


@pytest.mark.virtual_time
async def test_receiver_shared_by_two_clients_passes_each_its_own() -> None:
    """Each client receives its own deliveries, and a delivery for one does not affect the other."""
    one, other = WebhookProvider(seconds=6.0), WebhookProvider(seconds=9.0)
    other.receiver = one.receiver
    async with (
        client_of(one, webhooks=one.webhooks) as first,
        client_of(other, webhooks=other.webhooks) as second,
    ):
        results = await asyncio.gather(first.run(CAT), second.run(CAT))
    assert [round(result.seconds or 0.0) for result in results] == [6, 9]
    assert (one.gets, other.gets) == (1, 1)


@pytest.mark.anyio
async def test_deliveries_of_other_process_are_counted_by_their_client(tmp_path: Path) -> None:
    """Two clients share a file in which a third process records. Each counts the deliveries of its own submissions."""
    path = tmp_path / "jobs.db"
    provider = WebhookProvider(seconds=3600.0, silent=True)
    webhooks = Webhooks(public_url=PUBLIC)
    async with (
        Receiver(ledger=path, decode=decode_delivery) as provider.receiver,
        client_of(provider, webhooks=webhooks, ledger=path) as one,
        client_of(provider, webhooks=webhooks, ledger=path) as other,
    ):
        mine, its = await one.submit(CAT), await other.submit(CAT)
        provider.finished_at = dict.fromkeys(provider.finished_at, 0.0)
        await provider.deliver(mine.task_ids[0])
        await asyncio.wait_for(mine.wait(), 5)
        await asyncio.sleep(1.2)  # for the other one to have read it too
        assert [client.statistics().webhooks.received for client in (one, other)] == [1, 0]  # type: ignore[union-attr]
        await provider.deliver(its.task_ids[0])
        await asyncio.wait_for(its.wait(), 5)
        assert other.statistics().webhooks.received == 1  # type: ignore[union-attr]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("sharing", ["two clients", "the receiver"])
async def test_ledger_shared_delivery_triggers_poll_of_the_jobs_client(kind: str, sharing: str, tmp_path: Path) -> None:
    """One open ledger serves two clients, or client and receiver. The client of the job polls in each case."""
    ledger: Ledger = MemoryLedger() if kind == "memory" else SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    provider = WebhookProvider(seconds=3600.0, silent=True)
    if sharing == "the receiver":
        provider.receiver = Receiver(ledger=ledger, decode=decode_delivery)
        await provider.receiver.open()
    async with (
        client_of(WebhookProvider(), webhooks=provider.webhooks, ledger=ledger),
        client_of(provider, webhooks=provider.webhooks, ledger=ledger) as client,
    ):
        job = await client.submit(CAT)
        provider.finished_at["task_0"] = 0.0
        assert await provider.deliver("task_0") == 200
        assert (await asyncio.wait_for(job.wait(), 2)).assets
    await ledger.aclose()


@pytest.mark.parametrize(
    ("build", "message"),
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
def test_webhooks_that_cannot_work_are_rejected(build: Any, message: str) -> None:
    """The error comes before any request, names the field, and does not repeat a password in the URL."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        build()
    assert "word@" not in str(caught.value)


@pytest.mark.virtual_time
async def test_log_contains_no_token_and_no_foreign_body(caplog: pytest.LogCaptureFixture) -> None:
    """No record of any level holds a token, of an accepted or a rejected delivery, nor the body of a rejected one."""
    provider = WebhookProvider(seconds=1.0)
    with caplog.at_level(logging.DEBUG):
        async with client_of(provider, webhooks=provider.webhooks) as client:
            await client.run(CAT)
            await provider.deliver("task_0", about="another")
            await provider.receiver.receive("0" * 32, b"{}", None)
            await provider.receiver.receive("0" * 32, b"a stranger's words", None)
    token = provider.addresses["task_0"].rpartition("/")[2]
    assert "rejected" in caplog.text
    assert token not in caplog.text
    assert "0" * 32 not in caplog.text
    assert "a stranger's words" not in caplog.text


@pytest.mark.virtual_time
async def test_status_that_quotes_the_webhook_url_is_stored_without_its_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The secret of a webhook URL is kept out of the ledger, errors and logs like a key, and out of other responses."""

    class Quoting(WebhookProvider):
        """A provider whose failed tasks quote the webhook URL."""

        def _task(self, task_id: str, now: float) -> dict[str, Any]:
            task = super()._task(task_id, now)
            url = self.addresses[task_id]
            return {**task, "webhook_url": url, "task_status": "FAILED", "images": [], "msg": f"cannot reach {url}"}

    provider = Quoting(seconds=1.0)
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    with caplog.at_level(logging.DEBUG):
        async with client_of(provider, webhooks=provider.webhooks, ledger=ledger) as client:
            with pytest.raises(JobFailed):
                await client.run(CAT)
    (entry,) = await ledger.entries()
    await ledger.aclose()
    token = provider.addresses["task_0"].rpartition("/")[2]
    assert token
    assert entry.reason.startswith("JobFailed: text-to-image WERYAI_IMAGE_2_0: cannot reach ")
    assert token not in repr(entry)
    assert token not in caplog.text


def test_policy_faster_scales_webhook_fallback() -> None:
    """`faster` divides the fallback interval like the others."""
    assert PollPolicy().faster(10).webhook_fallback == 6.0
