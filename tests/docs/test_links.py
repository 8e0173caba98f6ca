"""Every link of README, CHANGELOG and docs/ that stays in the project leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
PAGES = (*sorted(HOME.glob("*.md")), *sorted((HOME / "docs").glob("*.md")), HOME / "benchmarks" / "RESULTS.md")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?:\]\(|(?:src|srcset|href)=\")([^)\"\s]+)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def _links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for link in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", link):
                yield page, link


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as code hosts derive them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("page", "link"), [pytest.param(page, link, id=f"{page.name}-{link}") for page, link in _links()]
)
def test_every_link_leads_somewhere(page: Path, link: str) -> None:
    """A relative link names a file of the project, and what follows a # is one of that page's headings."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), f"{page.name}: {link}"
    assert target.is_relative_to(HOME), f"{page.name}: {link}"
    if anchor:
        assert anchor in _anchors(target), f"{page.name}: {link}"
