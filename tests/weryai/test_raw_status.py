"""Raw statuses: each documented one has its state in any spelling, and each other one counts as running."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.snapshot import TaskState
from aiowery.weryai._decode import is_known_status, to_state
from aiowery.weryai._provider import WeryAIProvider

STATES = {
    "waiting": TaskState.WAITING,
    "pending": TaskState.WAITING,
    "processing": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "success": TaskState.DONE,
    "succeed": TaskState.DONE,
    "succeeded": TaskState.DONE,
    "completed": TaskState.DONE,
    "failed": TaskState.FAILED,
    "fail": TaskState.FAILED,
    "error": TaskState.FAILED,
    "canceled": TaskState.FAILED,
    "cancelled": TaskState.FAILED,
}
spaces = st.text(" \t\r\n\u00a0\u2003", max_size=3)


@pytest.mark.parametrize(("raw_status", "state"), STATES.items())
def test_to_state_documented_status_has_its_state(raw_status: str, state: TaskState) -> None:
    """Each raw status that a source of the contract names is known, as written there and in capitals."""
    for spelling in (raw_status, raw_status.upper(), raw_status.title()):
        assert to_state(spelling) is state
        assert WeryAIProvider().is_known_status(spelling)


@given(
    raw_status=st.sampled_from(sorted(STATES)),
    capitals=st.lists(st.booleans(), min_size=10),
    before=spaces,
    after=spaces,
)
def test_to_state_ignores_case_and_surrounding_space(
    raw_status: str, capitals: list[bool], before: str, after: str
) -> None:
    """Any mixture of capitals, with any space around it, has the same state."""
    spelled = "".join(
        letter.upper() if capital else letter for letter, capital in zip(raw_status, capitals, strict=False)
    )
    spelled = before + spelled + raw_status[len(capitals) :] + after
    assert to_state(spelled) is STATES[raw_status]
    assert is_known_status(spelled)


@given(raw_status=st.text(max_size=12).filter(lambda text: text.strip().casefold() not in STATES))
def test_to_state_unknown_status_is_running(raw_status: str) -> None:
    """An undocumented raw status never ends a task, and `is_known_status` is False."""
    assert to_state(raw_status) is TaskState.RUNNING
    assert not is_known_status(raw_status)


@pytest.mark.parametrize("raw_status", ["success!", "not failed", "un succeeded", "succ eed", "failed_over", ""])
def test_to_state_text_around_known_status_is_unknown(raw_status: str) -> None:
    """A documented status as a part of a text does not end a task."""
    assert to_state(raw_status) is TaskState.RUNNING
    assert not is_known_status(raw_status)
