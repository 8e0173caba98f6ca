"""Measure aiowery side by side with its peers, and draw the results."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.peers import _draw, _gains, _report, _results
from benchmarks.peers._measure import estimate_seconds, measure
from benchmarks.peers._peers import PEERS
from benchmarks.peers._scenarios import SCENARIOS, miniature


def main() -> int:
    """Measure or only draw, as the command line sets; write pictures and report."""
    options = _options()
    if not options.draw:
        scenarios = [one for one in SCENARIOS if one.name in (options.scenario or [one.name])]
        if options.quick:
            scenarios = [miniature(one) for one in scenarios]
        peers = [peer for peer in PEERS if peer.name in (options.only or [peer.name])]
        print(f"about {estimate_seconds(scenarios, len(peers), options.rounds) / 60:.0f} minutes", file=sys.stderr)
        began = time.monotonic()
        results = measure(
            scenarios,
            peers,
            rounds=options.rounds,
            latest=options.latest,
            quick=options.quick,
            gains=not (options.scenario or options.only) or _gains.NAME in (options.scenario or ()),
            before=_stored_results(options),
        )
        print(f"measured in {(time.monotonic() - began) / 60:.0f} minutes", file=sys.stderr)
        _results.store(results)
    results = _results.load()
    _draw.draw(results)
    _report.write(results)
    return 0


def _stored_results(options: argparse.Namespace) -> _results.Results | None:
    """Return the stored results if only a part of them is measured again, with jobs of the same size."""
    if not (options.only or options.scenario) or not _results.STORED.exists():
        return None
    before = _results.load()
    return before if before.quick == options.quick else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure in miniature, to see that it works")
    parser.add_argument("--draw", action="store_true", help="only write pictures and report again, from stored results")
    parser.add_argument("--latest", action="store_true", help="install the newest versions, not the pinned ones")
    parser.add_argument("--rounds", type=int, help="rounds of the scenarios that are measured several times")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="PEER", help="; ".join(names))
    names = [*(one.name for one in SCENARIOS), _gains.NAME]
    parser.add_argument("--scenario", nargs="+", choices=names, metavar="NAME", help="; ".join(names))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
