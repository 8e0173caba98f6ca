"""When to poll a job, simulated: polls per job and detection delay, for several policies and models.

The pauses are those of the library (`PollPolicy`), and so is the learning (`DurationEstimator`). The durations are
invented, and the clock is simulated. It jumps from poll to poll: polls take no time and are exactly punctual, while the
real scheduler has a precision of 0.05 s.

Jobs of one kind are submitted in a steady flow, 2,000 of them, about 20 under way at a time; the first quarter is not
counted. "Faster" and "slower": in the middle of the flow the model begins to take half, or double, the time, and the
100 jobs from then on are counted. "First 40": jobs of a kind of which nothing is known yet, one after the other.

Durations: images 12 s and videos 90 s in the median (lognormal, sigma 0.3 and 0.4). "Queue": 40 % wait for 10 to 40 s
before they run for 8 to 12 s. "Tail": 8 s and four times a Pareto variable of shape 1.5. "Jobs of about 12 s" compares
the simulation with a real client: it measures a flow of jobs and simulates the same flow.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from math import exp
from random import Random
from typing import Final

import attrs

from aiowery import PollPolicy
from aiowery._core.durations import DurationEstimator
from benchmarks._figures import Figure, Section, Table, Target, mean, percentile

Draw = Callable[[Random], float]

_KIND: Final = "kind"
_FLOW: Final = 20
_BURST: Final = 1000
_CHANGED: Final = 100
_FIRST: Final = 40


@attrs.frozen
class Detection:
    """Simulated jobs: the number of polls of each, its detection delay in seconds, and the times of all polls."""

    polls: Sequence[int]
    delays: Sequence[float]
    poll_times: Sequence[float] = ()

    def part(self, first: int, last: int) -> Detection:
        """Return the part for some jobs, in order of submission."""
        return Detection(self.polls[first:last], self.delays[first:last])

    @property
    def peak(self) -> int:
        """The most polls within a second."""
        poll_times = sorted(self.poll_times)
        first, most = 0, 0
        for last, moment in enumerate(poll_times):
            while poll_times[first] <= moment - 1:
                first += 1
            most = max(most, last - first + 1)
        return most


class Simulation:
    """A simulated client that polls jobs by a policy; it keeps what it has learned for its next run."""

    def __init__(self, policy: PollPolicy, seed: int) -> None:
        self._policy = policy
        self._random = Random(seed)  # noqa: S311 - a simulation
        self._durations = DurationEstimator(policy.min_samples, policy.percentile)

    def flow(self, durations: Sequence[float], rate: float) -> Detection:
        """Submit jobs of these durations at a rate of jobs per second."""
        return self._run(durations, [number / rate for number in range(len(durations))])

    def burst(self, durations: Sequence[float]) -> Detection:
        """Submit all jobs at the same time."""
        return self._run(durations, [0.0] * len(durations))

    def one_by_one(self, durations: Iterable[float]) -> Detection:
        """Submit each job when the end of the job before it has been detected."""
        each = [self._run([seconds], [0.0]) for seconds in durations]
        return Detection([one.polls[0] for one in each], [one.delays[0] for one in each])

    def _run(self, durations: Sequence[float], submitted: Sequence[float]) -> Detection:
        polls, delays, poll_times = [0] * len(durations), [0.0] * len(durations), list[float]()
        events = [(moment, number, -1.0) for number, moment in enumerate(submitted)]  # moment, job, last age running
        heapq.heapify(events)
        while events:
            moment, number, last_running = heapq.heappop(events)
            learned = self._durations.first_poll(_KIND) if self._policy.first_poll == "learned" else None
            if last_running < 0:
                first = moment + self._policy.first_poll_after(learned, self._random.random)
                heapq.heappush(events, (first, number, 0.0))
                continue
            polls[number] += 1
            poll_times.append(moment)
            age = moment - submitted[number]
            if age >= durations[number]:
                delays[number] = age - durations[number]
                self._durations.observe(_KIND, (last_running, age))
            else:
                again = moment + self._policy.next_poll_after(learned, self._random.random)
                heapq.heappush(events, (again, number, age))
        return Detection(polls, delays, poll_times)


@attrs.frozen
class _Model:
    """A model whose jobs take about `typical` seconds, and `changed` times as long from the middle of a flow on."""

    typical: float
    draw: Draw
    changed: float = 1.0

    def simulate(self, policy: PollPolicy, jobs: int) -> Detection:
        """Simulate a flow of the model's jobs and return the part that is counted."""
        random = Random(jobs)  # noqa: S311 - a simulation
        factors = [1.0] * (jobs // 2) + [self.changed] * (jobs - jobs // 2)
        flow = Simulation(policy, 1).flow([factor * self.draw(random) for factor in factors], _FLOW / self.typical)
        return flow.part(jobs // 4, jobs) if self.changed == 1 else flow.part(jobs // 2, jobs // 2 + _CHANGED)


def _lognormal(median: float, sigma: float) -> Draw:
    return lambda random: median * exp(random.gauss(0.0, sigma))


def _queued(random: Random) -> float:
    return random.uniform(8, 12) + (random.uniform(10, 40) if random.random() < 0.4 else 0.0)


_IMAGES: Final = _lognormal(12, 0.3)
_MODELS: Final = {
    "13 s": _Model(13, lambda _: 13.0),
    "10-14 s": _Model(12, lambda random: random.uniform(10, 14)),
    "images": _Model(12, _IMAGES),
    "videos": _Model(90, _lognormal(90, 0.4)),
    "queue": _Model(20, _queued),
    "tail": _Model(20, lambda random: 8 + 4 * random.paretovariate(1.5)),
    "images, faster": _Model(12, _IMAGES, 0.5),
    "images, slower": _Model(12, _IMAGES, 2.0),
    "videos, faster": _Model(90, _lognormal(90, 0.4), 0.5),
}
_DEFAULT: Final = "default"
_FIXED: Final = "every 3 s"
_UNIFORM: Final = "every 3-5 s"
_POLICIES: Final = {
    _FIXED: PollPolicy(first_poll="interval", max_interval=3.0),
    _UNIFORM: PollPolicy(first_poll="interval"),
    **{f"percentile {percent}": PollPolicy(percentile=percent) for percent in (10, 25, 50)},
    **{f"min_samples {count}": PollPolicy(min_samples=count) for count in (4, 16)},
    **{f"known_max_interval {seconds}": PollPolicy(known_max_interval=seconds) for seconds in (3.0, 3.5)},
    _DEFAULT: PollPolicy(),
}
_READING: Final = (
    "In the table: polls per job, mean delay and 95th percentile of the delays in seconds. The default is percentile 5,"
    " min_samples 8, known_max_interval 3.2."
)


def measure(*, quick: bool) -> Section:
    """Simulate each policy with the jobs of each model."""
    jobs, runs = (400, 5) if quick else (2000, 50)
    rows: dict[str, dict[str, Detection]] = {}
    for name, policy in _POLICIES.items():
        rows[name] = {model: one.simulate(policy, jobs) for model, one in _MODELS.items()}
        for model in ("images", "videos"):
            rows[name][f"{model}, first {_FIRST}"] = _first_jobs(policy, _MODELS[model].draw, runs)
    figures = (
        *_targeted_figures("jobs of 10-14 s", rows[_DEFAULT]["10-14 s"]),
        *_targeted_figures("images", rows[_DEFAULT]["images"]),
        *(
            Figure(f"{_BURST:,} images at the same time, {name}: most polls in a second", _burst_peak(_POLICIES[name]))
            for name in (_FIXED, _UNIFORM, _DEFAULT)
        ),
    )
    return Section("Poll policies, simulated", __doc__ or "", figures, _READING, tables=(_table(rows),))


def simulate_steady_jobs(policy: PollPolicy, durations: Sequence[float], rate: float) -> Detection:
    """Simulate jobs of these durations and return the part that was submitted after the client had learned."""
    learned_by = round(rate * max(durations)) + policy.min_samples
    return Simulation(policy, 1).flow(durations, rate).part(learned_by, len(durations))


def _first_jobs(policy: PollPolicy, draw: Draw, runs: int) -> Detection:
    """Simulate the first jobs, one after the other, of many kinds of which nothing is known."""
    parts = []
    for seed in range(runs):
        random = Random(seed)  # noqa: S311 - a simulation
        parts.append(Simulation(policy, seed).one_by_one(draw(random) for _ in range(_FIRST)))
    return Detection([n for one in parts for n in one.polls], [late for one in parts for late in one.delays])


def _burst_peak(policy: PollPolicy) -> int:
    random = Random(1)  # noqa: S311 - a simulation
    simulation = Simulation(policy, 1)
    simulation.flow([_IMAGES(random) for _ in range(_CHANGED)], 1.0)
    return simulation.burst([_IMAGES(random) for _ in range(_BURST)]).peak


def _targeted_figures(name: str, detection: Detection) -> tuple[Figure, ...]:
    return (
        Figure(f"{name}: polls per job", mean(detection.polls), target=Target(3.5)),
        Figure(f"{name}: delay, mean", mean(detection.delays), "s", target=Target(1.65)),
        Figure(f"{name}: delay, 95th percentile", percentile(detection.delays, 0.95), "s", target=Target(3.1)),
    )


def _table(rows: dict[str, dict[str, Detection]]) -> Table:
    models = tuple(rows[_DEFAULT])
    cells = tuple((name, *(_cell(row[model]) for model in models)) for name, row in rows.items())
    return Table(("", *models), cells)


def _cell(detection: Detection) -> str:
    return f"{mean(detection.polls):.2f}, {mean(detection.delays):.2f}, {percentile(detection.delays, 0.95):.2f}"
