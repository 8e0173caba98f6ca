"""Laws of the learned first look."""

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


def seen(durations: DurationEstimator, values: list[float], key: str = "k") -> None:
    """Let jobs of exactly these durations be observed."""
    for value in values:
        durations.observe(key, (value, value))


@given(enough=st.integers(1, 20), values=st.lists(seconds, max_size=30))
def test_nothing_is_said_before_enough_was_seen(enough: int, values: list[float]) -> None:
    """The first `enough - 1` jobs teach nothing yet."""
    durations = DurationEstimator(enough, 5)
    for count, value in enumerate(values, start=1):
        seen(durations, [value])
        assert (durations.first_poll("k") is None) == (count < enough)


@given(values=st.lists(seconds, min_size=1, max_size=150), percentile=st.floats(1, 99))
def test_the_estimate_is_the_percentile_of_the_latest(values: list[float], percentile: float) -> None:
    """By nearest rank: at least 5 % of the latest 64 took no longer, and less than 5 % took less; so for any other."""
    durations = DurationEstimator(1, percentile)
    seen(durations, values)
    estimate, latest = durations.first_poll("k"), values[-64:]
    assert estimate in latest
    assert estimate is not None
    assert sum(value <= estimate for value in latest) >= percentile / 100 * len(latest) - 1e-6
    assert sum(value < estimate for value in latest) < percentile / 100 * len(latest)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (8, 1), (20, 1), (21, 2), (40, 2), (41, 3), (64, 4), (200, 4)])
def test_the_rank_grows_with_what_was_seen(count: int, rank: int) -> None:
    """The 1st of up to 20, the 2nd of up to 40, at last the 4th of 64."""
    durations = DurationEstimator(8 if count >= 8 else 1, 5)
    seen(
        durations,
        [float(number) for number in range(1, 65)] * 4 if count == 200 else list(map(float, range(1, count + 1))),
    )
    assert durations.first_poll("k") == rank


def test_a_job_seen_running_took_until_between_the_looks() -> None:
    """Running at 9 s and done at 12 s counts as 10.5 s."""
    assert low_quantile([(9.0, 12.0)], 0.05) == 10.5


def test_a_job_found_done_at_first_sight_may_have_taken_half() -> None:
    """Done at the very first look, at 10 s, and nothing more known: half of that is tried next."""
    assert low_quantile([(0.0, 10.0)], 0.05) == 5.0


@given(known=st.lists(seconds, min_size=1, max_size=40), late=st.lists(st.floats(1e5, 1e6), max_size=20))
def test_a_look_after_all_ends_says_nothing(known: list[float], late: list[float]) -> None:
    """Jobs found done by a first look later than any known end may have taken as long as any: nothing changes."""
    exact = [(value, value) for value in known]
    assert low_quantile([*exact, *((0.0, look) for look in late)], 0.05) == low_quantile(exact, 0.05)


@given(told=st.lists(intervals, min_size=1, max_size=64), share=st.floats(0.01, 0.99), more=st.floats(0, 0.5))
def test_a_larger_share_has_ended_later(told: list[tuple[float, float]], share: float, more: float) -> None:
    """The moment grows with the share, and lies between half of the earliest bound and the latest."""
    moment = low_quantile(told, share)
    assert moment <= low_quantile(told, min(share + more, 0.999))
    assert min(lower or upper / 2 for lower, upper in told) <= moment <= max(upper for _, upper in told)


def test_looks_that_come_too_late_do_not_hide_how_short_jobs_are() -> None:
    """Of a third one only knows that they took less than a first look; the percentile is right all the same.

    Durations are spread evenly over 10 to 20 s, so that a tenth has ended at 11 s.
    """
    draw = Random(1).uniform  # noqa: S311 - a test
    estimates = []
    for _ in range(200):
        pairs = [(draw(10, 20), draw(5, 20)) for _ in range(64)]
        told = [(0.0, look) if took <= look else (took, took) for took, look in pairs]
        estimates.append(low_quantile(told, 0.10))
    assert sum(estimates) / len(estimates) == pytest.approx(11.0, abs=0.3)


