"""Texts from outside are bounded: what is too long loses its middle, and keeps its beginning and its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.text import MAX_ID, MAX_MESSAGE, MAX_STATUS, bounded


@given(st.text(max_size=200), st.integers(20, 100))
def test_bounded_any_text_fits(text: str, longest: int) -> None:
    """A short text is unchanged; a long one begins and ends as before."""
    short = bounded(text, longest)
    assert len(short) <= longest
    if len(text) <= longest:
        assert short == text
    else:
        assert text.startswith(short.partition(" ... ")[0]) or " ... " in text
        assert short[-5:] == text[-5:]


def test_bounded_keeps_the_next_step_of_a_message() -> None:
    """The end of a message says what to do, so the middle goes."""
    message = bounded("the beginning " + "x" * 1_000_000 + "; try again later")
    assert len(message) == MAX_MESSAGE
    assert message.startswith("the beginning xxx")
    assert message.endswith("xxx; try again later")


def test_limits_are_those_that_are_documented() -> None:
    """The figures stand in the docstrings of `Snapshot` and of the errors."""
    assert (MAX_ID, MAX_STATUS, MAX_MESSAGE) == (256, 64, 2_000)
