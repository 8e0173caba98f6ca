"""The results of a benchmark: figures, some of them with a target, and the text around them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median

import attrs


@attrs.frozen
class Target:
    """A bound that a figure should keep."""

    bound: float
    at_least: bool = False

    def missed_by(self, value: float) -> float:
        """Return by which part of the bound the value misses it; 0 if it is met.

        If the bound is 0, return by how much the value misses it.
        """
        excess = self.bound - value if self.at_least else value - self.bound
        return max(0.0, excess / (self.bound or 1.0))

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.bound)}"


@attrs.frozen
class Figure:
    """One measured number; if it is the median of several rounds, `spread` is the least and the greatest of them."""

    name: str
    value: float
    unit: str = ""
    spread: tuple[float, float] | None = None
    target: Target | None = None

    @property
    def missed(self) -> bool:
        """True if there is a target and the value misses it."""
        return self.target is not None and self.target.missed_by(self.value) > 0

    @property
    def verdict(self) -> str:
        """The comparison with the target: "met" or by how much it is missed; nothing without a target."""
        if self.target is None:
            return ""
        return f"**missed by {self.target.missed_by(self.value):.1%}**" if self.missed else "met"


@attrs.frozen
class Explanation:
    """The reason why figures miss their targets; `part` is a part of the names of these figures."""

    part: str
    reason: str


@attrs.frozen
class Table:
    """Values side by side, as text: a head, and rows of as many cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@attrs.frozen
class Section:
    """One benchmark's section of the results.

    `how` describes what was measured and how, `reading` how to read the figures, `explanations` why some of them miss
    their targets. An explanation is shown if a figure that it belongs to misses its target. `seconds` is how long the
    benchmark took.
    """

    title: str
    how: str
    figures: tuple[Figure, ...]
    reading: str = ""
    explanations: tuple[Explanation, ...] = ()
    tables: tuple[Table, ...] = ()
    seconds: float = 0.0

    @property
    def missed(self) -> tuple[Figure, ...]:
        """The figures that miss their targets."""
        return tuple(figure for figure in self.figures if figure.missed)

    def reason(self, figure: Figure) -> str:
        """Return the hand-written reason for a missed target."""
        return next((one.reason for one in self.explanations if one.part in figure.name), "not explained yet")


def of_rounds(name: str, values: Sequence[float], unit: str = "", *, target: Target | None = None) -> Figure:
    """Return a figure with the median of several rounds and their spread."""
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
