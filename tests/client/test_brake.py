"""The brake at the client: a hop that answers every POST itself gets a few of a thousand, and the rest stays unsent."""

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
from tests.support import KEY, URL, World, client_of, envelope, http_answer, ledger_of, peer

PAGE = "<html>a gateway's own words</html>"
Happening = Callable[[], httpx.Response]


def reset() -> httpx.Response:
    """Break the connection."""
    raise httpx.ReadError("reset")


def dropped() -> httpx.Response:
    """Say nothing for too long."""
    raise httpx.ReadTimeout("silence")


HAPPENINGS: dict[str, Happening] = {
    **{str(status): lambda status=status: httpx.Response(status, text=PAGE) for status in (200, 403, 404, 500, 502)},  # type: ignore[misc]
    "302": lambda: httpx.Response(302, headers={"location": "https://elsewhere.example"}),
    "a gateway's JSON": lambda: httpx.Response(404, json={"status": 404, "message": "no route"}),
    "reset": reset,
    "silence": dropped,
}


def brake_in_use() -> CircuitBreaker:
    """Return the shared brake of one key."""
    return shared_breaker("host", "key", lambda: CircuitBreaker(3, RetryPolicy()))


@attrs.define
class Hop:
    """A hop in front of a provider: while `happening` is set it answers each POST so, and each read, if `reads` is."""

    happening: Happening | None = None
    reads: Happening | None = None
    behind: World = attrs.field(factory=lambda: World(seconds=1.0))
    posts: list[float] = attrs.field(factory=list)
    balances: list[float] = attrs.field(factory=list)
    spoiled: int = 0
    patterns: Callable[[int], bool] = lambda _: True

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request after a tenth of a second, each a little later than the one before."""
        now = asyncio.get_running_loop().time()
        if request.method == "POST":
            self.posts.append(now)
            number = len(self.posts)
            await asyncio.sleep(0.1 + number / 10_000)
            if self.happening is not None and self.patterns(number):
                self.spoiled += 1
                return self.happening()
            return await self.behind(request)
        if request.url.path.endswith("/balance"):
            self.balances.append(now)
            return envelope(100) if self.reads is None else self.reads()
        return await self.behind(request)


@attrs.define
class Heard:
    """Collects what the observer is told of pauses."""

    events: list[Event] = attrs.field(factory=list)

    def __call__(self, event: Event) -> None:
        """Collect."""
        if isinstance(event, (SubmissionsPaused, SubmissionsResumed)):
            self.events.append(event)

    @property
    def pauses(self) -> list[float]:
        """How long each pause was to last."""
        return [event.retry_in for event in self.events if isinstance(event, SubmissionsPaused)]


def requests(count: int) -> list[TextToImage]:
    """Return so many requests."""
    return [TextToImage(prompt=f"number {number}") for number in range(count)]


def started(client: WeryAI, count: int) -> list[asyncio.Task[Any]]:
    """Start so many runs at once."""
    return [asyncio.create_task(client.run(request)) for request in requests(count)]


async def ends(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Wait for all; return results and errors."""
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("happening", HAPPENINGS)
def test_of_a_thousand_a_hop_gets_three_those_under_way_and_probes(happening: str) -> None:
    """Six POSTs at four at once; while reads succeed probes follow one by one, 30, 60, 120 ... 600 s apart."""
    hop, heard = Hop(HAPPENINGS[happening]), Heard()

    async def main() -> None:
        async with client_of(hop, observer=heard) as client:
            tasks = started(client, 1000)
            await asyncio.sleep(29)
            assert len(hop.posts) == 6
            assert hop.balances == []
            await asyncio.sleep(30 + 60 + 120 + 240 + 480 + 600 + 600)
            assert len(hop.posts) == len(hop.balances) + 6 == 13
            pauses = [later - earlier for earlier, later in zip(hop.balances, hop.balances[1:], strict=False)]
            assert pauses == pytest.approx([60, 120, 240, 480, 600, 600], abs=1)
            assert heard.pauses == pytest.approx([30, 60, 120, 240, 480, 600, 600, 600])
            now = client.statistics()
            assert (now.queue.waiting, now.queue.submitting, now.submitted) == (987, 0, 13)
            assert 0 < now.queue.paused_for <= 600
            assert now.queue.pause_reason == now.direct_queue.pause_reason
            assert "had no clear answer" in (now.queue.pause_reason or "")
            client.stop_submitting()
            outcomes = await ends(tasks)
            assert sum(isinstance(outcome, NotSent) for outcome in outcomes) == 987
        assert len(hop.posts) == 13

    run_virtual(main())


