"""Failures before, during and after a run: one clear message, the right exit code, no paid result lost."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from aiowery.sandbox import Sandbox

Command = Callable[..., CompletedProcess[str]]
Manifest = Callable[[], Sequence[dict[str, Any]]]

_FAST = ("--sandbox", "--speed", "200", "--out", "out")
_ROOM = 14_000  # bytes a file may have: less than any picture, more than the manifest


def _refused(ended: CompletedProcess[str], *words: str) -> None:
    """Assert exit code 2, one message of aiowery on standard error, nothing on standard output."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("aiowery: ")
    for word in words:
        assert word in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", "", "holds no prompts"),
        ("blank.txt", "\n  \n", "holds no prompts"),
        ("heading.csv", "prompt,mood\n", "holds no prompts"),
        ("wrong.tsv", "title\tmood\na\tb\n", "no column is named prompt"),
        ("latin.txt", b"caf\xe9\n", "not UTF-8 (line 1)"),
        ("list.docx", "a\n", "is of an unknown kind"),
    ],
)
def test_batch_with_an_invalid_file_exits_with_2(
    aiowery_command: Command, tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    """A file that cannot be meant is named, and no directory is made for it."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    _refused(aiowery_command("batch", name, *_FAST), name, words)
    assert not (tmp_path / "out").exists()


def test_batch_with_a_missing_file_names_it(aiowery_command: Command) -> None:
    """A file that is not there ends the command at once."""
    _refused(aiowery_command("batch", "nowhere.txt", *_FAST), "cannot read nowhere.txt: No such file")


def test_batch_with_a_broken_line_runs_the_other_lines(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """One bad line costs one item, under its number, and exit code 1."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n{"prompt": "b"}\n')
    ended = aiowery_command("batch", "p.jsonl", *_FAST)
    assert ended.returncode == 1
    assert "failed: line 2: is not JSON" in ended.stderr
    outcomes = {line["line"]: (line["outcome"], len(line["files"])) for line in manifest()}
    assert outcomes == {1: ("done", 1), 2: ("failed", 0), 3: ("done", 1)}


def test_strict_with_a_broken_line_sends_nothing(aiowery_command: Command, tmp_path: Path) -> None:
    """With --strict a bad line is found before anything is sent, and every one is named."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n[]\n')
    _refused(aiowery_command("batch", "p.jsonl", *_FAST, "--strict"), "nothing was sent", "line 2:", "line 3:")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("batch", "p.txt"), ("generate", "a cat")])
def test_commands_with_an_unwritable_out_send_nothing(
    aiowery_command: Command, tmp_path: Path, command: Sequence[str]
) -> None:
    """A file in the place of the output directory is detected before anything is charged."""
    (tmp_path / "p.txt").write_text("a\n")
    (tmp_path / "out").write_text("in the way")
    _refused(aiowery_command(*command, *_FAST), "cannot write to out", "--out")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
def test_batch_with_a_read_only_out_sends_nothing(aiowery_command: Command, tmp_path: Path) -> None:
    """A directory without the right to write in is found before anything costs money."""
    (tmp_path / "p.txt").write_text("a\n")
    (tmp_path / "out").mkdir(mode=0o500)
    _refused(aiowery_command("batch", "p.txt", *_FAST), "cannot write to out: Permission denied")


@pytest.mark.parametrize("command", [("batch", "p.txt"), ("generate", "a cat")])
def test_commands_without_a_key_name_the_remedies(
    aiowery_command: Command, tmp_path: Path, command: Sequence[str]
) -> None:
    """Without a key, the message names the environment variable and --sandbox."""
    (tmp_path / "p.txt").write_text("a\n")
    _refused(aiowery_command(*command, "--out", "out"), "WERYAI_API_KEY", "--sandbox")


@pytest.mark.parametrize("path", ["~nosuchuser/a.png", "a\\u0000b.png"])
def test_strict_with_an_impossible_path_names_its_line(aiowery_command: Command, tmp_path: Path, path: str) -> None:
    """A line with a path that no system can have is a line that is wrong, not the end of the batch."""
    (tmp_path / "p.jsonl").write_text(f'{{"type": "image-upscale", "image_url": "{path}"}}\n')
    ended = aiowery_command("batch", "p.jsonl", *_FAST, "--strict", "--no-check")
    _refused(ended, "nothing was sent, because of --strict", "line 1: cannot read")


def test_batch_with_an_unencrypted_host_sends_nothing(
    aiowery_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key is not sent in the clear; nothing is left behind."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-secret")
    monkeypatch.setenv("WERYAI_BASE_URL", "http://example.com")
    (tmp_path / "p.txt").write_text("a\n")
    _refused(aiowery_command("batch", "p.txt", "--out", "out"), "http://example.com")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--speed", "2"), "--speed works with --sandbox only"),
        (("--sandbox", "--speed", "0"), "--speed must be above 0"),
        (("--sandbox", "--speed", "-3"), "--speed must be above 0"),
        (("--sandbox", "--speed", "nan"), "--speed must be above 0"),
    ],
)
def test_generate_with_an_invalid_speed_exits_with_2(
    aiowery_command: Command, options: Sequence[str], words: str
) -> None:
    """The real service cannot be sped up, and time goes forward."""
    _refused(aiowery_command("generate", "a cat", "--out", "out", *options), words)


def test_generate_with_an_invalid_request_exits_with_2(aiowery_command: Command) -> None:
    """A request that violates the contract is refused before anything is sent."""
    _refused(aiowery_command("generate", "x" * 2001, *_FAST), "TextToImage.prompt", "2000")


def test_batch_with_a_wrong_key_stops_submitting(
    aiowery_command: Command,
    manifest: Manifest,
    aiowery_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """After the first refusal of the key nothing more is sent; every item has its line and cost nothing."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-wrong")
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(100)))
    ended = aiowery_command("batch", "p.txt", "--out", "out")
    assert ended.returncode == 2, ended.stderr
    assert "the provider refused the key" in ended.stderr
    assert "sk-wrong" not in ended.stdout + ended.stderr
    assert "100 were not submitted" in ended.stdout
    assert [line["outcome"] for line in manifest()] == ["not submitted"] * 100
    assert aiowery_sandbox.weryai.counters.posts <= 8


def test_generate_with_a_wrong_key_exits_with_2(
    aiowery_command: Command, aiowery_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key is wrong configuration."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-wrong")
    for command in (("generate", "a cat", "--out", "out"), ("balance",)):
        ended = aiowery_command(*command)
        assert ended.returncode == 2
        assert "check the key" in ended.stderr
    assert aiowery_sandbox.weryai.charged == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on file sizes that raises")
def test_batch_on_a_full_disk_keeps_urls_and_ids(aiowery_alone: Command, manifest: Manifest, tmp_path: Path) -> None:
    """When pictures cannot be saved, submitting stops and the manifest keeps where they are."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(6)))

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (_ROOM, _ROOM))

    ended = aiowery_alone("batch", "p.txt", *_FAST, "--in-flight", "1", preexec_fn=small_files)
    assert ended.returncode == 1, ended.stderr
    assert "Nothing more is submitted: nothing can be saved in out: File too large" in ended.stderr
    lines = manifest()
    assert sorted(line["index"] for line in lines) == list(range(1, 7))
    unsaved = [line for line in lines if line["outcome"] == "failed"]
    assert unsaved
    for line in unsaved:
        assert line["task_ids"]
        assert line["urls"]
        assert line["error"]["class"] == "DownloadError"
    assert {line["outcome"] for line in lines} == {"failed", "not submitted"}
    assert not list((tmp_path / "out").glob(".*.part"))
