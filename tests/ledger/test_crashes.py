"""A small crash test: workers are killed and frozen at random, then the ledger is compared with the charges."""

from __future__ import annotations

import random

import pytest

from benchmarks._crash_run import can_freeze_processes, run_crash_test

pytestmark = [
    pytest.mark.slow("many processes start, and are killed in the middle of their work"),
    pytest.mark.timeout(150),
]


@pytest.mark.skipif(not can_freeze_processes(), reason="processes cannot be frozen here")
@pytest.mark.parametrize("workers", [1, 3])
def test_crash_test_with_ledger_charges_once_and_shows_all(workers: int) -> None:
    """If responses are lost and workers are killed, each charge is stored or in doubt, and none is a duplicate."""
    seed = random.SystemRandom().randrange(1_000_000)
    result = run_crash_test(strategy="ledger", workers=workers, prompts=200, stops=8, seed=seed)
    print(result)  # noqa: T201 - the seed, to run it again
    assert result.charged_twice == 0, result
    assert result.invisible == 0, result
    assert result.unfinished == 0, result
    assert result.stops > 0, result
    assert result.charges > 0.8 * result.prompts, result


@pytest.mark.skipif(not can_freeze_processes(), reason="processes cannot be frozen here")
def test_crash_test_with_plain_queue_charges_twice() -> None:
    """A queue that repeats unfinished work pays twice: the same test detects it."""
    seed = random.SystemRandom().randrange(1_000_000)
    result = run_crash_test(strategy="queue", workers=1, prompts=60, stops=2, seed=seed)
    print(result)  # noqa: T201 - the seed, to run it again
    assert result.charged_twice > 0, result
    assert result.invisible > 0, result
