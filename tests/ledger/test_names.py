"""Links, copies, renames and removals of a ledger file never lead to a second charge."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from aiowery._base import file_lock
from aiowery._base.file_lock import FileLock
from aiowery.errors import LedgerError
from aiowery.ledger import NewEntry, SqliteLedger, State
from aiowery.sandbox import Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name != "posix", reason="open files cannot be moved there")]

NAME = "jobs.db"


@asynccontextmanager
async def opened(path: Path, *, accept_copy: bool = False, read_only: bool = False) -> AsyncIterator[SqliteLedger]:
    """Open a ledger."""
    ledger = SqliteLedger(path, accept_copy=accept_copy, read_only=read_only)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def refusal(path: Path, *, accept_copy: bool = False) -> str:
    """Return the error message of a ledger that cannot be opened."""
    with pytest.raises(LedgerError) as caught:
        async with opened(path, accept_copy=accept_copy):
            pass
    assert "nothing was sent" in str(caught.value)
    return str(caught.value)


async def add_claimed(ledger: SqliteLedger, count: int = 2) -> list[int]:
    """Add and claim a number of entries, and return their ids."""
    items = [NewEntry(key=str(n), index=n, request={"prompt": f"cat {n}"}) for n in range(count)]
    return [entry.id for entry in await ledger.add("b", items, claim=True)]


async def states(ledger: SqliteLedger) -> list[State]:
    """Return the states of all entries."""
    return [entry.state for entry in await ledger.entries("b")]


def names_in(directory: Path) -> list[str]:
    """Return the names of the files in a directory."""
    return [path.name for path in directory.iterdir()]


def _lock(directory: Path) -> Path:
    (lock,) = (directory / f"{NAME}.owners").glob("*.alive")
    return lock


def _replace_lock(directory: Path) -> None:
    lock = _lock(directory)
    lock.unlink()
    lock.touch()


def _remove(directory: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        (directory / f"{NAME}{suffix}").unlink()


def _put_in_place(directory: Path, content: bytes) -> None:
    (directory / "new").write_bytes(content)
    (directory / "new").replace(directory / NAME)


# Change to the files of an open ledger; the error of its next `mark_sending`; the name by which another process then
# opens it, and the error of that.
CHANGES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "hard link": (lambda d: os.link(d / NAME, d / "x.db"), "2 names", "x.db", "2 names"),
    "hard link, first name": (lambda d: os.link(d / NAME, d / "x.db"), "2 names", NAME, "2 names"),
    "renamed": (lambda d: (d / NAME).rename(d / "x.db"), "removed or renamed", "x.db", "open in a running process, as"),
    "removed": (lambda d: (d / NAME).unlink(), "removed or renamed", NAME, "removed or replaced while a running"),
    "emptied": (lambda d: _put_in_place(d, b""), "replaced", NAME, "removed or replaced while a running"),
    "replaced": (
        lambda d: _put_in_place(d, (d / NAME).read_bytes()),
        "replaced",
        NAME,
        "removed or replaced while a running",
    ),
    "log removed": (
        lambda d: (d / f"{NAME}-wal").unlink(),
        "wal was removed",
        NAME,
        "removed or replaced while a running",
    ),
    "log and index removed": (
        lambda d: _remove(d, "-wal", "-shm"),
        "wal was removed",
        NAME,
        "removed or replaced while a running",
    ),
    "owners removed": (lambda d: shutil.rmtree(d / f"{NAME}.owners"), "owners was removed or renamed", NAME, ""),
    "owners renamed": (lambda d: (d / f"{NAME}.owners").rename(d / "x"), "owners was removed or renamed", NAME, ""),
    "lock replaced": (_replace_lock, "owners was removed or renamed", NAME, ""),
    "nothing": (lambda _: None, "", NAME, ""),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_mark_sending_moved_file_raises(change: str, tmp_path: Path) -> None:
    """The next entry stays unsent, accepted ids of the same group are stored, and no other process sends it too."""
    apply, error, name, other_error = CHANGES[change]
    async with opened(tmp_path / NAME) as ledger:
        sent, unsent = await add_claimed(ledger)
        await ledger.mark_sending(sent, "r0", 1.0)
        apply(tmp_path)
        result, kept = await asyncio.gather(
            ledger.mark_sending(unsent, "r1", 1.0), ledger.mark_accepted("r0", ["t0"]), return_exceptions=True
        )
        assert kept == ()
        assert await states(ledger) == [State.ACCEPTED, State.CLAIMED if error else State.SENDING]
        if error:
            assert isinstance(result, LedgerError)
            assert error in str(result)
            assert "nothing was sent" in str(result)
        if other_error:
            assert other_error in await refusal(tmp_path / name)
        else:
            async with opened(tmp_path / name) as other:
                await other.recover_abandoned()
                found = [State.ACCEPTED, State.NEW] if error else [State.ACCEPTED, State.SENDING]
                assert await states(other) == found
    if change == "renamed":  # SQLite does not move the log with the file
        assert "renamed without its log" in await refusal(tmp_path / name)
        (tmp_path / name).rename(tmp_path / NAME)
        async with opened(tmp_path / NAME) as later:
            assert [entry.task_ids for entry in await later.entries("b")] == [("t0",), ()]


async def test_recover_moved_locks_raises(tmp_path: Path) -> None:
    """If the locks were moved, the entries of other processes are not recovered, since those may be alive."""
    async with opened(tmp_path / NAME) as ledger, opened(tmp_path / NAME) as other:
        sent, _ = await add_claimed(other)
        await other.mark_sending(sent, "r0", 1.0)
        (tmp_path / f"{NAME}.owners").rename(tmp_path / "x")
        with pytest.raises(LedgerError, match="removed or renamed"):
            await ledger.recover_abandoned()
        assert await states(ledger) == [State.SENDING, State.CLAIMED]


@pytest.mark.parametrize("link", ["file", "link to a link", "directory", "relative"])
async def test_open_by_links_shares_one_ledger(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that use different links see each other: no entry of a live process is recovered."""
    home = tmp_path / "home"
    home.mkdir()
    target = home / NAME
    other = tmp_path / "link.db"
    async with opened(target) as ledger:
        await add_claimed(ledger)
        if link == "directory":
            (tmp_path / "linked").symlink_to(home)
            other = tmp_path / "linked" / NAME
        elif link == "relative":
            monkeypatch.chdir(home)
            other = Path(NAME)
        else:
            (tmp_path / "first.db").symlink_to(target)
            other.symlink_to("first.db" if link == "link to a link" else target)
        async with opened(other) as linked:
            monkeypatch.chdir(tmp_path)
            assert await linked.recover_abandoned() == 0
            assert await states(linked) == [State.CLAIMED] * 2
            assert len(list((home / f"{NAME}.owners").glob("*.alive"))) == 2
    assert "link.db.owners" not in names_in(tmp_path)


