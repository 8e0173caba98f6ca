"""A storm: a paid service that charges and loses answers, and workers that are killed and frozen while they use it.

The service runs in a thread of this process and keeps books of its own. Workers are processes (`_storm_worker`), which
know nothing of the storm. Afterwards the service's books are laid beside what the workers remember.
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

Way = Literal["ledger", "queue", "ids"]

_HOME: Final = Path(__file__).parent.parent
_PATIENCE: Final = 90.0
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
class Verdict:
    """What a storm left: charges by the service's books, and what the workers know of them."""

    way: Way
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
    """Charges for each POST that it takes, and then answers as the dice say."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - not a secret
        self.charges: list[tuple[str, str]] = []
        self._finished: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        method, path, _ = head.split(" ", 2)
        if method == "get":
            return await self._status(path.split("/")[-2], writer)
        return await self._submit(json.loads(body)["prompt"], writer)

    async def _submit(self, prompt: str, writer: asyncio.StreamWriter) -> bool:
        (outcome,) = self._dice.choices(list(_OUTCOMES), list(_OUTCOMES.values()))
        if outcome == "429, not charged":
            return await _send(writer, {"status": 1010, "message": "too many requests"}, "429 Too Many Requests")
        if outcome == "502, not charged":
            return await _send(writer, "bad gateway", "502 Bad Gateway")
        task_id = f"task_{len(self.charges)}"
        self.charges.append((prompt, task_id))
        self._finished[task_id] = time.monotonic() + self._dice.uniform(0.1, 0.6)
        if outcome in {"late", "charged, then silence"}:
            await asyncio.sleep(self._dice.uniform(0.05, 0.3) if outcome == "late" else 2.0)
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
        chance = self._dice.random()
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
    """Serve on loopback from a thread; yield the url."""
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


class _Crew:
    """The workers: processes that can be stopped at any moment."""

    def __init__(self, way: Way, url: str, store: Path, prompts: int, size: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks._storm_worker", way, url, str(store), str(prompts)]
        self._errors = store.with_name("errors.txt")
        self.members = [self._start() for _ in range(size)]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._errors.open("ab") as errors:
            return subprocess.Popen(  # noqa: S603 - our own module
                self._command, stdout=subprocess.DEVNULL, stderr=errors, cwd=_HOME
            )

    def strike(self, dice: random.Random) -> bool:
        """Kill a worker, freeze it for a while, or both; return whether there was one at work."""
        place = dice.randrange(len(self.members))
        worker = self.members[place]
        if worker.poll() is not None:
            return False
        how = dice.random()
        if how < 0.5:
            worker.send_signal(signal.SIGSTOP)
            time.sleep(dice.uniform(0.1, 0.9))
        if how < 0.25:
            worker.send_signal(signal.SIGCONT)
            return True
        worker.kill()
        worker.wait()
        self.members[place] = self._start()
        return True

    def finish(self) -> None:
        """Let all end in peace; RuntimeError tells what a worker complained of."""
        until = time.monotonic() + _PATIENCE
        for worker in self.members:
            if worker.wait(max(0.1, until - time.monotonic())):
                raise RuntimeError(self._errors.read_text("utf-8", "replace"))

    def end(self) -> None:
        """Leave no process behind."""
        for worker in self.members:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def storm(*, way: Way, workers: int, prompts: int, stops: int, seed: int) -> Verdict:
    """Run the prompts while workers are struck so often, or until all is done; compare the books."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    service = PaidService(seed)
    began = time.monotonic()
    struck = 0
    with tempfile.TemporaryDirectory() as directory, _serving(service) as url:
        store = Path(directory) / "store"
        crew = _Crew(way, url, store, prompts, workers)
        try:
            while struck < stops and any(worker.poll() is None for worker in crew.members):
                time.sleep(dice.uniform(0.5, 1.4) / workers)
                struck += crew.strike(dice)
            crew.finish()
        finally:
            crew.end()
        known, doubts, unfinished = _remembered(way, store)
    charged = Counter(prompt for prompt, _ in service.charges)
    return Verdict(
        way=way,
        workers=workers,
        prompts=prompts,
        stops=struck,
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


def _remembered(way: Way, store: Path) -> tuple[set[str], set[str], int]:
    """Return the task ids that are known, the prompts in doubt, and how many items have come to no end."""
    if way == "ledger":
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


def possible() -> bool:
    """Whether processes can be frozen here."""
    return os.name == "posix"
