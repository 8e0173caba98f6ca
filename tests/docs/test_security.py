"""The page about security names tests that exist, and README's promises about money, keys and bounds have some."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

HOME: Final = Path(__file__).parents[2]
PAGE: Final = HOME / "docs" / "security.md"
THREATS, PROMISES = "Threats and their tests", "README's promises and their tests"
GUARANTEES, BATCHES = "What is guaranteed", "Durable batches"
EACH_SENTENCE: Final = ("A paid POST goes out once.", "Bounded everywhere.", "Keys stay secret.")
"""The guarantees of which each sentence is a promise about money, keys or bounds."""
ATTACKERS: Final = ("gateway", "provider", "file host", "stranger", "other users", "prompt file", "web page")
_NAMED: Final = re.compile(r"\[`(test_\w+)`\]\(\.\./([\w/]+\.py)\)")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")


def section(document: Path, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return document.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the page's table below a heading, without its first two lines."""
    found = re.findall(r"^\| ?(.*?) ?\|$", section(PAGE, heading), re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in found[2:]]


def promises() -> list[str]:
    """Return README's words in the first column of the page's second table."""
    return [row[0] for row in rows(PROMISES)]


def plain(text: str) -> str:
    """Return a text of README in one line, without emphasis."""
    return " ".join(text.replace("**", "").split())


def bullets(heading: str) -> Iterator[str]:
    """Yield the list items below a heading of README."""
    for item in re.split(r"\n(?=- |\n)", section(HOME / "README.md", heading)):
        if item.startswith("- "):
            yield plain(item[2:])


@cache
def functions(path: str) -> frozenset[str]:
    """Return the names of the functions in a file, also of those in classes."""
    tree = ast.parse((HOME / path).read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("heading", [THREATS, PROMISES])
def test_each_row_of_the_security_page_names_tests_that_exist(heading: str) -> None:
    """No threat and no promise is a mere claim: each has a test, in the file that the link leads to."""
    table = rows(heading)
    assert len(table) > 20
    for row in table:
        named = _NAMED.findall(row[-1])
        assert named, row
        assert len(named) == row[-1].count("`test_"), row
        for name, path in named:
            assert name in functions(path), f"{path} has no {name}"


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_each_attacker_of_the_page_has_a_row(attacker: str) -> None:
    """The attackers that the page lists are those whose attempts it shows."""
    assert any(attacker in row[0].partition(":")[0] for row in rows(THREATS)), attacker
    assert attacker.rstrip("s") in section(PAGE, "Who may attack").lower()


@pytest.mark.parametrize("words", promises())
def test_promise_on_the_page_is_in_readmes_words(words: str) -> None:
    """The page quotes README, so that a changed promise must be proved anew."""
    text = plain((HOME / "README.md").read_text("utf-8"))
    assert words in text


@pytest.mark.parametrize("bullet", [*bullets(GUARANTEES), *bullets(BATCHES)])
def test_each_guarantee_of_readme_is_on_the_page(bullet: str) -> None:
    """Each item of README's lists about money, keys and bounds has a test, the strictest ones for each sentence."""
    sentences = _SENTENCE_END.split(bullet) if bullet.startswith(EACH_SENTENCE) else [bullet]
    for sentence in sentences:
        is_link_only = "](" in sentence and "has all promises" in sentence
        assert is_link_only or any(words in sentence for words in promises()), sentence


def test_security_file_links_to_the_page_and_back() -> None:
    """One of the two holds the text, the other one says where it is."""
    assert "(docs/security.md)" in (HOME / "SECURITY.md").read_text("utf-8")
    assert "(../SECURITY.md)" in PAGE.read_text("utf-8")
