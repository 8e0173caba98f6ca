"""Durable batches on the command line: the same command again resumes an ended run."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiowery.sandbox import Fault, Sandbox, faults

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Manifest = Callable[[], Sequence[dict[str, Any]]]


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """Write a file of 12 prompts."""
    path = tmp_path / "cats.txt"
    path.write_text("".join(f"cat {number}\n" for number in range(12)))
    return path


def charged(sandbox: Sandbox) -> int:
    """Return how many credits the sandbox has taken."""
    return 10_000 - sandbox.weryai.credits


def outcomes(lines: Sequence[dict[str, Any]]) -> Counter[str]:
    """Count how the items ended."""
    return Counter(line["outcome"] for line in lines)


def test_batch_repeated_sends_nothing(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """A finished batch costs no credit and no download; manifest and gallery are complete."""
    first = aiowery_command("batch", "cats.txt", "--out", "out")
    assert first.returncode == 0, first.stderr
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    printed = {line["index"]: line["files"] for line in manifest()}
    again = aiowery_command("batch", "cats.txt", "--out", "out", "--gallery", "--price-per-credit", "0.05")
    assert again.returncode == 0, again.stderr
    assert "12 were finished before, and were not sent again." in again.stdout
    assert "12 credits (0.60 at 0.05 each)" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == pictures
    assert {line["index"]: line["files"] for line in manifest()} == printed
    assert (tmp_path / "out" / "gallery.html").exists()
    assert charged(aiowery_sandbox) == 12
    assert cats.exists()


def test_batch_repeated_fetches_missing_files_and_sends_new_lines(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Only missing files are fetched, only new lines are charged; a line inserted at the top changes nothing."""
    aiowery_command("batch", "cats.txt", "--out", "out")
    (lost,) = (tmp_path / "out").glob("0003-*")
    lost.unlink()
    cats.write_text("a dog\n" + cats.read_text())
    again = aiowery_command("batch", "cats.txt", "--out", "out")
    assert again.returncode == 0, again.stderr
    assert lost.exists()
    assert charged(aiowery_sandbox) == 13
    assert len(list((tmp_path / "out").glob("*.png"))) == 13
    assert outcomes(manifest()) == {"done": 13}


