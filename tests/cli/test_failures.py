"""Failures before and during a run: one clear message, the right exit code, and no paid result is lost."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from aiowery.sandbox import Sandbox
from tests.cli.conftest import Command, Manifest

_FAST = ("--sandbox", "--speed", "200", "--out", "out")
_MAX_FILE_SIZE = 14_000  # bytes: less than any picture, more than the manifest


def _assert_refused(ended: CompletedProcess[str], *messages: str) -> None:
    """Assert exit code 2, these messages on standard error, and nothing on standard output."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("aiowery: ")
    for message in messages:
        assert message in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
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
    aiowery_command: Command, tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    """A file that is not a prompt file is named, and no output directory is created."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    _assert_refused(aiowery_command("batch", name, *_FAST), name, message)
    assert not (tmp_path / "out").exists()


def test_batch_with_a_missing_file_names_it(aiowery_command: Command) -> None:
    """For a missing prompt file, the command names it and exits with 2."""
    _assert_refused(aiowery_command("batch", "nowhere.txt", *_FAST), "cannot read nowhere.txt: No such file")


def test_batch_with_a_broken_line_runs_the_other_lines(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """A wrong line fails as one item, reported with its line number, and the exit code is 1."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n{"prompt": "b"}\n')
    ended = aiowery_command("batch", "p.jsonl", *_FAST)
    assert ended.returncode == 1
    assert "failed: line 2: is not JSON" in ended.stderr
    results = {record["line"]: (record["outcome"], len(record["files"])) for record in manifest()}
    assert results == {1: ("done", 1), 2: ("failed", 0), 3: ("done", 1)}


