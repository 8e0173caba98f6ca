"""The values that the parent sends to the server and to a peer's process.

This module imports only the standard library, because the peers' environments have no other packages of the project.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Faults:
    """The server's fault behavior.

    `slots`: the number of tasks that may run at the same time. `rate`: the number of requests that are answered in any
    second; each further one gets 429. `lost`: the number of first attempts of each job that are accepted without a
    response. `first_poll_status`: the HTTP status of the response to each task's first poll. `slow`: seconds between
    the acceptance of a submission and the response.
    """

    slots: int = 0
    rate: int = 0
    lost: int = 0
    first_poll_status: int = 0
    slow: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The work of a peer's process: jobs of these seconds, all started immediately, against the server at `url`.

    `timeout`: seconds after which the run ends; only the jobs that have finished by then count. `gauge`: True to
    measure stalls. `gate`: the size of the caller's own semaphore around each call, 0 for none. `in_flight`: the number
    of tasks that the server allows at the same time, for libraries with such an option; 0 for their default.
    `cancel_after`: for each caller, the seconds after which it is cancelled. `packages`: those whose versions are
    reported.
    """

    url: str
    jobs: tuple[float, ...]
    timeout: float
    gauge: bool = False
    gate: int = 0
    in_flight: int = 0
    cancel_after: tuple[float, ...] = ()
    packages: tuple[str, ...] = ()


def make_prompt(seconds: float, number: int) -> str:
    """Return a prompt from which the server reads the job's duration and the client's number of the job."""
    return f"bench {seconds:.3f} job {number}"
