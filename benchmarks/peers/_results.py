"""What came of the runs, as values and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

STORED: Final = Path(__file__).with_name("results.json")


@attrs.frozen(kw_only=True)
class Run:
    """One peer in one scenario, once. Seconds and bytes; `memory` and `cpu` are the client's, of all its jobs.

    `created`: tasks that the server started. `throttled`: requests refused for coming too fast, `refused`: submissions
    refused for want of a slot, `rush`: the most requests within a tenth of a second. `makespan`: from the start to the
    last result, if there are all. `ideal`: of a client that knows each end at once. `unnamed`: tasks whose id neither
    the caller nor the library knows. `server_load`: the server's share of one core. `why`: what is missing, in a peer
    that could not be measured.
    """

    peer: str
    scenario: str
    round: int
    jobs: int
    finished: int = 0
    created: int = 0
    polls: int = 0
    requests: int = 0
    throttled: int = 0
    refused: int = 0
    connections: int = 0
    peak: int = 0
    rush: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    delay: float | None = None
    delay_95: float | None = None
    stall: float | None = None
    makespan: float | None = None
    ideal: float | None = None
    unnamed: int = 0
    goes_on: bool | None = None
    server_load: float = 0.0
    failures: Mapping[str, int] = attrs.field(factory=dict)
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether everything was finished."""
        return not self.why and self.finished == self.jobs


@attrs.frozen(kw_only=True)
class Results:
    """All runs, and what the page says about them; `quick`: only a miniature."""

    quick: bool
    machine: tuple[str, ...]
    seconds: float
    server_per_second: float
    server_cpu: float
    versions: Mapping[str, Mapping[str, str]]
    runs: tuple[Run, ...]

    def of(self, scenario: str, peer: str) -> tuple[Run, ...]:
        """Return the rounds of one peer in one scenario."""
        return tuple(run for run in self.runs if run.scenario == scenario and run.peer == peer)

    def with_newer(self, newer: Results) -> Results:
        """Return these results with what was measured again in the place of what it was before."""
        again = {(run.scenario, run.peer) for run in newer.runs}
        kept = tuple(run for run in self.runs if (run.scenario, run.peer) not in again)
        return attrs.evolve(
            newer,
            seconds=self.seconds + newer.seconds,
            versions={**self.versions, **newer.versions},
            runs=(*kept, *newer.runs),
        )


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of what was measured."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def store(results: Results) -> None:
    """Write the results beside this module."""
    STORED.write_text(json.dumps(attrs.asdict(results), indent=1) + "\n", encoding="utf-8")


def stored() -> Results:
    """Read them again."""
    told: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    runs = tuple(Run(**run) for run in told.pop("runs"))
    return Results(**{**told, "machine": tuple(told["machine"])}, runs=runs)
