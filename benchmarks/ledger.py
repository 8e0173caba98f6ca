"""The ledger: durable transitions per second, a large file, and the cost that the ledger adds to a batch.

A transition is one change of an entry's state (claimed, sending, accepted, done). It counts once it is on the disk:
SQLite with its write-ahead log and `synchronous = FULL`. One by one, a single coroutine makes one transition after the
other, without the last, which by design waits up to 50 ms for further writes. In groups, 1,000 coroutines wait at the
same time, and all waiting transitions become one transaction. For comparison, the disk alone: 4 KB appended and synced,
one after the other. The large file holds entries that were added, a tenth of them done. Opening lasts from a closed
file until abandoned entries are recovered. A page has 1,000 entries.

The batch is streamed by one client against the fake server, alternately with the ledger in memory and in a file, each
in a process of its own. Its tasks are those of the 1,000 jobs ten times as fast: they take 1 to 3 s and are polled
every 0.3 to 0.5 s. CPU is that of the client's process, including the ledger's thread, from the first request to the
last outcome.
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
from benchmarks import _workload
from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds
from benchmarks._fresh_process import in_fresh_process

_PAGE: Final = 1000
_CONCURRENT: Final = 1000
_BLOCK: Final = bytes(4096)
_REQUEST: Final = {"type": "text-to-image", "prompt": "a tabby on a windowsill", "model": "WERYAI_IMAGE_2_0"}
_ADDED: Final = "CPU per job that the file adds"
_EXPLANATIONS: Final = (
    Explanation(
        "transitions one by one",
        "A single transition ends with a synced write, so the disk's own rate is the bound. Passing the transition to"
        " the thread and its end back to the event loop takes about 0.15 ms more.",
    ),
    Explanation(
        "transitions in groups",
        "Half of the time goes to the event loop, which wakes a coroutine for each transition, and half to SQL. On two"
        " cores both alternate, because each needs the interpreter's lock.",
    ),
    Explanation(
        _ADDED,
        "The batch keeps the event loop busy all the time, so the ledger's thread has to wait for the interpreter's"
        " lock around every statement. These are about 30 changes of thread per job, which cost as much again as SQL"
        " and disk.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Count transitions, open a large file, and compare batches."""
    rounds = 1 if quick else 3
    synced = [in_fresh_process(synced_appends, 50 if quick else 2_000) for _ in range(rounds)]
    single = [in_fresh_process(_one_by_one, 50 if quick else 2_000) for _ in range(rounds)]
    grouped = [in_fresh_process(_grouped, 200 if quick else 20_000) for _ in range(rounds)]
    entries = 1_000 if quick else 100_000
    opened, page, summary = in_fresh_process(_large, entries)
    jobs = 50 if quick else 3_000
    pairs = [
        (in_fresh_process(_batch, jobs, durable=False), in_fresh_process(_batch, jobs, durable=True))
        for _ in range(rounds)
    ]
    added = [1e6 * (durable - memory) / jobs for memory, durable in pairs]
    return Section(
        "The ledger",
        __doc__,
        (
            of_rounds("the disk alone: synced appends", synced, "/s"),
            of_rounds("transitions one by one", single, "/s", target=Target(5_000, at_least=True)),
            of_rounds("transitions in groups", grouped, "/s", target=Target(50_000, at_least=True)),
            Figure(f"{entries:,} entries: opening the file", opened, "s", target=Target(1)),
            Figure(f"{entries:,} entries: reading a page in the middle", 1000 * page, "ms"),
            Figure(f"{entries:,} entries: statistics of all batches", 1000 * summary, "ms"),
            of_rounds(
                f"batch of {jobs:,}, ledger in memory: CPU per job", [1000 * one / jobs for one, _ in pairs], "ms"
            ),
            of_rounds(
                f"batch of {jobs:,}, ledger in a file: CPU per job", [1000 * two / jobs for _, two in pairs], "ms"
            ),
            of_rounds(f"batch of {jobs:,}: {_ADDED}", added, "µs", target=Target(250)),
        ),
        explanations=_EXPLANATIONS,
    )


def synced_appends(appends: int) -> float:
    """Return how many appends of 4 KB to a file the disk makes durable in a second, one after the other."""
    with tempfile.TemporaryFile(buffering=0) as file:
        began = time.perf_counter()
        for _ in range(appends):
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
        return appends / (time.perf_counter() - began)


def _one_by_one(entries: int) -> float:
    return asyncio.run(_transitions_per_second(entries, concurrent=1))


def _grouped(entries: int) -> float:
    return asyncio.run(_transitions_per_second(entries, concurrent=_CONCURRENT))


async def _transitions_per_second(entries: int, concurrent: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        ledger = SqliteLedger(Path(directory) / "l.db")
        await ledger.open()
        ids = iter([entry.id for entry in await ledger.add("b", _new_entries(entries))])
        until_done = concurrent > 1
        began = time.perf_counter()
        await asyncio.gather(*(_advance(ledger, ids, until_done=until_done) for _ in range(concurrent)))
        took = time.perf_counter() - began
        await ledger.aclose()
    return entries * (4 if until_done else 3) / took


async def _advance(ledger: SqliteLedger, ids: Iterator[int], *, until_done: bool) -> None:
    """Advance entries one after the other, until they are done or only until they are accepted."""
    for entry_id in ids:
        submission_id = f"r{entry_id}"
        await ledger.claim([entry_id])
        await ledger.mark_sending(entry_id, submission_id, 1.0)
        await ledger.mark_accepted(submission_id, ["task_1"])
        if until_done:
            await ledger.mark_finished(entry_id, State.DONE, credits=1.0)


def _large(entries: int) -> tuple[float, float, float]:
    return asyncio.run(_large_file(entries))


async def _large_file(entries: int) -> tuple[float, float, float]:
    """Return the seconds for opening, for reading a page, and for the statistics of all batches."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "l.db"
        ledger = SqliteLedger(path)
        await ledger.open()
        added = await ledger.add("b", _new_entries(entries))
        ids = iter([entry.id for entry in added[::10]])
        await asyncio.gather(*(_advance(ledger, ids, until_done=True) for _ in range(_CONCURRENT)))
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


def _new_entries(count: int) -> list[NewEntry]:
    return [
        NewEntry(key=str(number), index=number, request={**_REQUEST, "number": number}, request_hash=f"b{number}")
        for number in range(count)
    ]


def _batch(jobs: int, *, durable: bool) -> float:
    """Run a batch and return its CPU seconds."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        cpu = asyncio.run(_stream(server.url, jobs, Path(directory) / "l.db" if durable else None))
        facts = server.stop()
    assert len(facts.tasks) == jobs
    return cpu


async def _stream(url: str, jobs: int, ledger: Path | None) -> float:
    requests = _workload.requests(_workload.durations(jobs, 1, 3, 1))
    limits, polling = Limits(in_flight=300), PollPolicy().faster(10)
    async with WeryAI(_workload.KEY, base_url=url, limits=limits, polling=polling, ledger=ledger) as client:
        began = time.process_time()
        async with client.stream(requests, batch="b") as outcomes:
            ended = [outcome.result is not None async for outcome in outcomes]
        assert all(ended)
        return time.process_time() - began
