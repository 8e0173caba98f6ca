"""What httpx users gain: the same `httpx.AsyncClient` over httpx's own transport and over the pooled transport."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Final

from benchmarks._figures import number
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import CONCURRENT, HTTPX, HTTPX_OVER_POOL, httpx_client, pooled_client
from benchmarks.gets import Setting, cpu_per_get
from benchmarks.peers import _peers
from benchmarks.peers._charts import has_finished
from benchmarks.peers._results import Gain, Results, median_of
from benchmarks.peers._scenarios import SCENARIOS
from benchmarks.peers._tables import COLUMNS, Column
from benchmarks.waiting import LIMITS, MANY, cpu_of_waiting

NAME: Final = "gains"
"""The name of this part on the command line."""

HOW: Final = f"""\
An `httpx.AsyncClient` needs one argument for the pooled transport: `transport=aiowery.transport.PooledTransport()`.
Here it is compared with itself over httpx's own transport. GETs are sent back to back, {CONCURRENT} at the same time,
and {MANY:,} of them in the same moment, so that most of them wait in the pool: over 10 connections, and with httpx's
default limits (100 connections, 20 of them kept alive). The jobs are those of the peers {_peers.HTTPX} and
{_peers.HTTPX_POOLED}, which differ in nothing but this argument. Where one of them did not finish, there is no ratio.
"""
_SETTINGS: Final[dict[Setting, str]] = {"plain": "CPU of a GET, µs", "TLS": "CPU of a GET over TLS, µs"}
_COMPARED: Final = {
    "two-hundred": ("finished", "CPU per job, ms"),
    "thousand": ("finished", "CPU per job, ms", "memory per job, KB"),
    "stalls": ("longest stall, ms",),
}
"""The columns of each scenario's table that are compared."""

_ABSENT: Final = "Not measured."


def measure(*, quick: bool) -> tuple[Gain, ...]:
    """Measure the client over both transports, with interleaved rounds."""
    rounds, gets, crowd = (1, 200, 50) if quick else (3, 2_500, MANY)
    found = []
    for setting, name in _SETTINGS.items():
        pairs = [
            [in_fresh_process(cpu_per_get, library, setting, gets) for library in (HTTPX, HTTPX_OVER_POOL)]
            for _ in range(rounds)
        ]
        own, pooled = (1e6 * median(values) for values in zip(*pairs, strict=True))
        found.append(Gain(name, own, pooled))
    for name, limits in LIMITS.items():
        makers = (httpx_client, pooled_client)
        own, pooled = (1000 * in_fresh_process(cpu_of_waiting, make, limits, crowd) for make in makers)
        found.append(Gain(f"CPU of {crowd:,} GETs in the same moment, {name}, ms", own, pooled))
    return tuple(found)


def table(results: Results) -> list[str]:
    """Return the lines of a table in Markdown, or that nothing was measured."""
    rows = [*_gains(results), *_jobs(results)]
    return ["| | httpx's transport | `PooledTransport` | ratio |", "|---|---:|---:|---:|", *rows] if rows else [_ABSENT]


def _gains(results: Results) -> Iterable[str]:
    for gain in results.gains:
        yield _row(gain.name, gain.own, gain.pooled, gain.pooled / gain.own)


def _jobs(results: Results) -> Iterable[str]:
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    for scenario, names in _COMPARED.items():
        columns = {column.name: column for column in COLUMNS[scenario]}
        for name in names:
            yield from _compare(titles[scenario], scenario, columns[name], results)


def _compare(title: str, scenario: str, column: Column, results: Results) -> Iterable[str]:
    own_runs, pooled_runs = (results.of(scenario, peer) for peer in (_peers.HTTPX, _peers.HTTPX_POOLED))
    own, pooled = (median_of(map(column.value, runs)) for runs in (own_runs, pooled_runs))
    if own is None or pooled is None:
        return
    comparable = own > 0 and (column.always or (has_finished(own_runs) and has_finished(pooled_runs)))
    yield _row(f"{title}: {column.name}", own, pooled, pooled / own if comparable else None)


def _row(name: str, own: float, pooled: float, ratio: float | None) -> str:
    return f"| {name} | {number(own)} | {number(pooled)} | {'' if ratio is None else f'{ratio:.2f}'} |"