@pytest.mark.parametrize("reads", ["200", "404", "502", "302", "reset", "a gateway's JSON"])
def test_no_probe_is_sent_while_the_free_read_fails(reads: str) -> None:
    """A read without an answer of the provider's own counts as a failed probe, and no submission is risked."""
    hop, heard = Hop(reset, HAPPENINGS[reads]), Heard()

    async def main() -> None:
        async with client_of(hop, observer=heard) as client:
            tasks = started(client, 100)
            await asyncio.sleep(30 + 60 + 120 + 5)
            assert len(hop.balances) == 3
            assert len(hop.posts) == 6
            assert heard.pauses == pytest.approx([30, 60, 120, 240])
            assert "balance" in (client.statistics().queue.pause_reason or "")
            client.stop_submitting()
            await ends(tasks)

    run_virtual(main())


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_refused_read_shows_that_the_provider_answers(status: int) -> None:
    """Whatever it says: an answer in the provider's own envelope lets the probe go, which is accepted."""
    hop = Hop(reset, lambda: httpx.Response(status, json={"status": 1234, "message": "no"}))

    async def main() -> None:
        async with client_of(hop) as client:
            tasks = started(client, 10)
            await asyncio.sleep(20)
            hop.happening = None
            outcomes = await ends(tasks)
            assert sum(isinstance(outcome, SubmissionInDoubt) for outcome in outcomes) == 6
            assert client.statistics().finished == 4

    run_virtual(main())


def test_once_the_hop_is_gone_the_rest_is_sent_each_once(tmp_path: Path) -> None:
    """The first probe alone, then everything else in order; what had no clear answer is not sent again."""
    hop, heard = Hop(reset), Heard()

    async def main() -> None:
        async with ledger_of("memory", tmp_path) as ledger, client_of(hop, observer=heard, ledger=ledger) as client:
            tasks = started(client, 60)
            await asyncio.sleep(20)
            sent = len(hop.posts)
            assert 3 <= sent <= 6
            hop.happening = None
            outcomes = await ends(tasks)
            doubts = [outcome for outcome in outcomes if isinstance(outcome, SubmissionInDoubt)]
            assert len(doubts) == sent == len(await ledger.entries(None, [State.IN_DOUBT]))
            assert not [outcome for outcome in outcomes[sent:] if isinstance(outcome, Exception)]
        assert hop.posts[sent] == pytest.approx(30, abs=0.5)
        assert hop.posts[sent + 1] - hop.posts[sent] >= 0.1
        assert len(hop.posts) == 60
        prompts = [body["prompt"] for body in hop.behind.posts]
        assert prompts == [f"number {number}" for number in range(sent, 60)]
        assert [type(event) for event in heard.events] == [SubmissionsPaused, SubmissionsResumed]

    run_virtual(main())


def test_five_doubts_of_a_hundred_pause_too() -> None:
    """Each fourth answer is a page, never two in a row: the fifth page pauses."""
    hop = Hop(HAPPENINGS["502"], patterns=lambda number: number % 4 == 0)

    async def main() -> None:
        async with client_of(hop, limits=Limits(submissions=1)) as client:
            tasks = started(client, 40)
            await asyncio.sleep(25)
            assert (len(hop.posts), hop.spoiled) == (20, 5)
            assert "5 of the last 100" in (client.statistics().queue.pause_reason or "")
            client.stop_submitting()
            await ends(tasks)

    run_virtual(main())