@pytest.mark.skipif(os.name != "posix", reason="processes cannot be killed so here")
def test_batch_after_a_kill_resumes(
    aiowery_process: Start, aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """After a kill, accepted tasks are polled, unsent ones are sent, and those being sent are in doubt."""
    process = aiowery_process("batch", "cats.txt", "--out", "out", "--json", "--in-flight", "4")
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.communicate()
    again = aiowery_command("batch", str(cats), "--out", "out")
    doubts = outcomes(manifest())["in_doubt"]
    assert again.returncode == (3 if doubts else 0), again.stderr
    assert outcomes(manifest())["done"] == 12 - doubts
    assert charged(aiowery_sandbox) <= 12


def test_batch_with_a_doubt_exits_with_3_until_it_is_released(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """A lost response makes every run exit with 3 until the entry is released; then it is sent."""
    aiowery_sandbox.inject(Fault(faults.LostAnswer(0.2), on="submit", times=1))
    for _ in range(2):
        ended = aiowery_command("batch", "cats.txt", "--out", "out")
        assert ended.returncode == 3, ended.stderr
        assert "1 may have been charged" in ended.stdout
        assert "aiowery doubts list --ledger out/.aiowery.db" in ended.stdout
        assert outcomes(manifest()) == {"done": 11, "in_doubt": 1}
    listed = aiowery_command("doubts", "list", "--ledger", "out", "--json")
    assert listed.returncode == 3
    doubt = json.loads(listed.stdout.splitlines()[0])
    released = aiowery_command("doubts", "release", str(doubt["id"]), "--ledger", "out")
    assert released.returncode == 0, released.stderr
    ended = aiowery_command("batch", "cats.txt", "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert charged(aiowery_sandbox) == 13
    assert cats.exists()


def test_two_batches_on_one_ledger_pay_once(
    aiowery_process: Start, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Two processes with one ledger pay once per request, and both save all files."""
    processes = [
        aiowery_process("batch", str(cats), "--out", out, "--ledger", "shared.db", "--in-flight", "3")
        for out in ("one", "two")
    ]
    for process in processes:
        _, message = process.communicate(timeout=30)
        assert process.returncode == 0, message
    assert charged(aiowery_sandbox) == 12
    for out in ("one", "two"):
        assert len(list((tmp_path / out).glob("*.png"))) == 12


def test_dry_run_prints_the_plan_and_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Items, estimate and balance are printed, no file is created; finished items are recognized later."""
    price = ("--price", "WERYAI_IMAGE_2_0=1.5", "--price-per-credit", "0.05")
    dry = aiowery_command("batch", "cats.txt", "--out", "out", "--dry-run", *price)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("to send") == 13
    assert "Estimate: about 18 credits (0.90 at 0.05 each)." in dry.stdout
    assert "Balance: 10,000 credits (500.00 at 0.05 each)." in dry.stdout
    assert not (tmp_path / "out").exists()
    aiowery_command("batch", "cats.txt", "--out", "out", "--limit", "5")
    dry = aiowery_command("batch", "cats.txt", "--out", "out", "--dry-run")
    assert "7 to send, 5 done before." in dry.stdout
    assert "Estimate: about 7 credits." in dry.stdout
    assert charged(aiowery_sandbox) == 5
    assert cats.exists()


def test_budget_applies_to_all_runs_of_a_batch(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """Items beyond the budget are not sent; a larger budget sends them."""
    price = ("--price", "text-to-image=1")
    for _ in range(2):
        ended = aiowery_command("batch", "cats.txt", "--out", "out", "--budget", "5", *price)
        assert ended.returncode == 1, ended.stderr
        assert "the budget is used up" in ended.stdout
        assert "7 were not submitted and cost nothing." in ended.stdout
        assert outcomes(manifest()) == {"done": 5, "not submitted": 7}
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--budget", "12", *price)
    assert ended.returncode == 0, ended.stderr
    assert charged(aiowery_sandbox) == 12
    assert cats.exists()


def test_batch_without_credits_stops_and_resumes_later(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """Without credits submitting stops and accepted items are kept; a later run with credits sends the rest."""
    aiowery_sandbox.weryai._credits = 4
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--in-flight", "2")
    assert ended.returncode == 1, ended.stderr
    assert "no credits left" in ended.stdout
    assert "8 were not submitted and cost nothing." in ended.stdout
    assert outcomes(manifest()) == {"done": 4, "not submitted": 8}
    aiowery_sandbox.weryai._credits = 100
    ended = aiowery_command("batch", "cats.txt", "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert aiowery_sandbox.weryai.credits == 92
    assert cats.exists()


def test_batch_stopped_reports_items_of_earlier_runs(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """Items done or in doubt since an earlier run keep their status, although this run stopped before them."""
    aiowery_sandbox.inject(Fault(faults.BAD_GATEWAY, on="submit", times=1))
    assert aiowery_command("batch", "cats.txt", "--out", "out").returncode == 3
    cats.write_text("".join(f"dog {number}\n" for number in range(40)) + cats.read_text())
    aiowery_sandbox.weryai._credits = 0
    ended = aiowery_command("batch", "cats.txt", "--out", "out")
    assert outcomes(manifest()) == {"done": 11, "in_doubt": 1, "not submitted": 40}
    assert ended.returncode == 3, ended.stderr
    assert "40 were not submitted and cost nothing." in ended.stdout
    assert sum(len(line["files"]) for line in manifest()) == 11


def test_batch_with_moved_lines_overwrites_no_picture(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A line put before an equal prompt, or one that was taken out meanwhile, gets a name of its own."""
    table = tmp_path / "cats.csv"
    for rows in (["1:1"], ["16:9", "1:1"], ["9:16"], ["9:16", "1:1", "16:9"]):
        table.write_text("\n".join(["prompt,aspect_ratio", *(f"a cat,{row}" for row in rows)]))
        ended = aiowery_command("batch", "cats.csv", "--out", "out")
        assert ended.returncode == 0, ended.stderr
    names = [name for line in manifest() for name in line["files"]]
    assert len(set(names)) == 3
    assert len({(tmp_path / "out" / name).read_bytes() for name in names}) == 3
    assert charged(aiowery_sandbox) == 3


def test_batch_refused_keeps_files_of_the_earlier_run(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """A no, another address, a wrong line or a file that is no ledger costs no manifest and moves no picture."""
    assert aiowery_command("batch", "cats.txt", "--out", "out", "--gallery").returncode == 0
    there = sorted((tmp_path / "out").glob("*"))
    elsewhere = {**os.environ, "WERYAI_BASE_URL": aiowery_sandbox.url.replace("127.0.0.1", "localhost")}
    ended = aiowery_command("batch", "cats.txt", "--out", "out", env=elsewhere)
    assert "was begun at" in ended.stderr
    (tmp_path / "foreign.db").write_text("hello")
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--batch", "anew", "--ledger", "foreign.db")
    assert "no database" in ended.stderr
    cats.write_text(cats.read_text() + "dog\n")
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--strict", "--aspect-ratio", "7:5")
    assert "because of --strict" in ended.stderr
    assert sorted((tmp_path / "out").glob("*")) == there
    assert charged(aiowery_sandbox) == 12


def test_batch_with_reuse_pays_once_for_equal_requests(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """--reuse pays once for equal lines, and nothing for requests that another batch has finished."""
    (tmp_path / "p.txt").write_text("a cat\na cat\na dog\n")
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--reuse")
    assert ended.returncode == 0, ended.stderr
    assert charged(aiowery_sandbox) == 2
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--batch", "anew", "--reuse")
    assert ended.returncode == 0, ended.stderr
    assert charged(aiowery_sandbox) == 2
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--batch", "really anew")
    assert ended.returncode == 0, ended.stderr
    assert charged(aiowery_sandbox) == 5


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_batch_of_unknown_price_asks_on_a_terminal(
    aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path, answer: str, code: int
) -> None:
    """On a terminal, requests of unknown price are sent only after a yes."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "aiowery", "batch", str(cats), "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    message = b""
    until = time.monotonic() + 20
    while b"[y/N]" not in message and time.monotonic() < until:
        message += os.read(controller, 1000)
    os.write(controller, f"{answer}\n".encode())
    while process.poll() is None and time.monotonic() < until:
        try:
            message += os.read(controller, 1000)
        except OSError:  # the other side has closed
            break
    assert process.wait(20) == code, message
    os.close(controller)
    assert b"12 of unknown price" in message
    assert charged(aiowery_sandbox) == (12 if code == 0 else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--price", "MODEL"), "--price must be MODEL=CREDITS"),
        (("--price", "MODEL=cheap"), "--price must be MODEL=CREDITS"),
        (("--price", "MODEL=-1"), "--price must be MODEL=CREDITS"),
        (("--budget", "-1"), "Must be >= 0"),
        (("--ledger", "missing/l.db"), "make it"),
    ],
)
def test_batch_with_invalid_options_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, arguments: tuple[str, str], message: str
) -> None:
    """One message names the value, and nothing is charged."""
    ended = aiowery_command("batch", "cats.txt", "--out", "out", *arguments)
    assert ended.returncode in {1, 2}
    assert message in ended.stderr + ended.stdout
    assert charged(aiowery_sandbox) == 0
    assert cats.exists()


def test_batch_with_a_foreign_file_as_ledger_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file that is not a ledger stays unchanged, and nothing is sent."""
    (tmp_path / "p.txt").write_text("a cat\n")
    (tmp_path / "notes.txt").write_text("my notes " * 100)
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--ledger", "notes.txt")
    assert ended.returncode == 1
    assert "no database" in ended.stderr
    assert (tmp_path / "notes.txt").read_text().startswith("my notes")
    assert charged(aiowery_sandbox) == 0
