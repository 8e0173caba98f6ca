"""Status words: every documented one has its meaning in any spelling, every other one means "still running"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.snapshot import TaskState
from aiowery.weryai._decode import is_known_status, to_state
from aiowery.weryai._provider import WeryAIProvider

WORDS = {
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


@pytest.mark.parametrize(("word", "state"), WORDS.items())
def test_a_documented_word_has_its_meaning(word: str, state: TaskState) -> None:
    """Every word that any source of the contract names, as written there and in capitals."""
    for spelling in (word, word.upper(), word.title()):
        assert to_state(spelling) is state
        assert WeryAIProvider().is_known_status(spelling)


@given(word=st.sampled_from(sorted(WORDS)), capitals=st.lists(st.booleans(), min_size=10), before=spaces, after=spaces)
def test_case_and_surrounding_space_do_not_matter(word: str, capitals: list[bool], before: str, after: str) -> None:
    """Any mixture of capitals, with any space around it, means the same."""
    spelled = "".join(letter.upper() if capital else letter for letter, capital in zip(word, capitals, strict=False))
    spelled = before + spelled + word[len(capitals) :] + after
    assert to_state(spelled) is WORDS[word]
    assert is_known_status(spelled)


@given(word=st.text(max_size=12).filter(lambda word: word.strip().casefold() not in WORDS))
def test_an_unknown_word_runs(word: str) -> None:
    """A word that nobody documented never ends a task, and is known to be unknown."""
    assert to_state(word) is TaskState.RUNNING
    assert not is_known_status(word)


@pytest.mark.parametrize("word", ["success!", "not failed", "un succeeded", "succ eed", "failed_over", ""])
def test_a_word_that_contains_a_known_one_is_unknown(word: str) -> None:
    """Only whole words count: a part of one must not end a task."""
    assert to_state(word) is TaskState.RUNNING
    assert not is_known_status(word)
