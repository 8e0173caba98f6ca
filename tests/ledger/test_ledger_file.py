"""The file: what survives, what is refused, and what a group of moves has in common."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from aiowery.errors import LedgerError
from aiowery.ledger import Duration, NewEntry, SqliteLedger, State, _schema
from aiowery.ledger._path_checks import file_system_of
from aiowery.ledger._schema import APPLICATION_ID, VERSION

pytestmark = pytest.mark.anyio


def items(count: int) -> list[NewEntry]:
    """Return so many items."""
    return [NewEntry(key=str(n), index=n, request={"prompt": "x" * 50}) for n in range(count)]


def names_in(directory: Path) -> list[str]:
    """Return what a directory holds."""
    return [path.name for path in directory.iterdir()]


async def refusal(path: Path) -> str:
    """Return why a ledger cannot be opened; nothing is left open."""
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError) as caught:
        await ledger.open()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.batches()
    return str(caught.value)


async def test_what_was_told_is_there_after_opening_again(tmp_path: Path) -> None:
    """Closed and opened: the same entries; the file is its owner's alone, and no lock stays behind."""
    for _ in range(2):
        ledger = SqliteLedger(tmp_path / "jobs.db")
        await ledger.open()
        entries = await ledger.add("b", items(3))
        await ledger.aclose()
    assert [entry.id for entry in entries] == [1, 2, 3]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "jobs.db").stat().st_mode) == 0o600
    assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []


async def test_whoever_leaves_does_not_undo(tmp_path: Path) -> None:
    """A cancelled caller's move is made all the same, and those beside it are not disturbed."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    (entry, *others) = await ledger.add("b", items(20))
    claims = [asyncio.create_task(ledger.claim([one.id])) for one in (entry, *others)]
    await asyncio.sleep(0)
    claims[0].cancel()
    await asyncio.gather(*claims, return_exceptions=True)
    assert len(await ledger.entries(states=[State.CLAIMED])) == 20
    await ledger.aclose()


async def test_a_move_out_of_place_costs_the_others_nothing(tmp_path: Path) -> None:
    """One of a group is refused; the rest is durable."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    entries = await ledger.add("b", items(10))
    moves = [ledger.claim([one.id]) for one in entries] + [ledger.resolve_accepted(entries[0].id, ["t"])]
    ends = await asyncio.gather(*moves, return_exceptions=True)
    assert [isinstance(end, LedgerError) for end in ends] == [False] * 10 + [True]
    await ledger.aclose()


