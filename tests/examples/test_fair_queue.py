"""The fair queue: the order in which requests start, in virtual time and without a network."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.testing import run_virtual
from examples.fair_queue import Busy, FairQueue

USERS = "ABCD"
FINISH, CANCEL = "finish", "cancel"


@attrs.define(eq=False)
class QueuedRequest:
    """A user's request. `entered` and `started` count the requests that had started before, of all users."""

    user: str
    entered: int
    started: int | None = None
    refused: bool = False
    finished: asyncio.Event = attrs.field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@attrs.define
class Simulation:
    """A simulation of users who enter the queue, finish and cancel. It records the order in which requests start."""

    queue: FairQueue
    requests: list[QueuedRequest] = attrs.field(factory=list)
    started: list[QueuedRequest] = attrs.field(factory=list)

    async def enter(self, user: str) -> None:
        """Add a request of this user to the queue."""
        request = QueuedRequest(user, len(self.started))
        request.task = asyncio.create_task(self._run(request))
        self.requests.append(request)
        await _settle()

    async def finish(self) -> None:
        """Finish the running request that started first."""
        if self.running:
            self.running[0].finished.set()
            await _settle()

    async def finish_all(self) -> None:
        """Finish requests until none is running."""
        while self.running:
            await self.finish()

    async def cancel(self) -> None:
        """Cancel the request that has waited longest."""
        waiting = [one for one in self.requests if one.started is None and one.task and not one.task.done()]
        if waiting and waiting[0].task:
            waiting[0].task.cancel()
            await _settle()

    @property
    def running(self) -> list[QueuedRequest]:
        """The requests that have started and not finished."""
        return [request for request in self.started if not request.finished.is_set()]

    async def _run(self, request: QueuedRequest) -> None:
        with suppress(Busy):
            async with self.queue.slot(request.user):
                request.started = len(self.started)
                self.started.append(request)
                await request.finished.wait()
            return
        request.refused = True


async def _settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def _overtaken_by(simulation: Simulation, request: QueuedRequest) -> list[str]:
    """Return the users whose requests started while this one was the first waiting request of its user."""
    assert request.started is not None
    earlier = simulation.started[: request.started]
    own = [one.started + 1 for one in earlier if one.user == request.user and one.started is not None]
    first_since = max([request.entered, *own])
    return [one.user for one in earlier[first_since:]]


ACTIONS = st.lists(st.sampled_from([*USERS, *USERS, FINISH, FINISH, CANCEL]), max_size=60)


@given(actions=ACTIONS, slots=st.integers(1, 3), max_waiting=st.integers(1, 4))
def test_queue_any_order_of_actions_is_fair(actions: list[str], slots: int, max_waiting: int) -> None:
    """While a user's first request waits, each other user starts at most one request, and no slot is lost."""

    async def simulate() -> None:
        simulation = Simulation(FairQueue(slots=slots, max_waiting=max_waiting))
        for action in actions:
            if action == FINISH:
                await simulation.finish()
            elif action == CANCEL:
                await simulation.cancel()
            else:
                await simulation.enter(action)
            assert len(simulation.running) <= slots
        await simulation.finish_all()
        for request in simulation.started:
            users = _overtaken_by(simulation, request)
            assert len(users) == len(set(users))
        assert all(request.task and request.task.done() for request in simulation.requests)

    run_virtual(simulate())


@pytest.mark.virtual_time
async def test_queue_user_with_six_requests_does_not_delay_another() -> None:
    """Six requests of user A precede one of user B: B's request starts second of those that wait."""
    simulation = Simulation(FairQueue(slots=1, max_waiting=5))
    for user in "AAAAAAB":
        await simulation.enter(user)
    await simulation.finish_all()
    assert "".join(request.user for request in simulation.started) == "AABAAAA"


@pytest.mark.virtual_time
async def test_queue_user_at_the_limit_is_refused_alone() -> None:
    """While two requests of user A wait, a third is refused with a message, and a request of user B is not."""
    simulation = Simulation(FairQueue(slots=1, max_waiting=2))
    for user in "AAAAB":
        await simulation.enter(user)
    assert [request.refused for request in simulation.requests] == [False, False, False, True, False]
    with pytest.raises(Busy, match="At most 2 of your pictures can wait"):
        async with simulation.queue.slot("A"):
            pass
    await simulation.finish_all()


@pytest.mark.virtual_time
async def test_queue_timeout_raises_busy_and_keeps_the_slot() -> None:
    """A request that waits longer than the timeout gets Busy. The next request gets the slot as usual."""
    queue = FairQueue(slots=1, timeout=180)
    async with queue.slot("A"):
        started = asyncio.get_running_loop().time()
        with pytest.raises(Busy, match="Nothing was charged"):
            async with queue.slot("B"):
                pass
        assert asyncio.get_running_loop().time() - started == pytest.approx(180)
    async with queue.slot("C"):
        pass
