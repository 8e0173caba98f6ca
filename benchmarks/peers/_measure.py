"""Run all scenarios for all peers, with interleaved rounds.

A peer that did not finish is left out of further rounds. In scenarios with faults several peers run side by side.
"""

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
from benchmarks._report import describe_machine
from benchmarks._server_process import ServerProcess
from benchmarks.peers import _gains
from benchmarks.peers._peers import Peer
from benchmarks.peers._plan import make_prompt
from benchmarks.peers._results import ENOUGH, Results, Run
from benchmarks.peers._run import run
from benchmarks.peers._scenarios import THOUSAND, Scenario
from benchmarks.peers._venvs import NotInstalledError, interpreter

HALF: Final = 0.5
ROUNDS_IF_HALF_FINISHED: Final = 2
_START_SECONDS: Final = 1.5


@attrs.define
class _Measurement:
    """The runs and versions until now; a peer that is unavailable is tried once."""

    latest: bool
    before: tuple[Run, ...]
    runs: list[Run] = attrs.field(factory=list)
    versions: dict[str, dict[str, str]] = attrs.field(factory=lambda: defaultdict(dict))
    pythons: dict[str, Path] = attrs.field(factory=dict)
    unavailable: dict[str, str] = attrs.field(factory=dict)

    def install(self, peers: Iterable[Peer]) -> None:
        """Install the packages of each peer, each in an environment of its own."""
        for peer in peers:
            try:
                self.pythons[peer.name] = interpreter(peer, latest=self.latest)
            except NotInstalledError as error:
                self.unavailable[peer.name] = str(error)

    def run_once(self, peer: Peer, scenario: Scenario, number: int) -> None:
        """Measure one peer once, unless there is a reason to skip it."""
        if reason := self._skip_reason(peer, scenario):
            print(f"{scenario.name} {number + 1}: {peer.name}: {reason}", file=sys.stderr, flush=True)
            return
        outcome = run(peer, self.pythons[peer.name], scenario, number)
        if outcome.run.missing_reason:
            self.unavailable[peer.name] = outcome.run.missing_reason
        self.runs.append(outcome.run)
        self.versions[peer.name].update(outcome.versions)
        print(f"{scenario.name} {number + 1}: {peer.name}: {_summary(outcome.run)}", file=sys.stderr, flush=True)

    def _skip_reason(self, peer: Peer, scenario: Scenario) -> str:
        if peer.name in self.unavailable:
            return f"not available: {self.unavailable[peer.name]}"
        if peer.threads and (scenario.gauge or scenario.cancel_after or scenario.finishers_only):
            return "not for threads"
        of_thousand = self._of(peer, THOUSAND) or self._before(peer)
        if scenario.finishers_only and not any(_has_finished(run) for run in of_thousand):
            return "did not finish 1,000"
        earlier = self._of(peer, scenario.name)
        rounds = ROUNDS_IF_HALF_FINISHED if all(run.finished >= HALF * run.jobs for run in earlier) else 1
        if len(earlier) >= rounds and not any(_has_finished(run) for run in earlier):
            return f"did not finish in {len(earlier)} rounds"
        return ""

    def _before(self, peer: Peer) -> list[Run]:
        return [run for run in self.before if run.peer == peer.name and run.scenario == THOUSAND]

    def _of(self, peer: Peer, scenario: str) -> list[Run]:
        return [run for run in self.runs if run.peer == peer.name and run.scenario == scenario]


def measure(
    scenarios: Sequence[Scenario],
    peers: Sequence[Peer],
    *,
    rounds: int | None,
    latest: bool,
    quick: bool,
    gains: bool,
    before: Results | None,
) -> Results:
    """Run all scenarios for all peers, and with `gains` compare httpx's transport with the pooled one.

    `before` holds earlier results, which stay where nothing is measured again.
    """
    measurement = _Measurement(latest, before.runs if before else ())
    began, machine = time.monotonic(), describe_machine()
    measurement.install(peers)
    _raise_file_limit()
    calibration = _calibrate(0.5 if quick else 5.0)
    for scenario in scenarios:
        for number in range(_rounds(scenario, rounds)):
            with ThreadPoolExecutor(scenario.together) as pool:
                list(pool.map(measurement.run_once, peers, repeat(scenario), repeat(number)))
    gained = _gains.measure(quick=quick) if gains else ()
    absent = [
        Run(peer=name, scenario="", round=0, jobs=0, missing_reason=reason)
        for name, reason in measurement.unavailable.items()
        if not any(run.peer == name for run in measurement.runs)
    ]
    results = Results(
        quick=quick,
        machine=machine,
        seconds=time.monotonic() - began,
        server_per_second=calibration.per_second,
        server_cpu=calibration.cpu,
        versions=dict(measurement.versions),
        runs=(*measurement.runs, *absent),
        gains=gained,
    )
    return before.with_newer(results) if before else results


def _raise_file_limit() -> None:
    """Raise the limit of open files to the system's maximum, for the server and the peers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _calibrate(seconds: float) -> Capacity:
    """Measure the capacity of the server with polls of one running task."""
    with ServerProcess("benchmarks.peers.server", "{}") as server:
        connection = HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/v1/generation/text-to-image", make_prompt(600, 0))
        connection.getresponse().read()
        connection.close()
        return capacity(server, "/v1/generation/task_00000000/status", seconds)


def estimate_seconds(scenarios: Iterable[Scenario], peers: int, rounds: int | None) -> float:
    """Estimate the seconds of all runs, if four in ten peers once reach the timeout of the large scenarios."""
    needed = 0.0
    for scenario in scenarios:
        many = _rounds(scenario, rounds)
        if scenario.together > 1:
            needed += many * ceil(peers / scenario.together) * (scenario.expected + _START_SECONDS)
            continue
        if scenario.finishers_only:
            needed += many * 0.5 * peers * (scenario.expected + _START_SECONDS)
            continue
        late = 0.4 * peers if scenario.jobs >= 1_000 else 0.0
        needed += many * (peers - late) * (scenario.expected + _START_SECONDS)
        needed += late * (scenario.timeout + _START_SECONDS)
    return needed


def _rounds(scenario: Scenario, rounds: int | None) -> int:
    return rounds if rounds and scenario.rounds > 1 else scenario.rounds


def _has_finished(run: Run) -> bool:
    return run.finished >= ENOUGH * run.jobs


def _summary(run: Run) -> str:
    if run.missing_reason:
        return f"not available: {run.missing_reason}"
    failures = ", ".join(f"{count} {name}" for name, count in run.failures.items())
    return f"{run.finished}/{run.jobs} in {run.wall:.0f} s, {1000 * run.cpu / run.jobs:.1f} ms a job; {failures}"
