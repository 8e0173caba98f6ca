"""What a benchmark says: figures, some of them with a target, and the words around them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median

import attrs


@attrs.frozen
class Target:
    """A bound that a figure is to keep."""

    bound: float
    at_least: bool = False

    def missed_by(self, value: float) -> float:
        """Return by what part of the bound the value misses it (by how much, if the bound is 0); 0 when it is met."""
        excess = self.bound - value if self.at_least else value - self.bound
        return max(0.0, excess / (self.bound or 1.0))

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.bound)}"


@attrs.frozen
class Figure:
    """One measured number: `spread` is the least and the greatest of several rounds whose median it is."""

    name: str
    value: float
    unit: str = ""
    spread: tuple[float, float] | None = None
    target: Target | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a target and the value does not keep it."""
        return self.target is not None and self.target.missed_by(self.value) > 0

    @property
    def verdict(self) -> str:
        """What came of the target, in a word or two."""
        if self.target is None:
            return ""
        return f"**missed by {self.target.missed_by(self.value):.1%}**" if self.missed else "met"


@attrs.frozen
class Note:
    """Why figures miss their targets; `part` is a part of their names."""

    part: str
    why: str


@attrs.frozen
class Section:
    """One benchmark's part of the page.

    `how` says what was measured and how, `reading` how to read the figures, `notes` why some miss their targets:
    a note is shown when a figure that it is about does.
    """

    title: str
    how: str
    figures: tuple[Figure, ...]
    reading: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def missed(self) -> tuple[Figure, ...]:
        """The figures that do not keep their targets."""
        return tuple(figure for figure in self.figures if figure.missed)

    def why(self, figure: Figure) -> str:
        """Return the hand-written reason for a missed target."""
        return next((note.why for note in self.notes if note.part in figure.name), "not explained yet")


def of_rounds(name: str, values: Sequence[float], unit: str = "", *, target: Target | None = None) -> Figure:
    """Return the median of several rounds with its spread."""
    return Figure(name, median(values), unit, (min(values), max(values)), target)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, ceil(len(values) * share) - 1)]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def number(value: float) -> str:
    """Return a number with three or four significant digits, and all digits of whole numbers."""
    if value == int(value):
        return f"{int(value):,}"
    for bound, digits in ((100, 0), (10, 1), (1, 3)):
        if abs(value) >= bound:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"
