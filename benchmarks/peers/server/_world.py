"""The world of the fake server: tasks that end by the clock, and misfortunes by order."""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from collections import Counter, deque
from http import HTTPStatus
from typing import Any, Final

import attrs

from benchmarks._wire import Connection, Request, Traffic
from benchmarks.peers._plan import Faults
from benchmarks.peers.server._dialect import Dialect, Task, said
from benchmarks.peers.server.comfy import ComfyDialect
from benchmarks.peers.server.fal import FalDialect
from benchmarks.peers.server.openai import OpenAIDialect
from benchmarks.peers.server.replicate import ReplicateDialect
from benchmarks.peers.server.runway import RunwayDialect
from benchmarks.peers.server.weryai import WeryAIDialect

_JOB: Final = re.compile(rb"bench (\d+\.\d+) job (\d+)")
_HOST: Final = re.compile(rb"\r\nhost: *(\S+)", re.IGNORECASE)
_LONGEST_HOLD: Final = 60.0
_DIALECTS: Final[tuple[Dialect, ...]] = (
    WeryAIDialect(),
    FalDialect(),
    ComfyDialect(),
    RunwayDialect(),
    OpenAIDialect(),
    ReplicateDialect(),
)


@attrs.define
class World:
    """Tasks, slots, and what is counted.

    `throttled`: requests refused for coming too fast; `refused`: submissions refused for want of a slot; `rush`: the
    most requests within a tenth of a second.
    """

    faults: Faults
    traffic: Traffic = attrs.field(factory=Traffic)
    tasks: dict[str, Task] = attrs.field(factory=dict)
    requests: int = 0
    throttled: int = 0
    refused: int = 0
    troubled: int = 0
    rush: int = 0
    _tenth: int = 0
    _in_tenth: int = 0
    _cpu: float = attrs.field(factory=time.process_time)
    _running: list[float] = attrs.field(factory=list)
    _recent: deque[float] = attrs.field(factory=deque)
    _attempts: Counter[int] = attrs.field(factory=Counter)

    def answer(self, request: Request, connection: Connection) -> bytes | None:
        """Answer one request, at once or later."""
        self._count()
        path = request.target.partition(b"?")[0]
        for dialect in _DIALECTS:
            asked = dialect.read(request.method, path)
            if asked is not None:
                break
        else:
            return said({"error": "no such path"}, HTTPStatus.NOT_FOUND)
        if self._too_fast():
            self.throttled += 1
            return dialect.refusal(HTTPStatus.TOO_MANY_REQUESTS, "too fast")
        if asked.kind == "submit":
            return self._submit(dialect, request, connection)
        task = self.tasks.get(asked.task_id)
        if task is None:
            return said({"error": "no such task"}, HTTPStatus.NOT_FOUND)
        return dialect.result(task) if asked.kind == "result" else self._look(dialect, request, task)

    def _count(self) -> None:
        self.requests += 1
        tenth = int(10 * time.monotonic())
        if tenth != self._tenth:
            self._tenth, self._in_tenth = tenth, 0
        self._in_tenth += 1
        self.rush = max(self.rush, self._in_tenth)

    def _too_fast(self) -> bool:
        if not self.faults.rate:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.faults.rate:
            return True
        self._recent.append(now)
        return False

    def _look(self, dialect: Dialect, request: Request, task: Task) -> bytes:
        task.polls += 1
        if self.faults.trouble and not task.troubled:
            task.troubled = True
            self.troubled += 1
            throttled = self.faults.trouble == HTTPStatus.TOO_MANY_REQUESTS
            return dialect.refusal(self.faults.trouble, "too fast" if throttled else "trouble")
        return dialect.state(task, _base(request), done=time.monotonic() >= task.ends)

    def _submit(self, dialect: Dialect, request: Request, connection: Connection) -> bytes | None:
        now = time.monotonic()
        while self._running and self._running[0] <= now:
            heapq.heappop(self._running)
        if self.faults.slots and len(self._running) >= self.faults.slots:
            self.refused += 1
            return dialect.too_many()
        task = self._created(request, now)
        base, loop = _base(request), asyncio.get_running_loop()
        if self._attempts[task.number] <= self.faults.lost:
            connection.drop()
            return None
        if dialect.holds(request):
            wait = min(task.ends - now, _LONGEST_HOLD)
            done = task.ends - now <= _LONGEST_HOLD
            loop.call_later(wait, lambda: connection.send(dialect.state(task, base, done=done)))
            return None
        if self.faults.slow:
            loop.call_later(self.faults.slow, lambda: connection.send(dialect.accepted(task, base)))
            return None
        return dialect.accepted(task, base)

    def _created(self, request: Request, now: float) -> Task:
        match = _JOB.search(request.body)
        assert match is not None, request
        task = Task(f"task_{len(self.tasks):08d}", int(match[2]), now, now + float(match[1]))
        self.tasks[task.id] = task
        self._attempts[task.number] += 1
        heapq.heappush(self._running, task.ends)
        return task

    def seen(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "tasks": [[task.number, task.id, task.accepted, task.ends, task.polls] for task in self.tasks.values()],
            "connections": self.traffic.connections,
            "peak": self.traffic.peak,
            "requests": self.requests,
            "throttled": self.throttled,
            "refused": self.refused,
            "troubled": self.troubled,
            "rush": self.rush,
            "cpu": time.process_time() - self._cpu,
        }


def _base(request: Request) -> str:
    match = _HOST.search(request.head)
    return f"http://{match[1].decode()}" if match else ""
