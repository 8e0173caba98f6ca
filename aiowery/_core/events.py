"""What the client tells: log records through the standard library, events to the caller's observer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from aiowery._base.snapshot import Snapshot
from aiowery.errors import AioweryError

log: Final = logging.getLogger("aiowery")

_SECRETS: Final = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk-|bw_)[\w-]{4,}")


# Formatters print the cached text of an exception if there is one.
_formatter: Final = logging.Formatter()


_keys: Final[dict[str, None]] = {}
_KEPT_KEYS: Final = 100


def redact_key(key: str) -> None:
    """Redact this key from now on, whatever it looks like; the latest 100 keys are kept in memory for that."""
    if not _SECRETS.fullmatch(key):
        _keys[key] = None
        if len(_keys) > _KEPT_KEYS:
            del _keys[next(iter(_keys))]


def redact(text: str) -> str:
    """Return the text with all keys in use, and everything that looks like an API key, replaced by stars."""
    for key in tuple(_keys):
        text = text.replace(key, "***")
    return _SECRETS.sub("***", text)


class RedactionFilter(logging.Filter):
    """Replaces whatever looks like an API key in a record's message and traceback; it sits on the logger `aiowery`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its texts made safe."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return True  # a malformed call is logging's own to report
        safe = redact(message)
        if safe != message:
            record.msg, record.args = safe, None
        if record.exc_info:
            record.exc_text = redact(_formatter.formatException(record.exc_info))
        return True


log.addFilter(RedactionFilter())


@attrs.frozen(kw_only=True)
class JobAccepted:
    """The provider took a request. `label` is the beginning of its prompt."""

    task_ids: tuple[str, ...]
    label: str
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class JobUpdated:
    """A look at a task showed something new."""

    task_ids: tuple[str, ...]
    snapshot: Snapshot


@attrs.frozen(kw_only=True)
class JobFinished:
    """A job ended: with a result (`error` is None) or with an error. `seconds` count from acceptance.

    It took longer than `last_running` seconds, when a look last saw it running (0 if none did), and no longer than
    `seconds`. `duration_key` is what that depends on: endpoint, model, settings (nothing for a re-attached job).
    """

    task_ids: tuple[str, ...]
    label: str
    seconds: float
    last_running: float = 0.0
    timing_key: tuple[str, ...] = ()
    credits: float | None = None
    error: AioweryError | None = None


@attrs.frozen(kw_only=True)
class PollFailed:
    """A status check brought no usable answer; the job goes on and is asked about again after `pause` seconds."""

    task_ids: tuple[str, ...]
    pause: float
    error: AioweryError


@attrs.frozen(kw_only=True)
class QueueBackedOff:
    """The provider refused a submission because of load: no job is submitted for `pause` seconds."""

    pause: float
    capacity: int
    error: AioweryError


@attrs.frozen(kw_only=True)
class LowCredits:
    """The balance fell below the caller's threshold (`balance`), or a request was refused for want of credits."""

    balance: float | None = None
    error: AioweryError | None = None


@attrs.frozen(kw_only=True)
class SubmissionsPaused:
    """Submissions pause by themselves: too many had no clear answer, or a probe failed. What waits stays unsent.

    `because` is the reason. After `retry_in` seconds a free read is made if a submission waits, and then one goes ahead
    as a probe. `failed_probes` counts those since the queue was last open.
    """

    reason: str
    retry_in: float
    failed_probes: int


@attrs.frozen(kw_only=True)
class SubmissionsResumed:
    """Submissions go on: a probe had a clear answer, or `resume_submitting()` was called."""


Event = (
    JobAccepted
    | JobUpdated
    | JobFinished
    | PollFailed
    | QueueBackedOff
    | LowCredits
    | SubmissionsPaused
    | SubmissionsResumed
)
Observer = Callable[[Event], Any]


class EventEmitter:
    """Hands events to one observer, whose own errors never reach the work: they are logged, once."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._complained = False

    def emit(self, event: Event) -> None:
        """Call the observer, if there is one."""
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("the observer raised; its errors are ignored from here on")
