"""Run a crash test: workers are killed and frozen while they use a paid service that charges and loses responses.

The service runs in a thread of this process and keeps its own list of charges. The workers are processes
(`_crash_worker`) without any special code for the test. Afterwards the list of charges is compared with what the
workers have stored.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from aiowery.ledger import SqliteLedger, State

Strategy = Literal["ledger", "queue", "ids"]

_HOME: Final = Path(__file__).parent.parent
_TIMEOUT: Final = 90.0
_OUTCOMES: Final = {
    "good": 68,
    "late": 14,
    "charged, then reset": 4,
    "charged, then closed": 4,
    "charged, then silence": 2,
    "charged, then 502": 2,
    "502, not charged": 2,
    "429, not charged": 4,
}


@attrs.frozen(kw_only=True)
class CrashResult:
    """The result of a crash test: the service's charges, and how many of them the workers have stored."""

    strategy: Strategy
    workers: int
    prompts: int
    stops: int
    seed: int
    seconds: float
    charges: int
    charged_twice: int
    never_charged: int
    known: int
    in_doubt: int
    invisible: int
    unfinished: int


class PaidService:
    """A service that charges for each POST that it accepts, and then answers at random in one of several ways."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not a secret
        self.charges: list[tuple[str, str]] = []
        self._finished: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve_request(reader, writer):
                pass
        writer.close()

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        method, path, _ = head.split(" ", 2)
        if method == "get":
            return await self._status(path.split("/")[-2], writer)
        return await self._submit(json.loads(body)["prompt"], writer)

    async def _submit(self, prompt: str, writer: asyncio.StreamWriter) -> bool:
        (outcome,) = self._random.choices(list(_OUTCOMES), list(_OUTCOMES.values()))
        if outcome == "429, not charged":
            return await _send(writer, {"status": 1010, "message": "too many requests"}, "429 Too Many Requests")
        if outcome == "502, not charged":
            return await _send(writer, "bad gateway", "502 Bad Gateway")
        task_id = f"task_{len(self.charges)}"
        self.charges.append((prompt, task_id))
        self._finished[task_id] = time.monotonic() + self._random.uniform(0.1, 0.6)
        if outcome in {"late", "charged, then silence"}:
            await asyncio.sleep(self._random.uniform(0.05, 0.3) if outcome == "late" else 2.0)
        match outcome:
            case "charged, then reset":
                writer.transport.abort()
                return False
            case "charged, then closed" | "charged, then silence":
                return False
            case "charged, then 502":
                return await _send(writer, "bad gateway", "502 Bad Gateway")
        return await _send(writer, {"status": 0, "data": {"task_ids": [task_id]}})

    async def _status(self, task_id: str, writer: asyncio.StreamWriter) -> bool:
        chance = self._random.random()
        if chance < 0.02:
            writer.transport.abort()
            return False
        if chance < 0.05:
            return await _send(writer, "error", "500 Internal Server Error")
        facts: dict[str, Any] = {"task_id": task_id, "task_status": "PROCESSING"}
        if time.monotonic() >= self._finished[task_id]:
            facts |= {"task_status": "SUCCESS", "images": [f"https://cdn.example/{task_id}.png"], "cost_credits": 1}
        return await _send(writer, {"status": 0, "data": facts})


async def _send(writer: asyncio.StreamWriter, body: Any, status: str = "200 OK") -> bool:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    return True


@contextmanager
def _serving(service: PaidService) -> Iterator[str]:
    """Serve on loopback from a thread; yield the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(service.serve, "127.0.0.1", 0), loop)
    server = starting.result(10)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    connections = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in connections:
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


class _Workers:
    """The worker processes, which can be killed or frozen at any moment."""

    def __init__(self, strategy: Strategy, url: str, store: Path, prompts: int, size: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks._crash_worker", strategy, url, str(store), str(prompts)]
        self._errors = store.with_name("errors.txt")
        self.processes = [self._start() for _ in range(size)]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._errors.open("ab") as errors:
            return subprocess.Popen(  # noqa: S603 - a module of this package
                self._command, stdout=subprocess.DEVNULL, stderr=errors, cwd=_HOME
            )

    def stop_one(self, generator: random.Random) -> bool:
        """Kill a random worker, freeze it for a while, or both; return False if it had already ended."""
        index = generator.randrange(len(self.processes))
        worker = self.processes[index]
        if worker.poll() is not None:
            return False
        chance = generator.random()
        if chance < 0.5:
            worker.send_signal(signal.SIGSTOP)
            time.sleep(generator.uniform(0.1, 0.9))
        if chance < 0.25:
            worker.send_signal(signal.SIGCONT)
            return True
        worker.kill()
        worker.wait()
        self.processes[index] = self._start()
        return True

    def wait(self) -> None:
        """Wait until all workers have ended undisturbed. Raises RuntimeError with the error output if one failed."""
        deadline = time.monotonic() + _TIMEOUT
        for worker in self.processes:
            if worker.wait(max(0.1, deadline - time.monotonic())):
                raise RuntimeError(self._errors.read_text("utf-8", "replace"))

    def kill(self) -> None:
        """Kill the workers that are still running."""
        for worker in self.processes:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def run_crash_test(*, strategy: Strategy, workers: int, prompts: int, stops: int, seed: int) -> CrashResult:
    """Run the prompts while workers are stopped this often, or until all are done; compare charges and stored ids."""
    generator = random.Random(seed)  # noqa: S311 - not a secret
    service = PaidService(seed)
    began = time.monotonic()
    stopped = 0
    with tempfile.TemporaryDirectory() as directory, _serving(service) as url:
        store = Path(directory) / "store"
        running = _Workers(strategy, url, store, prompts, workers)
        try:
            while stopped < stops and any(worker.poll() is None for worker in running.processes):
                time.sleep(generator.uniform(0.5, 1.4) / workers)
                stopped += running.stop_one(generator)
            running.wait()
        finally:
            running.kill()
        known, doubts, unfinished = _stored(strategy, store)
    charged = Counter(prompt for prompt, _ in service.charges)
    return CrashResult(
        strategy=strategy,
        workers=workers,
        prompts=prompts,
        stops=stopped,
        seed=seed,
        seconds=time.monotonic() - began,
        charges=len(service.charges),
        charged_twice=sum(count > 1 for count in charged.values()),
        never_charged=prompts - len(charged),
        known=sum(task_id in known for _, task_id in service.charges),
        in_doubt=len(doubts),
        invisible=sum(task_id not in known and prompt not in doubts for prompt, task_id in service.charges),
        unfinished=unfinished,
    )


def _stored(strategy: Strategy, store: Path) -> tuple[set[str], set[str], int]:
    """Return the stored task ids, the prompts in doubt, and the number of unfinished prompts."""
    if strategy == "ledger":
        return asyncio.run(_in_ledger(store))
    lines = [json.loads(line) for line in store.read_text().splitlines() if line.endswith("}")]
    return {line["task_id"] for line in lines}, set(), 0


async def _in_ledger(store: Path) -> tuple[set[str], set[str], int]:
    ledger = SqliteLedger(store)
    await ledger.open()
    entries = await ledger.entries(limit=1_000_000)
    await ledger.aclose()
    known = {task_id for entry in entries for task_id in entry.task_ids}
    doubts = {entry.request["prompt"] for entry in entries if entry.state is State.IN_DOUBT}
    ends = {State.DONE, State.FAILED, State.IN_DOUBT}
    return known, doubts, sum(entry.state not in ends for entry in entries)


def can_freeze_processes() -> bool:
    """Return True if processes can be frozen on this system."""
    return os.name == "posix"
