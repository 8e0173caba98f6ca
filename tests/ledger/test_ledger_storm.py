"""The kill storm in miniature: workers are killed and frozen at random, and the books are compared."""

from __future__ import annotations

import random

import pytest

from benchmarks._storm import possible, storm

pytestmark = [
    pytest.mark.slow("many processes start, and are killed in the middle of their work"),
    pytest.mark.timeout(150),
]


@pytest.mark.skipif(not possible(), reason="processes cannot be frozen here")
@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_is_charged_twice_and_nothing_is_invisible(workers: int) -> None:
    """A service that charges and loses answers, workers that die: each charge is known or in doubt, none is double."""
    seed = random.SystemRandom().randrange(1_000_000)
    verdict = storm(way="ledger", workers=workers, prompts=200, stops=8, seed=seed)
    print(verdict)  # noqa: T201 - the seed, to run it again
    assert verdict.charged_twice == 0, verdict
    assert verdict.invisible == 0, verdict
    assert verdict.unfinished == 0, verdict
    assert verdict.stops > 0, verdict
    assert verdict.charges > 0.8 * verdict.prompts, verdict


@pytest.mark.skipif(not possible(), reason="processes cannot be frozen here")
def test_the_storm_finds_what_it_looks_for() -> None:
    """A queue that repeats what did not end pays twice: the same storm shows it."""
    seed = random.SystemRandom().randrange(1_000_000)
    verdict = storm(way="queue", workers=1, prompts=60, stops=2, seed=seed)
    print(verdict)  # noqa: T201 - the seed, to run it again
    assert verdict.charged_twice > 0, verdict
    assert verdict.invisible > 0, verdict
