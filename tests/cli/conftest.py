"""Fixtures that run commands, in this process or in a process of its own, and helpers for their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest

from aiowery import Client, cli
from aiowery.cli.output.progress import PlainProgress
from aiowery.cli.records import ItemStatus, Record
from aiowery.cli.run.job_source import JobSource
from aiowery.cli.run.manifest import ManifestWriter, NoManifest
from aiowery.cli.run.runner import ItemRunner
from aiowery.ledger import SqliteLedger
from aiowery.sandbox import Sandbox

T = TypeVar("T")
Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Manifest = Callable[[], Sequence[dict[str, Any]]]

_COMMAND = (sys.executable, "-W", "error::ResourceWarning", "-m", "aiowery")
_WIDE = {"COLUMNS": "200"}


@contextlib.contextmanager
def in_thread(server: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Run a server in a thread of its own, because a command blocks the thread of its test."""
    loop = asyncio.new_event_loop()
    started: list[T] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server as value:
            started.append(value)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


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
    """Run `aiowery ...` to its end in an empty directory, in this process, because a new one takes half a second."""
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
    """Start `aiowery ...` in an empty directory, for tests that signal it. Leftover processes are killed at the end."""
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
def manifest(tmp_path: Path) -> Manifest:
    """Read the manifest of the batch in `out`."""
    return lambda: read_manifest(tmp_path / "out")


def read_manifest(out: Path) -> Sequence[dict[str, Any]]:
    """Return the records in the manifest of an output directory."""
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def outcomes(records: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count the records of a manifest by outcome."""
    return Counter(record["outcome"] for record in records)


def spent_credits(sandbox: Sandbox) -> int:
    """Return the number of credits that the sandbox has charged and not refunded."""
    return 10_000 - sandbox.weryai.credits


def make_record(index: int = 1, prompt: str = "a cat", **fields: Any) -> Record:
    """Return the record of a finished item that is done, unless `fields` state otherwise."""
    request = {"type": "text-to-image", "prompt": prompt, "model": "M", "aspect_ratio": "16:9"}
    defaults: dict[str, Any] = {"line": index, "request": request, "other_columns": {}, "status": ItemStatus.DONE}
    return Record(index=index, prompt=prompt, **{**defaults, **fields})


def make_runner(
    client: Client, out: Path | None, job_source: JobSource, manifest: ManifestWriter | None = None
) -> ItemRunner:
    """Return a runner that names files by the index of their item, and writes progress as plain lines."""
    return ItemRunner(
        client,
        out,
        stem=lambda item: f"{item.index:04}",
        manifest=manifest or NoManifest(),
        progress=PlainProgress(),
        job_source=job_source,
    )


@contextlib.asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    """Open the ledger in a file, and close it at the end."""
    ledger = SqliteLedger(path)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()
