"""The page of results, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks._figures import Figure, Section, number

_PACKAGES: Final = ("aiowery", "httpx", "httpcore", "anyio", "attrs", "cattrs")
_CPUS: Final = Path("/proc/cpuinfo")


def page(sections: Sequence[Section], seconds: float, where: tuple[str, ...]) -> str:
    """Return the whole page in Markdown."""
    parts = (_head(seconds, where), _overview(sections), *map(section, sections))
    return "\n".join(parts)


def section(one: Section) -> str:
    """Return one benchmark's part in Markdown."""
    lines = [f"## {one.title}", "", *_quoted(one.how), ""]
    lines += ["| figure | measured | spread | target | |", "|---|---:|---:|---:|---|"]
    lines += map(_row, one.figures)
    if one.reading:
        lines += ["", one.reading]
    lines += [f"\nMissed: {figure.name}. {one.why(figure)}" for figure in one.missed]
    return "\n".join((*lines, ""))


def machine() -> tuple[str, ...]:
    """Return what a page says about where and when it was measured, as items of a list."""
    return (
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"Machine: {os.cpu_count()} cores, {_processor()}; load at the start {os.getloadavg()[0]:.1f}",
        f"System: {platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
        f"Python: {platform.python_implementation()} {platform.python_version()}, asyncio's own event loop",
    )


def _head(seconds: float, where: tuple[str, ...]) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = (
        "# Benchmarks: results",
        "",
        "Written by `python -m benchmarks`; every number on this page was measured or computed in that one run.",
        "",
        *(f"- {item}" for item in where),
        f"- The run took {seconds:.0f} s",
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
    aims = [figure for one in sections for figure in one.figures if figure.target is not None]
    missed = [figure.name for figure in aims if figure.missed]
    summary = f"{len(aims) - len(missed)} of {len(aims)} targets met."
    lines = [f"{summary} Missed: {'; '.join(missed)}." if missed else summary, ""]
    lines += ["| benchmark | figure | measured | target | |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {one.title} | {figure.name} | {_value(figure)} | {figure.target} | {figure.verdict} |"
        for one in sections
        for figure in one.figures
        if figure.target is not None
    ]
    return "\n".join((*lines, ""))


def _row(figure: Figure) -> str:
    spread = f"{number(figure.spread[0])} to {number(figure.spread[1])}" if figure.spread else ""
    return f"| {figure.name} | {_value(figure)} | {spread} | {figure.target or ''} | {figure.verdict} |"


def _value(figure: Figure) -> str:
    return f"{number(figure.value)} {figure.unit}".rstrip()


def _quoted(text: str) -> list[str]:
    return text.strip().splitlines()