def test_none_switches_the_brake_off() -> None:
    """`max_doubts=None`: everything is sent, as one doubt after the other comes."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop, limits=Limits(max_doubts=None)) as client:
            await ends(started(client, 50))
            assert len(hop.posts) == 50
            assert client.statistics().queue.pause_reason is None

    run_virtual(main())


def test_refusals_of_the_providers_own_never_pause() -> None:
    """A hundred moderated prompts in a row are clear answers; throttles only slow the lane, a gateway's 429 too."""
    hop = Hop(lambda: httpx.Response(400, json={"status": 2003, "message": "moderation"}))

    async def main() -> None:
        async with client_of(hop) as client:
            await ends(started(client, 100))
            assert len(hop.posts) == 100
        hop.happening = lambda: httpx.Response(429, json={"status": 1007, "message": "busy"})
        async with client_of(hop) as client:
            tasks = started(client, 5)
            await asyncio.sleep(100)
            assert client.statistics().queue.pause_reason is None
            client.stop_submitting()
            await ends(tasks)
        hop.happening = lambda: httpx.Response(429, text=PAGE)
        async with client_of(hop, limits=Limits(max_doubts=1)) as client:
            tasks = started(client, 5)
            await asyncio.sleep(100)
            assert client.statistics().queue.refusals > 3
            assert client.statistics().queue.pause_reason is None
            client.stop_submitting()
            await ends(tasks)

    run_virtual(main())


def test_resume_submitting_opens_at_once() -> None:
    """By hand, in the middle of a pause; doubts are counted from zero again."""
    hop, heard = Hop(reset), Heard()

    async def main() -> None:
        async with client_of(hop, observer=heard) as client:
            client.resume_submitting()  # not paused: nothing happens
            tasks = started(client, 30)
            await asyncio.sleep(10)
            assert len(hop.posts) == 6
            client.resume_submitting()
            await asyncio.sleep(10)
            assert len(hop.posts) == 12
            hop.happening = None
            client.resume_submitting()
            await ends(tasks)
            assert (len(hop.posts), client.statistics().finished) == (30, 18)
            assert hop.balances == []
        kinds = [SubmissionsPaused, SubmissionsResumed] * 2
        assert [type(event) for event in heard.events] == kinds

    run_virtual(main())


def test_resume_submitting_during_the_free_read_is_final() -> None:
    """The end of a read that was under way then changes nothing."""
    hop = Hop(reset)

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/balance"):
            await asyncio.sleep(5)
            return httpx.Response(502)
        return await hop(request)

    async def main() -> None:
        async with client_of(slow) as client:
            tasks = started(client, 10)
            await asyncio.sleep(32)
            hop.happening = None
            client.resume_submitting()
            await ends(tasks)
            await asyncio.sleep(60)
            assert (len(hop.posts), client.statistics().queue.pause_reason) == (10, None)

    run_virtual(main())


def test_both_lanes_pause_together() -> None:
    """Pages to chats pause pictures too: the hop stands in front of both."""
    hop = Hop(HAPPENINGS["200"])

    async def main() -> None:
        async with client_of(hop, limits=Limits(direct_calls=1)) as client:
            for _ in range(3):
                with pytest.raises(SubmissionInDoubt):
                    await client.run(Chat(messages=(Message("user", "hi"),)))
            task = asyncio.create_task(client.run(requests(1)[0]))
            await asyncio.sleep(20)
            assert len(hop.posts) == 3
            hop.happening = None
            await task
            assert hop.posts[3] == pytest.approx(30, abs=1)

    run_virtual(main())


