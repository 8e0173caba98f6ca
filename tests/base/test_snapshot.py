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
def test_only_done_and_failed_end_a_task(state: TaskState) -> None:
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
def test_a_change_that_shows_is_news(changes: dict[str, Any]) -> None:
    """State, word, step, outputs of all sorts and reason are what a watcher sees."""
    assert not attrs.evolve(SNAPSHOT, **changes).same_progress_as(SNAPSHOT)


@pytest.mark.parametrize("changes", [{}, {"credits": 2.0}, {"raw": {}}, {"request_id": None}], ids=str)
def test_a_change_that_does_not_show_is_no_news(changes: dict[str, Any]) -> None:
    """The same look again, under another request id, tells nothing new; the first look always does."""
    assert attrs.evolve(SNAPSHOT, **changes).same_progress_as(SNAPSHOT)
    assert not attrs.evolve(SNAPSHOT, **changes).same_progress_as(None)
