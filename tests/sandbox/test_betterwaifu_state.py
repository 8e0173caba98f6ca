"""BetterWaifu's state without HTTP, with a clock that the test controls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import FAIL, MODERATED, SLOW, STUCK, BetterWaifuState, GenerationStatus
from aiowery.sandbox._betterwaifu.state import CoolFrom, Edition, GenerationSpec
from aiowery.sandbox._response import Refused

SPEC = GenerationSpec(prompt="hills", model="814910")
IMAGE = attrs.evolve(SPEC, edition="v1-images", model="noobai-xl")


def make_state(**settings: Any) -> tuple[BetterWaifuState, Mock]:
    """Return a state whose generations take ten seconds, and its clock."""
    clock = Mock(return_value=0.0)
    return BetterWaifuState(**{"clock": clock, "durations": (10.0, 10.0), **settings}), clock


def refusal(state: BetterWaifuState, spec: GenerationSpec = SPEC) -> Refused:
    """Submit, and return the refusal."""
    with pytest.raises(Refused) as refused:
        state.submit(spec)
    return refused.value


def test_generation_status_follows_its_times() -> None:
    """The statuses follow each other at the generation's times. Its queue position is 3, 2, 1."""
    state, _ = make_state()
    job = state.submit(SPEC)
    wait = job.starts_at
    times = [0.0, wait / 2, wait * 0.9, wait, 9.99, 10.0]
    assert [job.queue_position(time) for time in times] == [3, 2, 1, 0, 0, 0]
    assert [job.status(time) for time in times] == [
        *[GenerationStatus.QUEUED] * 3,
        *[GenerationStatus.PROCESSING] * 2,
        GenerationStatus.SUCCEEDED,
    ]
    assert 2 <= wait <= 4


def test_generation_with_zero_duration_is_never_queued() -> None:
    """A duration of zero has no time in the queue."""
    state, _ = make_state(durations=(0.0, 0.0))
    job = state.submit(SPEC)
    assert (job.status(0.0), job.queue_position(0.0), state.picture(job.file)) == (GenerationStatus.SUCCEEDED, 0, job)


@pytest.mark.parametrize(
    ("durations", "shortest", "longest"),
    [(None, 8, 20), ({"814910": (3.0, 3.0)}, 3, 3), ({"*": (4.0, 4.0)}, 4, 4), ({"other": (4.0, 4.0)}, 8, 20)],
)
def test_durations_argument_sets_the_range(durations: Any, shortest: float, longest: float) -> None:
    """By the model's id as text, "*" for the rest, or the default range."""
    state, _ = make_state(durations=durations)
    assert shortest <= state.submit(SPEC).ends_at <= longest


def test_speed_divides_durations_and_cool_downs() -> None:
    """At a speed of 100, a generation takes 0.1 seconds and a cool-down 0.6."""
    state, clock = make_state(speed=100)
    assert state.submit(SPEC).ends_at == pytest.approx(0.1)
    clock.return_value = 0.1
    assert refusal(state).retry_after == pytest.approx(0.6)


@pytest.mark.parametrize(("cool_from", "free"), [("end", 70.0), ("start", 60.0)])
def test_cool_down_counts_from_end_or_start(cool_from: CoolFrom, free: float) -> None:
    """With 10 seconds of generation and 60 of cool-down, the next job is accepted at 70, or at 60."""
    state, clock = make_state(cool_from=cool_from)
    state.submit(SPEC)
    for time in (0.0, 9.9, 10.0, free - 0.1):
        clock.return_value = time
        assert refusal(state).retry_after == pytest.approx(free - time)
    clock.return_value = free
    state.submit(SPEC)
    assert [rejection.reason for rejection in state.rejections] == ["active", "active", "cooling", "cooling"]
    assert (state.refused, state.submitted_at, state.finished_at) == (4, (0.0, free), (10.0,))


def test_cool_down_from_start_ends_during_a_long_generation() -> None:
    """The next job is accepted when the generation ends, and not earlier."""
    state, clock = make_state(cool_from="start", durations=(100.0, 100.0))
    state.submit(SPEC)
    clock.return_value = 99.0
    assert (refusal(state).retry_after, state.rejections[0].reason) == (1.0, "active")
    clock.return_value = 100.0
    assert state.submit(SPEC).accepted_at == 100.0