async def test_what_sqlite_cannot_take_costs_the_others_nothing(tmp_path: Path) -> None:
    """Half a character in one request does not keep another one's ids, which are paid for, from the disk."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    (paid,) = await ledger.add("b", items(1), claim=True)
    await ledger.mark_sending(paid.id, "r", 1.0)
    odd = [NewEntry(key="odd", index=1, request={}, price_key="\ud800")]
    ends = await asyncio.gather(ledger.mark_accepted("r", ["t"]), ledger.add("c", odd), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), LedgerError]
    kept = await ledger.entry(paid.id)
    assert kept is not None
    assert (kept.state, kept.task_ids) == (State.ACCEPTED, ("t",))
    await ledger.aclose()


async def test_a_full_disk_is_told_to_all_and_nothing_is_half_done(tmp_path: Path) -> None:
    """The group that did not fit is undone as a whole; with room again the ledger goes on."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    await ledger.add("b", items(5))

    def bound(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await ledger._do(lambda connection: bound(connection, 1))
    ends = await asyncio.gather(*(ledger.add(f"c{n}", items(200)) for n in range(3)), return_exceptions=True)
    assert {type(end) for end in ends} == {LedgerError}
    assert "make room" in str(ends[0])
    await ledger._do(lambda connection: bound(connection, 1_000_000))
    assert [one.name for one in await ledger.batches()] == ["b"]
    await ledger.add("c", items(200))
    await ledger.aclose()


async def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    """Another program's file is refused, unchanged."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (id)")
    connection.close()
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", range(10))
async def test_many_may_make_the_file_at_once(number: int, tmp_path: Path) -> None:
    """Each finds a ledger of ours, whichever of them was quickest."""
    ledgers = [SqliteLedger(tmp_path / f"{number}.db") for _ in range(6)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.add("b", items(3)) for ledger in ledgers))
    assert len(await ledgers[0].entries("b")) == 3
    await asyncio.gather(*(ledger.aclose() for ledger in ledgers))


async def test_a_later_version_is_refused_and_an_empty_file_is_fine(tmp_path: Path) -> None:
    """Written by a later aiowery: update; an empty file is a new ledger."""
    path = tmp_path / "later.db"
    path.touch()
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    assert "later version" in await refusal(path)


async def test_an_earlier_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier aiowery wrote is kept; the tables get what is new."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    before = await ledger.add("b", items(3))
    await ledger.aclose()
    later = (*_schema._MIGRATIONS, ("ALTER TABLE entry ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",))
    monkeypatch.setattr(_schema, "_MIGRATIONS", later)
    monkeypatch.setattr(_schema, "VERSION", VERSION + 1)
    for _ in range(2):
        ledger = SqliteLedger(path)
        await ledger.open()
        assert await ledger.entries("b") == before
        await ledger.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT DISTINCT colour FROM entry").fetchall() == [("red",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    connection.close()


async def test_a_ledger_from_before_the_release_is_refused(tmp_path: Path) -> None:
    """A file of a version before 0.1.0 is refused with one message that says so, and left as it is."""
    path = tmp_path / "jobs.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE item (id)")
        connection.execute("PRAGMA application_id = 0x41575259")
        connection.execute("PRAGMA user_version = 4")
    before = path.read_bytes()
    assert "before 0.1.0" in await refusal(path)
    assert path.read_bytes() == before


async def test_several_processes_learn_into_one_file(tmp_path: Path) -> None:
    """What two openings tell at the same time is all there for the third."""
    both = [SqliteLedger(tmp_path / "jobs.db") for _ in range(2)]
    await asyncio.gather(*(ledger.open() for ledger in both))
    ends = (
        ledger.mark_finished(0, State.DONE, duration=Duration("cat", 1.0, 2.0)) for ledger in both for _ in range(30)
    )
    await asyncio.gather(*ends)
    await asyncio.gather(*(ledger.aclose() for ledger in both))
    third = SqliteLedger(tmp_path / "jobs.db")
    await third.open()
    assert await third.durations() == {"cat": [(1.0, 2.0)] * 60}
    await third.aclose()


async def test_a_duration_costs_no_write_to_the_disk_of_its_own(tmp_path: Path) -> None:
    """An end and its duration are one transaction, alone or in company."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    told: list[str] = []
    await ledger._do(lambda connection: connection.set_trace_callback(told.append))
    for count in (1, 20):
        ends = (ledger.mark_finished(0, State.DONE, duration=Duration("cat", 1.0, 2.0)) for _ in range(count))
        await asyncio.gather(*ends)
    await ledger._do(lambda connection: connection.set_trace_callback(None))
    await ledger.aclose()
    assert [statement for statement in told if statement in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ] * 2


async def test_deliveries_of_what_has_ended_are_gone_at_the_next_opening(tmp_path: Path) -> None:
    """They were for those who wait; the file does not grow by them."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    for number, entry in enumerate(await ledger.add("b", items(2), claim=True)):
        await ledger.mark_sending(entry.id, f"r{number}", 1.0)
        await ledger.mark_accepted(f"r{number}", ["t"])
        await ledger.record_delivery(f"r{number}", "t")
    await ledger.mark_finished(entry.id, State.DONE)
    await ledger.aclose()
    await ledger.open()
    await ledger.aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT submission_id FROM delivery").fetchall() == [("r0",)]


async def test_a_clock_that_goes_backwards_decides_nothing(tmp_path: Path) -> None:
    """Times are for people: what was sent in the future is walked to its end as any other."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    for number, at in enumerate((2e9, 1.0)):
        entry = (await ledger.add("b", items(2)))[number]
        await ledger.claim([entry.id])
        await ledger.mark_sending(entry.id, f"r{number}", at)
        await ledger.mark_accepted(f"r{number}", ["t"])
        await ledger.mark_finished(entry.id, State.DONE)
    assert await ledger.recover_abandoned() == 0
    assert {entry.state for entry in await ledger.entries("b")} == {State.DONE}
    await ledger.aclose()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """What is no database, or a broken one, is named with the way out."""
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    assert "give another file" in await refusal(path)


@pytest.mark.parametrize("name", [".", "/", "..", "there"])
async def test_a_directory_is_no_ledger(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called, it is refused in words, and nothing is made beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert "is a directory" in await refusal(Path(name))
    assert names_in(tmp_path) == ["there"]


async def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing directory, and a directory in the file's place."""
    assert "make it" in await refusal(tmp_path / "missing" / "jobs.db")
    (tmp_path / "jobs.db").mkdir()
    assert str(tmp_path) in await refusal(tmp_path / "jobs.db")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
async def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    """Read-only is named."""
    tmp_path.chmod(0o500)  # noqa: ASYNC240 - one directory
    assert "writable" in await refusal(tmp_path / "jobs.db")


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/fast tmpfs rw 0 0
//host/share /mnt/my\\040share cifs rw 0 0
odd line
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/data", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/fast/x", "tmpfs"),
        ("/home2", "ext4"),
        ("/mnt/my share", "cifs"),
    ],
)
async def test_the_file_system_is_that_of_the_nearest_mount(directory: str, kind: str) -> None:
    """Network file systems are known by their mounts."""
    assert file_system_of(Path(directory), MOUNTS) == kind
    assert file_system_of(Path(directory), "") == ""


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks do not hold there, so nothing is opened."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr("aiowery.ledger._path_checks._MOUNTS", mounts)
    assert "network file system (nfs4)" in await refusal(tmp_path / "jobs.db")