def test_a_caller_without_patience_is_told_at_once() -> None:
    """`start_within` shorter than the pause is QueueTooLong, unsent, with the reason and when to come again."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client:
            await ends(started(client, 3))
            with pytest.raises(QueueTooLong, match="submissions are paused: the last 3") as caught:
                await client.submit(requests(1)[0], start_within=10)
            assert caught.value.starts_in == pytest.approx(30, abs=1)
            patient = asyncio.create_task(client.submit(requests(1)[0], start_within=40))
            await asyncio.sleep(25)
            hop.happening = None
            await (await patient)

    run_virtual(main())


def test_closing_and_stopping_during_a_pause_take_no_time() -> None:
    """What waits is turned away unsent, whether a pause, a read or a probe is under way."""
    for moment in (10, 30.05):
        hop = Hop(reset)

        async def slow(request: httpx.Request, hop: Hop = hop) -> httpx.Response:
            if request.url.path.endswith("/balance"):
                await asyncio.sleep(100)
            return await hop(request)

        async def main(moment: float = moment, slow: Any = slow, hop: Hop = hop) -> None:
            loop = asyncio.get_running_loop()
            async with client_of(slow) as client:
                tasks = started(client, 10)
                await asyncio.sleep(moment)
                began = loop.time()
            assert loop.time() == began
            assert sum(isinstance(outcome, NotSent) for outcome in await ends(tasks)) == 4
            await asyncio.sleep(200)
            assert len(hop.posts) == 6

        run_virtual(main())


def test_a_probe_under_way_is_finished_when_the_client_closes() -> None:
    """It is a POST like any other: its ids are kept."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client:
            tasks = started(client, 10)
            await asyncio.sleep(20)
            hop.happening = None
            await asyncio.sleep(10.15)
            assert len(hop.posts) == 7
        outcomes = await ends(tasks)
        kinds = [getattr(outcome, "task_ids", None) for outcome in outcomes]
        assert kinds.count(("task_0",)) == 1
        assert len(hop.posts) == 7

    run_virtual(main())


def test_two_clients_with_one_key_pause_together_and_outlive_each_other() -> None:
    """Both are told; when the one closes that makes the free read, the other makes it anew, and sends its own."""
    hop, first_heard, second_heard = Hop(reset), Heard(), Heard()
    reading = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        answer = await hop(request)
        if request.url.path.endswith("/balance"):
            reading.set()
            await asyncio.sleep(1)
        return answer

    async def main() -> None:
        opened_first = client_of(slow, observer=first_heard)
        first = await opened_first.__aenter__()
        async with client_of(slow, observer=second_heard) as second:
            await ends(started(first, 3))
            others = started(second, 4)
            await reading.wait()
            hop.happening = None
            await opened_first.__aexit__(None, None, None)
            await ends(others)
            assert second.statistics().finished == 4
        assert len(hop.balances) == 2
        assert hop.balances[1] - hop.balances[0] < 0.1
        assert len(first_heard.events) == 1
        assert [type(event) for event in second_heard.events] == [SubmissionsPaused, SubmissionsResumed]

    run_virtual(main())


