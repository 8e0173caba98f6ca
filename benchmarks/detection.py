"""Jobs of about 12 s in a steady flow: how soon their ends are seen, and with how many polls.

Twenty jobs of 10-14 s (evenly at random) are submitted each second, to one client with the default `PollPolicy` and, at
the same time and with the same durations, to one with `first="interval"`, each with a fake server of its own. Delay is
from the moment at which the server's task was done to the caller's having the result. The first jobs of a kind teach
the client how long such jobs take: "steady" are those that were accepted after the eighth had ended, "warm-up"
those before. "Simulated" is what `benchmarks/policies.py` says of the steady ones, without network and real clock.
"""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from aiowery import Limits, PollPolicy, WeryAI
from benchmarks import _work
from benchmarks._figures import Figure, Section, Target, mean, percentile
from benchmarks._process import apart
from benchmarks._server import FakeServer, ServerFacts
from benchmarks.policies import as_detected

_SHORTEST: Final = 10.0
_LONGEST: Final = 14.0
_RATE: Final = 20.0


@attrs.frozen
class _Flow:
    """What became of one client's jobs: when each ended for the caller, and what the server saw."""

    ends: dict[str, float]
    facts: ServerFacts

    def part(self, *, steady: bool) -> dict[str, float]:
        """Return the ends of the jobs accepted after the client had learned, or before."""
        learned = sorted(self.ends.values())[PollPolicy().min_samples - 1]
        return {
            task_id: moment
            for task_id, moment in self.ends.items()
            if (self.facts.tasks[task_id].accepted > learned) is steady
        }


def measure(*, quick: bool) -> Section:
    """Let the jobs flow past both clients at once."""
    jobs, speed = (400, 10.0) if quick else (1000, 1.0)
    learned, interval = apart(_flows, jobs, speed)
    steady = learned.part(steady=True)
    figures = (
        Figure("steady jobs", len(steady)),
        *_figures("steady, learned first look", learned, steady, speed, targets=True),
        *_figures("warm-up, before anything is learned", learned, learned.part(steady=False), speed),
        *_simulated("simulated, learned first look", PollPolicy(), jobs),
        *_figures('the same steady jobs with `first="interval"`', interval, _same(interval, steady), speed),
        *_simulated('simulated, `first="interval"`', PollPolicy(first_poll="interval"), jobs),
    )
    return Section("Jobs of about 12 s: polls and detection delay", __doc__, figures)


def _same(flow: _Flow, chosen: dict[str, float]) -> dict[str, float]:
    """Return the other client's ends of the same jobs: tasks are numbered in order of submission by both servers."""
    return {task_id: moment for task_id, moment in flow.ends.items() if task_id in chosen}


def _figures(name: str, flow: _Flow, ends: dict[str, float], speed: float, *, targets: bool = False) -> list[Figure]:
    delays = [speed * delay for delay in _work.delays(flow.facts, ends)]
    polls = _work.polls(flow.facts, ends)
    wanted = (Target(3.5), Target(1.65), Target(3.1)) if targets else (None, None, None)
    return [
        Figure(f"{name}: polls per job", mean(polls), target=wanted[0]),
        Figure(f"{name}: delay, mean", mean(delays), "s", target=wanted[1]),
        Figure(f"{name}: delay, 95th percentile", percentile(delays, 0.95), "s", target=wanted[2]),
    ]


def _simulated(name: str, policy: PollPolicy, jobs: int) -> list[Figure]:
    found = as_detected(policy, _work.durations(jobs, _SHORTEST, _LONGEST, seed=12), _RATE)
    return [
        Figure(f"{name}: polls per job", mean(found.polls)),
        Figure(f"{name}: delay, mean", mean(found.delays), "s"),
        Figure(f"{name}: delay, 95th percentile", percentile(found.delays, 0.95), "s"),
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
    """Submit the jobs one by one and wait for all of them."""
    ends = _work.Ends()
    requests = _work.requests(_work.durations(jobs, _SHORTEST / speed, _LONGEST / speed, seed=12))
    limits, polling = Limits(in_flight=jobs), policy.faster(speed)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with (
        WeryAI(_work.KEY, base_url=url, limits=limits, polling=polling) as client,
        asyncio.TaskGroup() as running,
    ):
        for number, request in enumerate(requests):
            await asyncio.sleep(began + number / (_RATE * speed) - loop.time())
            running.create_task(ends.run(client, request))
    return ends.moments
