"""Which pictures there are, and what their bars say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from benchmarks._figures import number
from benchmarks.peers._measure import ENOUGH
from benchmarks.peers._peers import PEERS, Peer
from benchmarks.peers._results import Results, Run, middle
from benchmarks.peers._scenarios import CROWD

Value = Callable[[Run], float | None]


@attrs.frozen
class Bar:
    """One peer's value; without one, `words` say why."""

    peer: str
    value: float | None
    words: str
    ours: bool


@attrs.frozen
class Panel:
    """One measure of all peers."""

    title: str
    bars: tuple[Bar, ...]
    log: bool = False


@attrs.frozen
class Chart:
    """One picture: panels side by side, with the same peers in the same order."""

    name: str
    title: str
    panels: tuple[Panel, ...]

    @property
    def words(self) -> str:
        """What it shows, for those who cannot see it."""
        return f"{self.title}: " + "; ".join(
            f"{panel.title}: " + ", ".join(f"{bar.peer} {bar.words}" for bar in panel.bars) for panel in self.panels
        )


@attrs.frozen(kw_only=True)
class _Measure:
    """What a panel shows; `finishers`: only of those who finished, as the others' values mean nothing.

    `pollers`: only of those who poll at all.
    """

    title: str
    scenario: str
    value: Value
    unit: str = ""
    finishers: bool = True
    pollers: bool = False
    log: bool = False


@attrs.frozen
class _Plan:
    name: str
    title: str
    measures: tuple[_Measure, ...]


def enough(runs: Sequence[Run]) -> bool:
    """Whether the peer, by the median of its rounds, finished (nearly) all."""
    return (middle(run.finished / run.jobs for run in runs) or 0) >= ENOUGH


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
        "1,000 jobs of 10-30 s at once",
        (
            _Measure(title="jobs finished", scenario=CROWD, value=_finished, finishers=False),
            _Measure(title="CPU per job", scenario=CROWD, value=_cpu, unit="ms"),
        ),
    ),
    _Plan(
        "lost",
        "10 submissions whose answers are lost",
        (
            _Measure(
                title="tasks started, each of them charged",
                scenario="lost",
                value=lambda run: run.created,
                finishers=False,
            ),
        ),
    ),
    _Plan(
        "two-hundred",
        "200 jobs of 5-15 s at once",
        (
            _Measure(title="polls per job", scenario="two-hundred", value=_polls, log=True),
            _Measure(title="from the end to the result", scenario="two-hundred", value=lambda run: run.delay, unit="s"),
        ),
    ),
    _Plan(
        "resources",
        "1,000 jobs of 10-30 s at once",
        (
            _Measure(
                title="connections opened", scenario=CROWD, value=lambda run: run.connections, finishers=False, log=True
            ),
            _Measure(title="memory per job", scenario=CROWD, value=lambda run: run.memory / run.jobs / 1024, unit="KB"),
        ),
    ),
    _Plan(
        "stalls",
        "1,000 jobs of 10-30 s at once",
        (
            _Measure(
                title="longest stall of the event loop",
                scenario="stalls",
                value=lambda run: None if run.stall is None else 1000 * run.stall,
                unit="ms",
                finishers=False,
                log=True,
            ),
        ),
    ),
    _Plan(
        "ten-thousand",
        "10,000 jobs of 20-60 s at once, of those who finished 1,000",
        (
            _Measure(title="jobs finished", scenario="ten-thousand", value=_finished, finishers=False),
            _Measure(title="CPU per job", scenario="ten-thousand", value=_cpu, unit="ms"),
        ),
    ),
    _Plan(
        "rate",
        "100 jobs against a server that answers 20 requests/s",
        (
            _Measure(title="jobs finished", scenario="rate", value=_finished, finishers=False),
            _Measure(title="requests refused (429)", scenario="rate", value=lambda run: run.throttled, finishers=False),
        ),
    ),
    _Plan(
        "trouble",
        "10 jobs, the first poll of each refused: jobs finished",
        (
            _Measure(title="with 500", scenario="trouble-500", value=_finished, finishers=False, pollers=True),
            _Measure(title="with 429", scenario="trouble-429", value=_finished, finishers=False, pollers=True),
        ),
    ),
    _Plan(
        "slots",
        "200 jobs of 10-14 s through 20 slots: makespan, as a multiple of the ideal",
        (
            _Measure(title="calls as they come", scenario="slots", value=_over_ideal, unit="x"),
            _Measure(
                title="each behind a semaphore of 20",
                scenario="slots-gated",
                value=_over_ideal,
                unit="x",
            ),
        ),
    ),
    _Plan(
        "leavers",
        "10 callers cancelled while their submissions are under way, or soon after",
        (
            _Measure(
                title="tasks charged that nobody can name",
                scenario="leavers",
                value=lambda run: run.unnamed,
                finishers=False,
            ),
        ),
    ),
)


def charts(results: Results) -> tuple[Chart, ...]:
    """Return the pictures of what was measured."""
    warning = " (a miniature: its figures mean nothing)" if results.quick else ""
    drawn = [Chart(plan.name, plan.title + warning, _panels(plan, results)) for plan in _PLANS]
    return tuple(chart for chart in drawn if chart.panels)


def _panels(plan: _Plan, results: Results) -> tuple[Panel, ...]:
    first = plan.measures[0].scenario
    peers = [peer for peer in PEERS if any(not run.why for run in results.of(first, peer.name))]
    panels = [_panel(measure, peers, results) for measure in plan.measures]
    return tuple(panels) if peers else ()


def _panel(measure: _Measure, peers: Sequence[Peer], results: Results) -> Panel:
    bars = (_bar(measure, peer, results.of(measure.scenario, peer.name)) for peer in peers)
    title = f"{measure.title} (log scale)" if measure.log else measure.title
    return Panel(title, tuple(bars), measure.log)


def _bar(measure: _Measure, peer: Peer, runs: Sequence[Run]) -> Bar:
    if not runs:
        return Bar(peer.name, None, "not measured", peer.ours)
    if measure.finishers and not enough(runs):
        done = middle(run.finished for run in runs) or 0
        return Bar(peer.name, None, f"did not finish ({number(done)} of {number(runs[0].jobs)})", peer.ours)
    if measure.pollers and not any(run.polls for run in runs):
        return Bar(peer.name, None, "does not poll", peer.ours)
    value = middle(measure.value(run) for run in runs)
    words = "not applicable" if value is None else f"{_short(value)} {measure.unit}".rstrip()
    return Bar(peer.name, value, words, peer.ours)


def _short(value: float) -> str:
    """Return a number with three significant digits, and all digits of whole numbers."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:#.3g}"
