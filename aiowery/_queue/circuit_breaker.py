"""The circuit breaker: submissions pause by themselves when the provider stops answering them clearly.

A proxy that answers every POST with an HTML page may still forward each of them, so each may be charged. After a few
such responses no more submissions are sent. Later a free read shows that the provider answers again, and one submission
is sent as a probe.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from aiowery._base.secret import Secret
from aiowery._base.shared import SharedRegistry
from aiowery._core.events import Event, SubmissionsPaused, SubmissionsResumed, log
from aiowery._core.policies import RetryPolicy

_WINDOW: Final = 100
_EXTRA_IN_WINDOW: Final = 2
_MAX_REASON_LENGTH: Final = 300


class BreakerPhase(enum.Enum):
    """A phase of the circuit breaker; its value names the submissions that may be sent in it."""

    CLOSED = "every submission"
    PAUSED = "none, until a free read is due"
    CHECKING = "none, while the free read is under way"
    READY = "the next submission, as a probe"
    PROBING = "only the probe"


class CircuitBreakerState:
    """A state machine that decides which submissions may be sent, without I/O or timers.

    A pause begins after `max_doubts` doubts in a row, or after two more than that among the last 100 submissions. One
    response that every submission would get begins it immediately. If `max_doubts` is None, no pause ever begins.
    `pause` returns the seconds until the next free read, from the number of probes that have failed. `clock` returns
    the present time in seconds. Submissions are any objects, compared by identity. `reason` is None while the breaker
    is closed.
    """

    def __init__(self, max_doubts: int | None, pause: Callable[[int], float], clock: Callable[[], float]) -> None:
        self.phase: BreakerPhase = BreakerPhase.CLOSED
        self.reason: str | None = None
        self.failed_probes: int = 0
        self.retry_at: float = 0.0
        self._max_doubts = max_doubts
        self._pause_after = pause
        self._clock = clock
        self._pause_cause = ""
        self._probe: object = None
        self._doubts_in_a_row = 0
        self._recent_doubts: deque[bool] = deque(maxlen=_WINDOW)

    @property
    def retry_in(self) -> float:
        """Seconds until the next free read is due, never more than the pause is long; 0 outside a pause."""
        if self.phase is not BreakerPhase.PAUSED:
            return 0.0
        # Rounding can make a difference of two times longer than the pause.
        return max(0.0, min(self.retry_at - self._clock(), self._pause_after(self.failed_probes)))

    def try_admit(self, submission: object) -> bool:
        """Return True if the submission may be admitted; it becomes the probe if the breaker is ready for one."""
        if self.phase is BreakerPhase.READY:
            self.phase, self._probe = BreakerPhase.PROBING, submission
        return self.allows(submission)

    def allows(self, submission: object) -> bool:
        """Return True if the first byte of an admitted submission may be sent now."""
        return self.phase is BreakerPhase.CLOSED or self._is_probe(submission)

    def record_in_doubt(self, submission: object, reason: str, *, immediately: bool = False) -> bool:
        """Count a submission without a clear answer; return True if a pause begins.

        With `immediately`, the first one begins it.

        During a pause, submissions that were sent before it began are not counted.
        """
        if self._is_probe(submission):
            return self._on_probe_failed(reason)
        if self.phase is not BreakerPhase.CLOSED or self._max_doubts is None:
            return False
        self._doubts_in_a_row += 1
        self._recent_doubts.append(True)
        doubts_in_window = sum(self._recent_doubts)
        if self._doubts_in_a_row >= self._max_doubts:
            count = f"the last {self._doubts_in_a_row} submissions"
        elif doubts_in_window >= self._max_doubts + _EXTRA_IN_WINDOW:
            count = f"{doubts_in_window} of the last 100 submissions"
        elif immediately:
            count = "the last submission"
        else:
            return False
        self._pause_cause = f"{count} had no clear answer from the provider itself: {reason}"
        self._pause(self._pause_cause)
        return True

    def record_clear(self, submission: object) -> bool:
        """Count a clear answer; return True if it closes the breaker, which only the probe's answer does."""
        if self._is_probe(submission):
            return self.reset()
        if self.phase is BreakerPhase.CLOSED:
            self._doubts_in_a_row = 0
            self._recent_doubts.append(False)
        return False

    def record_unknown(self, submission: object) -> bool:
        """Record that a submission ended without an answer or a doubt; return True if it was the probe.

        After the probe, a pause of the same length begins.
        """
        if not self._is_probe(submission):
            return False
        self._pause(self.reason or "")
        return True

    def begin_check(self) -> None:
        """Record that a free read begins."""
        self.phase = BreakerPhase.CHECKING

    def end_check(self, reason: str | None) -> bool:
        """Record the end of the free read, with the reason if it failed; return True if a pause begins."""
        if reason is not None:
            return self._on_probe_failed(reason)
        self.phase = BreakerPhase.READY
        return False

    def abort_check(self) -> None:
        """Record that the free read was cancelled; the next one is due immediately."""
        self.phase = BreakerPhase.PAUSED

    def reset(self) -> bool:
        """Close the breaker and count from zero; return True if it was not closed."""
        was_closed = self.phase is BreakerPhase.CLOSED
        self.phase, self.reason, self._probe = BreakerPhase.CLOSED, None, None
        self.failed_probes = self._doubts_in_a_row = 0
        self._recent_doubts.clear()
        return not was_closed

    def _is_probe(self, submission: object) -> bool:
        return self.phase is BreakerPhase.PROBING and self._probe is submission

    def _on_probe_failed(self, reason: str) -> bool:
        self.failed_probes += 1
        self._pause(f"{self._pause_cause} (probe {self.failed_probes} failed: {reason[:_MAX_REASON_LENGTH]})")
        return True

    def _pause(self, reason: str) -> None:
        self.phase, self.reason, self._probe = BreakerPhase.PAUSED, reason, None
        self.retry_at = self._clock() + self._pause_after(self.failed_probes)


