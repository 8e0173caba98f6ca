"""The studio by itself, with a clock in the hand of the test."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import FAIL, MODERATED, SLOW, STUCK, BetterWaifuState, GenerationStatus
from aiowery.sandbox._answer import Refused
from aiowery.sandbox._betterwaifu.state import CoolFrom, Edition, GenerationSpec

WISH = GenerationSpec(prompt="hills", model="814910")
IMAGE = attrs.evolve(WISH, edition="v1-images", model="noobai-xl")


def bench(**settings: Any) -> tuple[BetterWaifuState, Mock]:
    """Make a studio whose pictures take ten seconds, and its clock."""
    clock = Mock(return_value=0.0)
    return BetterWaifuState(**{"clock": clock, "durations": (10.0, 10.0), **settings}), clock


def refusal(studio: BetterWaifuState, wish: GenerationSpec = WISH) -> Refused:
    """Submit, and return why that is refused."""
    with pytest.raises(Refused) as refused:
        studio.submit(wish)
    return refused.value


def test_a_generation_queues_then_runs_then_is_done() -> None:
    """Stages follow each other at the times the generation was given; its place in the queue goes 3, 2, 1."""
    studio, _ = bench()
    job = studio.submit(WISH)
    wait = job.starts_at
    times = [0.0, wait / 2, wait * 0.9, wait, 9.99, 10.0]
    assert [job.queue_position(time) for time in times] == [3, 2, 1, 0, 0, 0]
    assert [job.status(time) for time in times] == [
        *[GenerationStatus.QUEUED] * 3,
        *[GenerationStatus.PROCESSING] * 2,
        GenerationStatus.SUCCEEDED,
    ]
    assert 2 <= wait <= 4


def test_a_generation_of_no_time_is_done_at_once() -> None:
    """Durations of nothing leave no queue."""
    studio, _ = bench(durations=(0.0, 0.0))
    job = studio.submit(WISH)
    assert (job.status(0.0), job.queue_position(0.0), studio.picture(job.file)) == (GenerationStatus.SUCCEEDED, 0, job)


@pytest.mark.parametrize(
    ("durations", "shortest", "longest"),
    [(None, 8, 20), ({"814910": (3.0, 3.0)}, 3, 3), ({"*": (4.0, 4.0)}, 4, 4), ({"other": (4.0, 4.0)}, 8, 20)],
)
def test_durations_may_be_given(durations: Any, shortest: float, longest: float) -> None:
    """By the model's id as text, for the rest, or as is usual."""
    studio, _ = bench(durations=durations)
    assert shortest <= studio.submit(WISH).ends_at <= longest


def test_speed_divides_durations_and_pauses() -> None:
    """A hundred times faster: a tenth of a second, then six tenths of a pause."""
    studio, clock = bench(speed=100)
    assert studio.submit(WISH).ends_at == pytest.approx(0.1)
    clock.return_value = 0.1
    assert refusal(studio).retry_after == pytest.approx(0.6)


@pytest.mark.parametrize(("cool_from", "free"), [("end", 70.0), ("start", 60.0)])
def test_the_pause_counts_from_the_end_or_from_the_start(cool_from: CoolFrom, free: float) -> None:
    """Ten seconds of work and sixty of pause: the next job is taken at 70, or at 60."""
    studio, clock = bench(cool_from=cool_from)
    studio.submit(WISH)
    for time in (0.0, 9.9, 10.0, free - 0.1):
        clock.return_value = time
        assert refusal(studio).retry_after == pytest.approx(free - time)
    clock.return_value = free
    studio.submit(WISH)
    assert [away.reason for away in studio.rejections] == ["active", "active", "cooling", "cooling"]
    assert (studio.refused, studio.submitted_at, studio.finished_at) == (4, (0.0, free), (10.0,))


def test_counted_from_the_start_a_long_generation_leaves_no_pause() -> None:
    """What takes longer than the pause is followed at once, and not before its end."""
    studio, clock = bench(cool_from="start", durations=(100.0, 100.0))
    studio.submit(WISH)
    clock.return_value = 99.0
    assert (refusal(studio).retry_after, studio.rejections[0].reason) == (1.0, "active")
    clock.return_value = 100.0
    assert studio.submit(WISH).accepted_at == 100.0


