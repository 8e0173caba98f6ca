"""Laws of the delays: within bounds for every draw and every number of failures."""

from __future__ import annotations

from math import inf, nan, nextafter
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._core.policies import Limits, PollPolicy, RetryPolicy, full_jitter
from aiowery.errors import ConfigurationError

draws = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, nextafter(1.0, 0.0)])
failures = st.integers(-5, 70) | st.integers(0, 10**6) | st.just(10**6)
seconds = st.floats(0.001, 1e6)
waits = st.none() | st.floats(0, 1e9)
SLACK = 1 + 1e-12


@st.composite
def polls(draw: st.DrawFn) -> PollPolicy:
    """Draw any policy that can be built."""
    shortest, *others = sorted(draw(st.lists(seconds, min_size=3, max_size=3)))
    longest, eager = draw(st.permutations(others))
    return PollPolicy(
        min_interval=shortest, max_interval=longest, known_max_interval=eager, max_backoff=draw(seconds | st.just(inf))
    )


retries = st.builds(
    RetryPolicy,
    initial_backoff=st.floats(0, 1e6),
    max_backoff=st.floats(0, 1e6) | st.just(inf),
    max_retry_after=st.floats(0, 1e6) | st.just(inf),
)


@given(policy=polls(), draw=draws)
def test_intervals_lie_between_their_bounds(policy: PollPolicy, draw: float) -> None:
    """A look comes no sooner than `shortest` and no later than `longest`, an eager one no later than `eager`."""
    assert policy.min_interval <= policy.interval(lambda: draw) <= policy.max_interval * SLACK
    assert policy.min_interval <= policy.known_interval(lambda: draw) <= policy.known_max_interval * SLACK


@given(policy=polls(), learned=st.floats(0, 1e6), draw=draws)
def test_a_learned_first_look_lies_within_an_interval_around_that_moment(
    policy: PollPolicy, learned: float, draw: float
) -> None:
    """Half of it before, half of it after, and never sooner than two looks may follow each other."""
    first, half = policy.first_poll_after(learned, lambda: draw), policy.known_max_interval / 2
    assert policy.min_interval <= first <= max(learned + half, policy.known_max_interval) * SLACK
    assert first * SLACK >= learned - half


@given(policy=polls(), draw=draws)
def test_what_is_not_learned_is_looked_at_every_interval(policy: PollPolicy, draw: float) -> None:
    """The first look and further ones come after the usual interval; what is learned makes further ones eager."""
    usual, eager = policy.interval(lambda: draw), policy.known_interval(lambda: draw)
    assert policy.first_poll_after(None, lambda: draw) == policy.next_poll_after(None, lambda: draw) == usual
    assert policy.next_poll_after(7.0, lambda: draw) == eager


def test_first_looks_are_spread_over_an_interval() -> None:
    """Learned are 20 s: the first look comes anywhere between 18.4 and 21.6 s; of 1 s one looks as soon as one may."""
    policy = PollPolicy()
    assert [policy.first_poll_after(20.0, lambda draw=draw: draw) for draw in (0.0, 0.5)] == [18.4, 20.0]  # type: ignore[misc]
    assert policy.first_poll_after(1.0, lambda: 0.5) == pytest.approx(3.1)


@given(policy=polls(), failures=failures, draw=draws)
@example(policy=PollPolicy(min_interval=60, max_interval=90, known_max_interval=60), failures=1, draw=0.5)
def test_failed_looks_pause_at_least_as_long_as_good_ones(policy: PollPolicy, failures: int, draw: float) -> None:
    """A failing provider is never asked more often than a healthy one, and not rarer than the ceiling."""
    pause = policy.after_failures(failures, lambda: draw)
    assert policy.interval(lambda: draw) <= pause <= max(policy.max_backoff, policy.max_interval) * SLACK