@attrs.frozen(eq=False, kw_only=True)
class BreakerMember:
    """An open client of a circuit breaker.

    `check` starts its free read. The task returns None if the provider itself answered, else the reason. `admit` admits
    the submissions that wait in its queues and may be sent. `emit` passes an event to its observer.
    """

    check: Callable[[], asyncio.Task[str | None]]
    admit: Callable[[], None]
    emit: Callable[[Event], None]


class CircuitBreaker:
    """The circuit breaker of all open clients with one key in one event loop.

    It has one timer and makes one free read at a time. It makes a free read only while a submission waits for it. After
    a doubt, a timer keeps the breaker alive, so that the next client that opens continues its counts.
    """

    def __init__(self, max_doubts: int | None, retries: RetryPolicy) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # timers must keep no submission's context
        self._state = CircuitBreakerState(max_doubts, retries.probe_backoff, self._loop.time)
        self._max_probe_interval = retries.max_probe_interval
        self._members: dict[BreakerMember, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer: asyncio.TimerHandle | None = None

    @property
    def reason(self) -> str | None:
        """The reason why submissions are paused; None if they are not."""
        return self._state.reason

    @property
    def paused_for(self) -> float:
        """Seconds until the next free read; 0 if one is under way, and while the breaker is closed."""
        return self._state.retry_in

    def add_member(self, member: BreakerMember) -> None:
        """Add a client: it receives the events, and may be asked to make the free read."""
        self._members[member] = None

    def remove_member(self, member: BreakerMember) -> None:
        """Remove a client; do this before its free read is cancelled, so that another client repeats the read."""
        self._members.pop(member, None)

    def try_admit(self, submission: object) -> bool:
        """Return True if the first waiting submission may be admitted; otherwise make sure that a free read follows."""
        admitted = self._state.try_admit(submission)
        if not admitted and self._state.phase is BreakerPhase.PAUSED and self._timer is None:
            if self._state.retry_in:
                self._timer = self._loop.call_at(self._state.retry_at, self._on_timer, context=self._context)
            else:
                self._start_check()
        return admitted

    def allows(self, submission: object) -> bool:
        """Return True if the first byte of an admitted submission may be sent now."""
        return self._state.allows(submission)

    def record_in_doubt(self, submission: object, reason: str, *, immediately: bool = False) -> None:
        """Count a submission without a clear answer. With `immediately`, the first one begins a pause."""
        if self._keep_alive_timer is not None:
            self._keep_alive_timer.cancel()
        self._keep_alive_timer = self._loop.call_later(
            self._max_probe_interval, self._keep_alive, context=self._context
        )
        if self._state.record_in_doubt(submission, reason[:_MAX_REASON_LENGTH], immediately=immediately):
            self._announce_pause()

    def record_clear(self, submission: object) -> None:
        """Count an acceptance, or a rejection by the provider itself."""
        if self._state.record_clear(submission):
            self._announce_resume()

    def record_unknown(self, submission: object) -> None:
        """Record that a submission ended; it has no effect if its answer or doubt was counted before."""
        if self._state.record_unknown(submission):
            self._announce_pause()

    def reset(self) -> None:
        """Close the breaker immediately, so that submissions go on."""
        if self._state.reset():
            self._announce_resume()

    def _keep_alive(self) -> None:
        """Do nothing: the timer has kept the breaker alive until now."""

    def _announce_pause(self) -> None:
        state = self._state
        event = SubmissionsPaused(reason=state.reason or "", retry_in=state.retry_in, failed_probes=state.failed_probes)
        log.warning(
            "submissions are paused, and a free read tests the provider in %.1f s: %s; the waiting submissions were not"
            " sent; to send them now, call client.resume_submitting()",
            event.retry_in,
            event.reason,
            extra={"retry_in": event.retry_in, "failed_probes": event.failed_probes},
        )
        self._announce(event)

    def _announce_resume(self) -> None:
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
        """Admit waiting submissions; one that still has to wait starts the free read."""
        self._timer = None
        self._admit()

    def _start_check(self) -> None:
        """Start the free read of one of the clients."""
        member = next(iter(self._members), None)
        if member is not None:
            self._state.begin_check()
            member.check().add_done_callback(self._on_check_done, context=self._context)

    def _on_check_done(self, read: asyncio.Task[str | None]) -> None:
        if self._state.phase is not BreakerPhase.CHECKING:  # the breaker was reset meanwhile
            return
        if read.cancelled():  # its client is closing, so another client makes the read
            self._state.abort_check()
            self._admit()
        elif self._state.end_check(repr(error) if (error := read.exception()) else read.result()):
            self._announce_pause()
        else:
            self._admit()


_breakers: SharedRegistry[CircuitBreaker] = SharedRegistry()


def shared_breaker(base_url: str, key: str | Secret, make: Callable[[], CircuitBreaker]) -> CircuitBreaker:
    """Return the circuit breaker of this address and key in the running loop: a proxy affects all clients alike."""
    return _breakers.get(make, base_url, key)
