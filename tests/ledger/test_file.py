"""The ledger file: durability, files that are refused, and writes that are grouped into one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from aiowery.errors import ConfigurationError, LedgerError
from aiowery.ledger import Duration, NewEntry, SqliteLedger, State, _schema
from aiowery.ledger._path_checks import file_system_of, is_shared
from aiowery.ledger._schema import APPLICATION_ID, VERSION

pytestmark = pytest.mark.anyio


def new_entries(count: int) -> list[NewEntry]:
    """Return a number of new entries."""
    return [NewEntry(key=str(n), index=n, request={"prompt": "x" * 50}) for n in range(count)]


def names_in(directory: Path) -> list[str]:
    """Return the names of the files in a directory."""
    return [path.name for path in directory.iterdir()]


async def refusal(path: Path) -> str:
    """Return the error message of a ledger that cannot be opened; nothing is left open."""
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError) as caught:
        await ledger.open()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.batches()
    return str(caught.value)


async def test_ledger_reopened_keeps_entries(tmp_path: Path) -> None:
    """The entries survive closing; only the file's owner may read it, and no lock is left behind."""
    for _ in range(2):
        ledger = SqliteLedger(tmp_path / "jobs.db")
        await ledger.open()
        entries = await ledger.add("b", new_entries(3))
        await ledger.aclose()
    assert [entry.id for entry in entries] == [1, 2, 3]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "jobs.db").stat().st_mode) == 0o600
    assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []


async def test_claim_cancelled_is_stored(tmp_path: Path) -> None:
    """The operation of a cancelled caller is executed, and the rest of its group is unaffected."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    (entry, *others) = await ledger.add("b", new_entries(20))
    claims = [asyncio.create_task(ledger.claim([one.id])) for one in (entry, *others)]
    await asyncio.sleep(0)
    claims[0].cancel()
    await asyncio.gather(*claims, return_exceptions=True)
    assert len(await ledger.entries(states=[State.CLAIMED])) == 20
    await ledger.aclose()


async def test_group_with_misplaced_operation_is_stored(tmp_path: Path) -> None:
    """One operation of a group raises LedgerError; the rest of the group is durable."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    entries = await ledger.add("b", new_entries(10))
    operations = [ledger.claim([one.id]) for one in entries] + [ledger.resolve_accepted(entries[0].id, ["t"])]
    results = await asyncio.gather(*operations, return_exceptions=True)
    assert [isinstance(result, LedgerError) for result in results] == [False] * 10 + [True]
    await ledger.aclose()


