"""A fake provider: WeryAI's JSON over keep-alive HTTP/1.1, straight on asyncio's transport, in its own process.

It knows `POST /v1/generation/text-to-image` and `GET /v1/generation/{task_id}/status`. How long a task takes stands
in the request's `bench_seconds`; with `slots` set, a submission beyond so many running tasks is refused with code
6010. Where the request has a `webhook_url`, it calls there at the moment of the end, once, over a connection of its
own. Times are those of the monotonic clock, which all processes of one machine share.

The parent starts it with `FakeServer`. Each line of its standard input is answered with what it has seen, `end` after
ending all tasks; closing the input ends it, and its last line tells what it saw.
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
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"(GET|POST) (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"/v1/generation/([^/]+)/status")
_SUBMIT = b"/v1/generation/text-to-image"
_LOOK = "look\n"
_END = "end\n"
_HOME = Path(__file__).parent.parent


@attrs.frozen
class TaskFacts:
    """What the server knows of one task: when it was accepted and ends, how often it was polled, whom it calls."""

    accepted: float
    finished: float
    polls: int
    address: str


@attrs.frozen
class ServerFacts:
    """What the server saw in its life; `connections` in all, `peak` of them at once, `cpu` in seconds.

    `called`: how many of its own calls were answered with 200.
    """

    tasks: Mapping[str, TaskFacts]
    connections: int
    peak: int
    requests: int
    refused: int
    called: int
    cpu: float


@attrs.define
class _Task:
    accepted: float
    finished: float
    address: str
    polls: int = 0


class _World:
    """The tasks, the slots they take, and the calls when they end."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: list[float] = []
        self.tasks: dict[str, _Task] = {}
        self.connections = self.open = self.peak = self.requests = self.refused = self.called = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

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
        request = json.loads(body)
        finished = now + request["bench_seconds"]
        self.tasks[task_id] = task = _Task(now, finished, request.get("webhook_url", ""))
        heapq.heappush(self._running, finished)
        if task.address:
            self._loop.call_at(finished, self._call, task_id, task.address)
        return (
            f'{{"status":0,"desc":"success","message":"success",'
            f'"data":{{"batch_id":{900000 + number},"task_ids":["{task_id}"]}}}}'
        ).encode()

    def end_tasks(self) -> None:
        """End now whatever runs."""
        now = time.monotonic()
        for task_id, task in self.tasks.items():
            if task.finished > now:
                task.finished = now
                self._call(task_id, task.address)

    def _call(self, task_id: str, address: str) -> None:
        call = self._loop.create_task(self._deliver(task_id, address))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _deliver(self, task_id: str, address: str) -> None:
        where = urlsplit(address)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        status = await deliver(reader, writer, where.path, task_id)
        writer.close()
        self.called += status == HTTPStatus.OK

    async def aclose(self) -> None:
        """Wait for the answers to its calls."""
        await asyncio.gather(*self._calls)

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "tasks": {
                name: [task.accepted, task.finished, task.polls, task.address] for name, task in self.tasks.items()
            },
            "connections": self.connections,
            "peak": self.peak,
            "requests": self.requests,
            "refused": self.refused,
            "called": self.called,
            "cpu": time.process_time(),
        }


def _status(task_id: str, *, done: bool) -> bytes:
    ending = f'"SUCCESS","images":["https://cdn.example/r/{task_id}.png"]' if done else '"PROCESSING"'
    return (
        f'{{"status":0,"desc":"success","message":"success","data":{{"task_id":"{task_id}","task_status":{ending}}}}}'
    ).encode()


async def deliver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, task_id: str) -> int:
    """Tell by a POST, over an open connection, that a task has ended; return the status of the answer."""
    body = _status(task_id, done=True)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (path.encode(), len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(maxsplit=2)[1])


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
    loop.add_reader(sys.stdin, _obey, world, over)
    await over.wait()
    loop.remove_reader(sys.stdin)
    server.close()
    await world.aclose()
    print(json.dumps(world.facts()), flush=True)


def _obey(world: _World, over: asyncio.Event) -> None:
    """Do what the next line of standard input asks for."""
    order = sys.stdin.readline()
    if not order:
        over.set()
        return
    if order == _END:
        world.end_tasks()
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

    def facts(self) -> ServerFacts:
        """Return what it has seen until now."""
        return self._ordered(_LOOK)

    def end_tasks(self) -> None:
        """End all tasks that are running."""
        self._ordered(_END)

    def stop(self) -> ServerFacts:
        """End it and return what it saw."""
        told, _ = self._process.communicate(timeout=20)
        return _facts(told)

    def _ordered(self, order: str) -> ServerFacts:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order)
        self._process.stdin.flush()
        return _facts(self._process.stdout.readline())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _facts(told: str) -> ServerFacts:
    facts = json.loads(told)
    tasks = {name: TaskFacts(*values) for name, values in facts.pop("tasks").items()}
    return ServerFacts(tasks=tasks, **facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().slots))
