"""The numbers a caller may set, and the pure functions that turn them into delays.

No clock and no randomness in here: `random` arguments are functions that return a float in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final, Literal, Self, cast

import attrs

from aiowery.errors import ConfigurationError

Random = Callable[[], float]

FASTEST: Final = 1000
"""How many times as fast as life a sandbox may be."""
_ALL: Final = 100
_MOST_DOUBLINGS: Final = 63


def at_least(bound: float, *, finite: bool = False) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator for a number that must not be smaller than `bound`; infinity may stand for no end."""
    what = "a finite number" if finite else "a number"

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and bound <= value and not (finite and value == inf)):
            raise _invalid(owner, field, value, f"{what} of at least {bound:g}")

    return check


def percentage(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no number between 0 and 100."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _ALL:
        raise _invalid(owner, field, value, "a number between 0 and 100")


def positive_integer(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _invalid(owner, field, value, "a whole number of at least 1")


def one_of(*words: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator for one of these words."""

    def check(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in words:
            raise _invalid(owner, field, value, " or ".join(map(repr, words)))

    return check


def _invalid(owner: Any, field: attrs.Attribute[Any], value: Any, needed: str) -> ConfigurationError:
    return ConfigurationError(f"{type(owner).__name__}.{field.name} is {value!r}; {needed} is needed")


@attrs.frozen(kw_only=True)
class Limits:
    """How much may happen at once, for one credential.

    `in_flight`: tasks under way at the provider, which refuses one more. `submissions`, `polls` and `downloads`: HTTP
    requests of each sort at once; their sum is the size of the connection pool. `uploads` are those of local files,
    `direct_calls` those that answer at once instead of starting a task (a chat, say). `submit_interval`: least seconds
    between two submissions. `recovery_interval`: seconds without a refusal after which a lane that had shrunk takes
    back one place.

    For providers that want a rest between two tasks: `cool_down` seconds after a task's observed end, or, with
    `cool_from="start"`, after its acceptance, if that is later than its end. `max_queue`: how many requests may wait;
    one more is `QueueTooLong`. `expected_duration`: seconds that a task takes, to estimate with until the first has
    ended.

    `max_doubts`: how many submissions in a row may end without a clear answer of the provider's own before submissions
    pause by themselves; two more than that among the last 100 do the same. None never pauses.
    """

    in_flight: int = attrs.field(default=20, validator=positive_integer)
    submissions: int = attrs.field(default=4, validator=positive_integer)
    polls: int = attrs.field(default=16, validator=positive_integer)
    downloads: int = attrs.field(default=4, validator=positive_integer)
    uploads: int = attrs.field(default=4, validator=positive_integer)
    direct_calls: int = attrs.field(default=4, validator=positive_integer)
    submit_interval: float = attrs.field(default=0.0, validator=at_least(0))
    recovery_interval: float = attrs.field(default=30.0, validator=at_least(0))
    cool_down: float = attrs.field(default=0.0, validator=at_least(0, finite=True))
    cool_from: Literal["end", "start"] = attrs.field(default="end", validator=one_of("end", "start"))
    max_queue: int | None = attrs.field(default=None, validator=attrs.validators.optional(positive_integer))
    expected_duration: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(at_least(0, finite=True))
    )
    max_doubts: int | None = attrs.field(
        default=cast("int | None", 3), validator=attrs.validators.optional(positive_integer)
    )

    @property
    def connections(self) -> int:
        """The pool's size: no gate ever waits for a connection."""
        return self.submissions + self.polls + self.downloads + self.uploads + self.direct_calls

    def for_direct_calls(self) -> Self:
        """Return the limits of what answers at once, beside which tasks go on."""
        return attrs.evolve(
            self,
            in_flight=self.direct_calls,
            submissions=self.direct_calls,
            cool_down=0.0,
            max_queue=None,
            expected_duration=None,
        )

    def faster(self, speed: float) -> Self:
        """Return the same limits in a world whose durations are divided by `speed`."""
        slower = (
            "submit_interval",
            "recovery_interval",
            "cool_down",
            *(("expected_duration",) if self.expected_duration is not None else ()),
        )
        return attrs.evolve(self, **_scaled(self, speed, *slower))


@attrs.frozen(kw_only=True)
class PollPolicy:
    """When a job is looked at: every `min_interval` to `max_interval` seconds, at random, so that jobs drift apart.

    `first_poll="learned"`: once `min_samples` jobs of a kind (model and settings) have finished, the first look waits
    for the moment at which `percentile` % of them had ended. It comes at random within `known_max_interval` seconds
    around that moment, so that jobs drift apart, though never under `min_interval`; further looks come every
    `min_interval` to `known_max_interval` seconds. That is more prompt, with fewer polls. With a ledger in a file, what
    was learned outlives the process. `first_poll="interval"` switches learning off.

    `not_found_grace`: for so many seconds after acceptance a "not found" only means "not yet". `max_backoff`: how far
    the pause grows after polls that failed. `image_timeout` and `timeout`: seconds from acceptance after which waiting
    for pictures, and for anything else, ends in a `JobTimeout`. `webhook_fallback`: seconds that a look waits at most
    while the provider is to call back (`Webhooks`); fewer until its first call, and down to the usual interval when
    calls do not come.
    """

    min_interval: float = attrs.field(default=3.0, validator=at_least(0.001, finite=True))
    max_interval: float = attrs.field(default=5.0, validator=at_least(0.001, finite=True))
    known_max_interval: float = attrs.field(default=3.2, validator=at_least(0.001, finite=True))
    first_poll: Literal["learned", "interval"] = attrs.field(default="learned", validator=one_of("learned", "interval"))
    min_samples: int = attrs.field(default=8, validator=positive_integer)
    percentile: float = attrs.field(default=5.0, validator=percentage)
    not_found_grace: float = attrs.field(default=30.0, validator=at_least(0))
    max_backoff: float = attrs.field(default=30.0, validator=at_least(0.001))
    image_timeout: float = attrs.field(default=600.0, validator=at_least(0))
    timeout: float = attrs.field(default=1800.0, validator=at_least(0))
    webhook_fallback: float = attrs.field(default=60.0, validator=at_least(0.001, finite=True))

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.min_interval or self.known_max_interval < self.min_interval:
            raise ConfigurationError(
                f"PollPolicy: longest ({self.max_interval!r}) and eager ({self.known_max_interval!r}) must not be below"
                f" shortest ({self.min_interval!r})"
            )

    def timeout_for(self, kind: str | None) -> float:
        """Return the default patience for jobs of this kind; of an unknown one, as for the slowest."""
        return self.image_timeout if kind == "image" else self.timeout

    def interval(self, random: Random) -> float:
        """Return the pause before the next look: uniform between `min_interval` and `max_interval`."""
        return self.min_interval + (self.max_interval - self.min_interval) * random()

    def known_interval(self, random: Random) -> float:
        """Return the pause between looks at a job whose usual duration is known."""
        return self.min_interval + (self.known_max_interval - self.min_interval) * random()

    def first_poll_after(self, learned: float | None, random: Random) -> float:
        """Return the seconds from acceptance to the first look at a job; `learned`: before which few have ended.

        It comes anywhere within an interval around that moment. So ends are found as soon as by looks that began at
        once, whatever the durations are, and jobs that were submitted together are looked at one after the other.
        """
        if learned is None:
            return self.interval(random)
        earliest = max(self.known_interval(random), learned - self.known_max_interval / 2)
        latest = max(earliest, learned + self.known_max_interval / 2)
        return earliest + (latest - earliest) * random()

    def next_poll_after(self, learned: float | None, random: Random) -> float:
        """Return the pause before the next look at a job whose usual duration is `learned`, or not known."""
        return self.interval(random) if learned is None else self.known_interval(random)

    def after_failures(self, failures: int, random: Random) -> float:
        """Return the pause after so many failed looks in a row: the interval, from the second on with jitter on top."""
        usual = self.interval(random)
        if failures <= 1:
            return usual
        return max(
            usual, min(self.max_backoff, usual + full_jitter(failures - 1, self.min_interval, self.max_backoff, random))
        )

    def faster(self, speed: float) -> Self:
        """Return the same policy in a world whose durations are divided by `speed`."""
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
    """How often and how patiently a call is repeated that may be repeated.

    Reads, and submissions that provably never left: at most `max_attempts` in all, with full-jitter pauses that grow
    from `initial_backoff` to `max_backoff` seconds. Submissions refused because of load (429, throttling, too many
    tasks) keep their place in the lane and are repeated; when the lane has had nothing but refusals for `max_busy_time`
    seconds, everybody in line gets the error. A Retry-After is obeyed up to `max_retry_after` seconds.

    When submissions have paused by themselves (`Limits.max_doubts`), the first probe comes after `probe_interval`
    seconds, and each one after a failed probe takes twice as long to come, up to `max_probe_interval` seconds.
    """

    max_attempts: int = attrs.field(default=4, validator=positive_integer)
    initial_backoff: float = attrs.field(default=0.5, validator=at_least(0, finite=True))
    max_backoff: float = attrs.field(default=20.0, validator=at_least(0))
    max_busy_time: float = attrs.field(default=600.0, validator=at_least(0))
    max_retry_after: float = attrs.field(default=120.0, validator=at_least(0))
    probe_interval: float = attrs.field(default=30.0, validator=at_least(0.001, finite=True))
    max_probe_interval: float = attrs.field(default=600.0, validator=at_least(0.001, finite=True))

    def backoff(self, failures: int, retry_after: float | None, random: Random) -> float:
        """Return the pause before a read is repeated: what the server asked for, else full jitter."""
        if retry_after is not None:
            return min(retry_after, self.max_retry_after)
        return full_jitter(failures, self.initial_backoff, self.max_backoff, random)

    def queue_backoff(self, refusals: int, retry_after: float | None, random: Random) -> float:
        """Return how long a refused lane rests: at least four times `initial_backoff`, even if Retry-After is 0."""
        least = 4 * self.initial_backoff
        if retry_after is not None:
            return max(least, min(retry_after, self.max_retry_after))
        return least + full_jitter(refusals, self.initial_backoff, self.max_backoff, random)

    def probe_backoff(self, failed_probes: int) -> float:
        """Return the pause before the next probe, by how many have failed."""
        return min(self.max_probe_interval, self.probe_interval * 2.0 ** min(failed_probes, _MOST_DOUBLINGS))

    def faster(self, speed: float) -> Self:
        """Return the same policy in a world whose durations are divided by `speed`."""
        return attrs.evolve(
            self,
            **_scaled(self, speed, "initial_backoff", "max_backoff", "max_busy_time", "max_retry_after"),
            **_scaled(self, speed, "probe_interval", "max_probe_interval"),
        )


@attrs.frozen(kw_only=True)
class Resubmit:
    """What to do about requests in doubt: send them again, for at most so many credits in all.

    Each may then have been charged twice. Only those of known price are sent again, and none whose tasks the provider
    has named: a status check can settle those.
    """

    at_most: float = attrs.field(validator=at_least(0, finite=True))


OnDoubt = Literal["hold"] | Resubmit
"""What to do about requests in doubt: wait for a decision, or send them again."""


def _scaled(policy: object, speed: float, *durations: str) -> dict[str, Any]:
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(f"speed is {speed!r}; a number above 0 and at most {FASTEST} is needed")
    return {name: getattr(policy, name) / speed for name in durations}


def full_jitter(failures: int, base: float, ceiling: float, random: Random) -> float:
    """Return `random * min(ceiling, base * 2 ** failures)` seconds.

    The exponent stops where a float would still hold and any ceiling has long been reached.
    """
    return random() * min(ceiling, base * 2.0 ** min(max(failures, 0), _MOST_DOUBLINGS))
