"""Snapshots: which states end a task, and which changes count as progress."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from aiowery import Asset, ScriptLine, Snapshot, TaskState

SNAPSHOT = Snapshot(
    "t",
    TaskState.RUNNING,
    "PROCESSING",
    (Asset("https://a"),),
    reason="slow",
    credits=1.0,
    raw={"a": 1},
    request_id="req-1",
)


@pytest.mark.parametrize("state", TaskState, ids=lambda state: state.value)
def test_terminal_is_true_only_for_done_and_failed(state: TaskState) -> None:
    """Waiting and running tasks go on."""
    assert state.terminal == (state in {TaskState.DONE, TaskState.FAILED})


@pytest.mark.parametrize(
    "changes",
    [
        {"state": TaskState.WAITING},
        {"raw_status": "processing"},
        {"assets": ()},
        {"reason": None},
        {"text": "la"},
        {"script": (ScriptLine("s", "Hello"),)},
        {"substatus": "text-success"},
    ],
    ids=str,
)
def test_same_progress_as_visible_change_is_false(changes: dict[str, Any]) -> None:
    """State, raw status, step, outputs of all kinds and reason are visible to a reader of updates."""
    assert not attrs.evolve(SNAPSHOT, **changes).same_progress_as(SNAPSHOT)


@pytest.mark.parametrize("changes", [{}, {"credits": 2.0}, {"raw": {}}, {"request_id": None}], ids=str)
def test_same_progress_as_invisible_change_is_true(changes: dict[str, Any]) -> None:
    """The same status under another request id is no progress. The first snapshot always is."""
    assert attrs.evolve(SNAPSHOT, **changes).same_progress_as(SNAPSHOT)
    assert not attrs.evolve(SNAPSHOT, **changes).same_progress_as(None)
