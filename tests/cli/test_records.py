"""Records of finished items: totals and durations as text."""

from __future__ import annotations

import pytest

from aiowery.cli.records import ItemStatus, Summary, duration
from tests.cli.conftest import make_record


def test_summary_of_mixed_outcomes_counts_items_by_status() -> None:
    """The summary names the number of items of each status, and no status without items."""
    records = [
        make_record(1, files=("a", "b"), credits=2.0, failures=("no",)),
        make_record(2, status=ItemStatus.FAILED),
        make_record(3, status=ItemStatus.IN_DOUBT),
    ]
    summary = Summary.of(records, 65)
    assert not summary.all_done
    assert str(summary) == (
        "1 of 3 done, 1 failed, 1 in doubt (may have been charged), 1 of those done lack an output:"
        " 2 files, 2 credits, in 1:05 min"
    )
    assert Summary.of([make_record(1)], 1.0).all_done


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0 s"), (59.9, "59.9 s"), (61, "1:01 min"), (7380, "2:03:00 h")])
def test_duration_of_any_length_has_a_fitting_unit(seconds: float, text: str) -> None:
    """Short durations are shown in seconds, and long ones in minutes or hours."""
    assert duration(seconds) == text
