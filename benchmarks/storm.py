"""The kill storm: a paid service that loses answers, workers that are killed and frozen, and who pays twice.

The service charges at each POST that it takes. Of a hundred answers 18 come late or not at all: reset, closed without a
word, silence, 502 after and before charging, 429. Status checks fail now and then. Workers run all prompts, 16 at once;
at random moments one of them is killed (SIGKILL) and replaced, frozen (SIGSTOP) for a while, or frozen and then killed.
At the end they finish in peace, and the service's books are laid beside what the workers remember.

`ledger` is `client.stream(requests, batch=...)` on one file, by one process and by three. The other two are what people
write by hand, struck in the same way: `queue` does POST and polling in one job, which is delivered again if it did not
end; `ids` writes every task id down at once and polls on at restart. Both repeat a POST that failed.

Charged twice: prompts with more than one charge. Known: charges whose task id the workers have. In doubt: prompts of
which the ledger says that they may have been charged. Invisible: charges of which nobody knows anything.
"""

from __future__ import annotations

import argparse

import attrs

from benchmarks._figures import Figure, Section, Target
from benchmarks._storm import Verdict, Way, storm

_PLAN: tuple[tuple[Way, int], ...] = (("ledger", 1), ("ledger", 3), ("queue", 1), ("ids", 1))


def measure(*, quick: bool) -> Section:
    """Run every way through a storm of its own."""
    prompts, stops = (40, 2) if quick else (1_000, 30)
    verdicts = [
        storm(way=way, workers=workers, prompts=prompts, stops=stops, seed=seed)
        for seed, (way, workers) in enumerate(_PLAN)
    ]
    figures = [figure for verdict in verdicts for figure in _figures(verdict)]
    return Section(f"Kill storm: {prompts} prompts, {stops} stops", __doc__, tuple(figures))


def _figures(verdict: Verdict) -> list[Figure]:
    by = "one process" if verdict.workers == 1 else f"{verdict.workers} processes"
    name = f"{verdict.way}, {by}, seed {verdict.seed}"
    none = Target(0) if verdict.way == "ledger" else None
    return [
        Figure(f"{name}: stops", verdict.stops),
        Figure(f"{name}: charges for {verdict.prompts} prompts", verdict.charges),
        Figure(f"{name}: prompts charged twice", verdict.charged_twice, target=none),
        Figure(f"{name}: charges that are known", verdict.known),
        Figure(f"{name}: prompts in doubt", verdict.in_doubt),
        Figure(f"{name}: charges invisible", verdict.invisible, target=none),
        Figure(f"{name}: prompts without an end", verdict.unfinished, target=none),
    ]


def main() -> None:
    """Run one storm as the command line asks for it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm")
    parser.add_argument("--way", choices=("ledger", "queue", "ids"), default="ledger")
    for name, default in (("workers", 1), ("prompts", 600), ("stops", 30), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in attrs.asdict(storm(**vars(parser.parse_args()))).items():
        print(f"{name:14} {value:.1f}" if isinstance(value, float) else f"{name:14} {value}")


if __name__ == "__main__":
    main()
