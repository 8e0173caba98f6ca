"""Fixtures that run the command line in this process or in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from aiowery import cli

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
_COMMAND = (sys.executable, "-W", "error::ResourceWarning", "-m", "aiowery")
_WIDE = {"COLUMNS": "200"}


@pytest.fixture
def aiowery_alone(tmp_path: Path) -> Command:
    """Run `aiowery ...` to its end in an empty directory, as a process with a standard input of its own."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"cwd": tmp_path, "env": {**os.environ, **_WIDE}, "timeout": 30, **options}
        return subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, check=False, **options)

    return run


@pytest.fixture
def aiowery_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    may_block: None,  # noqa: ARG001 - it is in force while this fixture is
) -> Command:
    """Run `aiowery ...` to its end in an empty directory, in this process: starting one takes half a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", _WIDE["COLUMNS"])

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        with mock.patch.dict(os.environ, env or {}, clear=env is not None):
            code = cli.run(arguments)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


@pytest.fixture
def aiowery_process(tmp_path: Path) -> Iterator[Start]:
    """Start `aiowery ...` in an empty directory, for tests that signal it; kill leftover processes at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            cwd=tmp_path,
            env={**os.environ, **_WIDE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[], Sequence[dict[str, Any]]]:
    """Read the manifest of the batch in `out`."""

    def read() -> Sequence[dict[str, Any]]:
        lines = (tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read
