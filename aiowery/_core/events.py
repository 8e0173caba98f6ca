"""Log records for the standard library's logging, and events for the caller's observer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery._base.snapshot import Asset, Snapshot
from aiowery._base.text import MAX_ID, MAX_LABEL, safe_or_none, safe_text
from aiowery._core.safe_log import safe_logger
from aiowery.errors import AioweryError

log: Final = safe_logger("aiowery")


def _label(text: str) -> str:
    return safe_text(text, MAX_LABEL)


def _request_id(text: str | None) -> str | None:
    return safe_or_none(text, MAX_ID)


@attrs.frozen(kw_only=True)
class RequestQueued:
    """Event: a request waits in the queue, because slots are missing or submissions pause.

    A request that is sent at once causes none.
    """

    label: str = attrs.field(converter=_label)
    """The type, the model, and the caller's number or name; the prompt only with `log_prompts`."""
    ahead: int
    """The number of requests that wait before it."""


@attrs.frozen(kw_only=True)
class JobAccepted:
    """Event: the provider accepted a request."""

    task_ids: tuple[str, ...]
    """The ids of the request's tasks."""
    label: str = attrs.field(converter=_label)
    """The type, the model, and the caller's number or name; the prompt only with `log_prompts`."""
    request_id: str | None = attrs.field(default=None, converter=_request_id)
    """The submission's id in the provider's call history; None if the response had none."""


@attrs.frozen(kw_only=True)
class RequestRefused:
    """Event: a request was admitted and has no job: the provider rejected it, or it could not be sent."""

    label: str = attrs.field(converter=_label)
    """The type, the model, and the caller's number or name; the prompt only with `log_prompts`."""
    error: AioweryError
    """The error that the caller receives."""


@attrs.frozen(kw_only=True)
class RequestInDoubt:
    """Event: a request was sent without a clear answer. It may have been charged, and is not sent again."""

    label: str = attrs.field(converter=_label)
    """The type, the model, and the caller's number or name; the prompt only with `log_prompts`."""
    task_ids: tuple[str, ...] = ()
    """The tasks that the provider named without proof."""
    request_id: str | None = attrs.field(default=None, converter=_request_id)
    """The id of the response in the provider's call history; None if there is none."""
    error: AioweryError | None = None
    """The doubt; None if the sending was interrupted."""


@attrs.frozen(kw_only=True)
class OutputDownloaded:
    """Event: an output file was fetched."""

    asset: Asset
    """The output, as the caller gave it."""
    path: Path | None = None
    """The file in which it was saved; None if its bytes were returned."""


@attrs.frozen(kw_only=True)
class JobUpdated:
    """Event: a poll of a task returned something new."""

    task_ids: tuple[str, ...]
    """The ids of all tasks of the job."""
    snapshot: Snapshot
    """The new status of one of these tasks."""


@attrs.frozen(kw_only=True)
class JobFinished:
    """Event: a job is finished, with a result or with an error."""

    task_ids: tuple[str, ...]
    """The ids of the job's tasks."""
    label: str = attrs.field(converter=_label)
    """The type, the model, and the caller's number or name; the prompt only with `log_prompts`."""
    seconds: float
    """The seconds from acceptance to the poll that found the end. The job took at most this long."""
    last_running: float = 0.0
    """The seconds from acceptance to the last poll that found the job running; 0 if none did. The job took longer."""
    timing_key: tuple[str, ...] = ()
    """What the job's duration depends on: endpoint, model, settings. Empty for a job that was attached by its task
    ids."""
    credits: float | None = None
    """The credits that the provider reports as charged; None if it reports nothing."""
    error: AioweryError | None = None
    """The job's error; None if it has a result."""


@attrs.frozen(kw_only=True)
class PollFailed:
    """Event: a status check returned no usable response. The job continues and is polled again."""

    task_ids: tuple[str, ...]
    """The ids of the job's tasks."""
    pause: float
    """The seconds until the next poll."""
    error: AioweryError
    """The error of the status check."""


@attrs.frozen(kw_only=True)
class QueueBackedOff:
    """Event: the provider rejected a submission because of load. All submissions pause; this one is retried first."""

    pause: float
    """The seconds for which no request is submitted."""
    capacity: int
    """The number of tasks that may be under way from now on."""
    error: AioweryError
    """The provider's rejection."""


@attrs.frozen(kw_only=True)
class LowCredits:
    """Event: the balance fell below the caller's threshold, or a request was rejected for lack of credits."""

    balance: float | None = None
    """The balance in credits; None if it is not known."""
    error: AioweryError | None = None
    """The rejection; None if a balance below the threshold caused the event."""


@attrs.frozen(kw_only=True)
class SubmissionsPaused:
    """Event: the circuit breaker paused submissions. Waiting requests stay in the queue, unsent."""

    reason: str = attrs.field(converter=safe_text)
    """Why submissions paused: too many had no clear answer, or a probe failed."""
    retry_in: float
    """The seconds until a free read checks the provider, if a submission waits. If it succeeds, one submission is sent
    as a probe."""
    failed_probes: int
    """The number of probes that failed since the circuit breaker was last closed."""


@attrs.frozen(kw_only=True)
class SubmissionsResumed:
    """Event: submissions continue, because a probe had a clear answer or `resume_submitting()` was called."""


Event = (
    RequestQueued
    | RequestRefused
    | RequestInDoubt
    | JobAccepted
    | JobUpdated
    | JobFinished
    | OutputDownloaded
    | PollFailed
    | QueueBackedOff
    | LowCredits
    | SubmissionsPaused
    | SubmissionsResumed
)
"""Any event that an observer receives."""
Observer = Callable[[Event], Any]
"""A plain function that receives each event; its return value is ignored."""


class EventEmitter:
    """An emitter that passes events to one observer.

    Errors of the observer never reach the jobs. Only the first one is logged.
    """

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._has_logged_error = False

    def emit(self, event: Event) -> None:
        """Call the observer with the event, if there is one."""
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:
            if not self._has_logged_error:
                self._has_logged_error = True
                log.exception("the observer raised an error; its further errors are not logged")