def test_strict_with_a_broken_line_sends_nothing(aiowery_command: Command, tmp_path: Path) -> None:
    """With --strict, every wrong line is reported before anything is sent."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n[]\n')
    _assert_refused(aiowery_command("batch", "p.jsonl", *_FAST, "--strict"), "nothing was sent", "line 2:", "line 3:")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "options", "message"),
    [
        ('{"type": "generate-image", "prompt": "a"}', (), "generate-image"),
        ('{"prompt": "a", "steps": 10}', ("--provider", "betterwaifu"), "steps"),
        ('{"prompt": "a", "model": "noobai-xl"}', ("--provider", "betterwaifu", "--edition", "jobs"), "model"),
    ],
    ids=["another provider", "a limit of the edition", "a model of another edition"],
)
def test_strict_with_a_request_that_the_provider_refuses_sends_nothing(
    aiowery_command: Command, tmp_path: Path, line: str, options: Sequence[str], message: str
) -> None:
    """What the provider would refuse before sending is found with --strict, so that the other lines stay unsent too."""
    (tmp_path / "p.jsonl").write_text(f"{line}\n")
    ended = aiowery_command("batch", "p.jsonl", *_FAST, "--strict", *options)
    _assert_refused(ended, "nothing was sent, because of --strict", "line 1:", message)


@pytest.mark.parametrize("command", [("batch", "p.txt"), ("generate", "a cat")])
def test_commands_with_an_unwritable_out_send_nothing(
    aiowery_command: Command, tmp_path: Path, command: Sequence[str]
) -> None:
    """If a file has the name of the output directory, the command is refused before anything is charged."""
    (tmp_path / "p.txt").write_text("a\n")
    (tmp_path / "out").write_text("a file")
    _assert_refused(aiowery_command(*command, *_FAST), "cannot write to out", "--out")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind the user root")
def test_batch_with_a_read_only_out_sends_nothing(aiowery_command: Command, tmp_path: Path) -> None:
    """A directory without write permission is refused before anything is charged."""
    (tmp_path / "p.txt").write_text("a\n")
    (tmp_path / "out").mkdir(mode=0o500)
    _assert_refused(aiowery_command("batch", "p.txt", *_FAST), "cannot write to out: Permission denied")


@pytest.mark.parametrize("command", [("batch", "p.txt"), ("generate", "a cat")])
def test_commands_without_a_key_name_the_remedies(
    aiowery_command: Command, tmp_path: Path, command: Sequence[str]
) -> None:
    """Without a key, the message names the environment variable and --sandbox."""
    (tmp_path / "p.txt").write_text("a\n")
    _assert_refused(aiowery_command(*command, "--out", "out"), "WERYAI_API_KEY", "--sandbox")


@pytest.mark.parametrize(
    ("path", "message"), [("~nosuchuser/a.png", "cannot read"), ("a\\u0000b.png", "image_url holds a NUL character")]
)
def test_strict_with_an_impossible_path_names_its_line(
    aiowery_command: Command, tmp_path: Path, path: str, message: str
) -> None:
    """A path that no system can have is a fault of its line, and the message names the line."""
    (tmp_path / "p.jsonl").write_text(f'{{"type": "image-upscale", "image_url": "{path}"}}\n')
    ended = aiowery_command("batch", "p.jsonl", *_FAST, "--strict", "--no-check")
    _assert_refused(ended, "nothing was sent, because of --strict", f"line 1: {message}")


def test_batch_with_an_unencrypted_host_sends_nothing(
    aiowery_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The key is not sent unencrypted, and no file stays in the output directory."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-secret")
    monkeypatch.setenv("WERYAI_BASE_URL", "http://example.com")
    (tmp_path / "p.txt").write_text("a\n")
    _assert_refused(aiowery_command("batch", "p.txt", "--out", "out"), "http://example.com")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--speed", "2"), "--speed works with --sandbox only"),
        (("--sandbox", "--speed", "0"), "--speed must be above 0"),
        (("--sandbox", "--speed", "-3"), "--speed must be above 0"),
        (("--sandbox", "--speed", "nan"), "--speed must be above 0"),
    ],
)
def test_generate_with_an_invalid_speed_exits_with_2(
    aiowery_command: Command, options: Sequence[str], message: str
) -> None:
    """Only a sandbox can run faster than real time, and a speed must be positive."""
    _assert_refused(aiowery_command("generate", "a cat", "--out", "out", *options), message)


def test_generate_with_an_invalid_request_exits_with_2(aiowery_command: Command) -> None:
    """A request that violates the contract is refused before anything is sent."""
    _assert_refused(aiowery_command("generate", "x" * 2001, *_FAST), "aiowery: text-to-image: prompt must have", "2000")


def test_batch_with_a_wrong_key_stops_submitting(
    aiowery_command: Command,
    manifest: Manifest,
    aiowery_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """After the first refusal of the key nothing more is sent. Every item has its record and cost nothing."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-wrong")
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(100)))
    ended = aiowery_command("batch", "p.txt", "--out", "out")
    assert ended.returncode == 2, ended.stderr
    assert "the provider refused the key" in ended.stderr
    assert "sk-wrong" not in ended.stdout + ended.stderr
    assert "100 were not submitted" in ended.stdout
    assert [record["outcome"] for record in manifest()] == ["not submitted"] * 100
    assert aiowery_sandbox.weryai.counters.posts <= 8


def test_generate_with_a_wrong_key_exits_with_2(
    aiowery_command: Command, aiowery_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused key is a configuration error: the exit code is 2, and nothing is charged."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-wrong")
    for command in (("generate", "a cat", "--out", "out"), ("balance",)):
        ended = aiowery_command(*command)
        assert ended.returncode == 2
        assert "check the key" in ended.stderr
    assert aiowery_sandbox.weryai.charged == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on file sizes that raises")
def test_batch_on_a_full_disk_keeps_urls_and_ids(aiowery_alone: Command, manifest: Manifest, tmp_path: Path) -> None:
    """If pictures cannot be saved, submitting stops, and the manifest holds their URLs and task ids."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(6)))

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_SIZE, _MAX_FILE_SIZE))

    ended = aiowery_alone("batch", "p.txt", *_FAST, "--in-flight", "1", preexec_fn=limit_file_size)
    assert ended.returncode == 1, ended.stderr
    assert "Nothing more is submitted: nothing can be saved in out: File too large" in ended.stderr
    records = manifest()
    assert sorted(record["index"] for record in records) == list(range(1, 7))
    unsaved = [record for record in records if record["outcome"] == "failed"]
    assert unsaved
    for record in unsaved:
        assert record["task_ids"]
        assert record["urls"]
        assert record["error"]["class"] == "DownloadError"
    assert {record["outcome"] for record in records} == {"failed", "not submitted"}
    assert not list((tmp_path / "out").glob(".*.part"))
