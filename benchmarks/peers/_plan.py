"""What the parent tells the server and a peer's process. Only the standard library: peers live in bare environments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faults:
    """The server's misfortunes.

    `slots`: tasks that may run at once. `rate`: requests answered in any second, each further one with 429. `lost`:
    how many first attempts of each job are accepted without an answer. `trouble`: the HTTP status that answers each
    task's first look. `slow`: seconds between accepting a submission and saying so.
    """

    slots: int = 0
    rate: int = 0
    lost: int = 0
    trouble: int = 0
    slow: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a peer's process is to do: jobs of so many seconds, all handed over at once, against the server at `url`.

    `patience`: seconds after which what has ended is what counts. `gauge`: whether to watch for stalls. `gate`: the
    size of a semaphore of the caller's own around each call, 0 for none. `in_flight`: as many as the server allows
    at once, for libraries that want to be told; 0 for their default. `leave`: seconds after which each caller is
    cancelled, in turn, and the jobs after that are to be found again. `packages`: whose versions to report.
    """

    url: str
    jobs: tuple[float, ...]
    patience: float
    gauge: bool = False
    gate: int = 0
    in_flight: int = 0
    leave: tuple[float, ...] = ()
    packages: tuple[str, ...] = ()


def text(seconds: float, number: int) -> str:
    """Return the prompt that tells the server how long the job takes, and which of the client's it is."""
    return f"bench {seconds:.3f} job {number}"
