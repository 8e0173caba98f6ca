"""Run one peer once: start a server and the peer's process, and combine the counts of both."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks._figures import mean, percentile
from benchmarks._server_process import HOME, ServerProcess
from benchmarks.makespan import ideal
from benchmarks.peers._peers import Peer
from benchmarks.peers._plan import Plan
from benchmarks.peers._results import Run
from benchmarks.peers._scenarios import Scenario

_GRACE: Final = 20.0


@attrs.frozen
class Outcome:
    """A run, and the versions of the packages that it was made with."""

    run: Run
    versions: dict[str, str]


def run(peer: Peer, python: Path, scenario: Scenario, number: int) -> Outcome:
    """Measure one peer in one scenario, in its own process, against a server of its own."""
    blank = Run(peer=peer.name, scenario=scenario.name, round=number, jobs=scenario.jobs)
    with ServerProcess("benchmarks.peers.server", json.dumps(asdict(scenario.faults))) as server:
        plan = _plan(peer, scenario, number, server.url)
        report = _run_peer(peer, python, plan)
        counts = server.end()
    if "unavailable" in report:
        return Outcome(attrs.evolve(blank, missing_reason=report["unavailable"]), {})
    counted = attrs.evolve(
        blank,
        created=len(counts["tasks"]),
        polls=sum(polls for *_, polls in counts["tasks"]),
        requests=counts["requests"],
        throttled=counts["throttled"],
        refused=counts["refused"],
        connections=counts["connections"],
        peak=counts["peak"],
        burst=counts["burst"],
    )
    if not report:
        return Outcome(attrs.evolve(counted, failures={"hung, and was killed": scenario.jobs}), {})
    return Outcome(_combine(counted, scenario, plan, report, counts), report["versions"])


def _plan(peer: Peer, scenario: Scenario, number: int, url: str) -> Plan:
    return Plan(
        url=url,
        jobs=scenario.durations(number),
        timeout=scenario.timeout,
        gauge=scenario.gauge,
        gate=scenario.gate,
        in_flight=scenario.jobs if scenario.raises_limit else 0,
        cancel_after=scenario.cancel_after,
        packages=peer.packages,
    )


def _run_peer(peer: Peer, python: Path, plan: Plan) -> dict[str, Any]:
    """Run the peer's process and return its report; an empty one if the process was killed after its timeout."""
    command = [str(python), "-m", f"benchmarks.peers.clients.{peer.module}"]
    with subprocess.Popen(  # noqa: S603 - a module of this package
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOME
    ) as process:
        try:
            out, err = process.communicate(json.dumps(asdict(plan)) + "\n", timeout=plan.timeout + _GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return {}
    if out:
        report: dict[str, Any] = json.loads(out.splitlines()[-1])
        return report
    return {"unavailable": err.strip().rpartition("\n")[2] or "the process ended without any output"}


def _combine(blank: Run, scenario: Scenario, plan: Plan, report: dict[str, Any], counts: dict[str, Any]) -> Run:
    ends = {int(number): moment for number, moment in report["ends"].items()}
    true_ends = {number: end for number, _, _, end, _ in counts["tasks"]}
    delays = [moment - true_ends[number] for number, moment in ends.items()]
    cancelled = {task_id for number, task_id, *_ in counts["tasks"] if number < len(plan.cancel_after)}
    is_complete = len(ends) == scenario.jobs
    return attrs.evolve(
        blank,
        finished=len(ends),
        wall=report["wall"],
        cpu=report["cpu"],
        memory=report["memory"],
        delay=mean(delays) if delays else None,
        delay_95=percentile(delays, 0.95) if delays else None,
        stall=report["stall"],
        makespan=max(ends.values()) - report["began"] if is_complete else None,
        ideal=ideal(list(plan.jobs), float) if scenario.faults.slots else None,
        unidentified=len(cancelled - set(report["known_ids"])),
        works_afterwards=report["last_finished"],
        server_load=counts["cpu"] / report["wall"],
        failures=report["failures"],
    )
