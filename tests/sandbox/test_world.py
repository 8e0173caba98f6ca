"""The world by itself, with a clock in the hand of the test."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import FAIL, MODERATED, SLOW, STUCK, SandboxTaskState, WeryAIState
from aiowery.sandbox._answer import Refused
from aiowery.sandbox._tasks import TaskSpec

ORDER = TaskSpec(prompt="hills", model="WERYAI_IMAGE_2_0", aspect_ratio="1:1")


@attrs.define
class Clock:
    """A clock that goes when told to."""

    time: float = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        return self.time


def test_a_task_waits_then_runs_then_is_done() -> None:
    """States follow each other at the times the task was given."""
    clock = Clock()
    world = WeryAIState(clock=clock)
    task = world.submit(ORDER).tasks[0]
    times = [0.0, task.starts_at, task.ends_at - 0.001, task.ends_at]
    assert [task.state(time) for time in times] == [
        SandboxTaskState.WAITING,
        SandboxTaskState.PROCESSING,
        SandboxTaskState.PROCESSING,
        SandboxTaskState.SUCCESS,
    ]
    assert 6 <= task.ends_at <= 11


def test_speed_divides_durations() -> None:
    """A hundred times faster is a hundredth of the time, with the same seed."""
    slow, fast = (WeryAIState(clock=Clock(), speed=speed).submit(ORDER).tasks[0] for speed in (1, 100))
    assert fast.ends_at == pytest.approx(slow.ends_at / 100)


def test_durations_follow_the_seed() -> None:
    """The same seed gives the same durations in the same order; another seed gives others."""

    def durations(seed: int) -> list[float]:
        world = WeryAIState(clock=Clock(), seed=seed)
        return [world.submit(ORDER).tasks[0].ends_at for _ in range(5)]

    assert durations(1) == durations(1)
    assert durations(1) != durations(2)


@pytest.mark.parametrize(
    ("durations", "model", "expected"),
    [((2.0, 2.0), "ANY", 2.0), ({"A": (3.0, 3.0)}, "A", 3.0), ({"*": (4.0, 4.0)}, "NEW", 4.0)],
)
def test_durations_may_be_given(
    durations: tuple[float, float] | dict[str, tuple[float, float]], model: str, expected: float
) -> None:
    """One pair for all models, a pair by model, or a pair for the rest."""
    world = WeryAIState(clock=Clock(), durations=durations)
    assert world.submit(attrs.evolve(ORDER, model=model)).tasks[0].ends_at == expected


def test_ids_are_never_equal() -> None:
    """Tasks and batches of one world have ids of their own, and another run has others."""
    worlds = [WeryAIState(credits=1000, in_flight=1000, clock=Clock()) for _ in range(2)]
    for world in worlds:
        for _ in range(300):
            world.submit(ORDER)
    assert len({task.id for world in worlds for task in world.tasks}) == 600
    assert len({batch.id for world in worlds for batch in world.batches}) == 600


def test_a_task_is_found_by_its_digits_as_a_number() -> None:
    """The hexadecimal digits of an id, written in decimal, find the task as well."""
    world = WeryAIState(clock=Clock())
    task = world.submit(ORDER).tasks[0]
    assert world.task(task.id) is task
    assert world.task(str(int(task.id.removeprefix("task_"), 16))) is task
    assert world.task("task_x") is None


def test_places_are_free_again_when_tasks_end() -> None:
    """Finished tasks no longer count against the limit."""
    clock = Clock()
    world = WeryAIState(in_flight=1, clock=clock)
    task = world.submit(ORDER).tasks[0]
    with pytest.raises(Refused) as refused:
        world.submit(ORDER)
    assert refused.value.code == 6010
    clock.time = task.ends_at
    world.submit(ORDER)
    assert world.active == 1


def test_credits_run_out() -> None:
    """An order that costs more than is left is refused whole."""
    world = WeryAIState(credits=3, clock=Clock())
    world.submit(attrs.evolve(ORDER, pictures=2))
    with pytest.raises(Refused) as refused:
        world.submit(attrs.evolve(ORDER, pictures=2))
    assert (refused.value.code, world.credits) == (1004, 1)


def test_marks_slow_or_stop_a_task() -> None:
    """A slow task takes ten times as long, a stuck one never ends."""
    usual, slow, stuck = (
        WeryAIState(clock=Clock()).submit(attrs.evolve(ORDER, prompt=prompt)).tasks[0] for prompt in ("x", SLOW, STUCK)
    )
    assert slow.ends_at == pytest.approx(10 * usual.ends_at)
    assert stuck.state(1e9) is SandboxTaskState.PROCESSING


def test_a_speed_of_nothing_is_refused() -> None:
    """Time that stands still is a mistake of the caller."""
    with pytest.raises(ValueError, match="speed must be above zero"):
        WeryAIState(speed=0)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.floats(0, 20)), max_size=40))
def test_no_credit_is_lost(steps: list[tuple[bool, int, float]]) -> None:
    """At any time: what is left, plus what was charged, less what came back, is the beginning."""
    clock = Clock()
    world = WeryAIState(credits=50, clock=clock)
    for fails, pictures, seconds in steps:
        try:
            world.submit(attrs.evolve(ORDER, prompt=FAIL if fails else "x", pictures=pictures))
        except Refused as refused:
            assert refused.code in {1004, 6010}  # noqa: PT017 - a refusal is one of two right answers here
        clock.time += seconds
        assert world.credits + world.charged - world.refunded == 50
        assert world.active <= 20


@pytest.mark.parametrize("place", ["prompt", "lyrics", "lines"])
@pytest.mark.parametrize(("mark", "fails", "ends"), [(FAIL, True, True), (STUCK, False, False)])
def test_marks_count_wherever_there_are_words(place: str, mark: str, fails: bool, ends: bool) -> None:
    """What is sung and what voices say decides a task's fate as the prompt does."""
    orders = {
        "prompt": attrs.evolve(ORDER, prompt=mark),
        "lyrics": attrs.evolve(ORDER, text=mark),
        "lines": attrs.evolve(ORDER, turns=({"content": "Hm."}, {"content": mark})),
    }
    task = WeryAIState(clock=Clock()).submit(orders[place]).tasks[0]
    assert (bool(task.reason), task.ends_at < 1e9) == (fails, ends)


@pytest.mark.parametrize("place", [{"prompt": MODERATED}, {"text": MODERATED}, {"turns": ({"content": MODERATED},)}])
def test_moderation_reads_all_words(place: dict[str, Any]) -> None:
    """Lyrics and lines are moderated like a prompt."""
    with pytest.raises(Refused) as refused:
        WeryAIState(clock=Clock()).submit(attrs.evolve(ORDER, **place))
    assert refused.value.code == 1005


def test_a_number_of_any_length_is_looked_up() -> None:
    """Digits beyond every id find nothing, however many there are."""
    world = WeryAIState(clock=Clock())
    assert world.task("9" * 5000) is None
    assert world.batch("9" * 5000) is None
