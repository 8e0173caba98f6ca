"""A ledger file that several processes use: killed and frozen processes, and repeated deliveries."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiowery.ledger import NewEntry, SqliteLedger, State

pytestmark = pytest.mark.anyio

PROGRAM = """
import asyncio, sys
from aiowery.ledger import NewEntry, SqliteLedger

async def main():
    ledger = SqliteLedger(sys.argv[1])
    await ledger.open()
    entries = await ledger.add("b", [NewEntry(key=str(n), index=n, request={}) for n in range(3)])
    for entry in entries:
        await ledger.claim([entry.id])
    for entry in entries[1:]:
        await ledger.mark_sending(entry.id, f"r{entry.index}", 1.0)
    await ledger.mark_accepted("r2", ["t"])
    print("ready", flush=True)
    await asyncio.sleep(60)
    await ledger.mark_accepted("r1", ["late"])

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def open_ledger(directory: Path) -> AsyncIterator[SqliteLedger]:
    """Open the ledger of a directory."""
    ledger = SqliteLedger(directory / "jobs.db")
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


@contextlib.contextmanager
def another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that leaves one entry claimed, one being sent and one accepted."""
    command = [sys.executable, "-c", PROGRAM, os.fspath(directory / "jobs.db")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_recover_killed_process_frees_its_entries(tmp_path: Path) -> None:
    """Claimed entries are new again, those being sent are in doubt, and accepted ones may be taken by any process."""
    with another_process(tmp_path) as process:
        async with open_ledger(tmp_path) as ledger:
            assert await ledger.recover_abandoned() == 0
            process.kill()
            process.wait()
            assert await ledger.recover_abandoned() == 1
            entries = await ledger.entries("b")
            assert [entry.state for entry in entries] == [State.NEW, State.IN_DOUBT, State.ACCEPTED]
            assert entries[1].reason == "its process ended while it was being sent"
            async with open_ledger(tmp_path) as other:  # not only the process that recovered it
                assert await other.take_ownership(entries[2].id)
                assert not await ledger.take_ownership(entries[2].id)
            assert await ledger.recover_abandoned() == 0
            await ledger.mark_accepted("r1", ["late"])
            late = await ledger.entry(entries[1].id)
            assert late is not None
            assert (late.state, late.task_ids) == (State.ACCEPTED, ("late",))
    assert not list((tmp_path / "jobs.db.owners").glob("*.alive"))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
async def test_recover_frozen_process_keeps_its_entries(tmp_path: Path) -> None:
    """A stopped process is alive: its entries stay as they are."""
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        async with open_ledger(tmp_path) as ledger:
            assert await ledger.recover_abandoned() == 0
            states = [entry.state for entry in await ledger.entries("b")]
        process.send_signal(signal.SIGCONT)
    assert states == [State.CLAIMED, State.SENDING, State.ACCEPTED]


async def test_delivery_repeated_later_gets_new_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A true delivery after a forged one must reach other processes; a flood of forged ones must not."""
    async with open_ledger(tmp_path) as ledger:
        (entry,) = await ledger.add("b", [NewEntry(key="1", index=0, request={})], claim=True)
        await ledger.mark_sending(entry.id, "r", 1.0)
        await ledger.mark_accepted("r", ["t1"])
        ids = []
        for moment in (100.0, 100.5, 101.6, 50.0):
            monkeypatch.setattr("aiowery.ledger._sqlite.time.time", lambda moment=moment: moment)
            await ledger.record_delivery("r", "t1")
            ids.append([delivery.id for delivery in await ledger.deliveries()])
    assert ids[0] == ids[1] < ids[2] < ids[3]
