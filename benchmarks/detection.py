"""Jobs of about 12 s in a steady flow: how soon their ends are detected, and with how many polls.

Twenty jobs of 10-14 s (uniformly random) are submitted each second, to one client with the default `PollPolicy` and, at
the same time and with the same durations, to one with `first_poll="interval"`. Each client has a fake server of its
own. The delay is the time from the end of the task at the server until the caller has the result. From the first jobs
of a kind the client learns how long such jobs take. "Steady" are the jobs that were accepted after the eighth had
ended, "warm-up" those before. "Simulated" is the result of `benchmarks/policies.py` for the steady jobs, without
network and real clock.
"""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from aiowery import Limits, PollPolicy, WeryAI
from benchmarks import _workload
from benchmarks._fake_server import FakeServer, ServerFacts
from benchmarks._figures import Figure, Section, Target, mean, percentile
from benchmarks._fresh_process import in_fresh_process
from benchmarks.policies import simulate_steady_jobs

_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_RATE: Final = 20.0


@attrs.frozen
class _Flow:
    """One client's jobs: the time at which the caller had each result, and the server's counts."""

    ends: dict[str, float]
    facts: ServerFacts

    def part(self, *, steady: bool) -> dict[str, float]:
        """Return the result times of the jobs accepted after the client had learned their duration, or before."""
        learned = sorted(self.ends.values())[PollPolicy().min_samples - 1]
        return {
            task_id: moment
            for task_id, moment in self.ends.items()
            if (self.facts.tasks[task_id].accepted > learned) is steady
        }


def measure(*, quick: bool) -> Section:
    """Run the jobs through both clients at the same time, and simulate them."""
    jobs, speed = (400, 10.0) if quick else (1000, 1.0)
    learned, interval = in_fresh_process(_flows, jobs, speed)
    steady = learned.part(steady=True)
    figures = (
        Figure("steady jobs", len(steady)),
        *_figures("steady, learned first poll", learned, steady, speed, targets=True),
        *_figures("warm-up, before anything is learned", learned, learned.part(steady=False), speed),
        *_simulated("simulated, learned first poll", PollPolicy(), jobs),
        *_figures('the same steady jobs with `first_poll="interval"`', interval, _same(interval, steady), speed),
        *_simulated('simulated, `first_poll="interval"`', PollPolicy(first_poll="interval"), jobs),
    )
    return Section("Jobs of about 12 s: polls and detection delay", __doc__, figures)


def _same(flow: _Flow, chosen: dict[str, float]) -> dict[str, float]:
    """Return the other client's result times of the same jobs; both servers number tasks in order of submission."""
    return {task_id: moment for task_id, moment in flow.ends.items() if task_id in chosen}


def _figures(name: str, flow: _Flow, ends: dict[str, float], speed: float, *, targets: bool = False) -> list[Figure]:
    delays = [speed * delay for delay in _workload.delays(flow.facts, ends)]
    polls = _workload.polls(flow.facts, ends)
    bounds = (Target(3.5), Target(1.65), Target(3.1)) if targets else (None, None, None)
    return [
        Figure(f"{name}: polls per job", mean(polls), target=bounds[0]),
        Figure(f"{name}: delay, mean", mean(delays), "s", target=bounds[1]),
        Figure(f"{name}: delay, 95th percentile", percentile(delays, 0.95), "s", target=bounds[2]),
    ]


def _simulated(name: str, policy: PollPolicy, jobs: int) -> list[Figure]:
    simulated = simulate_steady_jobs(policy, _workload.durations(jobs, _SHORTEST, _LONGEST, seed=12), _RATE)
    return [
        Figure(f"{name}: polls per job", mean(simulated.polls)),
        Figure(f"{name}: delay, mean", mean(simulated.delays), "s"),
        Figure(f"{name}: delay, 95th percentile", percentile(simulated.delays, 0.95), "s"),
    ]


def _flows(jobs: int, speed: float) -> tuple[_Flow, _Flow]:
    with FakeServer() as one, FakeServer() as other:
        learned, interval = asyncio.run(_both(one.url, other.url, jobs, speed))
        return _Flow(learned, one.stop()), _Flow(interval, other.stop())


async def _both(one: str, other: str, jobs: int, speed: float) -> tuple[dict[str, float], dict[str, float]]:
    return await asyncio.gather(
        _flow(one, jobs, speed, PollPolicy()), _flow(other, jobs, speed, PollPolicy(first_poll="interval"))
    )


async def _flow(url: str, jobs: int, speed: float, policy: PollPolicy) -> dict[str, float]:
    """Submit the jobs at a steady rate and wait for all of them; return their result times."""
    ends = _workload.ResultTimes()
    requests = _workload.requests(_workload.durations(jobs, _SHORTEST / speed, _LONGEST / speed, seed=12))
    limits, polling = Limits(in_flight=jobs), policy.faster(speed)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with (
        WeryAI(_workload.KEY, base_url=url, limits=limits, polling=polling) as client,
        asyncio.TaskGroup() as running,
    ):
        for number, request in enumerate(requests):
            await asyncio.sleep(began + number / (_RATE * speed) - loop.time())
            running.create_task(ends.run(client, request))
    return ends.times
