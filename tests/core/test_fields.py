"""What all fields of all requests share: values that errors can show, numbers and texts that can be written."""

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
def test_every_text_can_be_written(text: str) -> None:
    """Halves of surrogate pairs are marked, and two that belong together are one character; all else stays."""
    clean = replace_surrogates(text)
    assert clean.encode().decode() == clean
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert clean == text


def test_half_a_character_costs_its_neighbours_nothing() -> None:
    """Whichever half, wherever it stands."""
    halves = ("\ud83dab", "a\ud83db", "ab\ud83d", "\udc00ab", "a\udc00b", "ab\udc00", "\ufeffa\ud83d\ud83db")
    marked = ("\ufffdab", "a\ufffdb", "ab\ufffd", "\ufffdab", "a\ufffdb", "ab\ufffd", "\ufeffa\ufffd\ufffdb")
    assert tuple(map(replace_surrogates, halves)) == marked


@pytest.mark.parametrize(("text", "fits"), [("t1", True), (" ", False), ("..", False), ("\ud800", False), ("😀", True)])
def test_what_can_be_an_id_in_a_path(text: str, *, fits: bool) -> None:
    """What would mean another folder, or has no bytes, cannot."""
    assert fits_in_a_path(text) is fits


@pytest.mark.parametrize("value", [HUGE, [HUGE], {"a": HUGE}], ids=["number", "in a list", "in an object"])
def test_what_cannot_be_shown_is_told_by_its_type(value: Any) -> None:
    """The error about a value never becomes another error."""
    assert short_repr(value) == f"a value of type {type(value).__name__} that cannot be shown"


def test_a_long_value_is_shown_by_its_beginning() -> None:
    """A message stays readable."""
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
def test_a_number_beyond_all_reason_is_the_callers_mistake(make: Any) -> None:
    """What no service can read, and Python does not even write, is refused where it is given."""
    with pytest.raises(ConfigurationError, match=r"must be|expected|needed"):
        make()


def test_the_largest_number_that_services_read_is_taken() -> None:
    """64 bits."""
    assert TextToImage(prompt="a", caller_id=2**63 - 1).caller_id == 2**63 - 1
