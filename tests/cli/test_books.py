"""`aiowery ledger` and `aiowery doubts`: lists and details of entries, and the resolution of doubts."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiowery.ledger import Entry, NewEntry, SqliteLedger, State
from aiowery.sandbox import Fault, Sandbox, faults

Command = Callable[..., subprocess.CompletedProcess[str]]

SNAPSHOT = {"task_id": "t1", "state": "done", "assets": [{"url": "https://cdn.example/1.png", "kind": "image"}]}


async def _filled(path: Path, prompts: Sequence[str]) -> None:
    ledger = SqliteLedger(path)
    await ledger.open()
    items = [
        NewEntry(key=str(n), index=n, request={"type": "text-to-image", "prompt": prompt, "model": "M"})
        for n, prompt in enumerate(prompts)
    ]
    done, doubt, accepted, *_ = await ledger.add("cats", items)
    await ledger.claim([done.id, doubt.id, accepted.id])
    for entry in (done, doubt, accepted):
        await ledger.mark_sending(entry.id, f"ref{entry.id}", 1_790_000_000.0)
    await ledger.mark_in_doubt("ref2", "ReadTimeout: no answer")
    await ledger.mark_accepted("ref1", ["t1"], provider_batch_id="9", request_id="r1")
    await ledger.mark_accepted("ref3", ["t3", "t4"])
    await ledger.mark_finished(done.id, State.DONE, snapshots=[SNAPSHOT], credits=2.0, seconds=4.5)
    await ledger.set_files(done.id, ["0001-a.png"])
    await ledger.aclose()


async def _record_delivery(path: Path, submission_id: str, task_id: str) -> None:
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.record_delivery(submission_id, task_id)
    await ledger.aclose()


async def _entry(path: Path, entry_id: int) -> Entry:
    ledger = SqliteLedger(path)
    await ledger.open()
    entry = await ledger.entry(entry_id)
    await ledger.aclose()
    assert entry is not None
    return entry


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """Make a ledger of five entries: done, in doubt, accepted and two new ones, of which one has an ill will."""
    path = tmp_path / ".aiowery.db"
    asyncio.run(_filled(path, ["a tabby", "a lost cat", "two cats", "=HYPERLINK(1)", "a \x1b[31mred\u202e cat"]))
    return path


def test_ledger_list_shows_batches_and_entries(aiowery_command: Command, ledger_file: Path) -> None:
    """All in numbers, then each with its state, ids and note; whatever a prompt holds, the terminal only shows it."""
    ended = aiowery_command("ledger", "list")
    assert ended.returncode == 0, ended.stderr
    for word in ("cats", "a tabby", "in doubt", "t3 +1", "ReadTimeout: no answer"):
        assert word in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "\u202e" not in ended.stdout
    assert ledger_file.exists()


def test_ledger_list_with_limit_shows_the_next_page_command(aiowery_command: Command, ledger_file: Path) -> None:
    """The first page names the command that shows the next one."""
    first = aiowery_command("ledger", "list", "--limit", "2", "--json")
    assert [json.loads(line)["id"] for line in first.stdout.splitlines()] == [1, 2]
    assert "--after 2" in first.stderr
    rest = aiowery_command("ledger", "list", "--after", "2", "--json")
    assert [json.loads(line)["id"] for line in rest.stdout.splitlines()] == [3, 4, 5]
    chosen = aiowery_command(
        "ledger", "list", "--state", "in-doubt", "--batch", "cats", "--json", "--ledger", str(ledger_file)
    )
    assert [json.loads(line)["id"] for line in chosen.stdout.splitlines()] == [2]


@pytest.mark.parametrize(
    ("entry_id", "message"),
    [
        ("1", ("done: it succeeded", "credits: 2", "0001-a.png", "url: https://cdn.example/1.png", "r1")),
        ("2", ("in doubt", "aiowery doubts adopt 2 TASK_ID", "aiowery doubts release 2", "aiowery doubts resubmit 2")),
        ("3", ("accepted", "t3, t4", "aiowery status t3")),
        ("4", ("new: it was not sent", "The next run of its batch sends it.")),
    ],
)
def test_ledger_show_prints_details_and_next_steps(
    aiowery_command: Command, ledger_file: Path, entry_id: str, message: Sequence[str]
) -> None:
    """All details and the possible next steps are printed."""
    ended = aiowery_command("ledger", "show", entry_id, "--ledger", str(ledger_file.parent))
    assert ended.returncode == 0, ended.stderr
    for words in message:
        assert words in ended.stdout


def test_ledger_export_writes_all_entries(aiowery_command: Command, ledger_file: Path, tmp_path: Path) -> None:
    """As JSON lines, or as a table in which a prompt is never a formula."""
    lines = aiowery_command("ledger", "export").stdout.splitlines()
    assert [json.loads(line)["request"]["prompt"] for line in lines][:2] == ["a tabby", "a lost cat"]
    ended = aiowery_command("ledger", "export", "--format", "csv", "--out", "all.csv")
    assert ended.returncode == 0, ended.stderr
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text("utf-8"))))
    assert [row["state"] for row in rows] == ["done", "in doubt", "accepted", "new", "new"]
    assert rows[3]["prompt"] == "'=HYPERLINK(1)"
    assert rows[0]["sent_at"].startswith("2026-09-")
    refused = aiowery_command("ledger", "export", "--out", str(ledger_file))
    assert refused.returncode == 2
    assert "the ledger itself" in refused.stderr


def test_doubts_list_with_doubts_exits_with_3(aiowery_command: Command, ledger_file: Path) -> None:
    """The exit code is 3 while there are doubts, with the next steps; 0 afterwards."""
    ended = aiowery_command("doubts", "list")
    assert ended.returncode == 3
    assert "a lost cat" in ended.stdout
    assert "call history" in ended.stdout
    adopted = aiowery_command("doubts", "adopt", "2", "t2")
    assert adopted.returncode == 0, adopted.stderr
    entry = asyncio.run(_entry(ledger_file, 2))
    assert (entry.state, entry.task_ids) == (State.ACCEPTED, ("t2",))
    ended = aiowery_command("doubts", "list")
    assert (ended.returncode, ended.stdout) == (0, "Nothing is in doubt.\n")


def test_doubts_list_after_a_delivery_shows_the_named_task(aiowery_command: Command, ledger_file: Path) -> None:
    """A hint proves nothing, and is the best that there is; without one there is no such column."""
    assert "named by the provider" not in aiowery_command("doubts", "list").stdout
    asyncio.run(_record_delivery(ledger_file, "ref2", "task_called"))
    listed, shown = aiowery_command("doubts", "list"), aiowery_command("ledger", "show", "2")
    assert listed.returncode == 3
    assert "by the next run of their batch" in listed.stdout
    assert "task_called" in listed.stdout
    assert "named by the provider: task_called" in shown.stdout
    (printed,) = map(json.loads, aiowery_command("doubts", "list", "--json").stdout.splitlines())
    assert printed["named"] == ["task_called"]


def test_ledger_list_after_a_late_acceptance_shows_the_task(aiowery_command: Command, ledger_file: Path) -> None:
    """Released, and then accepted after all: the list, the entry and the export name the task."""
    aiowery_command("doubts", "release", "2")
    asyncio.run(_record_delivery(ledger_file, "ref2", "task_late"))
    for arguments in (("list",), ("show", "2"), ("export",), ("export", "--format", "csv")):
        assert "task_late" in aiowery_command("ledger", *arguments).stdout, arguments


def test_doubts_release_makes_the_entry_new(aiowery_command: Command, ledger_file: Path) -> None:
    """The message says that the next run sends the request; nothing is sent now."""
    released = aiowery_command("doubts", "release", "2")
    assert released.returncode == 0, released.stderr
    assert "the next run of batch 'cats' sends it" in released.stdout
    assert asyncio.run(_entry(ledger_file, 2)).state is State.NEW


def test_doubts_resubmit_sends_the_request_again(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Resubmit sends the request now, waits, and prints its outputs."""
    (tmp_path / "p.txt").write_text("a cat\n")
    aiowery_sandbox.inject(Fault(faults.LostAnswer(0.2), on="submit", times=1))
    assert aiowery_command("batch", "p.txt", "--out", "out").returncode == 3
    ended = aiowery_command("doubts", "resubmit", "1", "--ledger", "out")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(aiowery_sandbox.url)
    again = aiowery_command("batch", "p.txt", "--out", "out")
    assert again.returncode == 0, again.stderr
    assert aiowery_sandbox.weryai.credits == 10_000 - 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("ledger", "show", "99"), 2, "there is no entry 99; aiowery ledger list shows the entries"),
        (("ledger", "show", "0"), 2, "Must be >= 1"),
        (("ledger", "list", "--batch", "dogs"), 2, "there is no batch 'dogs'"),
        (("doubts", "adopt", "1", "t"), 1, "not in doubt"),
        (("doubts", "adopt", "2"), 2, "name the task ids"),
        (("doubts", "adopt", "2", ""), 2, "is not a task id"),
        (("doubts", "release", "2", "3"), 1, "not in doubt"),
        (("doubts", "release"), 2, "name the entries"),
        (("doubts", "resubmit", "2", "--sandbox"), 2, "leave it out"),
        (("ledger", "list", "--ledger", "missing.db"), 2, "there is no ledger missing.db"),
        (("ledger", "list", "--ledger", "notes.txt"), 2, "is not a ledger"),
    ],
)
def test_ledger_commands_with_invalid_arguments_change_nothing(
    aiowery_command: Command, ledger_file: Path, arguments: Sequence[str], code: int, message: str
) -> None:
    """One message names the remedy; no ledger is created, and all doubts stay unchanged."""
    (ledger_file.parent / "notes.txt").write_text("my notes")
    ended = aiowery_command(*arguments)
    assert ended.returncode == code
    assert message in ended.stderr + ended.stdout
    assert not (ledger_file.parent / "missing.db").exists()
    assert asyncio.run(_entry(ledger_file, 2)).state is State.IN_DOUBT
