"""Estimates of job durations and of the time in the queue."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._core.durations import DurationEstimator, MovingAverage, low_quantile
from aiowery._core.statistics import QueueStatistics

seconds = st.floats(0.1, 1e5)


intervals = st.tuples(st.just(0.0) | seconds, st.floats(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def observe_all(durations: DurationEstimator, values: list[float], key: str = "k") -> None:
    """Observe jobs of exactly these durations."""
    for value in values:
        durations.observe(key, (value, value))


@given(enough=st.integers(1, 20), values=st.lists(seconds, max_size=30))
def test_first_poll_before_min_samples_is_none(enough: int, values: list[float]) -> None:
    """The first `enough - 1` jobs give no estimate."""
    durations = DurationEstimator(enough, 5)
    for count, value in enumerate(values, start=1):
        observe_all(durations, [value])
        assert (durations.first_poll("k") is None) == (count < enough)


@given(values=st.lists(seconds, min_size=1, max_size=150), percentile=st.floats(1, 99))
def test_first_poll_is_the_percentile_of_the_latest_durations(values: list[float], percentile: float) -> None:
    """By nearest rank: at least p % of the latest 64 durations are not longer, and less than p % are shorter."""
    durations = DurationEstimator(1, percentile)
    observe_all(durations, values)
    estimate, latest = durations.first_poll("k"), values[-64:]
    assert estimate in latest
    assert estimate is not None
    assert sum(value <= estimate for value in latest) >= percentile / 100 * len(latest) - 1e-6
    assert sum(value < estimate for value in latest) < percentile / 100 * len(latest)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (8, 1), (20, 1), (21, 2), (40, 2), (41, 3), (64, 4), (200, 4)])
def test_first_poll_rank_grows_with_sample_count(count: int, rank: int) -> None:
    """The estimate is the 1st of up to 20, the 2nd of up to 40, and finally the 4th of 64."""
    durations = DurationEstimator(8 if count >= 8 else 1, 5)
    observe_all(
        durations,
        [float(number) for number in range(1, 65)] * 4 if count == 200 else list(map(float, range(1, count + 1))),
    )
    assert durations.first_poll("k") == rank


def test_low_quantile_job_finished_between_polls_counts_as_the_middle() -> None:
    """Running at 9 s and done at 12 s counts as 10.5 s."""
    assert low_quantile([(9.0, 12.0)], 0.05) == 10.5


def test_low_quantile_job_done_at_first_poll_counts_as_half() -> None:
    """If a single job is done at its first poll, after 10 s, the next first poll comes after 5 s."""
    assert low_quantile([(0.0, 10.0)], 0.05) == 5.0


@given(known=st.lists(seconds, min_size=1, max_size=40), late=st.lists(st.floats(1e5, 1e6), max_size=20))
def test_low_quantile_polls_after_all_known_ends_change_nothing(known: list[float], late: list[float]) -> None:
    """A first poll later than any known end gives no information about the duration of its job."""
    exact = [(value, value) for value in known]
    assert low_quantile([*exact, *((0.0, poll) for poll in late)], 0.05) == low_quantile(exact, 0.05)


@given(bounds=st.lists(intervals, min_size=1, max_size=64), share=st.floats(0.01, 0.99), more=st.floats(0, 0.5))
def test_low_quantile_grows_with_the_share(bounds: list[tuple[float, float]], share: float, more: float) -> None:
    """The result grows with the share, and lies between half of the earliest bound and the latest bound."""
    moment = low_quantile(bounds, share)
    assert moment <= low_quantile(bounds, min(share + more, 0.999))
    assert min(lower or upper / 2 for lower, upper in bounds) <= moment <= max(upper for _, upper in bounds)


def test_low_quantile_with_late_first_polls_is_unbiased() -> None:
    """If a third of the jobs is only known to end before the first poll, the percentile is still right.

    Durations are spread evenly over 10 to 20 s, so that a tenth has ended at 11 s.
    """
    draw = Random(1).uniform  # noqa: S311 - a test
    estimates = []
    for _ in range(200):
        pairs = [(draw(10, 20), draw(5, 20)) for _ in range(64)]
        bounds = [(0.0, poll) if took <= poll else (took, took) for took, poll in pairs]
        estimates.append(low_quantile(bounds, 0.10))
    assert sum(estimates) / len(estimates) == pytest.approx(11.0, abs=0.3)


@given(true=st.floats(1, 50), times=st.floats(1.5, 20), draw=st.randoms(use_true_random=False))
def test_first_poll_after_jobs_become_faster_decreases(true: float, times: float, draw: Random) -> None:
    """First polls, which come a little before the estimate, find faster jobs done, so the estimate decreases."""
    durations = DurationEstimator(8, 5)
    observe_all(durations, [true * times] * 64)
    estimates = [true * times]
    while estimates[-1] > true:
        durations.observe("k", (0.0, estimates[-1] * draw.uniform(0.8, 0.999)))
        estimates.append(durations.first_poll("k") or 0.0)
    assert len(estimates) <= 15
    assert estimates[-1] >= 0.3 * true


@given(true=st.floats(5, 50), late=st.floats(0, 3))
def test_first_poll_right_estimate_is_stable(true: float, late: float) -> None:
    """Jobs that run at one poll and are done at the next keep the estimate between the two."""
    durations = DurationEstimator(1, 5)
    for _ in range(100):
        durations.observe("k", (true - late, true + late))
    assert durations.first_poll("k") == pytest.approx(true)


def test_first_poll_keys_are_independent() -> None:
    """Each key has its own estimate, and an unknown key has none."""
    durations = DurationEstimator(1, 5)
    observe_all(durations, [5.0], "fast")
    observe_all(durations, [50.0], "slow")
    assert [durations.first_poll(key) for key in ("fast", "slow", "new")] == [5.0, 50.0, None]


def test_duration_estimator_forgets_the_least_recent_key() -> None:
    """Keys contain model names of callers, so after a thousand keys the least recently observed one is forgotten."""
    durations = DurationEstimator(1, 5)
    for kind in range(1000):
        durations.observe(kind, (2.0, 2.0))
    durations.observe(0, (2.0, 2.0))
    for kind in range(1000, 1900):
        durations.observe(kind, (2.0, 2.0))
    assert [durations.first_poll(kind) for kind in (0, 899, 900, 901, 1899)] == [2.0, None, None, 2.0, 2.0]
    assert len(durations._seen) <= 1000


@given(values=st.lists(seconds, min_size=1, max_size=100), enough=st.integers(1, 64))
def test_duration_estimator_with_former_intervals_continues(values: list[float], enough: int) -> None:
    """An estimator that starts with another one's intervals gives the same estimates, also after later jobs."""
    former = [(value, value + 1) for value in values]
    other = DurationEstimator(enough, 5)
    for interval in former:
        other.observe("k", interval)
    durations = DurationEstimator(enough, 5, {"k": former})
    for _ in range(3):
        assert durations.first_poll("k") == other.first_poll("k")
        for one in (durations, other):
            one.observe("k", (0.5, 0.75))


