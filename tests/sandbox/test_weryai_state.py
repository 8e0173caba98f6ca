"""WeryAI's state without HTTP, with a clock that the test controls."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import FAIL, MODERATED, SLOW, STUCK, SandboxTaskState, WeryAIState
from aiowery.sandbox._response import Refused
from aiowery.sandbox._tasks import TaskSpec

SPEC = TaskSpec(prompt="hills", model="WERYAI_IMAGE_2_0", aspect_ratio="1:1")


@attrs.define
class Clock:
    """A clock that the test sets."""

    time: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


def test_task_state_follows_its_times() -> None:
    """The states follow each other at the task's times."""
    clock = Clock()
    state = WeryAIState(clock=clock)
    task = state.submit(SPEC).tasks[0]
    times = [0.0, task.starts_at, task.ends_at - 0.001, task.ends_at]
    assert [task.state(time) for time in times] == [
        SandboxTaskState.WAITING,
        SandboxTaskState.PROCESSING,
        SandboxTaskState.PROCESSING,
        SandboxTaskState.SUCCESS,
    ]
    assert 6 <= task.ends_at <= 11


def test_speed_divides_durations() -> None:
    """With the same seed, a speed of 100 gives a hundredth of the duration."""
    slow, fast = (WeryAIState(clock=Clock(), speed=speed).submit(SPEC).tasks[0] for speed in (1, 100))
    assert fast.ends_at == pytest.approx(slow.ends_at / 100)


def test_durations_follow_the_seed() -> None:
    """The same seed gives the same durations in the same order, another seed gives others."""

    def durations(seed: int) -> list[float]:
        state = WeryAIState(clock=Clock(), seed=seed)
        return [state.submit(SPEC).tasks[0].ends_at for _ in range(5)]

    assert durations(1) == durations(1)
    assert durations(1) != durations(2)


@pytest.mark.parametrize(
    ("durations", "model", "expected"),
    [((2.0, 2.0), "ANY", 2.0), ({"A": (3.0, 3.0)}, "A", 3.0), ({"*": (4.0, 4.0)}, "NEW", 4.0)],
)
def test_durations_argument_sets_the_range(
    durations: tuple[float, float] | dict[str, tuple[float, float]], model: str, expected: float
) -> None:
    """One pair applies to all models, a mapping by model, "*" to the rest."""
    state = WeryAIState(clock=Clock(), durations=durations)
    assert state.submit(attrs.evolve(SPEC, model=model)).tasks[0].ends_at == expected


def test_ids_are_unique_across_runs() -> None:
    """Tasks and batches of one state have unique ids, and another run has different ones."""
    states = [WeryAIState(credits=1000, in_flight=1000, clock=Clock()) for _ in range(2)]
    for state in states:
        for _ in range(300):
            state.submit(SPEC)
    assert len({task.id for state in states for task in state.tasks}) == 600
    assert len({batch.id for state in states for batch in state.batches}) == 600


def test_task_is_found_by_its_decimal_number() -> None:
    """The hexadecimal digits of an id, written in decimal, find the task too."""
    state = WeryAIState(clock=Clock())
    task = state.submit(SPEC).tasks[0]
    assert state.task(task.id) is task
    assert state.task(str(int(task.id.removeprefix("task_"), 16))) is task
    assert state.task("task_x") is None


def test_submit_after_a_task_ended_is_accepted() -> None:
    """Finished tasks do not count against the limit."""
    clock = Clock()
    state = WeryAIState(in_flight=1, clock=clock)
    task = state.submit(SPEC).tasks[0]
    with pytest.raises(Refused) as refused:
        state.submit(SPEC)
    assert refused.value.code == 6010
    clock.time = task.ends_at
    state.submit(SPEC)
    assert state.active == 1


def test_submit_beyond_the_credits_is_refused() -> None:
    """A submission that costs more than the credits left is refused completely."""
    state = WeryAIState(credits=3, clock=Clock())
    state.submit(attrs.evolve(SPEC, task_count=2))
    with pytest.raises(Refused) as refused:
        state.submit(attrs.evolve(SPEC, task_count=2))
    assert (refused.value.code, state.credits) == (1004, 1)


def test_markers_slow_or_stop_a_task() -> None:
    """A slow task takes ten times as long, a stuck one never ends."""
    usual, slow, stuck = (
        WeryAIState(clock=Clock()).submit(attrs.evolve(SPEC, prompt=prompt)).tasks[0] for prompt in ("x", SLOW, STUCK)
    )
    assert slow.ends_at == pytest.approx(10 * usual.ends_at)
    assert stuck.state(1e9) is SandboxTaskState.PROCESSING


def test_state_with_speed_zero_is_refused() -> None:
    """The speed must be above zero."""
    with pytest.raises(ValueError, match="speed must be above zero"):
        WeryAIState(speed=0)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.floats(0, 20)), max_size=40))
def test_credits_are_conserved(steps: list[tuple[bool, int, float]]) -> None:
    """At any time, the credits left plus those charged minus those refunded are the initial ones."""
    clock = Clock()
    state = WeryAIState(credits=50, clock=clock)
    for fails, task_count, seconds in steps:
        try:
            state.submit(attrs.evolve(SPEC, prompt=FAIL if fails else "x", task_count=task_count))
        except Refused as refused:
            assert refused.code in {1004, 6010}  # noqa: PT017 - a refusal is one of two valid results
        clock.time += seconds
        assert state.credits + state.charged - state.refunded == 50
        assert state.active <= 20


@pytest.mark.parametrize("field", ["prompt", "lyrics", "lines"])
@pytest.mark.parametrize(("marker", "fails", "ends"), [(FAIL, True, True), (STUCK, False, False)])
def test_markers_in_any_text_apply(field: str, marker: str, fails: bool, ends: bool) -> None:
    """Lyrics and spoken lines control a task as the prompt does."""
    specs = {
        "prompt": attrs.evolve(SPEC, prompt=marker),
        "lyrics": attrs.evolve(SPEC, text=marker),
        "lines": attrs.evolve(SPEC, dialogue=({"content": "Hm."}, {"content": marker})),
    }
    task = WeryAIState(clock=Clock()).submit(specs[field]).tasks[0]
    assert (bool(task.reason), task.ends_at < 1e9) == (fails, ends)


@pytest.mark.parametrize("field", [{"prompt": MODERATED}, {"text": MODERATED}, {"dialogue": ({"content": MODERATED},)}])
def test_moderation_checks_all_texts(field: dict[str, Any]) -> None:
    """Lyrics and lines are moderated like a prompt."""
    with pytest.raises(Refused) as refused:
        WeryAIState(clock=Clock()).submit(attrs.evolve(SPEC, **field))
    assert refused.value.code == 1005


def test_task_with_too_many_digits_is_not_found() -> None:
    """Ids with more digits than any existing one find nothing, whatever their length."""
    state = WeryAIState(clock=Clock())
    assert state.task("9" * 5000) is None
    assert state.batch("9" * 5000) is None
