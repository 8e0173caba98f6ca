"""Write the results in Markdown, with a description of the machine on which they were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks._figures import Figure, Section, Table, number

_PACKAGES: Final = (
    *("aiowery", "httptools", "aiohappyeyeballs", "httpx", "httpcore", "anyio", "attrs", "cattrs"),
    *("aiohttp", "httpx-aiohttp", "httpx2", "pyreqwest", "uvloop"),
)
_CPUS: Final = Path("/proc/cpuinfo")


def report(sections: Sequence[Section], machine: tuple[str, ...]) -> str:
    """Return all results in Markdown."""
    parts = (_head(sections, machine), _overview(sections), *map(section_text, sections))
    return "\n".join(parts)


def section_text(section: Section) -> str:
    """Return the results of one benchmark in Markdown."""
    lines = [f"## {section.title}", "", *section.how.strip().splitlines(), ""]
    lines += ["| figure | measured | spread | target | |", "|---|---:|---:|---:|---|"]
    lines += map(_row, section.figures)
    if section.reading:
        lines += ["", section.reading]
    for table in section.tables:
        lines += ["", *_table(table)]
    lines += [f"\nMissed: {figure.name}. {section.reason(figure)}" for figure in section.missed]
    return "\n".join((*lines, ""))


def describe_machine() -> tuple[str, ...]:
    """Return the items of a list that describes when, and on which machine, the results are measured."""
    return (
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"Machine: {os.cpu_count()} cores, {_processor()}; load at the start {os.getloadavg()[0]:.1f}",
        f"System: {platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
        f"Python: {platform.python_implementation()} {platform.python_version()}, asyncio's own event loop",
    )


def _head(sections: Sequence[Section], machine: tuple[str, ...]) -> str:
    seconds = sum(section.seconds for section in sections)
    parts = "; ".join(f"{section.title} {section.seconds:.0f}" for section in sections)
    libraries = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = (
        "# Benchmarks: results",
        "",
        "Written by `python -m benchmarks`; every number on this page was measured or computed in that one run.",
        "",
        *(f"- {item}" for item in machine),
        f"- The run took {seconds / 60:.0f} minutes. Seconds of each part: {parts}",
        f"- Libraries: {libraries}",
        "- Client and fake server share the machine's cores, on loopback. Spread is least to greatest of the rounds.",
        "",
    )
    return "\n".join(lines)


def _processor() -> str:
    names: Iterable[str] = ()
    if _CPUS.exists():
        names = (line.partition(":")[2].strip() for line in _CPUS.read_text().splitlines() if "model name" in line)
    return next(iter(names), platform.processor() or "processor unknown")


def _overview(sections: Sequence[Section]) -> str:
    targeted = [figure for one in sections for figure in one.figures if figure.target is not None]
    missed = [figure.name for figure in targeted if figure.missed]
    summary = f"{len(targeted) - len(missed)} of {len(targeted)} targets met."
    lines = [f"{summary} Missed: {'; '.join(missed)}." if missed else summary, ""]
    lines += ["| benchmark | figure | measured | target | |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {one.title} | {figure.name} | {_value(figure)} | {figure.target} | {figure.verdict} |"
        for one in sections
        for figure in one.figures
        if figure.target is not None
    ]
    return "\n".join((*lines, ""))


def _table(table: Table) -> Iterable[str]:
    yield f"| {' | '.join(table.head)} |"
    yield f"|---|{'---:|' * (len(table.head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in table.rows)


def _row(figure: Figure) -> str:
    spread = f"{number(figure.spread[0])} to {number(figure.spread[1])}" if figure.spread else ""
    return f"| {figure.name} | {_value(figure)} | {spread} | {figure.target or ''} | {figure.verdict} |"


def _value(figure: Figure) -> str:
    return f"{number(figure.value)} {figure.unit}".rstrip()