def test_another_key_goes_on() -> None:
    """A pause concerns one key."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client:
            await ends(started(client, 3))
            hop.happening = None
            async with httpx.AsyncClient(transport=httpx.MockTransport(hop)) as http:
                async with WeryAI(KEY + "-other", base_url=URL, http=http) as other:
                    await other.run(requests(1)[0])
            assert client.statistics().queue.pause_reason is not None

    run_virtual(main())


def test_clients_that_follow_each_other_count_on() -> None:
    """A client for each request, one after the other, is no way round the brake."""
    hop = Hop(reset)

    async def main() -> None:
        for _ in range(3):
            async with client_of(hop) as client:
                await ends(started(client, 1))
        async with client_of(hop) as client:
            with pytest.raises(QueueTooLong):
                await client.submit(requests(1)[0], start_within=1)
        assert len(hop.posts) == 3

    run_virtual(main())


def test_doubts_are_remembered_for_ten_minutes_without_a_client() -> None:
    """A brake that has counted a doubt outlives its clients for a while; one that has not is forgotten with them."""

    async def main() -> None:
        for known in (0, 1, 2):
            brake = weakref.ref(brake_in_use())
            gc.collect()
            assert (brake() is None) is (known == 0)
            brake_in_use().record_in_doubt(object(), "a page")
        gc.collect()
        assert brake_in_use().reason is not None
        assert brake_in_use() is not shared_breaker("host", "other", lambda: CircuitBreaker(3, RetryPolicy()))
        await asyncio.sleep(601)
        gc.collect()
        assert brake_in_use().reason is None

    run_virtual(main())


def test_what_was_let_in_but_had_not_left_goes_back_into_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one waits to be sent again, the others end in doubt: it does not leave, and is first when all go on."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    hop = Hop(reset)
    unsent = 0

    async def failing_first(request: httpx.Request) -> httpx.Response:
        nonlocal unsent
        if request.method == "POST" and b'"number 0"' in request.content and not unsent:
            unsent += 1
            raise httpx.PoolTimeout("full")
        return await hop(request)

    class Counting(MemoryLedger):
        """Counts the marks "about to send"."""

        marks = 0

        async def mark_sending(self, *args: Any, **kwargs: Any) -> None:
            self.marks += 1
            await super().mark_sending(*args, **kwargs)

    async def main() -> None:
        ledger = Counting()
        await ledger.open()
        retries = RetryPolicy(initial_backoff=20, max_backoff=20)
        async with client_of(failing_first, retries=retries, ledger=ledger, limits=Limits(submissions=2)) as client:
            tasks = started(client, 8)
            await asyncio.sleep(25)
            assert len(hop.posts) == 3
            lane = client.statistics().queue
            assert (lane.waiting, lane.submitting, lane.in_use) == (5, 0, 0)
            states = [entry.state for entry in await ledger.entries(None)]
            assert sorted(states) == sorted([State.IN_DOUBT] * 3 + [State.CLAIMED])
            hop.happening = None
            await ends(tasks)
            assert client.statistics().queue.in_use == 0
        assert len(hop.posts) == 8
        assert hop.behind.posts[0]["prompt"] == "number 0"
        assert ledger.marks == 9  # one for the attempt that did not connect

    run_virtual(main())


def test_a_pause_that_begins_while_the_ledger_writes_keeps_the_first_byte_back() -> None:
    """The mark "about to send" is being written when the others end in doubt: it is taken back, and nothing leaves."""
    hop, marks = Hop(reset), 0

    class Slow(MemoryLedger):
        """Takes its time over the fourth mark."""

        async def mark_sending(self, *args: Any, **kwargs: Any) -> None:
            nonlocal marks
            marks += 1
            if marks == 4:
                await asyncio.sleep(5)
            await super().mark_sending(*args, **kwargs)

    async def main() -> None:
        ledger = Slow()
        await ledger.open()
        async with client_of(hop, ledger=ledger) as client:
            tasks = started(client, 4)
            await asyncio.sleep(20)
            assert len(hop.posts) == 3
            states = [entry.state for entry in await ledger.entries(None)]
            assert sorted(states) == sorted([State.IN_DOUBT] * 3 + [State.CLAIMED])
            hop.happening = None
            await ends(tasks)
            assert len(hop.posts) == 4
            assert client.statistics().finished == 1

    run_virtual(main())


def test_a_caller_who_leaves_during_the_pause_sends_nothing() -> None:
    """Cancelled in line, also after it had been let in once: its request is never sent."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client:
            tasks = started(client, 8)
            await asyncio.sleep(10)
            for task in tasks:
                task.cancel()
            await ends(tasks)
            hop.happening = None
            await asyncio.sleep(100)
            assert (len(hop.posts), client.statistics().queue.in_use, hop.balances) == (6, 0, [])
            await client.run(requests(1)[0])

    run_virtual(main())


