"""What is printed: no text from outside controls a terminal, and a broken output ends no work that costs money."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aiowery import cli
from aiowery.cli import terminal
from aiowery.cli.output.progress_bar import BarProgress
from aiowery.cli.output.tables import print_table
from aiowery.cli.records import ItemError, ItemStatus
from tests.cli.conftest import Command, in_thread, make_record, read_manifest
from tests.support import KEY, PNG, http_response, responding

_CLI = Path(terminal.__file__).parent
_HOSTILE = (
    "\x1b]0;title\x07 \x1b[2J \x9b31m \x90q\x9c \r\x08\x7f\x85 \u202e\u2066\u200f\u061c\u206f\u2028 "
    "\x00\x05\x0c\ud83d end"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
_FAST = ("--sandbox", "--speed", "200")


def _printing(tree: ast.AST) -> Iterator[int]:
    """Yield the lines at which a module prints, or takes a stream or a console to print to."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="print" | "input" | "pprint", ctx=ast.Load()) | ast.Call(func=ast.Name(id="Console")):
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="sys"), attr=name) if name.strip("_") in {"stdout", "stderr"}:
                yield node.lineno
            case ast.ImportFrom(module="sys"):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="print" | "print_json" | "print_exc" | "StreamHandler")):
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="os"), attr="write"):
                yield node.lineno


def test_only_the_terminal_module_prints() -> None:
    """Every text goes through the one function that replaces control characters."""
    modules = [path for path in _CLI.rglob("*.py") if path != Path(terminal.__file__)]
    assert len(modules) > 40
    found = {path.relative_to(_CLI).as_posix(): list(_printing(ast.parse(path.read_text("utf-8")))) for path in modules}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source", ["print(1)", "input(1)", "sys.stderr.write(1)", "x = sys.stdout", "console.print(1)", "Console()",
               "os.write(1, b'')", "from sys import stdout", "traceback.print_exc()", "sys.__stderr__"],
)  # fmt: skip
def test_printing_is_found(source: str) -> None:
    """The test above finds each way to print."""
    assert list(_printing(ast.parse(source)))


def _print_all(text: str) -> None:
    terminal.print_text(text, text)
    terminal.print_summary(text)
    terminal.print_notice(text)
    terminal.print_message(text)
    terminal.print_prose(text)
    terminal.print_event({text: text})
    terminal.print_json([{text: [text]}])
    terminal.print_result(text)
    terminal.StandardOutput().write(text)
    print_table((text, "b"), [(text, text)], title=text)
    progress = BarProgress(terminal.bar_console(), with_prompts=True)
    progress.write(text)
    progress.show_record(make_record(1, text, status=ItemStatus.FAILED, problem=ItemError(kind="X", message=text)))


def test_printed_texts_hold_no_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, C1 controls, bells and changes of direction are replaced wherever they are printed."""
    terminal.prepare_streams()
    _print_all(_HOSTILE)
    out, err = capfd.readouterr()
    assert out.count("end") >= 9
    assert err.count("end") >= 3
    assert _CONTROLS.findall(out + err) == []


def test_bar_on_a_terminal_prints_no_control_characters_of_others() -> None:
    """Only rich's own sequences reach the terminal beside the text."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    progress = BarProgress(console, with_prompts=True)
    progress.start(2)
    progress.show_record(
        make_record(1, _HOSTILE, status=ItemStatus.FAILED, problem=ItemError(kind="X", message=_HOSTILE))
    )
    progress.stop()
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "end" in own
    assert _CONTROLS.findall(own.replace("\r", "")) == []


def test_printed_json_is_complete_for_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    """JSON escapes what a terminal would obey, so that a program reads the text unchanged."""
    terminal.print_json([{"text": _HOSTILE}])
    terminal.print_event({"text": _HOSTILE})
    for line in capfd.readouterr().out.splitlines():
        assert json.loads(line) == {"text": _HOSTILE}


