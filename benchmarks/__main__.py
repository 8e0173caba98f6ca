"""Run the benchmarks: all of them and write the page, or one of them."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Final, Protocol

import attrs

from benchmarks import (
    _page,
    detection,
    imports,
    ledger,
    makespan,
    memory,
    policies,
    polls,
    scheduler,
    storm,
    thousand,
    webhooks,
)
from benchmarks._figures import Section

_RESULTS: Final = Path(__file__).with_name("RESULTS.md")


class _Measure(Protocol):
    def __call__(self, *, quick: bool) -> Section: ...


_BENCHMARKS: Final[dict[str, _Measure]] = {
    "scheduler": scheduler.measure,
    "polls": polls.measure,
    "thousand": thousand.measure,
    "policies": policies.measure,
    "detection": detection.measure,
    "makespan": makespan.measure,
    "imports": imports.measure,
    "memory": memory.measure,
    "ledger": ledger.measure,
    "storm": storm.measure,
    "webhooks": webhooks.measure,
}


def main() -> int:
    """Run what the command line asks for; 1 when a benchmark could not be run to its end."""
    options = _options()
    names: list[str] = options.names or list(_BENCHMARKS)
    where, began = _page.machine(), time.monotonic()
    sections: list[Section] = []
    for name in names:
        sections += _measured(name, quick=options.quick)
    whole = len(sections) == len(_BENCHMARKS)
    if whole and not options.quick:
        _RESULTS.write_text(_page.page(sections, time.monotonic() - began, where), encoding="utf-8")
        print(f"written: {_RESULTS.name}")
    return 0 if len(sections) == len(names) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *_BENCHMARKS], metavar="NAME", help=", ".join(_BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="in miniature, to see that they work")
    return parser.parse_args()


def _measured(name: str, *, quick: bool) -> list[Section]:
    """Return the section, printed, or nothing when the benchmark failed: the others still run."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        section = _BENCHMARKS[name](quick=quick)
    except Exception:  # noqa: BLE001 - whatever went wrong belongs to this benchmark alone
        traceback.print_exc()
        return []
    if quick:  # a miniature has nothing to say about targets
        section = attrs.evolve(section, figures=tuple(attrs.evolve(one, target=None) for one in section.figures))
    print(_page.section(section), flush=True)
    return [section]


if __name__ == "__main__":
    sys.exit(main())
