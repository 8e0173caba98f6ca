"""The results of the runs, as values and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

STORED: Final = Path(__file__).with_name("results.json")
ENOUGH: Final = 0.99
"""The share of its jobs that a peer must finish, so that its figures are compared."""


@attrs.frozen(kw_only=True)
class Run:
    """One run of one peer in one scenario, in seconds and bytes; `memory` and `cpu` are the client's, of all its jobs.

    `created`: tasks that the server started. `throttled`: requests refused because of the rate limit. `refused`:
    submissions refused because no slot was free. `burst`: the most requests within a tenth of a second. `makespan`: the
    time from the start to the last result, if all jobs finished. `ideal`: the makespan of a client that detects each
    end immediately. `unidentified`: tasks whose id neither the caller nor the library has. `works_afterwards`: True if
    a job after the cancelled callers finished. `server_load`: the server's share of one core. `missing_reason`: the
    reason why a peer could not be measured.
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
    burst: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    delay: float | None = None
    delay_95: float | None = None
    stall: float | None = None
    makespan: float | None = None
    ideal: float | None = None
    unidentified: int = 0
    works_afterwards: bool | None = None
    server_load: float = 0.0
    failures: Mapping[str, int] = attrs.field(factory=dict)
    missing_reason: str = ""

    @property
    def is_complete(self) -> bool:
        """True if all jobs finished."""
        return not self.missing_reason and self.finished == self.jobs


@attrs.frozen
class Gain:
    """One measure of an httpx client, over httpx's own transport and over the pooled transport."""

    name: str
    own: float
    pooled: float


@attrs.frozen(kw_only=True)
class Results:
    """All runs, and the facts about them for the report; `quick`: True for a miniature."""

    quick: bool
    machine: tuple[str, ...]
    seconds: float
    server_per_second: float
    server_cpu: float
    versions: Mapping[str, Mapping[str, str]]
    runs: tuple[Run, ...]
    gains: tuple[Gain, ...] = ()

    def of(self, scenario: str, peer: str) -> tuple[Run, ...]:
        """Return the rounds of one peer in one scenario."""
        return tuple(run for run in self.runs if run.scenario == scenario and run.peer == peer)

    def with_newer(self, newer: Results) -> Results:
        """Return these results, with runs that were measured again in place of the former ones."""
        again = {(run.scenario, run.peer) for run in newer.runs}
        kept = tuple(run for run in self.runs if (run.scenario, run.peer) not in again)
        return attrs.evolve(
            newer,
            seconds=self.seconds + newer.seconds,
            versions={**self.versions, **newer.versions},
            runs=(*kept, *newer.runs),
            gains=newer.gains or self.gains,
        )


def median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are not None; None if there is none."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def store(results: Results) -> None:
    """Write the results to a file beside this module."""
    STORED.write_text(json.dumps(attrs.asdict(results), indent=1) + "\n", encoding="utf-8")


def load() -> Results:
    """Read the stored results."""
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    runs = tuple(Run(**run) for run in stored.pop("runs"))
    gains = tuple(Gain(**gain) for gain in stored.pop("gains", ()))
    return Results(**{**stored, "machine": tuple(stored["machine"])}, runs=runs, gains=gains)
