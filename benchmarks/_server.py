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
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import attrs

from benchmarks._held import ServerProcess, serve
from benchmarks._wire import Connection, Request, Traffic, length, response

_STATUS = re.compile(rb"/v1/generation/([^/]+)/status")
_SUBMIT = b"/v1/generation/text-to-image"
_END = "end\n"


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
        self.traffic = Traffic()
        self.requests = self.refused = self.called = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def answer(self, request: Request, connection: Connection) -> bytes:  # noqa: ARG002 - the wire's interface
        """Answer one request."""
        self.requests += 1
        return response(self._submit(request.body) if request.target == _SUBMIT else self._look(request.target))

    def _look(self, target: bytes) -> bytes:
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

    def obey(self, order: str) -> None:
        """Do what a line of standard input asks for: `end` ends now whatever runs."""
        if order == _END:
            self._end_tasks()

    def _end_tasks(self) -> None:
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
            "connections": self.traffic.connections,
            "peak": self.traffic.peak,
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
    await reader.readexactly(length(head))
    return int(head.split(maxsplit=2)[1])


async def _serve(slots: int) -> None:
    """Serve until standard input ends."""
    world = _World(slots)
    await serve(world, world.traffic, world.obey, world.facts)
    await world.aclose()
    print(json.dumps(world.facts()), flush=True)


class FakeServer(ServerProcess):
    """The parent's hold on a server process: `with FakeServer() as server`, then `server.stop()` for its facts."""

    def __init__(self, *, slots: int = 0) -> None:
        super().__init__("benchmarks._server", "--slots", str(slots))

    def facts(self) -> ServerFacts:
        """Return what it has seen until now."""
        return _facts(self.ordered())

    def end_tasks(self) -> None:
        """End all tasks that are running."""
        self.ordered(_END)

    def stop(self) -> ServerFacts:
        """End it and return what it saw."""
        return _facts(self.ended())


def _facts(facts: dict[str, Any]) -> ServerFacts:
    tasks = {name: TaskFacts(*values) for name, values in facts.pop("tasks").items()}
    return ServerFacts(tasks=tasks, **facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().slots))
