"""The scenarios: their jobs, faults, numbers of rounds, and timeouts."""

from __future__ import annotations

from typing import Final

import attrs

from benchmarks import _workload
from benchmarks.peers._plan import Faults


@attrs.frozen(kw_only=True)
class Scenario:
    """One scenario.

    `together`: the number of peers that are measured at the same time, each with a server of its own; 1 where time and
    CPU are measured. `spread`: the shortest and the longest job in seconds. `raises_limit`: True if aiowery's limit of
    tasks in flight is raised to the number of jobs. `expected`: about the seconds of a run that succeeds. `timeout`:
    the seconds after which a run ends. `finishers_only`: only for peers that finished the scenario of 1,000 jobs.
    """

    name: str
    title: str
    how: str
    jobs: int
    spread: tuple[float, float]
    timeout: float
    expected: float
    rounds: int = 1
    together: int = 1
    faults: Faults = attrs.field(factory=Faults)
    raises_limit: bool = False
    gauge: bool = False
    gate: int = 0
    cancel_after: tuple[float, ...] = ()
    finishers_only: bool = False

    def durations(self, seed: int) -> tuple[float, ...]:
        """Return the jobs' durations in seconds, the same for all peers in the same round."""
        return tuple(_workload.durations(self.jobs, *self.spread, seed))


THOUSAND: Final = "thousand"
_SLOTS: Final = 20

SCENARIOS: Final = (
    Scenario(
        name="two-hundred",
        title="200 jobs of 5-15 s",
        how="All jobs are started immediately.",
        jobs=200,
        spread=(5, 15),
        timeout=60,
        expected=18,
        rounds=5,
        raises_limit=True,
    ),
    Scenario(
        name=THOUSAND,
        title="1,000 jobs of 10-30 s",
        how="All jobs are started immediately.",
        jobs=1_000,
        spread=(10, 30),
        timeout=90,
        expected=36,
        rounds=5,
        raises_limit=True,
    ),
    Scenario(
        name="stalls",
        title="1,000 jobs of 10-30 s, stalls of the event loop",
        how="Like the scenario before, with a timer in the event loop that is due every millisecond. The figure is its"
        " greatest lateness. The timer costs CPU, so it has a round of its own. Threads have no event loop.",
        jobs=1_000,
        spread=(10, 30),
        timeout=45,
        expected=36,
        raises_limit=True,
        gauge=True,
    ),
    Scenario(
        name="ten-thousand",
        title="10,000 jobs of 20-60 s",
        how="For the peers that finished at least 99 % of 1,000. 10,000 threads are not tried on this machine.",
        jobs=10_000,
        spread=(20, 60),
        timeout=120,
        expected=75,
        raises_limit=True,
        finishers_only=True,
    ),
    Scenario(
        name="rate",
        title="A server that answers 20 requests/s",
        how="100 jobs of 5-15 s. Any request beyond 20 within a second is answered with 429 and `Retry-After: 1`.",
        jobs=100,
        spread=(5, 15),
        timeout=120,
        expected=70,
        together=6,
        faults=Faults(rate=20),
    ),
    Scenario(
        name="lost",
        title="Submissions whose responses are lost",
        how="10 jobs. The server accepts the first two submissions of each, starts its task, and closes the connection"
        " without a response. A third submission gets a response. Every task costs money.",
        jobs=10,
        spread=(3, 4),
        timeout=30,
        expected=10,
        together=6,
        faults=Faults(lost=2),
    ),
    Scenario(
        name="failed-polls-500",
        title="One 500 per job while polling",
        how="10 jobs. The first poll of each is answered with 500.",
        jobs=10,
        spread=(6, 8),
        timeout=40,
        expected=14,
        together=6,
        faults=Faults(first_poll_status=500),
    ),
    Scenario(
        name="failed-polls-429",
        title="One 429 per job while polling",
        how="10 jobs. The first poll of each is answered with 429 and `Retry-After: 1`.",
        jobs=10,
        spread=(6, 8),
        timeout=40,
        expected=14,
        together=6,
        faults=Faults(first_poll_status=429),
    ),
    Scenario(
        name="slots",
        title="20 slots, all calls immediately",
        how="200 jobs of 10-14 s, all started immediately. The server runs 20 tasks and refuses any further one, with"
        " code 6010 in WeryAI's protocol and with 429 and `Retry-After: 1` in the other protocols. The ideal client"
        " (computed) detects each end immediately and submits at the same moment.",
        jobs=200,
        spread=(10, 14),
        timeout=240,
        expected=140,
        together=12,
        faults=Faults(slots=_SLOTS),
    ),
    Scenario(
        name="slots-gated",
        title="20 slots, each call behind the caller's own semaphore",
        how="Like the scenario before, but with `asyncio.Semaphore(20)` around each call. A caller that knows the limit"
        " can add it.",
        jobs=200,
        spread=(10, 14),
        timeout=240,
        expected=150,
        together=12,
        faults=Faults(slots=_SLOTS),
        gate=_SLOTS,
    ),
    Scenario(
        name="cancelled-callers",
        title="Cancelled callers",
        how="10 jobs of 8-10 s whose submissions are answered after 3 s. Five callers are cancelled after 2 s, while"
        " the submission is under way, five after 5 s, when it has been answered. Then another job shows whether the"
        " process still works. The id of a task is known if the caller's code received it or the library lists it."
        " aiowery has four submissions under way at the same time, and a caller that is cancelled in the queue starts"
        " no task. Threads cannot be cancelled.",
        jobs=11,
        spread=(8, 10),
        timeout=60,
        expected=20,
        together=6,
        faults=Faults(slow=3.0),
        cancel_after=(2.0,) * 5 + (5.0,) * 5,
    ),
)


def miniature(scenario: Scenario) -> Scenario:
    """Return a small and short version of the scenario, to see that everything works."""
    if scenario.cancel_after:
        return scenario
    jobs, spread = min(scenario.jobs, 25), (min(scenario.spread[0], 2), min(scenario.spread[1], 4))
    return attrs.evolve(scenario, jobs=jobs, spread=spread, rounds=1, timeout=20, expected=9, together=4)
