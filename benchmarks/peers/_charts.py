"""The charts: their panels, and the value and text of each bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from benchmarks._figures import number
from benchmarks.peers._peers import PEERS, Peer
from benchmarks.peers._results import ENOUGH, Results, Run, median_of
from benchmarks.peers._scenarios import THOUSAND

Value = Callable[[Run], float | None]


@attrs.frozen
class Bar:
    """One peer's value with its text; without a value, the text gives the reason."""

    peer: str
    value: float | None
    text: str
    is_aiowery: bool


@attrs.frozen
class Panel:
    """One measure of all peers."""

    title: str
    bars: tuple[Bar, ...]
    log: bool = False


@attrs.frozen
class Chart:
    """One chart: panels side by side, with the same peers in the same order."""

    name: str
    title: str
    panels: tuple[Panel, ...]

    @property
    def alt_text(self) -> str:
        """All titles and values as text, for readers who cannot see the chart."""
        return f"{self.title}: " + "; ".join(
            f"{panel.title}: " + ", ".join(f"{bar.peer} {bar.text}" for bar in panel.bars) for panel in self.panels
        )


@attrs.frozen(kw_only=True)
class _Measure:
    """The measure that a panel shows.

    `finishers_only`: leave out peers that did not finish, because their values mean nothing. `pollers_only`: leave out
    peers that do not poll.
    """

    title: str
    scenario: str
    value: Value
    unit: str = ""
    finishers_only: bool = True
    pollers_only: bool = False
    log: bool = False


@attrs.frozen
class _Plan:
    name: str
    title: str
    measures: tuple[_Measure, ...]


def has_finished(runs: Sequence[Run]) -> bool:
    """Return True if the peer, by the median of its rounds, finished (nearly) all jobs."""
    return (median_of(run.finished / run.jobs for run in runs) or 0) >= ENOUGH


def _finished(run: Run) -> float:
    return run.finished


def _polls(run: Run) -> float:
    return run.polls / run.jobs


def _cpu(run: Run) -> float:
    return 1000 * run.cpu / run.jobs


def _over_ideal(run: Run) -> float | None:
    return run.makespan / run.ideal if run.makespan is not None and run.ideal else None


_PLANS = (
    _Plan(
        "thousand",
        "1,000 concurrent jobs of 10-30 s",
        (
            _Measure(title="jobs finished", scenario=THOUSAND, value=_finished, finishers_only=False),
            _Measure(title="CPU per job", scenario=THOUSAND, value=_cpu, unit="ms"),
        ),
    ),
    _Plan(
        "lost",
        "10 submissions whose responses are lost",
        (
            _Measure(
                title="tasks started, each of them charged",
                scenario="lost",
                value=lambda run: run.created,
                finishers_only=False,
            ),
        ),
    ),
    _Plan(
        "two-hundred",
        "200 concurrent jobs of 5-15 s",
        (
            _Measure(title="polls per job", scenario="two-hundred", value=_polls, log=True),
            _Measure(title="from the end to the result", scenario="two-hundred", value=lambda run: run.delay, unit="s"),
        ),
    ),
    _Plan(
        "resources",
        "1,000 concurrent jobs of 10-30 s",
        (
            _Measure(
                title="connections opened",
                scenario=THOUSAND,
                value=lambda run: run.connections,
                finishers_only=False,
                log=True,
            ),
            _Measure(
                title="memory per job", scenario=THOUSAND, value=lambda run: run.memory / run.jobs / 1024, unit="KB"
            ),
        ),
    ),
    _Plan(
        "stalls",
        "1,000 concurrent jobs of 10-30 s",
        (
            _Measure(
                title="longest stall of the event loop",
                scenario="stalls",
                value=lambda run: None if run.stall is None else 1000 * run.stall,
                unit="ms",
                finishers_only=False,
                log=True,
            ),
        ),
    ),
    _Plan(
        "ten-thousand",
        "10,000 concurrent jobs of 20-60 s, of the peers that finished 1,000",
        (
            _Measure(title="jobs finished", scenario="ten-thousand", value=_finished, finishers_only=False),
            _Measure(title="CPU per job", scenario="ten-thousand", value=_cpu, unit="ms"),
        ),
    ),
    _Plan(
        "rate",
        "100 jobs against a server that answers 20 requests/s",
        (
            _Measure(title="jobs finished", scenario="rate", value=_finished, finishers_only=False),
            _Measure(
                title="requests refused (429)", scenario="rate", value=lambda run: run.throttled, finishers_only=False
            ),
        ),
    ),
    _Plan(
        "failed-polls",
        "10 jobs, the first poll of each refused: jobs finished",
        (
            _Measure(
                title="with 500", scenario="failed-polls-500", value=_finished, finishers_only=False, pollers_only=True
            ),
            _Measure(
                title="with 429", scenario="failed-polls-429", value=_finished, finishers_only=False, pollers_only=True
            ),
        ),
    ),
    _Plan(
        "slots",
        "200 jobs of 10-14 s through 20 slots: makespan, as a multiple of the ideal",
        (
            _Measure(title="all calls immediately", scenario="slots", value=_over_ideal, unit="x"),
            _Measure(
                title="each behind a semaphore of 20",
                scenario="slots-gated",
                value=_over_ideal,
                unit="x",
            ),
        ),
    ),
    _Plan(
        "cancelled-callers",
        "10 callers cancelled during their submissions, or soon after",
        (
            _Measure(
                title="tasks charged whose id is lost",
                scenario="cancelled-callers",
                value=lambda run: run.unidentified,
                finishers_only=False,
            ),
        ),
    ),
)


def charts(results: Results) -> tuple[Chart, ...]:
    """Return the charts of the results."""
    warning = " (a miniature: its figures mean nothing)" if results.quick else ""
    drawn = [Chart(plan.name, plan.title + warning, _panels(plan, results)) for plan in _PLANS]
    return tuple(chart for chart in drawn if chart.panels)


def _panels(plan: _Plan, results: Results) -> tuple[Panel, ...]:
    first = plan.measures[0].scenario
    peers = [peer for peer in PEERS if any(not run.missing_reason for run in results.of(first, peer.name))]
    panels = [_panel(measure, peers, results) for measure in plan.measures]
    return tuple(panels) if peers else ()


def _panel(measure: _Measure, peers: Sequence[Peer], results: Results) -> Panel:
    bars = (_bar(measure, peer, results.of(measure.scenario, peer.name)) for peer in peers)
    title = f"{measure.title} (log scale)" if measure.log else measure.title
    return Panel(title, tuple(bars), measure.log)


def _bar(measure: _Measure, peer: Peer, runs: Sequence[Run]) -> Bar:
    if not runs:
        return Bar(peer.name, None, "not measured", peer.is_aiowery)
    if measure.finishers_only and not has_finished(runs):
        done = median_of(run.finished for run in runs) or 0
        return Bar(peer.name, None, f"did not finish ({number(done)} of {number(runs[0].jobs)})", peer.is_aiowery)
    if measure.pollers_only and not any(run.polls for run in runs):
        return Bar(peer.name, None, "does not poll", peer.is_aiowery)
    value = median_of(measure.value(run) for run in runs)
    text = "not applicable" if value is None else f"{_short(value)} {measure.unit}".rstrip()
    return Bar(peer.name, value, text, peer.is_aiowery)


def _short(value: float) -> str:
    """Return a number with three significant digits, and all digits of whole numbers."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:#.3g}"
