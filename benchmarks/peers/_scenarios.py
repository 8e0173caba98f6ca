"""What is measured: jobs, misfortunes, how often, and how long anybody is waited for."""

from __future__ import annotations

from typing import Final

import attrs

from benchmarks import _work
from benchmarks.peers._plan import Faults


@attrs.frozen(kw_only=True)
class Scenario:
    """One situation.

    `together`: how many peers are measured at the same time (each with a server of its own); 1 where time and CPU
    are what is measured. `spread`: shortest and longest job in seconds. `told`: aiowery is told to run all at once.
    `usual`: about how many seconds a run takes that succeeds. `survivors`: only for who finished the crowd of 1,000.
    """

    name: str
    title: str
    how: str
    jobs: int
    spread: tuple[float, float]
    patience: float
    usual: float
    rounds: int = 1
    together: int = 1
    faults: Faults = attrs.field(factory=Faults)
    told: bool = False
    gauge: bool = False
    gate: int = 0
    leave: tuple[float, ...] = ()
    survivors: bool = False

    def durations(self, seed: int) -> tuple[float, ...]:
        """Return the jobs' durations, the same for all peers in the same round."""
        return tuple(_work.durations(self.jobs, *self.spread, seed))


CROWD: Final = "thousand"
_SLOTS: Final = 20

SCENARIOS: Final = (
    Scenario(
        name="two-hundred",
        title="200 jobs of 5-15 s",
        how="All handed over at once.",
        jobs=200,
        spread=(5, 15),
        patience=60,
        usual=18,
        rounds=5,
        told=True,
    ),
    Scenario(
        name=CROWD,
        title="1,000 jobs of 10-30 s",
        how="All handed over at once.",
        jobs=1_000,
        spread=(10, 30),
        patience=90,
        usual=36,
        rounds=5,
        told=True,
    ),
    Scenario(
        name="stalls",
        title="1,000 jobs of 10-30 s, watched for stalls",
        how="As before, once more, with a timer in the event loop that asks to be called every millisecond; the figure"
        " is the latest it ever was. It costs CPU, hence a round of its own. Threads have no event loop.",
        jobs=1_000,
        spread=(10, 30),
        patience=45,
        usual=36,
        told=True,
        gauge=True,
    ),
    Scenario(
        name="ten-thousand",
        title="10,000 jobs of 20-60 s",
        how="For those who finished at least 99 % of 1,000; the machine is not asked for 10,000 threads.",
        jobs=10_000,
        spread=(20, 60),
        patience=120,
        usual=75,
        told=True,
        survivors=True,
    ),
    Scenario(
        name="rate",
        title="A server that answers 20 requests/s",
        how="100 jobs of 5-15 s; any request beyond 20 within a second is answered with 429 and `Retry-After: 1`.",
        jobs=100,
        spread=(5, 15),
        patience=120,
        usual=70,
        together=6,
        faults=Faults(rate=20),
    ),
    Scenario(
        name="lost",
        title="Submissions whose answers are lost",
        how="10 jobs; the server accepts the first two submissions of each, starts its task, and closes the connection"
        " without an answer. A third would be answered. Every task costs money.",
        jobs=10,
        spread=(3, 4),
        patience=30,
        usual=10,
        together=6,
        faults=Faults(lost=2),
    ),
    Scenario(
        name="trouble-500",
        title="One 500 per job while polling",
        how="10 jobs; the first poll of each is answered with 500.",
        jobs=10,
        spread=(6, 8),
        patience=40,
        usual=14,
        together=6,
        faults=Faults(trouble=500),
    ),
    Scenario(
        name="trouble-429",
        title="One 429 per job while polling",
        how="10 jobs; the first poll of each is answered with 429 and `Retry-After: 1`.",
        jobs=10,
        spread=(6, 8),
        patience=40,
        usual=14,
        together=6,
        faults=Faults(trouble=429),
    ),
    Scenario(
        name="slots",
        title="20 slots, calls as they come",
        how="200 jobs of 10-14 s, all handed over at once; the server runs 20 tasks and refuses one more, with code"
        " 6010 in WeryAI's protocol and with 429 and `Retry-After: 1` in the others'. The ideal client (computed) knows"
        " each end at once and submits at that moment.",
        jobs=200,
        spread=(10, 14),
        patience=240,
        usual=140,
        together=12,
        faults=Faults(slots=_SLOTS),
    ),
    Scenario(
        name="slots-gated",
        title="20 slots, each call behind a semaphore of the caller's own",
        how="As before, but with `asyncio.Semaphore(20)` around each call, which is what a caller adds who knows.",
        jobs=200,
        spread=(10, 14),
        patience=240,
        usual=150,
        together=12,
        faults=Faults(slots=_SLOTS),
        gate=_SLOTS,
    ),
    Scenario(
        name="leavers",
        title="Callers that are cancelled",
        how="10 jobs of 8-10 s whose submissions are answered after 3 s. Five callers are cancelled after 2 s, while"
        " the submission is under way, five after 5 s, when it has been answered. Then another job shows whether the"
        " process still works. A task can be named if the caller's code was given its id or the library lists it."
        " aiowery has four submissions under way at once, and a caller that leaves before its turn starts no task."
        " Threads cannot be cancelled.",
        jobs=11,
        spread=(8, 10),
        patience=60,
        usual=20,
        together=6,
        faults=Faults(slow=3.0),
        leave=(2.0,) * 5 + (5.0,) * 5,
    ),
)


def miniature(scenario: Scenario) -> Scenario:
    """Return the scenario small and short, to see that everything works."""
    if scenario.leave:
        return scenario
    jobs, spread = min(scenario.jobs, 25), (min(scenario.spread[0], 2), min(scenario.spread[1], 4))
    return attrs.evolve(scenario, jobs=jobs, spread=spread, rounds=1, patience=20, usual=9, together=4)