def test_a_probe_that_never_left_is_tried_again_after_the_same_pause() -> None:
    """It neither opens the queue nor counts as failed."""
    hop, heard = Hop(reset), Heard()

    def unsent() -> httpx.Response:
        raise httpx.PoolTimeout("full")

    async def main() -> None:
        async with client_of(hop, observer=heard, retries=RetryPolicy(max_attempts=1)) as client:
            tasks = started(client, 9)
            await asyncio.sleep(20)
            hop.happening = unsent
            await asyncio.sleep(20)
            assert len(hop.posts) == 7
            hop.happening = None
            outcomes = await ends(tasks)
            assert [type(outcome) for outcome in outcomes].count(NotSent) == 1
            assert hop.posts[7] - hop.posts[6] == pytest.approx(30, abs=1)
            assert heard.pauses == pytest.approx([30, 30])
            assert client.statistics().finished == 2

    run_virtual(main())


def test_a_busy_answer_to_the_probe_opens_the_queue() -> None:
    """The provider's own throttle is a clear answer; the lane's usual rest follows it."""
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client:
            tasks = started(client, 9)
            await asyncio.sleep(20)
            hop.happening = lambda: httpx.Response(200, json={"status": 1007, "message": "busy"})
            await asyncio.sleep(10.25)
            assert client.statistics().queue.pause_reason is None
            hop.happening = None
            await ends(tasks)
            assert client.statistics().finished == 3

    run_virtual(main())


def test_one_warning_for_each_pause_and_one_line_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """With the seconds and the failed probes as extras, however many clients and requests wait."""
    caplog.set_level(logging.INFO, "aiowery")
    hop = Hop(reset)

    async def main() -> None:
        async with client_of(hop) as client, client_of(hop) as other:
            tasks = [*started(client, 10), *started(other, 10)]
            await asyncio.sleep(40)
            hop.happening = None
            await ends(tasks)

    run_virtual(main())
    told: list[Any] = [record for record in caplog.records if record.getMessage().startswith("submissions ")]
    assert [record.levelno for record in told] == [logging.WARNING, logging.WARNING, logging.INFO]
    assert [(round(record.retry_in), record.failed_probes) for record in told[:2]] == [(30, 0), (60, 1)]


def test_a_batch_keeps_the_rest_as_new_and_a_later_run_sends_it(tmp_path: Path) -> None:
    """The ledger knows what was sent: the rest of a stopped stream is new, and comes when it is resumed."""
    hop = Hop(reset)
    batch = requests(40)

    async def main() -> None:
        async with ledger_of("memory", tmp_path) as ledger:
            async with client_of(hop, ledger=ledger) as client:
                stream = client.stream(batch, batch="b")
                outcomes = [await anext(stream) for _ in range(len(hop.posts) or 3)]
                assert all(isinstance(outcome.error, SubmissionInDoubt) for outcome in outcomes)
                await asyncio.sleep(10)
            sent = len(hop.posts)
            states = [entry.state for entry in await ledger.entries("b")]
            assert (states.count(State.IN_DOUBT), states.count(State.NEW)) == (sent, 40 - sent)
            hop.happening = None
            async with client_of(hop, ledger=ledger) as client:
                client.resume_submitting()
                ended = [outcome async for outcome in client.stream(batch, batch="b")]
            assert sum(outcome.error is None for outcome in ended) == 40 - sent
            assert len(hop.posts) == 40

    run_virtual(main())


@pytest.mark.anyio
@pytest.mark.parametrize("http", [None, "fast"])
async def test_over_real_connections_no_more_than_six_leave(http: Literal["fast"] | None) -> None:
    """Bytes are what counts: a server on loopback that answers with pages hears at most six of forty."""
    async with peer(http_answer(PAGE)) as server, WeryAI(KEY, base_url=server.url, http=http) as client:
        tasks = started(client, 40)
        async with asyncio.timeout(10):
            while client.statistics().queue.pause_reason is None:  # noqa: ASYNC110 - statistics set no event
                await asyncio.sleep(0.01)
        await asyncio.wait(tasks, timeout=0.15)  # what had left before the pause ends meanwhile
        ended = [task for task in tasks if task.done()]
        assert 3 <= len(ended) == len(server.heard) <= 6
        assert all(isinstance(task.exception(), AioweryError) for task in ended)
        client.stop_submitting()
        await ends(tasks)
    assert len(server.heard) <= 6