@given(true=st.floats(1, 50), times=st.floats(1.5, 20), draw=st.randoms(use_true_random=False))
def test_an_estimate_that_is_too_late_comes_down(true: float, times: float, draw: Random) -> None:
    """Jobs have become faster: first looks, which come a little before the estimate, find them done, and it sinks."""
    durations = DurationEstimator(8, 5)
    seen(durations, [true * times] * 64)
    looked = [true * times]
    while looked[-1] > true:
        durations.observe("k", (0.0, looked[-1] * draw.uniform(0.8, 0.999)))
        looked.append(durations.first_poll("k") or 0.0)
    assert len(looked) <= 15
    assert looked[-1] >= 0.3 * true


@given(true=st.floats(5, 50), late=st.floats(0, 3))
def test_a_right_estimate_stays(true: float, late: float) -> None:
    """Jobs seen running at one look and done at the next keep the estimate between the two."""
    durations = DurationEstimator(1, 5)
    for _ in range(100):
        durations.observe("k", (true - late, true + late))
    assert durations.first_poll("k") == pytest.approx(true)


def test_kinds_do_not_teach_each_other() -> None:
    """Keys are kept apart, and one that nobody has seen says nothing."""
    durations = DurationEstimator(1, 5)
    seen(durations, [5.0], "fast")
    seen(durations, [50.0], "slow")
    assert [durations.first_poll(key) for key in ("fast", "slow", "new")] == [5.0, 50.0, None]


def test_kinds_without_number_take_no_memory_without_end() -> None:
    """Models come from callers: after a thousand kinds the one that was not seen for longest is forgotten."""
    durations = DurationEstimator(1, 5)
    for kind in range(1000):
        durations.observe(kind, (2.0, 2.0))
    durations.observe(0, (2.0, 2.0))
    for kind in range(1000, 1900):
        durations.observe(kind, (2.0, 2.0))
    assert [durations.first_poll(kind) for kind in (0, 899, 900, 901, 1899)] == [2.0, None, None, 2.0, 2.0]
    assert len(durations._seen) <= 1000


@given(values=st.lists(seconds, min_size=1, max_size=100), enough=st.integers(1, 64))
def test_what_was_seen_before_counts_as_if_seen_now(values: list[float], enough: int) -> None:
    """Who begins with another's observations says what that other one says, and learns on."""
    told = [(value, value + 1) for value in values]
    other = DurationEstimator(enough, 5)
    for interval in told:
        other.observe("k", interval)
    durations = DurationEstimator(enough, 5, {"k": told})
    for _ in range(3):
        assert durations.first_poll("k") == other.first_poll("k")
        for one in (durations, other):
            one.observe("k", (0.5, 0.75))


def test_a_guess_is_forgotten_after_the_first_look_at_life() -> None:
    """What a job usually takes is a guess at first, then what was seen, leaning towards the latest."""
    average = MovingAverage(30.0)
    told = [average.seconds]
    for seconds in (10.0, 20.0):
        average.observe(seconds)
        told.append(average.seconds)
    assert told == [30.0, 10.0, 13.0]
    assert MovingAverage(None).seconds is None


def lane(**figures: Any) -> QueueStatistics:
    """Return a lane's figures."""
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
def test_when_a_lane_lets_somebody_in(figures: dict[str, Any], ahead: int, seconds: float | None) -> None:
    """From free places, the end of what runs, and the rest between two; None while nothing is known."""
    assert lane(**figures).starts_in(ahead) == seconds


lanes = st.builds(
    lane,
    capacity=st.integers(1, 20),
    in_use=st.integers(0, 20),
    paused_for=st.floats(0, 100),
    expected_duration=st.floats(1, 100),
    cool_down=st.floats(0, 100),
    next_end=st.floats(0, 1),
    waiting=st.integers(0, 50),
)


@given(now=lanes, ahead=st.integers(0, 50))
def test_nobody_further_back_is_let_in_earlier(now: QueueStatistics, ahead: int) -> None:
    """The estimate grows with the place in line, and is never before the end of a pause, nor after that of all."""
    mine, behind, end = now.starts_in(ahead), now.starts_in(ahead + 1), now.ends_in(ahead + 1)
    assert mine is not None
    assert behind is not None
    assert end is not None
    assert now.paused_for <= mine <= behind
    assert end >= mine
