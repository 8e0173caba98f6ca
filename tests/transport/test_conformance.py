"""The tables of the page are those of the tests, and each of their lines is proved."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Final

from tests.transport.conformance import FACTS, proved
from tests.transport.test_httpx_behavior import DIFFERENCES, ELSEWHERE

PAGE: Final = Path(__file__).parents[2] / "docs" / "transport.md"


def table_below(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page, without its first two lines."""
    section = PAGE.read_text("utf-8").partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| ?(.*?) ?\|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def test_page_shows_what_each_way_can_hold() -> None:
    """The table of the page is the table of these tests, word for word."""
    assert table_below("What a caller's client can hold") == [[fact, *cells] for fact, cells in FACTS.items()]


def test_page_shows_what_differs_from_httpx() -> None:
    """Each subject of the page's table has a test, and each difference that a test knows is on the page."""
    subjects = {row[0] for row in table_below("What differs from `httpx.AsyncHTTPTransport`")}
    assert subjects == {*DIFFERENCES, *ELSEWHERE}
    for module, name in (place.split(".") for place in ELSEWHERE.values()):
        assert hasattr(importlib.import_module(f"tests.transport.{module}"), name)


def test_every_fact_of_the_table_is_proved() -> None:
    """No line of the table is a mere claim: each has a test."""
    for part in ("sending", "receiving", "connections"):
        importlib.import_module(f"tests.transport.test_conformance_{part}")
    assert proved == set(FACTS)