def test_moving_average_first_value_replaces_the_guess() -> None:
    """The first value replaces the initial guess, and each later value moves the average towards itself."""
    average = MovingAverage(30.0)
    values = [average.seconds]
    for seconds in (10.0, 20.0):
        average.observe(seconds)
        values.append(average.seconds)
    assert values == [30.0, 10.0, 13.0]
    assert MovingAverage(None).seconds is None


def queue(**figures: Any) -> QueueStatistics:
    """Return the statistics of a queue."""
    defaults = {"capacity": 1, "in_use": 0, "waiting": 0, "submitting": 0, "paused_for": 0.0, "refusals": 0}
    return QueueStatistics(**{**defaults, **figures})


@pytest.mark.parametrize(
    ("figures", "ahead", "seconds"),
    [
        ({}, 0, 0.0),
        ({"paused_for": 7.0}, 0, 7.0),
        ({"paused_for": 7.0}, 1, None),
        ({"expected_duration": 20.0, "cool_down": 60.0}, 1, 80.0),
        ({"expected_duration": 20.0, "cool_down": 60.0}, 3, 240.0),
        ({"expected_duration": 20.0, "cool_down": 60.0, "paused_for": 10.0}, 2, 170.0),
        ({"expected_duration": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0}, 0, 65.0),
        ({"expected_duration": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0}, 2, 225.0),
        ({"expected_duration": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0, "cool_from": "start"}, 0, 45.0),
        ({"expected_duration": 90.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0, "cool_from": "start"}, 1, 95.0),
        ({"expected_duration": 12.0, "capacity": 4, "in_use": 4, "next_end": 3.0}, 0, 3.0),
        ({"expected_duration": 12.0, "capacity": 4, "in_use": 4, "next_end": 3.0}, 4, 15.0),
        ({"expected_duration": 12.0, "capacity": 4, "in_use": 1, "next_end": 3.0}, 2, 0.0),
    ],
)
def test_starts_in_counts_slots_ends_and_cool_down(figures: dict[str, Any], ahead: int, seconds: float | None) -> None:
    """The estimate uses free slots, the end of running tasks and the cool-down. It is None without a known duration."""
    assert queue(**figures).starts_in(ahead) == seconds


queues = st.builds(
    queue,
    capacity=st.integers(1, 20),
    in_use=st.integers(0, 20),
    paused_for=st.floats(0, 100),
    expected_duration=st.floats(1, 100),
    cool_down=st.floats(0, 100),
    next_end=st.floats(0, 1),
    waiting=st.integers(0, 50),
)


@given(now=queues, ahead=st.integers(0, 50))
def test_starts_in_grows_with_the_position(now: QueueStatistics, ahead: int) -> None:
    """The estimate grows with the position in the queue.

    It is not before the end of a pause, and not after `ends_in`.
    """
    mine, behind, end = now.starts_in(ahead), now.starts_in(ahead + 1), now.ends_in(ahead + 1)
    assert mine is not None
    assert behind is not None
    assert end is not None
    assert now.paused_for <= mine <= behind
    assert end >= mine
