"""The circuit breaker: submissions pause by themselves when the provider stops answering them clearly.

A proxy that answers every POST with a page of its own may pass each of them on, so each may be charged. After a few
such answers nothing more leaves. Later a free read shows that the provider answers again, and one submission goes
ahead as a probe.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from aiowery._base.shared import SharedRegistry
from aiowery._core.events import Event, SubmissionsPaused, SubmissionsResumed, log
from aiowery._core.policies import RetryPolicy

_REMEMBERED: Final = 100
_MORE_AMONG_THEM: Final = 2
_SHOWN: Final = 300


class BreakerPhase(enum.Enum):
    """A phase of the circuit breaker; its value names the submissions that may be sent in it."""

    CLOSED = "every submission"
    PAUSED = "none, until a free read is due"
    CHECKING = "none, while the free read is under way"
    READY = "the next submission, as a probe"
    PROBING = "only the probe"


class CircuitBreakerState:
    """A state machine that decides which submissions may leave, without I/O or timers.

    A pause begins after `max_doubts` doubts in a row, or after two more than that among the last 100 submissions; None
    never pauses. `pause` returns the seconds until the next free read, from the number of probes that have failed.
    `clock` returns the present in seconds. Submissions are any objects, compared by identity.

    `reason` is None while the breaker is closed.
    """

    def __init__(self, max_doubts: int | None, pause: Callable[[int], float], clock: Callable[[], float]) -> None:
        self.phase: BreakerPhase = BreakerPhase.CLOSED
        self.reason: str | None = None
        self.failed_probes: int = 0
        self.retry_at: float = 0.0
        self._max_doubts = max_doubts
        self._pause_after = pause
        self._clock = clock
        self._cause = ""
        self._probe: object = None
        self._in_a_row = 0
        self._latest: deque[bool] = deque(maxlen=_REMEMBERED)

    @property
    def retry_in(self) -> float:
        """Seconds until the next free read is due; 0 outside a pause."""
        return max(0.0, self.retry_at - self._clock()) if self.phase is BreakerPhase.PAUSED else 0.0

    def try_admit(self, submission: object) -> bool:
        """Return True if the submission may go ahead; it becomes the probe if one is needed."""
        if self.phase is BreakerPhase.READY:
            self.phase, self._probe = BreakerPhase.PROBING, submission
        return self.allows(submission)

    def allows(self, submission: object) -> bool:
        """Return True if the first byte of an admitted submission may leave now."""
        return self.phase is BreakerPhase.CLOSED or self._is_probe(submission)

    def record_in_doubt(self, submission: object, reason: str) -> bool:
        """Count a submission without a clear answer; return True if a pause begins.

        What left before the pause began changes nothing during it.
        """
        if self._is_probe(submission):
            return self._on_probe_failed(reason)
        if self.phase is not BreakerPhase.CLOSED or self._max_doubts is None:
            return False
        self._in_a_row += 1
        self._latest.append(True)
        among = sum(self._latest)
        if self._in_a_row < self._max_doubts and among < self._max_doubts + _MORE_AMONG_THEM:
            return False
        count = f"the last {self._in_a_row}" if self._in_a_row >= self._max_doubts else f"{among} of the last 100"
        self._cause = f"{count} submissions had no clear answer from the provider and may have been charged: {reason}"
        self._pause(self._cause)
        return True

    def record_clear(self, submission: object) -> bool:
        """Count a clear answer; return True if that closes the breaker, which only the probe's does."""
        if self._is_probe(submission):
            return self.reset()
        if self.phase is BreakerPhase.CLOSED:
            self._in_a_row = 0
            self._latest.append(False)
        return False

    def record_unknown(self, submission: object) -> bool:
        """Record that a submission ended without showing anything; return True if it was the probe.

        Then a pause of the same length begins.
        """
        if not self._is_probe(submission):
            return False
        self._pause(self.reason or "")
        return True

    def begin_check(self) -> None:
        """Record that a free read begins."""
        self.phase = BreakerPhase.CHECKING

    def end_check(self, reason: str | None) -> bool:
        """Record the end of the free read and why it failed, if it did; return True if a pause begins."""
        if reason is not None:
            return self._on_probe_failed(reason)
        self.phase = BreakerPhase.READY
        return False

    def abort_check(self) -> None:
        """Record that the free read was cut off: it is due at once."""
        self.phase = BreakerPhase.PAUSED

    def reset(self) -> bool:
        """Close the breaker and count from zero; return True if it was not closed."""
        was_open = self.phase is BreakerPhase.CLOSED
        self.phase, self.reason, self._probe = BreakerPhase.CLOSED, None, None
        self.failed_probes = self._in_a_row = 0
        self._latest.clear()
        return not was_open

    def _is_probe(self, submission: object) -> bool:
        return self.phase is BreakerPhase.PROBING and self._probe is submission

    def _on_probe_failed(self, why: str) -> bool:
        self.failed_probes += 1
        self._pause(f"{self._cause} (probe {self.failed_probes} failed: {why[:_SHOWN]})")
        return True

    def _pause(self, reason: str) -> None:
        self.phase, self.reason, self._probe = BreakerPhase.PAUSED, reason, None
        self.retry_at = self._clock() + self._pause_after(self.failed_probes)


