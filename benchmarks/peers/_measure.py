"""Running everybody through everything: rounds interleaved, those who gave out left out, misfortunes side by side."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import repeat
from math import ceil
from pathlib import Path
from typing import Final

import attrs

from benchmarks._capacity import Capacity, capacity
from benchmarks._held import ServerProcess
from benchmarks._page import machine
from benchmarks.peers._peers import Peer
from benchmarks.peers._plan import text
from benchmarks.peers._results import Results, Run
from benchmarks.peers._run import run
from benchmarks.peers._scenarios import CROWD, Scenario
from benchmarks.peers._venvs import NotInstalledError, interpreter

ENOUGH: Final = 0.99
HALF: Final = 0.5
PATIENT_ROUNDS: Final = 2
_START: Final = 1.5


@attrs.define
class _Campaign:
    """What is known so far; an unavailable peer is asked once."""

    latest: bool
    before: tuple[Run, ...]
    runs: list[Run] = attrs.field(factory=list)
    versions: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    pythons: dict[str, Path] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)

    def install(self, peers: Iterable[Peer]) -> None:
        """Give each peer its interpreter."""
        for peer in peers:
            try:
                self.pythons[peer.name] = interpreter(peer, latest=self.latest)
            except NotInstalledError as error:
                self.missing[peer.name] = str(error)

    def one(self, peer: Peer, scenario: Scenario, number: int) -> None:
        """Measure one peer once, unless it has shown that there is no point."""
        if reason := self._pointless(peer, scenario):
            print(f"{scenario.name} {number + 1}: {peer.name}: {reason}", file=sys.stderr, flush=True)
            return
        outcome = run(peer, self.pythons[peer.name], scenario, number)
        if outcome.run.why:
            self.missing[peer.name] = outcome.run.why
        self.runs.append(outcome.run)
        self.versions[peer.name].update(outcome.versions)
        print(f"{scenario.name} {number + 1}: {peer.name}: {_line(outcome.run)}", file=sys.stderr, flush=True)

    def _pointless(self, peer: Peer, scenario: Scenario) -> str:
        if peer.name in self.missing:
            return f"not available: {self.missing[peer.name]}"
        if peer.threads and (scenario.gauge or scenario.leave or scenario.survivors):
            return "not for threads"
        if scenario.survivors and not any(_enough(run) for run in self._of(peer, CROWD) or self._before(peer)):
            return "did not finish 1,000"
        earlier = self._of(peer, scenario.name)
        tries = PATIENT_ROUNDS if all(run.finished >= HALF * run.jobs for run in earlier) else 1
        if len(earlier) >= tries and not any(_enough(run) for run in earlier):
            return f"did not finish in {len(earlier)} rounds"
        return ""

    def _before(self, peer: Peer) -> list[Run]:
        return [run for run in self.before if run.peer == peer.name and run.scenario == CROWD]

    def _of(self, peer: Peer, scenario: str) -> list[Run]:
        return [run for run in self.runs if run.peer == peer.name and run.scenario == scenario]


def measured(
    scenarios: Sequence[Scenario],
    peers: Sequence[Peer],
    *,
    rounds: int | None,
    latest: bool,
    quick: bool,
    before: Results | None,
) -> Results:
    """Run all scenarios for all peers; `before`: what is known already of the others."""
    campaign, began, where = _Campaign(latest, before.runs if before else ()), time.monotonic(), machine()
    campaign.install(peers)
    _open_files()
    calibrated = _calibrated(0.5 if quick else 5.0)
    for scenario in scenarios:
        for number in range(_rounds(scenario, rounds)):
            with ThreadPoolExecutor(scenario.together) as pool:
                list(pool.map(campaign.one, peers, repeat(scenario), repeat(number)))
    absent = [
        Run(peer=name, scenario="", round=0, jobs=0, why=why)
        for name, why in campaign.missing.items()
        if not any(run.peer == name for run in campaign.runs)
    ]
    results = Results(
        quick=quick,
        machine=where,
        seconds=time.monotonic() - began,
        server_per_second=calibrated.per_second,
        server_cpu=calibrated.cpu,
        versions=dict(campaign.versions),
        runs=(*campaign.runs, *absent),
    )
    return before.with_newer(results) if before else results


def _open_files() -> None:
    """Let the server and everybody open as many connections as the system lets them, not as many as the shell."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _calibrated(seconds: float) -> Capacity:
    """Ask the server for one running task, again and again."""
    with ServerProcess("benchmarks.peers.server", "{}") as server:
        link = HTTPConnection("127.0.0.1", server.port)
        link.request("POST", "/v1/generation/text-to-image", text(600, 0))
        link.getresponse().read()
        link.close()
        return capacity(server, "/v1/generation/task_00000000/status", seconds)


def seconds_needed(scenarios: Iterable[Scenario], peers: int, rounds: int | None) -> float:
    """Estimate how long everything takes, if four in ten of the peers exhaust the patience of the crowds once."""
    needed = 0.0
    for scenario in scenarios:
        many = _rounds(scenario, rounds)
        if scenario.together > 1:
            needed += many * ceil(peers / scenario.together) * (scenario.usual + _START)
            continue
        if scenario.survivors:
            needed += many * 0.5 * peers * (scenario.usual + _START)
            continue
        late = 0.4 * peers if scenario.jobs >= 1_000 else 0.0
        needed += many * (peers - late) * (scenario.usual + _START)
        needed += late * (scenario.patience + _START)
    return needed


def _rounds(scenario: Scenario, rounds: int | None) -> int:
    return rounds if rounds and scenario.rounds > 1 else scenario.rounds


def _enough(run: Run) -> bool:
    return run.finished >= ENOUGH * run.jobs


def _line(run: Run) -> str:
    if run.why:
        return f"not available: {run.why}"
    failures = ", ".join(f"{count} {name}" for name, count in run.failures.items())
    return f"{run.finished}/{run.jobs} in {run.wall:.0f} s, {1000 * run.cpu / run.jobs:.1f} ms a job; {failures}"