@contextlib.asynccontextmanager
async def _hostile_provider() -> AsyncIterator[str]:
    """Run a provider whose texts are all hostile; yield its URL."""
    hostile = _HOSTILE.replace("\ud83d", "")

    def respond(request: bytes) -> bytes:  # noqa: PLR0911 - one for each kind of response
        target = request.split(b" ", 2)[1].decode()
        if target.endswith(".png"):
            return http_response(PNG, content_type="image/png")
        if "balance" in target:
            return http_response({"status": 1002, "message": hostile, "data": None})
        if request.startswith(b"POST") and "chat" in target:
            choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": hostile}}
            return http_response({"id": "1", "choices": [choice], "usage": {}})
        if request.startswith(b"POST"):
            if b"refuse" in request:
                return http_response({"status": 1006, "message": hostile, "data": None})
            return http_response({"status": 0, "message": "ok", "data": {"task_ids": ["t1"]}})
        if target.endswith("/status"):
            task = {"task_id": "t1", "task_status": "FAILED", "images": [], "msg": hostile}
            if "/batch/" in target:
                task = {"task_id": f"t1\nforged {hostile}", "task_status": "SUCCESS", "images": [_FORGING_URL]}
            return http_response({"status": 0, "message": hostile, "data": task})
        if "speakers" in target:
            speakers = [{"speaker_id": hostile, "name": hostile, "gender": hostile, "language": "en"}]
            return http_response({"status": 0, "message": "ok", "data": {"speakers": speakers}})
        models = {"text_to_image": [{"model_key": hostile, "title": hostile, "aspect_ratios": [hostile]}]}
        return http_response({"status": 0, "message": "ok", "data": models})

    async with responding(respond) as server:
        yield server.url


_FORGING_URL = "https://x.example/1.png\nforged \x1b[2J"


@pytest.fixture(scope="module")
def hostile_url() -> Iterator[str]:
    """Run such a provider for commands."""
    with in_thread(_hostile_provider()) as url:
        yield url


