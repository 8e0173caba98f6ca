"""Measure aiowery side by side with its peers, and draw what came of it."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.peers import _draw, _page, _results
from benchmarks.peers._measure import measured, seconds_needed
from benchmarks.peers._peers import PEERS
from benchmarks.peers._scenarios import SCENARIOS, miniature


def main() -> int:
    """Do what the command line asks for."""
    options = _options()
    if not options.draw:
        scenarios = [one for one in SCENARIOS if one.name in (options.scenario or [one.name])]
        if options.quick:
            scenarios = [miniature(one) for one in scenarios]
        peers = [peer for peer in PEERS if peer.name in (options.only or [peer.name])]
        print(f"about {seconds_needed(scenarios, len(peers), options.rounds) / 60:.0f} minutes", file=sys.stderr)
        began = time.monotonic()
        results = measured(
            scenarios,
            peers,
            rounds=options.rounds,
            latest=options.latest,
            quick=options.quick,
            before=_before(options),
        )
        print(f"measured in {(time.monotonic() - began) / 60:.0f} minutes", file=sys.stderr)
        _results.store(results)
    results = _results.stored()
    _draw.draw(results)
    _page.write(results)
    return 0


def _before(options: argparse.Namespace) -> _results.Results | None:
    """Return the stored results if only a part of them is to be measured again, with jobs of the same size."""
    if not (options.only or options.scenario) or not _results.STORED.exists():
        return None
    before = _results.stored()
    return before if before.quick == options.quick else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in miniature, to see that it works")
    parser.add_argument("--draw", action="store_true", help="only draw pictures and page again, from stored results")
    parser.add_argument("--latest", action="store_true", help="the newest versions, not the pinned ones")
    parser.add_argument("--rounds", type=int, help="rounds of what is measured several times")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="PEER", help="; ".join(names))
    names = [one.name for one in SCENARIOS]
    parser.add_argument("--scenario", nargs="+", choices=names, metavar="NAME", help="; ".join(names))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
