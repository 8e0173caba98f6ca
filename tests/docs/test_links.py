"""Every link of README, CHANGELOG and docs/ to a file of the project has a target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
DOCUMENTS = (*sorted(HOME.glob("*.md")), *sorted((HOME / "docs").glob("*.md")), HOME / "benchmarks" / "RESULTS.md")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?:\]\(|(?:src|srcset|href)=\")([^)\"\s]+)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def _links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        for link in _LINK.findall(_FENCED.sub("", document.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", link):
                yield document, link


def _anchors(document: Path) -> set[str]:
    """Return the names of a document's headings, as code hosts derive them."""
    headings = _HEADING.findall(_FENCED.sub("", document.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("document", "link"), [pytest.param(document, link, id=f"{document.name}-{link}") for document, link in _links()]
)
def test_relative_link_has_a_target(document: Path, link: str) -> None:
    """A relative link names a file of the project, and the part after # is one of that document's headings."""
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists(), f"{document.name}: {link}"
    assert target.is_relative_to(HOME), f"{document.name}: {link}"
    if anchor:
        assert anchor in _anchors(target), f"{document.name}: {link}"
