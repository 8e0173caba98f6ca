"""Submissions in doubt without need: a misbehaving server, and callers that cancel at random.

This is the stress run of the tests (`tests/transport/stress.py`), over the package's own connections and over a
client of httpx, plain and over TLS. The server splits, delays and doubles its responses, closes and resets connections,
and sends bytes that were not asked for. A doubt without need is a paid POST that was reported as possibly sent although
the server has never read a byte of it. Each such doubt keeps a person or a webhook busy. Checks that fail are responses
that belong to another request, cut bodies that were taken as whole, and connections that stay open.
"""

from __future__ import annotations

from typing import Final

import attrs

from benchmarks._figures import Figure, Section, Target
from benchmarks._fresh_process import in_fresh_process
from tests.transport.stress import TRANSPORTS, StressOptions, run_stress

_POOLED: Final = "pooled"
_HTTPX: Final = "httpx"


@attrs.frozen
class _Counts:
    """The counts of one or several runs."""

    answered: int
    doubts: int
    failed: int

    @property
    def rate(self) -> float:
        """Doubts without need for each thousand responses."""
        return 1000 * self.doubts / max(1, self.answered)


def measure(*, quick: bool) -> Section:
    """Run the stress over both transports, plain and over TLS."""
    seconds, seeds = (1.0, 1) if quick else (10.0, 2)
    figures: list[Figure] = []
    for tls in (False, True):
        found = {name: _counts(name, seconds, seeds, tls=tls) for name in (_HTTPX, _POOLED)}
        for name, counts in found.items():
            target = Target(found[_HTTPX].rate) if name == _POOLED else None
            label = f"{name}, TLS" if tls else name
            figures += [
                Figure(f"{label}: answered", counts.answered),
                Figure(f"{label}: doubts without need, of 1,000 answered", counts.rate, target=target),
                Figure(f"{label}: checks that failed", counts.failed, target=Target(0) if name == _POOLED else None),
            ]
    return Section("Doubts without need", __doc__, tuple(figures))


def _counts(name: str, seconds: float, seeds: int, *, tls: bool) -> _Counts:
    runs = [in_fresh_process(_stress, name, seconds, seed, tls=tls) for seed in range(1, seeds + 1)]
    return _Counts(*(sum(counts) for counts in zip(*map(attrs.astuple, runs), strict=True)))


def _stress(name: str, seconds: float, seed: int, *, tls: bool) -> _Counts:
    report = run_stress(StressOptions(TRANSPORTS[name], seconds, seed, tls))
    return _Counts(report.answered, report.doubts_without_need, sum(report.failures.values()))
