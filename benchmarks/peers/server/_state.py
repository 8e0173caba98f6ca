"""The state of the fake server: tasks that end by the clock, and configured faults."""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from collections import Counter, deque
from http import HTTPStatus
from typing import Any, Final

import attrs

from benchmarks._http_server import Connection, Request, Traffic
from benchmarks.peers._plan import Faults
from benchmarks.peers.server._adapter import Adapter, Task, json_response
from benchmarks.peers.server.comfy import ComfyAdapter
from benchmarks.peers.server.fal import FalAdapter
from benchmarks.peers.server.openai import OpenAIAdapter
from benchmarks.peers.server.replicate import ReplicateAdapter
from benchmarks.peers.server.runway import RunwayAdapter
from benchmarks.peers.server.weryai import WeryAIAdapter

_JOB: Final = re.compile(rb"bench (\d+\.\d+) job (\d+)")
_HOST: Final = re.compile(rb"\r\nhost: *(\S+)", re.IGNORECASE)
_LONGEST_WAIT: Final = 60.0
_ADAPTERS: Final[tuple[Adapter, ...]] = (
    WeryAIAdapter(),
    FalAdapter(),
    ComfyAdapter(),
    RunwayAdapter(),
    OpenAIAdapter(),
    ReplicateAdapter(),
)


@attrs.define
class ServerState:
    """The tasks, the slots, and the counts.

    `throttled`: requests refused because of the rate limit. `refused`: submissions refused because no slot was free.
    `burst`: the most requests within a tenth of a second.
    """

    faults: Faults
    traffic: Traffic = attrs.field(factory=Traffic)
    tasks: dict[str, Task] = attrs.field(factory=dict)
    requests: int = 0
    throttled: int = 0
    refused: int = 0
    failed_polls: int = 0
    burst: int = 0
    _tenth: int = 0
    _in_tenth: int = 0
    _cpu: float = attrs.field(factory=time.process_time)
    _running: list[float] = attrs.field(factory=list)
    _recent: deque[float] = attrs.field(factory=deque)
    _attempts: Counter[int] = attrs.field(factory=Counter)

    def handle(self, request: Request, connection: Connection) -> bytes | None:
        """Return the response to one request, or None if it is sent later."""
        self._count()
        path = request.target.partition(b"?")[0]
        for adapter in _ADAPTERS:
            parsed = adapter.read(request.method, path)
            if parsed is not None:
                break
        else:
            return json_response({"error": "no such path"}, HTTPStatus.NOT_FOUND)
        if self._too_fast():
            self.throttled += 1
            return adapter.refusal(HTTPStatus.TOO_MANY_REQUESTS, "too fast")
        if parsed.kind == "submit":
            return self._submit(adapter, request, connection)
        task = self.tasks.get(parsed.task_id)
        if task is None:
            return json_response({"error": "no such task"}, HTTPStatus.NOT_FOUND)
        return adapter.result(task) if parsed.kind == "result" else self._poll(adapter, request, task)

    def _count(self) -> None:
        self.requests += 1
        tenth = int(10 * time.monotonic())
        if tenth != self._tenth:
            self._tenth, self._in_tenth = tenth, 0
        self._in_tenth += 1
        self.burst = max(self.burst, self._in_tenth)

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

    def _poll(self, adapter: Adapter, request: Request, task: Task) -> bytes:
        task.polls += 1
        if self.faults.first_poll_status and not task.poll_failed:
            task.poll_failed = True
            self.failed_polls += 1
            throttled = self.faults.first_poll_status == HTTPStatus.TOO_MANY_REQUESTS
            return adapter.refusal(self.faults.first_poll_status, "too fast" if throttled else "internal error")
        return adapter.state(task, _base(request), done=time.monotonic() >= task.ends)

    def _submit(self, adapter: Adapter, request: Request, connection: Connection) -> bytes | None:
        now = time.monotonic()
        while self._running and self._running[0] <= now:
            heapq.heappop(self._running)
        if self.faults.slots and len(self._running) >= self.faults.slots:
            self.refused += 1
            return adapter.too_many()
        task = self._create(request, now)
        base, loop = _base(request), asyncio.get_running_loop()
        if self._attempts[task.number] <= self.faults.lost:
            connection.drop()
            return None
        if adapter.waits_for_end(request):
            wait = min(task.ends - now, _LONGEST_WAIT)
            done = task.ends - now <= _LONGEST_WAIT
            loop.call_later(wait, lambda: connection.send(adapter.state(task, base, done=done)))
            return None
        if self.faults.slow:
            loop.call_later(self.faults.slow, lambda: connection.send(adapter.accepted(task, base)))
            return None
        return adapter.accepted(task, base)

    def _create(self, request: Request, now: float) -> Task:
        match = _JOB.search(request.body)
        assert match is not None, request
        task = Task(f"task_{len(self.tasks):08d}", int(match[2]), now, now + float(match[1]))
        self.tasks[task.id] = task
        self._attempts[task.number] += 1
        heapq.heappush(self._running, task.ends)
        return task

    def counts(self) -> dict[str, Any]:
        """Return all counts as values that JSON can hold."""
        return {
            "tasks": [[task.number, task.id, task.accepted, task.ends, task.polls] for task in self.tasks.values()],
            "connections": self.traffic.connections,
            "peak": self.traffic.peak,
            "requests": self.requests,
            "throttled": self.throttled,
            "refused": self.refused,
            "failed_polls": self.failed_polls,
            "burst": self.burst,
            "cpu": time.process_time() - self._cpu,
        }


def _base(request: Request) -> str:
    match = _HOST.search(request.head)
    return f"http://{match[1].decode()}" if match else ""