def test_the_pause_is_that_of_the_edition_that_asks() -> None:
    """Sixty seconds for jobs, whatever went before; none for v1-images, which still wait for the place."""
    studio, clock = bench()
    studio.submit(WISH)
    assert refusal(studio, IMAGE).http == 429
    clock.return_value = 10.0
    studio.submit(IMAGE)
    clock.return_value = 20.0
    assert refusal(studio).retry_after == 60.0


def test_a_failed_generation_is_paid_back_and_paused_after() -> None:
    """The credit returns at the end; the pause counts as after success."""
    studio, clock = bench(credits=1)
    job = studio.submit(attrs.evolve(WISH, prompt=FAIL))
    assert (studio.credits, studio.refunded) == (0, 0)
    clock.return_value = 10.0
    assert (job.status(10.0), studio.credits, studio.charged, studio.refunded) == (GenerationStatus.FAILED, 1, 1, 1)
    assert (refusal(studio).http, studio.picture(job.file)) == (429, None)


@pytest.mark.parametrize("prompt", [MODERATED, "hills"])
def test_a_refused_wish_starts_no_pause(prompt: str) -> None:
    """Moderation and empty pockets leave the place free."""
    studio, _ = bench(credits=0)
    assert refusal(studio, attrs.evolve(WISH, prompt=prompt)).http in {400, 402}
    assert (studio.active, studio.refused, studio.generations) == (0, 0, ())


def test_marks_slow_or_stop_a_generation() -> None:
    """A slow one takes ten times as long; a stuck one never ends, and gives its place back after ten minutes."""
    slow = bench()[0].submit(attrs.evolve(WISH, prompt=SLOW))
    studio, clock = bench()
    stuck = studio.submit(attrs.evolve(WISH, prompt=STUCK))
    assert (slow.ends_at, stuck.status(1e9)) == (100.0, GenerationStatus.PROCESSING)
    clock.return_value = 599.0
    assert (studio.active, refusal(studio).retry_after) == (1, 61.0)
    clock.return_value = 660.0
    assert studio.active == 0
    studio.submit(WISH)
    assert (studio.finished_at, len(studio.jobs)) == ((), 2)


def test_a_subscription_is_for_jobs() -> None:
    """Without it jobs are refused, pictures of the other edition are not."""
    studio, _ = bench(subscription=False)
    assert refusal(studio).http == 403
    assert studio.submit(IMAGE).id.startswith("img_")
    assert studio.jobs == ()


def test_ids_and_seeds_are_never_equal() -> None:
    """Each generation has an id, a file and a seed of its own; a seed that was asked for is kept."""
    studio, _ = bench(durations=(0.0, 0.0), cool_down=0)
    many = [studio.submit(WISH) for _ in range(200)]
    for name in ("id", "file", "image_id", "seed"):
        assert len({getattr(job, name) for job in many}) == 200
    assert studio.submit(attrs.evolve(WISH, seed=5)).seed == 5
    assert studio.submit(attrs.evolve(WISH, seed=-1)).seed >= 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speed": 0}, "speed must be above zero"),
        ({"cool_from": "middle"}, "cool_from must be 'end' or 'start'"),
        ({"cool_down": -1}, "must not be below zero"),
        ({"v1_cool_down": -1}, "must not be below zero"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    """They are told at once."""
    with pytest.raises(ValueError, match=message):
        bench(**settings)


@given(
    cool_from=st.sampled_from(["end", "start"]),
    steps=st.lists(st.tuples(st.sampled_from(["jobs", "v1-images"]), st.booleans(), st.floats(0, 90)), max_size=40),
)
def test_never_two_at_once_and_no_job_inside_the_pause(
    cool_from: CoolFrom, steps: list[tuple[Edition, bool, float]]
) -> None:
    """However submissions come: what is taken keeps the rules, and no credit is lost."""
    studio, clock = bench(cool_from=cool_from, credits=20, durations=(5.0, 50.0))
    for edition, fails, seconds in steps:
        try:
            studio.submit(attrs.evolve(WISH, edition=edition, prompt=FAIL if fails else "x"))
        except Refused as refused:
            assert refused.http in {402, 429}  # noqa: PT017 - a refusal is one of two right answers here
        clock.return_value += seconds
        assert studio.credits + studio.charged - studio.refunded == 20
    for earlier, later in pairwise(studio.generations):
        assert later.accepted_at >= earlier.ends_at
        if later.spec.edition == "jobs":
            begin = earlier.ends_at if cool_from == "end" else earlier.accepted_at
            assert later.accepted_at >= begin + 60