@pytest.mark.parametrize(
    "arguments",
    [
        ("balance",), ("status", "t1"), ("batch-status", "1"), ("models", "--kind", "image"),
        ("models", "--kind", "image", "--json"),
        ("speakers",), ("speakers", "--json"), ("chat", "hi"), ("generate", f"a {_HOSTILE[:5]} cat", "--out", "out"),
        ("generate", "refuse", "--out", "out", "--no-check"), ("run", "text-to-image", "--set", "prompt=a"),
        ("run", "text-to-image", "--set", "prompt=refuse", "-vv"), ("run", f"no{_HOSTILE[:8]}"),
        ("run", "text-to-image", "--set", f"x{_HOSTILE[:8]}=1"), (f"no{_HOSTILE[:8]}",),
        ("batch", "p.jsonl", "--out", "out", "--yes"), ("batch", "p.jsonl", "--out", "out", "--json", "--yes"),
        ("batch", "p.jsonl", "--out", "out", "--strict"), ("batch", "p.jsonl", "--out", "out", "--dry-run"),
        ("batch", f"{_HOSTILE[:8]}.txt", "--out", "out"), ("batch", "p.txt", "--out", "o\x1b[2J"),
        ("balance", f"--{_HOSTILE[:8]}"), ("balance", _HOSTILE[:8]), ("upload", _HOSTILE[:8]),
    ],
)  # fmt: skip
def test_commands_against_a_hostile_provider_print_no_control_characters(
    aiowery_command: Command, hostile_url: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Texts of the provider, of prompt files and of arguments reach the terminal without control characters."""
    prompts = [{"prompt": "a \x1b[2Jcat \u202e"}, {"prompt": "refuse \x9b"}, {"prompt": "b", "note.x\x1b": "\x1b[2J"}]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(prompt)}\n" for prompt in (*prompts, {"aspect\x1b": 1})))
    (tmp_path / "p.txt").write_text("a \x1b]0;x\x07 cat\nrefuse \x9b2J \u202e\n", encoding="utf-8")
    environment = {**os.environ, "WERYAI_API_KEY": KEY, "WERYAI_BASE_URL": hostile_url}
    environment |= {"WERYAI_MODELS_BASE_URL": hostile_url, "AIOWERY_SANDBOX_SPEED": "100"}
    ended = aiowery_command(*arguments, env=environment)
    assert ended.stdout + ended.stderr
    assert _CONTROLS.findall(ended.stdout + ended.stderr) == []
    assert "Traceback" not in ended.stderr


def test_batch_status_of_a_hostile_provider_forges_no_line(aiowery_command: Command, hostile_url: str) -> None:
    """An id and a URL with line breaks are one line each."""
    environment = {**os.environ, "WERYAI_API_KEY": KEY, "WERYAI_BASE_URL": hostile_url}
    printed = aiowery_command("batch-status", "1", env=environment).stdout.splitlines()
    assert [line[:8] for line in printed] == ["t1 forge", "https://"]


def test_ledger_commands_of_a_hostile_batch_print_no_control_characters(
    aiowery_command: Command, hostile_url: str, tmp_path: Path
) -> None:
    """What the ledger holds of prompts and answers is as harmless as when it arrived."""
    (tmp_path / "p.txt").write_text("a \x1b]0;x\x07 cat\nrefuse \x9b2J \u202e\n", encoding="utf-8")
    environment = {**os.environ, "WERYAI_API_KEY": KEY, "WERYAI_BASE_URL": hostile_url, "AIOWERY_SANDBOX_SPEED": "100"}
    command = ("batch", "p.txt", "--out", "out", "--no-check", "--batch", "b\x1b[2J", "--yes")
    assert aiowery_command(*command, env=environment).returncode == 1
    for arguments in (
        ("list",), ("list", "--json"), ("show", "1"), ("show", "1", "--json"), ("show", "2"), ("export",),
        ("export", "--format", "csv"), ("list", "--batch", "x\x1b[2J"),
    ):  # fmt: skip
        ended = aiowery_command("ledger", *arguments, "--ledger", "out")
        assert ended.stdout + ended.stderr
        assert _CONTROLS.findall(ended.stdout + ended.stderr) == [], arguments


def test_unexpected_errors_and_warnings_are_printed_without_control_characters(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracebacks, and warnings outside a run, go through the same function."""

    def fail(*_: object, **_more: object) -> int:
        logging.getLogger("aiowery").warning("warned %s", _HOSTILE)
        raise ZeroDivisionError(_HOSTILE)

    monkeypatch.setattr("aiowery.cli.ledger.commands.open_reader", fail)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert cli.run(["ledger", "list"]) == 1
    err = capfd.readouterr().err
    assert "warned" in err
    assert "ZeroDivisionError" in err
    assert err.endswith("aiowery: this is a fault of aiowery; please report it\n")
    assert _CONTROLS.findall(err) == []


class _Broken(io.StringIO):
    """A stream that fails in this way."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self._fault = fault

    def write(self, _text: str, /) -> int:
        raise self._fault


_FAULTS = [BrokenPipeError(), OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left"),
           ValueError("I/O operation on closed file"), None]  # fmt: skip


@pytest.mark.parametrize("fault", _FAULTS, ids=repr)
def test_notices_to_a_broken_stream_fail_in_silence(fault: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is gone, a full disk and a closed stream end nothing. Only a result that is lost is an error."""
    broken = None if fault is None else _Broken(fault)
    monkeypatch.setattr(sys, "stdout", broken)
    monkeypatch.setattr(sys, "stderr", broken)
    terminal.print_notice("hello")
    terminal.print_summary("hello")
    terminal.print_event({"a": 1})
    BarProgress(terminal.bar_console()).write("hello")
    prints: tuple[Callable[[], object], ...] = (
        lambda: terminal.print_text("hello"),
        lambda: terminal.print_json([1]),
        lambda: terminal.print_result("hello"),
        lambda: print_table(("a",), [("b",)]),
        lambda: terminal.StandardOutput().write("hello"),
    )
    for print_something in prints:
        with pytest.raises(terminal.OutputError, match="cannot write to standard output"):
            print_something()


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_standard_input_that_is_closed_is_an_os_error(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it is an error with a reason, and no user can be asked."""
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(OSError, match="closed"):
        terminal.read_bytes()
    assert not terminal.is_interactive()
    assert not terminal.request_consent("Send them?")


def _aiowery(directory: Path, *arguments: str, shell: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a process with streams of its own; `shell` redirects them as a shell does."""
    command: list[str] = [sys.executable, "-m", "aiowery", *arguments]
    if shell:
        command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.run(command, cwd=directory, text=True, timeout=20, check=False, **options)


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@needs_full
@pytest.mark.parametrize(
    ("options", "shell"),
    [
        (("--json",), ">/dev/full"),
        (("-vv",), ">/dev/full 2>/dev/full"),
        ((), ">&- 2>&- <&-"),
        (("--json", "--gallery"), "| true"),
    ],
)
def test_batch_with_a_broken_output_does_all_its_work(tmp_path: Path, options: tuple[str, ...], shell: str) -> None:
    """Records, files and the exit code are those of the work, and nothing hangs or prints a traceback."""
    (tmp_path / "p.txt").write_text("a cat\na dog\na fox\n")
    if shell == "| true":
        command = " ".join([sys.executable, "-m", "aiowery", "batch", "p.txt", *_FAST, "--out", "out", *options])
        script = f"{{ {command}; echo $? >code; }} | true"
        process = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, text=True, timeout=20, check=False, stderr=-1)
        code = int((tmp_path / "code").read_text())
    else:
        process = _aiowery(
            tmp_path, "batch", "p.txt", *_FAST, "--out", "out", *options, shell=shell, stderr=-1, stdout=-1
        )
        code = process.returncode
    assert code == 0, process.stderr
    assert "Traceback" not in (process.stderr or "")
    assert [record["outcome"] for record in read_manifest(tmp_path / "out")] == ["done"] * 3
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@needs_full
@pytest.mark.parametrize(
    ("arguments", "shell", "kept"),
    [
        (("run", "text-to-image", "--set", "prompt=a", *_FAST), ">/dev/full", "/"),
        (("chat", "good day", "--sandbox"), ">&-", "good day"),
        (("run", "--list"), ">/dev/full", ""),
    ],
)
def test_results_that_cannot_be_printed_exit_with_1(
    tmp_path: Path, arguments: tuple[str, ...], shell: str, kept: str
) -> None:
    """One sentence says so, and what was paid for is printed on standard error instead."""
    ended = _aiowery(tmp_path, *arguments, shell=shell, stderr=-1)
    assert ended.returncode == 1
    *others, last = ended.stderr.splitlines()
    assert last.startswith("aiowery: cannot write to standard output: ")
    assert "Traceback" not in ended.stderr
    assert kept in "\n".join(others)


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_batch_whose_terminal_is_gone_finishes(tmp_path: Path) -> None:
    """When the terminal closes, each write to it fails. The batch saves what it was asked for."""
    (tmp_path / "p.txt").write_text("".join(f"cat {number}\n" for number in range(12)))
    controller, screen = pty.openpty()
    command = [sys.executable, "-m", "aiowery", "batch", "p.txt", "--sandbox", "--speed", "20", "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=screen, stdout=screen, stderr=screen)
    os.close(screen)
    shown = b""
    while b"queued" not in shown:
        shown += os.read(controller, 1000)
    os.close(controller)
    assert process.wait(20) == 0
    assert [record["outcome"] for record in read_manifest(tmp_path / "out")] == ["done"] * 12


def test_json_on_an_ascii_output_is_escaped(aiowery_alone: Command) -> None:
    """A program reads the text unchanged from an output that can encode ASCII only."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    prompt = json.dumps({"prompt": "zwölf Möwen"})
    ended = aiowery_alone("batch", "-", *_FAST, "--out", "out", "--json", input=prompt, env=environment)
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["request"]["prompt"] for event in events if event["event"] == "ended"] == ["zwölf Möwen"]