def test_cool_down_depends_on_the_new_edition() -> None:
    """Jobs have 60 seconds after either edition. v1-images have none, but need the slot too."""
    state, clock = make_state()
    state.submit(SPEC)
    assert refusal(state, IMAGE).http == 429
    clock.return_value = 10.0
    state.submit(IMAGE)
    clock.return_value = 20.0
    assert refusal(state).retry_after == 60.0


def test_failed_generation_is_refunded_and_cooled_down() -> None:
    """The credit is refunded at the end. The cool-down is the same as after a success."""
    state, clock = make_state(credits=1)
    job = state.submit(attrs.evolve(SPEC, prompt=FAIL))
    assert (state.credits, state.refunded) == (0, 0)
    clock.return_value = 10.0
    assert (job.status(10.0), state.credits, state.charged, state.refunded) == (GenerationStatus.FAILED, 1, 1, 1)
    assert (refusal(state).http, state.picture(job.file)) == (429, None)


@pytest.mark.parametrize("prompt", [MODERATED, "hills"])
def test_refused_submission_starts_no_cool_down(prompt: str) -> None:
    """After moderation or with no credits, the slot is free."""
    state, _ = make_state(credits=0)
    assert refusal(state, attrs.evolve(SPEC, prompt=prompt)).http in {400, 402}
    assert (state.active, state.refused, state.generations) == (0, 0, ())


def test_markers_slow_or_stop_a_generation() -> None:
    """A slow one takes ten times as long. A stuck one never ends, and its slot is free again after ten minutes."""
    slow = make_state()[0].submit(attrs.evolve(SPEC, prompt=SLOW))
    state, clock = make_state()
    stuck = state.submit(attrs.evolve(SPEC, prompt=STUCK))
    assert (slow.ends_at, stuck.status(1e9)) == (100.0, GenerationStatus.PROCESSING)
    clock.return_value = 599.0
    assert (state.active, refusal(state).retry_after) == (1, 61.0)
    clock.return_value = 660.0
    assert state.active == 0
    state.submit(SPEC)
    assert (state.finished_at, len(state.jobs)) == ((), 2)


def test_subscription_is_required_for_jobs_only() -> None:
    """Without one, jobs are refused, and images of the other edition are not."""
    state, _ = make_state(subscription=False)
    assert refusal(state).http == 403
    assert state.submit(IMAGE).id.startswith("img_")
    assert state.jobs == ()


def test_ids_and_seeds_are_unique() -> None:
    """Each generation has a unique id, file and seed. A requested seed is kept."""
    state, _ = make_state(durations=(0.0, 0.0), cool_down=0)
    many = [state.submit(SPEC) for _ in range(200)]
    for name in ("id", "file", "image_id", "seed"):
        assert len({getattr(job, name) for job in many}) == 200
    assert state.submit(attrs.evolve(SPEC, seed=5)).seed == 5
    assert state.submit(attrs.evolve(SPEC, seed=-1)).seed >= 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speed": 0}, "speed must be above zero"),
        ({"cool_from": "middle"}, "cool_from must be 'end' or 'start'"),
        ({"cool_down": -1}, "must not be below zero"),
        ({"v1_cool_down": -1}, "must not be below zero"),
    ],
)
def test_state_with_invalid_argument_is_refused(settings: dict[str, Any], message: str) -> None:
    """Invalid arguments raise ValueError."""
    with pytest.raises(ValueError, match=message):
        make_state(**settings)


@given(
    cool_from=st.sampled_from(["end", "start"]),
    steps=st.lists(st.tuples(st.sampled_from(["jobs", "v1-images"]), st.booleans(), st.floats(0, 90)), max_size=40),
)
def test_accepted_generations_keep_the_rules(cool_from: CoolFrom, steps: list[tuple[Edition, bool, float]]) -> None:
    """For any order of submissions, accepted ones keep the slot and the cool-down, and credits are conserved."""
    state, clock = make_state(cool_from=cool_from, credits=20, durations=(5.0, 50.0))
    for edition, fails, seconds in steps:
        try:
            state.submit(attrs.evolve(SPEC, edition=edition, prompt=FAIL if fails else "x"))
        except Refused as refused:
            assert refused.http in {402, 429}  # noqa: PT017 - a refusal is one of two valid results
        clock.return_value += seconds
        assert state.credits + state.charged - state.refunded == 20
    for earlier, later in pairwise(state.generations):
        assert later.accepted_at >= earlier.ends_at
        if later.spec.edition == "jobs":
            begin = earlier.ends_at if cool_from == "end" else earlier.accepted_at
            assert later.accepted_at >= begin + 60
