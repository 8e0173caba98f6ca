"""The rules of the circuit breaker, on its pure state: what may be sent, when a pause begins and how it ends."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiowery._core.policies import Limits, RetryPolicy
from aiowery._queue.circuit_breaker import BreakerPhase, CircuitBreakerState
from aiowery.errors import ConfigurationError


def breaker_of(max_doubts: int | None = 3, now: float = 0.0) -> CircuitBreakerState:
    """Return a circuit breaker at a fixed time."""
    return CircuitBreakerState(max_doubts, RetryPolicy().probe_backoff, lambda: now)


def end_submissions(breaker: CircuitBreakerState, answers: str) -> int | None:
    """End submissions in doubt (`d`) or clearly (`c`), and return after how many the pause began."""
    for number, answer in enumerate(answers, 1):
        submission = object()
        assert breaker.try_admit(submission)
        if breaker.record_in_doubt(submission, "a page") if answer == "d" else breaker.record_clear(submission):
            return number
    return None


@pytest.mark.parametrize(
    ("max_doubts", "answers", "pause_after"),
    [
        (3, "ddd", 3),
        (3, "ddcddcdd", 7),
        (3, "dcdcdcdcd", 9),
        (3, "d" + "c" * 95 + "dcdcdcd", None),
        (3, "d" + "c" * 91 + "dcdcdcd", 99),
        (1, "d", 1),
        (5, "ddddcddd", 8),
        (None, "d" * 200, None),
    ],
    ids=["in a row", "5 in all", "every other", "the first too long ago", "5 of 100", "one", "7 of 100", "off"],
)
def test_record_in_doubt_in_a_row_or_two_more_among_100_begins_pause(
    max_doubts: int | None, answers: str, pause_after: int | None
) -> None:
    """A clear answer ends a row. Two doubts more than a row among the last 100 submissions pause as well."""
    assert end_submissions(breaker_of(max_doubts), answers) == pause_after


def test_reason_contains_rule_last_cause_and_failed_probes() -> None:
    """`reason` names the rule that applied and the last submission's cause. Each failed probe is added."""
    breaker = breaker_of()
    end_submissions(breaker, "ddd")
    assert breaker.reason is not None
    assert breaker.reason.startswith("the last 3 submissions had no clear answer")
    assert breaker.reason.endswith("may have been charged: a page")
    breaker.begin_check()
    breaker.end_check("no route to host")
    assert breaker.reason.endswith("a page (probe 1 failed: no route to host)")
    breaker.reset()
    end_submissions(breaker, "dcdcdcdcd")
    assert (breaker.reason or "").startswith("5 of the last 100 submissions")


def test_reset_after_pause_counts_from_zero() -> None:
    """Once the queue is open again, earlier doubts no longer count."""
    breaker = breaker_of()
    end_submissions(breaker, "dcdcddd")
    assert breaker.reset()
    assert not breaker.reset()
    assert end_submissions(breaker, "dd") is None
    assert end_submissions(breaker, "d") == 1


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", inf])
def test_limits_invalid_max_doubts_is_refused(value: Any) -> None:
    """`max_doubts` is an integer of at least 1, or None for no circuit breaker."""
    with pytest.raises(ConfigurationError, match="max_doubts"):
        Limits(max_doubts=value)
    assert Limits(max_doubts=None).max_doubts is None


class CircuitBreakerModel(RuleBasedStateMachine):
    """Events in any order, compared with a simple model of their effects."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = CircuitBreakerState(3, RetryPolicy().probe_backoff, lambda: self.now)
        self.under_way: list[object] = []
        self.probe: object = None
        self.history: list[bool] = []
        self.open = True
        self.failed = 0

    @rule(passed=st.floats(0.1, 700))
    def advance_clock(self, passed: float) -> None:
        """Advance the clock."""
        self.now += passed

    @rule()
    def try_admission(self) -> None:
        """Try to admit a submission: it is admitted while the queue is open, or as the probe."""
        submission, ready = object(), self.breaker.phase is BreakerPhase.READY
        admitted = self.breaker.try_admit(submission)
        assert admitted is (self.open or ready)
        if admitted:
            self.under_way.append(submission)
            self.probe = submission if ready else self.probe

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), end=st.sampled_from(["doubt", "clear", "forget"]))
    def end_admitted(self, data: st.DataObject, end: str) -> None:
        """End an admitted submission: only the probe changes anything during a pause."""
        submission = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        is_probe = submission is self.probe
        changes = {
            "doubt": lambda: self.breaker.record_in_doubt(submission, "a page"),
            "clear": lambda: self.breaker.record_clear(submission),
            "forget": lambda: self.breaker.record_unknown(submission),
        }[end]()
        if is_probe:
            self.probe = None
            assert changes
            self.failed += end == "doubt"
            if end == "clear":
                self.expect_open()
            else:
                self.expect_pause()
        elif self.open and end != "forget":
            self.history.append(end == "doubt")
            stops = self.history[-3:] == [True] * 3 or sum(self.history[-100:]) >= 5
            assert changes is (stops and end == "doubt")
            if changes:
                self.open = False
                self.expect_pause()
        else:
            assert not changes

    @precondition(lambda self: self.breaker.phase is BreakerPhase.PAUSED)
    @rule(end=st.sampled_from(["silent", "alive", "cut off"]))
    def make_free_read(self, end: str) -> None:
        """Begin the free read, and end it or abort it."""
        self.breaker.begin_check()
        assert not self.breaker.try_admit(object())
        if end == "silent":
            self.failed += 1
            assert self.breaker.end_check("no answer")
            self.expect_pause()
        elif end == "alive":
            assert not self.breaker.end_check(None)
        else:
            self.breaker.abort_check()

    @rule()
    def reset_breaker(self) -> None:
        """Open the queue in any state."""
        assert self.breaker.reset() is not self.open
        self.probe = None
        self.expect_open()

    def expect_open(self) -> None:
        """Reset the counts of the model."""
        self.open, self.failed = True, 0
        self.history.clear()

    def expect_pause(self) -> None:
        """Check that the length of a pause depends on the failed probes."""
        assert self.breaker.retry_in == pytest.approx(min(600, 30 * 2**self.failed))

    @invariant()
    def check_allowed_submissions(self) -> None:
        """Compare the submissions that may be sent, the reason and the count with the model."""
        allowed = [one for one in self.under_way if self.breaker.allows(one)]
        assert allowed == (self.under_way if self.open else [one for one in self.under_way if one is self.probe])
        assert (self.breaker.reason is None) is self.open
        assert self.breaker.failed_probes == self.failed
        assert self.breaker.retry_in <= 600


TestCircuitBreakerModel = CircuitBreakerModel.TestCase
TestCircuitBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(failed=st.integers(0, 10**9))
@settings(max_examples=50, deadline=None)
def test_probe_backoff_after_any_failures_is_at_most_ten_minutes(failed: int) -> None:
    """However many probes fail, the next one follows within ten minutes."""
    assert 30 <= RetryPolicy().probe_backoff(failed) <= 600
