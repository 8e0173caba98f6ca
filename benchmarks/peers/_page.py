"""The page of results: who was measured how, then a picture and a table for each situation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.peers._charts import Chart, charts
from benchmarks.peers._draw import PICTURES, THEMES, file_of
from benchmarks.peers._peers import PEERS, Peer
from benchmarks.peers._results import Results, middle
from benchmarks.peers._scenarios import SCENARIOS, Scenario
from benchmarks.peers._tables import table

_PAGE: Final = PICTURES.with_suffix(".md")
_AFTER: Final = {
    "two-hundred": ("two-hundred",),
    "thousand": ("thousand", "resources"),
    "stalls": ("stalls",),
    "ten-thousand": ("ten-thousand",),
    "rate": ("rate",),
    "lost": ("lost",),
    "trouble-500": ("trouble",),
    "slots": ("slots",),
    "leavers": ("leavers",),
}
"""Which pictures stand in front of which table."""

_LONG: Final = 5.0
"""Seconds of a run in which the server's share of a core says something."""

_HOW: Final = """\
Written by `python -m benchmarks.peers`, which anyone can run again (`pip install -e '.[dev,benchmarks]'` first): it
makes an environment for each peer (in `.peers/`), measures, and draws. Each peer runs in a process of its own, used as
its documentation says, with its asyncio client where it has one, neither tuned nor hobbled; none is a dependency of
aiowery. All of them ask the same fake server, started anew for each run in a process of its own. It speaks everybody's
protocol through small adapters and learns from the prompt how long a task takes. Nothing leaves the machine.

Rounds are interleaved (A B C, A B C); figures are medians, with the least and the greatest in brackets. Who finished
less than half of the jobs in a round, or less than 99 % in two, is not measured again. CPU is that of the client's
process, user and system, from the first submission to the end; memory is how much its peak grew from there on; delay is
from the end of a task by the server's clock to the caller's having the result; polls are status checks. Who polls in
step, all jobs in the same instant, saves CPU, since one wake-up serves many, and comes upon the server in bursts: see
the most requests in 0.1 s. Where everybody meets a misfortune and no CPU is measured, several peers run side by side,
each with a server of its own. After its patience a run is over, and what has finished is what counts.
"""


def write(results: Results) -> None:
    """Write the page."""
    drawn = {chart.name: chart for chart in charts(results)}
    parts = [*_head(results), *_peers(results)]
    for scenario in SCENARIOS:
        if any(run.scenario == scenario.name and not run.why for run in results.runs):
            parts += _section(scenario, results, drawn)
    _PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


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
        f"- Calibration: the server answers {results.server_per_second:,.0f} requests/s over 16 connections that ask"
        f" back to back, {1e6 * results.server_cpu:.0f} µs of its CPU each; the busiest run took {load:.0%} of a core"
    )
    yield "- Client and server share the machine's cores, on loopback"
    yield ""


def _peers(results: Results) -> Iterable[str]:
    yield "## Who, and what is against them here"
    yield ""
    yield "| peer | versions | call | here |"
    yield "|---|---|---|---|"
    for peer in PEERS:
        yield f"| {peer.name} | {_versions(peer, results)} | {peer.called} | {peer.but} |"
    yield ""


def _versions(peer: Peer, results: Results) -> str:
    known = results.versions.get(peer.name)
    if known:
        return ", ".join(f"{name} {version}" for name, version in known.items())
    why = next((run.why for run in results.runs if run.peer == peer.name and run.why), "")
    return f"not available: {why}" if why else "not measured"


def _section(scenario: Scenario, results: Results, drawn: dict[str, Chart]) -> Iterable[str]:
    yield f"## {scenario.title}"
    yield ""
    rounds = max(run.round for run in results.runs if run.scenario == scenario.name) + 1
    patience = f"Patience {scenario.patience:.0f} s"
    yield f"{scenario.how} {patience}; {rounds} round{'s' if rounds > 1 else ''}."
    yield ""
    for name in _AFTER.get(scenario.name, ()):
        if name in drawn:
            yield from _picture(drawn[name], Path(PICTURES.name))
            yield ""
    yield from table(scenario, results)
    ideal = middle(run.ideal for run in results.runs if run.scenario == scenario.name)
    if ideal:
        yield f"\nIdeal, computed: {ideal:.1f} s."
    yield ""


def _picture(chart: Chart, folder: Path) -> Iterable[str]:
    light, dark = (f"{folder}/{file_of(chart, theme)}" for theme in THEMES)
    yield "<picture>"
    yield f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    yield f'  <img alt="{chart.words}" src="{light}" width="800">'
    yield "</picture>"