@pytest.mark.parametrize("to", ["nothing", "missing/jobs.db", "loop.db"])
async def test_open_dangling_link_is_refused(to: str, tmp_path: Path) -> None:
    """A dangling link, one into a missing directory and a loop give one clear error, and nothing is created."""
    (tmp_path / "loop.db").symlink_to(tmp_path / to)
    assert "symbolic link that leads to no file" in await refusal(tmp_path / "loop.db")
    assert names_in(tmp_path) == ["loop.db"]


async def test_open_file_mounted_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may mount a single file; its log would then be beside each of its paths."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 {tmp_path}/{NAME} ext4 rw 0 0\n")
    monkeypatch.setattr("aiowery.ledger._path_checks._MOUNTS", mounts)
    with pytest.raises(LedgerError, match="mount its directory"):
        await SqliteLedger(tmp_path / NAME).open()


def _copy(directory: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        shutil.copy(directory / f"{NAME}{suffix}", directory / f"copy.db{suffix}")


def _backup(directory: Path) -> None:
    with closing(sqlite3.connect(directory / NAME)) as source, closing(sqlite3.connect(directory / "copy.db")) as copy:
        source.backup(copy)


def _copy_all(directory: Path) -> None:
    _copy(directory, "", "-wal")
    shutil.copytree(directory / f"{NAME}.owners", directory / "copy.db.owners")


COPIES: dict[str, Callable[[Path], None]] = {
    "the file alone": lambda d: _copy(d, ""),
    "with its log": lambda d: _copy(d, "", "-wal"),
    "with log and index": lambda d: _copy(d, "", "-wal", "-shm"),
    "with everything": _copy_all,
    "by SQLite": _backup,
}


@pytest.mark.parametrize("how", COPIES)
async def test_open_copy_of_open_ledger_is_refused(how: str, tmp_path: Path) -> None:
    """A copy is refused even with `accept_copy`, because the original may send the same entries."""
    async with opened(tmp_path / NAME) as ledger:
        (entry, *_) = await add_claimed(ledger)
        await asyncio.to_thread(COPIES[how], tmp_path)
        assert "is a copy of a ledger" in await refusal(tmp_path / "copy.db")
        assert "open in a running process" in await refusal(tmp_path / "copy.db", accept_copy=True)
        await ledger.mark_sending(entry, "r", 1.0)


async def test_open_copy_read_only_or_accepted(tmp_path: Path) -> None:
    """A copy can be read; once it has been opened with `accept_copy`, it is a ledger like any other."""
    async with opened(tmp_path / NAME) as ledger:
        await add_claimed(ledger)
        await ledger.recover_abandoned()
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / NAME, copy)
    async with opened(copy, read_only=True) as reader:
        assert await states(reader) == [State.CLAIMED] * 2
        for write in (reader.mark_sending(1, "r", 1.0), reader.claim([1]), reader.add("c", [])):
            with pytest.raises(LedgerError):
                await write
    assert "is a copy" in await refusal(copy)
    for accept in (True, False, True):
        async with opened(copy, accept_copy=accept) as accepted:
            await accepted.recover_abandoned()
            assert await states(accepted) == [State.NEW] * 2
    async with opened(tmp_path / NAME) as ledger:  # the original is unchanged
        assert await states(ledger) == [State.CLAIMED] * 2


