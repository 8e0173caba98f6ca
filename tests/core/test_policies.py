"""Delays: within bounds for every random number and every number of failures."""

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
def poll_policies(draw: st.DrawFn) -> PollPolicy:
    """Draw any valid policy."""
    shortest, *others = sorted(draw(st.lists(seconds, min_size=3, max_size=3)))
    longest, known = draw(st.permutations(others))
    return PollPolicy(
        min_interval=shortest, max_interval=longest, known_max_interval=known, max_backoff=draw(seconds | st.just(inf))
    )


retries = st.builds(
    RetryPolicy,
    initial_backoff=st.floats(0, 1e6),
    max_backoff=st.floats(0, 1e6) | st.just(inf),
    max_retry_after=st.floats(0, 1e6) | st.just(inf),
)


@given(policy=poll_policies(), draw=draws)
def test_interval_lies_between_its_bounds(policy: PollPolicy, draw: float) -> None:
    """Polls come no sooner than `min_interval` and no later than `max_interval` or `known_max_interval`."""
    assert policy.min_interval <= policy.interval(lambda: draw) <= policy.max_interval * SLACK
    assert policy.min_interval <= policy.known_interval(lambda: draw) <= policy.known_max_interval * SLACK


@given(policy=poll_policies(), learned=st.floats(0, 1e6), draw=draws)
def test_first_poll_after_lies_around_the_learned_duration(policy: PollPolicy, learned: float, draw: float) -> None:
    """Half of the interval is before the learned duration, half after it. No poll comes before `min_interval`."""
    first, half = policy.first_poll_after(learned, lambda: draw), policy.known_max_interval / 2
    assert policy.min_interval <= first <= max(learned + half, policy.known_max_interval) * SLACK
    assert first * SLACK >= learned - half


@given(policy=poll_policies(), draw=draws)
def test_poll_without_learned_duration_uses_the_usual_interval(policy: PollPolicy, draw: float) -> None:
    """Without a learned duration all polls use the usual interval. With one, later polls use the shorter interval."""
    usual, known = policy.interval(lambda: draw), policy.known_interval(lambda: draw)
    assert policy.first_poll_after(None, lambda: draw) == policy.next_poll_after(None, lambda: draw) == usual
    assert policy.next_poll_after(7.0, lambda: draw) == known


def test_first_poll_after_is_spread_over_an_interval() -> None:
    """For 20 s the first poll comes between 18.4 and 21.6 s. For 1 s it comes as soon as allowed."""
    policy = PollPolicy()
    assert [policy.first_poll_after(20.0, lambda draw=draw: draw) for draw in (0.0, 0.5)] == [18.4, 20.0]  # type: ignore[misc]
    assert policy.first_poll_after(1.0, lambda: 0.5) == pytest.approx(3.1)


@given(policy=poll_policies(), failures=failures, draw=draws)
@example(policy=PollPolicy(min_interval=60, max_interval=90, known_max_interval=60), failures=1, draw=0.5)
def test_after_failures_is_at_least_the_interval(policy: PollPolicy, failures: int, draw: float) -> None:
    """A failing provider is polled no more often than a healthy one, and no less often than `max_backoff`."""
    pause = policy.after_failures(failures, lambda: draw)
    assert policy.interval(lambda: draw) <= pause <= max(policy.max_backoff, policy.max_interval) * SLACK


@given(policy=poll_policies(), draw=draws)
def test_after_failures_first_failure_keeps_the_interval(policy: PollPolicy, draw: float) -> None:
    """A single 500 changes nothing. The second failure in a row makes polls rarer."""
    assert policy.after_failures(1, lambda: draw) == policy.interval(lambda: draw)
    assert policy.after_failures(2, lambda: 1.0) >= policy.after_failures(1, lambda: 1.0)


@given(policy=retries, failures=failures, retry_after=waits, draw=draws)
def test_backoff_is_bounded(policy: RetryPolicy, failures: int, retry_after: float | None, draw: float) -> None:
    """The server's Retry-After is obeyed up to `max_retry_after`, and own pauses stay below `max_backoff`.

    A read never waits less because of a Retry-After.
    """
    pause = policy.backoff(failures, retry_after, lambda: draw)
    queue_pause = policy.queue_backoff(failures, retry_after, lambda: draw)
    if retry_after is not None:
        obeyed = min(retry_after, policy.max_retry_after)
        assert pause == max(obeyed, policy.backoff(failures, None, lambda: draw))
        assert queue_pause == max(4 * policy.initial_backoff, obeyed)
    else:
        assert 0 <= pause <= policy.max_backoff
        assert 4 * policy.initial_backoff <= queue_pause <= (4 * policy.initial_backoff + policy.max_backoff) * SLACK


