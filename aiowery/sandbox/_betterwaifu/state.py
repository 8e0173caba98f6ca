"""State of the sandbox's BetterWaifu: one generation at a time, a cool-down, credits and time. No HTTP.

Only the server's thread changes it. Every read returns a copy, so any thread may read at any time.
"""

from __future__ import annotations

import enum
import math
import random
import secrets
import string
import time
from typing import TYPE_CHECKING, Literal

import attrs

from aiowery.sandbox._durations import range_of
from aiowery.sandbox._response import Refused
from aiowery.sandbox._tasks import FAIL, MODERATED, SLOW, STUCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._durations import Durations

Edition = Literal["jobs", "v1-images"]
"""The two APIs of the provider. They share the account: the credits and the only slot."""
CoolFrom = Literal["end", "start"]
"""Start of the cool-down: the end of a generation, or its submission."""

_QUEUE_LENGTH = 3
_SLOWNESS = 10.0
_STUCK_SECONDS = 600.0
_SEEDS = 2**32
_SMALL = string.ascii_lowercase + string.digits
_MIXED = string.ascii_letters + string.digits
_FAILURE_REASON = "Internal error: the model returned no image"


class GenerationStatus(enum.StrEnum):
    """Status of a generation, as it is written in responses."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@attrs.frozen
class GenerationSpec:
    """Validated content of a submission. `model` is a slug or an id as text. Without `seed` a random one is used."""

    prompt: str
    model: str
    edition: Edition = "jobs"
    width: int = 832
    height: int = 1216
    seed: int | None = None


@attrs.frozen
class Generation:
    """A generated image. Times are readings of the state's clock, in seconds.

    `frees_at` is the time at which the slot is free again: its end, or ten minutes (divided by the speed) after its
    submission if it never ends. `image_id` is the id of the image, `file` the name of its file.
    """

    id: str
    number: int
    spec: GenerationSpec
    seed: int
    image_id: str
    file: str
    accepted_at: float
    starts_at: float
    ends_at: float
    frees_at: float
    reason: str = ""

    def status(self, now: float) -> GenerationStatus:
        """Return the status at the time `now`."""
        if now < self.starts_at:
            return GenerationStatus.QUEUED
        if now < self.ends_at:
            return GenerationStatus.PROCESSING
        return GenerationStatus.FAILED if self.reason else GenerationStatus.SUCCEEDED

    def queue_position(self, now: float) -> int:
        """Return the position in the queue at the time `now`: 3, 2, 1, and 0 outside the queue."""
        if now >= self.starts_at:
            return 0
        waiting = (self.starts_at - now) / (self.starts_at - self.accepted_at)
        return math.ceil(_QUEUE_LENGTH * waiting)


@attrs.frozen
class Rejection:
    """A submission that came too early.

    `reason` is "active" if a generation was running, "cooling" during the cool-down. `seconds` is the time left.
    """

    at: float
    edition: Edition
    reason: Literal["active", "cooling"]
    seconds: float


class BetterWaifuState:
    """Generations and credits of one account.

    `clock` returns the time in seconds. Durations and cool-downs are divided by `speed`. An image costs one credit,
    charged at acceptance and refunded if it fails. After a generation, `cool_down` seconds must pass before the next
    job, `v1_cool_down` before the next request of the v1-images edition. Without a `subscription` no job is accepted.
    """

    def __init__(
        self,
        *,
        credits: int = 10_000,  # noqa: A002 - the provider's term; the builtin is a copyright notice
        cool_down: float = 60.0,
        cool_from: CoolFrom = "end",
        v1_cool_down: float = 0.0,
        subscription: bool = True,
        seed: int = 0,
        speed: float = 1.0,
        durations: Durations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above zero, got {speed!r}")
        if cool_from not in {"end", "start"}:
            raise ValueError(f"cool_from must be 'end' or 'start', got {cool_from!r}")
        if cool_down < 0 or v1_cool_down < 0:
            raise ValueError(
                f"cool_down and v1_cool_down must not be below zero, got {cool_down!r} and {v1_cool_down!r}"
            )
        self.subscription: bool = subscription
        self._cool_down: dict[Edition, float] = {"jobs": cool_down / speed, "v1-images": v1_cool_down / speed}
        self._cool_from = cool_from
        self._clock = clock
        self._seed = seed
        self._speed = speed
        self._durations = durations
        self._credits = credits
        self._generations: dict[str, Generation] = {}
        self._files: dict[str, Generation] = {}
        self._last: Generation | None = None
        self._rejections: list[Rejection] = []

    @property
    def now(self) -> float:
        """Reading of the state's clock, in seconds."""
        return self._clock()

    @property
    def generations(self) -> tuple[Generation, ...]:
        """All accepted generations, oldest first."""
        return tuple(self._generations.copy().values())

    @property
    def jobs(self) -> tuple[Generation, ...]:
        """Generations of the jobs edition, oldest first."""
        return tuple(generation for generation in self.generations if generation.spec.edition == "jobs")

    @property
    def submitted_at(self) -> tuple[float, ...]:
        """Acceptance time of each generation."""
        return tuple(generation.accepted_at for generation in self.generations)

    @property
    def finished_at(self) -> tuple[float, ...]:
        """End time of each finished generation."""
        now = self.now
        return tuple(generation.ends_at for generation in self.generations if generation.ends_at <= now)

    @property
    def active(self) -> int:
        """Number of generations that occupy the slot now: 0 or 1."""
        last = self._last
        return int(last is not None and self.now < last.frees_at)

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Submissions refused because they came too early, oldest first."""
        return tuple(self._rejections.copy())

    @property
    def refused(self) -> int:
        """Number of submissions refused because they came too early."""
        return len(self._rejections)

    @property
    def credits(self) -> int:
        """Credits left now."""
        generations = self.generations
        return self._credits - len(generations) + self._refunds(generations)

    @property
    def charged(self) -> int:
        """Credits charged so far, without subtraction of refunds."""
        return len(self._generations)

    @property
    def refunded(self) -> int:
        """Credits refunded for failed generations so far."""
        return self._refunds(self.generations)

    def submit(self, spec: GenerationSpec) -> Generation:
        """Accept a submission: charge it and start the generation.

        Raises `Refused` with HTTP 403 (a job without subscription), 400 (moderation), 429 (too early) or 402 (credits).
        """
        if not self.subscription and spec.edition == "jobs":
            raise Refused("subscription_required", "An active subscription is required to use the API", http=403)
        if MODERATED in spec.prompt:
            text = "Your prompt was flagged by moderation. Please revise it and try again."
            raise Refused("moderation", text, http=400)
        self._check_cool_down(spec.edition)
        if self.credits < 1:
            raise Refused("insufficient_credits", "Not enough credits", http=402)
        generation = self._new(spec)
        self._generations[generation.id] = generation
        self._files[generation.file] = generation
        self._last = generation
        return generation

    def job(self, id_: str) -> Generation | None:
        """Return the generation of the jobs edition with this id, None if it does not exist."""
        generation = self._generations.get(id_)
        return generation if generation and generation.spec.edition == "jobs" else None

    def picture(self, file: str) -> Generation | None:
        """Return the generation whose image is in this file, None until it has succeeded."""
        generation = self._files.get(file)
        return generation if generation and generation.status(self.now) is GenerationStatus.SUCCEEDED else None

    def _check_cool_down(self, edition: Edition) -> None:
        last, now = self._last, self.now
        if last is None:
            return
        begin = last.frees_at if self._cool_from == "end" else last.accepted_at
        seconds = max(last.frees_at, begin + self._cool_down[edition]) - now
        if seconds <= 0:
            return
        is_active = now < last.frees_at
        self._rejections.append(Rejection(now, edition, "active" if is_active else "cooling", seconds))
        reason = "A generation is already in progress." if is_active else "Too soon after the last generation."
        text = f"{reason} Please try again in {math.ceil(seconds)} seconds."
        raise Refused("rate_limit_exceeded", text, http=429, retry_after=seconds)

    def _new(self, spec: GenerationSpec) -> Generation:
        number = 1 + len(self._generations)
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable on purpose, not for security
        duration = chance.uniform(*range_of(spec.model, self._durations, "waifu")) / self._speed
        if SLOW in spec.prompt:
            duration *= _SLOWNESS
        now = self.now
        is_stuck = STUCK in spec.prompt
        file = _token(12, _SMALL)
        is_job = spec.edition == "jobs"
        return Generation(
            id=f"job_{_token(12, _SMALL)}" if is_job else f"img_{file}",
            number=number,
            spec=spec,
            seed=chance.randrange(_SEEDS) if spec.seed in {None, -1} else spec.seed,
            image_id=_token(16, _MIXED) if is_job else f"img_{file}",
            file=file,
            accepted_at=now,
            starts_at=now + duration * chance.uniform(0.2, 0.4),
            ends_at=math.inf if is_stuck else now + duration,
            frees_at=now + (_STUCK_SECONDS / self._speed if is_stuck else duration),
            reason=_FAILURE_REASON if FAIL in spec.prompt else "",
        )

    def _refunds(self, generations: tuple[Generation, ...]) -> int:
        now = self.now
        return sum(1 for generation in generations if generation.reason and generation.ends_at <= now)


def _token(length: int, letters: str) -> str:
    """Return a random name that is unique within this run and across runs."""
    return "".join(secrets.choice(letters) for _ in range(length))
