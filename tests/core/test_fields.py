"""The parts that all fields share: values that errors can show, and numbers and texts that can be sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._core.fields import fits_in_a_path, items, mapping, replace_surrogates, short_repr
from aiowery.errors import ConfigurationError
from aiowery.weryai import ImageExpand, TextToImage, TextToVideo

HUGE = 10**5000
"""A number of more digits than Python writes: its repr raises ValueError."""


@given(text=st.text(st.characters() | st.characters(categories=["Cs"])))
def test_replace_surrogates_any_text_can_be_encoded(text: str) -> None:
    """Lone surrogates are replaced, pairs become one character, and all else stays."""
    clean = replace_surrogates(text)
    assert clean.encode().decode() == clean
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert clean == text


def test_replace_surrogates_keeps_neighbours() -> None:
    """Only the lone surrogate is replaced, whichever half it is and wherever it stands."""
    halves = ("\ud83dab", "a\ud83db", "ab\ud83d", "\udc00ab", "a\udc00b", "ab\udc00", "\ufeffa\ud83d\ud83db")
    marked = ("\ufffdab", "a\ufffdb", "ab\ufffd", "\ufffdab", "a\ufffdb", "ab\ufffd", "\ufeffa\ufffd\ufffdb")
    assert tuple(map(replace_surrogates, halves)) == marked


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        *(("t1", True), (" ", False), ("..", False), ("\ud800", False), ("😀", True)),
        *(("x" * 256, True), ("x" * 257, False)),
    ],
)
def test_fits_in_a_path_rejects_blanks_dots_surrogates_and_long_texts(text: str, *, fits: bool) -> None:
    """A text that means another folder, has no bytes, or is as long as no id, is no id."""
    assert fits_in_a_path(text) is fits


@pytest.mark.parametrize("value", [HUGE, [HUGE], {"a": HUGE}], ids=["number", "in a list", "in an object"])
def test_short_repr_unprintable_value_names_its_type(value: Any) -> None:
    """The error about a value never becomes another error."""
    assert short_repr(value) == f"a value of type {type(value).__name__} that cannot be shown"


def test_short_repr_long_value_is_cut() -> None:
    """A message stays readable, because a long value is cut."""
    assert short_repr("a" * 1000) == f"'{'a' * 296}..."
    assert short_repr("a") == "'a'"


@pytest.mark.parametrize(
    "make",
    [
        lambda: items(HUGE),
        lambda: mapping(HUGE),
        lambda: TextToImage(prompt="a", image_number=HUGE),
        lambda: TextToImage(prompt="a", caller_id=HUGE),
        lambda: TextToImage(prompt="a", caller_id=2**63),
        lambda: TextToVideo(prompt="a", duration=HUGE),
        lambda: ImageExpand(
            image_url="https://e.com/a.png", image_size=f"{'9' * 5000}x1", canvas_size="9x9", image_location="0,0"
        ),
        lambda: ImageExpand(
            image_url="https://e.com/a.png", image_size=(HUGE, 1), canvas_size="9x9", image_location="0,0"
        ),
        lambda: ImageExpand(
            image_url="https://e.com/a.png", image_size="9x9", canvas_size="9x9", image_location=(-HUGE, 0)
        ),
        lambda: ImageExpand(
            image_url="https://e.com/a.png", image_size="9x9", canvas_size="9x9", image_location=f"-{'9' * 5000},0"
        ),
    ],
    ids=["list", "object", "number", "caller", "beyond", "seconds", "size", "pair", "place", "place text"],
)
def test_request_huge_number_raises_configuration_error(make: Any) -> None:
    """A number that no service reads, and Python does not even print, is refused when the request is made."""
    with pytest.raises(ConfigurationError, match=r"must be|expected|needed"):
        make()


def test_request_largest_64_bit_number_is_accepted() -> None:
    """Services read numbers of 64 bits."""
    assert TextToImage(prompt="a", caller_id=2**63 - 1).caller_id == 2**63 - 1