async def test_open_restored_backup_is_refused(tmp_path: Path) -> None:
    """A backup that was written over the ledger has its inode, but lacks what was sent since."""
    path = tmp_path / NAME
    async with opened(path) as ledger:
        await ledger.add("b", [NewEntry(key="0", index=0, request={})])
    backup = path.read_bytes()
    async with opened(path) as ledger:
        await ledger.claim([1])
        await ledger.mark_sending(1, "r", 1.0)
        await ledger.mark_accepted("r", ["t"])
    path.write_bytes(backup)
    assert "restored backup" in await refusal(path)
    async with opened(path, accept_copy=True) as ledger:
        assert await states(ledger) == [State.NEW]
    async with opened(path) as ledger:
        assert await states(ledger) == [State.NEW]


async def test_open_with_unstable_inodes_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On FAT a file has another inode each time that it is opened; a ledger there is not mistaken for a copy."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sdb1 {tmp_path} vfat rw 0 0\n")
    monkeypatch.setattr("aiowery.ledger._path_checks._MOUNTS", mounts)
    async with opened(tmp_path / NAME) as ledger:
        await add_claimed(ledger)
    shutil.copy(tmp_path / NAME, tmp_path / "new")  # its inode differs, as on FAT
    (tmp_path / "new").replace(tmp_path / NAME)
    async with opened(tmp_path / NAME) as ledger:
        assert len(await states(ledger)) == 2


@pytest.mark.parametrize("content", [None, b"", b"a ledger"])
async def test_open_beside_log_of_other_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """If a file was removed while it was open, its log stays; no new file is created beside that log."""
    async with opened(tmp_path / "other.db") as ledger:
        await add_claimed(ledger)
    async with opened(tmp_path / NAME) as ledger:
        await add_claimed(ledger)
        (tmp_path / NAME).rename(tmp_path / "aside.db")
        if content == b"a ledger":
            (tmp_path / "other.db").rename(tmp_path / NAME)
        elif content is not None:
            (tmp_path / NAME).write_bytes(content)
    assert "its log stayed" in await refusal(tmp_path / NAME)
    (tmp_path / "aside.db").replace(tmp_path / NAME)
    async with opened(tmp_path / NAME) as ledger:
        assert await states(ledger) == [State.CLAIMED] * 2
        (tmp_path / NAME).unlink()
    assert "its log stayed" in await refusal(tmp_path / NAME)
    (tmp_path / f"{NAME}-wal").unlink()
    async with opened(tmp_path / NAME) as ledger:  # without the log a new ledger is created
        assert await states(ledger) == []


async def test_open_moved_while_closed_succeeds(tmp_path: Path) -> None:
    """A closed ledger may be renamed, and another one created at the old path; both open without errors."""
    path = tmp_path / NAME
    async with opened(path) as ledger:
        await add_claimed(ledger)
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "moved.db")
    async with opened(path) as ledger:
        assert await states(ledger) == []
        async with opened(tmp_path / "elsewhere" / "moved.db") as moved:
            assert await states(moved) == [State.CLAIMED] * 2


