"""The numbers that a caller may set, and the pure functions that compute delays from them.

The functions use no clock and no randomness of their own: `random` arguments return a float in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final, Literal, Self, cast

import attrs

from aiowery.errors import ConfigurationError

Random = Callable[[], float]
"""A function that returns a float in [0, 1)."""

FASTEST: Final = 1000
"""The largest speed of a sandbox; 1 is real time."""
_MAX_PERCENTAGE: Final = 100
_MAX_DOUBLINGS: Final = 63


def at_least(bound: float, *, finite: bool = False) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator for a number of at least `bound`; unless it must be `finite`, infinity means no limit."""
    kind = "a finite number" if finite else "a number"

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and bound <= value and not (finite and value == inf)):
            raise _invalid(owner, field, value, f"{kind} >= {bound:g}")

    return check


def percentage(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise ConfigurationError unless the value is a number between 0 and 100, both excluded."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _MAX_PERCENTAGE:
        raise _invalid(owner, field, value, "a number > 0 and < 100")


def positive_integer(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise ConfigurationError unless the value is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _invalid(owner, field, value, "an integer >= 1")


def one_of(*choices: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator for one of these strings."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise _invalid(owner, field, value, " or ".join(map(repr, choices)))

    return check


def _invalid(owner: Any, field: attrs.Attribute[Any], value: Any, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{type(owner).__name__}.{field.name} must be {expected}, got {value!r}")


@attrs.frozen(kw_only=True)
class Limits:
    """Limits on concurrency and pace, for one API key."""

    in_flight: int = attrs.field(default=20, validator=positive_integer)
    """The most tasks that may be under way at the provider. Further submissions wait in the queue."""
    submissions: int = attrs.field(default=4, validator=positive_integer)
    """The most concurrent HTTP requests that submit tasks."""
    polls: int = attrs.field(default=16, validator=positive_integer)
    """The most concurrent status checks."""
    downloads: int = attrs.field(default=4, validator=positive_integer)
    """The most concurrent downloads of outputs."""
    uploads: int = attrs.field(default=4, validator=positive_integer)
    """The most concurrent uploads of local files."""
    direct_calls: int = attrs.field(default=4, validator=positive_integer)
    """The most concurrent requests that the provider answers with the result instead of a task, such as a chat."""
    submit_interval: float = attrs.field(default=0.0, validator=at_least(0))
    """The least seconds between two submissions."""
    recovery_interval: float = attrs.field(default=30.0, validator=at_least(0))
    """The seconds without a rejection after which a queue regains one slot. It loses one when the provider
    rejects a submission because of too many concurrent tasks."""
    cool_down: float = attrs.field(default=0.0, validator=at_least(0, finite=True))
    """The seconds for which the queue pauses after each task, for a provider that requires it. The pause starts at the
    task's end as a poll observed it."""
    cool_from: Literal["end", "start"] = attrs.field(default="end", validator=one_of("end", "start"))
    """The moment from which `cool_down` counts: a task's end, or with `"start"` its acceptance. A queue never pauses
    before a task's end, so with `"start"` a task longer than `cool_down` causes no pause. After a rejection because of
    load, the queue counts
    from the end in any case."""
    max_queue: int | None = attrs.field(default=None, validator=attrs.validators.optional(positive_integer))
    """The most requests that may wait in the queue; one more raises `QueueTooLong`. None sets no limit."""
    expected_duration: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(at_least(0, finite=True))
    )
    """The seconds that a task is assumed to take until the first one is finished. Used only for estimates, such as
    those for `start_within`. None makes no estimate until then."""
    max_doubts: int | None = attrs.field(
        default=cast("int | None", 3), validator=attrs.validators.optional(positive_integer)
    )
    """The number of submissions in a row without a clear answer after which submissions pause. Two more than that among
    the last 100 submissions have the same effect. None never pauses."""

    @property
    def connections(self) -> int:
        """The size of the connection pool: the sum of all limits on requests, so that none waits for a connection."""
        return self.submissions + self.polls + self.downloads + self.uploads + self.direct_calls

    def for_direct_calls(self) -> Self:
        """Return the limits of the queue for requests without tasks."""
        return attrs.evolve(
            self,
            in_flight=self.direct_calls,
            submissions=self.direct_calls,
            cool_down=0.0,
            max_queue=None,
            expected_duration=None,
        )

    def faster(self, speed: float) -> Self:
        """Return these limits with all durations divided by `speed`, for a sandbox."""
        durations = (
            "submit_interval",
            "recovery_interval",
            "cool_down",
            *(("expected_duration",) if self.expected_duration is not None else ()),
        )
        return attrs.evolve(self, **_scaled(self, speed, *durations))


@attrs.frozen(kw_only=True)
class PollPolicy:
    """The times at which jobs are polled, and the default timeouts.

    Intervals are random, so that the polls of several jobs spread out.
    """

    min_interval: float = attrs.field(default=3.0, validator=at_least(0.001, finite=True))
    """The least seconds between two polls of a job, and from acceptance to the first."""
    max_interval: float = attrs.field(default=5.0, validator=at_least(0.001, finite=True))
    """The most seconds between two polls of a job whose usual duration is not known."""
    known_max_interval: float = attrs.field(default=3.2, validator=at_least(0.001, finite=True))
    """The most seconds between two polls of a job whose usual duration is known. The first poll comes at a random
    moment of an interval of this length around the learned moment, but never before `min_interval`."""
    first_poll: Literal["learned", "interval"] = attrs.field(default="learned", validator=one_of("learned", "interval"))
    """The rule for the first poll. With `"learned"` it waits until a few jobs of the same model and settings would be
    finished, as `min_samples` and `percentile` define: fewer polls, and earlier results. A ledger in a file keeps the
    learned durations for the next process. `"interval"` polls from the start."""
    min_samples: int = attrs.field(default=8, validator=positive_integer)
    """The number of finished jobs of the same model and settings that are needed before their duration counts as
    known."""
    percentile: float = attrs.field(default=5.0, validator=percentage)
    """The percentage of such jobs that had ended at the moment around which the first poll comes."""
    not_found_grace: float = attrs.field(default=30.0, validator=at_least(0))
    """The seconds after acceptance for which "not found" means that the task is not visible yet. Later the job is
    lost."""
    max_backoff: float = attrs.field(default=30.0, validator=at_least(0.001))
    """The most seconds to which the pause grows after failed polls in a row."""
    image_timeout: float = attrs.field(default=600.0, validator=at_least(0))
    """The seconds from acceptance after which waiting for an image raises `JobTimeout`."""
    timeout: float = attrs.field(default=1800.0, validator=at_least(0))
    """The seconds from acceptance after which waiting for any other output raises `JobTimeout`."""
    webhook_fallback: float = attrs.field(default=60.0, validator=at_least(0.001, finite=True))
    """The most seconds between two polls of a job whose webhook delivery is expected (`Webhooks`). The interval starts
    at a quarter of this, and shrinks to `max_interval` if deliveries are missing."""

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.min_interval or self.known_max_interval < self.min_interval:
            raise ConfigurationError(
                f"PollPolicy.max_interval and known_max_interval must be >= min_interval ({self.min_interval!r}),"
                f" got {self.max_interval!r} and {self.known_max_interval!r}"
            )

    def timeout_for(self, kind: str | None) -> float:
        """Return the default timeout in seconds for jobs of this kind; for an unknown kind the longer one."""
        return self.image_timeout if kind == "image" else self.timeout

    def interval(self, random: Random) -> float:
        """Return a pause before the next poll, in seconds: uniform between `min_interval` and `max_interval`."""
        return self.min_interval + (self.max_interval - self.min_interval) * random()

    def known_interval(self, random: Random) -> float:
        """Return a pause in seconds between polls of a job whose usual duration is known."""
        return self.min_interval + (self.known_max_interval - self.min_interval) * random()

    def first_poll_after(self, learned: float | None, random: Random) -> float:
        """Return the seconds from acceptance to the first poll of a job.

        `learned` is the number of seconds before which few such jobs have ended, or None. The poll comes at a random
        moment of an interval around it. So ends are found as soon as if polls had started at acceptance, and jobs that
        were submitted together are not polled at the same time.
        """
        if learned is None:
            return self.interval(random)
        earliest = max(self.known_interval(random), learned - self.known_max_interval / 2)
        latest = max(earliest, learned + self.known_max_interval / 2)
        return earliest + (latest - earliest) * random()

    def next_poll_after(self, learned: float | None, random: Random) -> float:
        """Return the seconds before the next poll of a job.

        `learned` is its usual duration in seconds, or None.
        """
        return self.interval(random) if learned is None else self.known_interval(random)

    def after_failures(self, failures: int, random: Random) -> float:
        """Return the seconds before the next poll after some failures in a row.

        It is the interval, and from the second failure on a random back-off in addition.
        """
        interval = self.interval(random)
        if failures <= 1:
            return interval
        return max(
            interval,
            min(self.max_backoff, interval + full_jitter(failures - 1, self.min_interval, self.max_backoff, random)),
        )

    def faster(self, speed: float) -> Self:
        """Return this policy with all durations divided by `speed`, for a sandbox."""
        return attrs.evolve(
            self,
            **_scaled(
                self,
                speed,
                "min_interval",
                "max_interval",
                "known_max_interval",
                "not_found_grace",
                "max_backoff",
                "webhook_fallback",
            ),
            **_scaled(self, speed, "image_timeout", "timeout"),
        )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """The retries of HTTP requests that may be repeated, and the pauses between them.

    Reads, and submissions that were provably not sent, are retried with random, growing pauses. Submissions that were
    rejected because of load (429, throttling, too many tasks) stay at the head of the queue and are retried.
    """

    max_attempts: int = attrs.field(default=4, validator=positive_integer)
    """The most attempts of a read, or of a submission that was provably not sent, including the first."""
    initial_backoff: float = attrs.field(default=0.5, validator=at_least(0, finite=True))
    """The base of the pauses, in seconds. The upper bound of the random pause doubles with each failure. A queue pauses
    for at least four times this after a rejection because of load."""
    max_backoff: float = attrs.field(default=20.0, validator=at_least(0))
    """The most seconds to which the random pause grows."""
    max_busy_time: float = attrs.field(default=600.0, validator=at_least(0))
    """The seconds for which a queue may receive nothing but rejections because of load. After that, all waiting
    requests get the error."""
    max_retry_after: float = attrs.field(default=120.0, validator=at_least(0))
    """The most seconds of a Retry-After header that are obeyed."""
    probe_interval: float = attrs.field(default=30.0, validator=at_least(0.001, finite=True))
    """The seconds before the first probe, when submissions have paused (`Limits.max_doubts`). It doubles with each
    failed probe."""
    max_probe_interval: float = attrs.field(default=600.0, validator=at_least(0.001, finite=True))
    """The most seconds before a probe."""

    def backoff(self, failures: int, retry_after: float | None, random: Random) -> float:
        """Return the seconds before a read is retried: a random back-off, or the server's Retry-After if longer."""
        pause = full_jitter(failures, self.initial_backoff, self.max_backoff, random)
        return pause if retry_after is None else max(pause, min(retry_after, self.max_retry_after))

    def queue_backoff(self, rejections: int, retry_after: float | None, random: Random) -> float:
        """Return the seconds for which a queue pauses after a rejection because of load.

        They are at least four times `initial_backoff`, even if Retry-After is 0.
        """
        least = 4 * self.initial_backoff
        if retry_after is not None:
            return max(least, min(retry_after, self.max_retry_after))
        return least + full_jitter(rejections, self.initial_backoff, self.max_backoff, random)

    def probe_backoff(self, failed_probes: int) -> float:
        """Return the seconds before the next probe, after some failed ones."""
        return min(self.max_probe_interval, self.probe_interval * 2.0 ** min(failed_probes, _MAX_DOUBLINGS))

    def faster(self, speed: float) -> Self:
        """Return this policy with all durations divided by `speed`, for a sandbox."""
        return attrs.evolve(
            self,
            **_scaled(self, speed, "initial_backoff", "max_backoff", "max_busy_time", "max_retry_after"),
            **_scaled(self, speed, "probe_interval", "max_probe_interval"),
        )


@attrs.frozen(kw_only=True)
class Resubmit:
    """A policy for requests in doubt: send them again, up to a total cost.

    Each of them may then be charged twice. A request is sent again only if its price is known. Requests whose tasks the
    provider has named are not sent again, because a status check can resolve them.
    """

    at_most: float = attrs.field(validator=at_least(0, finite=True))
    """The most credits that all repeated requests may cost together. Required."""


OnDoubt = Literal["hold"] | Resubmit
"""The policy for requests in doubt: hold them until the caller decides, or send them again."""


def _scaled(policy: object, speed: float, *durations: str) -> dict[str, Any]:
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(f"speed must be a number > 0 and <= {FASTEST}, got {speed!r}")
    return {name: getattr(policy, name) / speed for name in durations}


def full_jitter(failures: int, base: float, maximum: float, random: Random) -> float:
    """Return `random() * min(maximum, base * 2 ** failures)` seconds.

    The exponent is bounded, so that the product never exceeds a float.
    """
    return random() * min(maximum, base * 2.0 ** min(max(failures, 0), _MAX_DOUBLINGS))
