"""Durable batches on the command line: the same command again resumes a run that has ended."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiowery._base.file_lock import FileLock
from aiowery.sandbox import Fault, Sandbox, faults
from tests.cli.conftest import Command, Manifest, Start, in_thread, outcomes, read_manifest, spent_credits
from tests.support import KEY, PNG, http_response, responding


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """Write a file of 12 prompts."""
    path = tmp_path / "cats.txt"
    path.write_text("".join(f"cat {number}\n" for number in range(12)))
    return path


def test_batch_repeated_sends_nothing(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """The second run of a finished batch charges and downloads nothing. Its manifest and gallery are complete."""
    first = aiowery_command("batch", "cats.txt", "--out", "out")
    assert first.returncode == 0, first.stderr
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    files = {record["index"]: record["files"] for record in manifest()}
    again = aiowery_command("batch", "cats.txt", "--out", "out", "--gallery", "--price-per-credit", "0.05")
    assert again.returncode == 0, again.stderr
    assert "12 were finished before, and were not sent again." in again.stdout
    assert "12 credits (0.60 at 0.05 each)" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == pictures
    assert {record["index"]: record["files"] for record in manifest()} == files
    assert (tmp_path / "out" / "gallery.html").exists()
    assert spent_credits(aiowery_sandbox) == 12
    assert cats.exists()


def test_batch_repeated_fetches_missing_files_and_sends_new_lines(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Only missing files are fetched, and only new lines are charged, also if a line is inserted at the top."""
    aiowery_command("batch", "cats.txt", "--out", "out")
    (missing,) = (tmp_path / "out").glob("0003-*")
    missing.unlink()
    cats.write_text("a dog\n" + cats.read_text())
    again = aiowery_command("batch", "cats.txt", "--out", "out")
    assert again.returncode == 0, again.stderr
    assert missing.exists()
    assert spent_credits(aiowery_sandbox) == 13
    assert len(list((tmp_path / "out").glob("*.png"))) == 13
    assert outcomes(manifest()) == {"done": 13}


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems have SIGKILL")
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
    assert spent_credits(aiowery_sandbox) <= 12