@attrs.frozen(eq=False, kw_only=True)
class BreakerMember:
    """An open client of a circuit breaker.

    `check` starts its free read: a task that returns why no response of the provider's own came, None if one did.
    `admit` admits what waits in its queues and may be sent, `emit` passes an event to its observer.
    """

    check: Callable[[], asyncio.Task[str | None]]
    admit: Callable[[], None]
    emit: Callable[[Event], None]


class CircuitBreaker:
    """The circuit breaker of all open clients with one key in one event loop.

    It has one timer, and makes one free read at a time, only while a submission waits that could be sent otherwise.
    After a doubt a timer keeps the breaker alive, so that the next client that opens continues its counts.
    """

    def __init__(self, max_doubts: int | None, retries: RetryPolicy) -> None:
        self._loop = asyncio.get_running_loop()
        self._state = CircuitBreakerState(max_doubts, retries.probe_backoff, self._loop.time)
        self._longest = retries.max_probe_interval
        self._members: dict[BreakerMember, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer: asyncio.TimerHandle | None = None

    @property
    def reason(self) -> str | None:
        """Why submissions are paused; None if they are not."""
        return self._state.reason

    @property
    def paused_for(self) -> float:
        """Seconds until the next free read; 0 if one is under way, and while the breaker is closed."""
        return self._state.retry_in

    def add_member(self, member: BreakerMember) -> None:
        """Add a client: it receives the events, and may be asked to make the free read."""
        self._members[member] = None

    def remove_member(self, member: BreakerMember) -> None:
        """Remove a client, before its own read is cancelled: then another client makes it."""
        self._members.pop(member, None)

    def try_admit(self, submission: object) -> bool:
        """Return True if the first waiting submission may be admitted; if not, make sure that a free read follows."""
        admitted = self._state.try_admit(submission)
        if not admitted and self._state.phase is BreakerPhase.PAUSED and self._timer is None:
            if self._state.retry_in:
                self._timer = self._loop.call_at(self._state.retry_at, self._on_timer)
            else:
                self._start_check()
        return admitted

    def allows(self, submission: object) -> bool:
        """Return True if the first byte of an admitted submission may leave now."""
        return self._state.allows(submission)

    def record_in_doubt(self, submission: object, reason: str) -> None:
        """Count a submission that may have been charged although no clear answer came."""
        if self._keep_alive_timer is not None:
            self._keep_alive_timer.cancel()
        self._keep_alive_timer = self._loop.call_later(self._longest, self._keep_alive)
        if self._state.record_in_doubt(submission, reason[:_SHOWN]):
            self._paused()

    def record_clear(self, submission: object) -> None:
        """Count an acceptance, or a refusal of the provider's own."""
        if self._state.record_clear(submission):
            self._resumed()

    def record_unknown(self, submission: object) -> None:
        """Record that a submission ended, for which neither was counted."""
        if self._state.record_unknown(submission):
            self._paused()

    def reset(self) -> None:
        """Close the breaker at once, so that submissions go on."""
        if self._state.reset():
            self._resumed()

    def _keep_alive(self) -> None:
        """Do nothing: the timer has kept the breaker alive until now."""

    def _paused(self) -> None:
        state = self._state
        event = SubmissionsPaused(reason=state.reason or "", retry_in=state.retry_in, failed_probes=state.failed_probes)
        log.warning(
            "submissions are paused, the provider is asked in %.1f s: %s; what waits is unsent, and"
            " client.resume_submitting() sends it at once",
            event.retry_in,
            event.reason,
            extra={"retry_in": event.retry_in, "failed_probes": event.failed_probes},
        )
        self._announce(event)

    def _resumed(self) -> None:
        log.info("submissions go on", extra={"failed_probes": 0})
        self._announce(SubmissionsResumed())

    def _announce(self, event: Event) -> None:
        for member in tuple(self._members):
            member.emit(event)
        self._admit()

    def _admit(self) -> None:
        for member in tuple(self._members):
            member.admit()

    def _on_timer(self) -> None:
        """Let the queues admit; a submission that still waits starts the free read."""
        self._timer = None
        self._admit()

    def _start_check(self) -> None:
        """Start the free read of one of the clients."""
        member = next(iter(self._members), None)
        if member is not None:
            self._state.begin_check()
            member.check().add_done_callback(self._on_check_done)

    def _on_check_done(self, read: asyncio.Task[str | None]) -> None:
        if self._state.phase is not BreakerPhase.CHECKING:  # the breaker was reset meanwhile
            return
        if read.cancelled():  # its client closes: another client makes it
            self._state.abort_check()
            self._admit()
        elif self._state.end_check(repr(error) if (error := read.exception()) else read.result()):
            self._paused()
        else:
            self._admit()


_breakers: SharedRegistry[CircuitBreaker] = SharedRegistry()


def shared_breaker(base_url: str, key: str, make: Callable[[], CircuitBreaker]) -> CircuitBreaker:
    """Return the circuit breaker of this address and key in the running loop: a proxy affects all clients alike."""
    return _breakers.get(make, base_url, key)
