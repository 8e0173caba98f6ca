"""`aiowery ledger` and `aiowery doubts`: lists and details of entries, and the resolution of doubts."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aiowery.ledger import Entry, NewEntry, State
from aiowery.sandbox import Fault, Sandbox, faults
from tests.cli.conftest import Command, open_ledger

SNAPSHOT = {"task_id": "t1", "state": "done", "assets": [{"url": "https://cdn.example/1.png", "kind": "image"}]}


async def _fill(path: Path, prompts: Sequence[str]) -> None:
    new_entries = [
        NewEntry(key=str(n), index=n, request={"type": "text-to-image", "prompt": prompt, "model": "M"})
        for n, prompt in enumerate(prompts)
    ]
    async with open_ledger(path) as ledger:
        done, doubt, accepted, *_ = await ledger.add("cats", new_entries)
        await ledger.claim([done.id, doubt.id, accepted.id])
        for entry in (done, doubt, accepted):
            await ledger.mark_sending(entry.id, f"submission{entry.id}", 1_790_000_000.0)
        await ledger.mark_in_doubt("submission2", "ReadTimeout: no response")
        await ledger.mark_accepted("submission1", ["t1"], provider_batch_id="9", request_id="r1")
        await ledger.mark_accepted("submission3", ["t3", "t4"])
        await ledger.mark_finished(done.id, State.DONE, snapshots=[SNAPSHOT], credits=2.0, seconds=4.5)
        await ledger.set_files(done.id, ["0001-a.png"])


async def _record_delivery(path: Path, submission_id: str, task_id: str) -> None:
    async with open_ledger(path) as ledger:
        await ledger.record_delivery(submission_id, task_id)


async def _entry(path: Path, entry_id: int) -> Entry:
    async with open_ledger(path) as ledger:
        entry = await ledger.entry(entry_id)
    assert entry is not None
    return entry


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """Make a ledger of five entries: done, in doubt, accepted, and new, and new with control characters."""
    path = tmp_path / ".aiowery.db"
    asyncio.run(_fill(path, ["a tabby", "a lost cat", "two cats", "=HYPERLINK(1)", "a \x1b[31mred\u202e cat"]))
    return path


async def _add_doubt(path: Path, excerpt: str) -> str:
    async with open_ledger(path) as ledger:
        entry = NewEntry(key="unreadable", index=9, request={"type": "text-to-image", "prompt": "a dog"})
        (added,) = await ledger.add("dogs", [entry], claim=True)
        await ledger.mark_sending(added.id, "submission9", 1_790_000_000.0)
        await ledger.mark_in_doubt("submission9", "the response cannot be read", excerpt=excerpt)
        return str(added.id)


def test_ledger_show_of_doubt_prints_beginning_of_response(aiowery_command: Command, ledger_file: Path) -> None:
    """A person can read ids out of a response that could not be read. No control character is printed."""
    excerpt = 'HTTP/1.1 200 OK\nX: \x1b[31m\u202e\n\n{"task_id": "task_hidden"}'
    entry_id = asyncio.run(_add_doubt(ledger_file, excerpt))
    printed = 'the beginning of the response:\nHTTP/1.1 200 OK\nX: \ufffd[31m\ufffd\n\n{"task_id": "task_hidden"}'
    assert printed in aiowery_command("ledger", "show", entry_id).stdout
    assert json.loads(aiowery_command("ledger", "show", entry_id, "--json").stdout)["excerpt"] == excerpt
    doubts = aiowery_command("doubts", "list", "--json").stdout
    assert json.loads(doubts.splitlines()[-1])["excerpt"] == excerpt
    assert "task_hidden" not in aiowery_command("ledger", "list", "--json").stdout
    assert "the beginning of the response" not in aiowery_command("ledger", "show", "1").stdout


def test_ledger_list_of_all_states_shows_batches_and_entries(aiowery_command: Command, ledger_file: Path) -> None:
    """The totals are printed, then each entry with its state, ids and reason. No control character is printed."""
    ended = aiowery_command("ledger", "list")
    assert ended.returncode == 0, ended.stderr
    for text in ("cats", "a tabby", "in doubt", "t3 +1", "ReadTimeout: no response"):
        assert text in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "\u202e" not in ended.stdout
    assert ledger_file.exists()


def test_ledger_list_with_limit_prints_the_command_for_more(aiowery_command: Command, ledger_file: Path) -> None:
    """Entries beyond the limit are not printed, but the command that shows them."""
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
    ("entry_id", "messages"),
    [
        ("1", ("done: it succeeded", "credits: 2", "0001-a.png", "URL: https://cdn.example/1.png", "r1")),
        ("2", ("in doubt", "aiowery doubts adopt 2 TASK_ID", "aiowery doubts release 2", "aiowery doubts resubmit 2")),
        ("3", ("accepted", "t3, t4", "aiowery status t3")),
        ("4", ("new: it was not sent", "The next run of its batch sends it.")),
    ],
)
def test_ledger_show_of_each_state_prints_details_and_next_steps(
    aiowery_command: Command, ledger_file: Path, entry_id: str, messages: Sequence[str]
) -> None:
    """All details and the possible next steps are printed."""
    ended = aiowery_command("ledger", "show", entry_id, "--ledger", str(ledger_file.parent))
    assert ended.returncode == 0, ended.stderr
    for message in messages:
        assert message in ended.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_ledger_that_is_a_pipe_is_refused(aiowery_command: Command, tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    os.mkfifo(tmp_path / "pipe")
    ended = aiowery_command("ledger", "list", "--ledger", "pipe")
    assert ended.returncode == 2
    assert "no regular file" in ended.stderr


def test_ledger_export_in_each_format_writes_all_entries(
    aiowery_command: Command, ledger_file: Path, tmp_path: Path
) -> None:
    """Entries are exported as JSON lines or as CSV, in which no prompt is a formula. The ledger is not overwritten."""
    exported = aiowery_command("ledger", "export").stdout.splitlines()
    assert [json.loads(line)["request"]["prompt"] for line in exported][:2] == ["a tabby", "a lost cat"]
    ended = aiowery_command("ledger", "export", "--format", "csv", "--out", "all.csv")
    assert ended.returncode == 0, ended.stderr
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text("utf-8"))))
    assert [row["state"] for row in rows] == ["done", "in doubt", "accepted", "new", "new"]
    assert rows[3]["prompt"] == "'=HYPERLINK(1)"
    assert rows[0]["sent_at"].startswith("2026-09-")
    assert stat.S_IMODE((tmp_path / "all.csv").stat().st_mode) & 0o077 == 0
    refused = aiowery_command("ledger", "export", "--out", str(ledger_file))
    assert refused.returncode == 2
    assert "the ledger itself" in refused.stderr


def test_doubts_list_with_doubts_exits_with_3(aiowery_command: Command, ledger_file: Path) -> None:
    """While an entry is in doubt, the exit code is 3 and the next steps are printed. Afterwards it is 0."""
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
    """A task id from a webhook delivery is shown as a hint. Without a delivery there is no such column."""
    assert "named by the provider" not in aiowery_command("doubts", "list").stdout
    asyncio.run(_record_delivery(ledger_file, "submission2", "task_delivered"))
    listed, shown = aiowery_command("doubts", "list"), aiowery_command("ledger", "show", "2")
    assert listed.returncode == 3
    assert "by the next run of their batch" in listed.stdout
    assert "task_delivered" in listed.stdout
    assert "named by the provider: task_delivered" in shown.stdout
    (printed,) = map(json.loads, aiowery_command("doubts", "list", "--json").stdout.splitlines())
    assert printed["named"] == ["task_delivered"]


def test_ledger_list_after_a_late_acceptance_shows_the_task(aiowery_command: Command, ledger_file: Path) -> None:
    """If a released entry turns out to be accepted, the list, the details and the exports name its task."""
    aiowery_command("doubts", "release", "2")
    asyncio.run(_record_delivery(ledger_file, "submission2", "task_late"))
    for arguments in (("list",), ("show", "2"), ("export",), ("export", "--format", "csv")):
        assert "task_late" in aiowery_command("ledger", *arguments).stdout, arguments


def test_doubts_release_of_a_doubt_makes_the_entry_new(aiowery_command: Command, ledger_file: Path) -> None:
    """The released entry is new, and the message names the next run of its batch, which sends it."""
    released = aiowery_command("doubts", "release", "2")
    assert released.returncode == 0, released.stderr
    assert "the next run of batch 'cats' sends it" in released.stdout
    assert asyncio.run(_entry(ledger_file, 2)).state is State.NEW


def test_doubts_resubmit_after_a_lost_response_sends_the_request_again(
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
        (("ledger", "show", "0"), 2, "ENTRY_ID must be >= 1, got 0"),
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
    """The message names the remedy, no ledger is created, and the entry in doubt stays unchanged."""
    (ledger_file.parent / "notes.txt").write_text("my notes")
    ended = aiowery_command(*arguments)
    assert ended.returncode == code
    assert message in ended.stderr + ended.stdout
    assert not (ledger_file.parent / "missing.db").exists()
    assert asyncio.run(_entry(ledger_file, 2)).state is State.IN_DOUBT