async def test_group_with_invalid_text_is_stored(tmp_path: Path) -> None:
    """A lone surrogate in one request does not prevent another request's paid task ids from being stored."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    (paid,) = await ledger.add("b", new_entries(1), claim=True)
    await ledger.mark_sending(paid.id, "r", 1.0)
    odd = [NewEntry(key="odd", index=1, request={}, price_key="\ud800")]
    results = await asyncio.gather(ledger.mark_accepted("r", ["t"]), ledger.add("c", odd), return_exceptions=True)
    assert [type(result) for result in results] == [tuple, LedgerError]
    kept = await ledger.entry(paid.id)
    assert kept is not None
    assert (kept.state, kept.task_ids) == (State.ACCEPTED, ("t",))
    await ledger.aclose()


async def test_group_on_full_disk_is_undone(tmp_path: Path) -> None:
    """A group that does not fit on the disk fails as a whole; once there is room, the ledger works again."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    await ledger.add("b", new_entries(5))

    def bound(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await ledger._do(lambda connection: bound(connection, 1))
    results = await asyncio.gather(*(ledger.add(f"c{n}", new_entries(200)) for n in range(3)), return_exceptions=True)
    assert {type(result) for result in results} == {LedgerError}
    assert "make room" in str(results[0])
    await ledger._do(lambda connection: bound(connection, 1_000_000))
    assert [one.name for one in await ledger.batches()] == ["b"]
    await ledger.add("c", new_entries(200))
    await ledger.aclose()


async def test_open_foreign_database_leaves_it_unchanged(tmp_path: Path) -> None:
    """The database of another program is refused and stays unchanged."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE item (id)")
    connection.close()
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", range(10))
async def test_open_concurrently_creates_one_ledger(number: int, tmp_path: Path) -> None:
    """If several openings create the file at the same time, all of them get the same ledger."""
    ledgers = [SqliteLedger(tmp_path / f"{number}.db") for _ in range(6)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.add("b", new_entries(3)) for ledger in ledgers))
    assert len(await ledgers[0].entries("b")) == 3
    await asyncio.gather(*(ledger.aclose() for ledger in ledgers))


async def test_open_later_schema_is_refused(tmp_path: Path) -> None:
    """A file of a later schema is refused; an empty file becomes a new ledger."""
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


async def test_open_earlier_schema_migrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries of an earlier schema are kept, and its tables get the new columns."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    before = await ledger.add("b", new_entries(3))
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


async def test_open_first_schema_finds_entries_by_task(tmp_path: Path) -> None:
    """The tasks of entries that the first schema stored are found after an update."""
    path = tmp_path / "jobs.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in _schema._MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO entry (batch, key, entry_index, request, state, task_ids, late_task_ids)"
            " VALUES ('b', 'k', 0, '{}', 'done', '[\"t1\", \"t2\"]', '[\"t3\"]')"
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    ledger = SqliteLedger(path)
    await ledger.open()
    (entry,) = await ledger.entries("b")
    assert (entry.task_ids, entry.excerpt) == (("t1", "t2"), "")
    found = [await ledger.entries_with_task(task_id) for task_id in ("t1", "t2", "t3", "t")]
    assert found == [[entry.id]] * 3 + [[]]
    await ledger.aclose()


async def test_open_ledger_before_release_is_refused(tmp_path: Path) -> None:
    """A file of a version before 0.1.0 is refused with a message that names the reason, and stays unchanged."""
    path = tmp_path / "jobs.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE item (id)")
        connection.execute("PRAGMA application_id = 0x41575259")
        connection.execute("PRAGMA user_version = 4")
    before = path.read_bytes()
    assert "before 0.1.0" in await refusal(path)
    assert path.read_bytes() == before


async def test_durations_of_two_openings_are_merged(tmp_path: Path) -> None:
    """Durations that two openings store at the same time are all returned to a third."""
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


async def test_duration_shares_transaction_of_final_state(tmp_path: Path) -> None:
    """A final state and its duration are one transaction, alone or in a group."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    statements: list[str] = []
    await ledger._do(lambda connection: connection.set_trace_callback(statements.append))
    for count in (1, 20):
        ends = (ledger.mark_finished(0, State.DONE, duration=Duration("cat", 1.0, 2.0)) for _ in range(count))
        await asyncio.gather(*ends)
    await ledger._do(lambda connection: connection.set_trace_callback(None))
    await ledger.aclose()
    assert [statement for statement in statements if statement in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ] * 2


async def test_open_deletes_deliveries_of_finished_entries(tmp_path: Path) -> None:
    """Deliveries are needed only until their entry has finished; the file does not grow by them."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    for number, entry in enumerate(await ledger.add("b", new_entries(2), claim=True)):
        await ledger.mark_sending(entry.id, f"r{number}", 1.0)
        await ledger.mark_accepted(f"r{number}", ["t"])
        await ledger.record_delivery(f"r{number}", "t")
    await ledger.mark_finished(entry.id, State.DONE)
    await ledger.aclose()
    await ledger.open()
    await ledger.aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT submission_id FROM delivery").fetchall() == [("r0",)]


async def test_sent_at_in_future_changes_nothing(tmp_path: Path) -> None:
    """Times are for display: an entry that was sent in the future reaches its final state like any other."""
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    for number, at in enumerate((2e9, 1.0)):
        entry = (await ledger.add("b", new_entries(2)))[number]
        await ledger.claim([entry.id])
        await ledger.mark_sending(entry.id, f"r{number}", at)
        await ledger.mark_accepted(f"r{number}", ["t"])
        await ledger.mark_finished(entry.id, State.DONE)
    assert await ledger.recover_abandoned() == 0
    assert {entry.state for entry in await ledger.entries("b")} == {State.DONE}
    await ledger.aclose()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_open_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is no database, or a broken one, is refused with the next step."""
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    assert "give another file" in await refusal(path)


@pytest.mark.parametrize("name", [".", "/", "..", "there"])
async def test_open_directory_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is refused by each of its names, and nothing is created beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert "is a directory" in await refusal(Path(name))
    assert names_in(tmp_path) == ["there"]


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
async def test_open_pipe_or_device_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Only a regular file is opened or made private: never a device that all users need."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    assert "give a regular file" in await refusal(pipe)
    assert "give a regular file" in await refusal(Path(os.devnull))
    assert stat.S_IMODE(pipe.stat().st_mode) == stat.S_IMODE(os.stat(os.devnull).st_mode) == 0o666  # noqa: PTH116 - local, at once
    assert names_in(tmp_path) == ["pipe"]


@pytest.mark.skipif(os.name != "posix", reason="needs names that are bytes")
@pytest.mark.parametrize("name", [b"jobs\xff.db", b"d\xff/jobs.db"])
async def test_open_name_that_is_no_text_is_refused(name: bytes, tmp_path: Path) -> None:
    """Such a path cannot be stored, by which other processes find an opening."""
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    assert "no valid text" in await refusal(path)
    assert not path.exists()


async def test_open_that_fails_in_any_way_raises_and_never_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the writing thread raises, the callers that wait for it get it."""

    def fail(_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("aiowery.ledger._files.prepare", fail)
    assert "out of order" in await refusal(tmp_path / "jobs.db")


async def test_open_missing_directory_is_refused(tmp_path: Path) -> None:
    """A path in a missing directory, and a directory as the file, are refused."""
    assert "make it" in await refusal(tmp_path / "missing" / "jobs.db")
    (tmp_path / "jobs.db").mkdir()
    assert str(tmp_path) in await refusal(tmp_path / "jobs.db")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
async def test_open_read_only_directory_is_refused(tmp_path: Path) -> None:
    """The error names the missing permission."""
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
async def test_file_system_is_that_of_nearest_mount(directory: str, kind: str) -> None:
    """The type of a file system is that of the deepest mount point above the directory."""
    assert file_system_of(Path(directory), MOUNTS) == kind
    assert file_system_of(Path(directory), "") == ""


async def test_open_on_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are not reliable there, so nothing is opened."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr("aiowery.ledger._path_checks._MOUNTS", mounts)
    assert "network file system (nfs4)" in await refusal(tmp_path / "jobs.db")


SHARED = ("9p", "virtiofs", "drvfs", "vboxsf", "lustre", "fuse", "fuse.sshfs", "fuse.s3fs", "fuse.grpcfuse", "cifs")


@pytest.mark.parametrize("kind", SHARED)
async def test_open_on_shared_file_system_needs_an_override(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other machines may use the file too. Who knows that locks work there names the type in the environment."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"share {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr("aiowery.ledger._path_checks._MOUNTS", mounts)
    message = await refusal(tmp_path / "jobs.db")
    assert f"network file system ({kind})" in message
    assert f"set AIOWERY_LEDGER_FILE_SYSTEMS={kind}" in message
    monkeypatch.setenv("AIOWERY_LEDGER_FILE_SYSTEMS", "nfs4")
    assert "network file system" in await refusal(tmp_path / "jobs.db")
    monkeypatch.setenv("AIOWERY_LEDGER_FILE_SYSTEMS", f"nfs4, {kind}")
    ledger = SqliteLedger(tmp_path / "jobs.db")
    await ledger.open()
    await ledger.aclose()


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "tmpfs", "overlay", "apfs", "fuseblk", ""])
def test_is_shared_local_file_system_is_not(kind: str) -> None:
    """A disk of this machine is accepted."""
    assert not is_shared(kind)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (":memory:", "leave it out to keep the ledger in memory"),
        (Path(":memory:"), "leave it out to keep the ledger in memory"),
        ("file:jobs.db?mode=memory", "give the path in it"),
        ("FILE:///tmp/jobs.db", "give the path in it"),
        ("", "give a name such as 'jobs.db'"),
        ("a\0b.db", "give a name such as 'jobs.db'"),
        ("x" * 300, "at most 240 bytes in a name"),
        ("\u00fc" * 130, "at most 240 bytes in a name"),
        ("x" * 300 + "/jobs.db", "at most 240 bytes in a name"),
        ("/".join(["x" * 100] * 50), "4,000 in its path"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_ledger_path_that_names_no_file_is_refused(
    path: str | Path, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another database library would read them otherwise; here they would become stray files or foreign errors."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="nothing was sent") as caught:
        SqliteLedger(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
@pytest.mark.parametrize(
    ("mode", "after"), [(0o644, 0o600), (0o664, 0o600), (0o666, 0o600), (0o640, 0o640), (0o660, 0o660), (0o600, 0o600)]
)
async def test_open_ledger_that_all_users_read_is_made_private(mode: int, after: int, tmp_path: Path) -> None:
    """Prompts and URLs are in it, and in its log. What the owner has granted to a group alone stays."""
    path = tmp_path / "jobs.db"
    path.touch()
    path.chmod(mode)
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.add("b", new_entries(3))
    modes = {stat.S_IMODE(found.stat().st_mode) for found in tmp_path.glob("jobs.db*") if found.is_file()}  # noqa: ASYNC240
    assert modes == {after}
    assert ledger.file_mode == after
    await ledger.aclose()
    assert ledger.file_mode == 0o600


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
async def test_open_read_only_ledger_keeps_its_mode(tmp_path: Path) -> None:
    """Reading changes nothing."""
    path = tmp_path / "jobs.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.aclose()
    path.chmod(0o644)
    ledger = SqliteLedger(path, read_only=True)
    await ledger.open()
    await ledger.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
