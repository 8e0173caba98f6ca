"""The table of what each way of sending can hold is that of the page, and each of its lines is proved."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Final

from tests.transport.conformance import FACTS, proved

PAGE: Final = Path(__file__).parents[2] / "docs" / "transport.md"


def table_below(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page, without its first two lines."""
    section = PAGE.read_text("utf-8").partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| ?(.*?) ?\|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def test_page_shows_what_each_way_can_hold() -> None:
    """The table of the page is the table of these tests, word for word."""
    assert table_below("What a caller's client can hold") == [[fact, *cells] for fact, cells in FACTS.items()]


def test_every_fact_of_the_table_is_proved() -> None:
    """No line of the table is a mere claim: each has a test."""
    for part in ("sending", "receiving", "connections"):
        importlib.import_module(f"tests.transport.test_conformance_{part}")
    assert proved == set(FACTS)
