"""Ctrl-C during a run: the first one drains, the second leaves, and neither loses paid results."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

Start = Callable[..., Popen[str]]
Manifest = Callable[[], Sequence[dict[str, Any]]]


def _accepted(process: Popen[str], number: int) -> dict[int, list[str]]:
    """Read events until so many items were accepted; return their ids."""
    assert process.stdout is not None
    ids: dict[int, list[str]] = {}
    while len(ids) < number:
        event = json.loads(process.stdout.readline())
        if event["event"] == "accepted":
            ids[event["index"]] = event["task_ids"]
    return ids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_batch_after_one_signal_finishes_submitted_items(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path, number: signal.Signals
) -> None:
    """Submitted items are finished and saved, others are not submitted, and every item has one line."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {number}\n" for number in range(100)))
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json", "--gallery")
    _accepted(process, 3)
    process.send_signal(number)
    events, message = process.communicate(timeout=20)
    assert process.returncode == 130, message
    assert "Ctrl-C again leaves at once" in message
    assert "Traceback" not in message
    lines = manifest()
    assert sorted(line["index"] for line in lines) == list(range(1, 101))
    outcomes = Counter(line["outcome"] for line in lines)
    assert set(outcomes) == {"done", "not submitted"}
    assert 3 <= outcomes["done"] <= 24
    assert len(list((tmp_path / "out").glob("*.png"))) == outcomes["done"]
    assert not (tmp_path / "out" / "under-way.jsonl").exists()
    assert json.loads(events.splitlines()[-1])["exit_code"] == 130


def test_batch_after_two_signals_leaves_with_task_ids(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path
) -> None:
    """Jobs that never finish are abandoned, with their task ids in the manifest."""
    (tmp_path / "p.txt").write_text("[[stuck]]\n" * 30)
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json")
    ids = _accepted(process, 20)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "again leaves" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=5)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    lines = {line["index"]: line for line in manifest()}
    assert len(lines) == 30
    assert {index: line["task_ids"] for index, line in lines.items() if line["outcome"] == "interrupted"} == ids
    assert sum(line["outcome"] == "not submitted" for line in lines.values()) == 10


def test_generate_after_two_signals_prints_task_ids(aiowery_process: Start, tmp_path: Path) -> None:
    """A single request leaves its task ids on the screen."""
    process = aiowery_process("generate", "[[stuck]]", "--sandbox", "--speed", "10", "--out", "out", "-v")
    assert process.stderr is not None
    while "accepted" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    while "again leaves" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "task ids: task_" in message
    assert not list((tmp_path / "out").iterdir())


def test_batch_after_a_kill_has_its_task_ids_on_disk(aiowery_process: Start, tmp_path: Path) -> None:
    """Even after kill -9, the task ids of accepted items are on disk."""
    (tmp_path / "p.txt").write_text("[[stuck]]\n" * 5)
    process = aiowery_process("batch", "p.txt", "--sandbox", "--speed", "10", "--out", "out", "--json")
    ids = _accepted(process, 5)
    process.kill()
    process.communicate(timeout=5)
    lines = (tmp_path / "out" / "under-way.jsonl").read_text().splitlines()
    assert {line["index"]: line["task_ids"] for line in map(json.loads, lines)} == ids
