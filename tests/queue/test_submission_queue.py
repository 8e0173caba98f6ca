"""The submission queue: the order of submissions, its limits, and the effect of a rejection on all of them."""

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


def back_off(queue: SubmissionQueue, ticket: Ticket, retry_after: float | None = None, *, tasks: bool = False) -> float:
    """Reject a submission because of load."""
    return queue.back_off(ticket, retry_after=retry_after, is_concurrency_limit=tasks)


def queue_of(random: Callable[[], float] = lambda: 0.5, **limits: float) -> SubmissionQueue:
    """Return a queue in the running event loop."""
    return SubmissionQueue(Limits(**limits), RetryPolicy(), random)  # type: ignore[arg-type]


async def acquire_many(
    queue: SubmissionQueue, count: int, slots: int = 1
) -> tuple[list[Ticket], list[asyncio.Task[Ticket]]]:
    """Let `count` tickets wait, and return them in order with the tasks that wait."""

    async def acquire(ticket: Ticket) -> Ticket:
        await queue.acquire(ticket)
        return ticket

    tickets = [queue.new_ticket(slots) for _ in range(count)]
    tasks = [asyncio.create_task(acquire(ticket)) for ticket in tickets]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tickets, tasks


def admitted(tasks: list[asyncio.Task[Ticket]]) -> list[int]:
    """Return the numbers of the admitted tickets."""
    return [task.result().number for task in tasks if task.done() and not task.cancelled()]


@pytest.mark.virtual_time
async def test_acquire_full_queue_admits_in_order_of_arrival() -> None:
    """No more tasks are under way than `in_flight`, and the first tickets are admitted first."""
    queue = queue_of(in_flight=3, submissions=9)
    tickets, tasks = await acquire_many(queue, 5)
    assert admitted(tasks) == [0, 1, 2]
    queue.keep_slots(tickets[0], 1)
    tickets[0].release(1)
    await asyncio.sleep(0.001)
    assert admitted(tasks) == [0, 1, 2, 3]
    assert queue.statistics().waiting == 1
    tasks[4].cancel()


@pytest.mark.virtual_time
async def test_acquire_with_free_slots_limits_concurrent_submissions() -> None:
    """Free slots for tasks do not allow more than `submissions` concurrent POSTs."""
    queue = queue_of(in_flight=20, submissions=2)
    tickets, tasks = await acquire_many(queue, 3)
    assert admitted(tasks) == [0, 1]
    queue.keep_slots(tickets[0], 1)
    await asyncio.gather(*tasks)


@pytest.mark.virtual_time
async def test_acquire_several_tasks_occupies_one_slot_each() -> None:
    """A slot is counted per task, and slots of tasks that were not started are released at acceptance."""
    queue = queue_of(in_flight=5, submissions=9)
    tickets, tasks = await acquire_many(queue, 2, slots=4)
    assert admitted(tasks) == [0]
    queue.keep_slots(tickets[0], 1)
    await asyncio.gather(*tasks)
    assert queue.statistics().in_use == 5


@pytest.mark.virtual_time
async def test_acquire_more_tasks_than_capacity_waits_until_alone() -> None:
    """A request for more tasks than the queue has slots does not wait for ever."""
    queue = queue_of(in_flight=2)
    small, first = await acquire_many(queue, 1)
    _, second = await acquire_many(queue, 1, slots=7)
    assert admitted(second) == []
    queue.keep_slots(small[0], 1)
    small[0].release(1)
    await asyncio.gather(*first, *second)


@pytest.mark.virtual_time
async def test_acquire_after_rejection_keeps_head_of_queue() -> None:
    """A rejected submission is sent again before all that arrived later."""
    queue = queue_of(in_flight=1)
    tickets, tasks = await acquire_many(queue, 3)
    back_off(queue, tickets[0])
    again = asyncio.create_task(queue.acquire(tickets[0]))
    await asyncio.wait_for(again, 60)
    assert admitted(tasks) == [0]
    queue.abandon(tickets[0])
    await asyncio.sleep(0.001)
    assert admitted(tasks) == [0, 1]
    tasks[2].cancel()


