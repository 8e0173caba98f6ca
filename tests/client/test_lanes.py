"""Lanes: who may submit, when, and what a refusal does to everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Limits, RetryPolicy
from aiowery._queue.submission_queue import SubmissionQueue, Ticket, shared_queue
from aiowery.errors import AuthenticationError, NotSent
from aiowery.testing import run_virtual


def back_off(lane: SubmissionQueue, ticket: Ticket, retry_after: float | None = None, *, tasks: bool = False) -> float:
    """Refuse a submission because of load."""
    return lane.back_off(ticket, retry_after=retry_after, is_concurrency_limit=tasks)


def lane_of(random: Callable[[], float] = lambda: 0.5, **limits: float) -> SubmissionQueue:
    """Return a lane in the running loop."""
    return SubmissionQueue(Limits(**limits), RetryPolicy(), random)  # type: ignore[arg-type]


async def now_in(lane: SubmissionQueue, count: int, places: int = 1) -> tuple[list[Ticket], list[asyncio.Task[Ticket]]]:
    """Let so many enter; return the tickets in order and the tasks that wait."""

    async def enter(ticket: Ticket) -> Ticket:
        await lane.acquire(ticket)
        return ticket

    tickets = [lane.new_ticket(places) for _ in range(count)]
    tasks = [asyncio.create_task(enter(ticket)) for ticket in tickets]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tickets, tasks


def admitted(tasks: list[asyncio.Task[Ticket]]) -> list[int]:
    """Return the numbers of those who were let in."""
    return [task.result().number for task in tasks if task.done() and not task.cancelled()]


def test_admits_in_order_up_to_the_capacity() -> None:
    """No more tasks are in flight than the limit says, and the first come are the first in."""

    async def main() -> None:
        lane = lane_of(in_flight=3, submissions=9)
        tickets, tasks = await now_in(lane, 5)
        assert admitted(tasks) == [0, 1, 2]
        lane.keep_slots(tickets[0], 1)
        tickets[0].release(1)
        await asyncio.sleep(0.001)
        assert admitted(tasks) == [0, 1, 2, 3]
        assert lane.statistics().waiting == 1
        tasks[4].cancel()

    run_virtual(main())


def test_bounds_submissions_at_once() -> None:
    """Room for tasks is not room for POSTs: only `submissions` go out at a time."""

    async def main() -> None:
        lane = lane_of(in_flight=20, submissions=2)
        tickets, tasks = await now_in(lane, 3)
        assert admitted(tasks) == [0, 1]
        lane.keep_slots(tickets[0], 1)
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_a_request_for_several_pictures_takes_several_places() -> None:
    """Places are counted per task, and those that never came about are given back at acceptance."""

    async def main() -> None:
        lane = lane_of(in_flight=5, submissions=9)
        tickets, tasks = await now_in(lane, 2, places=4)
        assert admitted(tasks) == [0]
        lane.keep_slots(tickets[0], 1)
        await asyncio.gather(*tasks)
        assert lane.statistics().in_use == 5

    run_virtual(main())


def test_a_request_larger_than_the_lane_waits_until_it_is_alone() -> None:
    """A request for more tasks than the lane has places is not stuck for ever."""

    async def main() -> None:
        lane = lane_of(in_flight=2)
        small, first = await now_in(lane, 1)
        _, second = await now_in(lane, 1, places=7)
        assert admitted(second) == []
        lane.keep_slots(small[0], 1)
        small[0].release(1)
        await asyncio.gather(*first, *second)

    run_virtual(main())


def test_the_refused_keeps_its_place_at_the_head() -> None:
    """After a refusal the same request goes first, before everybody who came later."""

    async def main() -> None:
        lane = lane_of(in_flight=1)
        tickets, tasks = await now_in(lane, 3)
        back_off(lane, tickets[0])
        again = asyncio.create_task(lane.acquire(tickets[0]))
        await asyncio.wait_for(again, 60)
        assert admitted(tasks) == [0]
        lane.abandon(tickets[0])
        await asyncio.sleep(0.001)
        assert admitted(tasks) == [0, 1]
        tasks[2].cancel()

    run_virtual(main())


def test_a_refusal_pauses_everybody_for_as_long_as_the_provider_asks() -> None:
    """Retry-After holds the whole lane, not only the refused request."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lane = lane_of(submissions=1)
        tickets, tasks = await now_in(lane, 2)
        back_off(lane, tickets[0], 17.5)
        await asyncio.wait([tasks[1]])
        assert loop.time() == pytest.approx(17.5, abs=0.01)

    run_virtual(main())