@given(base=st.floats(0, 1e6), ceiling=st.floats(0, 1e9) | st.just(inf), failures=failures, draw=draws)
def test_full_jitter_is_its_documented_formula(base: float, ceiling: float, failures: int, draw: float) -> None:
    """`random * min(ceiling, base * 2 ** failures)`, with an exponent between 0 and 63."""
    pause = full_jitter(failures, base, ceiling, lambda: draw)
    assert pause == draw * min(ceiling, base * float(2 ** sorted((0, failures, 63))[1]))


@given(failures=failures, more=st.integers(0, 50), draw=draws)
def test_full_jitter_grows_with_failures(failures: int, more: int, draw: float) -> None:
    """For the same random number, one more failure never gives a shorter pause."""
    shorter, longer = (full_jitter(count, 0.5, 20.0, lambda: draw) for count in (failures, failures + more))
    assert shorter <= longer


def test_backoff_defaults_grow_as_documented() -> None:
    """The mean pause is a quarter second, then doubles until half of the limit of 20 s."""
    policy = RetryPolicy()
    assert [policy.backoff(count, None, lambda: 0.5) for count in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_interval_default_is_three_to_five_seconds() -> None:
    """Polls come every 3 to 5 s, as the provider documents, and every 3 to 3.2 s near a known end."""
    policy = PollPolicy()
    assert (policy.interval(lambda: 0.0), policy.interval(lambda: 0.5)) == (3.0, 4.0)
    assert policy.interval(lambda: nextafter(1.0, 0.0)) == pytest.approx(5.0)
    assert policy.known_interval(lambda: nextafter(1.0, 0.0)) == pytest.approx(3.2)


@pytest.mark.parametrize(("kind", "timeout"), [("image", 600.0), ("video", 1800.0), ("audio", 1800.0)])
def test_timeout_for_depends_on_the_kind(kind: str, timeout: float) -> None:
    """Pictures get ten minutes, everything else thirty."""
    assert PollPolicy().timeout_for(kind) == timeout


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
    """Durations are divided by the speed, and all other values stay."""
    policy = cls(submit_interval=2.5) if cls is Limits else cls()
    before, after = attrs.asdict(policy), attrs.asdict(policy.faster(speed))
    for name, value in before.items():
        assert after[name] == (value / speed if name in DURATIONS[cls] else value)


def test_probe_backoff_doubles_up_to_ten_minutes() -> None:
    """The pauses before probes double from half a minute, for any number of failed probes."""
    pauses = [RetryPolicy().probe_backoff(failed) for failed in (0, 1, 2, 3, 4, 5, 6, 10_000)]
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]
    assert RetryPolicy().faster(10).probe_backoff(1) == 6


@given(speed=st.floats(0.01, 1000), failures=failures, draw=draws)
def test_faster_policy_delays_are_proportional(speed: float, failures: int, draw: float) -> None:
    """Every delay of a faster policy is the original delay divided by the speed."""
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


def test_connections_cover_every_gate() -> None:
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
def test_policy_invalid_number_is_refused(cls: type[Any], name: str, value: Any) -> None:
    """A number that makes no delay or gate is refused by the constructor, with the valid range."""
    with pytest.raises(ConfigurationError, match=rf"^{cls.__name__}\.{name} must be .*, got .*$") as caught:
        cls(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("fields", [{"max_interval": 2.9}, {"known_max_interval": 2.9}, {"min_interval": 6.0}], ids=str)
def test_poll_policy_bounds_in_wrong_order_are_refused(fields: dict[str, float]) -> None:
    """`max_interval` and `known_max_interval` may not be below `min_interval`."""
    with pytest.raises(ConfigurationError, match="must be >= min_interval"):
        PollPolicy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_backoff", "max_busy_time", "max_retry_after"])
def test_retry_policy_infinite_limit_is_accepted(name: str) -> None:
    """Infinity is allowed for values that only limit something."""
    assert getattr(RetryPolicy(**{name: inf}), name) == inf  # type: ignore[arg-type]
