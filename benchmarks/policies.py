"""When to look at a job, simulated: polls a job, and how late its end is found, for several policies and models.

The pauses are the library's own (`PollPolicy`), and so is what is learned (`Durations`). Invented are the durations,
and the clock, which jumps from look to look: looks take no time, and come at their moments, while the real scheduler
has a grain of 0.05 s. Jobs of one kind are submitted in a steady flow, about 20 under way at a time, 2,000 of them; the
first quarter is not counted. "Faster" and "slower": in the middle of the flow the model begins to take half, or double,
the time; counted are the 100 jobs from then on. "First 40": jobs of a kind of which nothing is known yet, one after
the other. Durations: images 12 s and videos 90 s in the median (lognormal, sigma 0.3 and 0.4); "queue": 40 % wait for
10 to 40 s before they run for 8 to 12 s; "tail": 8 s and four times a Pareto variable of shape 1.5. Whether a real
client does the same is seen in "Jobs of about 12 s", where the flow that is measured is simulated, too.
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
from benchmarks._figures import Figure, Section, Target, mean, percentile

Draw = Callable[[Random], float]

_KIND: Final = "kind"
_FLOW: Final = 20
_RUSH: Final = 1000
_CHANGED: Final = 100
_FIRST: Final = 40


@attrs.frozen
class Found:
    """What became of simulated jobs: the polls of each, how late its end was found, and when all looks were."""

    polls: Sequence[int]
    delays: Sequence[float]
    looks: Sequence[float] = ()

    def part(self, first: int, last: int) -> Found:
        """Return the same of some jobs, in order of submission."""
        return Found(self.polls[first:last], self.delays[first:last])

    @property
    def peak(self) -> int:
        """The most looks within a second."""
        looks = sorted(self.looks)
        first, most = 0, 0
        for place, moment in enumerate(looks):
            while looks[first] <= moment - 1:
                first += 1
            most = max(most, place - first + 1)
        return most


class Simulation:
    """Looks at jobs as a client with this policy does; what one run has learned the next one knows."""

    def __init__(self, policy: PollPolicy, seed: int) -> None:
        self._policy = policy
        self._random = Random(seed)  # noqa: S311 - a simulation
        self._durations = DurationEstimator(policy.min_samples, policy.percentile)

    def flow(self, durations: Sequence[float], rate: float) -> Found:
        """Submit so many jobs a second, which take so long."""
        return self._run(durations, [number / rate for number in range(len(durations))])

    def rush(self, durations: Sequence[float]) -> Found:
        """Submit all at once."""
        return self._run(durations, [0.0] * len(durations))

    def one_by_one(self, durations: Iterable[float]) -> Found:
        """Submit each when the one before it has been found done."""
        each = [self._run([seconds], [0.0]) for seconds in durations]
        return Found([one.polls[0] for one in each], [one.delays[0] for one in each])

    def _run(self, durations: Sequence[float], submitted: Sequence[float]) -> Found:
        polls, delays, looks = [0] * len(durations), [0.0] * len(durations), list[float]()
        coming = [(moment, number, -1.0) for number, moment in enumerate(submitted)]  # moment, job, last seen running
        heapq.heapify(coming)
        while coming:
            moment, number, last_running = heapq.heappop(coming)
            learned = self._durations.first_poll(_KIND) if self._policy.first_poll == "learned" else None
            if last_running < 0:
                first = moment + self._policy.first_poll_after(learned, self._random.random)
                heapq.heappush(coming, (first, number, 0.0))
                continue
            polls[number] += 1
            looks.append(moment)
            age = moment - submitted[number]
            if age >= durations[number]:
                delays[number] = age - durations[number]
                self._durations.observe(_KIND, (last_running, age))
            else:
                again = moment + self._policy.next_poll_after(learned, self._random.random)
                heapq.heappush(coming, (again, number, age))
        return Found(polls, delays, looks)


@attrs.frozen
class _Model:
    """A model that takes about `usual` seconds; from the middle of a flow on `changed` times as long."""

    usual: float
    draw: Draw
    changed: float = 1.0

    def found(self, policy: PollPolicy, jobs: int) -> Found:
        """Return what counts of a flow of its jobs."""
        random = Random(jobs)  # noqa: S311 - a simulation
        factors = [1.0] * (jobs // 2) + [self.changed] * (jobs - jobs // 2)
        flow = Simulation(policy, 1).flow([factor * self.draw(random) for factor in factors], _FLOW / self.usual)
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
    **{f"enough {enough}": PollPolicy(min_samples=enough) for enough in (4, 16)},
    **{f"eager {eager}": PollPolicy(known_max_interval=eager) for eager in (3.0, 3.5)},
    _DEFAULT: PollPolicy(),
}


def measure(*, quick: bool) -> Section:
    """Let each policy look at the jobs of each model."""
    jobs, runs = (400, 5) if quick else (2000, 50)
    rows: dict[str, dict[str, Found]] = {}
    for name, policy in _POLICIES.items():
        rows[name] = {model: one.found(policy, jobs) for model, one in _MODELS.items()}
        for model in ("images", "videos"):
            rows[name][f"{model}, first {_FIRST}"] = _beginning(policy, _MODELS[model].draw, runs)
    figures = (
        *_aims("jobs of 10-14 s", rows[_DEFAULT]["10-14 s"]),
        *_aims("images", rows[_DEFAULT]["images"]),
        *(
            Figure(f"{_RUSH:,} images at once, {name}: most polls in a second", _rush(_POLICIES[name]))
            for name in (_FIXED, _UNIFORM, _DEFAULT)
        ),
    )
    return Section("Policies of polling, simulated", __doc__ or "", figures, reading=_table(rows))


def as_detected(policy: PollPolicy, durations: Sequence[float], rate: float) -> Found:
    """Return what comes of another benchmark's jobs here, without those submitted before anything was learned."""
    learned_by = round(rate * max(durations)) + policy.min_samples
    return Simulation(policy, 1).flow(durations, rate).part(learned_by, len(durations))