@given(policy=polls(), draw=draws)
def test_one_failed_look_costs_no_more_than_its_interval(policy: PollPolicy, draw: float) -> None:
    """A single 500 says nothing of the provider; only the second in a row makes the looks rarer."""
    assert policy.after_failures(1, lambda: draw) == policy.interval(lambda: draw)
    assert policy.after_failures(2, lambda: 1.0) >= policy.after_failures(1, lambda: 1.0)


@given(policy=retries, failures=failures, asked=waits, draw=draws)
def test_pauses_before_a_repeat_are_bounded(
    policy: RetryPolicy, failures: int, asked: float | None, draw: float
) -> None:
    """What the server asks for is obeyed up to `longest_wait`; our own pauses stay below the ceiling."""
    pause = policy.backoff(failures, asked, lambda: draw)
    lane = policy.queue_backoff(failures, asked, lambda: draw)
    if asked is not None:
        assert pause == min(asked, policy.max_retry_after)
        assert lane == max(4 * policy.initial_backoff, pause)
    else:
        assert 0 <= pause <= policy.max_backoff
        assert 4 * policy.initial_backoff <= lane <= (4 * policy.initial_backoff + policy.max_backoff) * SLACK


@given(base=st.floats(0, 1e6), ceiling=st.floats(0, 1e9) | st.just(inf), failures=failures, draw=draws)
def test_full_jitter_is_its_formula(base: float, ceiling: float, failures: int, draw: float) -> None:
    """`random * min(ceiling, base * 2 ** failures)`, with an exponent between 0 and 63."""
    pause = full_jitter(failures, base, ceiling, lambda: draw)
    assert pause == draw * min(ceiling, base * float(2 ** sorted((0, failures, 63))[1]))


@given(failures=failures, more=st.integers(0, 50), draw=draws)
def test_full_jitter_never_shrinks(failures: int, more: int, draw: float) -> None:
    """For the same draw, one more failure never means a shorter pause."""
    shorter, longer = (full_jitter(count, 0.5, 20.0, lambda: draw) for count in (failures, failures + more))
    assert shorter <= longer


def test_the_defaults_grow_as_documented() -> None:
    """The middle draw gives a quarter second, then doubles until the ceiling of twenty."""
    policy = RetryPolicy()
    assert [policy.backoff(count, None, lambda: 0.5) for count in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_the_default_interval_is_three_to_five_seconds() -> None:
    """Looks come every 3 to 5 s, as the provider asks for, and eager ones every 3 to 3.2 s."""
    policy = PollPolicy()
    assert (policy.interval(lambda: 0.0), policy.interval(lambda: 0.5)) == (3.0, 4.0)
    assert policy.interval(lambda: nextafter(1.0, 0.0)) == pytest.approx(5.0)
    assert policy.known_interval(lambda: nextafter(1.0, 0.0)) == pytest.approx(3.2)


@pytest.mark.parametrize(("kind", "patience"), [("image", 600.0), ("video", 1800.0), ("audio", 1800.0)])
def test_patience_goes_by_kind(kind: str, patience: float) -> None:
    """Pictures get ten minutes, everything else thirty."""
    assert PollPolicy().timeout_for(kind) == patience


DURATIONS = {
    Limits: ("submit_interval", "recovery_interval"),
    PollPolicy: (
        "min_interval",
        "max_interval",
        "known_max_interval",
        "not_found_grace",
        "max_backoff",
        "image_timeout",
        "timeout",
        "webhook_fallback",
    ),
    RetryPolicy: (
        "initial_backoff",
        "max_backoff",
        "max_busy_time",
        "max_retry_after",
        "probe_interval",
        "max_probe_interval",
    ),
}


@pytest.mark.parametrize("cls", DURATIONS)
@given(speed=st.floats(0.01, 1000))
def test_faster_divides_every_duration_and_nothing_else(cls: type[Any], speed: float) -> None:
    """Durations are divided by the speed, counts and words are not."""
    policy = cls(submit_interval=2.5) if cls is Limits else cls()
    before, after = attrs.asdict(policy), attrs.asdict(policy.faster(speed))
    for name, value in before.items():
        assert after[name] == (value / speed if name in DURATIONS[cls] else value)


def test_probes_come_ever_later_up_to_ten_minutes() -> None:
    """The pauses before probes double from half a minute, for any number of failed ones."""
    pauses = [RetryPolicy().probe_backoff(failed) for failed in (0, 1, 2, 3, 4, 5, 6, 10_000)]
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]
    assert RetryPolicy().faster(10).probe_backoff(1) == 6


