"""The tables of the report: ratios in the first columns, then the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from benchmarks._figures import number
from benchmarks.peers._charts import Value, has_finished
from benchmarks.peers._peers import PEERS
from benchmarks.peers._results import Results, Run, median_of
from benchmarks.peers._scenarios import Scenario


@attrs.frozen
class Column:
    """One figure; `ratio` names the column that compares it with aiowery's, for peers that finished or `always`."""

    name: str
    value: Value
    ratio: str = ""
    always: bool = False


def _per_job(run: Run, value: float) -> float:
    return value / run.jobs


_FINISHED: Final = Column("finished", lambda run: run.finished)
_CREATED: Final = Column("tasks started per job", lambda run: _per_job(run, run.created))
_POLLS: Final = Column("polls per job", lambda run: _per_job(run, run.polls), "polls")
_THROTTLED: Final = Column("429s", lambda run: run.throttled)
_CPU: Final = Column("CPU per job, ms", lambda run: _per_job(run, 1000 * run.cpu), "CPU")
_MEMORY: Final = Column("memory per job, KB", lambda run: _per_job(run, run.memory / 1024), "memory")
_DELAY: Final = Column("delay, mean, s", lambda run: run.delay, "delay")
_DELAY_95: Final = Column("delay, 95th percentile, s", lambda run: run.delay_95)
_WALL: Final = Column("time, s", lambda run: run.wall)
_LOAD: Final = Column("server's share of a core, %", lambda run: 100 * run.server_load)

_TIMED: Final = (
    _CPU,
    _MEMORY,
    _POLLS,
    _DELAY,
    _FINISHED,
    _DELAY_95,
    _CREATED,
    Column("connections, in all", lambda run: run.connections),
    Column("connections at the same time", lambda run: run.peak),
    Column("most requests in 0.1 s", lambda run: run.burst),
    _WALL,
    _LOAD,
)
_SLOTS: Final = (
    Column("makespan, s", lambda run: run.makespan, "makespan"),
    _POLLS,
    Column("makespan / ideal", lambda run: run.makespan / run.ideal if run.makespan and run.ideal else None),
    _FINISHED,
    Column("refusals without a free slot", lambda run: run.refused),
    _DELAY,
    _CREATED,
)
_FAILED_POLLS: Final = (_FINISHED, _CREATED, _POLLS)

COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "two-hundred": _TIMED,
    "thousand": _TIMED,
    "ten-thousand": _TIMED,
    "stalls": (
        Column("longest stall, ms", lambda run: None if run.stall is None else 1000 * run.stall, "stall", always=True),
        _FINISHED,
    ),
    "rate": (_THROTTLED, _POLLS, _WALL, _FINISHED, _CREATED),
    "lost": (Column("tasks started", lambda run: run.created), _CREATED, _FINISHED),
    "failed-polls-500": _FAILED_POLLS,
    "failed-polls-429": _FAILED_POLLS,
    "slots": _SLOTS,
    "slots-gated": _SLOTS,
    "cancelled-callers": (
        Column("tasks started", lambda run: run.created - 1),
        Column("of them with a lost id", lambda run: run.unidentified),
        Column(
            "jobs finished afterwards, of 1",
            lambda run: None if run.works_afterwards is None else float(run.works_afterwards),
        ),
    ),
}


def table(scenario: Scenario, results: Results) -> list[str]:
    """Return a table in Markdown, with a row for each peer and ratios in its first columns."""
    columns = COLUMNS[scenario.name]
    ratios = [column for column in columns if column.ratio]
    compared = [f"{column.ratio} ÷ aiowery's" for column in ratios]
    heads = ["", *compared, *(column.name for column in columns), "failed with"]
    aiowery = results.of(scenario.name, PEERS[0].name)
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 2)}---|"]
    for peer in PEERS:
        runs = [run for run in results.of(scenario.name, peer.name) if not run.missing_reason]
        if not runs:
            continue
        cells = [_ratio(column, runs, aiowery) for column in ratios] + [_value(column, runs) for column in columns]
        name = f"**{peer.name}**" if peer.is_aiowery else peer.name
        lines.append(f"| {name} | {' | '.join(cells)} | {_failures(runs)} |")
    return lines


def _ratio(column: Column, runs: Sequence[Run], aiowery: Sequence[Run]) -> str:
    if not (column.always or has_finished(runs)):
        return "did not finish"
    value, unit = median_of(map(column.value, runs)), median_of(map(column.value, aiowery))
    return f"{value / unit:.2f}" if value is not None and unit else ""


def _value(column: Column, runs: Sequence[Run]) -> str:
    known = [value for value in map(column.value, runs) if value is not None]
    if not known:
        return ""
    text = number(median_of(known) or 0.0)
    return f"{text} ({number(min(known))} to {number(max(known))})" if min(known) != max(known) else text


def _failures(runs: Sequence[Run]) -> str:
    if any(run.works_afterwards is not None for run in runs):
        return ""
    worst = max(runs, key=lambda run: sum(run.failures.values()))
    failures = [f"{count} {name}" for name, count in worst.failures.items()]
    waiting = worst.jobs - worst.finished - sum(worst.failures.values())
    return "; ".join([*failures, f"{waiting} still under way"] if waiting > 0 else failures)
