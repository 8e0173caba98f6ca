"""Crash test: kill and freeze workers while they use a paid service that loses responses, and count double charges.

The service charges for each POST that it accepts. Of a hundred responses, 14 come late and 18 are lost or errors: the
connection is reset, closed or silent after charging, 502 after charging, 502 and 429 without a charge. Some status
checks fail. Workers run all prompts, 16 at the same time. At random moments one of them is killed (SIGKILL) and
replaced, frozen (SIGSTOP) for a while, or frozen and then killed. At the end they finish undisturbed, and the service's
list of charges is compared with what the workers have stored.

`ledger` is `client.stream(requests, batch=...)` on one file, by one process and by three. The other two are typical
hand-written programs under the same conditions. `queue` does POST and polling in one job, which is delivered again if
it did not end. `ids` stores every task id immediately and continues to poll after a restart. Both repeat a POST that
failed.

Charged twice: prompts with more than one charge. Known: charges whose task id the workers have stored. In doubt:
prompts that may have been charged according to the ledger. Invisible: charges that are neither known nor in doubt.
"""

from __future__ import annotations

import argparse

import attrs

from benchmarks._crash_run import CrashResult, Strategy, run_crash_test
from benchmarks._figures import Figure, Section, Target

_PLAN: tuple[tuple[Strategy, int], ...] = (("ledger", 1), ("ledger", 3), ("queue", 1), ("ids", 1))


def measure(*, quick: bool) -> Section:
    """Run a crash test with each strategy."""
    prompts, stops = (40, 2) if quick else (1_000, 30)
    results = [
        run_crash_test(strategy=strategy, workers=workers, prompts=prompts, stops=stops, seed=seed)
        for seed, (strategy, workers) in enumerate(_PLAN)
    ]
    figures = [figure for result in results for figure in _figures(result)]
    return Section(f"Crash test: {prompts} prompts, {stops} stops", __doc__, tuple(figures))


def _figures(result: CrashResult) -> list[Figure]:
    by = "one process" if result.workers == 1 else f"{result.workers} processes"
    name = f"{result.strategy}, {by}, seed {result.seed}"
    none = Target(0) if result.strategy == "ledger" else None
    return [
        Figure(f"{name}: stops", result.stops),
        Figure(f"{name}: charges for {result.prompts} prompts", result.charges),
        Figure(f"{name}: prompts charged twice", result.charged_twice, target=none),
        Figure(f"{name}: known charges", result.known),
        Figure(f"{name}: prompts in doubt", result.in_doubt),
        Figure(f"{name}: invisible charges", result.invisible, target=none),
        Figure(f"{name}: unfinished prompts", result.unfinished, target=none),
    ]


def main() -> None:
    """Run one crash test with the options of the command line, and print its result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crashes")
    parser.add_argument("--strategy", choices=("ledger", "queue", "ids"), default="ledger")
    for name, default in (("workers", 1), ("prompts", 600), ("stops", 30), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in attrs.asdict(run_crash_test(**vars(parser.parse_args()))).items():
        print(f"{name:14} {value:.1f}" if isinstance(value, float) else f"{name:14} {value}")


if __name__ == "__main__":
    main()
