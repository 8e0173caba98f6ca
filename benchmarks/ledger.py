"""The ledger: durable moves a second, a large file, and what it adds to a batch.

A move is one step of an entry on its way (claimed, sending, accepted, done), and counts once it is on the disk: SQLite
with its log and `synchronous = FULL`. Singly, one coroutine makes one move after the other (without the last, which
waits up to 50 ms for company by design); in groups, 1,000 coroutines wait at once, and whatever waits becomes one
transaction. Beside them stands what the disk does by itself: 4 KB appended and synced, one after the other. A large
file holds entries that were entered, a tenth of them done; opening is from a closed file to the first answer, a page
has 1,000 entries.

The batch is streamed by one client against the fake server, once with the ledger in memory and once in a file, in
turns, each in a process of its own. It is the world of the 1,000 jobs ten times as fast: tasks take 1 to 3 s and are
looked at every 0.3 to 0.5 s. CPU is that of the client's process, the ledger's thread included, from the first request
to the last outcome.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiowery import Limits, PollPolicy, WeryAI
from aiowery.ledger import NewEntry, SqliteLedger, State
from benchmarks import _work
from benchmarks._figures import Figure, Note, Section, Target, of_rounds
from benchmarks._process import apart
from benchmarks._server import FakeServer

_PAGE: Final = 1000
_AT_ONCE: Final = 1000
_BLOCK: Final = bytes(4096)
_REQUEST: Final = {"type": "text-to-image", "prompt": "a tabby on a windowsill", "model": "WERYAI_IMAGE_2_0"}


_ADDED: Final = "batch of 10,000: CPU that the file adds"
_NOTES: Final = (
    Note(
        "moves singly",
        "A single move ends with a synced write, so the disk's own rate is the bound; handing the move to the thread"
        " and its end back to the event loop takes about 0.15 ms more.",
    ),
    Note(
        "moves in groups",
        "Half of the time is the event loop's, which wakes a coroutine for each move, half is SQL; on two cores the two"
        " take turns at the interpreter's lock.",
    ),
    Note(
        _ADDED,
        "The batch keeps the event loop busy throughout, so that the ledger's thread has to wait for the interpreter's"
        " lock around every statement: some 30 changes of thread a job, which cost as much again as SQL and disk.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Count moves, open a large file, compare batches."""
    rounds = 1 if quick else 3
    synced = [apart(_synced, 50 if quick else 2_000) for _ in range(rounds)]
    single = [apart(_singly, 50 if quick else 2_000) for _ in range(rounds)]
    grouped = [apart(_grouped, 200 if quick else 20_000) for _ in range(rounds)]
    entries = 1_000 if quick else 100_000
    opened, page, summary = apart(_large, entries)
    jobs = 50 if quick else 10_000
    pairs = [(apart(_batch, jobs, durable=False), apart(_batch, jobs, durable=True)) for _ in range(1 if quick else 2)]
    added = [100 * (durable / memory - 1) for memory, durable in pairs]
    return Section(
        "The ledger",
        __doc__,
        (
            of_rounds("the disk by itself: synced appends", synced, "/s"),
            of_rounds("moves singly", single, "/s", target=Target(5_000, at_least=True)),
            of_rounds("moves in groups", grouped, "/s", target=Target(50_000, at_least=True)),
            Figure(f"{entries:,} entries: opening the file", opened, "s", target=Target(1)),
            Figure(f"{entries:,} entries: a page in the middle", 1000 * page, "ms"),
            Figure(f"{entries:,} entries: all batches in numbers", 1000 * summary, "ms"),
            of_rounds(
                f"batch of {jobs:,}, ledger in memory: CPU per job", [1000 * one / jobs for one, _ in pairs], "ms"
            ),
            of_rounds(
                f"batch of {jobs:,}, ledger in a file: CPU per job", [1000 * two / jobs for _, two in pairs], "ms"
            ),
            of_rounds(f"batch of {jobs:,}: CPU that the file adds", added, "%", target=Target(10)),
        ),
        notes=_NOTES,
    )


def _synced(appends: int) -> float:
    with tempfile.TemporaryFile(buffering=0) as file:
        began = time.perf_counter()
        for _ in range(appends):
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
        return appends / (time.perf_counter() - began)


def _singly(entries: int) -> float:
    return asyncio.run(_moves_per_second(entries, at_once=1))


def _grouped(entries: int) -> float:
    return asyncio.run(_moves_per_second(entries, at_once=_AT_ONCE))


async def _moves_per_second(entries: int, at_once: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        ledger = SqliteLedger(Path(directory) / "l.db")
        await ledger.open()
        ids = iter([entry.id for entry in await ledger.add("b", _items(entries))])
        to_the_end = at_once > 1
        began = time.perf_counter()
        await asyncio.gather(*(_walk(ledger, ids, to_the_end=to_the_end) for _ in range(at_once)))
        took = time.perf_counter() - began
        await ledger.aclose()
    return entries * (4 if to_the_end else 3) / took


async def _walk(ledger: SqliteLedger, ids: Iterator[int], *, to_the_end: bool) -> None:
    """Walk entries to their ends, one after the other, or until they are accepted."""
    for entry_id in ids:
        ref = f"r{entry_id}"
        await ledger.claim([entry_id])
        await ledger.mark_sending(entry_id, ref, 1.0)
        await ledger.mark_accepted(ref, ["task_1"])
        if to_the_end:
            await ledger.mark_finished(entry_id, State.DONE, credits=1.0)


def _large(entries: int) -> tuple[float, float, float]:
    return asyncio.run(_large_file(entries))


async def _large_file(entries: int) -> tuple[float, float, float]:
    """Return the seconds for opening, for a page, and for the batches in numbers."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "l.db"
        ledger = SqliteLedger(path)
        await ledger.open()
        entered = await ledger.add("b", _items(entries))
        ids = iter([entry.id for entry in entered[::10]])
        await asyncio.gather(*(_walk(ledger, ids, to_the_end=True) for _ in range(_AT_ONCE)))
        await ledger.aclose()
        ledger = SqliteLedger(path)
        began = time.perf_counter()
        await ledger.open()
        await ledger.recover_abandoned()
        opened = time.perf_counter()
        page = await ledger.entries("b", after=entries // 2, limit=_PAGE)
        paged = time.perf_counter()
        await ledger.batches()
        summed = time.perf_counter()
        await ledger.aclose()
    assert len(page) == min(_PAGE, entries - entries // 2)
    return opened - began, paged - opened, summed - paged


def _items(count: int) -> list[NewEntry]:
    return [
        NewEntry(key=str(number), index=number, request={**_REQUEST, "number": number}, request_hash=f"b{number}")
        for number in range(count)
    ]


def _batch(jobs: int, *, durable: bool) -> float:
    """Return the CPU seconds of a batch."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        cpu = asyncio.run(_streamed(server.url, jobs, Path(directory) / "l.db" if durable else None))
        facts = server.stop()
    assert len(facts.tasks) == jobs
    return cpu


async def _streamed(url: str, jobs: int, ledger: Path | None) -> float:
    requests = _work.requests(_work.durations(jobs, 1, 3, 1))
    limits, polling = Limits(in_flight=300), PollPolicy().faster(10)
    async with WeryAI(_work.KEY, base_url=url, limits=limits, polling=polling, ledger=ledger) as client:
        began = time.process_time()
        async with client.stream(requests, batch="b") as outcomes:
            ended = [outcome.result is not None async for outcome in outcomes]
        assert all(ended)
        return time.process_time() - began
