"""The brake's rules, on its pure state: what may leave, when a pause begins and how it ends."""

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


def state_of(max_doubts: int | None = 3, now: float = 0.0) -> CircuitBreakerState:
    """Return a brake at a fixed time."""
    return CircuitBreakerState(max_doubts, RetryPolicy().probe_backoff, lambda: now)


def answered(brake: CircuitBreakerState, answers: str) -> int | None:
    """Let submissions end in doubt (`d`) or clearly (`c`); return after how many the pause began."""
    for number, answer in enumerate(answers, 1):
        submission = object()
        assert brake.try_admit(submission)
        if brake.record_in_doubt(submission, "a page") if answer == "d" else brake.record_clear(submission):
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
def test_a_pause_begins_after_doubts_in_a_row_or_two_more_among_100(
    max_doubts: int | None, answers: str, pause_after: int | None
) -> None:
    """A clear answer ends a row; of the last 100 submissions two doubts more than a row pause as well."""
    assert answered(state_of(max_doubts), answers) == pause_after


def test_the_reason_says_what_was_counted_and_the_last_cause() -> None:
    """`because` tells the rule that struck and what the last submission brought; each failed probe is added."""
    brake = state_of()
    answered(brake, "ddd")
    assert brake.reason is not None
    assert brake.reason.startswith("the last 3 submissions had no clear answer")
    assert brake.reason.endswith("may have been charged: a page")
    brake.begin_check()
    brake.end_check("no route to host")
    assert brake.reason.endswith("a page (probe 1 failed: no route to host)")
    brake.reset()
    answered(brake, "dcdcdcdcd")
    assert (brake.reason or "").startswith("5 of the last 100 submissions")


def test_counting_begins_anew_after_a_pause() -> None:
    """Once the queue is open again, earlier doubts count no more."""
    brake = state_of()
    answered(brake, "dcdcddd")
    assert brake.reset()
    assert not brake.reset()
    assert answered(brake, "dd") is None
    assert answered(brake, "d") == 1


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", inf])
def test_a_limit_that_makes_no_sense_is_refused(value: Any) -> None:
    """`max_doubts` is a whole number of at least 1, or None for no brake."""
    with pytest.raises(ConfigurationError, match="max_doubts"):
        Limits(max_doubts=value)
    assert Limits(max_doubts=None).max_doubts is None


class BrakeModel(RuleBasedStateMachine):
    """Any order of events, beside a plain account of what they mean."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.brake = CircuitBreakerState(3, RetryPolicy().probe_backoff, lambda: self.now)
        self.under_way: list[object] = []
        self.probe: object = None
        self.history: list[bool] = []
        self.open = True
        self.failed = 0

    @rule(passed=st.floats(0.1, 700))
    def time_passes(self, passed: float) -> None:
        """Let the clock go on."""
        self.now += passed

    @rule()
    def another_comes(self) -> None:
        """Ask for a submission more: it is let in while the queue is open, or as the probe."""
        submission, ready = object(), self.brake.phase is BreakerPhase.READY
        admitted = self.brake.try_admit(submission)
        assert admitted is (self.open or ready)
        if admitted:
            self.under_way.append(submission)
            self.probe = submission if ready else self.probe

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["doubt", "clear", "forget"]))
    def one_ends(self, data: st.DataObject, how: str) -> None:
        """End one that was let in: only the probe changes anything during a pause."""
        submission = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        is_probe = submission is self.probe
        changes = {
            "doubt": lambda: self.brake.record_in_doubt(submission, "a page"),
            "clear": lambda: self.brake.record_clear(submission),
            "forget": lambda: self.brake.record_unknown(submission),
        }[how]()
        if is_probe:
            self.probe = None
            assert changes
            self.failed += how == "doubt"
            if how == "clear":
                self.opened()
            else:
                self.paused()
        elif self.open and how != "forget":
            self.history.append(how == "doubt")
            stops = self.history[-3:] == [True] * 3 or sum(self.history[-100:]) >= 5
            assert changes is (stops and how == "doubt")
            if changes:
                self.open = False
                self.paused()
        else:
            assert not changes

    @precondition(lambda self: self.brake.phase is BreakerPhase.PAUSED)
    @rule(end=st.sampled_from(["silent", "alive", "cut off"]))
    def a_free_read_ends(self, end: str) -> None:
        """Make the free read, or begin it."""
        self.brake.begin_check()
        assert not self.brake.try_admit(object())
        if end == "silent":
            self.failed += 1
            assert self.brake.end_check("no answer")
            self.paused()
        elif end == "alive":
            assert not self.brake.end_check(None)
        else:
            self.brake.abort_check()

    @rule()
    def opened_by_hand(self) -> None:
        """Open the queue whatever its state."""
        assert self.brake.reset() is not self.open
        self.probe = None
        self.opened()

    def opened(self) -> None:
        """Note that counting begins anew."""
        self.open, self.failed = True, 0
        self.history.clear()

    def paused(self) -> None:
        """Check that a pause lasts as the failed probes say."""
        assert self.brake.retry_in == pytest.approx(min(600, 30 * 2**self.failed))

    @invariant()
    def only_what_may_leave_leaves(self) -> None:
        """Compare what may leave, the reason and the count with the plain account."""
        leaving = [one for one in self.under_way if self.brake.allows(one)]
        assert leaving == (self.under_way if self.open else [one for one in self.under_way if one is self.probe])
        assert (self.brake.reason is None) is self.open
        assert self.brake.failed_probes == self.failed
        assert self.brake.retry_in <= 600


TestBrakeModel = BrakeModel.TestCase
TestBrakeModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(failed=st.integers(0, 10**9))
@settings(max_examples=50, deadline=None)
def test_a_pause_has_an_end(failed: int) -> None:
    """However many probes fail, the next one comes within ten minutes."""
    assert 30 <= RetryPolicy().probe_backoff(failed) <= 600