async def test_open_renamed_without_log_is_refused(tmp_path: Path) -> None:
    """A file that was renamed without the log of a killed process is refused; with its log it has all entries."""
    program = """
        import asyncio, os, sys
        from aiowery.ledger import NewEntry, SqliteLedger
        async def main():
            ledger = SqliteLedger(sys.argv[1])
            await ledger.open()
            await ledger.add("b", [NewEntry(key="0", index=0, request={})], claim=True)
            await ledger.mark_sending(1, "r", 1.0)
            await ledger.mark_accepted("r", ["t"])
            os._exit(0)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / NAME)]
    await asyncio.to_thread(subprocess.run, command, check=True)
    moved = tmp_path / "moved.db"
    (tmp_path / NAME).rename(moved)
    for _ in range(2):
        assert "renamed without its log" in await refusal(moved)
    (tmp_path / f"{NAME}-wal").rename(tmp_path / "moved.db-wal")
    async with opened(moved) as ledger:
        await ledger.recover_abandoned()
        assert [entry.task_ids for entry in await ledger.entries("b")] == [("t",)]


async def test_open_file_replaced_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another file takes the path between the check and the opening, the ledger is not opened."""
    connect = sqlite3.connect

    def slow(path: Path, **options: Any) -> Any:
        _put_in_place(tmp_path, b"")
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", slow)
    assert "replaced while it was being opened" in await refusal(tmp_path / NAME)


async def test_open_and_close_concurrently_raises_nothing(tmp_path: Path) -> None:
    """Concurrent openings and closings are not mistaken for a removed or replaced file."""

    async def open_and_close() -> None:
        for _ in range(4):
            async with opened(tmp_path / NAME) as ledger:
                await ledger.recover_abandoned()

    await asyncio.gather(*(open_and_close() for _ in range(6)))


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="locks cannot be seen")
async def test_open_twice_keeps_sqlite_locks(tmp_path: Path) -> None:
    """Closing any descriptor of a file drops the process's locks on it, so SQLite's files are not opened elsewhere."""
    path = tmp_path / NAME

    def locks() -> int:
        inode = f":{path.stat().st_ino} "
        return sum(inode in line and "POSIX" in line for line in Path("/proc/locks").read_text().splitlines())

    async with opened(path) as ledger:
        await add_claimed(ledger)
        held = locks()
        async with opened(path):
            pass
        assert held
        assert locks() >= held  # the writer may hold others for a moment


def test_acquire_lock_file_removed_meanwhile_locks_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last holder removes the file between opening and locking, a new file is created and locked."""
    path = tmp_path / "lock"
    lock_it = file_lock._lock
    removed: list[bool] = []

    def slow(descriptor: int) -> None:
        if not removed:
            removed.append(True)
            path.unlink()
        lock_it(descriptor)

    monkeypatch.setattr(file_lock, "_lock", slow)
    lock = FileLock(path)
    assert lock.acquire()
    assert lock.is_in_place()
    assert not FileLock(path).is_free()
    path.unlink()
    assert not lock.is_in_place()
    lock.release()


PROGRAM = """
import asyncio, sys
from aiowery import Limits, PollPolicy, WeryAI
from aiowery.weryai import TextToImage

async def main():
    polling = PollPolicy(min_interval=0.02, max_interval=0.03, known_max_interval=0.02)
    client = WeryAI(ledger=sys.argv[1], limits=Limits(in_flight=2, submissions=1), polling=polling)
    cats = [TextToImage(prompt=f"cat {number}") for number in range(int(sys.argv[2]))]
    async with client, client.stream(cats, batch="cats") as outcomes:
        async for outcome in outcomes:
            print("done" if outcome.result else outcome.error, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow("two processes start, and one sends to its end")
def test_batch_with_renamed_file_charges_once(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """One process stops submitting, a second one is refused; once the file is restored, the rest is sent once."""

    def batch(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), "12"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with batch(NAME) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "done\n"
        (tmp_path / NAME).rename(tmp_path / "new.db")
        with batch("new.db") as second:
            _, stderr = second.communicate(timeout=20)
            assert "LedgerError" in stderr
        output = first.stdout.read()
        assert "removed or renamed" in output
        sent = 1 + output.count("done\n")
    assert len(aiowery_sandbox.weryai.tasks) == sent < 12
    (tmp_path / "new.db").rename(tmp_path / NAME)
    with batch(NAME) as third:
        third.communicate(timeout=20)
        assert third.returncode == 0
    assert Counter(task.spec.prompt for task in aiowery_sandbox.weryai.tasks) == {f"cat {n}": 1 for n in range(12)}
