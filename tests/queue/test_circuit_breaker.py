"""The circuit breaker in a client: a proxy that answers every POST itself receives a few of a thousand submissions."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs
import httpx
import pytest

from aiowery import Event, Limits, RetryPolicy, SubmissionsPaused, SubmissionsResumed, WeryAI
from aiowery._queue.circuit_breaker import CircuitBreaker, shared_breaker
from aiowery.errors import AioweryError, NotSent, QueueTooLong, SubmissionInDoubt
from aiowery.ledger import MemoryLedger, State
from aiowery.testing import run_virtual
from aiowery.weryai import Chat, Message, TextToImage
from tests.support import KEY, URL, FakeWeryAI, client_of, envelope, http_response, ledger_of, peer

HTML = "<html>an error page of a gateway</html>"
Respond = Callable[[], httpx.Response]


def reset() -> httpx.Response:
    """Break the connection."""
    raise httpx.ReadError("reset")


def timed_out() -> httpx.Response:
    """Send no response in time."""
    raise httpx.ReadTimeout("no response")


RESPONSES: dict[str, Respond] = {
    **{str(status): lambda status=status: httpx.Response(status, text=HTML) for status in (200, 404, 500, 502)},  # type: ignore[misc]
    "302": lambda: httpx.Response(302, headers={"location": "https://elsewhere.example"}),
    "a gateway's JSON": lambda: httpx.Response(404, json={"status": 404, "message": "no route"}),
    "reset": reset,
    "timeout": timed_out,
}


def breaker_in_use() -> CircuitBreaker:
    """Return the shared circuit breaker of one key."""
    return shared_breaker("host", "key", lambda: CircuitBreaker(3, RetryPolicy()))


@attrs.define
class Proxy:
    """A proxy in front of a provider: it answers POSTs with `respond` and reads with `reads`, where these are set."""

    respond: Respond | None = None
    reads: Respond | None = None
    behind: FakeWeryAI = attrs.field(factory=lambda: FakeWeryAI(seconds=1.0))
    posts: list[float] = attrs.field(factory=list)
    balances: list[float] = attrs.field(factory=list)
    replaced: int = 0
    replaces: Callable[[int], bool] = lambda _: True

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request after a tenth of a second, each a little later than the one before."""
        now = asyncio.get_running_loop().time()
        if request.method == "POST":
            self.posts.append(now)
            number = len(self.posts)
            await asyncio.sleep(0.1 + number / 10_000)
            if self.respond is not None and self.replaces(number):
                self.replaced += 1
                return self.respond()
            return await self.behind(request)
        if request.url.path.endswith("/balance"):
            self.balances.append(now)
            return envelope(100) if self.reads is None else self.reads()
        return await self.behind(request)


@attrs.define
class PauseEvents:
    """Collects the events of pauses that an observer receives."""

    events: list[Event] = attrs.field(factory=list)

    def __call__(self, event: Event) -> None:
        """Collect."""
        if isinstance(event, (SubmissionsPaused, SubmissionsResumed)):
            self.events.append(event)

    @property
    def pauses(self) -> list[float]:
        """The length of each pause in seconds, as reported at its start."""
        return [event.retry_in for event in self.events if isinstance(event, SubmissionsPaused)]


def requests(count: int) -> list[TextToImage]:
    """Return so many requests."""
    return [TextToImage(prompt=f"number {number}") for number in range(count)]


def start_runs(client: WeryAI, count: int) -> list[asyncio.Task[Any]]:
    """Start so many concurrent runs."""
    return [asyncio.create_task(client.run(request)) for request in requests(count)]


