"""A fake provider: WeryAI's JSON over keep-alive HTTP/1.1, straight on asyncio's transport, in its own process.

It knows `POST /v1/generation/text-to-image` and `GET /v1/generation/{task_id}/status`. How long a task takes stands
in the request's `bench_seconds`; with `slots` set, a submission beyond so many running tasks is refused with code
6010. Times are those of the monotonic clock, which all processes of one machine share.

The parent starts it with `FakeServer`; closing its standard input ends it, and its last line tells what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"(GET|POST) (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"/v1/generation/([^/]+)/status")
_SUBMIT = b"/v1/generation/text-to-image"
_HOME = Path(__file__).parent.parent


@attrs.frozen
class TaskFacts:
    """What the server knows of one task: when it was accepted and when it ended, and how often it was polled."""

    accepted: float
    finished: float
    polls: int


@attrs.frozen
class ServerFacts:
    """What the server saw in its life; `connections` in all, `peak` of them at once, `cpu` in seconds."""

    tasks: Mapping[str, TaskFacts]
    connections: int
    peak: int
    requests: int
    refused: int
    cpu: float


@attrs.define
class _Task:
    accepted: float
    finished: float
    polls: int = 0


class _World:
    """The tasks, and the slots they take."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: list[float] = []
        self.tasks: dict[str, _Task] = {}
        self.connections = self.open = self.peak = self.requests = self.refused = 0

    def answer(self, target: bytes, body: bytes) -> bytes:
        """Return the JSON that answers one request."""
        self.requests += 1
        if target == _SUBMIT:
            return self._submit(body)
        match = _STATUS.fullmatch(target)
        task_id = match[1].decode() if match else ""
        task = self.tasks.get(task_id)
        if task is None:
            return b'{"status":1003,"desc":"not found","message":"task not exist","data":null}'
        task.polls += 1
        return _status(task_id, done=time.monotonic() >= task.finished)

    def _submit(self, body: bytes) -> bytes:
        now = time.monotonic()
        while self._running and self._running[0] <= now:
            heapq.heappop(self._running)
        if self._slots and len(self._running) >= self._slots:
            self.refused += 1
            return b'{"status":6010,"desc":"error","message":"too many tasks at once","data":null}'
        number = len(self.tasks)
        task_id = f"task_{number:08d}"
        finished = now + json.loads(body)["bench_seconds"]
        self.tasks[task_id] = _Task(now, finished)
        heapq.heappush(self._running, finished)
        return (
            f'{{"status":0,"desc":"success","message":"success",'
            f'"data":{{"batch_id":{900000 + number},"task_ids":["{task_id}"]}}}}'
        ).encode()

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "tasks": {name: [task.accepted, task.finished, task.polls] for name, task in self.tasks.items()},
            "connections": self.connections,
            "peak": self.peak,
            "requests": self.requests,
            "refused": self.refused,
            "cpu": time.process_time(),
        }


def _status(task_id: str, *, done: bool) -> bytes:
    ending = f'"SUCCESS","images":["https://cdn.example/r/{task_id}.png"]' if done else '"PROCESSING"'
    return (
        f'{{"status":0,"desc":"success","message":"success","data":{{"task_id":"{task_id}","task_status":{ending}}}}}'
    ).encode()


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._world.connections += 1
        self._world.open += 1
        self._world.peak = max(self._world.peak, self._world.open)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._world.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._one():
            pass

    def _one(self) -> bool:
        """Answer the first whole request in the buffer, if there is one."""
        end = self._buffer.find(b"\r\n\r\n")
        match = _TARGET.match(self._buffer)
        if end < 0 or match is None or self._transport is None:
            return False
        length = _LENGTH.search(self._buffer, 0, end) if match[1] == b"POST" else None
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return False
        answer = self._world.answer(match[2], self._buffer[end + 4 : whole])
        self._buffer = self._buffer[whole:]
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
        )
        return True


async def _serve(slots: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    world = _World(slots)
    server = await loop.create_server(lambda: _Connection(world), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    await over.wait()
    loop.remove_reader(sys.stdin)
    server.close()
    print(json.dumps(world.facts()), flush=True)


class FakeServer:
    """The parent's hold on a server process: `with FakeServer() as server`, then `server.stop()` for its facts."""

    def __init__(self, *, slots: int = 0) -> None:
        self._slots = slots

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "benchmarks._server", "--slots", str(self._slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_HOME,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> ServerFacts:
        """End it and return what it saw."""
        told, _ = self._process.communicate(timeout=20)
        facts = json.loads(told)
        tasks = {name: TaskFacts(*values) for name, values in facts.pop("tasks").items()}
        return ServerFacts(tasks=tasks, **facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().slots))
