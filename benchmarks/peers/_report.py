"""Write the report: the peers and how they are measured, then charts and a table for each scenario."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.peers import _gains
from benchmarks.peers._charts import Chart, charts
from benchmarks.peers._draw import PICTURES, THEMES, file_of
from benchmarks.peers._peers import PEERS, Peer
from benchmarks.peers._results import Results, median_of
from benchmarks.peers._scenarios import SCENARIOS, Scenario
from benchmarks.peers._tables import table

_REPORT: Final = PICTURES.with_suffix(".md")
_CHARTS_OF: Final = {
    "two-hundred": ("two-hundred",),
    "thousand": ("thousand", "resources"),
    "stalls": ("stalls",),
    "ten-thousand": ("ten-thousand",),
    "rate": ("rate",),
    "lost": ("lost",),
    "failed-polls-500": ("failed-polls",),
    "slots": ("slots",),
    "cancelled-callers": ("cancelled-callers",),
}
"""The charts in front of the table of each scenario."""

_LONG: Final = 5.0
"""Seconds of a run from which on the server's share of a core is meaningful."""

_HOW: Final = """\
Written by `python -m benchmarks.peers`, which repeats the measurement (`pip install -e '.[dev,benchmarks]'` first). It
creates an environment for each peer (in `.peers/`), measures, and draws. Each peer runs in a process of its own, used
as its documentation recommends, with its asyncio client where it has one, neither tuned nor slowed down. None is a
dependency of aiowery. All of them use the same fake server, started anew for each run in a process of its own. It
implements all their protocols through small adapters, and reads the duration of a task from the prompt. Nothing leaves
the machine.

Rounds are interleaved (A B C, A B C). Figures are medians, with the least and the greatest in brackets. A peer that
finished less than half of the jobs in a round, or less than 99 % in two, is not measured again. CPU is that of the
client's process, user and system, from the first submission to the end. Memory is the growth of its peak from the first
submission on. Delay is the time from the end of a task, by the server's clock, until the caller has the result. Polls
are status checks. A peer that polls all jobs in the same instant saves CPU, because one wake-up serves many jobs, but
sends its requests in bursts: see the most requests in 0.1 s. In scenarios with faults, where no CPU is measured,
several peers run side by side, each with a server of its own. A run ends after its timeout, and only the jobs that have
finished by then count.
"""


def write(results: Results) -> None:
    """Write the report to docs/benchmarks.md."""
    drawn = {chart.name: chart for chart in charts(results)}
    parts = [*_head(results), *_peers(results), *_gained(results)]
    for scenario in SCENARIOS:
        if any(run.scenario == scenario.name and not run.missing_reason for run in results.runs):
            parts += _section(scenario, results, drawn)
    _REPORT.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _head(results: Results) -> Iterable[str]:
    yield "# Measured side by side"
    yield ""
    if results.quick:
        yield "**A miniature, made to see that everything works: its figures mean nothing.**"
        yield ""
    yield _HOW
    yield from (f"- {item}" for item in results.machine)
    yield f"- The run took {results.seconds / 60:.0f} minutes"
    load = max((run.server_load for run in results.runs if run.wall >= _LONG), default=0.0)
    yield (
        f"- Calibration: the server answers {results.server_per_second:,.0f} requests/s over 16 connections"
        f" back to back, {1e6 * results.server_cpu:.0f} µs of its CPU each; the busiest run took {load:.0%} of a core"
    )
    yield "- Client and server share the machine's cores, on loopback"
    yield ""


def _peers(results: Results) -> Iterable[str]:
    yield "## The peers, and what puts each at a disadvantage here"
    yield ""
    yield "| peer | versions | call | disadvantages here |"
    yield "|---|---|---|---|"
    for peer in PEERS:
        yield f"| {peer.name} | {_versions(peer, results)} | {peer.api} | {peer.limitations} |"
    yield ""


def _gained(results: Results) -> Iterable[str]:
    yield "## What httpx users gain"
    yield ""
    yield _gains.HOW
    yield from _gains.table(results)
    yield ""


def _versions(peer: Peer, results: Results) -> str:
    versions = results.versions.get(peer.name)
    if versions:
        return ", ".join(f"{name} {version}" for name, version in versions.items())
    reason = next((run.missing_reason for run in results.runs if run.peer == peer.name and run.missing_reason), "")
    return f"not available: {reason}" if reason else "not measured"


def _section(scenario: Scenario, results: Results, drawn: dict[str, Chart]) -> Iterable[str]:
    yield f"## {scenario.title}"
    yield ""
    rounds = max(run.round for run in results.runs if run.scenario == scenario.name) + 1
    timeout = f"Timeout {scenario.timeout:.0f} s"
    yield f"{scenario.how} {timeout}; {rounds} round{'s' if rounds > 1 else ''}."
    yield ""
    for name in _CHARTS_OF.get(scenario.name, ()):
        if name in drawn:
            yield from _picture(drawn[name], Path(PICTURES.name))
            yield ""
    yield from table(scenario, results)
    ideal = median_of(run.ideal for run in results.runs if run.scenario == scenario.name)
    if ideal:
        yield f"\nIdeal, computed: {ideal:.1f} s."
    yield ""


def _picture(chart: Chart, folder: Path) -> Iterable[str]:
    light, dark = (f"{folder}/{file_of(chart, theme)}" for theme in THEMES)
    yield "<picture>"
    yield f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    yield f'  <img alt="{chart.alt_text}" src="{light}" width="800">'
    yield "</picture>"