def test_refusals_of_one_moment_count_as_one() -> None:
    """Four POSTs refused together are one event: the pause does not grow four times."""

    async def main() -> None:
        lane = lane_of(submissions=4, in_flight=10)
        tickets, _ = await now_in(lane, 4)
        pauses = []
        for ticket in tickets:
            await asyncio.sleep(0.01)
            pauses.append(back_off(lane, ticket, tasks=True))
        assert max(pauses) == pauses[0]
        assert lane.statistics().capacity == 3
        assert lane.statistics().refusals == 4

    run_virtual(main())


def test_after_a_refusal_one_goes_ahead_as_a_probe() -> None:
    """Nobody storms: until one submission is accepted again, they go out one at a time."""

    async def main() -> None:
        lane = lane_of(submissions=4)
        tickets, tasks = await now_in(lane, 8)
        for ticket in tickets[:4]:
            back_off(lane, ticket)
        await asyncio.sleep(100)
        assert admitted(tasks) == [0, 1, 2, 3, 4]
        lane.keep_slots(tickets[4], 1)
        await asyncio.sleep(0.001)
        assert len(admitted(tasks)) == 8

    run_virtual(main())


def test_too_many_tasks_shrinks_the_lane_and_time_grows_it_back() -> None:
    """Another process with the same key takes places; once it has gone, we take them back one by one."""

    async def main() -> None:
        lane = lane_of(in_flight=4, submissions=9, recovery_interval=30)
        tickets, _ = await now_in(lane, 4)
        for ticket in tickets[:3]:
            lane.keep_slots(ticket, 1)
        back_off(lane, tickets[3], tasks=True)
        assert lane.statistics().capacity == 3
        waiting = asyncio.create_task(lane.acquire(tickets[3]))
        await asyncio.sleep(29)
        assert not waiting.done()
        await asyncio.sleep(1.5)
        assert waiting.done()
        assert lane.statistics().capacity == 4

    run_virtual(main())


def test_leaving_the_line_frees_the_way() -> None:
    """A cancelled waiter takes nobody's place, at the head or in the middle."""

    async def main() -> None:
        lane = lane_of(in_flight=1)
        tickets, tasks = await now_in(lane, 4)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0)
        lane.keep_slots(tickets[0], 1)
        tickets[0].release(1)
        await asyncio.wait([tasks[3]])
        assert lane.statistics().waiting == 0
        assert lane.statistics().in_use == 1

    run_virtual(main())


def test_cancelled_in_the_instant_of_admission_gives_its_places_back() -> None:
    """Admission and cancellation may meet in one turn of the loop; no place is lost then."""

    async def main() -> None:
        lane = lane_of(in_flight=1)
        tickets, tasks = await now_in(lane, 2)
        lane.keep_slots(tickets[0], 1)
        tickets[0].release(1)  # admits the second ...
        tasks[1].cancel()  # ... whose waiter has not run since
        await asyncio.wait([tasks[1]])
        assert tasks[1].cancelled()
        assert lane.statistics().in_use == 0

    run_virtual(main())


def test_turning_away_ends_everybodys_wait() -> None:
    """A refusal that would meet everybody spares the others their own POST."""

    async def main() -> None:
        lane = lane_of(in_flight=1)
        _, tasks = await now_in(lane, 3)
        lane.reject_waiting(AuthenticationError("wrong key"))
        await asyncio.wait(tasks[1:])
        errors = [task.exception() for task in tasks[1:]]
        assert all(isinstance(error, AuthenticationError) for error in errors)
        assert errors[0] is not errors[1]
        assert lane.statistics().waiting == 0

    run_virtual(main())