@given(speed=st.floats(0.01, 1000), failures=failures, draw=draws)
def test_a_faster_policy_pauses_in_proportion(speed: float, failures: int, draw: float) -> None:
    """Every delay of a faster world is the slow world's, divided by the speed."""
    polling, retrying = PollPolicy(), RetryPolicy()
    pairs = [
        (polling.interval(lambda: draw), polling.faster(speed).interval(lambda: draw)),
        (polling.known_interval(lambda: draw), polling.faster(speed).known_interval(lambda: draw)),
        (polling.after_failures(failures, lambda: draw), polling.faster(speed).after_failures(failures, lambda: draw)),
        (retrying.backoff(failures, None, lambda: draw), retrying.faster(speed).backoff(failures, None, lambda: draw)),
        (retrying.queue_backoff(1, None, lambda: draw), retrying.faster(speed).queue_backoff(1, None, lambda: draw)),
    ]
    for slow, fast in pairs:
        assert fast == pytest.approx(slow / speed)


def test_the_pool_holds_every_gate() -> None:
    """No gate ever waits for a connection: the pool is as large as all gates together, 32 by default."""
    assert Limits().connections == 32
    assert Limits(submissions=1, polls=2, downloads=3, uploads=4, direct_calls=5).connections == 15


WRONG: list[tuple[type[Any], str, Any]] = [
    *(
        (Limits, name, value)
        for name in ("in_flight", "submissions", "polls", "downloads")
        for value in (0, 1.5, None, True)
    ),
    (Limits, "submit_interval", -0.1),
    (Limits, "recovery_interval", nan),
    (Limits, "recovery_interval", "30"),
    (PollPolicy, "min_interval", 0),
    (PollPolicy, "min_interval", None),
    (PollPolicy, "max_interval", inf),
    (PollPolicy, "known_max_interval", nan),
    (PollPolicy, "first_poll", "learnt"),
    (PollPolicy, "min_samples", 0),
    (PollPolicy, "min_samples", 2.5),
    *((PollPolicy, "percentile", value) for value in (0, 100, nan, True, "5")),
    (PollPolicy, "not_found_grace", -1),
    (PollPolicy, "image_timeout", None),
    (RetryPolicy, "max_attempts", 0),
    (RetryPolicy, "max_attempts", inf),
    (RetryPolicy, "initial_backoff", inf),
    (RetryPolicy, "max_backoff", -1),
    (RetryPolicy, "max_busy_time", "long"),
]


@pytest.mark.parametrize(("cls", "name", "value"), WRONG, ids=[f"{c.__name__}.{n}={v!r}" for c, n, v in WRONG])
def test_an_impossible_number_is_refused(cls: type[Any], name: str, value: Any) -> None:
    """What no delay or gate can be made of is refused where it is written, with what is valid."""
    with pytest.raises(ConfigurationError, match=rf"^{cls.__name__}\.{name} must be .*, got .*$") as caught:
        cls(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("fields", [{"max_interval": 2.9}, {"known_max_interval": 2.9}, {"min_interval": 6.0}], ids=str)
def test_bounds_in_the_wrong_order_are_refused(fields: dict[str, float]) -> None:
    """`max_interval` and `known_max_interval` may not be below `min_interval`."""
    with pytest.raises(ConfigurationError, match="must be >= min_interval"):
        PollPolicy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_backoff", "max_busy_time", "max_retry_after"])
def test_infinity_stands_for_no_end(name: str) -> None:
    """Where a number only ends something, infinity is allowed."""
    assert getattr(RetryPolicy(**{name: inf}), name) == inf  # type: ignore[arg-type]
