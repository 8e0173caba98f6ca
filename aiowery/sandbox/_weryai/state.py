"""State of the sandbox's WeryAI: tasks, batches, credits and time. No HTTP.

Only the server's thread changes it. Every read returns a copy, so any thread may read at any time.
"""

from __future__ import annotations

import heapq
import random
import secrets
import time
from typing import TYPE_CHECKING

import attrs

from aiowery.sandbox._durations import range_of
from aiowery.sandbox._http.counters import Counters
from aiowery.sandbox._response import Refused
from aiowery.sandbox._tasks import FAIL, MODERATED, SLOW, STUCK, Batch, Task, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._durations import Durations

_SLOWNESS = 10.0
_FAILURE_REASON = "generation failed: the model returned no output"

# Ids look random but are unique: multiples of an odd step reach every number below a power of two.
_ID_COUNT = 2**48
_STEP = 0x9E3779B97F4B


def _scattered(number: int) -> int:
    return number * _STEP % _ID_COUNT


def _task_id(digits: int) -> str:
    return f"task_{digits:012x}"


def _number(id_: str) -> int | None:
    """Convert an id in decimal digits into a number, None if it is not one or has too many digits."""
    is_number = id_.isascii() and id_.isdecimal() and len(id_) <= len(str(_ID_COUNT))
    return int(id_) if is_number else None


class WeryAIState:
    """Tasks, batches, credits and counters of one sandbox.

    `clock` returns the time in seconds. Durations are divided by `speed`. A task's price (one credit for an image) is
    charged at acceptance and refunded if the task fails.
    """

    def __init__(
        self,
        *,
        credits: int = 10_000,  # noqa: A002 - the provider's term; the builtin is a copyright notice
        in_flight: int = 20,
        seed: int = 0,
        speed: float = 1.0,
        durations: Durations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above zero, got {speed!r}")
        self.counters: Counters = Counters()
        self.in_flight: int = in_flight
        self._clock = clock
        self._seed = seed
        self._speed = speed
        self._durations = durations
        self._credits = credits
        self._charged = 0
        self._refunded = 0
        # Ids differ between runs, because a ledger may outlive the sandbox.
        self._first_task = secrets.randbelow(_ID_COUNT)
        self._first_batch = secrets.randbelow(_ID_COUNT)
        self._tasks: dict[str, Task] = {}
        self._batches: dict[int, Batch] = {}
        self._running: list[tuple[float, int, Task]] = []
        self._number = 0

    @property
    def now(self) -> float:
        """Reading of the state's clock, in seconds."""
        return self._clock()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All accepted tasks, oldest first."""
        return tuple(self._tasks.copy().values())

    @property
    def batches(self) -> tuple[Batch, ...]:
        """All accepted submissions, oldest first."""
        return tuple(self._batches.copy().values())

    @property
    def credits(self) -> int:
        """Credits left now."""
        return self._credits + self._pending_refunds()

    @property
    def charged(self) -> int:
        """Credits charged so far, without subtraction of refunds."""
        return self._charged

    @property
    def refunded(self) -> int:
        """Credits refunded for failed tasks so far."""
        return self._refunded + self._pending_refunds()

    @property
    def active(self) -> int:
        """Number of tasks that are accepted and not finished now."""
        now = self.now
        return sum(1 for ends_at, _, _ in self._running.copy() if now < ends_at)

    def submit(self, spec: TaskSpec) -> Batch:
        """Accept a submission: charge it and start its tasks.

        Raises `Refused` with code 1005 (moderation), 6010 (too many tasks) or 1004 (credits).
        """
        self._admit(spec)
        return self._begin(spec)

    def continue_task(self, task: Task, spec: TaskSpec) -> Task:
        """Accept the second step of a task whose first step has finished. The id stays, `spec` is new.

        Raises `Refused` like `submit`.
        """
        self._admit(spec)
        continued = attrs.evolve(self._new_task(spec, task.batch_id, task.index), id=task.id)
        self._keep(continued)
        return continued

    def charge(self, spec: TaskSpec) -> None:
        """Accept and charge a request with a direct result, without a task. Raises `Refused` with code 1005 or 1004."""
        self._settle()
        self._pay(spec)

    def _admit(self, spec: TaskSpec) -> None:
        self._settle()
        if not spec.has_marker(MODERATED) and len(self._running) + spec.task_count > self.in_flight:
            raise Refused(6010, f"No more than {self.in_flight} tasks can be processed at once")
        self._pay(spec)

    def _pay(self, spec: TaskSpec) -> None:
        if spec.has_marker(MODERATED):
            raise Refused(1005, "Content moderation failed")
        cost = spec.task_count * spec.price
        if self._credits < cost:
            raise Refused(1004, "Insufficient credits")
        self._credits -= cost
        self._charged += cost

    def task(self, task_id: str) -> Task | None:
        """Return the task with this id, None if it does not exist. The id's digits as a decimal number find it too."""
        number = _number(task_id)
        return self._tasks.get(task_id if number is None else _task_id(number))

    def batch(self, batch_id: str) -> Batch | None:
        """Return the batch with this id in decimal digits, None if it does not exist."""
        number = _number(batch_id)
        return None if number is None else self._batches.get(number)

    def _begin(self, spec: TaskSpec) -> Batch:
        batch_id = _scattered(self._first_batch + len(self._batches))
        tasks = tuple(self._new_task(spec, batch_id, index) for index in range(spec.task_count))
        for task in tasks:
            self._keep(task)
        batch = Batch(batch_id, tasks)
        self._batches[batch_id] = batch
        return batch

    def _keep(self, task: Task) -> None:
        self._tasks[task.id] = task
        self._number = max(self._number, task.number)
        heapq.heappush(self._running, (task.ends_at, task.number, task))

    def _new_task(self, spec: TaskSpec, batch_id: int, index: int) -> Task:
        number = 1 + self._number + index
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable on purpose, not for security
        shortest, longest = range_of(spec.model, self._durations, spec.output_kind.value)
        duration = chance.uniform(shortest, longest) / self._speed
        if spec.has_marker(SLOW):
            duration *= _SLOWNESS
        now = self.now
        return Task(
            id=_task_id(_scattered(self._first_task + number)),
            number=number,
            batch_id=batch_id,
            index=index,
            spec=spec,
            accepted_at=now,
            starts_at=now + duration * chance.uniform(0.05, 0.2),
            ends_at=float("inf") if spec.has_marker(STUCK) else now + duration,
            reason=_FAILURE_REASON if spec.has_marker(FAIL) else "",
        )

    def _finished_unsettled(self) -> list[Task]:
        now = self.now
        return [task for ends_at, _, task in self._running.copy() if ends_at <= now]

    def _pending_refunds(self) -> int:
        return sum(task.spec.price for task in self._finished_unsettled() if task.reason)

    def _settle(self) -> None:
        now = self.now
        while self._running and self._running[0][0] <= now:
            _, _, task = heapq.heappop(self._running)
            if task.reason:
                self._credits += task.spec.price
                self._refunded += task.spec.price