def test_submissions_keep_their_distance() -> None:
    """`submit_interval` is the least time between two submissions."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lane = lane_of(submit_interval=2.5)
        times = []

        async def enter() -> None:
            await lane.acquire(lane.new_ticket(1))
            times.append(loop.time())

        await asyncio.gather(*(enter() for _ in range(4)))
        assert times == pytest.approx([0, 2.5, 5, 7.5], abs=0.01)

    run_virtual(main())


def test_two_clients_with_one_key_share_a_lane() -> None:
    """The provider counts per key; a lane belongs to the key, the host and the loop."""

    async def main() -> None:
        lane = shared_queue("host", "key", "tasks", lane_of)
        assert shared_queue("host", "key", "tasks", lane_of) is lane
        assert shared_queue("host", "other", "tasks", lane_of) is not lane
        assert shared_queue("host", "key", "answers", lane_of) is not lane
        assert shared_queue("elsewhere", "key", "tasks", lane_of) is not lane

    async def other_loop() -> SubmissionQueue:
        return shared_queue("host", "key", "tasks", lane_of)

    first = run_virtual(other_loop())
    assert run_virtual(other_loop()) is not first
    run_virtual(main())


def test_a_lane_with_other_limits_is_shared_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The first client's limits hold; the second is told in the log."""

    async def main() -> None:
        lane = shared_queue("host", "key", "tasks", lambda: lane_of(in_flight=2))
        assert shared_queue("host", "key", "tasks", lambda: lane_of(in_flight=9)) is lane

    run_virtual(main())
    assert "another open client" in caplog.text


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from(["accept", "busy", "tasks", "refuse", "cancel"])),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 6),
    st.floats(0, 0.999),
)
def test_whatever_happens_nobody_starves_and_nothing_is_overbooked(
    arrivals: list[tuple[int, str]], in_flight: int, chance: float
) -> None:
    """For any mix of sizes, refusals and cancellations: the capacity holds, all get through, all places return."""

    async def visit(lane: SubmissionQueue, places: int, fate: str) -> None:
        ticket = lane.new_ticket(places)
        await _enter_checked(lane, ticket, in_flight)
        if fate in {"busy", "tasks"}:
            back_off(lane, ticket, tasks=fate == "tasks")
            await _enter_checked(lane, ticket, in_flight)
        try:
            await asyncio.sleep(0.1)  # the POST
        except asyncio.CancelledError:
            lane.abandon(ticket)
            raise
        if fate == "refuse":
            lane.abandon(ticket)
            return
        lane.keep_slots(ticket, places)
        await asyncio.sleep(5)
        ticket.release(places)

    async def main() -> None:
        lane = lane_of(lambda: chance, in_flight=in_flight)
        tasks = [asyncio.create_task(visit(lane, *arrival)) for arrival in arrivals]
        await asyncio.sleep(0.05)
        for task, (_, fate) in zip(tasks, arrivals, strict=True):
            if fate == "cancel" and lane.statistics().in_use:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 36000)
        assert lane.statistics().in_use == 0
        assert lane.statistics().submitting == 0

    run_virtual(main())


async def _enter_checked(lane: SubmissionQueue, ticket: Ticket, in_flight: int) -> None:
    await lane.acquire(ticket)
    in_use = lane.statistics().in_use
    assert in_use <= max(in_flight, ticket.slots)


def test_closing_turns_away_only_its_own() -> None:
    """Two clients share the lane: when one closes, the other's waiters stay in line."""

    async def main() -> None:
        lane = lane_of(in_flight=1)
        tickets, tasks = await now_in(lane, 3)
        lane.reject_waiting(NotSent("closed"), [tickets[1]])
        lane.keep_slots(tickets[0], 1)
        tickets[0].release(1)
        done: Awaitable[Ticket] = tasks[2]
        assert (await done).number == 2
        assert isinstance(tasks[1].exception(), NotSent)

    run_virtual(main())