@pytest.mark.virtual_time
async def test_back_off_with_retry_after_pauses_whole_queue() -> None:
    """Retry-After pauses all submissions of the queue, not only the rejected one."""
    loop = asyncio.get_running_loop()
    queue = queue_of(submissions=1)
    tickets, tasks = await acquire_many(queue, 2)
    back_off(queue, tickets[0], 17.5)
    await asyncio.wait([tasks[1]])
    assert loop.time() == pytest.approx(17.5, abs=0.01)


@pytest.mark.virtual_time
async def test_back_off_concurrent_rejections_count_as_one() -> None:
    """Four POSTs that are rejected together are one event: the pause does not grow four times."""
    queue = queue_of(submissions=4, in_flight=10)
    tickets, _ = await acquire_many(queue, 4)
    pauses = []
    for ticket in tickets:
        await asyncio.sleep(0.01)
        pauses.append(back_off(queue, ticket, tasks=True))
    assert max(pauses) == pauses[0]
    assert queue.statistics().capacity == 3
    assert queue.statistics().refusals == 4


@pytest.mark.virtual_time
async def test_admit_after_rejection_sends_one_at_a_time() -> None:
    """Submissions are sent one at a time until the provider accepts one again."""
    queue = queue_of(submissions=4)
    tickets, tasks = await acquire_many(queue, 8)
    for ticket in tickets[:4]:
        back_off(queue, ticket)
    await asyncio.sleep(100)
    assert admitted(tasks) == [0, 1, 2, 3, 4]
    queue.keep_slots(tickets[4], 1)
    await asyncio.sleep(0.001)
    assert len(admitted(tasks)) == 8


@pytest.mark.virtual_time
async def test_back_off_concurrency_limit_reduces_capacity_until_recovery() -> None:
    """A concurrency limit reduces the capacity by one, and it recovers with time."""
    queue = queue_of(in_flight=4, submissions=9, recovery_interval=30)
    tickets, _ = await acquire_many(queue, 4)
    for ticket in tickets[:3]:
        queue.keep_slots(ticket, 1)
    back_off(queue, tickets[3], tasks=True)
    assert queue.statistics().capacity == 3
    waiting = asyncio.create_task(queue.acquire(tickets[3]))
    await asyncio.sleep(29)
    assert not waiting.done()
    await asyncio.sleep(1.5)
    assert waiting.done()
    assert queue.statistics().capacity == 4


@pytest.mark.virtual_time
async def test_acquire_cancelled_lets_next_tickets_pass() -> None:
    """A cancelled ticket blocks no other ticket, at the head of the queue or in the middle."""
    queue = queue_of(in_flight=1)
    tickets, tasks = await acquire_many(queue, 4)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.sleep(0)
    queue.keep_slots(tickets[0], 1)
    tickets[0].release(1)
    await asyncio.wait([tasks[3]])
    assert queue.statistics().waiting == 0
    assert queue.statistics().in_use == 1


@pytest.mark.virtual_time
async def test_acquire_cancelled_at_admission_releases_slots() -> None:
    """No slot is lost if admission and cancellation happen in one event-loop iteration."""
    queue = queue_of(in_flight=1)
    tickets, tasks = await acquire_many(queue, 2)
    queue.keep_slots(tickets[0], 1)
    tickets[0].release(1)  # admits the second ticket
    tasks[1].cancel()  # its task has not run since then
    await asyncio.wait([tasks[1]])
    assert tasks[1].cancelled()
    assert queue.statistics().in_use == 0


@pytest.mark.virtual_time
async def test_reject_waiting_without_tickets_rejects_all() -> None:
    """An error that applies to all waiting submissions ends their wait without a POST for each."""
    queue = queue_of(in_flight=1)
    _, tasks = await acquire_many(queue, 3)
    queue.reject_waiting(AuthenticationError("wrong key"))
    await asyncio.wait(tasks[1:])
    errors = [task.exception() for task in tasks[1:]]
    assert all(isinstance(error, AuthenticationError) for error in errors)
    assert errors[0] is not errors[1]
    assert queue.statistics().waiting == 0


