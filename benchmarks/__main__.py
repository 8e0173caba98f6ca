"""Run all benchmarks and write their results to RESULTS.md, or run only some and print them."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Final, Protocol

import attrs

from benchmarks import (
    _report,
    crashes,
    detection,
    doubts,
    downloads,
    gets,
    imports,
    keys,
    ledger,
    makespan,
    memory,
    policies,
    polls,
    scheduler,
    submissions,
    thousand,
    waiting,
    webhooks,
)
from benchmarks._figures import Section

_RESULTS: Final = Path(__file__).with_name("RESULTS.md")


class _Measure(Protocol):
    def __call__(self, *, quick: bool) -> Section: ...


_BENCHMARKS: Final[dict[str, _Measure]] = {
    "gets": gets.measure,
    "waiting": waiting.measure,
    "downloads": downloads.measure,
    "submissions": submissions.measure,
    "doubts": doubts.measure,
    "scheduler": scheduler.measure,
    "polls": polls.measure,
    "thousand": thousand.measure,
    "keys": keys.measure,
    "policies": policies.measure,
    "detection": detection.measure,
    "makespan": makespan.measure,
    "imports": imports.measure,
    "memory": memory.measure,
    "ledger": ledger.measure,
    "crashes": crashes.measure,
    "webhooks": webhooks.measure,
}


def main() -> int:
    """Run the benchmarks that the command line names; return 1 if one of them failed."""
    options = _options()
    names: list[str] = options.names or list(_BENCHMARKS)
    machine = _report.describe_machine()
    sections: list[Section] = []
    for name in names:
        sections += _run(name, quick=options.quick)
    is_complete = len(sections) == len(_BENCHMARKS)
    if is_complete and not options.quick:
        _RESULTS.write_text(_report.report(sections, machine), encoding="utf-8")
        print(f"written: {_RESULTS.name}")
    return 0 if len(sections) == len(names) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *_BENCHMARKS], metavar="NAME", help=", ".join(_BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="run them in miniature, to see that they work")
    return parser.parse_args()


def _run(name: str, *, quick: bool) -> list[Section]:
    """Run one benchmark, print and return its section; if it fails, print the error and return an empty list."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        section = _BENCHMARKS[name](quick=quick)
    except Exception:  # noqa: BLE001 - the other benchmarks still run
        traceback.print_exc()
        return []
    section = attrs.evolve(section, seconds=time.monotonic() - began)
    print(f"{name}: {section.seconds:.0f} s", file=sys.stderr, flush=True)
    if quick:  # the figures of a miniature do not compare with the targets
        section = attrs.evolve(section, figures=tuple(attrs.evolve(one, target=None) for one in section.figures))
    print(_report.section_text(section), flush=True)
    return [section]


if __name__ == "__main__":
    sys.exit(main())
