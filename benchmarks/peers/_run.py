"""Running one peer once: a server, the peer's process, and what both saw, put together."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks._figures import mean, percentile
from benchmarks._held import HOME, ServerProcess
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
        told = _asked(peer, python, plan)
        seen = server.ended()
    if "unavailable" in told:
        return Outcome(attrs.evolve(blank, why=told["unavailable"]), {})
    counted = attrs.evolve(
        blank,
        created=len(seen["tasks"]),
        polls=sum(polls for *_, polls in seen["tasks"]),
        requests=seen["requests"],
        throttled=seen["throttled"],
        refused=seen["refused"],
        connections=seen["connections"],
        peak=seen["peak"],
        rush=seen["rush"],
    )
    if not told:
        return Outcome(attrs.evolve(counted, failures={"hung, and was killed": scenario.jobs}), {})
    return Outcome(_put_together(counted, scenario, plan, told, seen), told["versions"])


def _plan(peer: Peer, scenario: Scenario, number: int, url: str) -> Plan:
    return Plan(
        url=url,
        jobs=scenario.durations(number),
        patience=scenario.patience,
        gauge=scenario.gauge,
        gate=scenario.gate,
        in_flight=scenario.jobs if scenario.told else 0,
        leave=scenario.leave,
        packages=peer.packages,
    )


def _asked(peer: Peer, python: Path, plan: Plan) -> dict[str, Any]:
    """Return what the peer's process told, nothing when it had to be killed or died."""
    command = [str(python), "-m", f"benchmarks.peers.clients.{peer.module}"]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOME
    ) as process:
        try:
            out, err = process.communicate(json.dumps(asdict(plan)) + "\n", timeout=plan.patience + _GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return {}
    if out:
        told: dict[str, Any] = json.loads(out.splitlines()[-1])
        return told
    return {"unavailable": err.strip().rpartition("\n")[2] or "ended without a word"}


def _put_together(blank: Run, scenario: Scenario, plan: Plan, told: dict[str, Any], seen: dict[str, Any]) -> Run:
    ends = {int(number): moment for number, moment in told["ends"].items()}
    truth = {number: end for number, _, _, end, _ in seen["tasks"]}
    delays = [moment - truth[number] for number, moment in ends.items()]
    left = {task_id for number, task_id, *_ in seen["tasks"] if number < len(plan.leave)}
    whole = len(ends) == scenario.jobs
    return attrs.evolve(
        blank,
        finished=len(ends),
        wall=told["wall"],
        cpu=told["cpu"],
        memory=told["memory"],
        delay=mean(delays) if delays else None,
        delay_95=percentile(delays, 0.95) if delays else None,
        stall=told["stall"],
        makespan=max(ends.values()) - told["began"] if whole else None,
        ideal=ideal(list(plan.jobs), float) if scenario.faults.slots else None,
        unnamed=len(left - set(told["named"])),
        goes_on=told["last"],
        server_load=seen["cpu"] / told["wall"],
        failures=told["failures"],
    )