@pytest.mark.virtual_time
async def test_acquire_with_submit_interval_spaces_submissions() -> None:
    """`submit_interval` is the minimum time between two submissions."""
    loop = asyncio.get_running_loop()
    queue = queue_of(submit_interval=2.5)
    times = []

    async def acquire() -> None:
        await queue.acquire(queue.new_ticket(1))
        times.append(loop.time())

    await asyncio.gather(*(acquire() for _ in range(4)))
    assert times == pytest.approx([0, 2.5, 5, 7.5], abs=0.01)


def test_shared_queue_same_key_and_loop_returns_same_queue() -> None:
    """The provider counts per key: a queue belongs to one base URL, key, kind and event loop."""

    async def main() -> None:
        queue = shared_queue("host", "key", "tasks", queue_of)
        assert shared_queue("host", "key", "tasks", queue_of) is queue
        assert shared_queue("host", "other", "tasks", queue_of) is not queue
        assert shared_queue("host", "key", "answers", queue_of) is not queue
        assert shared_queue("elsewhere", "key", "tasks", queue_of) is not queue

    async def in_other_loop() -> SubmissionQueue:
        return shared_queue("host", "key", "tasks", queue_of)

    first = run_virtual(in_other_loop())
    assert run_virtual(in_other_loop()) is not first
    run_virtual(main())


@pytest.mark.virtual_time
async def test_shared_queue_other_limits_keeps_first_and_logs_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The first client's limits apply, and a warning is logged for the second client."""
    queue = shared_queue("host", "key", "tasks", lambda: queue_of(in_flight=2))
    assert shared_queue("host", "key", "tasks", lambda: queue_of(in_flight=9)) is queue
    assert "another open client" in caplog.text


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from(["accept", "busy", "tasks", "reject", "cancel"])),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 6),
    st.floats(0, 0.999),
)
def test_queue_any_arrivals_keeps_capacity_and_admits_all(
    arrivals: list[tuple[int, str]], in_flight: int, chance: float
) -> None:
    """For any mix of sizes, rejections and cancellations the capacity holds, all are admitted, all slots return."""

    async def submit(queue: SubmissionQueue, slots: int, ending: str) -> None:
        ticket = queue.new_ticket(slots)
        await _acquire_checked(queue, ticket, in_flight)
        if ending in {"busy", "tasks"}:
            back_off(queue, ticket, tasks=ending == "tasks")
            await _acquire_checked(queue, ticket, in_flight)
        try:
            await asyncio.sleep(0.1)  # the POST
        except asyncio.CancelledError:
            queue.abandon(ticket)
            raise
        if ending == "reject":
            queue.abandon(ticket)
            return
        queue.keep_slots(ticket, slots)
        await asyncio.sleep(5)
        ticket.release(slots)

    async def main() -> None:
        queue = queue_of(lambda: chance, in_flight=in_flight)
        tasks = [asyncio.create_task(submit(queue, *arrival)) for arrival in arrivals]
        await asyncio.sleep(0.05)
        for task, (_, ending) in zip(tasks, arrivals, strict=True):
            if ending == "cancel" and queue.statistics().in_use:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 36000)
        assert queue.statistics().in_use == 0
        assert queue.statistics().submitting == 0

    run_virtual(main())


async def _acquire_checked(queue: SubmissionQueue, ticket: Ticket, in_flight: int) -> None:
    await queue.acquire(ticket)
    in_use = queue.statistics().in_use
    assert in_use <= max(in_flight, ticket.slots)


@pytest.mark.virtual_time
async def test_reject_waiting_with_tickets_rejects_only_these() -> None:
    """If one of two clients closes, the other client's tickets stay in the shared queue."""
    queue = queue_of(in_flight=1)
    tickets, tasks = await acquire_many(queue, 3)
    queue.reject_waiting(NotSent("closed"), [tickets[1]])
    queue.keep_slots(tickets[0], 1)
    tickets[0].release(1)
    done: Awaitable[Ticket] = tasks[2]
    assert (await done).number == 2
    assert isinstance(tasks[1].exception(), NotSent)
