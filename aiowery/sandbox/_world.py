"""The world behind the sandbox: tasks, batches, credits and time. No HTTP.

Only the server's thread changes it; every reader takes copies, so any thread may read at any time.
"""

from __future__ import annotations

import enum
import heapq
import random
import secrets
import time
from typing import TYPE_CHECKING

import attrs

from aiowery.sandbox._answer import Refused
from aiowery.sandbox._counters import Counters
from aiowery.sandbox._durations import range_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._durations import Durations

MODERATED = "[[moderated]]"
"""A prompt with this mark is refused at submission with code 1005."""
FAIL = "[[fail]]"
"""A prompt with this mark is accepted, ends as FAILED with a reason, and its credit is given back."""
SLOW = "[[slow]]"
"""A prompt with this mark takes ten times as long."""
STUCK = "[[stuck]]"
"""A prompt with this mark is processed for ever."""

_SLOWNESS = 10.0
_FAILURE_REASON = "generation failed: the model returned no picture"

# Ids look random, yet no two are equal: an odd step walks through all numbers below a power of two.
_IDS = 2**48
_STEP = 0x9E3779B97F4B


def _scattered(number: int) -> int:
    return number * _STEP % _IDS


def _task_id(digits: int) -> str:
    return f"task_{digits:012x}"


class State(enum.StrEnum):
    """Where a task is, in the words of the wire."""

    WAITING = "waiting"
    PROCESSING = "processing"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


@attrs.frozen
class Order:
    """What a submission asks for, after validation."""

    prompt: str
    model: str
    aspect_ratio: str
    pictures: int = 1


@attrs.frozen
class Task:
    """One picture to be made. Times are readings of the world's clock, in seconds."""

    id: str
    number: int
    batch_id: int
    index: int
    order: Order
    accepted_at: float
    starts_at: float
    ends_at: float
    reason: str = ""

    def state(self, now: float) -> State:
        """Tell where the task is at the time `now`."""
        if now < self.starts_at:
            return State.WAITING
        if now < self.ends_at:
            return State.PROCESSING
        return State.FAILED if self.reason else State.SUCCESS


@attrs.frozen
class Batch:
    """The tasks of one submission."""

    id: int
    tasks: tuple[Task, ...]


class World:
    """Tasks, batches, credits and counters of one sandbox.

    `clock` gives the time in seconds; durations are divided by `speed`. A picture costs one credit,
    charged at acceptance and given back when its task fails.
    """

    def __init__(
        self,
        *,
        credits: int = 10_000,  # noqa: A002 - the provider's word; the builtin is a prompt's copyright notice
        in_flight: int = 20,
        seed: int = 0,
        speed: float = 1.0,
        durations: Durations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above zero, not {speed!r}")
        self.counters: Counters = Counters()
        self.in_flight: int = in_flight
        self._clock = clock
        self._seed = seed
        self._speed = speed
        self._durations = durations
        self._credits = credits
        self._charged = 0
        self._refunded = 0
        # Ids differ from run to run: a ledger that outlives the sandbox must not meet them again.
        self._first_task = secrets.randbelow(_IDS)
        self._first_batch = secrets.randbelow(_IDS)
        self._tasks: dict[str, Task] = {}
        self._batches: dict[int, Batch] = {}
        self._running: list[tuple[float, int, Task]] = []

    @property
    def now(self) -> float:
        """The reading of the world's clock, in seconds."""
        return self._clock()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks ever accepted, oldest first."""
        return tuple(self._tasks.copy().values())

    @property
    def batches(self) -> tuple[Batch, ...]:
        """All submissions ever accepted, oldest first."""
        return tuple(self._batches.copy().values())

    @property
    def credits(self) -> int:
        """Credits left at this moment."""
        return self._credits + sum(1 for task in self._due() if task.reason)

    @property
    def charged(self) -> int:
        """Credits charged since the beginning; refunds are not taken off."""
        return self._charged

    @property
    def refunded(self) -> int:
        """Credits given back for failed tasks since the beginning."""
        return self._refunded + sum(1 for task in self._due() if task.reason)

    @property
    def active(self) -> int:
        """Tasks accepted and not finished at this moment."""
        now = self.now
        return sum(1 for ends_at, _, _ in self._running.copy() if now < ends_at)

    def submit(self, order: Order) -> Batch:
        """Accept an order: charge it and begin its tasks.

        Raises `Refused` with 1005 (moderation), 6010 (too many tasks at once) or 1004 (credits).
        """
        self._settle()
        if MODERATED in order.prompt:
            raise Refused(1005, "Content moderation failed")
        if len(self._running) + order.pictures > self.in_flight:
            raise Refused(6010, f"No more than {self.in_flight} tasks can be processed at once")
        if self._credits < order.pictures:
            raise Refused(1004, "Insufficient credits")
        self._credits -= order.pictures
        self._charged += order.pictures
        return self._begin(order)

    def task(self, task_id: str) -> Task | None:
        """Look up a task by its id; the id's digits as a decimal number do as well."""
        is_number = task_id.isascii() and task_id.isdecimal()
        return self._tasks.get(_task_id(int(task_id)) if is_number else task_id)

    def batch(self, batch_id: str) -> Batch | None:
        """Look up a batch by its id, written in digits."""
        is_number = batch_id.isascii() and batch_id.isdecimal()
        return self._batches.get(int(batch_id)) if is_number else None

    def _begin(self, order: Order) -> Batch:
        batch_id = _scattered(self._first_batch + len(self._batches))
        tasks = tuple(self._new_task(order, batch_id, index) for index in range(order.pictures))
        for task in tasks:
            self._tasks[task.id] = task
            heapq.heappush(self._running, (task.ends_at, task.number, task))
        batch = Batch(batch_id, tasks)
        self._batches[batch_id] = batch
        return batch

    def _new_task(self, order: Order, batch_id: int, index: int) -> Task:
        number = 1 + len(self._tasks) + index
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable on purpose, protects nothing
        shortest, longest = range_of(order.model, self._durations)
        duration = chance.uniform(shortest, longest) / self._speed
        if SLOW in order.prompt:
            duration *= _SLOWNESS
        now = self.now
        return Task(
            id=_task_id(_scattered(self._first_task + number)),
            number=number,
            batch_id=batch_id,
            index=index,
            order=order,
            accepted_at=now,
            starts_at=now + duration * chance.uniform(0.05, 0.2),
            ends_at=float("inf") if STUCK in order.prompt else now + duration,
            reason=_FAILURE_REASON if FAIL in order.prompt else "",
        )

    def _due(self) -> list[Task]:
        now = self.now
        return [task for ends_at, _, task in self._running.copy() if ends_at <= now]

    def _settle(self) -> None:
        now = self.now
        while self._running and self._running[0][0] <= now:
            _, _, task = heapq.heappop(self._running)
            if task.reason:
                self._credits += 1
                self._refunded += 1