def _beginning(policy: PollPolicy, draw: Draw, runs: int) -> Found:
    """Return what comes of the first jobs, one after the other, of many kinds of which nothing is known."""
    found = []
    for seed in range(runs):
        random = Random(seed)  # noqa: S311 - a simulation
        found.append(Simulation(policy, seed).one_by_one(draw(random) for _ in range(_FIRST)))
    return Found([n for one in found for n in one.polls], [late for one in found for late in one.delays])


def _rush(policy: PollPolicy) -> int:
    random = Random(1)  # noqa: S311 - a simulation
    simulation = Simulation(policy, 1)
    simulation.flow([_IMAGES(random) for _ in range(_CHANGED)], 1.0)
    return simulation.rush([_IMAGES(random) for _ in range(_RUSH)]).peak


def _aims(name: str, found: Found) -> tuple[Figure, ...]:
    return (
        Figure(f"{name}: polls per job", mean(found.polls), target=Target(3.5)),
        Figure(f"{name}: delay, mean", mean(found.delays), "s", target=Target(1.65)),
        Figure(f"{name}: delay, 95th percentile", percentile(found.delays, 0.95), "s", target=Target(3.1)),
    )


def _table(rows: dict[str, dict[str, Found]]) -> str:
    """Return polls a job, mean delay and 95th percentile of the delays, policy by policy."""
    models = list(rows[_DEFAULT])
    lines = [
        "Polls a job, mean delay and its 95th percentile in seconds. The default is percentile 5, enough 8, eager 3.2.",
        "",
        f"| | {' | '.join(models)} |",
        f"|---|{'---:|' * len(models)}",
    ]
    lines += [f"| {name} | {' | '.join(_cell(row[model]) for model in models)} |" for name, row in rows.items()]
    return "\n".join(lines)


def _cell(found: Found) -> str:
    return f"{mean(found.polls):.2f}, {mean(found.delays):.2f}, {percentile(found.delays, 0.95):.2f}"