async def outcomes_of(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Wait for all tasks, and return their results and errors."""
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("respond", RESPONSES)
@pytest.mark.virtual_time
async def test_breaker_unclear_answers_sends_six_submissions_then_probes(respond: str) -> None:
    """Six POSTs leave at four concurrent ones. While reads succeed, a probe follows each pause of 30 to 600 s."""
    proxy, events = Proxy(RESPONSES[respond]), PauseEvents()
    async with client_of(proxy, observer=events) as client:
        tasks = start_runs(client, 1000)
        await asyncio.sleep(29)
        assert len(proxy.posts) == 6
        assert proxy.balances == []
        await asyncio.sleep(30 + 60 + 120 + 240 + 480 + 600 + 600)
        assert len(proxy.posts) == len(proxy.balances) + 6 == 13
        pauses = [later - earlier for earlier, later in zip(proxy.balances, proxy.balances[1:], strict=False)]
        assert pauses == pytest.approx([60, 120, 240, 480, 600, 600], abs=1)
        assert events.pauses == pytest.approx([30, 60, 120, 240, 480, 600, 600, 600])
        now = client.statistics()
        assert (now.queue.waiting, now.queue.submitting, now.submitted) == (987, 0, 13)
        assert 0 < now.queue.paused_for <= 600
        assert now.queue.pause_reason == now.direct_queue.pause_reason
        assert "had no clear answer" in (now.queue.pause_reason or "")
        client.stop_submitting()
        outcomes = await outcomes_of(tasks)
        assert sum(isinstance(outcome, NotSent) for outcome in outcomes) == 987
    assert len(proxy.posts) == 13


@pytest.mark.parametrize("status", [401, 403, 407, 503])
@pytest.mark.virtual_time
async def test_breaker_page_that_every_submission_would_get_pauses_at_the_first(status: int) -> None:
    """Only the four submissions under way are sent; the others wait for a free read and a probe."""
    proxy, events = Proxy(lambda: httpx.Response(status, text=HTML)), PauseEvents()
    async with client_of(proxy, observer=events) as client:
        tasks = start_runs(client, 100)
        await asyncio.sleep(29)
        assert len(proxy.posts) == 4
        assert events.pauses == pytest.approx([30])
        assert "the last submission had no clear answer" in (client.statistics().queue.pause_reason or "")
        proxy.respond = None
        outcomes = await outcomes_of(tasks)
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 4
    assert len(proxy.posts) == 100


@pytest.mark.parametrize("status", [413, 421, 425])
@pytest.mark.virtual_time
async def test_breaker_other_page_without_charge_counts(status: int) -> None:
    """Pages with other HTTP statuses pause submissions after three in a row, although nothing was charged."""
    proxy = Proxy(lambda: httpx.Response(status, text=HTML))
    async with client_of(proxy, retries=RetryPolicy(max_attempts=1)) as client:
        tasks = start_runs(client, 100)
        await asyncio.sleep(20)
        assert len(proxy.posts) == 6
        assert "the last 3 submissions had no clear answer" in (client.statistics().queue.pause_reason or "")
        client.stop_submitting()
        await outcomes_of(tasks)


@pytest.mark.parametrize("reads", ["200", "404", "502", "302", "reset", "a gateway's JSON"])
@pytest.mark.virtual_time
async def test_breaker_failing_free_read_sends_no_probe(reads: str) -> None:
    """A read that the provider itself did not answer counts as a failed probe, and no submission is sent."""
    proxy, events = Proxy(reset, RESPONSES[reads]), PauseEvents()
    async with client_of(proxy, observer=events) as client:
        tasks = start_runs(client, 100)
        await asyncio.sleep(30 + 60 + 120 + 5)
        assert len(proxy.balances) == 3
        assert len(proxy.posts) == 6
        assert events.pauses == pytest.approx([30, 60, 120, 240])
        assert "balance" in (client.statistics().queue.pause_reason or "")
        client.stop_submitting()
        await outcomes_of(tasks)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
@pytest.mark.virtual_time
async def test_breaker_rejected_free_read_sends_probe(status: int) -> None:
    """Any response in the provider's own envelope, also an error, allows the probe."""
    proxy = Proxy(reset, lambda: httpx.Response(status, json={"status": 1234, "message": "no"}))
    async with client_of(proxy) as client:
        tasks = start_runs(client, 10)
        await asyncio.sleep(20)
        proxy.respond = None
        outcomes = await outcomes_of(tasks)
        assert sum(isinstance(outcome, SubmissionInDoubt) for outcome in outcomes) == 6
        assert client.statistics().finished == 4


@pytest.mark.virtual_time
async def test_breaker_recovered_provider_sends_waiting_submissions_once(tmp_path: Path) -> None:
    """The probe is sent alone, then all others in order. Submissions in doubt are not sent again."""
    proxy, events = Proxy(reset), PauseEvents()
    async with ledger_of("memory", tmp_path) as ledger, client_of(proxy, observer=events, ledger=ledger) as client:
        tasks = start_runs(client, 60)
        await asyncio.sleep(20)
        sent = len(proxy.posts)
        assert 3 <= sent <= 6
        proxy.respond = None
        outcomes = await outcomes_of(tasks)
        doubts = [outcome for outcome in outcomes if isinstance(outcome, SubmissionInDoubt)]
        assert len(doubts) == sent == len(await ledger.entries(None, [State.IN_DOUBT]))
        assert not [outcome for outcome in outcomes[sent:] if isinstance(outcome, Exception)]
    assert proxy.posts[sent] == pytest.approx(30, abs=0.5)
    assert proxy.posts[sent + 1] - proxy.posts[sent] >= 0.1
    assert len(proxy.posts) == 60
    prompts = [body["prompt"] for body in proxy.behind.posts]
    assert prompts == [f"number {number}" for number in range(sent, 60)]
    assert [type(event) for event in events.events] == [SubmissionsPaused, SubmissionsResumed]


@pytest.mark.virtual_time
async def test_breaker_scattered_doubts_pause_submissions() -> None:
    """Five doubts among the last hundred submissions pause them, even if no two follow each other."""
    proxy = Proxy(RESPONSES["502"], replaces=lambda number: number % 4 == 0)
    async with client_of(proxy, limits=Limits(submissions=1)) as client:
        tasks = start_runs(client, 40)
        await asyncio.sleep(25)
        assert (len(proxy.posts), proxy.replaced) == (20, 5)
        assert "5 of the last 100" in (client.statistics().queue.pause_reason or "")
        client.stop_submitting()
        await outcomes_of(tasks)


@pytest.mark.virtual_time
async def test_breaker_max_doubts_none_never_pauses() -> None:
    """With `max_doubts=None` all submissions are sent, however many are in doubt."""
    proxy = Proxy(reset)
    async with client_of(proxy, limits=Limits(max_doubts=None)) as client:
        await outcomes_of(start_runs(client, 50))
        assert len(proxy.posts) == 50
        assert client.statistics().queue.pause_reason is None


@pytest.mark.virtual_time
async def test_breaker_clear_rejections_never_pause() -> None:
    """Rejections by the provider are clear answers, and a 429 only backs off the queue, also from a proxy."""
    proxy = Proxy(lambda: httpx.Response(400, json={"status": 2003, "message": "moderation"}))
    async with client_of(proxy) as client:
        await outcomes_of(start_runs(client, 100))
        assert len(proxy.posts) == 100
    proxy.respond = lambda: httpx.Response(429, json={"status": 1007, "message": "busy"})
    async with client_of(proxy) as client:
        tasks = start_runs(client, 5)
        await asyncio.sleep(100)
        assert client.statistics().queue.pause_reason is None
        client.stop_submitting()
        await outcomes_of(tasks)
    proxy.respond = lambda: httpx.Response(429, text=HTML)
    async with client_of(proxy, limits=Limits(max_doubts=1)) as client:
        tasks = start_runs(client, 5)
        await asyncio.sleep(100)
        assert client.statistics().queue.refusals > 3
        assert client.statistics().queue.pause_reason is None
        client.stop_submitting()
        await outcomes_of(tasks)


@pytest.mark.virtual_time
async def test_resume_submitting_during_pause_sends_immediately() -> None:
    """`resume_submitting` ends a pause immediately, and doubts are counted from zero again."""
    proxy, events = Proxy(reset), PauseEvents()
    async with client_of(proxy, observer=events) as client:
        client.resume_submitting()  # not paused: nothing happens
        tasks = start_runs(client, 30)
        await asyncio.sleep(10)
        assert len(proxy.posts) == 6
        client.resume_submitting()
        await asyncio.sleep(10)
        assert len(proxy.posts) == 12
        proxy.respond = None
        client.resume_submitting()
        await outcomes_of(tasks)
        assert (len(proxy.posts), client.statistics().finished) == (30, 18)
        assert proxy.balances == []
    kinds = [SubmissionsPaused, SubmissionsResumed] * 2
    assert [type(event) for event in events.events] == kinds


@pytest.mark.virtual_time
async def test_resume_submitting_during_free_read_ignores_its_end() -> None:
    """The end of a free read that was under way does not begin another pause."""
    proxy = Proxy(reset)

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/balance"):
            await asyncio.sleep(5)
            return httpx.Response(502)
        return await proxy(request)

    async with client_of(slow) as client:
        tasks = start_runs(client, 10)
        await asyncio.sleep(32)
        proxy.respond = None
        client.resume_submitting()
        await outcomes_of(tasks)
        await asyncio.sleep(60)
        assert (len(proxy.posts), client.statistics().queue.pause_reason) == (10, None)


@pytest.mark.virtual_time
async def test_breaker_doubts_of_direct_calls_pause_tasks_too() -> None:
    """Doubts of direct calls pause submissions of tasks too, because the proxy affects both queues."""
    proxy = Proxy(RESPONSES["200"])
    async with client_of(proxy, limits=Limits(direct_calls=1)) as client:
        for _ in range(3):
            with pytest.raises(SubmissionInDoubt):
                await client.run(Chat(messages=(Message("user", "hi"),)))
        task = asyncio.create_task(client.run(requests(1)[0]))
        await asyncio.sleep(20)
        assert len(proxy.posts) == 3
        proxy.respond = None
        await task
        assert proxy.posts[3] == pytest.approx(30, abs=1)


@pytest.mark.virtual_time
async def test_submit_start_within_shorter_than_pause_raises_immediately() -> None:
    """QueueTooLong contains the reason of the pause and the seconds until its end. Nothing is sent."""
    proxy = Proxy(reset)
    async with client_of(proxy) as client:
        await outcomes_of(start_runs(client, 3))
        with pytest.raises(QueueTooLong, match="submissions are paused: the last 3") as caught:
            await client.submit(requests(1)[0], start_within=10)
        assert caught.value.starts_in == pytest.approx(30, abs=1)
        waiting = asyncio.create_task(client.submit(requests(1)[0], start_within=40))
        await asyncio.sleep(25)
        proxy.respond = None
        await (await waiting)


def test_close_during_pause_rejects_waiting_immediately() -> None:
    """Waiting submissions are rejected unsent, during a pause and during a free read."""
    for moment in (10, 30.05):
        proxy = Proxy(reset)

        async def slow(request: httpx.Request, proxy: Proxy = proxy) -> httpx.Response:
            if request.url.path.endswith("/balance"):
                await asyncio.sleep(100)
            return await proxy(request)

        async def main(moment: float = moment, slow: Any = slow, proxy: Proxy = proxy) -> None:
            loop = asyncio.get_running_loop()
            async with client_of(slow) as client:
                tasks = start_runs(client, 10)
                await asyncio.sleep(moment)
                began = loop.time()
            assert loop.time() == began
            assert sum(isinstance(outcome, NotSent) for outcome in await outcomes_of(tasks)) == 4
            await asyncio.sleep(200)
            assert len(proxy.posts) == 6

        run_virtual(main())


@pytest.mark.virtual_time
async def test_close_during_probe_keeps_its_task_ids() -> None:
    """A probe that is under way is finished like any other POST, so its task ids are kept."""
    proxy = Proxy(reset)
    async with client_of(proxy) as client:
        tasks = start_runs(client, 10)
        await asyncio.sleep(20)
        proxy.respond = None
        await asyncio.sleep(10.15)
        assert len(proxy.posts) == 7
    outcomes = await outcomes_of(tasks)
    kinds = [getattr(outcome, "task_ids", None) for outcome in outcomes]
    assert kinds.count(("task_0",)) == 1
    assert len(proxy.posts) == 7


@pytest.mark.virtual_time
async def test_breaker_client_closes_during_free_read_other_client_repeats_it() -> None:
    """Both clients of a key receive the pause. If the reading client closes, the other one reads and goes on."""
    proxy, first_events, second_events = Proxy(reset), PauseEvents(), PauseEvents()
    reading = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        answer = await proxy(request)
        if request.url.path.endswith("/balance"):
            reading.set()
            await asyncio.sleep(1)
        return answer

    opened_first = client_of(slow, observer=first_events)
    first = await opened_first.__aenter__()
    async with client_of(slow, observer=second_events) as second:
        await outcomes_of(start_runs(first, 3))
        others = start_runs(second, 4)
        await reading.wait()
        proxy.respond = None
        await opened_first.__aexit__(None, None, None)
        await outcomes_of(others)
        assert second.statistics().finished == 4
    assert len(proxy.balances) == 2
    assert proxy.balances[1] - proxy.balances[0] < 0.1
    assert len(first_events.events) == 1
    assert [type(event) for event in second_events.events] == [SubmissionsPaused, SubmissionsResumed]


@pytest.mark.virtual_time
async def test_breaker_other_key_is_not_paused() -> None:
    """A pause applies to one key."""
    proxy = Proxy(reset)
    async with client_of(proxy) as client:
        await outcomes_of(start_runs(client, 3))
        proxy.respond = None
        async with httpx.AsyncClient(transport=httpx.MockTransport(proxy)) as http:
            async with WeryAI(KEY + "-other", base_url=URL, http=http) as other:
                await other.run(requests(1)[0])
        assert client.statistics().queue.pause_reason is not None


@pytest.mark.virtual_time
async def test_breaker_successive_clients_share_doubt_count() -> None:
    """Opening a client for each request does not reset the count of doubts."""
    proxy = Proxy(reset)
    for _ in range(3):
        async with client_of(proxy) as client:
            await outcomes_of(start_runs(client, 1))
    async with client_of(proxy) as client:
        with pytest.raises(QueueTooLong):
            await client.submit(requests(1)[0], start_within=1)
    assert len(proxy.posts) == 3


@pytest.mark.virtual_time
async def test_breaker_without_clients_keeps_doubts_for_ten_minutes() -> None:
    """A breaker that has counted a doubt outlives its clients for ten minutes. Another one is dropped with them."""
    for known in (0, 1, 2):
        breaker = weakref.ref(breaker_in_use())
        gc.collect()
        assert (breaker() is None) is (known == 0)
        breaker_in_use().record_in_doubt(object(), "an HTML page")
    gc.collect()
    assert breaker_in_use().reason is not None
    assert breaker_in_use() is not shared_breaker("host", "other", lambda: CircuitBreaker(3, RetryPolicy()))
    await asyncio.sleep(601)
    gc.collect()
    assert breaker_in_use().reason is None


@pytest.mark.virtual_time
async def test_breaker_pause_before_retry_requeues_submission_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a pause begins before a retry, the submission returns to the queue, and is sent first afterwards."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    proxy = Proxy(reset)
    unsent = 0

    async def failing_first(request: httpx.Request) -> httpx.Response:
        nonlocal unsent
        if request.method == "POST" and b'"number 0"' in request.content and not unsent:
            unsent += 1
            raise httpx.PoolTimeout("full")
        return await proxy(request)

    class Counting(MemoryLedger):
        """Counts how often `mark_sending` is written."""

        write_count = 0

        async def mark_sending(self, *args: Any, **kwargs: Any) -> None:
            self.write_count += 1
            await super().mark_sending(*args, **kwargs)

    ledger = Counting()
    await ledger.open()
    retries = RetryPolicy(initial_backoff=20, max_backoff=20)
    async with client_of(failing_first, retries=retries, ledger=ledger, limits=Limits(submissions=2)) as client:
        tasks = start_runs(client, 8)
        await asyncio.sleep(25)
        assert len(proxy.posts) == 3
        queue = client.statistics().queue
        assert (queue.waiting, queue.submitting, queue.in_use) == (5, 0, 0)
        states = [entry.state for entry in await ledger.entries(None)]
        assert sorted(states) == sorted([State.IN_DOUBT] * 3 + [State.CLAIMED])
        proxy.respond = None
        await outcomes_of(tasks)
        assert client.statistics().queue.in_use == 0
    assert len(proxy.posts) == 8
    assert proxy.behind.posts[0]["prompt"] == "number 0"
    assert ledger.write_count == 9  # one for the attempt that did not connect


@pytest.mark.virtual_time
async def test_breaker_pause_during_mark_sending_sends_nothing() -> None:
    """If a pause begins while `mark_sending` writes, the ledger state is reverted and nothing is sent."""
    proxy, write_count = Proxy(reset), 0

    class Slow(MemoryLedger):
        """Writes the fourth `mark_sending` slowly."""

        async def mark_sending(self, *args: Any, **kwargs: Any) -> None:
            nonlocal write_count
            write_count += 1
            if write_count == 4:
                await asyncio.sleep(5)
            await super().mark_sending(*args, **kwargs)

    ledger = Slow()
    await ledger.open()
    async with client_of(proxy, ledger=ledger) as client:
        tasks = start_runs(client, 4)
        await asyncio.sleep(20)
        assert len(proxy.posts) == 3
        states = [entry.state for entry in await ledger.entries(None)]
        assert sorted(states) == sorted([State.IN_DOUBT] * 3 + [State.CLAIMED])
        proxy.respond = None
        await outcomes_of(tasks)
        assert len(proxy.posts) == 4
        assert client.statistics().finished == 1


@pytest.mark.virtual_time
async def test_submit_cancelled_during_pause_sends_nothing() -> None:
    """A submission that is cancelled in the queue is never sent, even if it was admitted before."""
    proxy = Proxy(reset)
    async with client_of(proxy) as client:
        tasks = start_runs(client, 8)
        await asyncio.sleep(10)
        for task in tasks:
            task.cancel()
        await outcomes_of(tasks)
        proxy.respond = None
        await asyncio.sleep(100)
        assert (len(proxy.posts), client.statistics().queue.in_use, proxy.balances) == (6, 0, [])
        await client.run(requests(1)[0])


@pytest.mark.virtual_time
async def test_breaker_unsent_probe_repeats_same_pause() -> None:
    """A probe that was provably not sent neither closes the breaker nor counts as failed."""
    proxy, events = Proxy(reset), PauseEvents()

    def unsent() -> httpx.Response:
        raise httpx.PoolTimeout("full")

    async with client_of(proxy, observer=events, retries=RetryPolicy(max_attempts=1)) as client:
        tasks = start_runs(client, 9)
        await asyncio.sleep(20)
        proxy.respond = unsent
        await asyncio.sleep(20)
        assert len(proxy.posts) == 7
        proxy.respond = None
        outcomes = await outcomes_of(tasks)
        assert [type(outcome) for outcome in outcomes].count(NotSent) == 1
        assert proxy.posts[7] - proxy.posts[6] == pytest.approx(30, abs=1)
        assert events.pauses == pytest.approx([30, 30])
        assert client.statistics().finished == 2


@pytest.mark.virtual_time
async def test_breaker_busy_answer_to_probe_closes_breaker() -> None:
    """A rate limit is a clear answer of the provider, so only the queue's usual back-off follows."""
    proxy = Proxy(reset)
    async with client_of(proxy) as client:
        tasks = start_runs(client, 9)
        await asyncio.sleep(20)
        proxy.respond = lambda: httpx.Response(200, json={"status": 1007, "message": "busy"})
        await asyncio.sleep(10.25)
        assert client.statistics().queue.pause_reason is None
        proxy.respond = None
        await outcomes_of(tasks)
        assert client.statistics().finished == 3


@pytest.mark.virtual_time
async def test_breaker_pause_logs_one_warning_and_one_info(caplog: pytest.LogCaptureFixture) -> None:
    """Each pause is logged once with its seconds and failed probes, however many clients and requests wait."""
    caplog.set_level(logging.INFO, "aiowery")
    proxy = Proxy(reset)
    async with client_of(proxy) as client, client_of(proxy) as other:
        tasks = [*start_runs(client, 10), *start_runs(other, 10)]
        await asyncio.sleep(40)
        proxy.respond = None
        await outcomes_of(tasks)
    logged: list[Any] = [record for record in caplog.records if record.getMessage().startswith("submissions ")]
    assert [record.levelno for record in logged] == [logging.WARNING, logging.WARNING, logging.INFO]
    assert [(round(record.retry_in), record.failed_probes) for record in logged[:2]] == [(30, 0), (60, 1)]


@pytest.mark.virtual_time
async def test_stream_closed_during_pause_leaves_unsent_entries_new(tmp_path: Path) -> None:
    """The entries that a pause kept from being sent are new, and a resumed batch sends them."""
    proxy = Proxy(reset)
    batch = requests(40)
    async with ledger_of("memory", tmp_path) as ledger:
        async with client_of(proxy, ledger=ledger) as client:
            stream = client.stream(batch, batch="b")
            outcomes = [await anext(stream) for _ in range(len(proxy.posts) or 3)]
            assert all(isinstance(outcome.error, SubmissionInDoubt) for outcome in outcomes)
            await asyncio.sleep(10)
        sent = len(proxy.posts)
        states = [entry.state for entry in await ledger.entries("b")]
        assert (states.count(State.IN_DOUBT), states.count(State.NEW)) == (sent, 40 - sent)
        proxy.respond = None
        async with client_of(proxy, ledger=ledger) as client:
            client.resume_submitting()
            ended = [outcome async for outcome in client.stream(batch, batch="b")]
        assert sum(outcome.error is None for outcome in ended) == 40 - sent
        assert len(proxy.posts) == 40


@pytest.mark.anyio
@pytest.mark.parametrize("http", [None, "httpx"])
async def test_breaker_over_sockets_sends_at_most_six(http: Literal["httpx"] | None) -> None:
    """A server on loopback that answers with HTML pages receives at most six of forty submissions."""
    async with peer(http_response(HTML)) as server, WeryAI(KEY, base_url=server.url, http=http) as client:
        tasks = start_runs(client, 40)
        async with asyncio.timeout(10):
            while client.statistics().queue.pause_reason is None:  # noqa: ASYNC110 - statistics set no event
                await asyncio.sleep(0.01)
        await asyncio.wait(tasks, timeout=0.15)  # what left before the pause began ends meanwhile
        ended = [task for task in tasks if task.done()]
        assert 3 <= len(ended) == len(server.requests) <= 6
        assert all(isinstance(task.exception(), AioweryError) for task in ended)
        client.stop_submitting()
        await outcomes_of(tasks)
    assert len(server.requests) <= 6