def test_batch_with_a_doubt_exits_with_3_until_it_is_released(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """After a lost response, every run exits with 3 until the entry is released. Then the next run sends it."""
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
    assert spent_credits(aiowery_sandbox) == 13
    assert cats.exists()


def test_two_batches_on_one_ledger_pay_once(
    aiowery_process: Start, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Two processes with one ledger send each request once, and both save all files."""
    processes = [
        aiowery_process("batch", str(cats), "--out", out, "--ledger", "shared.db", "--in-flight", "3")
        for out in ("one", "two")
    ]
    for process in processes:
        _, message = process.communicate(timeout=30)
        assert process.returncode == 0, message
    assert spent_credits(aiowery_sandbox) == 12
    for out in ("one", "two"):
        assert len(list((tmp_path / out).glob("*.png"))) == 12


def test_batch_with_dry_run_prints_the_plan_and_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """Items, estimate and balance are printed, and no file is created. Items of an earlier run count as done."""
    price = ("--price", "WERYAI_IMAGE_2_0=1.5", "--price-per-credit", "0.05")
    plan = aiowery_command("batch", "cats.txt", "--out", "out", "--dry-run", *price)
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.count("to send") == 13
    assert "Estimate: about 18 credits (0.90 at 0.05 each)." in plan.stdout
    assert "Balance: 10,000 credits (500.00 at 0.05 each)." in plan.stdout
    assert not (tmp_path / "out").exists()
    aiowery_command("batch", "cats.txt", "--out", "out", "--limit", "5")
    plan = aiowery_command("batch", "cats.txt", "--out", "out", "--dry-run")
    assert "7 to send, 5 done before." in plan.stdout
    assert "Estimate: about 7 credits." in plan.stdout
    assert spent_credits(aiowery_sandbox) == 5
    assert cats.exists()


def test_batch_with_a_budget_applies_it_to_all_runs(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """Items beyond the budget are not sent, also in later runs, until the budget is raised."""
    price = ("--price", "text-to-image=1")
    for _ in range(2):
        ended = aiowery_command("batch", "cats.txt", "--out", "out", "--budget", "5", *price)
        assert ended.returncode == 1, ended.stderr
        assert "the budget is used up" in ended.stdout
        assert "7 were not submitted and cost nothing." in ended.stdout
        assert outcomes(manifest()) == {"done": 5, "not submitted": 7}
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--budget", "12", *price)
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 12
    assert cats.exists()


def test_batch_without_credits_stops_and_resumes_later(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, cats: Path
) -> None:
    """Without credits, submitting stops and accepted items are saved. A later run with credits sends the rest."""
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
    """Items that an earlier run finished or left in doubt keep their status, although this run stops before them."""
    aiowery_sandbox.inject(Fault(faults.BAD_GATEWAY, on="submit", times=1))
    assert aiowery_command("batch", "cats.txt", "--out", "out").returncode == 3
    cats.write_text("".join(f"dog {number}\n" for number in range(40)) + cats.read_text())
    aiowery_sandbox.weryai._credits = 0
    ended = aiowery_command("batch", "cats.txt", "--out", "out")
    assert outcomes(manifest()) == {"done": 11, "in_doubt": 1, "not submitted": 40}
    assert ended.returncode == 3, ended.stderr
    assert "40 were not submitted and cost nothing." in ended.stdout
    assert sum(len(record["files"]) for record in manifest()) == 11


def test_batch_with_moved_lines_overwrites_no_picture(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A line that is inserted before an equal prompt, or was absent for one run, gets its own file name."""
    table = tmp_path / "cats.csv"
    for ratios in (["1:1"], ["16:9", "1:1"], ["9:16"], ["9:16", "1:1", "16:9"]):
        table.write_text("\n".join(["prompt,aspect_ratio", *(f"a cat,{ratio}" for ratio in ratios)]))
        ended = aiowery_command("batch", "cats.csv", "--out", "out")
        assert ended.returncode == 0, ended.stderr
    names = [name for record in manifest() for name in record["files"]]
    assert len(set(names)) == 3
    assert len({(tmp_path / "out" / name).read_bytes() for name in names}) == 3
    assert spent_credits(aiowery_sandbox) == 3


def test_batch_refused_keeps_files_of_the_earlier_run(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """A run that is refused for its base URL, its ledger or a wrong line removes and moves no file."""
    assert aiowery_command("batch", "cats.txt", "--out", "out", "--gallery").returncode == 0
    files = sorted((tmp_path / "out").glob("*"))
    environment = {**os.environ, "WERYAI_BASE_URL": aiowery_sandbox.url.replace("127.0.0.1", "localhost")}
    ended = aiowery_command("batch", "cats.txt", "--out", "out", env=environment)
    assert "was begun at" in ended.stderr
    (tmp_path / "foreign.db").write_text("hello")
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--batch", "anew", "--ledger", "foreign.db")
    assert "no database" in ended.stderr
    cats.write_text(cats.read_text() + "dog\n")
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--strict", "--aspect-ratio", "7:5")
    assert "because of --strict" in ended.stderr
    assert sorted((tmp_path / "out").glob("*")) == files
    assert spent_credits(aiowery_sandbox) == 12


def test_batch_with_reuse_pays_once_for_equal_requests(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """--reuse pays once for equal lines, and nothing for requests that another batch has finished."""
    (tmp_path / "p.txt").write_text("a cat\na cat\na dog\n")
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--reuse")
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 2
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--batch", "anew", "--reuse")
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 2
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--batch", "anew")
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 2
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--batch", "really anew")
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 5


# The process gets the terminal as its own, as in a shell: Ctrl-C on it is a signal.
_ON_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from aiowery.__main__ import main
sys.exit(main())
"""
_REPLIES = [(b"n\n", 2), (b"y\n", 0), (b"\x04", 2), (b"\x03", 130), (signal.SIGHUP, 130), (None, 2)]


@pytest.mark.parametrize(
    ("reply", "code"), _REPLIES, ids=["no", "yes", "end of file", "Ctrl-C", "hang-up", "terminal gone"]
)
def test_batch_of_unknown_price_on_a_terminal_requests_consent(
    aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path, reply: bytes | signal.Signals | None, code: int
) -> None:
    """On a terminal, requests of unknown price are sent only after the user has typed "y". Ctrl-C ends the question."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-c", _ON_TERMINAL, "batch", str(cats), "--out", "out"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    output = b""
    deadline = time.monotonic() + 20
    while b"[y/N]" not in output and time.monotonic() < deadline:
        output += os.read(controller, 1000)
    if isinstance(reply, bytes):
        os.write(controller, reply)
    elif reply is not None:
        process.send_signal(reply)
    else:
        os.close(controller)
    while reply is not None and process.poll() is None and time.monotonic() < deadline:
        try:
            output += os.read(controller, 1000)
        except OSError:  # the process has closed the terminal
            break
    ended = process.wait(20)
    if reply is not None:
        os.close(controller)
    assert ended in {code, 130 if reply is None else code}, output  # a terminal that closes sends SIGHUP too
    assert b"12 of unknown price" in output
    assert b"Traceback" not in output
    assert spent_credits(aiowery_sandbox) == (12 if code == 0 else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--price", "MODEL"), "--price must be MODEL=CREDITS"),
        (("--price", "MODEL=cheap"), "--price must be MODEL=CREDITS"),
        (("--price", "MODEL=-1"), "--price must be MODEL=CREDITS"),
        (("--budget", "-1"), "--budget must be >= 0, got -1"),
        (("--ledger", "missing/l.db"), "make it"),
    ],
)
def test_batch_with_invalid_options_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, arguments: tuple[str, str], message: str
) -> None:
    """The message names the mistake, and nothing is charged."""
    ended = aiowery_command("batch", "cats.txt", "--out", "out", *arguments)
    assert ended.returncode in {1, 2}
    assert message in ended.stderr + ended.stdout
    assert spent_credits(aiowery_sandbox) == 0
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
    assert spent_credits(aiowery_sandbox) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
@pytest.mark.parametrize(("ledger", "mode"), [(0o644, 0o600), (0o640, 0o640)])
def test_batch_files_have_the_mode_of_the_ledger(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, ledger: int, mode: int
) -> None:
    """Pictures, manifest, gallery and ledger are read by the same users, never by all."""
    (tmp_path / "p.txt").write_text("a cat\n")
    (tmp_path / "jobs.db").touch()
    (tmp_path / "jobs.db").chmod(ledger)
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--ledger", "jobs.db", "--gallery")
    assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 1
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert set(files) == {"0001-a-cat.png", "manifest.jsonl", "gallery.html"}
    assert {stat.S_IMODE((tmp_path / "jobs.db").stat().st_mode), *files.values()} == {mode}


@pytest.mark.parametrize("ledger", [":memory:", "file:jobs.db", "x" * 300])
@pytest.mark.parametrize("command", [("batch", "p.txt", "--out", "out"), ("ledger", "list")])
def test_commands_with_an_impossible_ledger_exit_with_2(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, ledger: str, command: tuple[str, ...]
) -> None:
    """The ledger of other programs' spellings, and a name that no disk holds, are refused before anything is sent."""
    (tmp_path / "p.txt").write_text("a cat\n")
    ended = aiowery_command(*command, "--ledger", ledger)
    assert ended.returncode == 2, ended.stderr
    assert "nothing was sent" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert spent_credits(aiowery_sandbox) == 0


def test_batch_keeps_a_text_of_the_user(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file that the batch has not written is not replaced, whatever its name."""
    (tmp_path / "p.jsonl").write_text('{"type": "chat", "messages": "hello"}\n{"prompt": "a cat"}\n')
    (tmp_path / "out").mkdir()
    own = {"0001-hello.txt": "my text", "0002-a-cat.png": "my picture"}
    for name, text in own.items():
        (tmp_path / "out" / name).write_text(text)
    ended = aiowery_command("batch", "p.jsonl", "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert {name: (tmp_path / "out" / name).read_text() for name in own} == own
    saved = [name for record in manifest() for name in record["files"]]
    assert saved == ["0001-hello-2.txt", "0002-a-cat-2.png"]
    assert spent_credits(aiowery_sandbox) >= 1


class SignedUrls:
    """A provider whose files have signed URLs. A status check signs anew, and only the newest signature is valid."""

    def __init__(self) -> None:
        self.url = ""
        self.signature = 1
        self.posts = 0
        self.checks = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[SignedUrls]:
        """Serve on loopback."""
        async with responding(self.respond) as server:
            self.url = server.url
            yield self

    def respond(self, request: bytes) -> bytes:
        """Return the acceptance of a submission, the status of its task, or a file."""
        target = request.split(b" ", 2)[1].decode()
        if request.startswith(b"POST"):
            self.posts += 1
            return http_response({"status": 0, "message": "success", "data": {"task_ids": ["t1"]}})
        if target.endswith("/status"):
            self.checks += 1
            task = {"task_id": "t1", "task_status": "SUCCESS", "images": [f"{self.url}/1.png?sig={self.signature}"]}
            return http_response({"status": 0, "message": "success", "data": task})
        if target.endswith(f"sig={self.signature}"):
            return http_response(PNG, content_type="image/png")
        return http_response("expired", "403 Forbidden")


@pytest.mark.parametrize("again", [(), ("--batch", "anew", "--reuse")], ids=["same batch", "reused"])
def test_batch_with_expired_urls_renews_them(aiowery_command: Command, tmp_path: Path, again: tuple[str, ...]) -> None:
    """The ledger holds URLs that have expired. Their tasks are looked up once, and nothing is paid for again."""
    (tmp_path / "p.txt").write_text("a cat\n")
    options = ("batch", "p.txt", "--out", "out", "--no-check", "--yes", "--ledger", "jobs.db")
    with in_thread(SignedUrls().serving()) as provider:
        environment = {**os.environ, "WERYAI_API_KEY": KEY, "WERYAI_BASE_URL": provider.url}
        environment["AIOWERY_SANDBOX_SPEED"] = "100"
        ended = aiowery_command(*options, env=environment)
        assert ended.returncode == 0, ended.stderr
        (tmp_path / "out" / "0001-a-cat.png").unlink()
        provider.signature, checks = 2, provider.checks
        ended = aiowery_command(*options, *again, env=environment)
        assert ended.returncode == 0, ended.stderr
        assert (provider.posts, provider.checks) == (1, checks + 1)
    assert (tmp_path / "out" / "0001-a-cat.png").read_bytes() == PNG


def test_batch_repeated_keeps_a_page_of_the_user(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A page of the gallery's name that the batch has not written stays, and the gallery gets another name."""
    (tmp_path / "p.txt").write_text("a cat\n")
    assert aiowery_command("batch", "p.txt", "--out", "out").returncode == 0
    (tmp_path / "out" / "gallery.html").write_text("the user's own")
    for _ in range(2):
        ended = aiowery_command("batch", "p.txt", "--out", "out", "--gallery")
        assert ended.returncode == 0, ended.stderr
        assert "out/gallery-2.html" in ended.stdout
    assert (tmp_path / "out" / "gallery.html").read_text() == "the user's own"
    assert len(list((tmp_path / "out").glob("*.html"))) == 2
    assert spent_credits(aiowery_sandbox) == 1


class FailedWithOutputs:
    """A provider whose task has failed, although it made outputs and charged for them; one cannot be fetched."""

    def __init__(self) -> None:
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FailedWithOutputs]:
        """Serve on loopback."""
        async with responding(self.respond) as server:
            self.url = server.url
            yield self

    def respond(self, request: bytes) -> bytes:
        """Return the acceptance of a submission, the status of its task, or a file."""
        target = request.split(b" ", 2)[1].decode()
        if request.startswith(b"POST"):
            return http_response({"status": 0, "message": "success", "data": {"task_ids": ["t1"]}})
        if target.endswith("/status"):
            images = [f"{self.url}/{name}.png" for name in ("1", "gone")]
            task = {"task_id": "t1", "task_status": "FAILED", "images": images, "cost_credits": 2}
            task["msg"] = "half of it is lost"
            return http_response({"status": 0, "message": "success", "data": task})
        if target == "/1.png":
            return http_response(PNG, content_type="image/png")
        return http_response("gone", "404 Not Found")


def test_batch_of_a_failed_task_with_outputs_keeps_them(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """Outputs of a failed task were charged: they are saved, the rest is named by its URL, and so is the reason."""
    (tmp_path / "p.txt").write_text("a cat\n")
    with in_thread(FailedWithOutputs().serving()) as provider:
        environment = {**os.environ, "WERYAI_API_KEY": KEY, "WERYAI_BASE_URL": provider.url}
        environment["AIOWERY_SANDBOX_SPEED"] = "100"
        ended = aiowery_command("batch", "p.txt", "--out", "out", "--no-check", "--yes", env=environment)
        single = aiowery_command("generate", "a dog", "--out", "one", "--no-check", env=environment)
    assert ended.returncode == 1, ended.stderr
    (record,) = manifest()
    assert record["files"] == ["0001-a-cat-1.png"]
    assert (tmp_path / "out" / "0001-a-cat-1.png").read_bytes() == PNG
    assert record["urls"] == [f"{provider.url}/gone.png"]
    assert record["failures"] == ["half of it is lost"]
    assert record["credits"] == 2
    assert (single.returncode, single.stdout) == (1, "one/a-dog-1.png\n")
    assert f"{provider.url}/gone.png" in single.stderr


def test_batch_into_a_directory_in_use_sends_nothing(
    aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """While a batch runs in a directory, another one would mix its pictures and manifests with it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.jsonl").write_text('{"batch": "dogs.txt"}\n')
    lock = FileLock(out / ".aiowery.lock")
    assert lock.acquire()
    ended = aiowery_command("batch", "cats.txt", "--out", "out", "--yes")
    assert ended.returncode == 2
    assert "another batch is running in out; nothing was sent: wait for its end, or choose another" in ended.stderr
    assert (out / "manifest.jsonl").read_text() == '{"batch": "dogs.txt"}\n'
    assert spent_credits(aiowery_sandbox) == 0
    lock.release()
    assert aiowery_command("batch", "cats.txt", "--out", "out", "--yes", "--limit", "1").returncode == 0
    assert not (out / ".aiowery.lock").exists()
    assert cats.exists()


def test_two_processes_of_one_batch_in_one_directory_pay_once(
    aiowery_process: Start, aiowery_command: Command, aiowery_sandbox: Sandbox, cats: Path, tmp_path: Path
) -> None:
    """The second process is refused, and the first one's manifest is complete."""
    first = aiowery_process("batch", str(cats), "--out", "out", "--json", "--in-flight", "1")
    assert first.stdout is not None
    first.stdout.readline()
    second = aiowery_command("batch", str(cats), "--out", "out")
    assert second.returncode == 2
    assert "another batch is running in out" in second.stderr
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 0, errors
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 12
    assert spent_credits(aiowery_sandbox) == 12


def test_batch_of_decomposed_letters_is_the_same_batch(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file from another system may write "ö" as two characters: its prompts are not paid for again."""
    for text in ("zw\u00f6lf M\u00f6wen\n", "zwo\u0308lf Mo\u0308wen\n"):
        (tmp_path / "p.txt").write_text(text, encoding="utf-8")
        ended = aiowery_command("batch", "p.txt", "--out", "out")
        assert ended.returncode == 0, ended.stderr
    assert spent_credits(aiowery_sandbox) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs locales")
def test_batch_in_an_ascii_locale_saves_what_it_paid_for(tmp_path: Path, aiowery_sandbox: Sandbox) -> None:
    """Where the file system's names are ASCII, files get names of ASCII letters, and the prompts stay as they are."""
    prompts = ["zw\u00f6lf M\u00f6wen", "Mo\u0308wen", "\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f3a8 art"]
    (tmp_path / "p.txt").write_text("\n".join(prompts), encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    command = [sys.executable, "-m", "aiowery", "batch", "p.txt", "--out", "out", "--yes", "--gallery"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert spent_credits(aiowery_sandbox) == 4
    records = sorted(read_manifest(tmp_path / "out"), key=lambda record: record["index"])
    assert [record["files"] for record in records] == [
        ["0001-zwolf-mowen.png"], ["0002-mowen.png"], ["0003-file.png"], ["0004-art.png"]
    ]  # fmt: skip
    assert [record["request"]["prompt"] for record in records] == prompts
