"""Ctrl-C during a run: the first one drains it, the second ends it, and neither loses paid results."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.conftest import Manifest, Start, outcomes


def _read_accepted(process: Popen[str], number: int) -> dict[int, list[str]]:
    """Read events until this number of items was accepted, and return their task ids by index."""
    assert process.stdout is not None
    ids: dict[int, list[str]] = {}
    while len(ids) < number:
        event = json.loads(process.stdout.readline())
        if event["event"] == "accepted":
            ids[event["index"]] = event["task_ids"]
    return ids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_batch_after_one_signal_finishes_submitted_items(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path, number: signal.Signals
) -> None:
    """Submitted items are finished and saved, no further item is submitted, and every item has one record."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(100)))
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json", "--gallery")
    _read_accepted(process, 3)
    process.send_signal(number)
    events, message = process.communicate(timeout=20)
    assert process.returncode == 130, message
    assert "Ctrl-C again ends the run immediately" in message
    assert "Traceback" not in message
    records = manifest()
    assert sorted(record["index"] for record in records) == list(range(1, 101))
    counts = outcomes(records)
    assert set(counts) == {"done", "not submitted"}
    assert 3 <= counts["done"] <= 24
    assert len(list((tmp_path / "out").glob("*.png"))) == counts["done"]
    assert not (tmp_path / "out" / "under-way.jsonl").exists()
    assert json.loads(events.splitlines()[-1])["exit_code"] == 130


def test_batch_after_two_signals_ends_with_task_ids(aiowery_process: Start, manifest: Manifest, tmp_path: Path) -> None:
    """Jobs that never finish are abandoned, with their task ids in the manifest."""
    (tmp_path / "p.txt").write_text("[[stuck]]\n" * 30)
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json")
    ids = _read_accepted(process, 20)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "again ends" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=5)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    records = {record["index"]: record for record in manifest()}
    assert len(records) == 30
    assert {index: record["task_ids"] for index, record in records.items() if record["outcome"] == "interrupted"} == ids
    assert sum(record["outcome"] == "not submitted" for record in records.values()) == 10


def test_generate_after_two_signals_prints_task_ids(aiowery_process: Start, tmp_path: Path) -> None:
    """After two signals, a single request prints its task ids and leaves no file."""
    process = aiowery_process("generate", "[[stuck]]", "--sandbox", "--speed", "10", "--out", "out", "-v")
    assert process.stderr is not None
    while "accepted" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    while "again ends" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "task ids: task_" in message
    assert not list((tmp_path / "out").iterdir())


def test_batch_after_a_kill_has_its_task_ids_on_disk(aiowery_process: Start, tmp_path: Path) -> None:
    """After `kill -9`, the task ids of accepted items are on disk."""
    (tmp_path / "p.txt").write_text("[[stuck]]\n" * 5)
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json")
    ids = _read_accepted(process, 5)
    process.kill()
    process.communicate(timeout=5)
    lines = (tmp_path / "out" / "under-way.jsonl").read_text().splitlines()
    assert {line["index"]: line["task_ids"] for line in map(json.loads, lines)} == ids
