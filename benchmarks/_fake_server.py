"""A fake provider in a process of its own: WeryAI's JSON over keep-alive HTTP/1.1, directly on asyncio's transport.

It serves `POST /v1/generation/text-to-image` and `GET /v1/generation/{task_id}/status`. The request's `bench_seconds`
set how long its task takes. With `slots`, a submission beyond that number of running tasks is refused with code 6010.
If the request has a `webhook_url`, the server sends one delivery there when the task ends, over a new connection.
With a certificate it speaks TLS.
Times are those of the monotonic clock, which all processes of one machine share.

The parent starts it with `FakeServer`. The server answers each line of its standard input with its counts; the line
`end` ends all tasks first. When its standard input is closed, it prints the counts a last time and ends.
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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from benchmarks._http_server import Connection, Request, Traffic, body_length, response
from benchmarks._server_process import ServerProcess, serve

_STATUS = re.compile(rb"/v1/generation/([^/]+)/status")
_SUBMIT = b"/v1/generation/text-to-image"
_END = "end\n"


@attrs.frozen
class TaskFacts:
    """The server's record of one task: its times of acceptance and end, its number of polls, its webhook URL."""

    accepted: float
    finished: float
    polls: int
    webhook_url: str


@attrs.frozen
class ServerFacts:
    """The server's counts: `connections` in all, `peak` of them at the same time, `cpu` in seconds.

    `delivered` is the number of its webhook deliveries that were answered with 200.
    """

    tasks: Mapping[str, TaskFacts]
    connections: int
    peak: int
    requests: int
    refused: int
    delivered: int
    cpu: float


@attrs.define
class _Task:
    accepted: float
    finished: float
    webhook_url: str
    polls: int = 0


class _ServerState:
    """The tasks, the slots that they occupy, and the webhook deliveries at their ends."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: list[float] = []
        self.tasks: dict[str, _Task] = {}
        self.traffic = Traffic()
        self.requests = self.refused = self.delivered = 0
        self._deliveries: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def handle(self, request: Request, connection: Connection) -> bytes:  # noqa: ARG002 - the interface of handlers
        """Return the response to one request."""
        self.requests += 1
        return response(self._submit(request.body) if request.target == _SUBMIT else self._poll(request.target))

    def _poll(self, target: bytes) -> bytes:
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
        if task.webhook_url:
            self._loop.call_at(finished, self._start_delivery, task_id, task.webhook_url)
        return (
            f'{{"status":0,"desc":"success","message":"success",'
            f'"data":{{"batch_id":{900000 + number},"task_ids":["{task_id}"]}}}}'
        ).encode()

    def on_command(self, command: str) -> None:
        """Execute a line of standard input: `end` ends all running tasks."""
        if command == _END:
            self._end_tasks()

    def _end_tasks(self) -> None:
        now = time.monotonic()
        for task_id, task in self.tasks.items():
            if task.finished > now:
                task.finished = now
                self._start_delivery(task_id, task.webhook_url)

    def _start_delivery(self, task_id: str, webhook_url: str) -> None:
        delivery = self._loop.create_task(self._deliver(task_id, webhook_url))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, task_id: str, webhook_url: str) -> None:
        url = urlsplit(webhook_url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        status = await deliver(reader, writer, url.path, task_id)
        writer.close()
        self.delivered += status == HTTPStatus.OK

    async def aclose(self) -> None:
        """Wait for the responses to the deliveries."""
        await asyncio.gather(*self._deliveries)

    def facts(self) -> dict[str, Any]:
        """Return all counts as values that JSON can hold."""
        return {
            "tasks": {
                name: [task.accepted, task.finished, task.polls, task.webhook_url] for name, task in self.tasks.items()
            },
            "connections": self.traffic.connections,
            "peak": self.traffic.peak,
            "requests": self.requests,
            "refused": self.refused,
            "delivered": self.delivered,
            "cpu": time.process_time(),
        }


def _status(task_id: str, *, done: bool) -> bytes:
    status = f'"SUCCESS","images":["https://cdn.example/r/{task_id}.png"]' if done else '"PROCESSING"'
    return (
        f'{{"status":0,"desc":"success","message":"success","data":{{"task_id":"{task_id}","task_status":{status}}}}}'
    ).encode()


async def deliver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, task_id: str) -> int:
    """Report by a POST over an open connection that a task has ended; return the status of the response."""
    body = _status(task_id, done=True)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (path.encode(), len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(body_length(head))
    return int(head.split(maxsplit=2)[1])


async def _serve(slots: int, certificate: str | None) -> None:
    """Serve until standard input ends."""
    state = _ServerState(slots)
    await serve(lambda: Connection(state, state.traffic), state.on_command, state.facts, certificate)
    await state.aclose()
    print(json.dumps(state.facts()), flush=True)


class FakeServer(ServerProcess):
    """A fake server in its own process: `with FakeServer() as server`, then `server.stop()` for its counts."""

    def __init__(self, *, slots: int = 0, certificate: Path | None = None) -> None:
        super().__init__("benchmarks._fake_server", "--slots", str(slots), certificate=certificate)

    def facts(self) -> ServerFacts:
        """Return the counts until now."""
        return _facts(self.send_command())

    def end_tasks(self) -> None:
        """End all tasks that are running."""
        self.send_command(_END)

    def stop(self) -> ServerFacts:
        """End the server and return its final counts."""
        return _facts(self.end())


def _facts(facts: dict[str, Any]) -> ServerFacts:
    tasks = {name: TaskFacts(*values) for name, values in facts.pop("tasks").items()}
    return ServerFacts(tasks=tasks, **facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--certificate")
    asyncio.run(_serve(**vars(parser.parse_args())))
