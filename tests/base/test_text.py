"""Texts from outside become one printable line; one that is too long keeps its beginning and its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.text import MAX_ID, MAX_MESSAGE, MAX_STATUS, bounded, printable, safe_or_none, safe_text, shorten

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)
"""Texts with any characters, lone surrogates included."""


@given(ANY_TEXT, st.integers(20, 100))
def test_safe_text_any_text_is_one_printable_line(text: str, longest: int) -> None:
    """It is short, printable, and cleaning it again changes nothing; a clean text is unchanged."""
    safe = safe_text(text, longest)
    assert len(safe) <= longest
    assert safe.isprintable()
    assert safe_text(safe, longest) == safe
    assert shorten(text).isprintable()
    if text.isprintable() and len(text) <= longest:
        assert safe == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("no\nERROR forged", "no ERROR forged"),
        ("no\r\n\tERROR", "no ERROR"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\x9b31mred", "?31mred"),
        ("\x07\x00\x7f", "???"),
        ("\u202egnp.exe\u2066", "?gnp.exe?"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("half \ud83d", "half ?"),
        ("zero\u200bwidth\ufeff", "zero?width?"),
        ("wide\u3000space\u00a0here", "wide space here"),
        ("two  spaces, 猫, café, 🐈", "two  spaces, 猫, café, 🐈"),
    ],
    ids=ascii,
)
def test_safe_text_replaces_what_a_terminal_or_a_log_would_interpret(text: str, safe: str) -> None:
    """Control characters, escapes, line breaks, marks of direction and lone surrogates go; letters stay."""
    assert safe_text(text) == safe
    assert safe_or_none(text) == safe
    assert safe_or_none(None) is None


def test_printable_keeps_the_layout_that_is_wanted() -> None:
    """An excerpt keeps its lines."""
    assert printable("a\tb\nc\rd\x1b", "\n\t") == "a\tb\nc?d?"


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
