"""Laws of the learned first look."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery._estimate import Durations, Usual
from aiowery._statistics import LaneStatistics

modest = settings(deadline=None, max_examples=100)
seconds = st.floats(0.1, 1e5)


def seen(durations: Durations, values: list[float], key: str = "k") -> None:
    """Let jobs of exactly these durations be observed."""
    for value in values:
        durations.observe(key, value, value)


@given(enough=st.integers(1, 20), values=st.lists(seconds, max_size=30))
@modest
def test_nothing_is_said_before_enough_was_seen(enough: int, values: list[float]) -> None:
    """The first `enough - 1` jobs teach nothing yet."""
    durations = Durations(enough)
    for count, value in enumerate(values, start=1):
        durations.observe("k", value, value)
        assert (durations.first_look("k") is None) == (count < enough)


@given(values=st.lists(seconds, min_size=1, max_size=150))
@modest
def test_the_estimate_is_the_fifth_percentile_of_the_latest(values: list[float]) -> None:
    """By nearest rank: at least 5 % of the latest 64 took no longer, and less than 5 % took less."""
    durations = Durations(1)
    seen(durations, values)
    estimate, latest = durations.first_look("k"), values[-64:]
    assert estimate in latest
    assert estimate is not None
    assert sum(value <= estimate for value in latest) >= 0.05 * len(latest)
    assert sum(value < estimate for value in latest) < 0.05 * len(latest)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (8, 1), (20, 1), (21, 2), (40, 2), (41, 3), (64, 4), (200, 4)])
def test_the_rank_grows_with_what_was_seen(count: int, rank: int) -> None:
    """The 1st of up to 20, the 2nd of up to 40, at last the 4th of 64."""
    durations = Durations(8 if count >= 8 else 1)
    seen(
        durations,
        [float(number) for number in range(1, 65)] * 4 if count == 200 else list(map(float, range(1, count + 1))),
    )
    assert durations.first_look("k") == rank


def test_a_job_seen_running_took_until_between_the_looks() -> None:
    """Running at 9 s and done at 12 s counts as 10.5 s."""
    durations = Durations(1)
    durations.observe("k", 9.0, 12.0)
    assert durations.first_look("k") == 10.5


def test_a_job_found_done_at_first_sight_counts_shorter() -> None:
    """Done at the very first look, at 10 s, counts as 9 s."""
    durations = Durations(1)
    durations.observe("k", 0.0, 10.0)
    assert durations.first_look("k") == pytest.approx(9.0)


@given(true=st.floats(1, 50), times=st.floats(1.5, 20))
@modest
def test_an_estimate_that_is_too_late_comes_down(true: float, times: float) -> None:
    """Jobs have become faster: every look finds them done, and yet the estimate sinks below what they take."""
    durations = Durations(8)
    seen(durations, [true * times] * 64)
    estimate = true * times
    for _ in range(64 * 4):
        looked = durations.first_look("k")
        assert looked is not None
        assert looked <= estimate
        estimate = looked
        if estimate <= true:
            break
        durations.observe("k", 0.0, estimate)
    assert 0.5 * true < estimate <= true


@given(true=st.floats(5, 50), late=st.floats(0, 3))
@modest
def test_a_right_estimate_stays(true: float, late: float) -> None:
    """Jobs seen running at one look and done at the next keep the estimate between the two."""
    durations = Durations(1)
    for _ in range(100):
        durations.observe("k", true - late, true + late)
    assert durations.first_look("k") == pytest.approx(true)


def test_kinds_do_not_teach_each_other() -> None:
    """Keys are kept apart, and one that nobody has seen says nothing."""
    durations = Durations(1)
    seen(durations, [5.0], "fast")
    seen(durations, [50.0], "slow")
    assert [durations.first_look(key) for key in ("fast", "slow", "new")] == [5.0, 50.0, None]


def test_kinds_without_number_take_no_memory_without_end() -> None:
    """Models come from callers: after a thousand kinds the oldest is forgotten."""
    durations = Durations(enough=1)
    for kind in range(5000):
        durations.observe(kind, 1.0, 3.0)
    assert durations.first_look(4999) == 2.0
    assert durations.first_look(0) is None
    assert len(durations._seen) <= 1000


def test_a_guess_is_forgotten_after_the_first_look_at_life() -> None:
    """What a job usually takes is a guess at first, then what was seen, leaning towards the latest."""
    usual = Usual(30.0)
    told = [usual.seconds]
    for seconds in (10.0, 20.0):
        usual.observe(seconds)
        told.append(usual.seconds)
    assert told == [30.0, 10.0, 13.0]
    assert Usual(None).seconds is None


def lane(**figures: Any) -> LaneStatistics:
    """Return a lane's figures."""
    usual = {"capacity": 1, "in_use": 0, "waiting": 0, "submitting": 0, "paused_for": 0.0, "refusals": 0}
    return LaneStatistics(**{**usual, **figures})


@pytest.mark.parametrize(
    ("figures", "ahead", "seconds"),
    [
        ({}, 0, 0.0),
        ({"paused_for": 7.0}, 0, 7.0),
        ({"paused_for": 7.0}, 1, None),
        ({"usual": 20.0, "cool_down": 60.0}, 1, 80.0),
        ({"usual": 20.0, "cool_down": 60.0}, 3, 240.0),
        ({"usual": 20.0, "cool_down": 60.0, "paused_for": 10.0}, 2, 170.0),
        ({"usual": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0}, 0, 65.0),
        ({"usual": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0}, 2, 225.0),
        ({"usual": 20.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0, "cool_from": "start"}, 0, 45.0),
        ({"usual": 90.0, "cool_down": 60.0, "in_use": 1, "next_end": 5.0, "cool_from": "start"}, 1, 95.0),
        ({"usual": 12.0, "capacity": 4, "in_use": 4, "next_end": 3.0}, 0, 3.0),
        ({"usual": 12.0, "capacity": 4, "in_use": 4, "next_end": 3.0}, 4, 15.0),
        ({"usual": 12.0, "capacity": 4, "in_use": 1, "next_end": 3.0}, 2, 0.0),
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
    usual=st.floats(1, 100),
    cool_down=st.floats(0, 100),
    next_end=st.floats(0, 1),
    waiting=st.integers(0, 50),
)


@given(now=lanes, ahead=st.integers(0, 50))
@modest
def test_nobody_further_back_is_let_in_earlier(now: LaneStatistics, ahead: int) -> None:
    """The estimate grows with the place in line, and is never before the end of a pause, nor after that of all."""
    mine, behind, end = now.starts_in(ahead), now.starts_in(ahead + 1), now.ends_in(ahead + 1)
    assert mine is not None
    assert behind is not None
    assert end is not None
    assert now.paused_for <= mine <= behind
    assert end >= mine
